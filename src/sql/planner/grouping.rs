//! `GROUP BY`: a window aggregate where it groups by `window_start` and `window_end` of a window table function, else an
//! unbounded one; with a projection below (keys, arguments, filters) and one above (expressions over keys and aggregates,
//! `HAVING`). Several grouping sets are an `Expand` below: each row once per set, with nulls for the columns that are not
//! in the set and the set's number in a column of its own.

use sqlparser::ast as sp;

use super::aggregate::Aggregates;
use super::expression::{self, AGGREGATE_BASE, Binder};
use super::function_call;
use super::group_window::{GroupWindow, PROPERTY_BASE};
use super::query::{Bound, Item, WindowColumn, project};
use super::rel::Rel;
use super::scope::Scope;
use super::{Environment, names, place};
use crate::error::{Error, Result};
use crate::expr::{Expr, Scalar};
use crate::graph::{AggregateCall, ExpandSpec, GroupAggregateSpec, WindowAggregateSpec, WindowInput, WindowProperty};
use crate::sql::ast::Position;
use crate::types::{DataType, Field, Schema, TypeKind};

/// Most grouping sets of one query: `CUBE` of eight columns.
const MAX_GROUPING_SETS: usize = 256;
/// The column of a grouping set's number; Flink's name.
const EXPAND_ID: &str = "$e";

/// A written `GROUP BY`.
pub struct Grouping<'n> {
    /// All grouping expressions.
    pub nodes: Vec<&'n sp::Expr>,
    /// Positions in `nodes`; none without a `GROUP BY`.
    pub sets: Vec<Vec<usize>>,
}

/// A bound `GROUP BY`.
pub struct Group {
    /// All grouping expressions.
    pub keys: Vec<(Expr, Position)>,
    /// Positions in `keys`; one empty set without a `GROUP BY`.
    pub sets: Vec<Vec<usize>>,
    /// The older form of a window.
    pub window: Option<GroupWindow>,
}

/// The expressions of a `GROUP BY`.
pub fn expressions(group_by: &sp::GroupByExpr, at: Position) -> Result<Grouping<'_>> {
    let sp::GroupByExpr::Expressions(items, modifiers) = group_by else {
        return place::unsupported("GROUP BY ALL is not supported", "name the columns", at);
    };
    if !modifiers.is_empty() {
        return place::unsupported("this form of GROUP BY is not supported", "write ROLLUP(…) or CUBE(…)", at);
    }
    let mut grouping = Grouping { nodes: vec![], sets: vec![] };
    if items.is_empty() {
        return Ok(grouping);
    }
    grouping.sets.push(vec![]);
    for item in items {
        let sets = sets_of(item, at)?;
        if grouping.sets.len().saturating_mul(sets.len()) > MAX_GROUPING_SETS {
            let what = format!("more than {MAX_GROUPING_SETS} grouping sets are not supported");
            return place::unsupported(&what, "write several queries", place::position(item).unwrap_or(at));
        }
        let mut numbered = Vec::with_capacity(sets.len());
        for set in sets {
            let mut numbers = Vec::with_capacity(set.len());
            for node in set {
                let known = grouping.nodes.iter().position(|n| std::ptr::eq(*n, node));
                numbers.push(known.unwrap_or_else(|| {
                    grouping.nodes.push(node);
                    grouping.nodes.len() - 1
                }));
            }
            numbered.push(numbers);
        }
        let both = |before: &Vec<usize>| numbered.iter().map(|n| [&before[..], n].concat()).collect::<Vec<_>>();
        grouping.sets = grouping.sets.iter().flat_map(both).collect();
    }
    Ok(grouping)
}

/// The sets that one item of `GROUP BY` stands for.
fn sets_of(item: &sp::Expr, at: Position) -> Result<Vec<Vec<&sp::Expr>>> {
    Ok(match item {
        sp::Expr::GroupingSets(sets) => sets.iter().map(|set| set.iter().collect()).collect(),
        sp::Expr::Rollup(units) => (0..=units.len()).rev().map(|n| units.iter().take(n).flatten().collect()).collect(),
        sp::Expr::Cube(units) => {
            if units.len() > 8 {
                let what = format!("CUBE of {} columns is not supported", units.len());
                return place::unsupported(&what, "name the GROUPING SETS", place::position(item).unwrap_or(at));
            }
            let chosen = |mask: usize| {
                let last = units.len() - 1;
                units
                    .iter()
                    .enumerate()
                    .filter(move |(i, _)| mask >> (last - i) & 1 == 1)
                    .flat_map(|(_, u)| u)
                    .collect()
            };
            if units.is_empty() { vec![vec![]] } else { (0..1 << units.len()).rev().map(chosen).collect() }
        }
        sp::Expr::Tuple(items) => vec![items.iter().collect()],
        other => vec![vec![other]],
    })
}

