//! Binds queries to relational trees. What is not supported is refused by `refuse`.

use std::cell::Cell;

use sqlparser::ast as sp;
use sqlparser::ast::{SelectItem, SetExpr, SetOperator, SetQuantifier, Spanned, TableFactor};

use super::aggregate::Aggregates;
use super::expression::Binder;
use super::need::Need;
use super::order::Ordering;
use super::place::{self, unsupported};
use super::rel::{Rel, Scan};
use super::scalar_subquery::{self, Scalars};
use super::scope::Scope;
use super::{Environment, coercion, join, names, refuse};
use crate::error::Result;
use crate::expr::{Expr, Scalar};
use crate::graph::WindowProperty;
use crate::sql::ast::Position;
use crate::sql::catalog::{Catalog, Entry};
use crate::types::{Field, Schema, TypeKind};

/// Deepest nesting of subqueries, views and common table expressions.
const MAX_QUERY_DEPTH: usize = 64;
/// Most tables that one query may read after its views and common table expressions are written out.
const MAX_TABLES: usize = 1000;

/// Which window a column is a property of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowColumn {
    /// Distinguishes the windows of different table functions.
    pub window: u32,
    pub property: WindowProperty,
    /// Whether the window is of a `TIMESTAMP_LTZ`: aligned in the session's time zone.
    pub zoned: bool,
}

/// A bound query.
#[derive(Debug, Clone)]
pub struct Bound {
    pub rel: Rel,
    /// One per column.
    pub windows: Vec<Option<WindowColumn>>,
}

/// A column of a `SELECT` list.
pub struct Item {
    pub expr: Expr,
    pub name: String,
    pub at: Position,
}

/// The common table expressions in scope, innermost first.
pub struct Ctes<'q> {
    outer: Option<&'q Ctes<'q>>,
    cte: &'q sp::Cte,
}

/// Binds the queries of one statement.
pub struct QueryBinder<'a> {
    pub catalog: &'a Catalog,
    pub environment: &'a Environment,
    /// The statement's position.
    pub here: Position,
    depth: Cell<usize>,
    tables: Cell<usize>,
    windows: Cell<u32>,
}

impl<'a> QueryBinder<'a> {
    /// A binder for a statement at `here`.
    pub fn new(catalog: &'a Catalog, environment: &'a Environment, here: Position) -> Self {
        let (depth, tables, windows) = (Cell::new(0), Cell::new(0), Cell::new(0));
        QueryBinder { catalog, environment, here, depth, tables, windows }
    }

    /// The position of a node, or of the statement.
    pub fn position(&self, node: &impl Spanned) -> Position {
        place::position(node).unwrap_or(self.here)
    }

    /// A number for the windows of another table function.
    pub fn next_window(&self) -> u32 {
        self.windows.set(self.windows.get() + 1);
        self.windows.get()
    }

    /// Binds a query.
    pub fn bind(&self, query: &sp::Query, ctes: Option<&Ctes<'_>>) -> Result<Bound> {
        self.deeper(self.position(query), || {
            refuse::query(query, self.here)?;
            let tables = query.with.as_ref().map_or(&[][..], |w| &w.cte_tables);
            match Ordering::of(query, self.here)? {
                Some(ordering) => self.bind_ordered(query, &ordering, ctes, self.depth.get() == 1),
                None => self.bind_with(tables, ctes, &query.body),
            }
        })
    }

    /// Binds something one level deeper, unless that is too deep.
    pub(super) fn deeper<T>(&self, at: Position, bind: impl FnOnce() -> Result<T>) -> Result<T> {
        self.depth.set(self.depth.get() + 1);
        if self.depth.get() > MAX_QUERY_DEPTH {
            let what = format!("queries nested more than {MAX_QUERY_DEPTH} levels deep are not supported");
            return unsupported(&what, "write an intermediate result to a table", at);
        }
        let bound = bind();
        self.depth.set(self.depth.get() - 1);
        bound
    }

    pub(super) fn bind_with(&self, tables: &[sp::Cte], ctes: Option<&Ctes<'_>>, body: &SetExpr) -> Result<Bound> {
        match tables.split_first() {
            Some((cte, rest)) => self.bind_with(rest, Some(&Ctes { outer: ctes, cte }), body),
            None => self.bind_body(body, ctes),
        }
    }

