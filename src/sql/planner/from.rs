//! Binds `FROM`: tables, comma joins and written joins as one [`Tree`], and the scope of its columns. `join` makes the
//! relational tree of it once the conditions of `WHERE` are known.

use std::sync::Arc;

use sqlparser::ast as sp;
use sqlparser::ast::{JoinConstraint, JoinOperator, TableFactor, TableVersion};

use super::expression::{self, Binder};
use super::place::{self, unsupported};
use super::query::{Bound, Ctes, QueryBinder};
use super::scope::{Scope, ScopeTable};
use crate::error::Result;
use crate::expr::Expr;
use crate::graph::JoinKind;
use crate::sql::ast::Position;
use crate::types::{DataType, Field, Schema, TimestampKind, TypeKind};

/// Tables and their joins, before conditions find their place.
#[derive(Debug, Clone)]
pub enum Tree {
    Leaf(Box<Bound>),
    Join(Box<JoinTree>),
    Unnest(Box<UnnestTree>),
}

/// A collection of each row of the input, as rows beside it.
#[derive(Debug, Clone)]
pub struct UnnestTree {
    pub input: Tree,
    pub collection: Expr,
    pub keeps_empty: bool,
    pub ordinality: bool,
    /// Over all columns, all to hold.
    pub condition: Vec<Expr>,
    /// The input's columns, then the elements'.
    pub schema: Schema,
}

/// A join.
#[derive(Debug, Clone)]
pub struct JoinTree {
    pub kind: JoinKind,
    pub left: Tree,
    pub right: Tree,
    /// Over left and right columns, all to hold.
    pub condition: Vec<Expr>,
    /// The left column of `FOR SYSTEM_TIME AS OF`.
    pub as_of: Option<usize>,
    /// Left and right columns.
    pub schema: Schema,
    pub at: Position,
}

/// A bound `FROM`.
#[derive(Debug, Clone)]
pub struct From {
    pub tree: Tree,
    pub tables: Vec<ScopeTable>,
    /// Columns of `USING` and `NATURAL`.
    pub merged: Vec<(String, Expr)>,
}

impl Tree {
    /// The columns, with the names that the tables give them.
    pub fn schema(&self) -> &Schema {
        match self {
            Tree::Leaf(bound) => bound.rel.schema(),
            Tree::Join(join) => &join.schema,
            Tree::Unnest(unnest) => &unnest.schema,
        }
    }
}

impl From {
    /// The names of the columns.
    pub fn scope(&self, outer: Option<&Arc<Scope>>) -> Scope {
        Scope {
            tables: self.tables.clone(),
            schema: self.tree.schema().clone(),
            merged: self.merged.clone(),
            outer: outer.cloned(),
        }
    }
    /// Both, the right's columns after the left's.
    fn beside(&self, right: &From, at: Position) -> Result<Scope> {
        let arity = self.tree.schema().fields.len();
        let mut scope = self.scope(None);
        for table in &right.tables {
            if let Some(name) = &table.qualifier
                && scope.tables_of(name).next().is_some()
            {
                let message = format!("there are two tables '{name}' in FROM: give one another name with AS");
                return Err(place::error("sql_ambiguous_table", message, at));
            }
            let columns = table.columns.start + arity..table.columns.end + arity;
            scope.tables.push(ScopeTable { qualifier: table.qualifier.clone(), columns });
        }
        scope.schema.fields.extend(right.tree.schema().fields.iter().cloned());
        for (name, expr) in &right.merged {
            scope.merged.push((name.clone(), shift(expr, arity)));
        }
        Ok(scope)
    }
}

/// Moves columns by a number of positions.
pub fn shift(expr: &Expr, by: usize) -> Expr {
    super::rel::substitute(expr, &mut |index, data_type| Expr::column(index + by, data_type.clone()))
}