impl Grouping<'_> {
    /// Takes the group window, such as `TUMBLE(ts, size)`, out of the expressions.
    pub fn take_window(&mut self, binder: &mut Binder<'_>) -> Result<Option<GroupWindow>> {
        let Some(position) = self.nodes.iter().position(|node| GroupWindow::is_call(node)) else { return Ok(None) };
        let sp::Expr::Function(function) = self.nodes.remove(position) else {
            return Err(Error::internal("a group window is a call"));
        };
        if let Some(second) = self.nodes.iter().find(|node| GroupWindow::is_call(node)) {
            let at = binder.position(second);
            let what = "several group windows are not supported";
            return place::unsupported(what, "aggregate twice, in a subquery", at);
        }
        let name = function_call::function_name(function);
        for set in &mut self.sets {
            let before = set.len();
            set.retain(|node| *node != position);
            if set.len() == before {
                let what = format!("{name} in some grouping sets only is not supported");
                return place::unsupported(&what, "put it beside the grouping sets", binder.here);
            }
            set.iter_mut().filter(|node| **node > position).for_each(|node| *node -= 1);
        }
        GroupWindow::bind(binder, &name, function).map(Some)
    }
}

/// Builds the aggregate.
pub fn bind(
    input: Bound,
    scope: &Scope,
    group: Group,
    items: Vec<Item>,
    having: Option<Expr>,
    aggregates: Aggregates,
    environment: &Environment,
    at: Position,
) -> Result<Bound> {
    let group_at = group.keys.first().map_or(at, |(_, at)| *at);
    let mut keys = Keys::new(&input, &group);
    if let Some(window) = &group.window {
        keys = Keys::plain(&group);
        let properties = window.properties().into_iter().zip(PROPERTY_BASE..);
        let column = |property| WindowColumn { window: 0, property, zoned: false };
        keys.properties = properties.map(|((property, _), index)| (index, column(property))).collect();
    }
    let window = keys.window();
    if window.is_none() {
        keys = Keys::plain(&group);
    }
    let missing = || Error::internal("a window column outside of its input");
    let column = |index: usize| {
        let property = |w: &GroupWindow| w.properties().into_iter().nth(index.checked_sub(PROPERTY_BASE)?);
        let of_input = scope.schema.fields.get(index).map(|f| Expr::column(index, f.data_type.clone()));
        of_input.or_else(|| group.window.as_ref().and_then(property).map(|(_, column)| column)).ok_or_else(missing)
    };
    let expands = keys.sets.len() > 1;
    // Below: keys, arguments, filters, window start and end.
    let mut below = Projection { exprs: keys.exprs.clone(), arguments: if expands { keys.exprs.len() } else { 0 } };
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
    let window = match (&group.window, window) {
        (Some(of), _) => Some(WindowInput::Assign { window: of.window, rowtime: below.push(of.time.clone()) }),
        (None, Some((start, end))) => {
            let zoned = keys.properties.iter().any(|(_, w)| w.zoned);
            let window_start = below.push(column(start)?);
            Some(WindowInput::Attached { window_start, window_end: below.push(column(end)?), zoned })
        }
        (None, None) => None,
    };
    let unique = names::unique(below.exprs.iter().enumerate().map(|(i, e)| name_of(e, scope, &items, i)).collect());
    let mut rel = input.rel.project(below.exprs, unique);
    let mut positions: Vec<usize> = (0..keys.exprs.len()).collect();
    if expands {
        positions.push(rel.schema().fields.len());
        rel = expand(rel, &keys);
    }

    let mut output: Vec<Field> = positions.iter().filter_map(|k| rel.schema().fields.get(*k).cloned()).collect();
    for (i, call) in calls.iter().enumerate() {
        let named =
            items.iter().find(|item| matches!(item.expr, Expr::Column { index, .. } if index == AGGREGATE_BASE + i));
        let name = named.map_or_else(|| format!("$agg{i}"), |item| item.name.clone());
        output.push(Field::new(name, call.data_type.clone()));
    }
    for (index, _) in &keys.properties {
        let name = scope.schema.fields.get(*index).map_or_else(|| format!("$w{index}"), |f| f.name.clone());
        let data_type = column(*index)?.data_type().clone();
        // The time of a group window is typed as its column.
        let nullable = data_type.nullable && group.window.is_some();
        output.push(Field::new(name, data_type.with_nullable(nullable)));
    }
    let unique = names::unique(output.iter().map(|f| f.name.clone()).collect());
    for (field, name) in output.iter_mut().zip(unique) {
        field.name = name;
    }

    let above = Above { keys: &keys, output: &output, aggregates: calls.len(), scope, environment };
    let mut selected = Vec::with_capacity(items.len());
    for item in items {
        selected.push(Item { expr: above.rewrite(&item.expr, item.at)?, ..item });
    }
    let having = having.map(|h| above.rewrite(&h, group_at)).transpose()?;

    let mut windows: Vec<Option<WindowColumn>> = vec![None; positions.len() + calls.len()];
    windows.extend(keys.properties.iter().map(|(_, w)| Some(*w).filter(|_| group.window.is_none())));
    let (input, schema) = (Box::new(rel), Schema::new(output));
    let mut rel = match window {
        Some(input_windows) => {
            let spec = WindowAggregateSpec {
                input: input_windows,
                keys: positions,
                aggregates: calls,
                properties: keys.properties.iter().map(|(_, w)| w.property).collect(),
            };
            Rel::WindowAggregate { input, spec, schema }
        }
        None => {
            let spec = GroupAggregateSpec {
                keys: positions,
                aggregates: calls,
                retracts: false,
                update_before: false,
                state_ttl_ms: 0,
                bundles: false,
            };
            Rel::GroupAggregate { input, spec, schema }
        }
    };
    if let Some(having) = having {
        rel = rel.filter(having);
    }
    Ok(project(Bound { rel, windows }, selected))
}

