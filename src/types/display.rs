//! How a type is written: Flink's `asSummaryString`, with `STRING` and `BYTES` for the unbounded lengths.

use std::fmt;

use super::{DataType, MAX_LENGTH, TimestampKind, TypeKind};

fn attribute(kind: TimestampKind) -> &'static str {
    match kind {
        TimestampKind::Regular => "",
        TimestampKind::Rowtime => " *ROWTIME*",
        TimestampKind::Proctime => " *PROCTIME*",
    }
}

impl fmt::Display for TypeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TypeKind::Boolean => f.write_str("BOOLEAN"),
            TypeKind::TinyInt => f.write_str("TINYINT"),
            TypeKind::SmallInt => f.write_str("SMALLINT"),
            TypeKind::Int => f.write_str("INT"),
            TypeKind::BigInt => f.write_str("BIGINT"),
            TypeKind::Float => f.write_str("FLOAT"),
            TypeKind::Double => f.write_str("DOUBLE"),
            TypeKind::Decimal { precision, scale } => write!(f, "DECIMAL({precision}, {scale})"),
            TypeKind::Char(n) => write!(f, "CHAR({n})"),
            TypeKind::VarChar(MAX_LENGTH) => f.write_str("STRING"),
            TypeKind::VarChar(n) => write!(f, "VARCHAR({n})"),
            TypeKind::Binary(n) => write!(f, "BINARY({n})"),
            TypeKind::VarBinary(MAX_LENGTH) => f.write_str("BYTES"),
            TypeKind::VarBinary(n) => write!(f, "VARBINARY({n})"),
            TypeKind::Date => f.write_str("DATE"),
            TypeKind::Time(p) => write!(f, "TIME({p})"),
            TypeKind::Timestamp(p, k) => write!(f, "TIMESTAMP({p}){}", attribute(*k)),
            TypeKind::TimestampLtz(p, k) => write!(f, "TIMESTAMP_LTZ({p}){}", attribute(*k)),
            TypeKind::IntervalYearMonth => f.write_str("INTERVAL YEAR TO MONTH"),
            TypeKind::IntervalDayTime => f.write_str("INTERVAL DAY TO SECOND(3)"),
            TypeKind::Array(item) => write!(f, "ARRAY<{item}>"),
            TypeKind::Map(key, value) => write!(f, "MAP<{key}, {value}>"),
            TypeKind::Multiset(item) => write!(f, "MULTISET<{item}>"),
            TypeKind::Row(fields) => {
                f.write_str("ROW<")?;
                for (i, field) in fields.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}`{}` {}", field.name.replace('`', "``"), field.data_type)?;
                }
                f.write_str(">")
            }
            TypeKind::Null => f.write_str("NULL"),
        }
    }
}

impl fmt::Display for DataType {
    /// The time attribute comes last, as Flink prints it: `TIMESTAMP(3) NOT NULL *ROWTIME*`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not_null = if self.nullable || self.kind == TypeKind::Null { "" } else { " NOT NULL" };
        match &self.kind {
            TypeKind::Timestamp(_, kind) | TypeKind::TimestampLtz(_, kind) => {
                write!(f, "{}{not_null}{}", self.kind.regular(), attribute(*kind))
            }
            kind => write!(f, "{kind}{not_null}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_attribute_comes_after_the_nullability() {
        let check = |nullable, expected: &str| {
            let kind = TypeKind::Timestamp(3, TimestampKind::Rowtime);
            assert_eq!(DataType { kind, nullable }.to_string(), expected);
        };
        check(true, "TIMESTAMP(3) *ROWTIME*");
        check(false, "TIMESTAMP(3) NOT NULL *ROWTIME*");
    }
}
