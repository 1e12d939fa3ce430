//! `MATCH_RECOGNIZE`: the pattern, and expressions over rows of a match.
//!
//! While a condition or a measure is bound, a column of a pattern variable (`a.price`), `FIRST`, `LAST`, `PREV`, `NEXT`
//! and the match's own functions become columns from [`INPUT_BASE`] on, which stand for [`PatternInput`]s; in the
//! argument of an aggregate a column carries its variable until the aggregate is known. Source: Flink's
//! `MatchCodeGenerator`, Calcite's rules of navigation.

use sqlparser::ast as sp;

use super::aggregate::Aggregates;
use super::expression::{AGGREGATE_BASE, Binder};
use super::place::{self, unsupported};
use super::query::{Bound, Ctes, Item, QueryBinder, project};
use super::rel::{self, Rel};
use super::scope::{self, Scope};
use super::{function_call, literal, names};
use crate::error::{Error, Result};
use crate::expr::{Expr, Scalar};
use crate::graph::pattern::{
    AfterMatch, MAX_PATTERN_VARIABLES, MatchEnd, MatchRecognizeSpec, Pattern, PatternExpr, PatternInput, RowSet,
    RowsPerMatch,
};
use crate::graph::{AggregateCall, SortKey, SortOrder};
use crate::operator::match_recognize::nfa;
use crate::sql::ast::Position;
use crate::types::{DataType, Field, Schema, TimestampKind, TypeKind};

/// The first column number that stands for a [`PatternInput`].
const INPUT_BASE: usize = AGGREGATE_BASE / 4;
/// In the argument of an aggregate: the distance between the columns of two variables.
const VARIABLE_STRIDE: usize = 1 << 20;

/// What names mean within a pattern's expressions.
pub struct PatternScope {
    schema: Schema,
    variables: Vec<String>,
    /// `SUBSET`: a name and its variables.
    subsets: Vec<(String, Vec<usize>)>,
    /// Of expressions bound so far, all together.
    inputs: Vec<PatternInput>,
    /// From `FIRST`, `LAST`, `PREV` and `NEXT` around.
    end: MatchEnd,
    offset: u32,
    shift: i64,
    is_final: bool,
    navigating: bool,
    rowtime: DataType,
    /// Positions of aggregates that are `FINAL`.
    final_aggregates: Vec<usize>,
    /// Whether it is a condition, where `FINAL` has no meaning.
    in_define: bool,
}

/// The `WITHIN` in ms, and each variable with its condition.
type Definitions<'q> = (Option<i64>, Vec<(usize, &'q sp::Expr)>);

impl PatternScope {
    fn variables_of(&self, name: &str) -> Option<(usize, Vec<usize>)> {
        if let Some(found) = self.variables.iter().position(|v| v == name) {
            return Some((found, vec![found]));
        }
        let found = self.subsets.iter().position(|(n, _)| n == name)?;
        Some((self.variables.len() + found, self.subsets[found].1.clone()))
    }

    fn input(&mut self, input: PatternInput, data_type: DataType) -> Expr {
        let index = self.inputs.iter().position(|i| *i == input).unwrap_or_else(|| {
            self.inputs.push(input);
            self.inputs.len() - 1
        });
        Expr::column(INPUT_BASE + index, data_type)
    }

    /// A name: `column`, `variable.column`, and members of it.
    pub fn resolve(&mut self, path: &[sp::Ident], in_aggregate: bool, at: Position) -> Result<Expr> {
        let first = path.first().map_or("", |p| p.value.as_str());
        let (code, variables, rest) = match (self.variables_of(first), path) {
            (Some((code, variables)), [_, rest @ ..]) if !rest.is_empty() => (code + 1, variables, rest),
            _ => (0, vec![], path),
        };
        let plain = Scope::new(None, self.schema.clone());
        let (head, members) = rest.split_at(rest.len().min(1));
        let column = plain.resolve(head, at)?;
        let Expr::Column { index, data_type } = column else {
            return Err(Error::internal("a name is a column"));
        };
        let value = if in_aggregate {
            Expr::column(index + code * VARIABLE_STRIDE, data_type)
        } else {
            let rows = RowSet { variables, is_final: self.is_final };
            let (end, offset, shift) = (self.end, self.offset, self.shift);
            self.input(PatternInput::Row { rows, end, offset, shift, column: index }, data_type)
        };
        scope::members(value, members, at)
    }
}

