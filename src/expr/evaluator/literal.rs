//! Constants of a plan as Arrow arrays of length 1.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int8Array, Int16Array,
    Int32Array, Int64Array, NullArray, StringArray, new_null_array,
};

use crate::error::{Error, Result};
use crate::expr::Scalar;
use crate::types::{DataType, TypeKind};

/// A constant as an array of length 1 of the type's layout.
pub fn scalar_array(value: &Scalar, data_type: &DataType) -> Result<ArrayRef> {
    let arrow_type = data_type.to_arrow();
    let wrong = || Error::internal(format!("a constant {value:?} is no {data_type}"));
    let array: ArrayRef = match (value, &data_type.kind) {
        (Scalar::Null, TypeKind::Null) => Arc::new(NullArray::new(1)),
        (Scalar::Null, _) => new_null_array(&arrow_type, 1),
        (Scalar::Boolean(b), TypeKind::Boolean) => Arc::new(BooleanArray::from(vec![*b])),
        (Scalar::Int(i), kind) => int_array(*i, kind, &arrow_type).ok_or_else(wrong)?,
        // A FLOAT constant was read as a double; the nearest float is meant.
        (Scalar::Double(d), TypeKind::Float) => Arc::new(Float32Array::from(vec![*d as f32])),
        (Scalar::Double(d), TypeKind::Double) => Arc::new(Float64Array::from(vec![*d])),
        (Scalar::Decimal(text), TypeKind::Decimal { .. }) => {
            let unscaled = text.parse::<i128>().map_err(|_| wrong())?;
            Arc::new(Decimal128Array::from(vec![unscaled]).with_data_type(arrow_type.clone()))
        }
        (Scalar::String(s), TypeKind::Char(_) | TypeKind::VarChar(_)) => Arc::new(StringArray::from(vec![s.as_str()])),
        (Scalar::Binary(b), TypeKind::Binary(_) | TypeKind::VarBinary(_)) => {
            Arc::new(BinaryArray::from(vec![b.as_slice()]))
        }
        _ => return Err(wrong()),
    };
    if array.data_type() == &arrow_type { Ok(array) } else { Err(wrong()) }
}

fn int_array(value: i64, kind: &TypeKind, arrow_type: &arrow::datatypes::DataType) -> Option<ArrayRef> {
    let array: ArrayRef = match kind {
        TypeKind::TinyInt => Arc::new(Int8Array::from(vec![i8::try_from(value).ok()?])),
        TypeKind::SmallInt => Arc::new(Int16Array::from(vec![i16::try_from(value).ok()?])),
        TypeKind::Int => Arc::new(Int32Array::from(vec![i32::try_from(value).ok()?])),
        TypeKind::BigInt => Arc::new(Int64Array::from(vec![value])),
        TypeKind::Date | TypeKind::Time(_) | TypeKind::IntervalYearMonth => {
            let narrow: ArrayRef = Arc::new(Int32Array::from(vec![i32::try_from(value).ok()?]));
            arrow::compute::cast(&narrow, arrow_type).ok()?
        }
        TypeKind::Timestamp(..) | TypeKind::TimestampLtz(..) | TypeKind::IntervalDayTime => {
            let wide: ArrayRef = Arc::new(Int64Array::from(vec![value]));
            arrow::compute::cast(&wide, arrow_type).ok()?
        }
        _ => return None,
    };
    Some(array)
}
