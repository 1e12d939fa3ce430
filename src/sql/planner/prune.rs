//! Drops columns, and members of rows, that nothing needs, down to the sources.
//!
//! All scans of a table in a job are one source, so it reads the union of what they need: a first pass only collects
//! that, the second rewrites the trees with it. A source makes watermarks only if something above it works in event
//! time: otherwise decoding its rowtime would be for nothing.

use std::collections::HashMap;
use std::sync::Arc;

use super::need::{self, Layout, Need, Needs, Slot};
use super::rel::{Calc, Join, JoinForm, Rank, Rel, Scan, Unnest, WindowBounds};
use super::{Environment, SinkQuery};
use crate::expr::Expr;
use crate::graph::pattern::MatchRecognizeSpec;
use crate::graph::{ExpandSpec, GroupAggregateSpec, ReplicateSpec, WindowAggregateSpec, WindowInput};
use crate::sql::catalog::{Table, TableColumn};
use crate::types::{DataType, Field, Schema, TypeKind};

/// What a job reads of a table.
#[derive(Debug)]
pub struct TableScan {
    /// Whether the reader must produce the whole table, because its records have no names.
    pub whole: bool,
    /// Of the table's columns.
    pub needs: Needs,
    /// Whether anything above works in event time.
    pub event_time: bool,
    /// How many scans share it.
    pub uses: usize,
}

/// What a job reads, by identity of the table.
pub struct Scans<'a> {
    pub tables: Vec<TableScan>,
    by_table: HashMap<*const Table, usize>,
    environment: &'a Environment,
}

impl Scans<'_> {
    /// The scan of this table.
    pub fn of(&self, table: &Arc<Table>) -> Option<usize> {
        self.by_table.get(&Arc::as_ptr(table)).copied()
    }
    fn entry(&mut self, table: &Arc<Table>) -> &mut TableScan {
        let tables = &mut self.tables;
        let prunes = self.environment.prunes_columns;
        let index = *self.by_table.entry(Arc::as_ptr(table)).or_insert_with(|| {
            // Without a connector the table is refused later.
            let whole = table.connector().is_ok_and(|connector| !prunes(&connector));
            tables.push(TableScan { whole, needs: Needs::new(), event_time: false, uses: 0 });
            tables.len() - 1
        });
        self.tables.get_mut(index).expect("it was just added")
    }
}

/// What a table's reader must produce.
pub fn reader_needs(table: &Table, scan: &TableScan) -> Needs {
    let mut reader = Needs::new();
    let physical = table.columns.iter().filter_map(|c| match c.kind {
        TableColumn::Physical { reader } => Some(reader),
        _ => None,
    });
    if scan.whole {
        reader.extend(physical.map(|at| (at, Need::All)));
    }
    for (column, need) in &scan.needs {
        match table.columns.get(*column).map(|c| &c.kind) {
            Some(TableColumn::Physical { reader: at } | TableColumn::Metadata { reader: at, .. }) => {
                need::merge_at(&mut reader, *at, need);
            }
            Some(TableColumn::Computed { expr }) => need::collect(expr, &Need::All, &mut reader),
            None => {}
        }
    }
    reader
}

/// Prunes all queries of a job.
pub fn prune_all<'a>(queries: &mut [SinkQuery], environment: &'a Environment) -> Scans<'a> {
    let mut scans = Scans { tables: Vec::new(), by_table: HashMap::new(), environment };
    for pass in 0..2 {
        for scan in &mut scans.tables {
            scan.uses = 0;
        }
        for query in queries.iter_mut() {
            let all = (0..query.rel.schema().fields.len()).map(|i| (i, Need::All)).collect();
            let rel = exact(query.rel.clone(), &all, false, &mut scans);
            if pass == 1 {
                query.rel = rel;
            }
        }
    }
    scans
}

/// The tree with exactly the needed columns, whole and in order.
fn exact(tree: Rel, needs: &Needs, event_time: bool, scans: &mut Scans<'_>) -> Rel {
    let schema = tree.schema().clone();
    let (rel, layout) = prune(tree, needs, event_time, scans);
    let wanted: Vec<(Expr, Field)> = needs
        .keys()
        .filter_map(|i| {
            let field = schema.fields.get(*i)?;
            Some((layout.remap(&Expr::column(*i, field.data_type.clone())), field.clone()))
        })
        .collect();
    let (projection, fields): (Vec<_>, Vec<_>) = wanted.into_iter().unzip();
    calc(rel, None, projection, Schema::new(fields))
}

