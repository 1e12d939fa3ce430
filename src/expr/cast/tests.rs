//! What Flink 2.3.0 answered to casts.

use super::least_restrictive;
use crate::expr::testing::*;
use crate::expr::{EvalContext, Evaluator, Expr, Scalar, call as call_any, try_cast};
use crate::types::{DataType, MAX_LENGTH, TimestampKind, TypeKind};
use arrow::array::AsArray;

fn dec_kind(precision: u8, scale: u8) -> TypeKind {
    TypeKind::Decimal { precision, scale }
}
const STRING: TypeKind = TypeKind::VarChar(MAX_LENGTH);
fn timestamp(p: u8) -> TypeKind {
    TypeKind::Timestamp(p, TimestampKind::Regular)
}

#[test]
fn numbers_are_cast_as_in_java() {
    let double = |d: f64| Expr::literal(Scalar::Double(d), TypeKind::Double);
    check(&cast(double(1e10), TypeKind::Int), "INT NOT NULL", &["2147483647"; 4]);
    check(&cast(double(1e10), TypeKind::TinyInt), "TINYINT NOT NULL", &["-1"; 4]);
    check(&cast(double(123.456), dec_kind(10, 2)), "DECIMAL(10, 2) NOT NULL", &["123.46"; 4]);
    check(&cast(double(1e10), dec_kind(10, 2)), "DECIMAL(10, 2) NOT NULL", &["NULL"; 4]);
    check(&cast(double(-0.5), TypeKind::Boolean), "BOOLEAN NOT NULL", &["TRUE"; 4]);
    check(&cast(int(300), TypeKind::TinyInt), "TINYINT NOT NULL", &["44"; 4]);
    check(&cast(l(), TypeKind::Int), "INT", &["-727379968", "5", "NULL", "1"]);
    check(&cast(l(), dec_kind(10, 2)), "DECIMAL(10, 2)", &["NULL", "5.00", "NULL", "NULL"]);
    check(&cast(l(), TypeKind::Float), "FLOAT", &["1.0E12", "5.0", "NULL", "9.007199E15"]);
    check(&cast(decimal("1234567890", 12, 2), TypeKind::TinyInt), "TINYINT NOT NULL", &["78"; 4]);
    check(&cast(dec(), dec_kind(5, 1)), "DECIMAL(5, 1)", &["0.1", "1.2", "-100.0", "NULL"]);
    check(&cast(dec(), TypeKind::Int), "INT", &["0", "1", "-99", "NULL"]);
    check(&cast(dec(), TypeKind::Double), "DOUBLE", &["0.05", "1.23", "-99.99", "NULL"]);
    check(&cast(b(), dec_kind(3, 1)), "DECIMAL(3, 1)", &["1.0", "0.0", "NULL", "0.0"]);
    check(&cast(b(), TypeKind::Double), "DOUBLE", &["1.0", "0.0", "NULL", "0.0"]);
    check(&cast(i(), TypeKind::IntervalYearMonth), "INTERVAL YEAR TO MONTH", &["+0-07", "+0-01", "-0-07", "NULL"]);
    let nan = double(f64::NAN);
    assert_eq!(fails(&cast(nan.clone(), dec_kind(5, 1))), "cast_failed");
    assert_eq!(values(&try_cast(nan, &dec_kind(5, 1).into()).expect("allowed")), ["NULL"; 4]);
}

