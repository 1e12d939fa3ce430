//! Flink's logical types and their Arrow layout.
//!
//! Every expression, column and stored plan is typed with these; Arrow's types are only the memory layout. The mapping
//! is total in one direction: [`DataType::to_arrow`]. Source: Flink's "Data Types" page (2.x).

pub mod changelog;
mod display;
pub mod row_kind;

use std::sync::Arc;

use arrow::datatypes as arrow_types;
use arrow::datatypes::{Field as ArrowField, SchemaRef, TimeUnit};

/// The length of `STRING` = `VARCHAR(2147483647)` and `BYTES` = `VARBINARY(2147483647)`.
pub const MAX_LENGTH: u32 = 2_147_483_647;

/// Whether a timestamp column is a time attribute (Flink's `TimestampKind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum TimestampKind {
    Regular,
    /// The event-time attribute: watermarks refer to it.
    Rowtime,
    /// `PROCTIME()`.
    Proctime,
}

/// A type without its nullability.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum TypeKind {
    Boolean,
    TinyInt,
    SmallInt,
    Int,
    BigInt,
    Float,
    Double,
    /// Precision 1..=38, scale 0..=precision.
    Decimal {
        precision: u8,
        scale: u8,
    },
    Char(u32),
    /// `STRING` is `VarChar(MAX_LENGTH)`.
    VarChar(u32),
    Binary(u32),
    /// `BYTES` is `VarBinary(MAX_LENGTH)`.
    VarBinary(u32),
    Date,
    /// Precision 0..=9; held in milliseconds, as Flink does.
    Time(u8),
    /// Precision 0..=9. Held in ms (p <= 3), µs (p <= 6) or ns.
    Timestamp(u8, TimestampKind),
    /// As `Timestamp`, an instant.
    TimestampLtz(u8, TimestampKind),
    /// In months.
    IntervalYearMonth,
    /// In milliseconds.
    IntervalDayTime,
    Array(Box<DataType>),
    Map(Box<DataType>, Box<DataType>),
    Multiset(Box<DataType>),
    Row(Vec<Field>),
    /// The type of a bare `NULL`.
    Null,
}

/// A type with its nullability.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct DataType {
    pub kind: TypeKind,
    pub nullable: bool,
}

/// A named column, or a named member of a `ROW`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Field {
    pub name: String,
    pub data_type: DataType,
}

/// The columns of a table, or of the stream between two operators.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Schema {
    pub fields: Vec<Field>,
}

impl From<TypeKind> for DataType {
    /// Nullable, as in Flink's DDL.
    fn from(kind: TypeKind) -> Self {
        DataType { kind, nullable: true }
    }
}

impl DataType {
    /// `kind`, nullable.
    pub fn nullable(kind: TypeKind) -> Self {
        DataType { kind, nullable: true }
    }
    /// `kind NOT NULL`.
    pub fn not_null(kind: TypeKind) -> Self {
        DataType { kind, nullable: false }
    }
    /// `STRING`, nullable.
    pub fn string() -> Self {
        Self::nullable(TypeKind::VarChar(MAX_LENGTH))
    }
    /// The same type with the given nullability.
    pub fn with_nullable(&self, nullable: bool) -> Self {
        DataType { kind: self.kind.clone(), nullable }
    }
    /// The Arrow layout of this type.
    pub fn to_arrow(&self) -> arrow_types::DataType {
        self.kind.to_arrow()
    }
}

/// The Arrow unit that holds timestamps of this precision.
pub fn timestamp_unit(precision: u8) -> TimeUnit {
    match precision {
        0..=3 => TimeUnit::Millisecond,
        4..=6 => TimeUnit::Microsecond,
        _ => TimeUnit::Nanosecond,
    }
}

