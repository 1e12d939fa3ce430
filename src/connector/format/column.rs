//! Growing columns: what decoders and generators write into, and what becomes Arrow arrays without a copy.
//!
//! Invariants: 1. the members of a row column have its length; 2. [`Column::truncate`] undoes everything that was
//! written after the column had that length, also a value that was written only in part; 3. a value counts only when
//! its validity is pushed, last.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Date32Array, Decimal128Array, DurationMillisecondArray,
    Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, IntervalYearMonthArray, ListArray,
    MapArray, NullArray, NullBufferBuilder, StringArray, StructArray, Time32MillisecondArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType as ArrowType, TimeUnit};

use crate::error::{Error, Result};
use crate::types::{DataType, TypeKind};

/// Text or bytes, one after the other.
#[derive(Default)]
pub struct Bytes {
    ends: Vec<i32>,
    pub data: Vec<u8>,
}

impl Bytes {
    /// Ends the value that was appended to `data`.
    #[inline]
    pub fn end(&mut self) {
        self.ends.push(offset(self.data.len()));
    }
    /// Appends a whole value.
    #[inline]
    pub fn push(&mut self, value: &[u8]) {
        self.data.extend_from_slice(value);
        self.end();
    }
    fn truncate(&mut self, len: usize) {
        self.ends.truncate(len);
        self.data.truncate(index(self.ends.last().copied().unwrap_or(0)));
    }
}

/// The values of a column; a null has some value too.
pub enum Data {
    Boolean(BooleanBufferBuilder),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    /// `INT`, `DATE`, `TIME`, `INTERVAL YEAR TO MONTH`.
    Int32(Vec<i32>),
    /// `BIGINT`, timestamps, `INTERVAL DAY TO SECOND`.
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal(Vec<i128>),
    Bytes(Bytes),
    Row(Vec<Column>),
    List {
        ends: Vec<i32>,
        item: Box<Column>,
    },
    Map {
        ends: Vec<i32>,
        key: Box<Column>,
        value: Box<Column>,
    },
    Null,
}

/// A column of one type that rows are appended to.
pub struct Column {
    kind: TypeKind,
    /// Rows, the pending ones included.
    len: usize,
    /// Rows at the end that are not null and not in `nulls` yet.
    pending_valid: usize,
    /// Rows at the end that are null and neither in `nulls` nor in `data` yet; never together with `pending_valid`.
    pending_null: usize,
    nulls: NullBufferBuilder,
    data: Data,
}

fn offset(len: usize) -> i32 {
    i32::try_from(len).expect("a batch is made of few megabytes of input")
}

fn index(offset: i32) -> usize {
    usize::try_from(offset).unwrap_or(0)
}

impl Column {
    /// An empty column with room for `capacity` rows.
    pub fn new(data_type: &DataType, capacity: usize) -> Self {
        let child = |t: &DataType| Box::new(Column::new(t, 0));
        let data = match &data_type.kind {
            TypeKind::Boolean => Data::Boolean(BooleanBufferBuilder::new(capacity)),
            TypeKind::TinyInt => Data::Int8(Vec::with_capacity(capacity)),
            TypeKind::SmallInt => Data::Int16(Vec::with_capacity(capacity)),
            TypeKind::Int | TypeKind::Date | TypeKind::Time(_) | TypeKind::IntervalYearMonth => {
                Data::Int32(Vec::with_capacity(capacity))
            }
            TypeKind::BigInt | TypeKind::Timestamp(..) | TypeKind::TimestampLtz(..) | TypeKind::IntervalDayTime => {
                Data::Int64(Vec::with_capacity(capacity))
            }
            TypeKind::Float => Data::Float32(Vec::with_capacity(capacity)),
            TypeKind::Double => Data::Float64(Vec::with_capacity(capacity)),
            TypeKind::Decimal { .. } => Data::Decimal(Vec::with_capacity(capacity)),
            TypeKind::Char(_) | TypeKind::VarChar(_) | TypeKind::Binary(_) | TypeKind::VarBinary(_) => {
                Data::Bytes(Bytes { ends: Vec::with_capacity(capacity), data: Vec::new() })
            }
            TypeKind::Row(fields) => Data::Row(fields.iter().map(|f| Column::new(&f.data_type, capacity)).collect()),
            TypeKind::Array(item) => Data::List { ends: Vec::new(), item: child(item) },
            TypeKind::Map(key, value) => Data::Map { ends: Vec::new(), key: child(key), value: child(value) },
            TypeKind::Multiset(item) => {
                let count = DataType::not_null(TypeKind::Int);
                Data::Map { ends: Vec::new(), key: child(item), value: child(&count) }
            }
            TypeKind::Null => Data::Null,
        };
        Column {
            kind: data_type.kind.clone(),
            len: 0,
            pending_valid: 0,
            pending_null: 0,
            nulls: NullBufferBuilder::new(capacity),
            data,
        }
    }