/// A calc, unless it would change nothing; two that follow each other become one if the upper one only picks columns.
fn calc(input: Rel, filter: Option<Expr>, projection: Vec<Expr>, schema: Schema) -> Rel {
    let is_identity = filter.is_none()
        && projection.len() == input.schema().fields.len()
        && projection.iter().enumerate().all(|(i, e)| matches!(e, Expr::Column { index, .. } if *index == i));
    if is_identity {
        let mut input = input;
        if !matches!(input, Rel::Scan(_)) {
            for (field, named) in input.schema_mut().fields.iter_mut().zip(schema.fields) {
                field.name = named.name;
            }
        }
        return input;
    }
    Rel::Calc(Calc { input: Box::new(input), filter, projection, schema })
}

fn prune(tree: Rel, needs: &Needs, event_time: bool, scans: &mut Scans<'_>) -> (Rel, Layout) {
    match tree {
        Rel::Scan(scan) => prune_scan(&scan, needs, event_time, scans),
        Rel::Calc(calc) => prune_calc(calc, needs, event_time, scans),
        Rel::Values { rows, schema } => prune_values(rows, &schema, needs),
        Rel::WindowTable { input, mut spec, schema } => {
            let arity = input.schema().fields.len();
            let mut below: Needs =
                needs.iter().filter(|(i, _)| **i < arity).map(|(i, need)| (*i, need.clone())).collect();
            need::merge_at(&mut below, spec.rowtime, &Need::All);
            spec.partition_by.iter().for_each(|column| need::merge_at(&mut below, *column, &Need::All));
            let (input, mut layout) = prune(*input, &below, true, scans);
            spec.rowtime = layout.index(spec.rowtime);
            spec.partition_by.iter_mut().for_each(|column| *column = layout.index(*column));
            let mut fields = input.schema().fields.clone();
            for (i, field) in schema.fields.iter().enumerate().skip(arity) {
                layout.columns.insert(i, slot(fields.len(), field.data_type.clone()));
                fields.push(field.clone());
            }
            (Rel::WindowTable { input: Box::new(input), spec, schema: Schema::new(fields) }, layout)
        }
        Rel::Rank(rank) => prune_rank(rank, needs, event_time, scans),
        Rel::WindowAggregate { input, spec, schema } => prune_aggregate(*input, spec, &schema, needs, scans),
        Rel::TemporalSort { input, mut spec, .. } => {
            let mut below = needs.clone();
            for key in &spec.order_by {
                need::merge_at(&mut below, key.column, &Need::All);
            }
            let (input, layout) = prune(*input, &below, true, scans);
            spec.order_by.iter_mut().for_each(|key| key.column = layout.index(key.column));
            let schema = input.schema().clone();
            (Rel::TemporalSort { input: Box::new(input), spec, schema }, layout)
        }
        Rel::MatchRecognize { input, spec, schema } => prune_pattern(*input, spec, schema, scans),
        Rel::GroupAggregate { input, spec, schema } => prune_group(*input, spec, &schema, needs, event_time, scans),
        Rel::Expand { input, spec, schema } => prune_expand(*input, spec, &schema, needs, event_time, scans),
        Rel::Replicate { input, spec, schema } => {
            let mut whole: Needs = needs.keys().map(|i| (*i, Need::All)).collect();
            whole.insert(spec.count, Need::All);
            let input = Box::new(exact(*input, &whole, event_time, scans));
            let (layout, fields) = keep(&schema, whole.keys().copied());
            let spec = ReplicateSpec { count: layout.index(spec.count) };
            (Rel::Replicate { input, spec, schema: Schema::new(fields) }, layout)
        }
        Rel::Union { inputs, schema } => {
            let mut whole: Needs = needs.keys().map(|i| (*i, Need::All)).collect();
            if whole.is_empty() {
                whole.insert(0, Need::All);
            }
            let inputs = inputs.into_iter().map(|i| exact(i, &whole, event_time, scans)).collect();
            let (layout, fields) = keep(&schema, whole.keys().copied());
            (Rel::Union { inputs, schema: Schema::new(fields) }, layout)
        }
        Rel::Join(join) => prune_join(join, needs, event_time, scans),
        Rel::Unnest(unnest) => prune_unnest(unnest, needs, event_time, scans),
    }
}