#[test]
fn texts_are_written_as_flink_does() {
    check(&cast(d(), STRING), "STRING", &["1.0E-7", "2.5", "-2.5", "NULL"]);
    check(&cast(b(), STRING), "STRING", &["TRUE", "FALSE", "NULL", "FALSE"]);
    check(&cast(ts(), STRING), "STRING", &TS);
    check(
        &cast(cast(ts(), timestamp(0)), STRING),
        "STRING",
        &["2026-03-01 00:00:00", "2026-03-31 23:59:59", "1969-12-31 23:59:59", "NULL"],
    );
    check(
        &cast(cast(ts(), timestamp(1)), STRING),
        "STRING",
        &["2026-03-01 00:00:00.7", "2026-03-31 23:59:59.6", "1969-12-31 23:59:59.9", "NULL"],
    );
    check(
        &cast(cast(ts(), timestamp(6)), STRING),
        "STRING",
        &["2026-03-01 00:00:00.779000", "2026-03-31 23:59:59.670000", "1969-12-31 23:59:59.999000", "NULL"],
    );
    check(&cast(s(), TypeKind::Char(3)), "CHAR(3)", &["12 ", "hel", "%_\\", "NULL"]);
    check(&cast(s(), TypeKind::VarChar(3)), "VARCHAR(3)", &["12", "hel", "%_\\", "NULL"]);
    check(&cast(i(), TypeKind::Char(3)), "CHAR(3)", &["7  ", "1  ", "-7 ", "NULL"]);
    check(&cast(lit("naïve"), TypeKind::Binary(3)), "BINARY(3) NOT NULL", &["na\u{fffd}"; 4]);
    check(&cast(lit("ß"), TypeKind::Binary(3)), "BINARY(3) NOT NULL", &["ß\0"; 4]);
    check(&cast(lit("ß"), TypeKind::VarBinary(3)), "VARBINARY(3) NOT NULL", &["ß"; 4]);
}

/// Text to INT, BIGINT, TINYINT, DOUBLE, DECIMAL(10, 2), BOOLEAN; `TRY_CAST`.
#[test]
fn texts_are_read_as_flink_does() {
    let cases: &[(&str, [&str; 6])] = &[
        ("12", ["12", "12", "12", "12.0", "12.00", "NULL"]),
        (" 12 ", ["12", "12", "12", "12.0", "12.00", "NULL"]),
        ("-3.75", ["-3", "-3", "-3", "-3.75", "-3.75", "NULL"]),
        ("1e3", ["NULL", "NULL", "NULL", "1000.0", "1000.00", "NULL"]),
        ("128", ["128", "128", "NULL", "128.0", "128.00", "NULL"]),
        ("2147483648", ["NULL", "2147483648", "NULL", "2.147483648E9", "NULL", "NULL"]),
        ("Infinity", ["NULL", "NULL", "NULL", "Infinity", "NULL", "NULL"]),
        ("", ["NULL"; 6]),
        ("abc", ["NULL"; 6]),
        ("1", ["1", "1", "1", "1.0", "1.00", "TRUE"]),
        ("TRUE", ["NULL", "NULL", "NULL", "NULL", "NULL", "TRUE"]),
        ("no", ["NULL", "NULL", "NULL", "NULL", "NULL", "FALSE"]),
    ];
    let kinds =
        [TypeKind::Int, TypeKind::BigInt, TypeKind::TinyInt, TypeKind::Double, dec_kind(10, 2), TypeKind::Boolean];
    for (text, expected) in cases {
        for (kind, expected) in kinds.iter().zip(expected) {
            let lenient = try_cast(lit(text), &kind.clone().into()).expect("allowed");
            assert!(lenient.data_type().nullable);
            assert_eq!(values(&lenient), [*expected; 4], "{text} as {kind}");
        }
    }
    assert_eq!(fails(&cast(lit("abc"), TypeKind::Int)), "cast_failed");
    assert_eq!(fails(&cast(s(), TypeKind::Date)), "cast_failed");
    check(
        &cast(lit("2026-03-01 12:34:56.7894"), timestamp(3)),
        "TIMESTAMP(3) NOT NULL",
        &["2026-03-01 12:34:56.789"; 4],
    );
    check(&cast(lit("12:34:56.789"), TypeKind::Time(0)), "TIME(0) NOT NULL", &["12:34:56"; 4]);
    // Too many digits is no failure.
    check(&cast(lit("123456789012"), dec_kind(10, 2)), "DECIMAL(10, 2) NOT NULL", &["NULL"; 4]);
}

#[test]
fn times_change_their_kind() {
    check(&cast(ts(), TypeKind::Date), "DATE", &["2026-03-01", "2026-03-31", "1969-12-31", "NULL"]);
    check(&cast(ts(), TypeKind::Time(0)), "TIME(0)", &["00:00:00", "23:59:59", "23:59:59", "NULL"]);
    check(&cast(ts(), TypeKind::Time(3)), "TIME(3)", &["00:00:00.779", "23:59:59.670", "23:59:59.999", "NULL"]);
    check(
        &cast(cast(ts(), TypeKind::Date), timestamp(3)),
        "TIMESTAMP(3)",
        &["2026-03-01 00:00:00.000", "2026-03-31 00:00:00.000", "1969-12-31 00:00:00.000", "NULL"],
    );
    let time = of_kind(45_001_000, TypeKind::Time(0));
    check(&cast(time, timestamp(3)), "TIMESTAMP(3) NOT NULL", &["1970-01-01 12:30:01.000"; 4]);
}

