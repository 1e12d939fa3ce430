//! Which casts are allowed, and which cannot fail.

use crate::error::{Error, Result};
use crate::types::TypeKind;

/// Refuses what Flink refuses, with code `invalid_cast`.
pub(super) fn check(from: &TypeKind, to: &TypeKind, explicit: bool) -> Result<()> {
    if allowed(from, to, explicit) {
        return Ok(());
    }
    let hint = match (from, to) {
        _ if !explicit && allowed(from, to, true) => "; write CAST if that is meant",
        (_, TypeKind::Timestamp(..)) if from.is_numeric() => "; use TO_TIMESTAMP(FROM_UNIXTIME(seconds))",
        (_, TypeKind::TimestampLtz(..)) if from.is_numeric() => "; use TO_TIMESTAMP_LTZ(number, precision)",
        (TypeKind::Timestamp(..) | TypeKind::TimestampLtz(..), _) if to.is_numeric() => {
            "; use UNIX_TIMESTAMP(CAST(value AS STRING))"
        }
        _ => "",
    };
    let kind = if explicit { "cast" } else { "implicit conversion" };
    Err(Error::invalid("invalid_cast", format!("there is no {kind} from {from} to {to}{hint}")))
}

fn allowed(from: &TypeKind, to: &TypeKind, explicit: bool) -> bool {
    use TypeKind as K;
    if from.regular() == to.regular() || *from == K::Null {
        return true;
    }
    match (from, to) {
        (K::Array(a), K::Array(b)) | (K::Multiset(a), K::Multiset(b)) => allowed(&a.kind, &b.kind, explicit),
        (K::Map(k, v), K::Map(k2, v2)) => allowed(&k.kind, &k2.kind, explicit) && allowed(&v.kind, &v2.kind, explicit),
        (K::Row(a), K::Row(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(x, y)| allowed(&x.data_type.kind, &y.data_type.kind, explicit))
        }
        _ => implicit(from, to) || (explicit && written(from, to)),
    }
}

/// The place of an integer type in `TINYINT < SMALLINT < INT < BIGINT`.
pub(super) fn integer_rank(kind: &TypeKind) -> Option<u8> {
    match kind {
        TypeKind::TinyInt => Some(0),
        TypeKind::SmallInt => Some(1),
        TypeKind::Int => Some(2),
        TypeKind::BigInt => Some(3),
        _ => None,
    }
}

/// Widening that loses nothing in kind, as when a query's columns are inserted into a table.
fn implicit(from: &TypeKind, to: &TypeKind) -> bool {
    use TypeKind as K;
    match (from, to) {
        (K::Char(_), K::Char(_)) | (K::Binary(_), K::Binary(_)) => true,
        (_, K::VarChar(_)) => from.is_string(),
        (_, K::VarBinary(_)) => from.is_binary(),
        (_, K::Decimal { .. } | K::Double) => from.is_numeric(),
        (_, K::Float) => from.is_integer() || matches!(from, K::Decimal { .. } | K::Float),
        (_, K::TinyInt | K::SmallInt | K::Int | K::BigInt) => {
            integer_rank(from).is_some_and(|rank| Some(rank) <= integer_rank(to))
        }
        (K::Timestamp(..) | K::TimestampLtz(..), K::Timestamp(..) | K::TimestampLtz(..)) => true,
        (K::Timestamp(..), K::Date | K::Time(_)) | (K::Time(_), K::Time(_)) => true,
        _ => false,
    }
}

fn written(from: &TypeKind, to: &TypeKind) -> bool {
    use TypeKind as K;
    let number_or_boolean = |k: &K| k.is_numeric() || *k == K::Boolean;
    match (from, to) {
        (_, K::Char(_) | K::VarChar(_)) => true,
        (K::Char(_) | K::VarChar(_), _) => !matches!(
            to,
            K::IntervalYearMonth | K::IntervalDayTime | K::Array(_) | K::Map(..) | K::Multiset(_) | K::Row(_) | K::Null
        ),
        (_, K::Binary(_) | K::VarBinary(_)) => from.is_binary(),
        (K::Date | K::Time(_) | K::Timestamp(..) | K::TimestampLtz(..), K::Timestamp(..) | K::TimestampLtz(..)) => true,
        (K::TimestampLtz(..), K::Date | K::Time(_)) => true,
        (_, K::IntervalYearMonth | K::IntervalDayTime) => from.is_integer(),
        _ => number_or_boolean(from) && number_or_boolean(to),
    }
}

/// Whether the cast is cheap and never fails: only reading text and numbers that are not finite can fail.
pub(crate) fn is_total(from: &TypeKind, to: &TypeKind) -> bool {
    use TypeKind as K;
    let simple =
        |k: &K| !matches!(k, K::Char(_) | K::VarChar(_) | K::Array(_) | K::Map(..) | K::Multiset(_) | K::Row(_));
    match (from, to) {
        (K::Float | K::Double, K::Decimal { .. }) => false,
        _ => (simple(from) && simple(to)) || (from.is_string() && to.is_string()),
    }
}