impl Binder<'_> {
    /// `FIRST`, `LAST`, `PREV`, `NEXT`, `MATCH_ROWTIME`, `CLASSIFIER`, also with `FINAL` or `RUNNING`; `None` for
    /// other functions.
    pub(super) fn navigation(&mut self, name: &str, function: &sp::Function) -> Option<Result<Expr>> {
        let pattern = self.pattern.as_mut()?;
        let (is_final, name) = match (name.strip_prefix("__FINAL_"), name.strip_prefix("__RUNNING_")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => (pattern.is_final, name),
        };
        if pattern.in_define && is_final {
            let what = "FINAL in DEFINE is not supported";
            return Some(unsupported(what, "a condition sees the rows so far: leave it out", self.here));
        }
        match name {
            "FIRST" | "LAST" | "PREV" | "NEXT" => Some(self.navigate(name, function, is_final)),
            "MATCH_ROWTIME" => {
                let data_type = pattern.rowtime.clone();
                Some(Ok(pattern.input(PatternInput::MatchTime { data_type: data_type.clone() }, data_type)))
            }
            "CLASSIFIER" => {
                let data_type = DataType::string();
                Some(Ok(pattern.input(PatternInput::Classifier { data_type: data_type.clone() }, data_type)))
            }
            "MATCH_PROCTIME" | "MATCH_NUMBER" => {
                let what = format!("{name}() is not supported");
                Some(unsupported(&what, "leave it out", self.here))
            }
            other if is_final && function_call::function_name(function).starts_with("__") => {
                let mut inner = function.clone();
                inner.name = sp::ObjectName::from(vec![sp::Ident::new(other)]);
                let outer = std::mem::replace(&mut pattern.is_final, true);
                let bound = self.function(&inner);
                if let Some(pattern) = self.pattern.as_mut() {
                    pattern.is_final = outer;
                    if let Ok(Expr::Column { index, .. }) = &bound {
                        pattern.final_aggregates.extend(index.checked_sub(AGGREGATE_BASE));
                    }
                }
                Some(bound)
            }
            other if function_call::function_name(function).starts_with("__RUNNING_") => {
                let mut inner = function.clone();
                inner.name = sp::ObjectName::from(vec![sp::Ident::new(other)]);
                Some(self.function(&inner))
            }
            _ => None,
        }
    }

    fn navigate(&mut self, name: &str, function: &sp::Function, is_final: bool) -> Result<Expr> {
        let at = self.here;
        let sp::FunctionArguments::List(list) = &function.args else {
            return Err(place::error("sql_type", format!("{name} takes a value and an offset"), at));
        };
        let nodes: Vec<&sp::Expr> = list
            .args
            .iter()
            .filter_map(|a| match a {
                sp::FunctionArg::Unnamed(sp::FunctionArgExpr::Expr(e)) => Some(e),
                _ => None,
            })
            .collect();
        let (value, offset) = match nodes.as_slice() {
            [value] => (*value, None),
            [value, offset] => (*value, Some(*offset)),
            _ => return Err(place::error("sql_type", format!("{name} takes a value and an offset"), at)),
        };
        let default = i64::from(matches!(name, "PREV" | "NEXT"));
        let offset = match offset {
            None => default,
            Some(node) => match self.bind(node)? {
                Expr::Literal { value: Scalar::Int(n), .. } if (0..=1_000_000).contains(&n) => n,
                _ => {
                    let message = format!("the offset of {name} must be a constant from 0 to 1000000");
                    return Err(place::error("sql_type", message, at));
                }
            },
        };
        let in_aggregate = self.aggregates.is_none();
        let Some(pattern) = self.pattern.as_mut() else { return Err(Error::internal("navigation without a pattern")) };
        let is_logical = matches!(name, "FIRST" | "LAST");
        if in_aggregate || (pattern.navigating && is_logical) {
            let what =
                format!("{name} inside of an aggregate or of another FIRST, LAST, PREV or NEXT is not supported");
            return unsupported(&what, "write PREV(LAST(x)), or compute it in a subquery", at);
        }
        let outer = (pattern.end, pattern.offset, pattern.shift, pattern.is_final, pattern.navigating);
        pattern.is_final = is_final;
        match name {
            "PREV" => pattern.shift -= offset,
            "NEXT" => pattern.shift += offset,
            _ => {
                pattern.navigating = true;
                pattern.end = if name == "FIRST" { MatchEnd::First } else { MatchEnd::Last };
                pattern.offset = u32::try_from(offset).unwrap_or(u32::MAX);
            }
        }
        let bound = self.bind(value);
        if let Some(pattern) = self.pattern.as_mut() {
            (pattern.end, pattern.offset, pattern.shift, pattern.is_final, pattern.navigating) = outer;
        }
        bound
    }
}

