//! Makes relational trees of joins: conditions sink to where they can be tested first, equalities become keys, bounds on
//! two event times an interval join.
//!
//! Sources: Calcite's `FilterJoinRule`, Flink's `IntervalJoinUtil` and `TemporalJoinUtil`. The types of columns stay
//! those that were bound: an outer join that `WHERE` turns into an inner one keeps its nullable columns, and a time
//! attribute keeps its type above a regular join, where it is none any more (see [`super::time`]).

use super::from::{JoinTree, Tree, UnnestTree, output_fields};
use super::place::{self, unsupported};
use super::query::{Bound, WindowColumn};
use super::rel::{self, Join, JoinForm, Rel, Unnest, WindowBounds};
use super::{Environment, coercion, expression, keys, time};
use crate::error::Result;
use crate::expr::{Expr, Scalar};
use crate::graph::{JoinCondition, JoinKey, JoinKind, UnnestSpec, WindowProperty};
use crate::sql::ast::Position;
use crate::types::{Field, Schema, TypeKind};

/// Functions that give null when an argument is null, so that a comparison with them is not true then.
const STRICT: &[&str] = &["=", "<>", "<", "<=", ">", ">=", "BETWEEN", "LIKE", "+", "-", "*", "/", "%", "NEGATE"];

/// Which inputs an expression reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Neither,
    Left,
    Right,
    Both,
}

fn side(expr: &Expr, arity: usize) -> Side {
    match (rel::any_column(expr, |i| i < arity), rel::any_column(expr, |i| i >= arity)) {
        (false, false) => Side::Neither,
        (true, false) => Side::Left,
        (false, true) => Side::Right,
        (true, true) => Side::Both,
    }
}

/// Moves columns of the right input to its own numbering.
fn unshift(expr: &Expr, by: usize) -> Expr {
    rel::substitute(expr, &mut |index, data_type| Expr::column(index.saturating_sub(by), data_type.clone()))
}

/// Builds the tree of a `FROM` under these conditions (the conjuncts of `WHERE`).
pub fn settle(tree: Tree, conditions: Vec<Expr>, environment: &Environment) -> Result<Bound> {
    let join = match tree {
        Tree::Leaf(mut bound) => {
            if let Some(filter) = rel::conjunction(conditions) {
                bound.rel = bound.rel.filter(filter);
            }
            return Ok(*bound);
        }
        Tree::Unnest(unnest) => return settle_unnest(*unnest, conditions, environment),
        Tree::Join(join) => *join,
    };
    let arity = join.left.schema().fields.len();
    let kind = conditions.iter().fold(join.kind, |kind, condition| simplified(kind, condition, arity));
    let (mut left, mut right, mut own, mut above) = (vec![], vec![], vec![], vec![]);
    // The versions of a temporal join's right side are all needed: a filter below would bring back an older one.
    let right_may = |side: Side| side == Side::Right && join.as_of.is_none();
    for condition in conditions {
        match (kind, side(&condition, arity)) {
            (JoinKind::Inner | JoinKind::Left | JoinKind::Semi | JoinKind::Anti, Side::Left) => left.push(condition),
            (JoinKind::Inner | JoinKind::Right, side) if right_may(side) => right.push(unshift(&condition, arity)),
            (JoinKind::Inner, _) => own.push(condition),
            _ => above.push(condition),
        }
    }
    for condition in join.condition {
        match (kind, side(&condition, arity)) {
            (JoinKind::Inner | JoinKind::Right | JoinKind::Semi, Side::Left) => left.push(condition),
            (JoinKind::Inner | JoinKind::Left | JoinKind::Semi | JoinKind::Anti, side) if right_may(side) => {
                right.push(unshift(&condition, arity));
            }
            _ => own.push(condition),
        }
    }
    let inputs = Inputs {
        left: settle(join.left, left, environment)?,
        right: settle(join.right, right, environment)?,
        condition: own,
        as_of: join.as_of,
        at: join.at,
    };
    let mut bound = build(kind, inputs, output_fields(&join.schema), environment)?;
    if let Some(filter) = rel::conjunction(above) {
        bound.rel = bound.rel.filter(filter);
    }
    Ok(bound)
}