    fn bind_body(&self, body: &SetExpr, ctes: Option<&Ctes<'_>>) -> Result<Bound> {
        let at = self.position(body);
        match body {
            SetExpr::Select(select) => self.bind_select(select, ctes),
            SetExpr::Query(query) => self.bind(query, ctes),
            SetExpr::Values(values) => self.bind_values(values),
            SetExpr::SetOperation { op: SetOperator::Union, set_quantifier: SetQuantifier::All, .. } => {
                self.bind_union(body, ctes)
            }
            SetExpr::SetOperation { op, set_quantifier, left, right } => {
                self.bind_set_operation(op, set_quantifier, [left, right], ctes)
            }
            _ => unsupported("this form of query is not supported", "write SELECT … FROM …", at),
        }
    }

    /// A side of a set operation.
    pub(super) fn bind_side(&self, side: &SetExpr, ctes: Option<&Ctes<'_>>) -> Result<Rel> {
        Ok(self.bind_body(side, ctes)?.rel)
    }

    fn bind_union(&self, body: &SetExpr, ctes: Option<&Ctes<'_>>) -> Result<Bound> {
        let mut branches = Vec::new();
        let mut at = body;
        while let SetExpr::SetOperation { op: SetOperator::Union, set_quantifier: SetQuantifier::All, left, right } = at
        {
            branches.push(right.as_ref());
            at = left;
        }
        branches.push(at);
        branches.reverse();
        let mut inputs = Vec::with_capacity(branches.len());
        for branch in &branches {
            inputs.push((self.bind_body(branch, ctes)?.rel, self.position(*branch)));
        }
        let (inputs, schema) = align(inputs, "UNION ALL")?;
        let windows = vec![None; schema.fields.len()];
        Ok(Bound { rel: Rel::Union { inputs, schema }, windows })
    }

    fn bind_values(&self, values: &sp::Values) -> Result<Bound> {
        let scope = Scope::default();
        let mut rows = Vec::with_capacity(values.rows.len());
        for row in &values.rows {
            let mut binder = Binder::new(&scope, self.environment, self.here);
            let bound: Result<Vec<Expr>> = row.content.iter().map(|e| binder.bind(e)).collect();
            rows.push((bound?, row.content.first().map_or(self.here, |e| self.position(e))));
        }
        let arity = rows.first().map_or(0, |(row, _)| row.len());
        let mut fields = Vec::with_capacity(arity);
        if let Some((_, at)) = rows.iter().find(|(row, _)| row.len() != arity || arity == 0) {
            return Err(place::error("sql_type", "VALUES needs as many columns in each row", *at));
        }
        for column in 0..arity {
            let types: Vec<_> =
                rows.iter().filter_map(|(row, _)| row.get(column)).map(|e| e.data_type().clone()).collect();
            let data_type = coercion::least_restrictive(&types).map_err(|e| place::locate(e, self.here))?;
            for (row, at) in &mut rows {
                if let Some(cell) = row.get_mut(column) {
                    let value = std::mem::replace(cell, Expr::literal(Scalar::Null, TypeKind::Null));
                    *cell = coercion::coerce(value, &data_type).map_err(|e| place::locate(e, *at))?;
                }
            }
            fields.push(Field::new(format!("EXPR${column}"), data_type));
        }
        let rows = rows.into_iter().map(|(row, _)| row).collect();
        Ok(Bound { rel: Rel::Values { rows, schema: Schema::new(fields) }, windows: vec![None; arity] })
    }

