//! Casts that the planner adds, and the type that several types have in common.

use crate::error::{Error, Result};
use crate::expr::{self, Expr, Scalar};
use crate::types::{DataType, Field, MAX_LENGTH, TypeKind};

/// Casts to the kind of `to` as an implicit coercion; the nullability stays the input's.
pub fn coerce(input: Expr, to: &DataType) -> Result<Expr> {
    convert(input, to, false)
}

/// Casts as a written `CAST` does.
pub fn explicit(input: Expr, to: &DataType) -> Result<Expr> {
    convert(input, to, true)
}

fn convert(input: Expr, to: &DataType, explicit: bool) -> Result<Expr> {
    if input.data_type().kind == to.kind {
        return Ok(input);
    }
    if let Expr::Literal { value: Scalar::Null, .. } = input {
        return Ok(Expr::literal(Scalar::Null, to.kind.clone()));
    }
    let to = to.with_nullable(input.data_type().nullable);
    // A time attribute is a timestamp: nothing to compute, but the type must say so.
    if input.data_type().kind.regular() == to.kind && matches!(input, Expr::Column { .. }) {
        return Ok(with_type(input, to));
    }
    expr::cast(input, &to, explicit)
}

fn with_type(mut expr: Expr, to: DataType) -> Expr {
    if let Expr::Column { data_type, .. } = &mut expr {
        *data_type = to;
    }
    expr
}

/// The type that all of these can be coerced to; nullable if one is. Errors have code `sql_type`.
pub fn least_restrictive(types: &[DataType]) -> Result<DataType> {
    let mut all = types.iter();
    let Some(first) = all.next() else { return Ok(DataType::nullable(TypeKind::Null)) };
    let mut common = first.clone();
    for next in all {
        let kind = common_kind(&common.kind, &next.kind).ok_or_else(|| {
            Error::invalid("sql_type", format!("{common} and {next} have no common type: add a CAST"))
        })?;
        common = DataType { kind, nullable: common.nullable || next.nullable };
    }
    Ok(common)
}

fn integer_digits(kind: &TypeKind) -> Option<u8> {
    match kind {
        TypeKind::TinyInt => Some(3),
        TypeKind::SmallInt => Some(5),
        TypeKind::Int => Some(10),
        TypeKind::BigInt => Some(19),
        _ => None,
    }
}

fn common_kind(a: &TypeKind, b: &TypeKind) -> Option<TypeKind> {
    use TypeKind as K;
    if a == b {
        return Some(a.clone());
    }
    if a.regular() == b.regular() {
        return Some(a.regular());
    }
    let decimal = |kind: &K| match kind {
        K::Decimal { precision, scale } => Some((*precision, *scale)),
        other => integer_digits(other).map(|d| (d, 0)),
    };
    match (a, b) {
        (K::Null, other) | (other, K::Null) => Some(other.clone()),
        (K::Char(x), K::Char(y)) => Some(K::VarChar(*x.max(y))),
        (K::Char(x) | K::VarChar(x), K::Char(y) | K::VarChar(y)) => Some(K::VarChar(*x.max(y))),
        (K::Binary(x) | K::VarBinary(x), K::Binary(y) | K::VarBinary(y)) => {
            Some(if x == y && *x == MAX_LENGTH { K::VarBinary(MAX_LENGTH) } else { K::VarBinary(*x.max(y)) })
        }
        (K::Timestamp(p, _), K::Timestamp(q, _)) => Some(K::Timestamp(*p.max(q), crate::types::TimestampKind::Regular)),
        (K::TimestampLtz(p, _), K::TimestampLtz(q, _)) => {
            Some(K::TimestampLtz(*p.max(q), crate::types::TimestampKind::Regular))
        }
        (K::Time(p), K::Time(q)) => Some(K::Time(*p.max(q))),
        (K::Date, K::Timestamp(..) | K::TimestampLtz(..)) => Some(b.regular()),
        (K::Timestamp(..) | K::TimestampLtz(..), K::Date) => Some(a.regular()),
        (K::Array(x), K::Array(y)) => Some(K::Array(Box::new(common_type(x, y)?))),
        (K::Multiset(x), K::Multiset(y)) => Some(K::Multiset(Box::new(common_type(x, y)?))),
        (K::Map(k, v), K::Map(l, w)) => Some(K::Map(Box::new(common_type(k, l)?), Box::new(common_type(v, w)?))),
        (K::Row(x), K::Row(y)) if x.len() == y.len() => {
            let fields = x.iter().zip(y);
            let fields: Option<Vec<_>> = fields
                .map(|(f, g)| Some(Field::new(f.name.clone(), common_type(&f.data_type, &g.data_type)?)))
                .collect();
            fields.map(K::Row)
        }
        _ if a.is_numeric() && b.is_numeric() => Some(match (a, b) {
            (K::Double, _) | (_, K::Double) => K::Double,
            (K::Float, K::Decimal { .. }) | (K::Decimal { .. }, K::Float) => K::Double,
            (K::Float, _) | (_, K::Float) => K::Float,
            (K::Decimal { .. }, _) | (_, K::Decimal { .. }) => {
                let ((p, s), (q, t)) = (decimal(a)?, decimal(b)?);
                let scale = s.max(t);
                let precision = ((p - s).max(q - t) + scale).min(38);
                K::Decimal { precision, scale: scale.min(precision) }
            }
            _ => {
                if integer_digits(a) >= integer_digits(b) {
                    a.clone()
                } else {
                    b.clone()
                }
            }
        }),
        _ => None,
    }
}

fn common_type(a: &DataType, b: &DataType) -> Option<DataType> {
    Some(DataType { kind: common_kind(&a.kind, &b.kind)?, nullable: a.nullable || b.nullable })
}
