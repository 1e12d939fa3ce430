//! Tables of the functions of one array; the expected values are what Flink 2.3.0 answered.

use super::*;
use crate::expr::functions::collection::FUNCTIONS;
use crate::expr::functions::collection::testing::{ints, lists, whole_ints};
use crate::expr::functions::kernels::testing::{col, col_not_null, int, run, show};
use arrow::array::{Float64Array, ListArray};
use arrow::buffer::OffsetBuffer;

fn check(name: &str, array: &[Option<i32>], args: &[Option<i32>], expected: &str) {
    let mut exprs = vec![col(ints())];
    exprs.extend(args.iter().map(|_| col(TypeKind::Int)));
    let mut inputs = vec![Value::Array(lists(&[Some(array)]))];
    inputs.extend(args.iter().map(|a| Value::Array(Arc::new(Int32Array::from(vec![*a])) as ArrayRef)));
    let (_, got) = run(FUNCTIONS, name, exprs, &inputs, 1).unwrap();
    assert_eq!(show(&got), expected, "{name}({array:?}, {args:?})");
}

const A: Option<i32> = Some(1);
const B: Option<i32> = Some(2);
const C: Option<i32> = Some(3);

#[test]
fn searching_and_changing() {
    for (name, array, args, expected) in [
        ("ARRAY_CONTAINS", &[A, None][..], &[A][..], "true"),
        ("ARRAY_CONTAINS", &[A, None], &[B], "false"),
        ("ARRAY_CONTAINS", &[A, None], &[None], "true"),
        ("ARRAY_CONTAINS", &[A], &[None], "false"),
        ("ARRAY_POSITION", &[A, B, B], &[B], "2"),
        ("ARRAY_POSITION", &[A], &[B], "0"),
        ("ARRAY_POSITION", &[A, None], &[None], "null"),
        ("ARRAY_REMOVE", &[A, B, A], &[A], "[2]"),
        ("ARRAY_REMOVE", &[A, None, B], &[None], "[1, 2]"),
        ("ARRAY_APPEND", &[A], &[B], "[1, 2]"),
        ("ARRAY_PREPEND", &[A], &[None], "[null, 1]"),
        ("ARRAY_DISTINCT", &[A, B, A, None, None], &[], "[1, 2, null]"),
        ("ARRAY_REVERSE", &[A, B, C], &[], "[3, 2, 1]"),
        ("ARRAY_MAX", &[A, None, C], &[], "3"),
        ("ARRAY_MIN", &[C, None, A], &[], "1"),
        ("ARRAY_MIN", &[None], &[], "null"),
        ("ARRAY_MAX", &[], &[], "null"),
    ] {
        check(name, array, args, expected);
    }
}

#[test]
fn slices() {
    for (args, expected) in [
        (&[2][..], "[2, 3]"),
        (&[-2, -1], "[2, 3]"),
        (&[0, 2], "[1, 2]"),
        (&[3, 2], "[]"),
        (&[-10, 10], "[1, 2, 3]"),
        (&[5], "[]"),
        (&[5, 9], "[]"),
        (&[-1, 0], "[]"),
        (&[2, 0], "[]"),
        (&[0, 0], "[1]"),
        (&[-5, -4], "[1]"),
        (&[i32::MIN, i32::MAX], "[1, 2, 3]"),
    ] {
        let args: Vec<_> = args.iter().copied().map(Some).collect();
        check("ARRAY_SLICE", &[A, B, C], &args, expected);
    }
    check("ARRAY_SLICE", &[], &[Some(0), Some(0)], "[]");
    check("ARRAY_SLICE", &[A], &[A, None], "null");
}

#[test]
fn sorting_places_nulls_by_order_or_as_told() {
    for (flags, expected) in [
        (&[][..], "[null, 1, 3]"),
        (&[Some(false)], "[3, 1, null]"),
        (&[Some(false), Some(true)], "[null, 3, 1]"),
        (&[Some(true), Some(false)], "[1, 3, null]"),
        (&[None], "null"),
    ] {
        let mut exprs = vec![col(ints())];
        let mut inputs = vec![Value::Array(lists(&[Some(&[C, None, A])]))];
        for flag in flags {
            exprs.push(col(TypeKind::Boolean));
            inputs.push(Value::Array(Arc::new(BooleanArray::from(vec![*flag]))));
        }
        let (_, got) = run(FUNCTIONS, "ARRAY_SORT", exprs, &inputs, 1).unwrap();
        assert_eq!(show(&got), expected, "{flags:?}");
    }
}

#[test]
fn null_arrays_sliced_columns_and_constants() {
    let column = lists(&[Some(&[A]), None, Some(&[B, C]), Some(&[])]).slice(1, 3);
    let inputs = [Value::Array(column), Value::Scalar(Arc::new(Int32Array::from(vec![3])))];
    let args = || vec![col(ints()), int(3)];
    assert_eq!(show(&run(FUNCTIONS, "ARRAY_CONTAINS", args(), &inputs, 3).unwrap().1), "null | true | false");
    assert_eq!(show(&run(FUNCTIONS, "ARRAY_APPEND", args(), &inputs, 3).unwrap().1), "null | [2, 3, 3] | [3]");
    let scalars = [Value::Scalar(lists(&[Some(&[A])])), Value::Scalar(Arc::new(Int32Array::from(vec![3])))];
    let (kind, got) = run(FUNCTIONS, "ARRAY_POSITION", vec![col_not_null(ints()), int(3)], &scalars, 7).unwrap();
    assert_eq!((kind.to_string().as_str(), show(&got).as_str()), ("INT NOT NULL", "0"));
}

