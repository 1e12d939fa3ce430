//! Cuts relational trees into chains of operators, with exchanges between them.
//!
//! A chain goes on until rows must travel: before a keyed aggregate (by hash), before an unkeyed one (to one subtask),
//! at the inputs of a `UNION ALL`, and after a source that several queries read.
//!
//! An operator's id is a hash of its path: the sink that it feeds, what it is (for an aggregate: windows, keys and
//! functions, because they decide what its state is), and the ids of what it reads. So it changes neither with another
//! statement of the script nor with a filter below.

use std::collections::{BTreeMap, HashMap};

use super::prune::{self, Scans, TableScan};
use super::rank::Form;
use super::rel::{Calc, Join, JoinForm, Rel, Scan};
use super::{Environment, SinkQuery, changelog, display, keys, place};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::graph::ranking::KeepFirstSpec;
use crate::graph::{
    CalcSpec, Edge, Exchange, GroupAggregateSpec, IntervalJoinSpec, JobGraph, JoinSpec, OperatorKind, OperatorSpec,
    PLAN_VERSION, SourceSpec, TemporalJoinSpec, Vertex, WatermarkSpec, WindowJoinSpec, WindowRankSpec,
};
use crate::id::OperatorId;
use crate::sql::catalog::{Catalog, TableColumn};
use crate::sql::{duration, options};
use crate::types::changelog::ChangelogMode;
use crate::types::{Field, Schema};

use super::need::{Layout, Slot};

/// Builds the graph of all queries.
pub fn build(
    queries: Vec<SinkQuery>,
    scans: &Scans<'_>,
    catalog: &Catalog,
    environment: &Environment,
) -> Result<JobGraph> {
    let mut builder = Builder {
        scans,
        catalog,
        environment,
        vertices: Vec::new(),
        edges: Vec::new(),
        changelog: BTreeMap::new(),
        ids: HashMap::new(),
        sources: HashMap::new(),
        sink: String::new(),
        late: false,
    };
    for query in queries {
        builder.sink.clone_from(&query.sink.connector.table);
        let (late, vertices, edges) = (query.late, builder.vertices.len(), builder.edges.len());
        builder.late = late;
        let stream = builder.relation(&query.rel)?;
        builder.sink(query, stream)?;
        // What enters the vertices of a late query are not the others' outputs.
        let entering = builder.edges.iter_mut().skip(edges).filter(|edge| late && edge.from < vertices);
        entering.for_each(|edge| edge.late = true);
    }
    let mut vertices = builder.vertices;
    for vertex in &mut vertices {
        let names: Vec<&str> = vertex.operators.iter().map(|o| o.name.as_str()).collect();
        vertex.name = names.join(" -> ");
    }
    let influencing = catalog.options.iter().filter(|(key, _)| *key == options::TIME_ZONE);
    let options = influencing.map(|(k, v)| (k.clone(), v.clone())).collect();
    Ok(JobGraph { version: PLAN_VERSION, vertices, edges: builder.edges, changelog: builder.changelog, options })
}

/// What the next operator reads.
struct Stream {
    /// The vertices whose output it is; more than one after `UNION ALL`.
    from: Vec<usize>,
    /// Whether the next operator may join the vertex.
    chain: bool,
    schema: Schema,
    /// Ids of the operators that make it, for the ids above.
    ids: Vec<OperatorId>,
}

struct Builder<'a> {
    scans: &'a Scans<'a>,
    catalog: &'a Catalog,
    environment: &'a Environment,
    vertices: Vec<Vertex>,
    edges: Vec<Edge>,
    changelog: BTreeMap<OperatorId, ChangelogMode>,
    /// How often a path was used.
    ids: HashMap<String, usize>,
    /// Sources by scan, with their vertex.
    sources: HashMap<usize, (usize, OperatorId, Schema)>,
    /// The table that the tree under construction feeds.
    sink: String,
    /// Whether it is fed by the late records of the operators so far.
    late: bool,
}