#[test]
fn instants_are_shown_in_the_zone_of_the_query() {
    let zoned = cast(ts(), TypeKind::TimestampLtz(3, TimestampKind::Regular));
    let context = EvalContext { time_zone: chrono_tz::Tz::Europe__Berlin };
    let run = |e: &Expr| {
        let array = Evaluator::new(e, &context).expect("it compiles").evaluate(&batch()).expect("it runs");
        array.as_string::<i32>().value(1).to_owned()
    };
    assert_eq!(run(&cast(zoned.clone(), STRING)), "2026-03-31 23:59:59.670");
    assert_eq!(run(&cast(cast(zoned.clone(), timestamp(3)), STRING)), "2026-03-31 23:59:59.670");
    assert_eq!(run(&cast(cast(zoned, TypeKind::Date), STRING)), "2026-03-31");
    // 2026-03-29 02:30 does not exist there; java.time moves it on by the gap.
    let gap = cast(lit("2026-03-29 02:30:00"), TypeKind::TimestampLtz(0, TimestampKind::Regular));
    assert_eq!(run(&cast(gap, STRING)), "2026-03-29 03:30:00");
}

/// A one-row batch of `ROW<a INT, b STRING>`, `ARRAY<INT>` and `MAP<STRING, INT>`.
#[test]
fn collections_are_cast_member_by_member() {
    use arrow::array::{ArrayRef, Int32Array, ListArray, MapArray, StringArray, StructArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::DataType as A;
    use std::sync::Arc;
    let member = |name: &str, kind: TypeKind| crate::types::Field::new(name, kind.into());
    let row = TypeKind::Row(vec![member("a", TypeKind::Int), member("b", STRING)]);
    let list = TypeKind::Array(Box::new(TypeKind::Int.into()));
    let map = TypeKind::Map(Box::new(STRING.into()), Box::new(TypeKind::Int.into()));
    let ints: ArrayRef = Arc::new(Int32Array::from(vec![Some(7), None]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["x", "y"]));
    let offsets = || OffsetBuffer::new(vec![0, 2].into());
    let (A::Struct(fields), A::List(item), A::Map(entries, _)) = (row.to_arrow(), list.to_arrow(), map.to_arrow())
    else {
        panic!("the layouts are fixed")
    };
    let A::Struct(entry_fields) = entries.data_type() else { panic!("entries are structs") };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StructArray::new(fields, vec![ints.slice(1, 1), texts.slice(0, 1)], None)),
        Arc::new(ListArray::new(item, offsets(), ints.clone(), None)),
        Arc::new(MapArray::new(
            entries.clone(),
            offsets(),
            StructArray::new(entry_fields.clone(), vec![texts, ints], None),
            None,
            false,
        )),
    ];
    let kinds = [row, list, map];
    let schema = crate::types::Schema::new(kinds.iter().map(|k| member("c", k.clone())).collect());
    let batch = arrow::record_batch::RecordBatch::try_new(schema.to_arrow(), columns).expect("the columns fit");
    let run = |e: &Expr| {
        let array = Evaluator::new(e, &context()).expect("it compiles").evaluate(&batch).expect("it runs");
        assert_eq!(array.data_type(), &e.data_type().to_arrow());
        array
    };
    let column = |n: usize| Expr::column(n, kinds[n].clone().into());
    let text = |e: Expr| run(&cast(e, STRING)).as_string::<i32>().value(0).to_owned();
    assert_eq!(text(column(0)), "(NULL, x)");
    assert_eq!(text(column(1)), "[7, NULL]");
    assert_eq!(text(column(2)), "{x=7, y=NULL}");
    assert_eq!(run(&cast(column(0), TypeKind::VarChar(5))).as_string::<i32>().value(0), "(NULL");
    let renamed = TypeKind::Row(vec![member("p", TypeKind::BigInt), member("q", TypeKind::Char(2))]);
    assert_eq!(text(cast(column(0), renamed)), "(NULL, x )");
    assert_eq!(text(cast(column(1), TypeKind::Array(Box::new(STRING.into())))), "[7, NULL]");
    let doubles = TypeKind::Map(Box::new(STRING.into()), Box::new(TypeKind::Double.into()));
    assert_eq!(text(cast(column(2), doubles)), "{x=7.0, y=NULL}");
    let shorter = TypeKind::Row(vec![member("a", TypeKind::Int)]);
    assert_eq!(super::cast(column(0), &shorter.into(), true).expect_err("refused").code, "invalid_cast");
    for n in 0..3 {
        let equal = run(&call("=", [column(n), column(n)]));
        assert!(equal.as_boolean().value(0));
    }
}