/// The grouping columns.
struct Keys {
    /// Without window columns.
    exprs: Vec<Expr>,
    /// Positions in `exprs`.
    sets: Vec<Vec<usize>>,
    /// Window columns of the input by which every set groups.
    properties: Vec<(usize, WindowColumn)>,
}

impl Keys {
    /// Takes window columns out, where every set has them.
    fn new(input: &Bound, group: &Group) -> Keys {
        let window = |key: &usize| match group.keys.get(*key) {
            Some((Expr::Column { index, .. }, _)) => input.windows.get(*index).copied().flatten().map(|w| (*index, w)),
            _ => None,
        };
        let mut keys = Keys { exprs: vec![], sets: vec![], properties: vec![] };
        for key in 0..group.keys.len() {
            let everywhere = group.sets.iter().all(|set| set.iter().any(|k| window(k) == window(&key)));
            if let (Some((index, column)), true) = (window(&key), everywhere)
                && !keys.properties.iter().any(|(_, w)| *w == column)
            {
                keys.properties.push((index, column));
            }
        }
        keys.properties.sort_by_key(|(_, w)| w.property as u8);
        let properties = keys.properties.clone();
        keys.take(group, |key| window(key).is_some_and(|(_, w)| properties.iter().any(|(_, p)| *p == w)));
        keys
    }

    /// Takes all columns as they are.
    fn plain(group: &Group) -> Keys {
        let mut keys = Keys { exprs: vec![], sets: vec![], properties: vec![] };
        keys.take(group, |_| false);
        keys
    }

    fn take(&mut self, group: &Group, is_window: impl Fn(&usize) -> bool) {
        for set in &group.sets {
            let mut numbers = Vec::new();
            for key in set.iter().filter(|k| !is_window(k)) {
                let Some((expr, _)) = group.keys.get(*key) else { continue };
                let number = self.exprs.iter().position(|e| e == expr).unwrap_or_else(|| {
                    self.exprs.push(expr.clone());
                    self.exprs.len() - 1
                });
                if !numbers.contains(&number) {
                    numbers.push(number);
                }
            }
            self.sets.push(numbers);
        }
    }

    /// The input's columns of the window's start and end, if it is grouped by both.
    fn window(&self) -> Option<(usize, usize)> {
        let find = |wanted: WindowProperty| self.properties.iter().find(|(_, w)| w.property == wanted);
        match (find(WindowProperty::Start), find(WindowProperty::End)) {
            (Some((start, a)), Some((end, b))) if a.window == b.window => Some((*start, *end)),
            _ => None,
        }
    }
}

