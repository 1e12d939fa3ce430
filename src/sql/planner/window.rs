//! Window table functions: `TUMBLE`, `HOP`, `CUMULATE` and `SESSION` over a table, view or subquery.

use sqlparser::ast as sp;
use sqlparser::ast::{FunctionArg, FunctionArgExpr, FunctionArguments};

use super::expression::Binder;
use super::place::{self, unsupported};
use super::query::{Bound, Ctes, QueryBinder, WindowColumn};
use super::rel::Rel;
use super::scope::Scope;
use super::{function_call, literal};
use crate::error::Result;
use crate::expr::{Expr, Scalar};
use crate::graph::{WindowKind, WindowProperty, WindowTableSpec};
use crate::sql::ast::Position;
use crate::types::{DataType, Field, Schema, TimestampKind, TypeKind};

/// The columns that a window table function appends.
pub const WINDOW_COLUMNS: [&str; 3] = ["window_start", "window_end", "window_time"];

/// A window function's table, and the columns of its `PARTITION BY` with their place.
type TableArgument = (Bound, Option<(Vec<usize>, Position)>);

impl QueryBinder<'_> {
    /// Binds `TUMBLE(TABLE t, DESCRIPTOR(ts), size [, offset])`, `HOP(TABLE t, DESCRIPTOR(ts), slide, size [, offset])`,
    /// `CUMULATE(TABLE t, DESCRIPTOR(ts), step, size [, offset])` or `SESSION(TABLE t [PARTITION BY k], DESCRIPTOR(ts), gap)`.
    pub fn bind_window_function(
        &self,
        name: &sp::ObjectName,
        args: &[FunctionArg],
        ctes: Option<&Ctes<'_>>,
        at: Position,
    ) -> Result<Bound> {
        let function = name.to_string().to_uppercase();
        let parameters: &[&str] = match function.as_str() {
            "TUMBLE" => &["DATA", "TIMECOL", "SIZE", "OFFSET"],
            "HOP" => &["DATA", "TIMECOL", "SLIDE", "SIZE", "OFFSET"],
            "CUMULATE" => &["DATA", "TIMECOL", "STEP", "SIZE", "OFFSET"],
            "SESSION" => &["DATA", "TIMECOL", "GAP"],
            _ => {
                return unsupported(
                    &format!("there is no table function {function}"),
                    "use TABLE(TUMBLE(…)), TABLE(HOP(…)), TABLE(CUMULATE(…)) or TABLE(SESSION(…)); hints on tables are \
                     not supported either",
                    at,
                );
            }
        };
        let args = arguments(&function, parameters, args, at)?;
        let usage = || {
            let rest =
                parameters.get(2..).unwrap_or_default().join(", ").to_lowercase().replace(", offset", " [, offset]");
            place::error("sql_type", format!("{function} takes TABLE t, DESCRIPTOR(time_column), {rest}"), at)
        };
        let argument = |parameter: &str| {
            parameters.iter().position(|p| *p == parameter).and_then(|i| args.get(i).copied().flatten())
        };
        let (input, partition) = self.bind_table_argument(argument("DATA").ok_or_else(usage)?, ctes)?;
        let time = argument("TIMECOL").ok_or_else(usage)?;
        let rowtime = self.rowtime(time, input.rel.schema(), &function)?;
        let length = |parameter: &str| argument(parameter).map(|node| length(node, parameter, at)).transpose();
        let needed = |parameter: &str| {
            let (ms, at) = length(parameter)?.ok_or_else(usage)?;
            positive(ms, &parameter.to_lowercase(), at)
        };
        let offset_ms = length("OFFSET")?.map_or(0, |(ms, _)| ms);
        if let (false, Some((_, at))) = (function == "SESSION", &partition) {
            return unsupported(
                &format!("PARTITION BY of {function} is not supported"),
                "put the key into GROUP BY",
                *at,
            );
        }
        let window = match function.as_str() {
            "TUMBLE" => WindowKind::Tumble { size_ms: needed("SIZE")?, offset_ms },
            "HOP" => WindowKind::Hop { size_ms: needed("SIZE")?, slide_ms: needed("SLIDE")?, offset_ms },
            "CUMULATE" => {
                let (size_ms, step_ms) = (needed("SIZE")?, needed("STEP")?);
                if size_ms % step_ms != 0 {
                    let message = "the size of CUMULATE must be a whole multiple of its step (the step comes first)";
                    let at = argument("STEP").and_then(place::position).unwrap_or(at);
                    return Err(place::error("sql_type", message, at));
                }
                WindowKind::Cumulate { size_ms, step_ms, offset_ms }
            }
            _ => WindowKind::Session { gap_ms: needed("GAP")? },
        };
        if let WindowKind::Tumble { size_ms, .. }
        | WindowKind::Hop { size_ms, .. }
        | WindowKind::Cumulate { size_ms, .. } = window
            && offset_ms.checked_abs().is_none_or(|offset| offset >= size_ms)
        {
            return Err(place::error("sql_type", "the window's offset must be shorter than its size", at));
        }
        let fields = &input.rel.schema().fields;
        if let Some(taken) = fields.iter().find(|f| WINDOW_COLUMNS.contains(&f.name.as_str())) {
            let message = format!("the window's input already has a column '{}': rename it in a subquery", taken.name);
            return Err(place::error("sql_type", message, at));
        }
        let partition_by = partition.map_or(vec![], |(columns, _)| columns);
        self.append_window(input, WindowTableSpec { window, rowtime, partition_by })
    }

    /// A window table function over the input.
    pub fn append_window(&self, input: Bound, spec: WindowTableSpec) -> Result<Bound> {
        let mut fields = input.rel.schema().fields.clone();
        let Some(clock) = fields.get(spec.rowtime).map(|f| f.data_type.with_nullable(false)) else {
            return Err(crate::error::Error::internal("a rowtime outside of its input"));
        };
        let bound = DataType::not_null(TypeKind::Timestamp(3, TimestampKind::Regular));
        let zoned = matches!(clock.kind, TypeKind::TimestampLtz(..));
        let mut windows = vec![None; fields.len()];
        let id = self.next_window();
        let properties = [WindowProperty::Start, WindowProperty::End, WindowProperty::Time];
        for ((name, data_type), property) in WINDOW_COLUMNS.iter().zip([bound.clone(), bound, clock]).zip(properties) {
            fields.push(Field::new(*name, data_type));
            windows.push(Some(WindowColumn { window: id, property, zoned }));
        }
        let rel = Rel::WindowTable { input: Box::new(input.rel), spec, schema: Schema::new(fields) };
        Ok(Bound { rel, windows })
    }

    /// The table, and the columns of its `PARTITION BY` with their place.
    fn bind_table_argument(&self, node: &sp::Expr, ctes: Option<&Ctes<'_>>) -> Result<TableArgument> {
        let at = place::position(node).unwrap_or(self.here);
        let usage = || unsupported("the first argument must be a table", "write TABLE t", at);
        let Some((name, nodes)) = call_of(node) else { return usage() };
        if name != "__TABLE_ARG" {
            return usage();
        }
        let Some((table, clauses)) = nodes.split_first() else { return usage() };
        let input = match table {
            sp::Expr::Identifier(name) => self.bind_table(&sp::ObjectName::from(vec![name.clone()]), ctes)?,
            sp::Expr::CompoundIdentifier(path) => self.bind_table(&sp::ObjectName::from(path.clone()), ctes)?,
            sp::Expr::Subquery(query) => self.bind(query, ctes)?,
            _ => return usage(),
        };
        let mut partition = None;
        for clause in clauses {
            let at = place::position(*clause).unwrap_or(at);
            let Some((name, keys)) = call_of(clause) else { return usage() };
            if name != "__PARTITION_BY" {
                return unsupported("ORDER BY of a window's input is not supported", "leave it out", at);
            }
            let scope = Scope::new(None, input.rel.schema().clone());
            let mut columns = Vec::with_capacity(keys.len());
            for key in keys {
                let at = place::position(key).unwrap_or(at);
                match Binder::new(&scope, self.environment, at).bind(key)? {
                    Expr::Column { index, .. } => columns.push(index),
                    _ => return unsupported("PARTITION BY of an expression is not supported", "name columns", at),
                }
            }
            partition = Some((columns, at));
        }
        Ok((input, partition))
    }

    /// The column of `DESCRIPTOR(column)`, which must be the time attribute.
    fn rowtime(&self, node: &sp::Expr, schema: &Schema, function: &str) -> Result<usize> {
        let at = place::position(node).unwrap_or(self.here);
        let usage = || unsupported("the time column must be given as DESCRIPTOR(column)", "name one column", at);
        let sp::Expr::Function(descriptor) = node else { return usage() };
        let FunctionArguments::List(list) = &descriptor.args else { return usage() };
        if function_call::function_name(descriptor) != "DESCRIPTOR" {
            return usage();
        }
        let [FunctionArg::Unnamed(FunctionArgExpr::Expr(sp::Expr::Identifier(name)))] = list.args.as_slice() else {
            return usage();
        };
        let at = place::of_span(name.span).unwrap_or(at);
        let Some(index) = schema.index_of(&name.value) else {
            let near = place::suggestion(&name.value, schema.fields.iter().map(|f| f.name.as_str()));
            return Err(place::error("sql_unknown_column", format!("there is no column '{}'{near}", name.value), at));
        };
        let data_type = schema.fields.get(index).map(|f| &f.data_type);
        check_rowtime(&name.value, data_type, function, at)?;
        Ok(index)
    }
}

