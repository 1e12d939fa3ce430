//! Binds a written expression: names to columns, operators and functions to the registry, with Flink's types.
//!
//! Aggregate calls become columns from [`AGGREGATE_BASE`] on; `aggregate` moves them to their place.

use sqlparser::ast as sp;
use sqlparser::ast::{BinaryOperator, CastKind, UnaryOperator};

use super::aggregate::Aggregates;
use super::group_window::GroupWindow;
use super::match_recognize::PatternScope;
use super::place::{self, unsupported};
use super::rank::RankCall;
use super::scalar_subquery::Scalars;
use super::scope::{self, Scope};
use super::{Environment, coercion, literal, sql_type};
use crate::error::{Error, Result};
use crate::expr::{Expr, Scalar};
use crate::sql::ast::Position;
use crate::types::{DataType, TypeKind};

/// The first column number that stands for an aggregate call instead of an input column.
pub const AGGREGATE_BASE: usize = usize::MAX / 2;
/// The first column number that stands for a scalar subquery.
pub const SUBQUERY_BASE: usize = usize::MAX / 8 * 3;
/// Deepest nesting of an expression: evaluation recurses over it.
const MAX_DEPTH: usize = 400;

/// Binds expressions over the columns of one scope.
pub struct Binder<'a> {
    pub scope: &'a Scope,
    pub environment: &'a Environment,
    /// Where aggregate calls are collected; `None` where they are not allowed.
    pub aggregates: Option<&'a mut Aggregates>,
    /// Names of a row pattern, within `MATCH_RECOGNIZE`.
    pub pattern: Option<&'a mut PatternScope>,
    /// Binds scalar subqueries; `None` where they are not allowed.
    pub scalars: Option<&'a Scalars<'a>>,
    /// The query's group window, whose properties may be named.
    pub group_window: Option<GroupWindow>,
    /// Where a `ROW_NUMBER` is noted; `None` where it is not allowed.
    pub rank: Option<Option<RankCall>>,
    /// The place to report when the parser kept none.
    pub here: Position,
    pub depth: usize,
}

impl<'a> Binder<'a> {
    /// Binds expressions without aggregates.
    pub fn new(scope: &'a Scope, environment: &'a Environment, here: Position) -> Self {
        let (group_window, rank) = (None, None);
        let (aggregates, pattern, scalars) = (None, None, None);
        Binder { scope, environment, aggregates, pattern, scalars, group_window, rank, here, depth: 0 }
    }

    /// Binds a predicate.
    pub fn bind_predicate(&mut self, node: &sp::Expr, clause: &str) -> Result<Expr> {
        let at = self.position(node);
        let bound = self.bind(node)?;
        match bound.data_type().kind {
            TypeKind::Boolean => Ok(bound),
            TypeKind::Null => Ok(Expr::literal(Scalar::Null, TypeKind::Boolean)),
            _ => Err(place::error("sql_type", format!("{clause} needs a BOOLEAN, not {}", bound.data_type()), at)),
        }
    }

    /// Binds an expression.
    pub fn bind(&mut self, node: &sp::Expr) -> Result<Expr> {
        let outer = self.here;
        self.here = self.position(node);
        self.depth += 1;
        let bound = if self.depth > MAX_DEPTH {
            unsupported(
                &format!("an expression nested more than {MAX_DEPTH} levels deep is not supported"),
                "compute parts of it in a subquery",
                self.here,
            )
        } else {
            self.bind_node(node).map_err(|e| place::locate(e, self.here))
        };
        self.depth -= 1;
        self.here = outer;
        bound
    }

    fn resolve(&mut self, path: &[sp::Ident]) -> Result<Expr> {
        match &mut self.pattern {
            Some(pattern) => pattern.resolve(path, self.aggregates.is_none(), self.here),
            None => self.scope.resolve(path, self.here),
        }
    }

