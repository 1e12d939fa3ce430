//! `GROUP BY … window_start, window_end`: a window aggregate with a projection below (keys, arguments, filters) and one
//! above (expressions over keys and aggregates, `HAVING`).

use sqlparser::ast as sp;

use super::aggregate::Aggregates;
use super::expression::{AGGREGATE_BASE, Binder};
use super::function_call;
use super::group_window::{GroupWindow, PROPERTY_BASE};
use super::names;
use super::place::{self, unsupported};
use super::query::{Bound, Item, WindowColumn, project};
use super::rel::Rel;
use super::scope::Scope;
use crate::error::Result;
use crate::expr::Expr;
use crate::graph::{AggregateCall, WindowAggregateSpec, WindowInput, WindowProperty};
use crate::sql::ast::Position;
use crate::types::{Field, Schema};

const USE_WINDOWS: &str = "group by window_start and window_end of a window table function: SELECT … FROM \
                           TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end";

/// The expressions of a plain `GROUP BY`.
pub fn expressions(group_by: &sp::GroupByExpr, at: Position) -> Result<Vec<&sp::Expr>> {
    let sp::GroupByExpr::Expressions(nodes, modifiers) = group_by else {
        return unsupported("GROUP BY ALL is not supported", "name the columns", at);
    };
    if !modifiers.is_empty() {
        let at = nodes.first().and_then(place::position).unwrap_or(at);
        return unsupported("grouping sets are not supported", "write one query per grouping and UNION ALL", at);
    }
    for node in nodes {
        if let sp::Expr::Value(_) = node {
            let at = place::position(node).unwrap_or(at);
            return unsupported("GROUP BY of a constant is not supported", "name the column instead of its number", at);
        }
    }
    Ok(nodes.iter().collect())
}

/// Takes the group window, such as `TUMBLE(ts, size)`, out of the expressions of a `GROUP BY`.
pub fn take_group_window(group: &mut Vec<&sp::Expr>, binder: &mut Binder<'_>) -> Result<Option<GroupWindow>> {
    let Some(position) = group.iter().position(|node| GroupWindow::is_call(node)) else { return Ok(None) };
    let sp::Expr::Function(function) = group.remove(position) else {
        return Err(crate::error::Error::internal("a group window is a call"));
    };
    if let Some(second) = group.iter().find(|node| GroupWindow::is_call(node)) {
        let at = binder.position(second);
        return unsupported("several group windows are not supported", "aggregate twice, in a subquery", at);
    }
    GroupWindow::bind(binder, &function_call::function_name(function), function).map(Some)
}