#[test]
fn types_follow_the_arguments() {
    for (name, args, expected) in [
        ("ARRAY_CONTAINS", vec![col_not_null(ints()), col(TypeKind::Int)], "BOOLEAN NOT NULL"),
        ("ARRAY_POSITION", vec![col_not_null(ints()), col(TypeKind::Int)], "INT"),
        ("ARRAY_APPEND", vec![col_not_null(whole_ints()), col(TypeKind::Int)], "ARRAY<INT>"),
        ("ARRAY_APPEND", vec![col_not_null(whole_ints()), int(1)], "ARRAY<INT NOT NULL> NOT NULL"),
        ("ARRAY_PREPEND", vec![col_not_null(ints()), int(1)], "ARRAY<INT> NOT NULL"),
        ("ARRAY_MAX", vec![col_not_null(whole_ints())], "INT"),
        ("ARRAY_REVERSE", vec![col_not_null(whole_ints())], "ARRAY<INT NOT NULL> NOT NULL"),
        ("ARRAY_SLICE", vec![col_not_null(whole_ints()), col(TypeKind::Int)], "ARRAY<INT NOT NULL>"),
    ] {
        let function = FUNCTIONS.iter().find(|f| f.name == name).unwrap();
        assert_eq!((function.bind)(&mut args.clone()).unwrap().to_string(), expected, "{name}");
    }
    let longs = TypeKind::Array(Box::new(DataType::nullable(TypeKind::BigInt)));
    let mut args = vec![col_not_null(longs), int(2)];
    assert_eq!((ARRAY_APPEND.bind)(&mut args).unwrap().to_string(), "ARRAY<BIGINT>", "a converted value may be null");
}

#[test]
fn wrong_arguments_are_refused() {
    let arrays = TypeKind::Array(Box::new(DataType::nullable(ints())));
    let booleans = TypeKind::Array(Box::new(DataType::nullable(TypeKind::Boolean)));
    for (name, args) in [
        ("ARRAY_CONTAINS", vec![col(ints()), col(TypeKind::BigInt)]),
        ("ARRAY_APPEND", vec![col(ints()), col(TypeKind::Double)]),
        ("ARRAY_SORT", vec![col(arrays)]),
        ("ARRAY_SORT", vec![col(ints()), int(1)]),
        ("ARRAY_MAX", vec![col(booleans)]),
        ("ARRAY_JOIN", vec![col(ints()), col(TypeKind::VarChar(1))]),
        ("ARRAY_SLICE", vec![col(ints()), col(TypeKind::BigInt)]),
        ("ARRAY_REVERSE", vec![col(TypeKind::Int)]),
    ] {
        assert_eq!(run(FUNCTIONS, name, args, &[], 0).unwrap_err().code, "invalid_argument", "{name}");
    }
}

#[test]
fn joining_strings() {
    let strings = TypeKind::Array(Box::new(DataType::string()));
    let field = crate::expr::functions::collection::elements::list_field(&strings.to_arrow()).unwrap();
    let items = Arc::new(StringArray::from(vec![Some("a"), None, Some("b")]));
    let array: ArrayRef = Arc::new(ListArray::new(field, OffsetBuffer::from_lengths([3, 0]), items, None));
    let text = |t: Option<&str>| Value::Scalar(Arc::new(StringArray::from(vec![t])) as ArrayRef);
    let string = || col(TypeKind::VarChar(crate::types::MAX_LENGTH));
    for (args, expected) in [
        (vec![text(Some(","))], "a,b | "),
        (vec![text(Some(",")), text(Some("N"))], "a,N,b | "),
        (vec![text(None)], "null | null"),
        (vec![text(Some(",")), text(None)], "null | null"),
    ] {
        let mut exprs = vec![col(strings.clone())];
        exprs.extend(args.iter().map(|_| string()));
        let mut inputs = vec![Value::Array(array.clone())];
        inputs.extend(args);
        assert_eq!(show(&run(FUNCTIONS, "ARRAY_JOIN", exprs, &inputs, 2).unwrap().1), expected);
    }
}

#[test]
fn zeros_of_both_signs_are_equal() {
    let doubles = TypeKind::Array(Box::new(DataType::nullable(TypeKind::Double)));
    let field = crate::expr::functions::collection::elements::list_field(&doubles.to_arrow()).unwrap();
    let items = Arc::new(Float64Array::from(vec![0.0, f64::NAN]));
    let array: ArrayRef = Arc::new(ListArray::new(field, OffsetBuffer::from_lengths([2]), items, None));
    for (needle, expected) in [(-0.0, "1"), (-f64::NAN, "2"), (1.0, "0")] {
        let inputs = [Value::Array(array.clone()), Value::Array(Arc::new(Float64Array::from(vec![needle])))];
        let args = vec![col(doubles.clone()), col(TypeKind::Double)];
        assert_eq!(show(&run(FUNCTIONS, "ARRAY_POSITION", args, &inputs, 1).unwrap().1), expected);
    }
}
