//! The common type of several expressions.

use super::rules::integer_rank;
use crate::error::{Error, Result};
use crate::types::{DataType, Field, MAX_LENGTH, TimestampKind, TypeKind};

/// Flink's common type of the branches of `CASE`, of the arguments of `COALESCE`, of `UNION`, `ARRAY` and `IN`:
/// nullable if any is. Time attributes survive only where all types are the same. Errors have code `no_common_type`.
pub fn least_restrictive(types: &[DataType]) -> Result<DataType> {
    let nullable = types.iter().any(|t| t.nullable || t.kind == TypeKind::Null);
    let mut result: Option<TypeKind> = None;
    for t in types.iter().filter(|t| t.kind != TypeKind::Null) {
        result = Some(match result {
            None => t.kind.clone(),
            Some(kind) => merge(&kind, &t.kind).ok_or_else(|| {
                let names: Vec<_> = types.iter().map(|t| t.kind.to_string()).collect();
                let names = names.join(", ");
                Error::invalid("no_common_type", format!("the types {names} have no common type; write a CAST"))
            })?,
        });
    }
    Ok(DataType { kind: result.unwrap_or(TypeKind::Null), nullable })
}

fn merge(a: &TypeKind, b: &TypeKind) -> Option<TypeKind> {
    use TypeKind as K;
    if a == b {
        return Some(a.clone());
    }
    Some(match (a, b) {
        _ if a.is_numeric() && b.is_numeric() => return number(a, b),
        (K::Char(m) | K::VarChar(m), K::Char(n) | K::VarChar(n)) => K::VarChar((*m).max(*n).min(MAX_LENGTH)),
        (K::Binary(m) | K::VarBinary(m), K::Binary(n) | K::VarBinary(n)) => K::VarBinary((*m).max(*n)),
        (K::Time(p), K::Time(q)) => K::Time(*p.max(q)),
        (K::Timestamp(p, k), K::Timestamp(q, l)) => {
            K::Timestamp(*p.max(q), if p == q && k == l { *k } else { TimestampKind::Regular })
        }
        (K::TimestampLtz(p, k), K::TimestampLtz(q, l)) => {
            K::TimestampLtz(*p.max(q), if p == q && k == l { *k } else { TimestampKind::Regular })
        }
        (K::Timestamp(p, _), K::TimestampLtz(q, _)) => K::Timestamp(*p.max(q), TimestampKind::Regular),
        (K::TimestampLtz(p, _), K::Timestamp(q, _)) => K::TimestampLtz(*p.max(q), TimestampKind::Regular),
        (K::Array(x), K::Array(y)) => K::Array(Box::new(member(x, y)?)),
        (K::Multiset(x), K::Multiset(y)) => K::Multiset(Box::new(member(x, y)?)),
        (K::Map(k, v), K::Map(l, w)) => K::Map(Box::new(member(k, l)?), Box::new(member(v, w)?)),
        (K::Row(x), K::Row(y)) if x.len() == y.len() => K::Row(
            x.iter()
                .zip(y)
                .map(|(f, g)| Some(Field::new(f.name.clone(), member(&f.data_type, &g.data_type)?)))
                .collect::<Option<_>>()?,
        ),
        _ => return None,
    })
}

fn member(a: &DataType, b: &DataType) -> Option<DataType> {
    least_restrictive(&[a.clone(), b.clone()]).ok()
}

/// As Calcite: with an approximate type, the first approximate one, but `DOUBLE` if the other is a decimal.
fn number(a: &TypeKind, b: &TypeKind) -> Option<TypeKind> {
    use TypeKind as K;
    let approximate = |k: &K| matches!(k, K::Float | K::Double);
    let decimal = |k: &K| matches!(k, K::Decimal { .. });
    Some(match (approximate(a), approximate(b)) {
        (true, true) => a.clone(),
        (true, false) => {
            if decimal(b) {
                K::Double
            } else {
                a.clone()
            }
        }
        (false, true) => {
            if decimal(a) {
                K::Double
            } else {
                b.clone()
            }
        }
        (false, false) => {
            if let (Some(x), Some(y)) = (integer_rank(a), integer_rank(b)) {
                return Some(if x >= y { a.clone() } else { b.clone() });
            }
            let ((p, s), (q, t)) = (super::decimal_of_integer(a)?, super::decimal_of_integer(b)?);
            let scale = s.max(t);
            K::Decimal { precision: ((p - s).max(q - t) + scale).min(38), scale }
        }
    })
}