    fn bind_select(&self, select: &sp::Select, ctes: Option<&Ctes<'_>>) -> Result<Bound> {
        let at = self.position(select);
        refuse::select(select, at)?;
        if select.from.is_empty() {
            return self.bind_constant_select(select, at);
        }
        let from = self.bind_from(&select.from, ctes)?;
        let scope = from.scope(None);
        let scalars = Scalars::new(self, ctes, &scope);
        let mut conditions = self.bind_where(select.selection.as_ref(), &scope, &scalars, at)?;
        let input = join::settle(from.tree, std::mem::take(&mut conditions.conditions), self.environment)?;
        let input = self.join_subqueries(input, &scope, conditions, &scalars, at)?;
        let mut group = super::grouping::expressions(&select.group_by, at)?;
        let mut aggregates = Aggregates { is_global: group.nodes.is_empty(), ..Aggregates::default() };
        let mut binder = Binder::new(&scope, self.environment, at);
        binder.aggregates = Some(&mut aggregates);
        let group_window = group.take_window(&mut binder)?;
        binder.group_window.clone_from(&group_window);
        binder.rank = Some(None);
        binder.scalars = Some(&scalars);
        let mut items = self.bind_items(&select.projection, &mut binder)?;
        binder.scalars = None;
        let rank = binder.rank.take().flatten();
        let having = select.having.as_ref().map(|h| binder.bind_predicate(h, "HAVING")).transpose()?;
        let mut lifted = None;
        if let Some(rank) = rank {
            let (lower, above) = super::rank::lift(items, rank);
            (items, lifted) = (lower, Some(above));
        }
        let is_grouped = !group.sets.is_empty() || !aggregates.calls.is_empty() || having.is_some();
        let mut bound = if group_window.is_some() || is_grouped {
            if let Some(item) = items.iter().find(|i| scalar_subquery::has_scalar(&i.expr)) {
                let what = "a scalar subquery beside an aggregation is not supported";
                return unsupported(what, "aggregate in a subquery of FROM", item.at);
            }
            let bind = |g: &&sp::Expr| Ok((Binder::new(&scope, self.environment, at).bind(g)?, self.position(*g)));
            let keys = group.nodes.iter().map(bind).collect::<Result<_>>()?;
            let sets = if group.sets.is_empty() { vec![vec![]] } else { group.sets };
            let group = super::grouping::Group { keys, sets, window: group_window };
            super::grouping::bind(input, &scope, group, items, having, aggregates, self.environment, at)?
        } else if let Some(at) = aggregates.grouping {
            return Err(place::error("sql_type", "GROUPING, GROUPING_ID and GROUP_ID need GROUP BY", at));
        } else {
            let arity = scope.schema.fields.len();
            items.iter_mut().for_each(|i| i.expr = scalar_subquery::place_scalars(&i.expr, arity));
            project(scalars.join(input, at)?, items)
        };
        if let Some(rank) = lifted {
            bound = rank.apply(bound);
        }
        if select.distinct.is_some() {
            bound.rel = bound.rel.distinct();
        }
        Ok(bound)
    }

    /// `SELECT` without `FROM`: one row.
    fn bind_constant_select(&self, select: &sp::Select, at: Position) -> Result<Bound> {
        let scope = Scope::default();
        let mut binder = Binder::new(&scope, self.environment, at);
        let items = self.bind_items(&select.projection, &mut binder)?;
        let group = super::grouping::expressions(&select.group_by, at)?;
        if !group.sets.is_empty() || select.having.is_some() {
            return unsupported("GROUP BY without FROM is not supported", "remove it", at);
        }
        let filter = select.selection.as_ref().map(|p| binder.bind_predicate(p, "WHERE")).transpose()?;
        let unique = names::unique(items.iter().map(|i| i.name.clone()).collect());
        let fields = items.iter().zip(unique).map(|(i, name)| Field::new(name, i.expr.data_type().clone()));
        let schema = Schema::new(fields.collect());
        let windows = vec![None; items.len()];
        let row = items.into_iter().map(|i| i.expr).collect();
        let rel = Rel::Values { rows: vec![row], schema };
        Ok(Bound { rel: if let Some(filter) = filter { rel.filter(filter) } else { rel }, windows })
    }

    pub(super) fn bind_items(&self, projection: &[SelectItem], binder: &mut Binder<'_>) -> Result<Vec<Item>> {
        let mut items = Vec::with_capacity(projection.len());
        for (position, item) in projection.iter().enumerate() {
            let at = place::position(item).unwrap_or(binder.here);
            match item {
                SelectItem::UnnamedExpr(node) => {
                    items.push(Item { expr: binder.bind(node)?, name: names::of_item(node, position), at });
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    items.push(Item { expr: binder.bind(expr)?, name: alias.value.clone(), at });
                }
                SelectItem::Wildcard(options) => {
                    refuse::wildcard(options, at)?;
                    if binder.scope.schema.fields.is_empty() {
                        return Err(place::error("sql_type", "SELECT * needs a FROM", at));
                    }
                    items.extend(all_columns(binder.scope, at));
                }
                SelectItem::QualifiedWildcard(sp::SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    refuse::wildcard(options, at)?;
                    let path: Vec<sp::Ident> = name.0.iter().filter_map(|p| p.as_ident().cloned()).collect();
                    items.extend(qualified_columns(&path, binder.scope, at)?);
                }
                _ => return unsupported("this form of column is not supported", "write expression AS name", at),
            }
        }
        Ok(items)
    }

