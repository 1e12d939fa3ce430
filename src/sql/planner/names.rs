//! Names of result columns, as Flink gives them.

use std::collections::HashSet;

use sqlparser::ast as sp;

/// The name of an item without alias: the last part of a column's name, else `EXPR$n`.
pub fn of_item(node: &sp::Expr, position: usize) -> String {
    match node {
        sp::Expr::Identifier(name) => name.value.clone(),
        sp::Expr::CompoundIdentifier(path) => {
            path.last().map_or_else(|| format!("EXPR${position}"), |n| n.value.clone())
        }
        sp::Expr::CompoundFieldAccess { access_chain, .. } => match access_chain.last() {
            Some(sp::AccessExpr::Dot(sp::Expr::Identifier(name))) => name.value.clone(),
            _ => format!("EXPR${position}"),
        },
        sp::Expr::Nested(inner) => of_item(inner, position),
        _ => format!("EXPR${position}"),
    }
}

/// Makes names unique: a repeated `a` becomes `a0`, then `a1`.
pub fn unique(names: Vec<String>) -> Vec<String> {
    let mut used: HashSet<String> = HashSet::with_capacity(names.len());
    names
        .into_iter()
        .map(|name| {
            let mut unique = name.clone();
            let mut attempt = 0;
            while !used.insert(unique.clone()) {
                unique = format!("{name}{attempt}");
                attempt += 1;
            }
            unique
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn repeated_names_get_numbers() {
        let names = ["a", "a", "b", "a", "a0"].map(str::to_owned).to_vec();
        assert_eq!(super::unique(names), ["a", "a0", "b", "a1", "a00"]);
    }
}