fn prune_unnest(unnest: Unnest, needs: &Needs, event_time: bool, scans: &mut Scans<'_>) -> (Rel, Layout) {
    let Unnest { input, mut spec, schema } = unnest;
    let arity = input.schema().fields.len();
    let mut kept: Vec<usize> = needs.keys().copied().collect();
    if kept.is_empty() {
        kept.push(0);
    }
    let mut below = Needs::new();
    need::collect(&spec.collection, &Need::All, &mut below);
    for column in &kept {
        if let Some(from) = spec.output.get(*column).filter(|from| **from < arity) {
            need::merge_at(&mut below, *from, needs.get(column).unwrap_or(&Need::All));
        }
    }
    let (input, inner) = prune(*input, &below, event_time, scans);
    spec.collection = inner.remap(&spec.collection);
    let new_arity = input.schema().fields.len();
    let (mut layout, mut fields, mut output) = (Layout::default(), Vec::new(), Vec::new());
    for column in kept {
        let (Some(from), Some(field)) = (spec.output.get(column), schema.fields.get(column)) else { continue };
        let found = match from.checked_sub(arity) {
            Some(element) => slot(new_arity + element, field.data_type.clone()),
            None => match inner.columns.get(from) {
                Some(slot) => slot.clone(),
                None => continue,
            },
        };
        output.push(found.index);
        fields.push(Field::new(field.name.clone(), found.data_type.clone()));
        layout.columns.insert(column, Slot { index: output.len() - 1, ..found });
    }
    spec.output = output;
    (Rel::Unnest(Unnest { input: Box::new(input), spec, schema: Schema::new(fields) }), layout)
}

fn prune_join(join: Join, needs: &Needs, event_time: bool, scans: &mut Scans<'_>) -> (Rel, Layout) {
    let Join { left, right, mut condition, mut form, schema } = join;
    let arity = left.schema().fields.len();
    let mut kept: Vec<usize> = needs.keys().copied().collect();
    if kept.is_empty() {
        kept.push(0);
    }
    let mut below = Needs::new();
    for column in &kept {
        if let Some(from) = condition.output.get(*column) {
            need::merge_at(&mut below, *from, needs.get(column).unwrap_or(&Need::All));
        }
    }
    if let Some(residual) = &condition.residual {
        need::collect(residual, &Need::All, &mut below);
    }
    for key in &condition.keys {
        need::merge_at(&mut below, key.left, &Need::All);
        need::merge_at(&mut below, arity + key.right, &Need::All);
    }
    if let JoinForm::Interval { left_time, right_time, .. } | JoinForm::Temporal { left_time, right_time } = form {
        need::merge_at(&mut below, left_time, &Need::All);
        need::merge_at(&mut below, arity + right_time, &Need::All);
    }
    if let JoinForm::Window { left, right } = form {
        need::merge_at(&mut below, left.end, &Need::All);
        need::merge_at(&mut below, arity + right.end, &Need::All);
    }
    let rights = below.split_off(&arity).into_iter().map(|(i, need)| (i - arity, need)).collect();
    let timed = event_time || form != JoinForm::Regular;
    let (left, mine) = prune(*left, &below, timed, scans);
    let (right, theirs) = prune(*right, &rights, timed, scans);
    for key in &mut condition.keys {
        (key.left, key.right) = (mine.index(key.left), theirs.index(key.right));
    }
    if let JoinForm::Interval { left_time, right_time, .. } | JoinForm::Temporal { left_time, right_time } = &mut form {
        (*left_time, *right_time) = (mine.index(*left_time), theirs.index(*right_time));
    }
    if let JoinForm::Window { left, right } = &mut form {
        (left.start, left.end) = (mine.index(left.start), mine.index(left.end));
        (right.start, right.end) = (theirs.index(right.start), theirs.index(right.end));
    }
    let new_arity = left.schema().fields.len();
    let mut both = mine;
    for (column, slot) in theirs.columns {
        both.columns.insert(arity + column, Slot { index: new_arity + slot.index, ..slot });
    }
    condition.residual = condition.residual.map(|r| both.remap(&r));
    let (mut layout, mut fields, mut output) = (Layout::default(), Vec::new(), Vec::new());
    for column in kept {
        let (Some(from), Some(field)) = (condition.output.get(column), schema.fields.get(column)) else { continue };
        let Some(slot) = both.columns.get(from) else { continue };
        // What is left of a row is of the input; whether it is null, and a time attribute, is of the join.
        let kind = if slot.need == Need::All { field.data_type.kind.clone() } else { slot.data_type.kind.clone() };
        let data_type = DataType { kind, nullable: field.data_type.nullable };
        let need = slot.need.clone();
        layout.columns.insert(column, Slot { index: fields.len(), need, data_type: data_type.clone() });
        fields.push(Field::new(field.name.clone(), data_type));
        output.push(slot.index);
    }
    condition.output = output;
    let join = Join { left: Box::new(left), right: Box::new(right), condition, form, schema: Schema::new(fields) };
    (Rel::Join(join), layout)
}