fn settle_unnest(unnest: UnnestTree, conditions: Vec<Expr>, environment: &Environment) -> Result<Bound> {
    let arity = unnest.input.schema().fields.len();
    let (below, above): (Vec<Expr>, Vec<Expr>) =
        conditions.into_iter().chain(unnest.condition).partition(|c| side(c, arity) == Side::Left);
    let input = settle(unnest.input, below, environment)?;
    let fields = output_fields(&unnest.schema);
    let mut windows = input.windows;
    windows.resize(fields.len(), None);
    let spec = UnnestSpec {
        collection: unnest.collection,
        keeps_empty: unnest.keeps_empty,
        ordinality: unnest.ordinality,
        output: (0..fields.len()).collect(),
    };
    let mut rel = Rel::Unnest(Unnest { input: Box::new(input.rel), spec, schema: Schema::new(fields) });
    if let Some(filter) = rel::conjunction(above) {
        rel = rel.filter(filter);
    }
    Ok(Bound { rel, windows })
}

/// The kind under a condition that is not true for null-padded rows.
fn simplified(kind: JoinKind, condition: &Expr, arity: usize) -> JoinKind {
    let (mut left, mut right) = (false, false);
    strict_columns(condition, &mut |i| if i < arity { left = true } else { right = true });
    let kind = match (kind, right) {
        (JoinKind::Left, true) => JoinKind::Inner,
        (JoinKind::Full, true) => JoinKind::Right,
        (kind, _) => kind,
    };
    match (kind, left) {
        (JoinKind::Right, true) => JoinKind::Inner,
        (JoinKind::Full, true) => JoinKind::Left,
        (kind, _) => kind,
    }
}

/// The columns that must not be null for the predicate to be true.
fn strict_columns(expr: &Expr, visit: &mut impl FnMut(usize)) {
    match expr {
        Expr::Column { index, .. } => visit(*index),
        Expr::Call { function, args, .. } if STRICT.contains(&function.as_str()) || function == "IS_NOT_NULL" => {
            args.iter().for_each(|a| strict_columns(a, visit));
        }
        Expr::Cast { input, on_failure_null: false, .. } => strict_columns(input, visit),
        Expr::Field { row, .. } => strict_columns(row, visit),
        _ => {}
    }
}

/// A join's inputs and what pairs must satisfy.
pub struct Inputs {
    pub left: Bound,
    pub right: Bound,
    /// Over left and right columns, all to hold.
    pub condition: Vec<Expr>,
    /// The left column of `FOR SYSTEM_TIME AS OF`.
    pub as_of: Option<usize>,
    pub at: Position,
}

/// Builds one join; `fields` are its output columns: all of both inputs, or of the left for `Semi` and `Anti`.
pub fn build(kind: JoinKind, inputs: Inputs, fields: Vec<Field>, environment: &Environment) -> Result<Bound> {
    let Inputs { left, right, condition, as_of, at } = inputs;
    let arity = left.rel.schema().fields.len();
    let right_arity = right.rel.schema().fields.len();
    let (form, rest) = match as_of {
        Some(left_time) => (temporal(&left.rel, &right.rel, left_time, at)?, condition),
        None if kind.is_semi_or_anti() => (JoinForm::Regular, condition),
        None => match interval(&left.rel, &right.rel, &condition, environment, at)? {
            Some((form, rest)) => (form, rest),
            None => (JoinForm::Regular, condition),
        },
    };
    let mut sides = [Computed::new(arity), Computed::new(right_arity)];
    let (mut keys, mut residual) = (Vec::new(), Vec::new());
    for condition in rest {
        match equality(&condition, arity) {
            Some((mine, theirs, null_safe)) => {
                keys.push(JoinKey { left: sides[0].column(mine), right: sides[1].column(theirs), null_safe });
            }
            None => residual.push(condition),
        }
    }
    let extra = sides[0].exprs.len();
    // The right's columns move behind what was added to the left.
    let residual = rel::conjunction(residual)
        .map(|r| rel::substitute(&r, &mut |i, t| Expr::column(if i >= arity { i + extra } else { i }, t.clone())));
    if matches!(form, JoinForm::Temporal { .. }) {
        check_versions(&right.rel, &keys, at)?;
    }
    let windows = windows(kind, &left, &right, &keys);
    let form = match (form, window_form(&left, &right, &keys)) {
        (JoinForm::Regular, Some(form)) => form,
        (form, _) => form,
    };
    let [mine, theirs] = sides;
    let left = Box::new(mine.add_to(left.rel));
    let right = Box::new(theirs.add_to(right.rel));
    let mut output: Vec<usize> = (0..arity).collect();
    if !kind.is_semi_or_anti() {
        output.extend(arity + extra..arity + extra + right_arity);
    }
    let condition = JoinCondition { kind, keys, residual, output };
    let join = Rel::Join(Join { left, right, condition, form, schema: Schema::new(fields) });
    Ok(Bound { rel: join, windows })
}

