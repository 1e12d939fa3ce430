//! Branches, folding and rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;

use super::Evaluator;
use crate::expr::testing::*;
use crate::expr::{Expr, Scalar};
use crate::types::{DataType, Field, Schema, TypeKind};

fn case(branches: Vec<(Expr, Expr)>, otherwise: Expr) -> Expr {
    let data_type = otherwise.data_type().with_nullable(true);
    Expr::Case { branches, otherwise: Box::new(otherwise), data_type }
}

#[test]
fn branches_that_a_row_does_not_take_raise_nothing() {
    let not_seven = || call("<>", [i(), int(7)]);
    let fraction = || call("/", [int(12), call("-", [i(), int(7)])]);
    assert_eq!(fails(&fraction()), "division_by_zero");
    check(&case(vec![(not_seven(), fraction())], int(0)), "INT", &["0", "-2", "0", "0"]);
    let reversed = case(vec![(call("=", [i(), int(7)]), int(0))], fraction());
    check(&reversed, "INT", &["0", "-2", "0", "NULL"]);
    check(&call("IF", [not_seven(), fraction(), int(5)]), "INT", &["5", "-2", "0", "5"]);
    check(&call("COALESCE", [call("NULLIF", [i(), int(1)]), fraction()]), "INT", &["7", "-2", "-7", "NULL"]);
    let positive = || call(">", [fraction(), int(-1)]);
    check(&call("AND", [not_seven(), positive()]), "BOOLEAN", &["FALSE", "FALSE", "TRUE", "NULL"]);
    let seven = call("=", [i(), int(7)]);
    check(&call("OR", [seven, positive()]), "BOOLEAN", &["TRUE", "FALSE", "TRUE", "NULL"]);
    // A constant that fails is met only by the rows that reach it.
    let never = case(vec![(call("=", [i(), int(99)]), call("/", [int(1), int(0)]))], int(3));
    check(&never, "INT", &["3"; 4]);
}

#[test]
fn cases_take_the_first_true_branch() {
    let text = |s: &str| Expr::literal(Scalar::String(s.into()), TypeKind::VarChar(5));
    let branches =
        vec![(call("=", [i(), int(7)]), text("seven")), (call(">", [i(), int(0)]), text("more")), (b(), text("b"))];
    check(&case(branches, text("else")), "VARCHAR(5)", &["seven", "more", "else", "else"]);
    let constant = vec![(call("=", [int(1), int(1)]), i())];
    check(&case(constant, i()), "INT", &["7", "1", "-7", "NULL"]);
}

#[test]
fn constants_are_computed_once() {
    let expr = call("+", [int(1), call("*", [int(2), int(3)])]);
    let evaluator = Evaluator::new(&expr, &context()).expect("it compiles");
    assert!(evaluator.constant().is_some());
    assert!(Evaluator::new(&call("+", [i(), int(3)]), &context()).expect("it compiles").constant().is_none());
    assert!(Evaluator::new(&call("UUID", []), &context()).expect("it compiles").constant().is_none());
}

#[test]
fn columns_are_not_copied() {
    let batch = batch();
    let array = Evaluator::new(&i(), &context()).expect("it compiles").evaluate(&batch).expect("it runs");
    assert!(Arc::ptr_eq(&array, batch.column(0)));
}

#[test]
fn predicates_have_no_nulls() {
    let evaluator = Evaluator::new(&b(), &context()).expect("it compiles");
    let mask = evaluator.evaluate_predicate(&batch()).expect("it runs");
    assert_eq!((mask.null_count(), mask.true_count(), mask.len()), (0, 1, 4));
    let always = Evaluator::new(&call("=", [int(1), int(1)]), &context()).expect("it compiles");
    assert_eq!(always.evaluate_predicate(&batch()).expect("it runs").true_count(), 4);
}

#[test]
fn members_of_null_rows_are_null() {
    let kind = TypeKind::Row(vec![Field::new("x", DataType::nullable(TypeKind::BigInt))]);
    let row = DataType::nullable(kind);
    let arrow::datatypes::DataType::Struct(fields) = row.to_arrow() else { panic!("a row is a struct") };
    let make = |valid: [bool; 3], values: [i64; 3]| -> ArrayRef {
        let values: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
        Arc::new(StructArray::new(fields.clone(), vec![values], Some(NullBuffer::from(valid.to_vec()))))
    };
    let schema = Schema::new(["a", "b"].map(|n| Field::new(n, row.clone())).to_vec());
    let columns = vec![make([true, false, false], [1, 2, 3]), make([true, true, false], [10, 20, 30])];
    let batch = RecordBatch::try_new(schema.to_arrow(), columns).expect("the columns fit");
    let member = |index| Expr::Field {
        row: Box::new(Expr::column(index, row.clone())),
        index: 0,
        data_type: DataType::nullable(TypeKind::BigInt),
    };
    let run = |expr: &Expr| {
        let array = Evaluator::new(expr, &context()).expect("it compiles").evaluate(&batch).expect("it runs");
        array.as_primitive::<Int64Type>().iter().collect::<Vec<_>>()
    };
    assert_eq!(run(&member(0)), [Some(1), None, None]);
    assert_eq!(run(&call("COALESCE", [member(0), member(1)])), [Some(1), Some(20), None]);
}

#[test]
fn empty_batches_give_empty_columns() {
    let batch = batch().slice(0, 0);
    for expr in [call("+", [i(), int(1)]), int(1), call("COALESCE", [i(), int(1)]), call("LIKE", [s(), t()])] {
        let array = Evaluator::new(&expr, &context()).expect("it compiles").evaluate(&batch).expect("it runs");
        assert_eq!(array.len(), 0, "{expr:?}");
    }
}
