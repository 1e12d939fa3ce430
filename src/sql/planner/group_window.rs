//! Group windows: the older `GROUP BY TUMBLE(ts, size)`, `HOP(ts, slide, size)` and `SESSION(ts, gap)`, with their
//! properties `TUMBLE_START(ts, size)`, `_END` and `_ROWTIME`.
//!
//! A property becomes a column from [`PROPERTY_BASE`] on; `grouping` moves it to its place. Unlike the columns of window
//! table functions, properties are ordinary timestamps above: nothing can be grouped by window again.

use sqlparser::ast as sp;
use sqlparser::ast::{FunctionArg, FunctionArgExpr, FunctionArguments};

use super::expression::{AGGREGATE_BASE, Binder};
use super::function_call::function_name;
use super::place::{self, unsupported};
use super::window;
use crate::error::Result;
use crate::expr::Expr;
use crate::graph::{WindowKind, WindowProperty};
use crate::sql::ast::Position;
use crate::types::{DataType, TimestampKind, TypeKind};

/// The column numbers that stand for the group window's start, end and time.
pub const PROPERTY_BASE: usize = AGGREGATE_BASE - 3;
const PROPERTIES: [(&str, WindowProperty); 3] =
    [("_START", WindowProperty::Start), ("_END", WindowProperty::End), ("_ROWTIME", WindowProperty::Time)];

/// The group window of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupWindow {
    /// `TUMBLE`, `HOP` or `SESSION`.
    name: String,
    pub window: WindowKind,
    /// The column of event time.
    pub time: Expr,
}

impl GroupWindow {
    /// Whether this item of `GROUP BY` is a group window.
    pub fn is_call(node: &sp::Expr) -> bool {
        matches!(node, sp::Expr::Function(f) if matches!(function_name(f).as_str(), "TUMBLE" | "HOP" | "SESSION"))
    }

    /// Binds a group window, or the arguments of one of its properties.
    pub fn bind(binder: &mut Binder<'_>, name: &str, function: &sp::Function) -> Result<Self> {
        let at = place::position(&function.name).unwrap_or(binder.here);
        let lengths: &[&str] = match name {
            "TUMBLE" => &["size"],
            "HOP" => &["slide", "size"],
            "SESSION" => &["gap"],
            _ => return unsupported(&format!("there is no group window {name}"), "use TUMBLE, HOP or SESSION", at),
        };
        let nodes: Vec<&sp::Expr> = match &function.args {
            FunctionArguments::List(list) => list.args.iter().filter_map(positional).collect(),
            _ => vec![],
        };
        let Some((time, nodes)) = nodes.split_first().filter(|(_, rest)| rest.len() == lengths.len()) else {
            let message = format!("the group window {name} takes a time attribute, {}", lengths.join(", "));
            return Err(place::error("sql_type", message, at));
        };
        let time_at = binder.position(time);
        let time = binder.bind(time)?;
        let Expr::Column { index, .. } = &time else {
            return unsupported(
                "a group window over an expression is not supported",
                "name the event-time column",
                time_at,
            );
        };
        let column = binder.scope.schema.fields.get(*index).map_or("", |f| f.name.as_str());
        window::check_rowtime(column, Some(time.data_type()), name, time_at)?;
        let mut ms = Vec::with_capacity(nodes.len());
        for (node, length) in nodes.iter().zip(lengths) {
            let (value, at) = window::length(node, length, at)?;
            ms.push(window::positive(value, length, at)?);
        }
        let window = match ms.as_slice() {
            [slide_ms, size_ms] => WindowKind::Hop { size_ms: *size_ms, slide_ms: *slide_ms, offset_ms: 0 },
            [gap_ms] if name == "SESSION" => WindowKind::Session { gap_ms: *gap_ms },
            [size_ms] => WindowKind::Tumble { size_ms: *size_ms, offset_ms: 0 },
            _ => return Err(crate::error::Error::internal("a group window's lengths were counted")),
        };
        Ok(GroupWindow { name: name.to_owned(), window, time })
    }

    /// The columns that stand for its properties.
    pub fn properties(&self) -> Vec<(WindowProperty, Expr)> {
        let bound = DataType::not_null(TypeKind::Timestamp(3, TimestampKind::Regular));
        let types = [bound.clone(), bound, self.time.data_type().clone()];
        let columns = PROPERTIES.iter().zip(types).enumerate();
        columns.map(|(i, ((_, property), t))| (*property, Expr::column(PROPERTY_BASE + i, t))).collect()
    }
}

impl Binder<'_> {
    /// `TUMBLE_START(ts, size)` and its like; the arguments must be those of the query's group window.
    pub(super) fn group_window_property(&mut self, name: &str, function: &sp::Function, at: Position) -> Result<Expr> {
        if name.ends_with("_PROCTIME") {
            return unsupported("group windows over processing time are not supported", "use an event-time column", at);
        }
        let Some((window, position)) =
            PROPERTIES.iter().enumerate().find_map(|(i, (suffix, _))| Some((name.strip_suffix(suffix)?, i)))
        else {
            return unsupported(
                &format!("the group window {name} is not supported here"),
                "it belongs into GROUP BY",
                at,
            );
        };
        let Some(of) = self.group_window.clone() else {
            let message = format!("{name} needs GROUP BY {window}(…) with the same arguments");
            return Err(place::error("sql_type", message, at));
        };
        let aggregates = self.aggregates.take();
        let bound = GroupWindow::bind(self, window, function);
        self.aggregates = aggregates;
        if bound? != of {
            let message = format!("{name} must have the arguments of {} in GROUP BY", of.name);
            return Err(place::error("sql_type", message, at));
        }
        let properties = of.properties();
        let property = properties.into_iter().nth(position).map(|(_, column)| column);
        property.ok_or_else(|| crate::error::Error::internal("a group window has three properties"))
    }
}

fn positional(arg: &FunctionArg) -> Option<&sp::Expr> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(node)) => Some(node),
        _ => None,
    }
}