/// The clauses, as the parser gives them.
pub struct Clauses<'q> {
    pub partition_by: &'q [sp::Expr],
    pub order_by: &'q [sp::OrderByExpr],
    pub measures: &'q [sp::Measure],
    pub rows_per_match: &'q Option<sp::RowsPerMatch>,
    pub after_match_skip: &'q Option<sp::AfterMatchSkip>,
    pub pattern: &'q sp::MatchRecognizePattern,
    pub symbols: &'q [sp::SymbolDefinition],
}

impl QueryBinder<'_> {
    /// Binds `table MATCH_RECOGNIZE (…)`.
    pub fn bind_match_recognize(
        &self,
        table: &sp::TableFactor,
        clauses: &Clauses<'_>,
        ctes: Option<&Ctes<'_>>,
        at: Position,
    ) -> Result<Bound> {
        let input = self.bind_factor(table, ctes)?.0.rel;
        let schema = input.schema().clone();
        let plain = Scope::new(None, schema.clone());
        let mut keys = Vec::new();
        for node in clauses.partition_by {
            let at = place::position(node).unwrap_or(at);
            match Binder::new(&plain, self.environment, at).bind(node)? {
                Expr::Column { index, .. } => keys.push(index),
                _ => return unsupported("PARTITION BY of an expression is not supported", "name a column", at),
            }
        }
        let order = self.pattern_order(clauses.order_by, &plain, at)?;
        let time = order.first().and_then(|k| schema.fields.get(k.column)).map(|f| f.data_type.clone());
        let rowtime = time.ok_or_else(|| Error::internal("a pattern has no time attribute"))?;
        let mut variables = Vec::new();
        let pattern = self.pattern(clauses.pattern, &mut variables, at)?;
        check_pattern(&pattern, &variables, at)?;
        let processing_time = matches!(rowtime.kind, TypeKind::TimestampLtz(_, TimestampKind::Proctime));
        let mut scope = PatternScope {
            schema: schema.clone(),
            variables,
            subsets: Vec::new(),
            inputs: Vec::new(),
            end: MatchEnd::Last,
            offset: 0,
            shift: 0,
            is_final: false,
            navigating: false,
            rowtime: rowtime.with_nullable(false),
            final_aggregates: Vec::new(),
            in_define: true,
        };
        let (within_ms, conditions) = self.definitions(clauses.symbols, &mut scope, at)?;
        let mut lower = Lower { exprs: rel::columns(&schema) };
        let mut define: Vec<Option<PatternExpr>> = vec![None; scope.variables.len()];
        for (variable, node) in conditions {
            let at = place::position(node).unwrap_or(at);
            let (bound, aggregates) = self.pattern_expr(node, &mut scope, Some("DEFINE"), at)?;
            let slot = define.get_mut(variable).ok_or_else(|| Error::internal("a variable outside of its pattern"))?;
            *slot = Some(finish(bound, aggregates, &mut scope, &mut lower, at)?);
        }
        scope.in_define = false;
        let rows = match clauses.rows_per_match {
            None | Some(sp::RowsPerMatch::OneRow) => RowsPerMatch::One,
            Some(sp::RowsPerMatch::AllRows(None | Some(sp::EmptyMatchesMode::Omit | sp::EmptyMatchesMode::Show))) => {
                RowsPerMatch::All
            }
            Some(sp::RowsPerMatch::AllRows(Some(_))) => {
                return unsupported("WITH UNMATCHED ROWS is not supported", "leave it out", at);
            }
        };
        let mut measures = Vec::new();
        let mut named = Vec::new();
        for measure in clauses.measures {
            let at = place::position(&measure.expr).unwrap_or(at);
            let (bound, aggregates) = self.pattern_expr(&measure.expr, &mut scope, None, at)?;
            named.push(Field::new(measure.alias.value.clone(), bound.data_type().clone()));
            measures.push(finish(bound, aggregates, &mut scope, &mut lower, at)?);
        }
        let after_match = after_match(clauses.after_match_skip, &scope, at)?;
        let (before, after) = match rows {
            RowsPerMatch::One => (keys.clone(), vec![]),
            RowsPerMatch::All => {
                let mut before = keys.clone();
                before.extend(order.iter().map(|k| k.column).filter(|c| !keys.contains(c)));
                let after = (0..schema.fields.len()).filter(|c| !before.contains(c)).collect();
                (before, after)
            }
        };
        let column = |c: &usize| schema.fields.get(*c).cloned();
        let mut fields: Vec<Field> = before.iter().filter_map(column).collect();
        fields.extend(named);
        fields.extend(after.iter().filter_map(column));
        let unique = names::unique(fields.iter().map(|f| f.name.clone()).collect());
        fields.iter_mut().zip(unique).for_each(|(field, name)| field.name = name);
        let variables = scope.variables;
        let spec = MatchRecognizeSpec {
            keys,
            order,
            processing_time,
            variables,
            pattern,
            define,
            measures,
            after_match,
            within_ms,
            rows,
            before,
            after,
        };
        let windows = vec![None; fields.len()];
        let rel = Rel::MatchRecognize {
            input: Box::new(lower.apply(input)),
            spec: Box::new(spec),
            schema: Schema::new(fields),
        };
        let items = rel.columns().into_iter().zip(&rel.schema().fields);
        let items = items.map(|(expr, f)| Item { expr, name: f.name.clone(), at }).collect();
        Ok(project(Bound { rel, windows }, items))
    }

    fn pattern_order(&self, order_by: &[sp::OrderByExpr], scope: &Scope, at: Position) -> Result<Vec<SortKey>> {
        let order = super::order::sort_keys(order_by, &mut Binder::new(scope, self.environment, at))?;
        let first_at = order_by.first().and_then(|o| place::position(&o.expr)).unwrap_or(at);
        let Some(first) = order.first() else {
            let message = "MATCH_RECOGNIZE needs ORDER BY its input's time attribute";
            return Err(place::error("sql_type", message, at));
        };
        let kind = scope.schema.fields.get(first.column).map(|f| &f.data_type.kind);
        let is_time =
            kind.is_some_and(|k| k.is_rowtime() || matches!(k, TypeKind::TimestampLtz(_, TimestampKind::Proctime)));
        if !is_time {
            let message =
                "the first column of ORDER BY must be a time attribute: declare a WATERMARK for it in its table";
            return Err(place::error("sql_type", message, first_at));
        }
        if first.order != SortOrder::Ascending {
            return Err(place::error(
                "sql_type",
                "rows are matched in ascending order of time: leave DESC out",
                first_at,
            ));
        }
        Ok(order)
    }

    fn pattern(&self, node: &sp::MatchRecognizePattern, variables: &mut Vec<String>, at: Position) -> Result<Pattern> {
        use sp::MatchRecognizePattern as P;
        Ok(match node {
            P::Symbol(sp::MatchRecognizeSymbol::Named(name)) => {
                let found = variables.iter().position(|v| *v == name.value);
                if found.is_none() && variables.len() >= MAX_PATTERN_VARIABLES {
                    let what = format!("a pattern of more than {MAX_PATTERN_VARIABLES} variables is not supported");
                    return unsupported(&what, "use fewer variables", at);
                }
                Pattern::Variable(found.unwrap_or_else(|| {
                    variables.push(name.value.clone());
                    variables.len() - 1
                }))
            }
            P::Symbol(_) => return unsupported("^ and $ in a pattern are not supported", "leave them out", at),
            P::Exclude(_) => return unsupported("{- … -} in a pattern is not supported", "leave it out", at),
            P::Permute(_) => {
                return unsupported("PERMUTE in a pattern is not supported", "write the orders as alternatives", at);
            }
            P::Group(inner) => self.pattern(inner, variables, at)?,
            P::Concat(parts) => {
                Pattern::Concat(parts.iter().map(|p| self.pattern(p, variables, at)).collect::<Result<_>>()?)
            }
            P::Alternation(parts) => {
                Pattern::Alternation(parts.iter().map(|p| self.pattern(p, variables, at)).collect::<Result<_>>()?)
            }
            // The parser knows no reluctant quantifiers: `b*?` comes as `?` of `b*`.
            P::Repetition(inner, sp::RepetitionQuantifier::AtMostOne) if matches!(**inner, P::Repetition(..)) => {
                match self.pattern(inner, variables, at)? {
                    Pattern::Repeat { min: 0, max: Some(1), .. } => {
                        let what = "the reluctant quantifier ?? is not supported";
                        return unsupported(what, "write ?, which tries both ways", at);
                    }
                    Pattern::Repeat { pattern, min, max, greedy: true } => {
                        Pattern::Repeat { pattern, min, max, greedy: false }
                    }
                    _ => return Err(place::error("sql_syntax", "a variable has one quantifier", at)),
                }
            }
            P::Repetition(inner, _) if matches!(**inner, P::Repetition(..)) => {
                return Err(place::error("sql_syntax", "a variable has one quantifier: write a group around it", at));
            }
            P::Repetition(inner, quantifier) => {
                use sp::RepetitionQuantifier as Q;
                let (min, max) = match *quantifier {
                    Q::ZeroOrMore => (0, None),
                    Q::OneOrMore => (1, None),
                    Q::AtMostOne => (0, Some(1)),
                    Q::Exactly(n) => (n, Some(n)),
                    Q::AtLeast(n) => (n, None),
                    Q::AtMost(n) => (0, Some(n)),
                    Q::Range(n, m) => (n, Some(m)),
                };
                if max.is_some_and(|max| max == 0 || max < min) {
                    let message = "a quantifier {n,m} needs n <= m, and m at least 1";
                    return Err(place::error("sql_type", message, at));
                }
                Pattern::Repeat { pattern: Box::new(self.pattern(inner, variables, at)?), min, max, greedy: true }
            }
        })
    }

    /// Takes `WITHIN` and `SUBSET` out of the definitions; the rest are conditions by variable.
    fn definitions<'q>(
        &self,
        symbols: &'q [sp::SymbolDefinition],
        scope: &mut PatternScope,
        at: Position,
    ) -> Result<Definitions<'q>> {
        let (mut within, mut conditions) = (None, Vec::new());
        for sp::SymbolDefinition { symbol, definition } in symbols {
            let at = place::of_span(symbol.span).unwrap_or(at);
            match (symbol.value.as_str(), definition) {
                ("__WITHIN", node) => within = Some(within_ms(node, at)?),
                ("__SUBSET", sp::Expr::Function(function)) => subset(function, scope, at)?,
                (name, node) => {
                    let Some(variable) = scope.variables.iter().position(|v| v == name) else {
                        let message = format!("DEFINE names '{name}', which is not in the pattern");
                        return Err(place::error("sql_type", message, at));
                    };
                    if conditions.iter().any(|(v, _)| *v == variable) {
                        let message = format!("the variable '{name}' is defined twice");
                        return Err(place::error("sql_type", message, at));
                    }
                    conditions.push((variable, node));
                }
            }
        }
        Ok((within, conditions))
    }

    /// Binds an expression over a pattern's rows; as a predicate if it is of a clause that needs one.
    fn pattern_expr(
        &self,
        node: &sp::Expr,
        scope: &mut PatternScope,
        predicate: Option<&str>,
        at: Position,
    ) -> Result<(Expr, Aggregates)> {
        let nothing = Scope::default();
        let mut aggregates = Aggregates::default();
        let mut binder = Binder::new(&nothing, self.environment, at);
        binder.aggregates = Some(&mut aggregates);
        binder.pattern = Some(scope);
        let bound = match predicate {
            Some(clause) => binder.bind_predicate(node, clause)?,
            None => binder.bind(node)?,
        };
        Ok((bound, aggregates))
    }
}

