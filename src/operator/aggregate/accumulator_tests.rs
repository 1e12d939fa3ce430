//! Accumulators: values against plain loops, merging, stored bytes.

use super::super::trace::divide_half_up;
use super::*;
use AggregateFunction::{Avg, Count, Max, Min, Sum};
use arrow::array::{
    BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array, Int32Array, Int64Array,
    StringArray, TimestampMillisecondArray,
};
use std::sync::Arc;

/// Runs an aggregate over one group's values: at once; one by one with a stored form in between; and as two merged parts.
/// All must give `expected`, the only value of an array.
fn check(function: AggregateFunction, values: ArrayRef, expected: ArrayRef) {
    let argument = values.data_type().clone();
    let new = |groups| {
        let mut accumulator = Accumulator::new(function, Some(&argument), false).unwrap();
        accumulator.resize(groups);
        accumulator
    };
    let take = |accumulator: &mut Accumulator, values: &ArrayRef, group: u32| {
        let groups = vec![group; values.len()];
        let mask = values.nulls().map(|n| n.inner().clone());
        accumulator.update(Some(values), &groups, mask.as_ref()).unwrap();
    };
    let finish = |accumulator: &Accumulator, group: usize| {
        accumulator.results(group..group + 1).unwrap().finish(Some(&argument), expected.data_type()).unwrap()
    };

    let mut whole = new(2);
    take(&mut whole, &values, 1);
    assert_eq!(&finish(&whole, 1), &expected, "{function:?} of {values:?}");

    let mut stored = Vec::new();
    new(1).write(0, &mut stored);
    for row in 0..values.len() {
        let mut next = new(3);
        next.read(2, &mut Stored(&stored)).unwrap();
        take(&mut next, &values.slice(row, 1), 2);
        stored.clear();
        next.write(2, &mut stored);
    }
    let mut last = new(1);
    let mut input = Stored(&stored);
    last.read(0, &mut input).unwrap();
    assert!(input.0.is_empty());
    assert_eq!(&finish(&last, 0), &expected, "{function:?} of {values:?}, stored in between");
    if !stored.is_empty() {
        assert!(new(1).read(0, &mut Stored(&stored[..stored.len() - 1])).is_err());
    }

    let (mut left, mut right) = (new(1), new(2));
    take(&mut left, &values.slice(0, values.len() / 2), 0);
    take(&mut right, &values.slice(values.len() / 2, values.len() - values.len() / 2), 1);
    left.merge(&[0], &right, &[1]).unwrap();
    assert_eq!(&finish(&left, 0), &expected, "{function:?} of {values:?}, merged");
}

fn ints(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}
fn int32s(values: &[Option<i32>]) -> ArrayRef {
    Arc::new(Int32Array::from(values.to_vec()))
}
fn doubles(values: &[Option<f64>]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}
fn floats(values: &[Option<f32>]) -> ArrayRef {
    Arc::new(Float32Array::from(values.to_vec()))
}
fn strings(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}
fn decimals(precision: u8, scale: i8, values: &[Option<i128>]) -> ArrayRef {
    Arc::new(Decimal128Array::from(values.to_vec()).with_precision_and_scale(precision, scale).unwrap())
}

#[test]
fn counts_and_integers() {
    check(Count, ints(&[Some(1), None, Some(1)]), ints(&[Some(2)]));
    check(Count, strings(&[None]), ints(&[Some(0)]));
    check(Sum, ints(&[Some(1), None, Some(2)]), ints(&[Some(3)]));
    check(Sum, ints(&[None, None]), ints(&[None]));
    check(Sum, ints(&[Some(i64::MAX), Some(1)]), ints(&[Some(i64::MIN)]));
    check(Sum, int32s(&[Some(i32::MAX), Some(1)]), int32s(&[Some(i32::MIN)]));
    check(Sum, Arc::new(Int8Array::from(vec![100, 100])), Arc::new(Int8Array::from(vec![-56])));
    check(Min, ints(&[Some(3), None, Some(-2)]), ints(&[Some(-2)]));
    check(Max, ints(&[None]), ints(&[None]));
    check(Avg, ints(&[Some(1), Some(2)]), ints(&[Some(1)]));
    check(Avg, int32s(&[Some(-1), Some(-2), None]), int32s(&[Some(-1)]));
    check(Avg, ints(&[None]), ints(&[None]));
}