fn slot(index: usize, data_type: DataType) -> Slot {
    Slot { index, need: Need::All, data_type }
}

/// The layout and fields when these columns are kept, whole.
fn keep(schema: &Schema, columns: impl Iterator<Item = usize>) -> (Layout, Vec<Field>) {
    let mut layout = Layout::default();
    let mut fields = Vec::new();
    for column in columns {
        if let Some(field) = schema.fields.get(column) {
            layout.columns.insert(column, slot(fields.len(), field.data_type.clone()));
            fields.push(field.clone());
        }
    }
    (layout, fields)
}

fn prune_scan(scan: &Scan, needs: &Needs, event_time: bool, scans: &mut Scans<'_>) -> (Rel, Layout) {
    let entry = scans.entry(&scan.table);
    entry.uses += 1;
    entry.event_time |= event_time;
    for (column, need) in needs {
        need::merge_at(&mut entry.needs, *column, need);
    }
    if let (true, Some(watermark)) = (entry.event_time, &scan.table.watermark) {
        need::merge_at(&mut entry.needs, watermark.column, &Need::All);
        need::collect(&watermark.expr, &Need::All, &mut entry.needs);
    }
    if entry.needs.is_empty() {
        // A batch needs a column to have a length: the one that is read fastest.
        let columns = &scan.table.columns;
        let cheap = |c: &TypeKind| c.is_numeric() || matches!(c, TypeKind::Boolean);
        let index = columns
            .iter()
            .position(|c| matches!(c.kind, TableColumn::Physical { .. }) && cheap(&c.field.data_type.kind))
            .unwrap_or(0);
        entry.needs.insert(index, Need::All);
    }
    let reader = reader_needs(&scan.table, entry);
    let mut layout = Layout::default();
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for column in entry.needs.keys() {
        let Some(declared) = scan.table.columns.get(*column) else { continue };
        // A stored column comes as the reader makes it, with members that only other columns need.
        let need = match &declared.kind {
            TableColumn::Physical { reader: at } | TableColumn::Metadata { reader: at, .. } => {
                reader.get(at).cloned().unwrap_or(Need::All)
            }
            TableColumn::Computed { .. } => Need::All,
        };
        let data_type = need.prune(&declared.field.data_type);
        layout.columns.insert(*column, Slot { index: fields.len(), need: need.clone(), data_type: data_type.clone() });
        fields.push(Field::new(declared.field.name.clone(), data_type));
        columns.push((*column, need));
    }
    (Rel::Scan(Scan { table: scan.table.clone(), columns, schema: Schema::new(fields) }), layout)
}