/// Columns below the operator: the input's, and arguments of aggregates that are no columns.
struct Lower {
    exprs: Vec<Expr>,
}

impl Lower {
    fn add(&mut self, expr: Expr) -> usize {
        self.exprs.iter().position(|e| *e == expr).unwrap_or_else(|| {
            self.exprs.push(expr);
            self.exprs.len() - 1
        })
    }
    fn apply(self, input: Rel) -> Rel {
        let fields = &input.schema().fields;
        if self.exprs.len() == fields.len() {
            return input;
        }
        let mut names: Vec<String> = fields.iter().map(|f| f.name.clone()).collect();
        names.extend((names.len()..self.exprs.len()).map(|i| format!("$f{i}")));
        input.project(self.exprs, names::unique(names))
    }
}

/// Turns an expression over [`INPUT_BASE`] and [`AGGREGATE_BASE`] columns into one over its own inputs.
fn finish(
    bound: Expr,
    aggregates: Aggregates,
    scope: &mut PatternScope,
    lower: &mut Lower,
    at: Position,
) -> Result<PatternExpr> {
    let mut calls = Vec::new();
    let finals = std::mem::take(&mut scope.final_aggregates);
    for (position, call) in aggregates.calls.into_iter().enumerate() {
        if call.distinct {
            return unsupported("DISTINCT in MATCH_RECOGNIZE is not supported", "leave it out", at);
        }
        let mut variable = None;
        let mut mixed = false;
        for expr in call.argument.iter().chain(&call.filter) {
            rel::each_column(expr, &mut |index| {
                let code = index / VARIABLE_STRIDE;
                mixed |= variable.replace(code).is_some_and(|other| other != code);
            });
        }
        if mixed {
            let what = "an aggregate over columns of several pattern variables is not supported";
            return unsupported(what, "aggregate each variable, or name a SUBSET", at);
        }
        let variables = match variable.unwrap_or(0) {
            0 => vec![],
            code if code <= scope.variables.len() => vec![code - 1],
            code => scope.subsets.get(code - 1 - scope.variables.len()).map(|(_, v)| v.clone()).unwrap_or_default(),
        };
        let mut plain = |expr: Expr| {
            let own = rel::substitute(&expr, &mut |index, t| Expr::column(index % VARIABLE_STRIDE, t.clone()));
            lower.add(own)
        };
        let call = AggregateCall {
            function: call.function,
            argument: call.argument.map(&mut plain),
            distinct: false,
            filter: call.filter.map(&mut plain),
            data_type: call.data_type,
        };
        calls.push(PatternInput::Aggregate { rows: RowSet { variables, is_final: finals.contains(&position) }, call });
    }
    let mut inputs: Vec<PatternInput> = Vec::new();
    let all = &scope.inputs;
    let expr = rel::substitute(&bound, &mut |index, data_type| {
        let input = match index.checked_sub(AGGREGATE_BASE) {
            Some(call) => calls.get(call),
            None => index.checked_sub(INPUT_BASE).and_then(|i| all.get(i)),
        };
        let input = input.expect("every column of a pattern's expression is one of its inputs");
        let position = inputs.iter().position(|i| i == input).unwrap_or_else(|| {
            inputs.push(input.clone());
            inputs.len() - 1
        });
        Expr::column(position, data_type.clone())
    });
    Ok(PatternExpr { expr, inputs })
}