    /// The position of a node, or of what surrounds it.
    pub fn position(&self, node: &sp::Expr) -> Position {
        place::position(node).unwrap_or(self.here)
    }

    /// Calls a registered function with bound arguments.
    pub fn call(&self, name: &str, args: Vec<Expr>) -> Result<Expr> {
        call(self.environment, name, args, self.here)
    }

    fn bind_node(&mut self, node: &sp::Expr) -> Result<Expr> {
        use sp::Expr as E;
        match node {
            E::Identifier(name) => self.resolve(std::slice::from_ref(name)),
            E::CompoundIdentifier(path) => self.resolve(path),
            E::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain),
            E::Nested(inner) => self.bind(inner),
            E::Value(value) => literal::value(&value.value, self.here),
            E::TypedString(literal) => literal::typed(literal, self.here),
            E::Interval(interval) => literal::interval(interval, self.here),
            E::BinaryOp { left, op, right } => self.binary(node, left, op, right),
            E::UnaryOp { op, expr } => self.unary(op, expr),
            E::IsNull(x) => self.apply("IS_NULL", [x]),
            E::IsNotNull(x) => self.apply("IS_NOT_NULL", [x]),
            E::IsTrue(x) => self.apply("IS_TRUE", [x]),
            E::IsNotTrue(x) => self.apply("IS_NOT_TRUE", [x]),
            E::IsFalse(x) => self.apply("IS_FALSE", [x]),
            E::IsNotFalse(x) => self.apply("IS_NOT_FALSE", [x]),
            E::IsUnknown(x) => self.apply("IS_UNKNOWN", [x]),
            E::IsNotUnknown(x) => self.apply("IS_NOT_UNKNOWN", [x]),
            E::IsDistinctFrom(a, b) => self.apply("IS_DISTINCT_FROM", [a, b]),
            E::IsNotDistinctFrom(a, b) => self.apply("IS_NOT_DISTINCT_FROM", [a, b]),
            E::Between { expr, negated, low, high } => {
                let between = self.apply("BETWEEN", [expr, low, high])?;
                self.negate_if(*negated, between)
            }
            E::InList { expr, list, negated } => {
                let found = self.apply("IN", std::iter::once(expr.as_ref()).chain(list))?;
                self.negate_if(*negated, found)
            }
            E::Like { negated, any: false, expr, pattern, escape_char } => {
                self.pattern("LIKE", *negated, expr, pattern, escape_char)
            }
            E::SimilarTo { negated, expr, pattern, escape_char } => {
                self.pattern("SIMILAR_TO", *negated, expr, pattern, escape_char)
            }
            E::Case { operand, conditions, else_result, .. } => self.case(operand, conditions, else_result),
            E::Cast { kind, expr, data_type, array: false, format: None } => self.cast(kind, expr, data_type),
            E::Array(array) => self.apply("ARRAY", &array.elem),
            E::Tuple(items) => self.apply("ROW", items),
            E::Function(function) => self.function(function),
            _ => self.special_form(node),
        }
    }

    /// Binds arguments and calls.
    pub fn apply<'n, N: Node<'n>>(&mut self, name: &str, args: impl IntoIterator<Item = N>) -> Result<Expr> {
        let args: Result<Vec<_>> = args.into_iter().map(|a| self.bind(a.node())).collect();
        self.call(name, args?)
    }

    fn negate_if(&self, negated: bool, expr: Expr) -> Result<Expr> {
        if negated { self.call("NOT", vec![expr]) } else { Ok(expr) }
    }

    fn access(&mut self, root: &sp::Expr, chain: &[sp::AccessExpr]) -> Result<Expr> {
        // `t.column[1]` may come as the access of `t` to `column`: as many names as possible are one path.
        let mut path: Vec<sp::Ident> = match root {
            sp::Expr::Identifier(name) => vec![name.clone()],
            sp::Expr::CompoundIdentifier(names) => names.clone(),
            _ => vec![],
        };
        let mut chain = chain;
        if !path.is_empty() {
            while let [sp::AccessExpr::Dot(sp::Expr::Identifier(name)), rest @ ..] = chain {
                path.push(name.clone());
                chain = rest;
            }
        }
        let mut value = if path.is_empty() { self.bind(root)? } else { self.resolve(&path)? };
        for access in chain {
            value = match access {
                sp::AccessExpr::Dot(sp::Expr::Identifier(name)) => {
                    scope::members(value, std::slice::from_ref(name), self.here)?
                }
                sp::AccessExpr::Subscript(sp::Subscript::Index { index }) => {
                    let index = self.bind(index)?;
                    self.call("ITEM", vec![value, index])?
                }
                _ => return unsupported("slices are not supported", "use ARRAY_SLICE(array, from, to)", self.here),
            };
        }
        Ok(value)
    }

    fn binary(&mut self, node: &sp::Expr, left: &sp::Expr, op: &BinaryOperator, right: &sp::Expr) -> Result<Expr> {
        let name = match op {
            BinaryOperator::And | BinaryOperator::Or => return self.chain(node, op),
            BinaryOperator::Plus => "+",
            BinaryOperator::Minus => "-",
            BinaryOperator::Multiply => "*",
            BinaryOperator::Divide => "/",
            BinaryOperator::Modulo => "%",
            BinaryOperator::StringConcat => "||",
            BinaryOperator::Gt => ">",
            BinaryOperator::Lt => "<",
            BinaryOperator::GtEq => ">=",
            BinaryOperator::LtEq => "<=",
            BinaryOperator::Eq => "=",
            BinaryOperator::NotEq => "<>",
            BinaryOperator::Overlaps => return self.overlaps(left, right),
            other => {
                return unsupported(&format!("there is no operator {other} in Flink SQL"), "use a function", self.here);
            }
        };
        self.apply(name, [left, right])
    }

    /// `(start, end) OVERLAPS (start, end)`, where an end may be an interval.
    fn overlaps(&mut self, left: &sp::Expr, right: &sp::Expr) -> Result<Expr> {
        match (left, right) {
            (sp::Expr::Tuple(a), sp::Expr::Tuple(b)) if a.len() == 2 && b.len() == 2 => {
                self.apply("OVERLAPS", a.iter().chain(b))
            }
            _ => {
                let message = "OVERLAPS compares two periods: (start, end) or (start, interval)";
                Err(place::error("sql_type", message, self.here))
            }
        }
    }

    /// `a AND b AND c …` (or `OR`) as a balanced tree, so that long lists do not nest deeply.
    fn chain(&mut self, node: &sp::Expr, op: &BinaryOperator) -> Result<Expr> {
        let mut operands = Vec::new();
        let mut at = node;
        while let sp::Expr::BinaryOp { left, op: o, right } = at {
            if o != op {
                break;
            }
            operands.push(right.as_ref());
            at = left;
        }
        operands.push(at);
        operands.reverse();
        let bound: Result<Vec<_>> = operands.into_iter().map(|o| self.bind(o)).collect();
        let name = if *op == BinaryOperator::And { "AND" } else { "OR" };
        let mut level = bound?;
        while level.len() > 1 {
            let mut next = Vec::with_capacity(level.len().div_ceil(2));
            let mut items = level.into_iter();
            while let Some(first) = items.next() {
                next.push(match items.next() {
                    Some(second) => self.call(name, vec![first, second])?,
                    None => first,
                });
            }
            level = next;
        }
        level.pop().ok_or_else(|| Error::internal("a chain of operators without operands"))
    }

    fn unary(&mut self, op: &UnaryOperator, expr: &sp::Expr) -> Result<Expr> {
        match op {
            UnaryOperator::Not => self.apply("NOT", [expr]),
            UnaryOperator::Plus => self.bind(expr),
            UnaryOperator::Minus => {
                let inner = self.bind(expr)?;
                match literal::negated(&inner) {
                    Some(folded) => Ok(folded),
                    None => self.call("NEGATE", vec![inner]),
                }
            }
            other => unsupported(&format!("there is no operator {other} in Flink SQL"), "use a function", self.here),
        }
    }

    fn pattern(
        &mut self,
        name: &str,
        negated: bool,
        expr: &sp::Expr,
        pattern: &sp::Expr,
        escape: &Option<sp::ValueWithSpan>,
    ) -> Result<Expr> {
        let mut args = vec![self.bind(expr)?, self.bind(pattern)?];
        if let Some(escape) = escape {
            args.push(literal::value(&escape.value, self.here)?);
        }
        let matched = self.call(name, args)?;
        self.negate_if(negated, matched)
    }

    fn case(
        &mut self,
        operand: &Option<Box<sp::Expr>>,
        conditions: &[sp::CaseWhen],
        otherwise: &Option<Box<sp::Expr>>,
    ) -> Result<Expr> {
        let operand = operand.as_ref().map(|o| self.bind(o)).transpose()?;
        let mut branches = Vec::with_capacity(conditions.len());
        for when in conditions {
            let condition = match &operand {
                Some(operand) => {
                    let value = self.bind(&when.condition)?;
                    self.call("=", vec![operand.clone(), value])?
                }
                None => self.bind_predicate(&when.condition, "WHEN")?,
            };
            branches.push((condition, self.bind(&when.result)?));
        }
        let otherwise = match otherwise {
            Some(value) => self.bind(value)?,
            None => Expr::literal(Scalar::Null, TypeKind::Null),
        };
        let types: Vec<DataType> =
            branches.iter().map(|(_, v)| v).chain([&otherwise]).map(|v| v.data_type().clone()).collect();
        let data_type = coercion::least_restrictive(&types)?;
        let branches: Result<Vec<_>> =
            branches.into_iter().map(|(c, v)| Ok((c, coercion::coerce(v, &data_type)?))).collect();
        let otherwise = Box::new(coercion::coerce(otherwise, &data_type)?);
        Ok(Expr::Case { branches: branches?, otherwise, data_type })
    }

    fn cast(&mut self, kind: &CastKind, expr: &sp::Expr, data_type: &sp::DataType) -> Result<Expr> {
        let to = sql_type(data_type, self.here)?;
        let input = self.bind(expr)?;
        let cast = match kind {
            CastKind::Cast => coercion::explicit(input, &to),
            CastKind::TryCast => crate::expr::cast::try_cast(input, &to),
            _ => return unsupported("this form of cast is not supported", "use CAST(x AS type)", self.here),
        };
        cast.map_err(|e| as_type_error(e, self.here))
    }
}

/// Calls a registered function; an unknown one is refused with near names.
pub fn call(environment: &Environment, name: &str, args: Vec<Expr>, at: Position) -> Result<Expr> {
    (environment.call)(name, args).map_err(|e| match e.code.as_str() {
        "unknown_function" => {
            let near = place::suggestion(name, crate::expr::function::names());
            let message = format!("there is no function {}{near}", name.to_uppercase());
            place::error("sql_unsupported", message, at)
        }
        _ => as_type_error(e, at),
    })
}

/// What the expression layer refuses is an error of type here.
pub fn as_type_error(mut error: Error, at: Position) -> Error {
    if matches!(error.code.as_str(), "invalid_argument" | "invalid_cast") {
        "sql_type".clone_into(&mut error.code);
    }
    place::locate(error, at)
}

/// A reference to a node, boxed or not.
pub trait Node<'n> {
    /// The node.
    fn node(self) -> &'n sp::Expr;
}
impl<'n> Node<'n> for &'n sp::Expr {
    fn node(self) -> &'n sp::Expr {
        self
    }
}
impl<'n> Node<'n> for &'n Box<sp::Expr> {
    fn node(self) -> &'n sp::Expr {
        self
    }
}
