//! What queries may not contain: refused at its place, with what to write instead.

use sqlparser::ast as sp;
use sqlparser::ast::{Spanned, TableFactor};

use super::place::{self, unsupported};
use crate::error::Result;
use crate::sql::ast::Position;

fn at(node: &impl Spanned, fallback: Position) -> Position {
    place::position(node).unwrap_or(fallback)
}

/// Clauses around a query's body.
pub fn query(query: &sp::Query, here: Position) -> Result<()> {
    let here = at(query, here);
    if query.with.as_ref().is_some_and(|w| w.recursive) {
        return unsupported("WITH RECURSIVE is not supported", "write each level as a query of its own", here);
    }
    let foreign = !query.locks.is_empty()
        || query.for_clause.is_some()
        || query.settings.is_some()
        || query.format_clause.is_some()
        || !query.pipe_operators.is_empty();
    if foreign {
        return unsupported("this clause is not part of Flink SQL", "leave it out", here);
    }
    Ok(())
}

/// Clauses of a `SELECT`.
pub fn select(select: &sp::Select, here: Position) -> Result<()> {
    if !select.optimizer_hints.is_empty() {
        return unsupported("hints are not supported", "leave them out", here);
    }
    if let Some(sp::Distinct::On(_)) = &select.distinct {
        return unsupported("SELECT DISTINCT ON is not supported", "use GROUP BY with FIRST_VALUE", here);
    }
    if let Some(qualify) = &select.qualify {
        return unsupported(
            "QUALIFY is not supported",
            "aggregate with GROUP BY window_start, window_end",
            at(qualify, here),
        );
    }
    let foreign = select.select_modifiers.is_some()
        || select.top.is_some()
        || select.exclude.is_some()
        || select.into.is_some()
        || !select.lateral_views.is_empty()
        || select.prewhere.is_some()
        || !select.connect_by.is_empty()
        || !select.cluster_by.is_empty()
        || !select.distribute_by.is_empty()
        || !select.sort_by.is_empty()
        || select.value_table_mode.is_some();
    if foreign {
        return unsupported("this clause is not part of Flink SQL", "leave it out", here);
    }
    Ok(())
}

/// Kinds of tables in `FROM`.
pub fn factor(factor: &TableFactor, here: Position) -> Result<()> {
    match factor {
        TableFactor::Table { version: Some(version), .. }
            if !matches!(version, sp::TableVersion::ForSystemTimeAsOf(_)) =>
        {
            unsupported("this form of table version is not part of Flink SQL", "use FOR SYSTEM_TIME AS OF", here)
        }
        TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => {
            unsupported("TABLESAMPLE is not supported", "filter with WHERE", here)
        }
        TableFactor::Table { with_hints, index_hints, partitions, json_path, with_ordinality, .. }
            if !with_hints.is_empty()
                || !index_hints.is_empty()
                || !partitions.is_empty()
                || json_path.is_some()
                || *with_ordinality =>
        {
            unsupported("hints on a table are not supported", "put the options into its WITH clause", here)
        }
        TableFactor::Table { args: Some(args), name, .. } if is_hint(args) => unsupported(
            "the hint OPTIONS is not supported",
            &format!("create a table LIKE {name} with these options"),
            here,
        ),
        TableFactor::Derived { lateral: true, .. } | TableFactor::Function { .. } => {
            unsupported("LATERAL is not supported", "use scalar functions", here)
        }
        TableFactor::UNNEST { with_offset: true, .. } => {
            unsupported("WITH OFFSET is not part of Flink SQL", "use WITH ORDINALITY", here)
        }
        TableFactor::NestedJoin { alias: Some(_), .. } => {
            unsupported("a name for a join in parentheses is not supported", "name the tables in it", here)
        }
        _ => Ok(()),
    }
}

/// The parser passes `/*+ OPTIONS('key' = 'value') */` as arguments that are comparisons.
fn is_hint(args: &sp::TableFunctionArgs) -> bool {
    args.args.iter().any(|a| {
        matches!(
            a,
            sp::FunctionArg::Unnamed(sp::FunctionArgExpr::Expr(sp::Expr::BinaryOp { op: sp::BinaryOperator::Eq, .. }))
        )
    })
}

/// Options of `*`.
pub fn wildcard(options: &sp::WildcardAdditionalOptions, here: Position) -> Result<()> {
    let plain = options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none();
    if plain { Ok(()) } else { unsupported("options of * are not part of Flink SQL", "name the columns", here) }
}