fn check_pattern(pattern: &Pattern, variables: &[String], at: Position) -> Result<()> {
    if variables.is_empty() || nfa::is_optional(pattern) {
        let what = "a pattern that can match no rows is not supported";
        return unsupported(what, "let at least one variable be there in every match", at);
    }
    if nfa::ends_greedy(pattern) {
        let what = "a greedy quantifier of the last variable of a pattern is not supported";
        return unsupported(what, "make it reluctant (b+?), or end the pattern with a variable of one row", at);
    }
    nfa::Nfa::new(pattern).map(|_| ()).map_err(|e| place::locate(e, at))
}

fn after_match(skip: &Option<sp::AfterMatchSkip>, scope: &PatternScope, at: Position) -> Result<AfterMatch> {
    let target = |name: &sp::Ident| match scope.variables_of(&name.value) {
        Some((_, variables)) => Ok(variables),
        None => {
            let at = place::of_span(name.span).unwrap_or(at);
            let message = format!("AFTER MATCH SKIP names '{}', which is not in the pattern", name.value);
            Err(place::error("sql_type", message, at))
        }
    };
    Ok(match skip {
        None | Some(sp::AfterMatchSkip::ToNextRow) => AfterMatch::ToNextRow,
        Some(sp::AfterMatchSkip::PastLastRow) => AfterMatch::PastLastRow,
        Some(sp::AfterMatchSkip::ToFirst(name)) => AfterMatch::ToFirst(target(name)?),
        Some(sp::AfterMatchSkip::ToLast(name)) => AfterMatch::ToLast(target(name)?),
    })
}