impl Builder<'_> {
    fn relation(&mut self, rel: &Rel) -> Result<Stream> {
        let stream = self.operators(rel)?;
        let mode = changelog::mode(rel, self.environment);
        for vertex in &stream.from {
            // What is known already is an input's.
            if let Some(last) = self.vertices.get(*vertex).and_then(|v| v.operators.last()) {
                self.changelog.entry(last.id).or_insert(mode);
            }
        }
        Ok(stream)
    }

    fn operators(&mut self, rel: &Rel) -> Result<Stream> {
        match rel {
            Rel::Scan(scan) => self.scan(scan),
            Rel::Values { schema, .. } if self.late => {
                let drops = |v: &Vertex| v.operators.iter().any(|o| o.kind.drops_late());
                let from: Vec<usize> =
                    self.vertices.iter().enumerate().filter(|(_, v)| drops(v)).map(|(i, _)| i).collect();
                if from.is_empty() {
                    let message = "late-records.table is set, but no operator of this job drops late records: RESET it";
                    return Err(Error::invalid("sql_unsupported", message));
                }
                Ok(Stream { from, chain: false, schema: schema.clone(), ids: vec![] })
            }
            Rel::Values { rows, schema } => {
                let name = format!("Values(tuples=[{} rows], fields=[{}])", rows.len(), display::names(schema));
                let id = self.id("values", &[]);
                let kind = OperatorKind::Values { rows: rows.clone() };
                Ok(self.start(OperatorSpec { id, name, kind, output: schema.clone() }, true))
            }
            Rel::Calc(calc) => {
                let input = self.relation(&calc.input)?;
                Ok(self.calc(calc, input))
            }
            Rel::WindowTable { input, spec, schema } => {
                let input = self.relation(input)?;
                let window = display::window_table(spec, &input.schema);
                let exchange = match spec.partition_by.as_slice() {
                    _ if !spec.window.is_session() => Exchange::Forward,
                    [] => Exchange::Global,
                    keys => Exchange::Hash { keys: keys.to_vec() },
                };
                let id = self.id(&format!("window_table {window}"), &input.ids);
                let name = format!("WindowTableFunction(window=[{window}])");
                let kind = OperatorKind::WindowTable(spec.clone());
                Ok(self.append(input, OperatorSpec { id, name, kind, output: schema.clone() }, &exchange))
            }
            Rel::WindowAggregate { input, spec, schema } => {
                let path = format!("window_aggregate {}", aggregate_path(spec, input));
                let input = self.relation(input)?;
                let name = display::window_aggregate(spec, &input.schema, schema);
                let id = self.id(&path, &input.ids);
                let exchange =
                    if spec.keys.is_empty() { Exchange::Global } else { Exchange::Hash { keys: spec.keys.clone() } };
                let kind = OperatorKind::WindowAggregate(spec.clone());
                Ok(self.append(input, OperatorSpec { id, name, kind, output: schema.clone() }, &exchange))
            }
            Rel::MatchRecognize { input, spec, schema } => {
                let input = self.relation(input)?;
                let name = display::match_recognize(spec, &input.schema);
                let id = self
                    .id(&format!("match_recognize {}", display::pattern(&spec.pattern, &spec.variables)), &input.ids);
                let exchange = exchange(&spec.keys);
                let kind = OperatorKind::MatchRecognize(spec.clone());
                Ok(self.append(input, OperatorSpec { id, name, kind, output: schema.clone() }, &exchange))
            }
            Rel::GroupAggregate { input, spec, schema } => {
                let input = self.relation(input)?;
                let name = display::group_aggregate(spec, &input.schema, schema);
                let id = self.id(&format!("group_aggregate {}", group_path(spec, &input.schema)), &input.ids);
                let exchange =
                    if spec.keys.is_empty() { Exchange::Global } else { Exchange::Hash { keys: spec.keys.clone() } };
                let kind = OperatorKind::GroupAggregate(self.with_options(spec.clone())?);
                Ok(self.append(input, OperatorSpec { id, name, kind, output: schema.clone() }, &exchange))
            }
            Rel::Expand { input, spec, schema } => {
                let input = self.relation(input)?;
                let name = display::expand(spec, &input.schema, schema);
                let id = self.id("expand", &input.ids);
                let kind = OperatorKind::Expand(spec.clone());
                Ok(self.append(input, OperatorSpec { id, name, kind, output: schema.clone() }, &Exchange::Forward))
            }
            Rel::Replicate { input, spec, schema } => {
                let input = self.relation(input)?;
                let count = schema.fields.get(spec.count).map_or("?", |f| f.name.as_str());
                let name = format!("ReplicateRows(count=[{count}])");
                let id = self.id("replicate", &input.ids);
                let kind = OperatorKind::Replicate(spec.clone());
                Ok(self.append(input, OperatorSpec { id, name, kind, output: schema.clone() }, &Exchange::Forward))
            }
            Rel::Rank(rank) => {
                if rank.spec.last == u64::MAX {
                    let what = "ROW_NUMBER without an upper bound is not supported";
                    return place::unsupported(what, "filter by its number in the query around it: rn <= 10", rank.at);
                }
                let form = super::rank::form(rank, changelog::mode(&rank.input, self.environment));
                let input = self.relation(&rank.input)?;
                let window = rank.window.filter(|_| form == Form::Window);
                let name = display::rank(&rank.spec, window, &input.schema);
                let id = self.id(&format!("{form:?} {name}"), &input.ids);
                let keys = rank.spec.partition_by.clone();
                let exchange = exchange(&keys);
                let kind = match (form, window) {
                    (Form::KeepFirst { rowtime }, _) => {
                        OperatorKind::KeepFirst(KeepFirstSpec { keys, rowtime, number: rank.spec.number })
                    }
                    (Form::TopN { ties, by_arrival, retracts }, _) => {
                        OperatorKind::TopN(super::rank::top_n(rank, ties, by_arrival, retracts))
                    }
                    (Form::Window, Some(window)) => OperatorKind::WindowRank(WindowRankSpec {
                        window_start: window.start,
                        window_end: window.end,
                        zoned: window.zoned,
                        rank: rank.spec.clone(),
                    }),
                    (Form::Window, None) => return Err(Error::internal("a window rank without a window")),
                };
                Ok(self.append(input, OperatorSpec { id, name, kind, output: rank.schema.clone() }, &exchange))
            }
            Rel::TemporalSort { input, spec, schema } => {
                let input = self.relation(input)?;
                let name = display::temporal_sort(&spec.order_by, &input.schema);
                let id = self.id(&name, &input.ids);
                let kind = OperatorKind::TemporalSort(spec.clone());
                Ok(self.append(input, OperatorSpec { id, name, kind, output: schema.clone() }, &Exchange::Global))
            }
            Rel::Union { inputs, schema } => {
                let mut union = Stream { from: vec![], chain: false, schema: schema.clone(), ids: vec![] };
                for input in inputs {
                    let mut stream = self.relation(input)?;
                    if stream.from.iter().any(|v| union.from.contains(v)) {
                        // Two edges between the same vertices could not be told apart.
                        stream = self.calc(&identity(input), stream);
                    }
                    union.from.append(&mut stream.from);
                    union.ids.append(&mut stream.ids);
                }
                Ok(union)
            }
            Rel::Join(join) => self.join(join),
            Rel::Unnest(unnest) => {
                let input = self.relation(&unnest.input)?;
                let name = display::unnest(unnest, &input.schema);
                let id = self.id("unnest", &input.ids);
                let kind = OperatorKind::Unnest(unnest.spec.clone());
                let ids = input.ids.clone();
                let operator = OperatorSpec { id, name, kind, output: unnest.schema.clone() };
                // As a calc, it keeps no state and does not count.
                Ok(Stream { ids, ..self.append(input, operator, &Exchange::Forward) })
            }
        }
    }

    /// Applies the session's options for state and bundling.
    fn with_options(&self, mut spec: GroupAggregateSpec) -> Result<GroupAggregateSpec> {
        let option = |key: &str| self.catalog.options.get(key).map(String::as_str);
        if let (0, Some(ttl)) = (spec.state_ttl_ms, option(options::STATE_TTL)) {
            spec.state_ttl_ms = duration::parse_ms(ttl)?;
        }
        spec.bundles = option(options::MINI_BATCH).is_some_and(|v| v.eq_ignore_ascii_case("true"));
        Ok(spec)
    }

    fn join(&mut self, join: &Join) -> Result<Stream> {
        let left = self.relation(&join.left)?;
        let mut right = self.relation(&join.right)?;
        if right.from.iter().any(|v| left.from.contains(v)) {
            // Two edges between the same vertices could not be told apart.
            right = self.calc(&identity(&join.right), right);
        }
        let name = display::join(join, &left.schema, &right.schema);
        let path = join_path(join, &left.schema, &right.schema);
        let id = self.id(&path, &[left.ids.clone(), right.ids.clone()].concat());
        let condition = join.condition.clone();
        let exchange = |columns: Vec<usize>| match columns.is_empty() {
            true => Exchange::Global,
            false => Exchange::Hash { keys: columns },
        };
        let (mine, theirs): (Vec<usize>, Vec<usize>) = condition.keys.iter().map(|k| (k.left, k.right)).unzip();
        let kind = match join.form {
            JoinForm::Regular => OperatorKind::Join(JoinSpec {
                left_key: keys::join_input_key(&join.left, &mine),
                right_key: keys::join_input_key(&join.right, &theirs),
                left_ttl_ms: self.state_ttl_ms()?,
                right_ttl_ms: self.state_ttl_ms()?,
                condition,
            }),
            JoinForm::Interval { left_time, right_time, lower_ms, upper_ms } => {
                OperatorKind::IntervalJoin(IntervalJoinSpec { condition, left_time, right_time, lower_ms, upper_ms })
            }
            JoinForm::Temporal { left_time, right_time } => {
                OperatorKind::TemporalJoin(TemporalJoinSpec { condition, left_time, right_time })
            }
            JoinForm::Window { left, right } => {
                let (left_end, right_end, zoned) = (left.end, right.end, left.zoned);
                OperatorKind::WindowJoin(WindowJoinSpec { condition, left_end, right_end, zoned })
            }
        };
        let operator = OperatorSpec { id, name, kind, output: join.schema.clone() };
        Ok(self.vertex(vec![(left, exchange(mine)), (right, exchange(theirs))], operator))
    }

    /// `table.exec.state.ttl`; 0 = for ever.
    fn state_ttl_ms(&self) -> Result<u64> {
        self.catalog.options.get(options::STATE_TTL).map_or(Ok(0), |ttl| duration::parse_ms(ttl))
    }

    fn calc(&mut self, calc: &Calc, input: Stream) -> Stream {
        let name = display::calc(calc.filter.as_ref(), &calc.projection, &input.schema, &calc.schema);
        let id = self.id("calc", &input.ids);
        let ids = input.ids.clone();
        let kind =
            OperatorKind::Calc(CalcSpec { filter: calc.filter.clone(), projection: Some(calc.projection.clone()) });
        let stream =
            self.append(input, OperatorSpec { id, name, kind, output: calc.schema.clone() }, &Exchange::Forward);
        // Above, a calc does not count: adding one changes no other operator's id.
        Stream { ids, ..stream }
    }

    fn sink(&mut self, query: SinkQuery, input: Stream) -> Result<()> {
        let SinkQuery { sink, schema, declared, .. } = query;
        // The collecting sink is the runtime's own, not a connector.
        if let Some(declared) = declared {
            (self.environment.check_sink)(&sink, &schema).map_err(|e| place::locate(e, declared))?;
        }
        let table = if sink.connector.table.is_empty() { "*anonymous*" } else { &sink.connector.table };
        let name = format!("Sink(table=[{table}], fields=[{}])", display::names(&schema));
        // Of the table alone: what feeds it may change without a change of what was written.
        let id = self.id("sink", &[]);
        let kind = OperatorKind::Sink(sink);
        self.append(input, OperatorSpec { id, name, kind, output: schema }, &Exchange::Forward);
        Ok(())
    }

    fn scan(&mut self, scan: &Scan) -> Result<Stream> {
        let index = self.scans.of(&scan.table).ok_or_else(|| Error::internal("a scan that was not pruned"))?;
        let entry = self.scans.tables.get(index).ok_or_else(|| Error::internal("a scan that was not pruned"))?;
        let shared = entry.uses > 1;
        if let Some((vertex, id, schema)) = self.sources.get(&index) {
            return Ok(Stream { from: vec![*vertex], chain: false, schema: schema.clone(), ids: vec![*id] });
        }
        let spec = self.source(entry, scan)?;
        (self.environment.check_source)(&spec).map_err(|e| place::locate(e, scan.table.position))?;
        let mut name =
            format!("TableSourceScan(table=[{}], fields=[{}]", scan.table.name, display::names(&scan.schema));
        if let Some(watermark) = &spec.watermark {
            name.push_str(&format!(", watermark=[{}]", display::expr(&watermark.expr, &scan.schema)));
        }
        name.push(')');
        // A source belongs to no sink: several may read it.
        let id = self.numbered(format!("source {}", scan.table.name));
        let kind = OperatorKind::Source(spec);
        let stream = self.start(OperatorSpec { id, name, kind, output: scan.schema.clone() }, !shared);
        let vertex = stream.from.first().copied().unwrap_or_default();
        self.sources.insert(index, (vertex, id, scan.schema.clone()));
        Ok(stream)
    }

    fn source(&self, entry: &TableScan, scan: &Scan) -> Result<SourceSpec> {
        let table = &scan.table;
        let needs = prune::reader_needs(table, entry);
        // The reader's columns, in its order: physical, then metadata.
        let mut physical = Vec::new();
        let mut metadata = Vec::new();
        let mut stored: Vec<(usize, &Field, Option<&String>)> = table
            .columns
            .iter()
            .filter_map(|c| match &c.kind {
                TableColumn::Physical { reader } => Some((*reader, &c.field, None)),
                TableColumn::Metadata { reader, key, .. } => Some((*reader, &c.field, Some(key))),
                TableColumn::Computed { .. } => None,
            })
            .collect();
        stored.sort_by_key(|(reader, ..)| *reader);
        let mut layout = Layout::default();
        for (index, (reader, field, key)) in
            stored.into_iter().filter(|(reader, ..)| needs.contains_key(reader)).enumerate()
        {
            let Some(need) = needs.get(&reader) else { continue };
            let mut data_type = need.prune(&field.data_type);
            data_type.kind = data_type.kind.regular();
            layout.columns.insert(reader, Slot { index, need: need.clone(), data_type: data_type.clone() });
            let field = Field::new(field.name.clone(), data_type);
            match key {
                Some(key) => metadata.push((key.clone(), field)),
                None => physical.push(field),
            }
        }
        let mut projection = Vec::with_capacity(scan.columns.len());
        for ((column, _), output) in scan.columns.iter().zip(&scan.schema.fields) {
            projection.push(match table.columns.get(*column).map(|c| &c.kind) {
                Some(TableColumn::Physical { reader } | TableColumn::Metadata { reader, .. }) => {
                    Expr::column(layout.index(*reader), output.data_type.clone())
                }
                Some(TableColumn::Computed { expr }) => layout.remap(expr),
                None => return Err(Error::internal("a scan of a column outside of its table")),
            });
        }
        let width = physical.len() + metadata.len();
        let as_they_are = projection.len() == width
            && projection.iter().enumerate().all(|(i, e)| matches!(e, Expr::Column { index, .. } if *index == i));
        let watermark = match &table.watermark {
            Some(watermark) if entry.event_time => {
                let mut output = Layout::default();
                for (index, ((column, need), field)) in scan.columns.iter().zip(&scan.schema.fields).enumerate() {
                    let slot = Slot { index, need: need.clone(), data_type: field.data_type.clone() };
                    output.columns.insert(*column, slot);
                }
                let idle = self.catalog.options.get(options::IDLE_TIMEOUT).map(|t| duration::parse_ms(t));
                Some(WatermarkSpec {
                    rowtime: output.index(watermark.column),
                    expr: output.remap(&watermark.expr),
                    idle_timeout_ms: idle.transpose()?.unwrap_or(0),
                })
            }
            _ => None,
        };
        Ok(SourceSpec {
            connector: table.connector()?,
            physical: Schema::new(physical),
            metadata,
            projection: (!as_they_are).then_some(projection),
            watermark,
        })
    }

    fn start(&mut self, operator: OperatorSpec, chain: bool) -> Stream {
        let (schema, ids) = (operator.output.clone(), vec![operator.id]);
        self.vertices.push(Vertex { name: String::new(), parallelism: None, operators: vec![operator] });
        Stream { from: vec![self.vertices.len() - 1], chain, schema, ids }
    }

    /// Adds an operator: to the chain if it may, else as a new vertex.
    fn append(&mut self, input: Stream, operator: OperatorSpec, exchange: &Exchange) -> Stream {
        let ids = vec![operator.id];
        let schema = operator.output.clone();
        if let (true, Exchange::Forward, [only]) = (input.chain, exchange, input.from.as_slice())
            && let Some(vertex) = self.vertices.get_mut(*only)
        {
            vertex.operators.push(operator);
            return Stream { from: vec![*only], chain: true, schema, ids };
        }
        self.vertex(vec![(input, exchange.clone())], operator)
    }

    /// A new vertex that starts with this operator; one input stream with its exchange per input of the operator.
    fn vertex(&mut self, inputs: Vec<(Stream, Exchange)>, operator: OperatorSpec) -> Stream {
        let (ids, schema) = (vec![operator.id], operator.output.clone());
        let to = self.vertices.len();
        let parallelism = inputs.iter().any(|(_, e)| *e == Exchange::Global).then_some(1);
        self.vertices.push(Vertex { name: String::new(), parallelism, operators: vec![operator] });
        for (input, (stream, exchange)) in inputs.into_iter().enumerate() {
            let edges =
                stream.from.iter().map(|from| Edge { from: *from, to, input, exchange: exchange.clone(), late: false });
            self.edges.extend(edges);
        }
        Stream { from: vec![to], chain: true, schema, ids }
    }

    fn id(&mut self, what: &str, inputs: &[OperatorId]) -> OperatorId {
        let inputs: Vec<String> = inputs.iter().map(ToString::to_string).collect();
        self.numbered(format!("sink {} / {what} ({})", self.sink, inputs.join(", ")))
    }

    fn numbered(&mut self, path: String) -> OperatorId {
        let count = self.ids.entry(path.clone()).or_default();
        *count += 1;
        OperatorId::from_text(&format!("{path} #{count}"))
    }
}