impl TypeKind {
    /// The Arrow layout of this type. Member fields are always nullable in Arrow: nullability is checked by the planner.
    pub fn to_arrow(&self) -> arrow_types::DataType {
        use arrow_types::DataType as A;
        let member = |name: &str, t: &DataType| Arc::new(ArrowField::new(name, t.to_arrow(), true));
        let map = |key: A, value: A| {
            let entries = vec![ArrowField::new("key", key, false), ArrowField::new("value", value, true)];
            A::Map(Arc::new(ArrowField::new("entries", A::Struct(entries.into()), false)), false)
        };
        match self {
            TypeKind::Boolean => A::Boolean,
            TypeKind::TinyInt => A::Int8,
            TypeKind::SmallInt => A::Int16,
            TypeKind::Int => A::Int32,
            TypeKind::BigInt => A::Int64,
            TypeKind::Float => A::Float32,
            TypeKind::Double => A::Float64,
            TypeKind::Decimal { precision, scale } => A::Decimal128(*precision, i8::try_from(*scale).unwrap_or(38)),
            TypeKind::Char(_) | TypeKind::VarChar(_) => A::Utf8,
            TypeKind::Binary(_) | TypeKind::VarBinary(_) => A::Binary,
            TypeKind::Date => A::Date32,
            TypeKind::Time(_) => A::Time32(TimeUnit::Millisecond),
            TypeKind::Timestamp(p, _) => A::Timestamp(timestamp_unit(*p), None),
            TypeKind::TimestampLtz(p, _) => A::Timestamp(timestamp_unit(*p), Some("UTC".into())),
            TypeKind::IntervalYearMonth => A::Interval(arrow_types::IntervalUnit::YearMonth),
            TypeKind::IntervalDayTime => A::Duration(TimeUnit::Millisecond),
            TypeKind::Array(item) => A::List(member("item", item)),
            TypeKind::Map(key, value) => map(key.to_arrow(), value.to_arrow()),
            TypeKind::Multiset(item) => map(item.to_arrow(), A::Int32),
            TypeKind::Row(fields) => A::Struct(fields.iter().map(|f| member(&f.name, &f.data_type)).collect()),
            TypeKind::Null => A::Null,
        }
    }
    /// `CHAR` or `VARCHAR`.
    pub fn is_string(&self) -> bool {
        matches!(self, TypeKind::Char(_) | TypeKind::VarChar(_))
    }
    /// `BINARY` or `VARBINARY`.
    pub fn is_binary(&self) -> bool {
        matches!(self, TypeKind::Binary(_) | TypeKind::VarBinary(_))
    }
    /// `TINYINT` to `BIGINT`.
    pub fn is_integer(&self) -> bool {
        matches!(self, TypeKind::TinyInt | TypeKind::SmallInt | TypeKind::Int | TypeKind::BigInt)
    }
    /// Integers, `DECIMAL`, `FLOAT` and `DOUBLE`.
    pub fn is_numeric(&self) -> bool {
        self.is_integer() || matches!(self, TypeKind::Decimal { .. } | TypeKind::Float | TypeKind::Double)
    }
    /// The event-time attribute.
    pub fn is_rowtime(&self) -> bool {
        matches!(
            self,
            TypeKind::Timestamp(_, TimestampKind::Rowtime) | TypeKind::TimestampLtz(_, TimestampKind::Rowtime)
        )
    }
    /// The same type, no longer (or not) a time attribute.
    pub fn regular(&self) -> TypeKind {
        match self {
            TypeKind::Timestamp(p, _) => TypeKind::Timestamp(*p, TimestampKind::Regular),
            TypeKind::TimestampLtz(p, _) => TypeKind::TimestampLtz(*p, TimestampKind::Regular),
            other => other.clone(),
        }
    }
}

impl Field {
    /// A named column.
    pub fn new(name: impl Into<String>, data_type: DataType) -> Self {
        Field { name: name.into(), data_type }
    }
}

impl Schema {
    /// A schema of these columns.
    pub fn new(fields: Vec<Field>) -> Self {
        Schema { fields }
    }
    /// The position of the column with exactly this name (Flink's identifiers are case-sensitive).
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|f| f.name == name)
    }
    /// The Arrow schema; every column is nullable in Arrow.
    pub fn to_arrow(&self) -> SchemaRef {
        let fields: Vec<_> =
            self.fields.iter().map(|f| ArrowField::new(&f.name, f.data_type.to_arrow(), true)).collect();
        Arc::new(arrow_types::Schema::new(fields))
    }
}