fn prune_calc(old: Calc, needs: &Needs, event_time: bool, scans: &mut Scans<'_>) -> (Rel, Layout) {
    let mut kept = needs.clone();
    if kept.is_empty() {
        kept.insert(0, Need::All);
    }
    let mut below = Needs::new();
    for (column, need) in &kept {
        if let Some(expr) = old.projection.get(*column) {
            need::collect(expr, need, &mut below);
        }
    }
    if let Some(filter) = &old.filter {
        need::collect(filter, &Need::All, &mut below);
    }
    let (input, inner) = prune(*old.input, &below, event_time, scans);
    let mut layout = Layout::default();
    let mut projection = Vec::with_capacity(kept.len());
    let mut fields = Vec::with_capacity(kept.len());
    for column in kept.keys() {
        let (Some(expr), Some(field)) = (old.projection.get(*column), old.schema.fields.get(*column)) else { continue };
        let (expr, need) = inner.remap_with_need(expr);
        let data_type = expr.data_type().clone();
        layout.columns.insert(*column, Slot { index: projection.len(), need, data_type: data_type.clone() });
        projection.push(expr);
        fields.push(Field::new(field.name.clone(), data_type));
    }
    let filter = old.filter.map(|f| inner.remap(&f));
    (calc(input, filter, projection, Schema::new(fields)), layout)
}

/// All its columns are kept: a calc above drops those that are not needed.
fn prune_pattern(
    input: Rel,
    mut spec: Box<MatchRecognizeSpec>,
    schema: Schema,
    scans: &mut Scans<'_>,
) -> (Rel, Layout) {
    let mut below = Needs::new();
    for column in spec.columns_mut() {
        need::merge_at(&mut below, *column, &Need::All);
    }
    let (input, inner) = prune(input, &below, !spec.processing_time, scans);
    for column in spec.columns_mut() {
        *column = inner.index(*column);
    }
    let (layout, _) = keep(&schema, 0..schema.fields.len());
    (Rel::MatchRecognize { input: Box::new(input), spec, schema }, layout)
}

fn prune_values(rows: Vec<Vec<Expr>>, schema: &Schema, needs: &Needs) -> (Rel, Layout) {
    let mut kept: Vec<usize> = needs.keys().copied().collect();
    if kept.is_empty() {
        kept.push(0);
    }
    let (layout, fields) = keep(schema, kept.iter().copied());
    let rows = rows
        .into_iter()
        .map(|row| row.into_iter().enumerate().filter(|(i, _)| kept.contains(i)).map(|(_, e)| e).collect())
        .collect();
    (Rel::Values { rows, schema: Schema::new(fields) }, layout)
}

fn prune_group(
    input: Rel,
    mut spec: GroupAggregateSpec,
    schema: &Schema,
    needs: &Needs,
    event_time: bool,
    scans: &mut Scans<'_>,
) -> (Rel, Layout) {
    let keys = spec.keys.len();
    let mut kept: Vec<usize> = (0..keys).collect();
    let mut aggregates = Vec::new();
    let all = std::mem::take(&mut spec.aggregates);
    let count = all.len();
    for (i, call) in all.into_iter().enumerate() {
        // Without any other column, one aggregate is the row.
        if needs.contains_key(&(keys + i)) || (kept.is_empty() && i + 1 == count) {
            kept.push(keys + i);
            aggregates.push(call);
        }
    }
    let mut below = Needs::new();
    let used = aggregates.iter().flat_map(|c| [c.argument, c.filter]).flatten();
    spec.keys.iter().copied().chain(used).for_each(|column| need::merge_at(&mut below, column, &Need::All));
    let (input, inner) = prune(input, &below, event_time, scans);
    for call in &mut aggregates {
        call.argument = call.argument.map(|a| inner.index(a));
        call.filter = call.filter.map(|f| inner.index(f));
    }
    let keys = spec.keys.iter().map(|k| inner.index(*k)).collect();
    let spec = GroupAggregateSpec { keys, aggregates, ..spec };
    let (layout, fields) = keep(schema, kept.into_iter());
    (Rel::GroupAggregate { input: Box::new(input), spec, schema: Schema::new(fields) }, layout)
}

fn prune_expand(
    input: Rel,
    spec: ExpandSpec,
    schema: &Schema,
    needs: &Needs,
    event_time: bool,
    scans: &mut Scans<'_>,
) -> (Rel, Layout) {
    let mut kept: Vec<usize> = needs.keys().copied().collect();
    if kept.is_empty() {
        kept.push(0);
    }
    let mut below = Needs::new();
    for expr in spec.projections.iter().flat_map(|p| kept.iter().filter_map(|i| p.get(*i))) {
        need::collect(expr, &Need::All, &mut below);
    }
    let (input, inner) = prune(input, &below, event_time, scans);
    let remap =
        |projection: &Vec<Expr>| kept.iter().filter_map(|i| projection.get(*i)).map(|e| inner.remap(e)).collect();
    let spec = ExpandSpec { projections: spec.projections.iter().map(remap).collect() };
    let (layout, fields) = keep(schema, kept.iter().copied());
    (Rel::Expand { input: Box::new(input), spec, schema: Schema::new(fields) }, layout)
}