    /// Binds an item of `FROM`; answers the name under which its columns are known.
    pub fn bind_factor(&self, factor: &TableFactor, ctes: Option<&Ctes<'_>>) -> Result<(Bound, Option<String>)> {
        let at = self.position(factor);
        refuse::factor(factor, at)?;
        let (mut bound, name, alias) = match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                (self.bind_table(name, ctes)?, name.0.last().and_then(|p| p.as_ident()).map(|i| i.value.clone()), alias)
            }
            TableFactor::Table { name, alias, args: Some(args), .. } => {
                (self.bind_window_function(name, &args.args, ctes, at)?, None, alias)
            }
            TableFactor::Derived { subquery, alias, .. } => (self.bind(subquery, ctes)?, None, alias),
            TableFactor::TableFunction { expr: sp::Expr::Function(function), alias } => {
                let at = self.position(&function.name);
                let sp::FunctionArguments::List(list) = &function.args else {
                    return unsupported("this table function is not supported", "use TUMBLE or HOP", at);
                };
                (self.bind_window_function(&function.name, &list.args, ctes, at)?, None, alias)
            }
            TableFactor::MatchRecognize {
                table,
                partition_by,
                order_by,
                measures,
                rows_per_match,
                after_match_skip,
                pattern,
                symbols,
                alias,
            } => {
                let clauses = super::match_recognize::Clauses {
                    partition_by,
                    order_by,
                    measures,
                    rows_per_match,
                    after_match_skip,
                    pattern,
                    symbols,
                };
                (self.bind_match_recognize(table, &clauses, ctes, at)?, None, alias)
            }
            _ => return unsupported("this kind of table is not supported", "use a table, a view or a subquery", at),
        };
        let Some(alias) = alias else { return Ok((bound, name)) };
        let columns: Vec<String> = alias.columns.iter().map(|c| c.name.value.clone()).collect();
        bound.rel = rename(bound.rel, &columns, place::of_span(alias.name.span).unwrap_or(at))?;
        Ok((bound, Some(alias.name.value.clone())))
    }

    /// Binds a table, view or common table expression by name.
    pub fn bind_table(&self, name: &sp::ObjectName, ctes: Option<&Ctes<'_>>) -> Result<Bound> {
        let at = self.position(name);
        self.tables.set(self.tables.get() + 1);
        if self.tables.get() > MAX_TABLES {
            let what = format!("a query that reads more than {MAX_TABLES} tables is not supported");
            return unsupported(&what, "write an intermediate result to a table", at);
        }
        let parts: Vec<&sp::Ident> = name.0.iter().filter_map(|p| p.as_ident()).collect();
        let Some((last, path)) = parts.split_last() else {
            return Err(place::error("sql_unknown_table", "a table needs a name", at));
        };
        if !path.is_empty() {
            return unsupported("there is only the default catalog and database", "name the table alone", at);
        }
        let mut next = ctes;
        while let Some(Ctes { outer, cte }) = next {
            if cte.alias.name.value == last.value {
                let mut bound = self.bind(&cte.query, *outer)?;
                let columns: Vec<String> = cte.alias.columns.iter().map(|c| c.name.value.clone()).collect();
                bound.rel = rename(bound.rel, &columns, place::of_span(cte.alias.name.span).unwrap_or(at))?;
                return Ok(bound);
            }
            next = *outer;
        }
        match self.catalog.get(&last.value) {
            Some(Entry::Table(table)) => {
                let schema = table.schema();
                let columns = (0..schema.fields.len()).map(|i| (i, Need::All)).collect();
                let windows = vec![None; schema.fields.len()];
                Ok(Bound { rel: Rel::Scan(Scan { table: table.clone(), columns, schema }), windows })
            }
            Some(Entry::View(view)) => {
                let mut bound = self.bind(&view.query, None)?;
                bound.rel = rename(bound.rel, &view.columns, at)?;
                Ok(bound)
            }
            None => {
                let near = place::suggestion(&last.value, self.catalog.names());
                let message = format!("there is no table or view '{}'{near}", last.value);
                Err(place::error("sql_unknown_table", message, at))
            }
        }
    }
}