    /// The type.
    #[inline]
    pub fn kind(&self) -> &TypeKind {
        &self.kind
    }

    /// Rows appended.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The type, and the values to push the next one to; [`Column::end_value`] makes it count.
    #[inline]
    pub fn values(&mut self) -> (&TypeKind, &mut Data) {
        if self.pending_null > 0 {
            self.write_nulls();
        }
        (&self.kind, &mut self.data)
    }

    /// Counts the value just pushed as a row.
    #[inline]
    pub fn end_value(&mut self) {
        self.pending_valid += 1;
        self.len += 1;
    }

    /// Counts what was pushed to the children of a list or map as a row.
    pub fn end_collection(&mut self) {
        match &mut self.data {
            Data::List { ends, item } => ends.push(offset(item.len())),
            Data::Map { ends, key, .. } => ends.push(offset(key.len())),
            _ => {}
        }
        self.end_value();
    }

    /// Appends a null.
    #[inline]
    pub fn push_null(&mut self) {
        self.push_nulls(1);
    }

    #[inline]
    fn push_nulls(&mut self, n: usize) {
        self.write_valid();
        self.pending_null += n;
        self.len += n;
    }

    #[inline]
    fn write_valid(&mut self) {
        if self.pending_valid > 0 {
            self.nulls.append_n_non_nulls(std::mem::take(&mut self.pending_valid));
        }
    }

    /// Gives the pending nulls some value.
    fn write_nulls(&mut self) {
        fn zeros<T: Copy + Default>(values: &mut Vec<T>, n: usize) {
            values.resize(values.len() + n, T::default());
        }
        let n = std::mem::take(&mut self.pending_null);
        match &mut self.data {
            Data::Boolean(v) => v.append_n(n, false),
            Data::Int8(v) => zeros(v, n),
            Data::Int16(v) => zeros(v, n),
            Data::Int32(v) => zeros(v, n),
            Data::Int64(v) => zeros(v, n),
            Data::Float32(v) => zeros(v, n),
            Data::Float64(v) => zeros(v, n),
            Data::Decimal(v) => zeros(v, n),
            Data::Bytes(v) => v.ends.resize(v.ends.len() + n, offset(v.data.len())),
            Data::Row(members) => members.iter_mut().for_each(|m| m.push_nulls(n)),
            Data::List { ends, item } => ends.resize(ends.len() + n, offset(item.len())),
            Data::Map { ends, key, .. } => ends.resize(ends.len() + n, offset(key.len())),
            Data::Null => {}
        }
        self.nulls.append_n_nulls(n);
    }

    /// Writes what is pending.
    fn settle(&mut self) {
        self.write_valid();
        if self.pending_null > 0 {
            self.write_nulls();
        }
    }

    /// Goes back to `len` rows.
    pub fn truncate(&mut self, len: usize) {
        self.settle();
        let last = |ends: &mut Vec<i32>| {
            ends.truncate(len);
            index(ends.last().copied().unwrap_or(0))
        };
        match &mut self.data {
            Data::Boolean(v) => v.truncate(len),
            Data::Int8(v) => v.truncate(len),
            Data::Int16(v) => v.truncate(len),
            Data::Int32(v) => v.truncate(len),
            Data::Int64(v) => v.truncate(len),
            Data::Float32(v) => v.truncate(len),
            Data::Float64(v) => v.truncate(len),
            Data::Decimal(v) => v.truncate(len),
            Data::Bytes(v) => v.truncate(len),
            Data::Row(members) => members.iter_mut().for_each(|m| m.truncate(len)),
            Data::List { ends, item } => item.truncate(last(ends)),
            Data::Map { ends, key, value } => {
                let entries = last(ends);
                key.truncate(entries);
                value.truncate(entries);
            }
            Data::Null => {}
        }
        if self.len > len {
            self.nulls.truncate(len);
            self.len = len;
        }
    }