fn prune_rank(rank: Rank, needs: &Needs, event_time: bool, scans: &mut Scans<'_>) -> (Rel, Layout) {
    let event_time = event_time || rank.window.is_some() || super::rank::may_wait_for_watermarks(&rank);
    let Rank { input, mut spec, window, update_before, at, schema } = rank;
    let number = input.schema().fields.len();
    let mut below: Needs = needs.iter().filter(|(i, _)| **i < number).map(|(i, need)| (*i, need.clone())).collect();
    let ordered = spec.order_by.iter().map(|key| key.column);
    for column in spec.partition_by.iter().copied().chain(ordered) {
        need::merge_at(&mut below, column, &Need::All);
    }
    let (input, mut layout) = prune(*input, &below, event_time, scans);
    spec.partition_by.iter_mut().for_each(|column| *column = layout.index(*column));
    spec.order_by.iter_mut().for_each(|key| key.column = layout.index(key.column));
    let window =
        window.map(|w| WindowBounds { start: layout.index(w.start), end: layout.index(w.end), zoned: w.zoned });
    let mut fields = input.schema().fields.clone();
    spec.number &= needs.contains_key(&number);
    if let (true, Some(field)) = (spec.number, schema.fields.get(number)) {
        layout.columns.insert(number, slot(fields.len(), field.data_type.clone()));
        fields.push(field.clone());
    }
    let schema = Schema::new(fields);
    (Rel::Rank(Rank { input: Box::new(input), spec, window, update_before, at, schema }), layout)
}

fn prune_aggregate(
    input: Rel,
    old: WindowAggregateSpec,
    schema: &Schema,
    needs: &Needs,
    scans: &mut Scans<'_>,
) -> (Rel, Layout) {
    let keys = old.keys.len();
    let calls = old.aggregates.len();
    let mut aggregates = Vec::new();
    let mut properties = Vec::new();
    let mut kept: Vec<usize> = (0..keys).collect();
    for (i, call) in old.aggregates.into_iter().enumerate() {
        if needs.contains_key(&(keys + i)) {
            kept.push(keys + i);
            aggregates.push(call);
        }
    }
    let all_properties = old.properties.len();
    for (i, property) in old.properties.into_iter().enumerate() {
        // Without any other column, one property is the row.
        let last = kept.is_empty() && i + 1 == all_properties;
        if needs.contains_key(&(keys + calls + i)) || last {
            kept.push(keys + calls + i);
            properties.push(property);
        }
    }
    let mut below = Needs::new();
    let mut need_column = |column: usize| need::merge_at(&mut below, column, &Need::All);
    old.keys.iter().copied().for_each(&mut need_column);
    aggregates.iter().flat_map(|c| [c.argument, c.filter]).flatten().for_each(&mut need_column);
    match old.input {
        WindowInput::Assign { rowtime, .. } => need_column(rowtime),
        WindowInput::Attached { window_start, window_end, .. } => {
            [window_start, window_end].into_iter().for_each(need_column)
        }
    }
    let (input, inner) = prune(input, &below, true, scans);
    for call in &mut aggregates {
        call.argument = call.argument.map(|a| inner.index(a));
        call.filter = call.filter.map(|f| inner.index(f));
    }
    let spec = WindowAggregateSpec {
        input: match old.input {
            WindowInput::Assign { window, rowtime } => WindowInput::Assign { window, rowtime: inner.index(rowtime) },
            WindowInput::Attached { window_start, window_end, zoned } => WindowInput::Attached {
                window_start: inner.index(window_start),
                window_end: inner.index(window_end),
                zoned,
            },
        },
        keys: old.keys.iter().map(|k| inner.index(*k)).collect(),
        aggregates,
        properties,
    };
    let (layout, fields) = keep(schema, kept.into_iter());
    (Rel::WindowAggregate { input: Box::new(input), spec, schema: Schema::new(fields) }, layout)
}