/// Columns that keys need and an input has not.
struct Computed {
    arity: usize,
    exprs: Vec<Expr>,
}

impl Computed {
    fn new(arity: usize) -> Self {
        Computed { arity, exprs: vec![] }
    }
    fn column(&mut self, expr: Expr) -> usize {
        if let Expr::Column { index, .. } = expr {
            return index;
        }
        let known = self.exprs.iter().position(|e| *e == expr);
        self.arity
            + known.unwrap_or_else(|| {
                self.exprs.push(expr);
                self.exprs.len() - 1
            })
    }
    fn add_to(self, rel: Rel) -> Rel {
        if self.exprs.is_empty() {
            return rel;
        }
        let mut names: Vec<String> = rel.schema().fields.iter().map(|f| f.name.clone()).collect();
        names.extend((0..self.exprs.len()).map(|i| format!("$key{i}")));
        let mut all = rel.columns();
        all.extend(self.exprs);
        rel.project(all, super::names::unique(names))
    }
}

/// An equality of an expression over the left input and one over the right (in its own numbering).
fn equality(condition: &Expr, arity: usize) -> Option<(Expr, Expr, bool)> {
    let Expr::Call { function, args, .. } = condition else { return None };
    let null_safe = match function.as_str() {
        "=" => false,
        "IS_NOT_DISTINCT_FROM" => true,
        _ => return None,
    };
    let [a, b] = args.as_slice() else { return None };
    let (mine, theirs) = match (side(a, arity), side(b, arity)) {
        (Side::Left, Side::Right) => (a, b),
        (Side::Right, Side::Left) => (b, a),
        _ => return None,
    };
    let theirs = unshift(theirs, arity);
    if mine.data_type().to_arrow() == theirs.data_type().to_arrow() {
        return Some((mine.clone(), theirs, null_safe));
    }
    // Decimals of different scales are compared as numbers; as keys they need one type.
    let types = [mine.data_type().clone(), theirs.data_type().clone()];
    let common = coercion::least_restrictive(&types).ok()?;
    let mine = coercion::coerce(mine.clone(), &common).ok()?;
    Some((mine, coercion::coerce(theirs, &common).ok()?, null_safe))
}

/// A window join, where the start and the end of windows of both sides are equal.
fn window_form(left: &Bound, right: &Bound, keys: &[JoinKey]) -> Option<JoinForm> {
    let joined = |property: WindowProperty| {
        keys.iter().filter_map(move |key| {
            let mine = left.windows.get(key.left).copied().flatten()?;
            let theirs = right.windows.get(key.right).copied().flatten()?;
            (mine.property == property && theirs.property == property).then_some((key, mine, theirs))
        })
    };
    joined(WindowProperty::Start).find_map(|(start, mine, theirs)| {
        let same = |m: &WindowColumn, t: &WindowColumn| (m.window, t.window) == (mine.window, theirs.window);
        let (end, ..) = joined(WindowProperty::End).find(|(_, m, t)| same(m, t) && m.zoned == t.zoned)?;
        let left = WindowBounds { start: start.left, end: end.left, zoned: mine.zoned };
        Some(JoinForm::Window { left, right: WindowBounds { start: start.right, end: end.right, zoned: mine.zoned } })
    })
}

/// The windows of the output: those of both sides where the join is on windows.
fn windows(kind: JoinKind, left: &Bound, right: &Bound, keys: &[JoinKey]) -> Vec<Option<WindowColumn>> {
    let joined = |property: WindowProperty| {
        keys.iter().find_map(|key| {
            let mine = left.windows.get(key.left).copied().flatten()?;
            let theirs = right.windows.get(key.right).copied().flatten()?;
            (mine.property == property && theirs.property == property).then_some((mine.window, theirs.window))
        })
    };
    let same = joined(WindowProperty::Start).zip(joined(WindowProperty::End)).is_some_and(|(start, end)| start == end);
    let right = if kind.is_semi_or_anti() { &[][..] } else { &right.windows };
    left.windows.iter().chain(right).map(|w| w.filter(|_| same)).collect()
}