/// By key, or to one subtask if there is none.
fn exchange(keys: &[usize]) -> Exchange {
    if keys.is_empty() { Exchange::Global } else { Exchange::Hash { keys: keys.to_vec() } }
}

/// What decides the form of a group aggregate's state: keys and functions with their types.
fn group_path(spec: &GroupAggregateSpec, input: &Schema) -> String {
    let typed =
        |i: &usize| input.fields.get(*i).map(|f| format!("{} {}", f.name, f.data_type.kind)).unwrap_or_default();
    let keys: Vec<String> = spec.keys.iter().map(typed).collect();
    let calls: Vec<String> = spec
        .aggregates
        .iter()
        .map(|c| format!("{} {}", display::aggregate(c, input), c.argument.as_ref().map(typed).unwrap_or_default()))
        .collect();
    format!("by [{}] of [{}]", keys.join(", "), calls.join(", "))
}

/// What decides the form of a join's state: the columns of both inputs, and which of them are keys.
fn join_path(join: &Join, left: &Schema, right: &Schema) -> String {
    let columns = |schema: &Schema| {
        schema.fields.iter().map(|f| format!("{} {}", f.name, f.data_type.kind)).collect::<Vec<_>>().join(", ")
    };
    let keys: Vec<String> = join.condition.keys.iter().map(|k| format!("{} = {}", k.left, k.right)).collect();
    let form = match join.form {
        JoinForm::Regular => "join",
        JoinForm::Interval { .. } => "interval_join",
        JoinForm::Temporal { .. } => "temporal_join",
        JoinForm::Window { .. } => "window_join",
    };
    let kind = join.condition.kind.name();
    format!("{form} {kind} of [{}] and [{}] on [{}]", columns(left), columns(right), keys.join(", "))
}

