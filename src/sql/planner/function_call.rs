//! Binds calls: of functions, of aggregates, and the forms with a grammar of their own (`EXTRACT(… FROM …)`, `TRIM`).

use sqlparser::ast as sp;
use sqlparser::ast::{CeilFloorKind, DateTimeField, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::aggregate::{self, Kind};
use super::expression::Binder;
use super::literal;
use super::place::{self, unsupported};
use crate::error::Result;
use crate::expr::{Expr, Scalar};
use crate::sql::ast::Position;
use crate::types::{DataType, TypeKind};

/// Functions whose argument at this position is a time unit, written as a name.
const UNIT_ARGUMENTS: &[(&str, usize)] = &[("TIMESTAMPADD", 0), ("TIMESTAMPDIFF", 0)];
const GROUP_WINDOWS: &[&str] = &["TUMBLE", "HOP", "SESSION", "CUMULATE"];
const GROUP_WINDOW_PROPERTIES: &[&str] = &["_START", "_END", "_ROWTIME", "_PROCTIME"];

impl Binder<'_> {
    pub(super) fn function(&mut self, function: &sp::Function) -> Result<Expr> {
        let name = function_name(function);
        let at = place::position(&function.name).unwrap_or(self.here);
        self.here = at;
        if let Some(navigation) = self.navigation(&name, function) {
            return navigation;
        }
        if let Some(over) = &function.over {
            let spec = self.window_spec(over)?;
            return match name.as_str() {
                "ROW_NUMBER" => self.row_number(&sp::WindowType::WindowSpec(spec), at),
                _ => self.over(&name, function, &spec),
            };
        }
        if !function.within_group.is_empty() {
            return unsupported("WITHIN GROUP is not supported", "remove it", at);
        }
        if is_group_window(&name) {
            return self.group_window_property(&name, function, at);
        }
        let list = match &function.args {
            FunctionArguments::None => return self.call(&name, vec![]),
            FunctionArguments::List(list) => list,
            FunctionArguments::Subquery(_) => {
                return unsupported(
                    "a subquery as an argument is not supported",
                    "use WITH and a window aggregate",
                    at,
                );
            }
        };
        let mut args = Vec::with_capacity(list.args.len());
        let mut star = false;
        for arg in &list.args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(node)) => args.push(node),
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => star = true,
                _ => return unsupported("this kind of argument is not supported", "pass arguments by position", at),
            }
        }
        match aggregate::kind(&name) {
            Kind::Supported => return self.aggregate(&name, function, list, &args, star),
            Kind::Grouping => return self.grouping(&name, &args, at),
            Kind::Unsupported => {
                return unsupported(
                    &format!("the aggregate function {name} is not supported"),
                    "see the aggregate functions in docs/sql.md",
                    at,
                );
            }
            Kind::Scalar => {}
        }
        if star || list.duplicate_treatment.is_some() || function.filter.is_some() {
            return unsupported(&format!("{name} is not an aggregate function"), "remove *, DISTINCT and FILTER", at);
        }
        let unit = UNIT_ARGUMENTS.iter().find(|(n, _)| *n == name).map(|(_, i)| *i);
        let mut bound = Vec::with_capacity(args.len());
        for (i, node) in args.iter().enumerate() {
            bound.push(match node {
                sp::Expr::Identifier(unit_name) if unit == Some(i) => literal::string(&unit_name.value.to_uppercase()),
                node => self.bind(node)?,
            });
        }
        self.call(&name, bound)
    }

    fn aggregate(
        &mut self,
        name: &str,
        function: &sp::Function,
        list: &sp::FunctionArgumentList,
        args: &[&sp::Expr],
        star: bool,
    ) -> Result<Expr> {
        let at = self.here;
        let Some(aggregates) = self.aggregates.take() else {
            return Err(place::error(
                "sql_unsupported",
                format!(
                    "the aggregate {name} is not allowed here: use it in SELECT or HAVING, and not inside another aggregate"
                ),
                at,
            ));
        };
        // While arguments are bound, `aggregates` is gone: an aggregate of an aggregate is refused.
        let distinct = matches!(list.duplicate_treatment, Some(sp::DuplicateTreatment::Distinct));
        let bound = (|| {
            if args.is_empty() != star {
                return Err(place::error("sql_type", format!("{name} needs an argument"), at));
            }
            let arguments: Vec<Expr> = args.iter().map(|arg| self.bind(arg)).collect::<Result<_>>()?;
            let filter = function.filter.as_ref().map(|f| self.bind_predicate(f, "FILTER")).transpose()?;
            Ok(aggregate::Call { name, arguments, distinct, filter, at })
        })();
        let result = bound.and_then(|call| aggregate::add(call, aggregates, self.environment));
        self.aggregates = Some(aggregates);
        result
    }

    /// `GROUPING(a, …)`, `GROUPING_ID(a, …)`, `GROUP_ID()`: a call that `grouping` replaces.
    fn grouping(&mut self, name: &str, args: &[&sp::Expr], at: Position) -> Result<Expr> {
        let Some(aggregates) = self.aggregates.take() else {
            return Err(place::error("sql_type", format!("{name} needs GROUP BY"), at));
        };
        aggregates.grouping.get_or_insert(at);
        let bound: Result<Vec<Expr>> = args.iter().map(|arg| self.bind(arg)).collect();
        self.aggregates = Some(aggregates);
        if args.is_empty() != (name == "GROUP_ID") {
            return Err(place::error("sql_type", format!("{name} takes grouping columns"), at));
        }
        let data_type = DataType::not_null(TypeKind::BigInt);
        Ok(Expr::Call { function: name.to_owned(), args: bound?, data_type })
    }

    /// Forms that the parser gives a node of their own, and those that are refused.
    pub(super) fn special_form(&mut self, node: &sp::Expr) -> Result<Expr> {
        use sp::Expr as E;
        let at = self.here;
        match node {
            E::Extract { field, expr, .. } => {
                let value = self.bind(expr)?;
                self.call("EXTRACT", vec![unit(field), value])
            }
            E::Floor { expr, field } => self.rounding("FLOOR", expr, field),
            E::Ceil { expr, field } => self.rounding("CEIL", expr, field),
            E::Position { expr, r#in } => self.apply("POSITION", [expr, r#in]),
            E::Substring { expr, substring_from, substring_for, shorthand, .. } => {
                let name = if *shorthand { "SUBSTR" } else { "SUBSTRING" };
                self.apply(name, [Some(expr), substring_from.as_ref(), substring_for.as_ref()].into_iter().flatten())
            }
            E::Overlay { expr, overlay_what, overlay_from, overlay_for } => self.apply(
                "OVERLAY",
                [Some(expr), Some(overlay_what), Some(overlay_from), overlay_for.as_ref()].into_iter().flatten(),
            ),
            E::Trim { trim_where, trim_what, expr, trim_characters: None } => {
                let side = match trim_where {
                    Some(sp::TrimWhereField::Leading) => "LEADING",
                    Some(sp::TrimWhereField::Trailing) => "TRAILING",
                    Some(sp::TrimWhereField::Both) | None => "BOTH",
                };
                let what = match trim_what {
                    Some(what) => self.bind(what)?,
                    None => literal::string(" "),
                };
                let value = self.bind(expr)?;
                self.call("TRIM", vec![literal::string(side), what, value])
            }
            E::Exists { .. } | E::InSubquery { .. } => unsupported(
                "EXISTS and IN with a subquery are supported only in WHERE, as conditions joined by AND",
                "join the tables in FROM instead",
                at,
            ),
            E::Subquery(query) => match self.scalars {
                Some(scalars) => scalars.bind(query),
                None => unsupported("a scalar subquery is not supported here", "use it in SELECT or WHERE", at),
            },
            E::GroupingSets(_) | E::Cube(_) | E::Rollup(_) => {
                unsupported("grouping sets are not supported", "write one query per grouping and UNION ALL", at)
            }
            E::ILike { .. } => unsupported("ILIKE is not supported", "use LOWER(x) LIKE …", at),
            E::RLike { .. } => unsupported("RLIKE is not supported", "use REGEXP(x, pattern)", at),
            E::AtTimeZone { .. } => unsupported("AT TIME ZONE is not supported", "use CONVERT_TZ", at),
            E::Collate { .. } => unsupported("COLLATE is not supported", "remove it", at),
            E::Lambda(_) => unsupported("lambdas are not supported", "use the array functions without lambdas", at),
            _ => unsupported(&format!("the expression {node} is not supported"), "write it another way", at),
        }
    }

    fn rounding(&mut self, name: &str, expr: &sp::Expr, field: &CeilFloorKind) -> Result<Expr> {
        let value = self.bind(expr)?;
        match field {
            CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) => self.call(name, vec![value]),
            CeilFloorKind::DateTimeField(field) => self.call(name, vec![value, unit(field)]),
            CeilFloorKind::Scale(_) => {
                unsupported(&format!("{name} with a scale is not supported"), "use ROUND(x, scale)", self.here)
            }
        }
    }
}

/// The upper-case name of a called function.
pub fn function_name(function: &sp::Function) -> String {
    let parts: Vec<String> =
        function.name.0.iter().map(|p| p.as_ident().map_or(p.to_string(), |i| i.value.clone())).collect();
    parts.join(".").to_uppercase()
}

/// Whether it is one of Flink's legacy group window functions, or a property of one.
pub fn is_group_window(name: &str) -> bool {
    GROUP_WINDOWS.contains(&name)
        || GROUP_WINDOW_PROPERTIES
            .iter()
            .any(|suffix| name.strip_suffix(suffix).is_some_and(|w| GROUP_WINDOWS.contains(&w)))
}

fn unit(field: &DateTimeField) -> Expr {
    let name = field.to_string().to_uppercase();
    let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
    Expr::literal(Scalar::String(name), TypeKind::Char(length))
}