/// The form of `JOIN t FOR SYSTEM_TIME AS OF time`.
fn temporal(left: &Rel, right: &Rel, left_time: usize, at: Position) -> Result<JoinForm> {
    if !time::is_event_time(left, left_time) {
        let what = "FOR SYSTEM_TIME AS OF a column that is not event time any more is not supported";
        return unsupported(
            what,
            "join the table that declares the WATERMARK first, before joins without time bounds",
            at,
        );
    }
    let times: Vec<usize> = (0..right.schema().fields.len()).filter(|i| time::is_event_time(right, *i)).collect();
    let [right_time] = times.as_slice() else {
        let message = "a temporal join needs a versioned table on its right: one with PRIMARY KEY (…) NOT ENFORCED and a \
                       WATERMARK, or a view that keeps the last row of each key by its event time";
        return Err(place::error("sql_unsupported", message, at));
    };
    Ok(JoinForm::Temporal { left_time, right_time: *right_time })
}

/// A versioned table's primary key must be among the join's keys.
fn check_versions(right: &Rel, join_keys: &[JoinKey], at: Position) -> Result<()> {
    let unique = keys::unique_keys(right);
    if unique.is_empty() {
        let message = "a temporal join needs a versioned table on its right: this one has no primary key; declare PRIMARY \
                       KEY (…) NOT ENFORCED";
        return Err(place::error("sql_unsupported", message, at));
    }
    let covered = |key: &Vec<usize>| key.iter().all(|c| join_keys.iter().any(|k| k.right == *c));
    if !unique.iter().any(covered) {
        let name = |i: &usize| right.schema().fields.get(*i).map_or("?", |f| f.name.as_str());
        let key: Vec<&str> = unique.first().into_iter().flatten().map(name).collect();
        let message = format!(
            "a temporal join needs the versioned table's primary key ({}) in its ON equalities",
            key.join(", ")
        );
        return Err(place::error("sql_unsupported", message, at));
    }
    Ok(())
}

/// `time + offset`, as a column and ms.
fn term(expr: &Expr) -> Option<(usize, i64)> {
    match expr {
        Expr::Column { index, .. } => Some((*index, 0)),
        Expr::Cast { input, data_type, .. } if input.data_type().kind.regular() == data_type.kind.regular() => {
            term(input)
        }
        Expr::Call { function, args, .. } => match (function.as_str(), args.as_slice()) {
            ("+", [a, b]) => match (term(a), interval_ms(b), interval_ms(a), term(b)) {
                (Some((column, offset)), Some(ms), ..) | (.., Some(ms), Some((column, offset))) => {
                    Some((column, offset.checked_add(ms)?))
                }
                _ => None,
            },
            ("-", [a, b]) => {
                let ((column, offset), ms) = (term(a)?, interval_ms(b)?);
                Some((column, offset.checked_sub(ms)?))
            }
            _ => None,
        },
        _ => None,
    }
}

fn interval_ms(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal { value: Scalar::Int(ms), data_type } if data_type.kind == TypeKind::IntervalDayTime => Some(*ms),
        _ => None,
    }
}

/// Finds the bounds on the distance of two event times; answers the other conditions too.
fn interval(
    left: &Rel,
    right: &Rel,
    conditions: &[Expr],
    environment: &Environment,
    at: Position,
) -> Result<Option<(JoinForm, Vec<Expr>)>> {
    let arity = left.schema().fields.len();
    let mut split = Vec::with_capacity(conditions.len());
    for condition in conditions {
        match condition {
            Expr::Call { function, args, .. } if function == "BETWEEN" => {
                let [x, low, high] = args.as_slice() else { continue };
                split.push(expression::call(environment, ">=", vec![x.clone(), low.clone()], at)?);
                split.push(expression::call(environment, "<=", vec![x.clone(), high.clone()], at)?);
            }
            other => split.push(other.clone()),
        }
    }
    let mut times: Option<(usize, usize)> = None;
    let (mut lower, mut upper) = (None::<i64>, None::<i64>);
    let mut rest = Vec::with_capacity(split.len());
    for condition in split {
        let Some((mine, theirs, test, ms)) = time_bound(&condition, left, right, arity) else {
            rest.push(condition);
            continue;
        };
        if times.is_some_and(|t| t != (mine, theirs)) {
            rest.push(condition);
            continue;
        }
        times = Some((mine, theirs));
        let (at_least, at_most) = match test {
            Test::Equal => (Some(ms), Some(ms)),
            Test::Above => (ms.checked_add(1), None),
            Test::AtLeast => (Some(ms), None),
            Test::Below => (None, ms.checked_sub(1)),
            Test::AtMost => (None, Some(ms)),
        };
        lower = lower.max(at_least);
        upper = [upper, at_most].into_iter().flatten().min();
    }
    Ok(match (times, lower, upper) {
        (Some((left_time, right_time)), Some(lower_ms), Some(upper_ms)) => {
            Some((JoinForm::Interval { left_time, right_time, lower_ms, upper_ms }, rest))
        }
        _ => None,
    })
}