/// What decides an aggregate's state: windows, keys and functions, with what they are computed from and their types.
fn aggregate_path(spec: &crate::graph::WindowAggregateSpec, input: &Rel) -> String {
    let window = match &spec.input {
        crate::graph::WindowInput::Assign { window, .. } => format!("{window:?}"),
        crate::graph::WindowInput::Attached { .. } => "attached".to_owned(),
    };
    let keys: Vec<String> = spec.keys.iter().map(|i| origin(input, *i)).collect();
    let call = |c: &crate::graph::AggregateCall| {
        let distinct = if c.distinct { "DISTINCT " } else { "" };
        let argument = c.argument.map_or("*".to_owned(), |i| origin(input, i));
        let filter = c.filter.map(|i| format!(" FILTER {}", origin(input, i))).unwrap_or_default();
        format!("{:?}({distinct}{argument}){filter}", c.function)
    };
    let calls: Vec<String> = spec.aggregates.iter().map(call).collect();
    format!("{window} by [{}] of [{}]", keys.join(", "), calls.join(", "))
}

/// What a column is computed from, with its type: names given on the way do not count.
fn origin(rel: &Rel, column: usize) -> String {
    let Some(field) = rel.schema().fields.get(column) else { return String::new() };
    let text = match rel {
        Rel::Calc(calc) => calc.projection.get(column).map(|e| display::expr(e, calc.input.schema())),
        _ => None,
    };
    format!("{} {}", text.as_ref().unwrap_or(&field.name), field.data_type.kind)
}

fn identity(rel: &Rel) -> Calc {
    Calc { input: Box::new(rel.clone()), filter: None, projection: rel.columns(), schema: rel.schema().clone() }
}