#[test]
fn floating_point() {
    check(Sum, doubles(&[Some(0.5), None, Some(0.25)]), doubles(&[Some(0.75)]));
    check(Sum, floats(&[Some(16_777_216.0), Some(1.0)]), floats(&[Some(16_777_216.0)]));
    check(Avg, floats(&[Some(1.0), Some(2.0)]), floats(&[Some(1.5)]));
    check(Avg, doubles(&[None]), doubles(&[None]));
    check(Min, doubles(&[Some(f64::NAN), Some(2.0)]), doubles(&[Some(2.0)]));
    check(Max, doubles(&[Some(1.0), Some(f64::NEG_INFINITY)]), doubles(&[Some(1.0)]));
    let mut nan = Accumulator::new(Max, Some(&DataType::Float64), false).unwrap();
    nan.resize(1);
    nan.update(Some(&doubles(&[Some(f64::NAN), Some(2.0)])), &[0, 0], None).unwrap();
    assert!(
        nan.results(0..1)
            .unwrap()
            .finish(None, &DataType::Float64)
            .unwrap()
            .as_primitive::<Float64Type>()
            .value(0)
            .is_nan()
    );
}

#[test]
fn decimals_overflow_to_null_and_average_half_up() {
    let max = 10i128.pow(38) - 1;
    check(Sum, decimals(10, 2, &[Some(150), None, Some(-25)]), decimals(38, 2, &[Some(125)]));
    check(Sum, decimals(38, 0, &[Some(max), Some(1)]), decimals(38, 0, &[None]));
    check(Sum, decimals(38, 0, &[None]), decimals(38, 0, &[None]));
    check(Max, decimals(10, 2, &[Some(150), Some(151)]), decimals(10, 2, &[Some(151)]));
    check(Avg, decimals(10, 2, &[Some(100), Some(100), Some(200)]), decimals(38, 6, &[Some(1_333_333)]));
    check(Avg, decimals(10, 2, &[Some(-100), Some(-100), Some(-300)]), decimals(38, 6, &[Some(-1_666_667)]));
    check(Avg, decimals(10, 1, &[Some(1), Some(2)]), decimals(38, 1, &[Some(2)]));
    check(Avg, decimals(10, 1, &[Some(-1), Some(-2)]), decimals(38, 1, &[Some(-2)]));
    check(Avg, decimals(38, 0, &[Some(max), Some(-max), Some(5)]), decimals(38, 6, &[Some(1_666_667)]));
    assert_eq!(divide_half_up(12_345, 1, -2), Some(123));
    assert_eq!(divide_half_up(12_350, 1, -2), Some(124));
}

#[test]
fn other_comparable_types() {
    check(Min, strings(&[Some("b"), None, Some("a"), Some("ab")]), strings(&[Some("a")]));
    check(Max, strings(&[Some(""), Some("é"), Some("z")]), strings(&[Some("é")]));
    check(Max, strings(&[None]), strings(&[None]));
    check(Min, Arc::new(BooleanArray::from(vec![true, false])), Arc::new(BooleanArray::from(vec![false])));
    check(Max, Arc::new(Date32Array::from(vec![1, 5, 2])), Arc::new(Date32Array::from(vec![5])));
    let times = |v: Vec<i64>| Arc::new(TimestampMillisecondArray::from(v).with_timezone("UTC"));
    check(Max, times(vec![1, 5, 2]), times(vec![5]));
}

#[test]
fn refuses_what_flink_has_not() {
    for (function, argument) in [(Sum, DataType::Utf8), (Avg, DataType::Boolean), (Sum, DataType::Date32)] {
        assert_eq!(Accumulator::new(function, Some(&argument), false).err().unwrap().code, "unsupported_aggregate");
    }
}