enum Test {
    Equal,
    Above,
    AtLeast,
    Below,
    AtMost,
}

/// `left time - right time (test) ms`.
fn time_bound(condition: &Expr, left: &Rel, right: &Rel, arity: usize) -> Option<(usize, usize, Test, i64)> {
    let Expr::Call { function, args, .. } = condition else { return None };
    let [a, b] = args.as_slice() else { return None };
    let test = match function.as_str() {
        "=" => Test::Equal,
        ">" => Test::Above,
        ">=" => Test::AtLeast,
        "<" => Test::Below,
        "<=" => Test::AtMost,
        _ => return None,
    };
    let ((a, a_ms), (b, b_ms)) = (term(a)?, term(b)?);
    let (mine, theirs, test, ms) = match (a < arity, b < arity) {
        (true, false) => (a, b - arity, test, b_ms.checked_sub(a_ms)?),
        (false, true) => {
            let flipped = match test {
                Test::Equal => Test::Equal,
                Test::Above => Test::Below,
                Test::AtLeast => Test::AtMost,
                Test::Below => Test::Above,
                Test::AtMost => Test::AtLeast,
            };
            (b, a - arity, flipped, a_ms.checked_sub(b_ms)?)
        }
        _ => return None,
    };
    (time::is_event_time(left, mine) && time::is_event_time(right, theirs)).then_some((mine, theirs, test, ms))
}

/// Pushes the conjuncts of a filter over a join's output into its inputs, where that keeps the result; answers the rest.
pub fn push_filter(join: &mut Join, filter: Vec<Expr>) -> Vec<Expr> {
    let arity = join.left.schema().fields.len();
    let (mut left, mut right, mut rest) = (vec![], vec![], vec![]);
    let kind = join.condition.kind;
    for condition in filter {
        let below = rel::substitute(&condition, &mut |i, t| {
            Expr::column(join.condition.output.get(i).copied().unwrap_or(i), t.clone())
        });
        let regular = matches!(join.form, JoinForm::Regular | JoinForm::Window { .. });
        match (kind, side(&below, arity)) {
            (JoinKind::Inner | JoinKind::Left | JoinKind::Semi | JoinKind::Anti, Side::Left) => left.push(below),
            (JoinKind::Inner | JoinKind::Right, Side::Right) if regular => right.push(unshift(&below, arity)),
            _ => rest.push(condition),
        }
    }
    for (input, conditions) in [(&mut join.left, left), (&mut join.right, right)] {
        if let Some(filter) = rel::conjunction(conditions) {
            let rel = std::mem::replace(input.as_mut(), Rel::Values { rows: vec![], schema: Schema::default() });
            **input = rel.filter(filter);
        }
    }
    rest
}

/// A join of two bound queries on a condition, for subqueries.
pub fn of_queries(
    kind: JoinKind,
    left: Bound,
    right: Bound,
    condition: Vec<Expr>,
    environment: &Environment,
    at: Position,
) -> Result<Bound> {
    let mut schema = left.rel.schema().clone();
    if !kind.is_semi_or_anti() {
        let padded = kind.keeps_left();
        schema.fields.extend(
            right
                .rel
                .schema()
                .fields
                .iter()
                .map(|f| Field::new(f.name.clone(), f.data_type.with_nullable(f.data_type.nullable || padded))),
        );
    }
    let tree = JoinTree {
        kind,
        left: Tree::Leaf(Box::new(left)),
        right: Tree::Leaf(Box::new(right)),
        condition,
        as_of: None,
        schema,
        at,
    };
    settle(Tree::Join(Box::new(tree)), vec![], environment)
}

/// Moves a subquery's own columns behind the outer query's.
pub fn beside_outer(expr: &Expr, outer_arity: usize) -> Expr {
    use super::scope::OUTER_BASE;
    rel::substitute(expr, &mut |index, data_type| {
        let is_outer = (OUTER_BASE..super::expression::SUBQUERY_BASE).contains(&index);
        Expr::column(if is_outer { index - OUTER_BASE } else { index + outer_arity }, data_type.clone())
    })
}