/// Builds the aggregate.
pub fn bind(
    input: Bound,
    scope: &Scope,
    (group, group_window): (Vec<(Expr, Position)>, Option<GroupWindow>),
    items: Vec<Item>,
    having: Option<Expr>,
    aggregates: Aggregates,
    at: Position,
) -> Result<Bound> {
    let group_at = group.first().map_or(at, |(_, at)| *at);
    let mut keys: Vec<Expr> = Vec::new();
    let mut properties: Vec<(usize, WindowColumn)> = Vec::new();
    for (expr, _) in group {
        if group_window.is_none()
            && let Expr::Column { index, .. } = expr
            && let Some(Some(window)) = input.windows.get(index)
        {
            if !properties.iter().any(|(_, w)| w == window) {
                properties.push((index, *window));
            }
        } else if !keys.contains(&expr) {
            keys.push(expr);
        }
    }
    let missing = || crate::error::Error::internal("a window column outside of its input");
    let column = |index: usize| {
        let property = |w: &GroupWindow| w.properties().into_iter().nth(index.checked_sub(PROPERTY_BASE)?);
        let of_input = scope.schema.fields.get(index).map(|f| Expr::column(index, f.data_type.clone()));
        of_input.or_else(|| group_window.as_ref().and_then(property).map(|(_, column)| column)).ok_or_else(missing)
    };
    if let Some(window) = &group_window {
        properties = (window.properties().into_iter().zip(PROPERTY_BASE..))
            .map(|((property, _), index)| (index, WindowColumn { window: 0, property, zoned: false }))
            .collect();
    }
    let find = |wanted: WindowProperty| properties.iter().find(|(_, w)| w.property == wanted);
    let (start, end) = match (find(WindowProperty::Start), find(WindowProperty::End)) {
        (Some((start, a)), Some((end, b))) if a.window == b.window => (*start, *end),
        _ if input.windows.iter().flatten().next().is_some() => {
            let what = "GROUP BY over a window needs both window_start and window_end";
            return unsupported(what, "add the missing ones to GROUP BY", group_at);
        }
        _ => {
            let what = "an aggregation without windows is not supported";
            return unsupported(what, USE_WINDOWS, group_at);
        }
    };
    properties.sort_by_key(|(_, w)| w.property as u8);

    // Below: keys, arguments, filters, window start and end.
    let mut below = Projection { exprs: keys.clone(), names: vec![] };
    let mut calls = Vec::with_capacity(aggregates.calls.len());
    for call in aggregates.calls {
        calls.push(AggregateCall {
            function: call.function,
            argument: call.argument.map(|a| below.add(a)),
            distinct: call.distinct,
            filter: call.filter.map(|f| below.add(f)),
            data_type: call.data_type,
        });
    }
    // Columns of their own, even if an argument is the same: whoever assigns the windows replaces these two.
    let windows = match &group_window {
        Some(of) => WindowInput::Assign { window: of.window, rowtime: below.push(of.time.clone()) },
        None => {
            let zoned = properties.iter().any(|(_, w)| w.zoned);
            let window_start = below.push(column(start)?);
            WindowInput::Attached { window_start, window_end: below.push(column(end)?), zoned }
        }
    };
    below.names = names::unique(below.exprs.iter().enumerate().map(|(i, e)| name_of(e, scope, &items, i)).collect());

    let spec = WindowAggregateSpec {
        input: windows,
        keys: (0..keys.len()).collect(),
        aggregates: calls,
        properties: properties.iter().map(|(_, w)| w.property).collect(),
    };
    let mut output: Vec<Field> = Vec::new();
    for (key, name) in keys.iter().zip(&below.names) {
        output.push(Field::new(name.clone(), key.data_type().clone()));
    }
    for (i, call) in spec.aggregates.iter().enumerate() {
        let named =
            items.iter().find(|item| matches!(item.expr, Expr::Column { index, .. } if index == AGGREGATE_BASE + i));
        let name = named.map_or_else(|| format!("$agg{i}"), |item| item.name.clone());
        output.push(Field::new(name, call.data_type.clone()));
    }
    for (index, _) in &properties {
        let name = scope.schema.fields.get(*index).map_or_else(|| format!("$w{index}"), |f| f.name.clone());
        output.push(Field::new(name, column(*index)?.data_type().with_nullable(false)));
    }
    let unique = names::unique(output.iter().map(|f| f.name.clone()).collect());
    for (field, name) in output.iter_mut().zip(unique) {
        field.name = name;
    }

    let above = Above { keys: &keys, aggregates: spec.aggregates.len(), properties: &properties, scope };
    let mut selected = Vec::with_capacity(items.len());
    for item in items {
        selected.push(Item { expr: above.rewrite(&item.expr, item.at)?, ..item });
    }
    let having = having.map(|h| above.rewrite(&h, group_at)).transpose()?;

    let mut windows: Vec<Option<WindowColumn>> = vec![None; keys.len() + spec.aggregates.len()];
    windows.extend(properties.iter().map(|(_, w)| Some(*w).filter(|_| group_window.is_none())));
    let input = Box::new(input.rel.project(below.exprs, below.names));
    let mut rel = Rel::WindowAggregate { input, spec, schema: Schema::new(output) };
    if let Some(having) = having {
        rel = rel.filter(having);
    }
    Ok(project(Bound { rel, windows }, selected))
}

struct Projection {
    exprs: Vec<Expr>,
    names: Vec<String>,
}

impl Projection {
    fn add(&mut self, expr: Expr) -> usize {
        self.exprs.iter().position(|e| *e == expr).unwrap_or_else(|| self.push(expr))
    }
    fn push(&mut self, expr: Expr) -> usize {
        self.exprs.push(expr);
        self.exprs.len() - 1
    }
}

fn name_of(expr: &Expr, scope: &Scope, items: &[Item], position: usize) -> String {
    if let Some(item) = items.iter().find(|i| i.expr == *expr) {
        return item.name.clone();
    }
    match expr {
        Expr::Column { index, .. } => scope.schema.fields.get(*index).map(|f| f.name.clone()),
        _ => None,
    }
    .unwrap_or_else(|| format!("$f{position}"))
}

/// Moves expressions over the input to the aggregate's output.
struct Above<'a> {
    keys: &'a [Expr],
    aggregates: usize,
    properties: &'a [(usize, WindowColumn)],
    scope: &'a Scope,
}

impl Above<'_> {
    fn rewrite(&self, expr: &Expr, at: Position) -> Result<Expr> {
        if let Some(key) = self.keys.iter().position(|k| k == expr) {
            return Ok(Expr::column(key, expr.data_type().clone()));
        }
        if let Expr::Column { index, data_type } = expr {
            if *index >= AGGREGATE_BASE {
                return Ok(Expr::column(self.keys.len() + (index - AGGREGATE_BASE), data_type.clone()));
            }
            if let Some(property) = self.properties.iter().position(|(i, _)| i == index) {
                let position = self.keys.len() + self.aggregates + property;
                return Ok(Expr::column(position, data_type.with_nullable(false)));
            }
            let name = self.scope.schema.fields.get(*index).map_or("?", |f| f.name.as_str());
            let message = format!("column '{name}' is neither grouped nor aggregated: add it to GROUP BY");
            return Err(place::error("sql_type", message, at));
        }
        let mut copy = expr.clone();
        for child in copy.children_mut() {
            *child = self.rewrite(child, at)?;
        }
        Ok(copy)
    }
}