/// Inputs with the columns that they have in common, and these; errors name the operation.
pub(super) fn align(inputs: Vec<(Rel, Position)>, operation: &str) -> Result<(Vec<Rel>, Schema)> {
    let Some((first, _)) = inputs.first() else {
        return Err(crate::error::Error::internal("a set operation without inputs"));
    };
    let mut fields = first.schema().fields.clone();
    for (input, at) in &inputs {
        let theirs = &input.schema().fields;
        if theirs.len() != fields.len() {
            let message =
                format!("{operation} needs as many columns in each query: {} and {}", fields.len(), theirs.len());
            return Err(place::error("sql_type", message, *at));
        }
        for (mine, their) in fields.iter_mut().zip(theirs) {
            mine.data_type =
                coercion::least_restrictive(&[mine.data_type.clone(), their.data_type.clone()]).map_err(|e| {
                    let message = format!("column '{}' of {operation}: {}", mine.name, e.message);
                    place::error("sql_type", message, *at)
                })?;
        }
    }
    let schema = Schema::new(fields);
    let mut coerced = Vec::with_capacity(inputs.len());
    for (input, at) in inputs {
        coerced.push(coerce_columns(input, &schema).map_err(|e| super::expression::as_type_error(e, at))?);
    }
    Ok((coerced, schema))
}

/// `*`: the columns of `USING` once and first, then all others.
fn all_columns(scope: &Scope, at: Position) -> Vec<Item> {
    let merged = scope.merged.iter().map(|(name, expr)| Item { expr: expr.clone(), name: name.clone(), at });
    let columns = super::rel::columns(&scope.schema).into_iter().zip(&scope.schema.fields);
    let others = columns.filter(|(_, f)| !scope.merged.iter().any(|(name, _)| *name == f.name));
    merged.chain(others.map(|(expr, f)| Item { expr, name: f.name.clone(), at })).collect()
}

fn qualified_columns(path: &[sp::Ident], scope: &Scope, at: Position) -> Result<Vec<Item>> {
    if let [only] = path
        && let Some(table) = scope.tables_of(&only.value).next()
    {
        let columns = super::rel::columns(&scope.schema).into_iter().zip(&scope.schema.fields);
        let columns = columns.take(table.columns.end).skip(table.columns.start);
        return Ok(columns.map(|(expr, f)| Item { expr, name: f.name.clone(), at }).collect());
    }
    let row = scope.resolve(path, at)?;
    let TypeKind::Row(fields) = row.data_type().kind.clone() else {
        return Err(place::error("sql_type", format!("only a table or a ROW has .*, this is {}", row.data_type()), at));
    };
    fields
        .iter()
        .map(|f| {
            let expr = super::scope::members(row.clone(), &[sp::Ident::new(&f.name)], at)?;
            Ok(Item { expr, name: f.name.clone(), at })
        })
        .collect()
}

/// A projection; columns that stay columns stay properties of their window.
pub fn project(input: Bound, items: Vec<Item>) -> Bound {
    let windows = items
        .iter()
        .map(|item| match item.expr {
            Expr::Column { index, .. } => input.windows.get(index).copied().flatten(),
            _ => None,
        })
        .collect();
    let (exprs, names): (Vec<_>, Vec<_>) = items.into_iter().map(|i| (i.expr, i.name)).unzip();
    Bound { rel: input.rel.project(exprs, names::unique(names)), windows }
}

fn rename(rel: Rel, columns: &[String], at: Position) -> Result<Rel> {
    if columns.is_empty() {
        return Ok(rel);
    }
    if columns.len() != rel.schema().fields.len() {
        let message = format!("{} column names for {} columns", columns.len(), rel.schema().fields.len());
        return Err(place::error("sql_type", message, at));
    }
    let all = rel.columns();
    Ok(rel.project(all, columns.to_vec()))
}

/// Casts each column to the schema's kind, where it differs.
fn coerce_columns(rel: Rel, schema: &Schema) -> Result<Rel> {
    let same = rel.schema().fields.iter().zip(&schema.fields).all(|(a, b)| a.data_type.kind == b.data_type.kind);
    if same {
        return Ok(rel);
    }
    let columns = rel.columns().into_iter().zip(&schema.fields);
    let exprs: Result<Vec<_>> = columns.map(|(e, f)| coercion::coerce(e, &f.data_type)).collect();
    let names = schema.fields.iter().map(|f| f.name.clone()).collect();
    Ok(rel.project(exprs?, names))
}