/// Refuses a column that is not the event-time attribute.
pub fn check_rowtime(name: &str, data_type: Option<&DataType>, function: &str, at: Position) -> Result<()> {
    match data_type {
        Some(t) if t.kind.is_rowtime() => Ok(()),
        Some(DataType { kind: TypeKind::TimestampLtz(_, TimestampKind::Proctime), .. }) => unsupported(
            &format!("{function} over processing time is not supported"),
            "use an event-time column with a WATERMARK",
            at,
        ),
        other => {
            let shown = other.map(ToString::to_string).unwrap_or_default();
            let message = format!(
                "{function} needs an event-time column, but '{name}' is {shown}: declare WATERMARK FOR {name} in its \
                 table, and pass the column on unchanged"
            );
            Err(place::error("sql_type", message, at))
        }
    }
}

/// A constant length in ms and its place.
pub fn length(node: &sp::Expr, parameter: &str, here: Position) -> Result<(i64, Position)> {
    let at = place::position(node).unwrap_or(here);
    let sp::Expr::Interval(interval) = node else {
        let message = format!("{} must be a constant interval such as INTERVAL '10' SECOND", parameter.to_lowercase());
        return Err(place::error("sql_type", message, at));
    };
    match literal::interval(interval, at)? {
        Expr::Literal { value: Scalar::Int(ms), data_type } if data_type.kind == TypeKind::IntervalDayTime => {
            Ok((ms, at))
        }
        _ => unsupported("windows of months or years are not supported", "use days or shorter units", at),
    }
}