fn within_ms(node: &sp::Expr, at: Position) -> Result<i64> {
    let sp::Expr::Interval(interval) = node else {
        return Err(place::error("sql_type", "WITHIN needs a constant interval such as INTERVAL '1' HOUR", at));
    };
    match literal::interval(interval, at)? {
        Expr::Literal { value: Scalar::Int(ms), data_type }
            if data_type.kind == TypeKind::IntervalDayTime && ms > 0 =>
        {
            Ok(ms)
        }
        _ => unsupported("WITHIN a number of months is not supported", "use days or shorter units, more than 0", at),
    }
}

fn subset(function: &sp::Function, scope: &mut PatternScope, at: Position) -> Result<()> {
    let mut parts = Vec::new();
    if let sp::FunctionArguments::List(list) = &function.args {
        for arg in &list.args {
            if let sp::FunctionArg::Unnamed(sp::FunctionArgExpr::Expr(sp::Expr::Identifier(name))) = arg {
                parts.push(name);
            }
        }
    }
    let Some((name, members)) = parts.split_first().filter(|(_, members)| !members.is_empty()) else {
        return Err(place::error("sql_syntax", "SUBSET needs the form u = (a, b)", at));
    };
    if scope.variables_of(&name.value).is_some() {
        return Err(place::error("sql_type", format!("'{}' is a variable already", name.value), at));
    }
    let mut variables = Vec::new();
    for member in members {
        let Some(found) = scope.variables.iter().position(|v| *v == member.value) else {
            let message = format!("SUBSET names '{}', which is not in the pattern", member.value);
            return Err(place::error("sql_type", message, at));
        };
        variables.push(found);
    }
    scope.subsets.push((name.value.clone(), variables));
    Ok(())
}