impl QueryBinder<'_> {
    /// Binds `FROM`, which has at least one item.
    pub fn bind_from(&self, items: &[sp::TableWithJoins], ctes: Option<&Ctes<'_>>) -> Result<From> {
        let mut bound: Option<From> = None;
        for item in items {
            bound = Some(match bound {
                None => self.bind_joined(item, ctes)?,
                Some(left) => {
                    let at = self.position(&item.relation);
                    let mut left =
                        self.bind_join(left, &item.relation, JoinKind::Inner, &JoinConstraint::None, ctes, at)?;
                    for join in &item.joins {
                        left = self.bind_written_join(left, join, ctes)?;
                    }
                    left
                }
            });
        }
        bound.ok_or_else(|| crate::error::Error::internal("a FROM without tables"))
    }

    fn bind_joined(&self, item: &sp::TableWithJoins, ctes: Option<&Ctes<'_>>) -> Result<From> {
        let mut left = self.bind_relation(&item.relation, ctes)?;
        for join in &item.joins {
            left = self.bind_written_join(left, join, ctes)?;
        }
        Ok(left)
    }

    fn bind_relation(&self, factor: &TableFactor, ctes: Option<&Ctes<'_>>) -> Result<From> {
        if let TableFactor::NestedJoin { table_with_joins, alias: None } = factor {
            return self.bind_joined(table_with_joins, ctes);
        }
        if let TableFactor::UNNEST { .. } = factor {
            return self.bind_lone_unnest(factor);
        }
        let (bound, qualifier) = self.bind_factor(factor, ctes)?;
        let columns = 0..bound.rel.schema().fields.len();
        Ok(From { tree: Tree::Leaf(Box::new(bound)), tables: vec![ScopeTable { qualifier, columns }], merged: vec![] })
    }

    fn bind_written_join(&self, left: From, join: &sp::Join, ctes: Option<&Ctes<'_>>) -> Result<From> {
        let at = self.position(&join.relation);
        let (kind, constraint) = match &join.join_operator {
            JoinOperator::Join(c) | JoinOperator::Inner(c) | JoinOperator::CrossJoin(c) => (JoinKind::Inner, c),
            JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => (JoinKind::Left, c),
            JoinOperator::Right(c) | JoinOperator::RightOuter(c) => (JoinKind::Right, c),
            JoinOperator::FullOuter(c) => (JoinKind::Full, c),
            JoinOperator::Semi(_) | JoinOperator::LeftSemi(_) | JoinOperator::RightSemi(_) => {
                return unsupported("SEMI JOIN is not part of Flink SQL", "use WHERE EXISTS (…) or WHERE x IN (…)", at);
            }
            JoinOperator::Anti(_) | JoinOperator::LeftAnti(_) | JoinOperator::RightAnti(_) => {
                return unsupported("ANTI JOIN is not part of Flink SQL", "use WHERE NOT EXISTS (…)", at);
            }
            _ => {
                return unsupported(
                    "this kind of join is not part of Flink SQL",
                    "use INNER, LEFT, RIGHT or FULL JOIN",
                    at,
                );
            }
        };
        let needs_condition = !matches!(join.join_operator, JoinOperator::CrossJoin(_));
        if needs_condition && matches!(constraint, JoinConstraint::None) {
            return Err(place::error("sql_syntax", "this join needs ON or USING (or write CROSS JOIN)", at));
        }
        self.bind_join(left, &join.relation, kind, constraint, ctes, at)
    }

    fn bind_join(
        &self,
        left: From,
        relation: &TableFactor,
        kind: JoinKind,
        constraint: &JoinConstraint,
        ctes: Option<&Ctes<'_>>,
        at: Position,
    ) -> Result<From> {
        if let TableFactor::UNNEST { .. } = relation {
            return self.bind_unnest(left, relation, kind, constraint, at);
        }
        let as_of = match relation {
            TableFactor::Table { version: Some(TableVersion::ForSystemTimeAsOf(time)), .. } => {
                Some(self.as_of(time, &left, kind, at)?)
            }
            _ => None,
        };
        let right = self.bind_relation(relation, ctes)?;
        let mut scope = left.beside(&right, at)?;
        let arity = left.tree.schema().fields.len();
        let condition = match constraint {
            JoinConstraint::None => vec![],
            JoinConstraint::On(node) => {
                let bound = Binder::new(&scope, self.environment, at).bind_predicate(node, "ON")?;
                super::rel::conjuncts(bound)
            }
            JoinConstraint::Using(names) => {
                let mut columns = Vec::with_capacity(names.len());
                for name in names {
                    let part = name.0.last().and_then(|p| p.as_ident()).filter(|_| name.0.len() == 1);
                    let part = part.ok_or_else(|| place::error("sql_syntax", "USING takes names of columns", at))?;
                    columns.push(part.clone());
                }
                self.merge(&columns, &left, &right, kind, &mut scope, at)?
            }
            JoinConstraint::Natural => {
                let theirs = &right.tree.schema().fields;
                let shared = left.tree.schema().fields.iter().filter(|f| theirs.iter().any(|t| t.name == f.name));
                let columns: Vec<sp::Ident> = shared.map(|f| sp::Ident::new(&f.name)).collect();
                self.merge(&columns, &left, &right, kind, &mut scope, at)?
            }
        };
        let mut schema = scope.schema;
        for (i, field) in schema.fields.iter_mut().enumerate() {
            field.data_type.nullable |= if i < arity { kind.keeps_right() } else { kind.keeps_left() };
        }
        let tree =
            Tree::Join(Box::new(JoinTree { kind, left: left.tree, right: right.tree, condition, as_of, schema, at }));
        Ok(From { tree, tables: scope.tables, merged: scope.merged })
    }

    /// `UNNEST` without a table before it: of a constant.
    fn bind_lone_unnest(&self, factor: &TableFactor) -> Result<From> {
        let at = self.position(factor);
        let one = Expr::literal(crate::expr::Scalar::Int(0), TypeKind::Int);
        let schema = Schema::new(vec![Field::new("$row", one.data_type().clone())]);
        let rel = super::rel::Rel::Values { rows: vec![vec![one]], schema };
        let row = Bound { rel, windows: vec![None] };
        let left = From { tree: Tree::Leaf(Box::new(row)), tables: vec![], merged: vec![] };
        let bound = self.bind_unnest(left, factor, JoinKind::Inner, &JoinConstraint::None, at)?;
        let mut tables = bound.tables;
        for table in &mut tables {
            table.columns = table.columns.start - 1..table.columns.end - 1;
        }
        let mut all = super::join::settle(bound.tree, vec![], self.environment)?;
        let columns = all.rel.columns().split_off(1);
        let names = all.rel.schema().fields.iter().skip(1).map(|f| f.name.clone()).collect();
        all.rel = all.rel.project(columns, names);
        all.windows.remove(0);
        Ok(From { tree: Tree::Leaf(Box::new(all)), tables, merged: vec![] })
    }

    fn bind_unnest(
        &self,
        left: From,
        factor: &TableFactor,
        kind: JoinKind,
        constraint: &JoinConstraint,
        at: Position,
    ) -> Result<From> {
        super::refuse::factor(factor, at)?;
        let TableFactor::UNNEST { alias, array_exprs, with_ordinality, .. } = factor else {
            return Err(crate::error::Error::internal("not an UNNEST"));
        };
        let [node] = array_exprs.as_slice() else {
            return unsupported("UNNEST of several collections is not supported", "use one UNNEST for each", at);
        };
        let mut scope = left.scope(None);
        let collection = Binder::new(&scope, self.environment, at).bind(node)?;
        let Some(mut columns) = crate::operator::unnest::columns(&collection.data_type().kind, *with_ordinality) else {
            let message = format!("UNNEST takes an ARRAY, a MAP or a MULTISET, not {}", collection.data_type());
            return Err(place::error("sql_type", message, place::position(node).unwrap_or(at)));
        };
        let named = alias.as_ref().map_or(&[][..], |a| &a.columns);
        if !named.is_empty() && named.len() != columns.len() {
            let message = format!("{} column names for {} columns", named.len(), columns.len());
            return Err(place::error("sql_type", message, at));
        }
        for (column, name) in columns.iter_mut().zip(named) {
            column.name.clone_from(&name.name.value);
        }
        let arity = scope.schema.fields.len();
        let qualifier = alias.as_ref().map(|a| a.name.value.clone());
        scope.tables.push(ScopeTable { qualifier, columns: arity..arity + columns.len() });
        scope.schema.fields.extend(columns);
        let condition = match constraint {
            JoinConstraint::None => vec![],
            JoinConstraint::On(node) => {
                let bound = Binder::new(&scope, self.environment, at).bind_predicate(node, "ON")?;
                let is_true = matches!(bound, Expr::Literal { value: crate::expr::Scalar::Boolean(true), .. });
                if is_true { vec![] } else { super::rel::conjuncts(bound) }
            }
            _ => return unsupported("UNNEST with USING or NATURAL is not supported", "use CROSS JOIN UNNEST", at),
        };
        let keeps_empty = match kind {
            JoinKind::Inner => false,
            JoinKind::Left if condition.is_empty() => true,
            JoinKind::Left => {
                return unsupported("LEFT JOIN UNNEST with a condition is not supported", "write ON TRUE", at);
            }
            _ => return unsupported("UNNEST can only be joined with CROSS, INNER or LEFT", "use CROSS JOIN", at),
        };
        let mut schema = scope.schema;
        if keeps_empty {
            schema.fields.iter_mut().skip(arity).for_each(|f| f.data_type.nullable = true);
        }
        let ordinality = *with_ordinality;
        let tree = UnnestTree { input: left.tree, collection, keeps_empty, ordinality, condition, schema };
        Ok(From { tree: Tree::Unnest(Box::new(tree)), tables: scope.tables, merged: scope.merged })
    }

    /// The equalities of `USING` or `NATURAL`; notes what the columns are without the name of a table.
    fn merge(
        &self,
        columns: &[sp::Ident],
        left: &From,
        right: &From,
        kind: JoinKind,
        scope: &mut Scope,
        at: Position,
    ) -> Result<Vec<Expr>> {
        let arity = left.tree.schema().fields.len();
        let mut condition = Vec::with_capacity(columns.len());
        for column in columns {
            let here = place::of_span(column.span).unwrap_or(at);
            let mine = left.scope(None).resolve(std::slice::from_ref(column), here)?;
            let theirs = shift(&right.scope(None).resolve(std::slice::from_ref(column), here)?, arity);
            condition.push(expression::call(self.environment, "=", vec![mine.clone(), theirs.clone()], here)?);
            let nullable = |e: &Expr, outer: bool| with_nullable(e, e.data_type().nullable || outer);
            let (mine, theirs) = (nullable(&mine, kind.keeps_right()), nullable(&theirs, kind.keeps_left()));
            let either = mine.data_type().nullable && theirs.data_type().nullable;
            let merged = match kind {
                JoinKind::Right => theirs,
                JoinKind::Full => expression::call(self.environment, "COALESCE", vec![mine, theirs], here)?,
                _ => with_nullable(&mine, either),
            };
            scope.merged.retain(|(name, _)| *name != column.value);
            scope.merged.push((column.value.clone(), merged));
        }
        Ok(condition)
    }

    /// The time column of `FOR SYSTEM_TIME AS OF`.
    fn as_of(&self, time: &sp::Expr, left: &From, kind: JoinKind, at: Position) -> Result<usize> {
        let scope = left.scope(None);
        let bound = Binder::new(&scope, self.environment, at).bind(time)?;
        let at = place::position(time).unwrap_or(at);
        if !matches!(kind, JoinKind::Inner | JoinKind::Left) {
            return unsupported("a temporal join can only be INNER or LEFT", "use JOIN or LEFT JOIN", at);
        }
        match (&bound, &bound.data_type().kind) {
            (Expr::Column { index, .. }, kind) if kind.is_rowtime() => Ok(*index),
            (_, TypeKind::TimestampLtz(_, TimestampKind::Proctime)) => unsupported(
                "a lookup join (FOR SYSTEM_TIME AS OF processing time) is not supported",
                "use the event time of the left table, or a regular join",
                at,
            ),
            (_, kind) => {
                let message = format!("FOR SYSTEM_TIME AS OF needs the left table's event-time column, not {kind}");
                Err(place::error("sql_type", message, at))
            }
        }
    }
}

/// The expression with another nullability, where it is a column or a member.
fn with_nullable(expr: &Expr, nullable: bool) -> Expr {
    let mut copy = expr.clone();
    if let Expr::Column { data_type, .. } | Expr::Field { data_type, .. } = &mut copy {
        *data_type = DataType { kind: data_type.kind.clone(), nullable };
    }
    copy
}

/// The columns of both inputs with different names.
pub fn output_fields(schema: &Schema) -> Vec<Field> {
    let names = super::names::unique(schema.fields.iter().map(|f| f.name.clone()).collect());
    schema.fields.iter().zip(names).map(|(f, name)| Field::new(name, f.data_type.clone())).collect()
}