/// Refuses a length that is not positive.
pub fn positive(ms: i64, what: &str, at: Position) -> Result<i64> {
    if ms > 0 { Ok(ms) } else { Err(place::error("sql_type", format!("the window's {what} must be positive"), at)) }
}

/// The name and the positional arguments of a call.
fn call_of(node: &sp::Expr) -> Option<(String, Vec<&sp::Expr>)> {
    let sp::Expr::Function(function) = node else { return None };
    let FunctionArguments::List(list) = &function.args else { return None };
    let args = list.args.iter().filter_map(|a| match a {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e),
        _ => None,
    });
    Some((function_call::function_name(function), args.collect()))
}

/// The argument of each parameter, by position or by name.
fn arguments<'n>(
    function: &str,
    parameters: &[&str],
    args: &'n [FunctionArg],
    at: Position,
) -> Result<Vec<Option<&'n sp::Expr>>> {
    let mut slots: Vec<Option<&sp::Expr>> = vec![None; parameters.len()];
    for (position, arg) in args.iter().enumerate() {
        let (index, value) = match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => (Some(position), value),
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => {
                (parameters.iter().position(|p| p.eq_ignore_ascii_case(&name.value)), value)
            }
            _ => (
                None,
                match args.first() {
                    Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(value))) => value,
                    _ => return unsupported("this kind of argument is not supported", "pass expressions", at),
                },
            ),
        };
        let at = place::position(arg).unwrap_or(at);
        match index.and_then(|i| slots.get_mut(i)) {
            Some(slot @ None) => *slot = Some(value),
            Some(Some(_)) => return Err(place::error("sql_type", "this argument is given twice", at)),
            None => {
                let message = format!("{function} takes only the arguments {}", parameters.join(", "));
                return Err(place::error("sql_type", message, at));
            }
        }
    }
    Ok(slots)
}