#[test]
fn forbidden_casts_are_refused() {
    let kind = |e: Expr| e.data_type().kind.clone();
    let cases = [
        (b(), TypeKind::Date),
        (ts(), TypeKind::Int),
        (ts(), TypeKind::BigInt),
        (i(), timestamp(3)),
        (i(), TypeKind::Date),
        (i(), TypeKind::VarBinary(MAX_LENGTH)),
        (of_kind(0, TypeKind::Date), TypeKind::Time(0)),
        (of_kind(0, TypeKind::Date), TypeKind::Int),
        (of_kind(0, TypeKind::IntervalDayTime), TypeKind::Int),
        (s(), TypeKind::IntervalDayTime),
        (s(), TypeKind::Array(Box::new(DataType::string()))),
    ];
    for (from, to) in cases {
        let error = super::cast(from.clone(), &to.clone().into(), true).expect_err("refused");
        assert_eq!(error.code, "invalid_cast", "{} to {to}", kind(from));
    }
    for (from, to, allowed) in [
        (i(), TypeKind::BigInt, true),
        (l(), TypeKind::Int, false),
        (i(), STRING, false),
        (s(), TypeKind::Int, false),
        (lit("a"), STRING, true),
        (l(), TypeKind::Double, true),
        (d(), TypeKind::Float, false),
        (ts(), TypeKind::TimestampLtz(3, TimestampKind::Regular), true),
    ] {
        assert_eq!(super::cast(from.clone(), &to.clone().into(), false).is_ok(), allowed, "{} to {to}", kind(from));
    }
}

#[test]
fn common_types_are_calcites() {
    let cases: &[(&[TypeKind], &str)] = &[
        (&[TypeKind::Char(2), TypeKind::Char(4)], "VARCHAR(4)"),
        (&[TypeKind::Char(3), TypeKind::Char(3)], "CHAR(3)"),
        (&[TypeKind::Char(3), TypeKind::VarChar(2)], "VARCHAR(3)"),
        (&[TypeKind::Char(2), STRING], "STRING"),
        (&[TypeKind::Int, TypeKind::BigInt], "BIGINT"),
        (&[TypeKind::Int, dec_kind(2, 1)], "DECIMAL(11, 1)"),
        (&[TypeKind::Int, TypeKind::BigInt, dec_kind(2, 1)], "DECIMAL(20, 1)"),
        (&[dec_kind(12, 2), TypeKind::Double], "DOUBLE"),
        (&[TypeKind::Float, dec_kind(12, 2)], "DOUBLE"),
        (&[TypeKind::Float, TypeKind::Int], "FLOAT"),
        (&[TypeKind::Float, TypeKind::Double], "FLOAT"),
        (&[TypeKind::Null, TypeKind::Int], "INT"),
        (&[timestamp(3), timestamp(6)], "TIMESTAMP(6)"),
        (&[TypeKind::Timestamp(3, TimestampKind::Rowtime), timestamp(6)], "TIMESTAMP(6)"),
    ];
    for (kinds, expected) in cases {
        let types: Vec<_> = kinds.iter().cloned().map(DataType::nullable).collect();
        assert_eq!(least_restrictive(&types).expect("common").to_string(), *expected);
    }
    for kinds in [[TypeKind::Int, STRING], [TypeKind::Date, timestamp(3)], [STRING, TypeKind::VarBinary(3)]] {
        let types: Vec<_> = kinds.into_iter().map(DataType::nullable).collect();
        assert_eq!(least_restrictive(&types).expect_err("none").code, "no_common_type");
    }
    assert!(call_any("COALESCE", vec![i(), int(1)]).is_ok());
}