/// Each row once per grouping set.
fn expand(input: Rel, keys: &Keys) -> Rel {
    let mut fields = input.schema().fields.clone();
    for (key, field) in fields.iter_mut().enumerate().take(keys.exprs.len()) {
        field.data_type.nullable |= !keys.sets.iter().all(|set| set.contains(&key));
    }
    let id = DataType::not_null(TypeKind::BigInt);
    fields.push(Field::new(EXPAND_ID, id));
    let projection = |(number, set): (usize, &Vec<usize>)| {
        let mut exprs = input.columns();
        for (key, expr) in exprs.iter_mut().enumerate().take(keys.exprs.len()) {
            if !set.contains(&key) {
                *expr = Expr::literal(Scalar::Null, expr.data_type().kind.clone());
            }
        }
        exprs.push(bigint(number));
        exprs
    };
    let spec = ExpandSpec { projections: keys.sets.iter().enumerate().map(projection).collect() };
    Rel::Expand { input: Box::new(input), spec, schema: Schema::new(fields) }
}

fn bigint(value: usize) -> Expr {
    Expr::literal(Scalar::Int(i64::try_from(value).unwrap_or(i64::MAX)), TypeKind::BigInt)
}

struct Projection {
    exprs: Vec<Expr>,
    /// From here on, an argument may be the same column as another one.
    arguments: usize,
}

impl Projection {
    fn add(&mut self, expr: Expr) -> usize {
        let known = self.exprs.iter().skip(self.arguments).position(|e| *e == expr);
        match known {
            Some(position) => position + self.arguments,
            None => self.push(expr),
        }
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
    keys: &'a Keys,
    output: &'a [Field],
    aggregates: usize,
    scope: &'a Scope,
    environment: &'a Environment,
}

impl Above<'_> {
    fn rewrite(&self, expr: &Expr, at: Position) -> Result<Expr> {
        let expands = usize::from(self.keys.sets.len() > 1);
        if let Some(key) = self.keys.exprs.iter().position(|k| k == expr) {
            let data_type = self.output.get(key).map_or(expr.data_type(), |f| &f.data_type);
            return Ok(Expr::column(key, data_type.clone()));
        }
        if let Expr::Call { function, args, .. } = expr
            && matches!(function.as_str(), "GROUPING" | "GROUPING_ID" | "GROUP_ID")
        {
            return self.grouping(function, args, at);
        }
        if let Expr::Column { index, data_type } = expr {
            let keys = self.keys.exprs.len() + expands;
            if *index >= AGGREGATE_BASE {
                return Ok(Expr::column(keys + (index - AGGREGATE_BASE), data_type.clone()));
            }
            if let Some(property) = self.keys.properties.iter().position(|(i, _)| i == index) {
                let position = keys + self.aggregates + property;
                let nullable = data_type.nullable && *index >= PROPERTY_BASE;
                return Ok(Expr::column(position, data_type.with_nullable(nullable)));
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

    /// The value of `GROUPING` or its kin, by grouping set.
    fn grouping(&self, function: &str, args: &[Expr], at: Position) -> Result<Expr> {
        let mut columns = Vec::with_capacity(args.len());
        for arg in args {
            let Some(key) = self.keys.exprs.iter().position(|k| k == arg) else {
                let message = format!("an argument of {function} must be one of the columns of GROUP BY");
                return Err(place::error("sql_type", message, at));
            };
            columns.push(key);
        }
        let sets = &self.keys.sets;
        let same = |a: &[usize], b: &[usize]| a.len() == b.len() && a.iter().all(|k| b.contains(k));
        let value = |(number, set): (usize, &Vec<usize>)| match function {
            "GROUP_ID" => sets.iter().take(number).filter(|before| same(before, set)).count(),
            _ => columns.iter().fold(0, |bits, key| bits << 1 | usize::from(!set.contains(key))),
        };
        let values: Vec<usize> = sets.iter().enumerate().map(value).collect();
        let first = values.first().copied().unwrap_or(0);
        if values.iter().all(|v| *v == first) {
            return Ok(bigint(first));
        }
        let data_type = DataType::not_null(TypeKind::BigInt);
        let id = Expr::column(self.keys.exprs.len(), data_type.clone());
        let mut branches = Vec::new();
        for (number, value) in values.iter().enumerate().filter(|(_, v)| **v != first) {
            let is = expression::call(self.environment, "=", vec![id.clone(), bigint(number)], at)?;
            branches.push((is, bigint(*value)));
        }
        Ok(Expr::Case { branches, otherwise: Box::new(bigint(first)), data_type })
    }
}