    /// The rows as an Arrow array of the type's layout; the column is empty afterwards, with room for as many again.
    pub fn finish(&mut self) -> Result<ArrayRef> {
        self.settle();
        let rows = std::mem::take(&mut self.len);
        let nulls = self.nulls.finish();
        self.nulls = NullBufferBuilder::new(rows);
        let kind = &self.kind;
        let array: ArrayRef = match &mut self.data {
            Data::Boolean(v) => Arc::new(BooleanArray::new(v.finish(), nulls)),
            Data::Int8(v) => Arc::new(Int8Array::new(take(v), nulls)),
            Data::Int16(v) => Arc::new(Int16Array::new(take(v), nulls)),
            Data::Int32(v) => finish_int32(kind, take(v), nulls),
            Data::Int64(v) => finish_int64(kind, take(v), nulls),
            Data::Float32(v) => Arc::new(Float32Array::new(take(v), nulls)),
            Data::Float64(v) => Arc::new(Float64Array::new(take(v), nulls)),
            Data::Decimal(v) => Arc::new(Decimal128Array::new(take(v), nulls).with_data_type(kind.to_arrow())),
            Data::Bytes(v) => {
                let ends = offsets(&mut v.ends);
                let room = v.data.len();
                let data = std::mem::replace(&mut v.data, Vec::with_capacity(room)).into();
                if kind.is_string() {
                    Arc::new(StringArray::try_new(ends, data, nulls)?)
                } else {
                    Arc::new(BinaryArray::try_new(ends, data, nulls)?)
                }
            }
            Data::Row(members) => {
                let ArrowType::Struct(fields) = kind.to_arrow() else { return Err(mismatch(kind)) };
                let arrays = members.iter_mut().map(Column::finish).collect::<Result<Vec<_>>>()?;
                Arc::new(StructArray::try_new_with_length(fields, arrays, nulls, rows)?)
            }
            Data::List { ends, item } => {
                let ArrowType::List(field) = kind.to_arrow() else { return Err(mismatch(kind)) };
                Arc::new(ListArray::try_new(field, offsets(ends), item.finish()?, nulls)?)
            }
            Data::Map { ends, key, value } => {
                let ArrowType::Map(entries, sorted) = kind.to_arrow() else { return Err(mismatch(kind)) };
                let ArrowType::Struct(fields) = entries.data_type().clone() else { return Err(mismatch(kind)) };
                let pairs = StructArray::try_new(fields, vec![key.finish()?, value.finish()?], None)?;
                Arc::new(MapArray::try_new(entries, offsets(ends), pairs, nulls, sorted)?)
            }
            Data::Null => Arc::new(NullArray::new(rows)),
        };
        Ok(array)
    }
}

fn mismatch(kind: &TypeKind) -> Error {
    Error::internal(format!("a column of type {kind} holds other data"))
}

fn take<T: arrow::datatypes::ArrowNativeType>(values: &mut Vec<T>) -> ScalarBuffer<T> {
    let room = values.len();
    std::mem::replace(values, Vec::with_capacity(room)).into()
}

fn offsets(ends: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let mut all = Vec::with_capacity(ends.len() + 1);
    all.push(0);
    all.append(ends);
    OffsetBuffer::new(all.into())
}

fn finish_int32(kind: &TypeKind, values: ScalarBuffer<i32>, nulls: Option<NullBuffer>) -> ArrayRef {
    match kind {
        TypeKind::Date => Arc::new(Date32Array::new(values, nulls)),
        TypeKind::Time(_) => Arc::new(Time32MillisecondArray::new(values, nulls)),
        TypeKind::IntervalYearMonth => Arc::new(IntervalYearMonthArray::new(values, nulls)),
        _ => Arc::new(Int32Array::new(values, nulls)),
    }
}

fn finish_int64(kind: &TypeKind, values: ScalarBuffer<i64>, nulls: Option<NullBuffer>) -> ArrayRef {
    match kind.to_arrow() {
        ArrowType::Timestamp(unit, zone) => match unit {
            TimeUnit::Second | TimeUnit::Millisecond => {
                Arc::new(TimestampMillisecondArray::new(values, nulls).with_timezone_opt(zone))
            }
            TimeUnit::Microsecond => Arc::new(TimestampMicrosecondArray::new(values, nulls).with_timezone_opt(zone)),
            TimeUnit::Nanosecond => Arc::new(TimestampNanosecondArray::new(values, nulls).with_timezone_opt(zone)),
        },
        ArrowType::Duration(_) => Arc::new(DurationMillisecondArray::new(values, nulls)),
        _ => Arc::new(Int64Array::new(values, nulls)),
    }
}
