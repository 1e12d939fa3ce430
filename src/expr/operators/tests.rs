//! What Flink 2.3.0 answered, type by type.

use crate::expr::testing::*;
use crate::expr::{Expr, Scalar};
use crate::types::{DataType, TimestampKind, TypeKind};

const INTERVAL_DAY: i64 = 86_400_000;

fn days(n: i64) -> Expr {
    of_kind(n * INTERVAL_DAY, TypeKind::IntervalDayTime)
}
fn months(n: i64) -> Expr {
    of_kind(n, TypeKind::IntervalYearMonth)
}
fn float(e: Expr) -> Expr {
    cast(e, TypeKind::Float)
}

#[test]
fn integers_promote_wrap_and_cut() {
    let tiny = || cast(i(), TypeKind::TinyInt);
    let small = || cast(i(), TypeKind::SmallInt);
    check(&call("+", [i(), l()]), "BIGINT", &["1000000000007", "6", "NULL", "NULL"]);
    check(&call("+", [tiny(), small()]), "SMALLINT", &["14", "2", "-14", "NULL"]);
    check(&call("*", [small(), small()]), "SMALLINT", &["49", "1", "49", "NULL"]);
    check(&call("+", [int(2_147_483_647), i()]), "INT", &["-2147483642", "-2147483648", "2147483640", "NULL"]);
    check(&call("/", [i(), int(2)]), "INT", &["3", "0", "-3", "NULL"]);
    check(&call("/", [l(), i()]), "BIGINT", &["142857142857", "5", "NULL", "NULL"]);
    check(&call("%", [i(), int(4)]), "INT", &["3", "1", "-3", "NULL"]);
    check(&call("%", [l(), int(7)]), "INT", &["1", "5", "NULL", "5"]);
    check(&call("%", [i(), l()]), "BIGINT", &["7", "1", "NULL", "NULL"]);
    check(&call("%", [tiny(), i()]), "INT", &["0", "0", "0", "NULL"]);
    check(&call("NEGATE", [i()]), "INT", &["-7", "-1", "7", "NULL"]);
    check(&call("+", [int(1), int(1)]), "INT NOT NULL", &["2"; 4]);
    check(&call("+", [null_of(TypeKind::Int), int(1)]), "INT", &["NULL"; 4]);
    check(&call("/", [of_kind(-2_147_483_648, TypeKind::Int), int(-1)]), "INT NOT NULL", &["-2147483648"; 4]);
    assert_eq!(fails(&call("/", [i(), int(0)])), "division_by_zero");
    assert_eq!(fails(&call("%", [i(), call("-", [i(), i()])])), "division_by_zero");
    assert_eq!(fails(&call("/", [int(1), int(0)])), "division_by_zero");
}

#[test]
fn floats_follow_java() {
    check(&call("+", [i(), d()]), "DOUBLE", &["7.0000001", "3.5", "-9.5", "NULL"]);
    check(&call("+", [i(), float(d())]), "FLOAT", &["7.0", "3.5", "-9.5", "NULL"]);
    check(&call("+", [float(d()), dec()]), "DOUBLE", &["0.05000010000000117", "3.73", "-102.49", "NULL"]);
    check(&call("+", [float(d()), d()]), "FLOAT", &["2.0E-7", "5.0", "-5.0", "NULL"]);
    check(&call("+", [d(), float(d())]), "DOUBLE", &["2.0000000116860974E-7", "5.0", "-5.0", "NULL"]);
    check(&call("/", [d(), int(0)]), "DOUBLE", &["Infinity", "Infinity", "-Infinity", "NULL"]);
    check(&call("NEGATE", [d()]), "DOUBLE", &["-1.0E-7", "-2.5", "2.5", "NULL"]);
    let nan = || Expr::literal(Scalar::Double(f64::NAN), TypeKind::Double);
    check(&call("=", [nan(), nan()]), "BOOLEAN NOT NULL", &["FALSE"; 4]);
}

#[test]
fn decimals_have_flinks_precision() {
    let wide = |p, s| cast(dec(), TypeKind::Decimal { precision: p, scale: s });
    check(&call("+", [dec(), int(1)]), "DECIMAL(13, 2)", &["1.05", "2.23", "-98.99", "NULL"]);
    check(&call("*", [dec(), dec()]), "DECIMAL(25, 4)", &["0.0025", "1.5129", "9998.0001", "NULL"]);
    check(
        &call("/", [dec(), int(3)]),
        "DECIMAL(23, 13)",
        &["0.0166666666667", "0.4100000000000", "-33.3300000000000", "NULL"],
    );
    check(&call("-", [dec(), decimal("5", 4, 3)]), "DECIMAL(14, 3)", &["0.045", "1.225", "-99.995", "NULL"]);
    check(&call("%", [dec(), int(2)]), "DECIMAL(12, 2)", &["0.05", "1.23", "-1.99", "NULL"]);
    check(&call("%", [int(3), dec()]), "DECIMAL(12, 2)", &["0.00", "0.54", "3.00", "NULL"]);
    check(
        &call("%", [cast(i(), TypeKind::Decimal { precision: 10, scale: 0 }), int(4)]),
        "INT",
        &["3", "1", "-3", "NULL"],
    );
    check(&call("*", [decimal("15", 5, 1), i()]), "DECIMAL(16, 1)", &["10.5", "1.5", "-10.5", "NULL"]);
    check(
        &call("*", [decimal("908", 4, 3), l()]),
        "DECIMAL(24, 3)",
        &["908000000000.000", "4.540", "NULL", "8178536923304821.644"],
    );
    check(&call("+", [dec(), l()]), "DECIMAL(22, 2)", &["1000000000000.05", "6.23", "NULL", "NULL"]);
    check(
        &call("/", [dec(), dec()]),
        "DECIMAL(27, 15)",
        &["1.000000000000000", "1.000000000000000", "1.000000000000000", "NULL"],
    );
    check(&call("*", [wide(38, 18), wide(38, 18)]), "DECIMAL(38, 6)", &["0.002500", "1.512900", "9998.000100", "NULL"]);
    check(&call("+", [wide(38, 10), wide(38, 4)]), "DECIMAL(38, 6)", &["0.100000", "2.460000", "-199.980000", "NULL"]);
    check(
        &call("/", [wide(38, 18), cast(int(3), TypeKind::Decimal { precision: 38, scale: 18 })]),
        "DECIMAL(38, 6)",
        &["0.016667", "0.410000", "-33.330000", "NULL"],
    );
    check(&call("%", [i(), decimal("25", 2, 1)]), "DECIMAL(2, 1)", &["2.0", "1.0", "-2.0", "NULL"]);
    check(&call("NEGATE", [dec()]), "DECIMAL(12, 2)", &["-0.05", "-1.23", "99.99", "NULL"]);
    assert_eq!(fails(&call("/", [dec(), int(0)])), "division_by_zero");
    // Too large for 38 digits.
    let big = || decimal(&"9".repeat(38), 38, 0);
    check(&call("*", [big(), big()]), "DECIMAL(38, 0) NOT NULL", &["NULL"; 4]);
    check(&call("+", [big(), big()]), "DECIMAL(38, 0) NOT NULL", &["NULL"; 4]);
}

#[test]
fn times_move_by_intervals() {
    let date = |d| of_kind(d, TypeKind::Date);
    let time = |ms| of_kind(ms, TypeKind::Time(0));
    let hours = |h: i64| of_kind(h * 3_600_000, TypeKind::IntervalDayTime);
    check(
        &call("+", [ts(), days(1)]),
        "TIMESTAMP(3) *ROWTIME*",
        &["2026-03-02 00:00:00.779", "2026-04-01 23:59:59.670", "1970-01-01 23:59:59.999", "NULL"],
    );
    assert_eq!(values(&call("+", [days(1), ts()])), values(&call("+", [ts(), days(1)])));
    check(
        &call("-", [ts(), months(1)]),
        "TIMESTAMP(3) *ROWTIME*",
        &["2026-02-01 00:00:00.779", "2026-02-28 23:59:59.670", "1969-11-30 23:59:59.999", "NULL"],
    );
    check(&call("+", [date(20_513), hours(40)]), "DATE NOT NULL", &["2026-03-02"; 4]);
    check(&call("+", [date(20_484), months(1)]), "DATE NOT NULL", &["2026-02-28"; 4]);
    check(&call("+", [time(45_000_000), hours(13)]), "TIME(0) NOT NULL", &["01:30:00"; 4]);
    check(&call("-", [time(45_000_000), hours(13)]), "TIME(0) NOT NULL", &["23:30:00"; 4]);
    check(&call("+", [days(1), hours(2)]), "INTERVAL DAY TO SECOND(3) NOT NULL", &["+1 02:00:00.000"; 4]);
    check(
        &call("*", [days(1), i()]),
        "INTERVAL DAY TO SECOND(3)",
        &["+7 00:00:00.000", "+1 00:00:00.000", "-7 00:00:00.000", "NULL"],
    );
    check(&call("*", [int(2), months(7)]), "INTERVAL YEAR TO MONTH NOT NULL", &["+1-02"; 4]);
    check(&call("NEGATE", [months(14)]), "INTERVAL YEAR TO MONTH NOT NULL", &["-1-02"; 4]);
    let micros = of_kind(1_774_918_923_123_456, TypeKind::Timestamp(6, TimestampKind::Regular));
    check(&call("+", [micros, months(1)]), "TIMESTAMP(6) NOT NULL", &["2026-04-30 01:02:03.123456"; 4]);
    for (name, args) in [
        ("-", [ts(), ts()]),
        ("-", [date(1), date(0)]),
        ("/", [days(1), int(2)]),
        ("+", [s(), int(1)]),
        ("+", [b(), int(1)]),
        ("%", [d(), int(2)]),
    ] {
        assert_eq!(refused(name, args.to_vec()), "invalid_argument", "{name} {args:?}");
    }
    assert_eq!(refused("NEGATE", vec![s()]), "invalid_argument");
}

#[test]
fn comparisons_promote_and_know_null() {
    check(&call("=", [i(), int(7)]), "BOOLEAN", &["TRUE", "FALSE", "FALSE", "NULL"]);
    check(&call("<>", [i(), int(7)]), "BOOLEAN", &["FALSE", "TRUE", "TRUE", "NULL"]);
    check(&call(">", [i(), l()]), "BOOLEAN", &["FALSE", "FALSE", "NULL", "NULL"]);
    check(&call("<", [s(), t()]), "BOOLEAN", &["FALSE", "TRUE", "TRUE", "NULL"]);
    check(&call("=", [d(), decimal("25", 2, 1)]), "BOOLEAN", &["FALSE", "TRUE", "FALSE", "NULL"]);
    check(&call(">=", [dec(), int(1)]), "BOOLEAN", &["FALSE", "TRUE", "FALSE", "NULL"]);
    check(&call("=", [dec(), decimal("12300", 38, 4)]), "BOOLEAN", &["FALSE", "TRUE", "FALSE", "NULL"]);
    check(&call("<", [dec(), decimal("1", 38, 38)]), "BOOLEAN", &["FALSE", "FALSE", "TRUE", "NULL"]);
    check(
        &call(">", [b(), Expr::literal(Scalar::Boolean(false), TypeKind::Boolean)]),
        "BOOLEAN",
        &["TRUE", "FALSE", "NULL", "FALSE"],
    );
    check(&call(">", [ts(), lit("2026-03-05")]), "BOOLEAN", &["FALSE", "TRUE", "FALSE", "NULL"]);
    let micros = cast(ts(), TypeKind::Timestamp(6, TimestampKind::Regular));
    check(&call("=", [ts(), micros]), "BOOLEAN", &["TRUE", "TRUE", "TRUE", "NULL"]);
    let zoned = cast(ts(), TypeKind::TimestampLtz(3, TimestampKind::Regular));
    check(&call("=", [ts(), zoned]), "BOOLEAN", &["TRUE", "TRUE", "TRUE", "NULL"]);
    check(&call("=", [of_kind(20_517, TypeKind::Date), lit("2026-03-05")]), "BOOLEAN NOT NULL", &["TRUE"; 4]);
    check(&call(">", [days(1), of_kind(1, TypeKind::IntervalDayTime)]), "BOOLEAN NOT NULL", &["TRUE"; 4]);
    check(&call("IS_DISTINCT_FROM", [i(), int(7)]), "BOOLEAN NOT NULL", &["FALSE", "TRUE", "TRUE", "TRUE"]);
    check(
        &call("IS_NOT_DISTINCT_FROM", [i(), null_of(TypeKind::Int)]),
        "BOOLEAN NOT NULL",
        &["FALSE", "FALSE", "FALSE", "TRUE"],
    );
    check(&call("=", [null_of(TypeKind::Null), int(1)]), "BOOLEAN", &["NULL"; 4]);
    check(&call("BETWEEN", [i(), int(-1), int(42)]), "BOOLEAN", &["TRUE", "TRUE", "FALSE", "NULL"]);
    check(&call("BETWEEN", [i(), int(1), l()]), "BOOLEAN", &["TRUE", "TRUE", "FALSE", "NULL"]);
    check(
        &call("BETWEEN", [ts(), lit("2026-03-01"), lit("2026-03-20")]),
        "BOOLEAN",
        &["TRUE", "FALSE", "FALSE", "NULL"],
    );
    let date = || of_kind(0, TypeKind::Date);
    for (name, args) in [
        ("=", [s(), int(1)]),
        ("=", [b(), int(1)]),
        ("<", [ts(), date()]),
        ("=", [date(), ts()]),
        ("=", [i(), lit("7")]),
    ] {
        assert_eq!(refused(name, args.to_vec()), "invalid_argument", "{name} {args:?}");
    }
}

#[test]
fn lists_are_searched_with_three_values() {
    let null = || null_of(TypeKind::Null);
    check(&call("IN", [i(), int(1), int(42), null()]), "BOOLEAN", &["NULL", "TRUE", "NULL", "NULL"]);
    check(&call("NOT", [call("IN", [i(), int(1), int(2)])]), "BOOLEAN", &["TRUE", "FALSE", "TRUE", "NULL"]);
    check(&call("IN", [i(), int(1), i()]), "BOOLEAN", &["TRUE", "TRUE", "TRUE", "NULL"]);
    check(&call("IN", [l(), int(5), decimal("25", 2, 1)]), "BOOLEAN", &["FALSE", "TRUE", "NULL", "FALSE"]);
    check(
        &call("IN", [s(), lit("12"), lit("hello"), lit("a"), lit("b"), lit("c")]),
        "BOOLEAN",
        &["TRUE", "TRUE", "FALSE", "NULL"],
    );
    let many: Vec<Expr> = [i()].into_iter().chain((0..20).map(int)).collect();
    check(&crate::expr::call("IN", many).expect("a list"), "BOOLEAN", &["TRUE", "TRUE", "FALSE", "NULL"]);
    check(&call("IN", [ts(), lit("2026-03-01 00:00:00.779"), null()]), "BOOLEAN", &["TRUE", "NULL", "NULL", "NULL"]);
    check(&call("IN", [d(), int(1), decimal("25", 2, 1)]), "BOOLEAN", &["FALSE", "TRUE", "FALSE", "NULL"]);
    assert_eq!(refused("IN", vec![i(), lit("7")]), "invalid_argument");
}

#[test]
fn truth_has_three_values() {
    let positive = || call(">", [i(), int(0)]);
    check(&call("AND", [b(), positive()]), "BOOLEAN", &["TRUE", "FALSE", "FALSE", "FALSE"]);
    check(&call("OR", [b(), positive()]), "BOOLEAN", &["TRUE", "TRUE", "NULL", "NULL"]);
    check(&call("NOT", [b()]), "BOOLEAN", &["FALSE", "TRUE", "NULL", "TRUE"]);
    for (name, expected) in [
        ("IS_TRUE", ["TRUE", "FALSE", "FALSE", "FALSE"]),
        ("IS_FALSE", ["FALSE", "TRUE", "FALSE", "TRUE"]),
        ("IS_UNKNOWN", ["FALSE", "FALSE", "TRUE", "FALSE"]),
        ("IS_NOT_TRUE", ["FALSE", "TRUE", "TRUE", "TRUE"]),
        ("IS_NOT_FALSE", ["TRUE", "FALSE", "TRUE", "FALSE"]),
        ("IS_NOT_UNKNOWN", ["TRUE", "TRUE", "FALSE", "TRUE"]),
        ("IS_NULL", ["FALSE", "FALSE", "TRUE", "FALSE"]),
        ("IS_NOT_NULL", ["TRUE", "TRUE", "FALSE", "TRUE"]),
    ] {
        check(&call(name, [b()]), "BOOLEAN NOT NULL", &expected);
    }
    assert_eq!(refused("IS_TRUE", vec![i()]), "invalid_argument");
}

#[test]
fn patterns_match_as_flinks() {
    // value, LIKE pattern, whether it matches
    let like: &[(&str, &str, bool)] = &[
        ("%_\\", "%\\_%", false),
        ("hello", "h%", true),
        ("hello", "%o", true),
        ("hello", "%ell%", true),
        ("hello", "hello", true),
        ("hello", "h_l%", true),
        ("hello", "_", false),
        ("ß", "_", true),
        ("line\nbreak", "line_break", false),
        ("line\nbreak", "line%", true),
        ("line\nbreak", "line%k", true),
        ("", "", true),
        ("a.c", "a.c", true),
        ("abc", "a.c", false),
        ("x", "%", true),
    ];
    for (value, pattern, expected) in like {
        let expected = if *expected { "TRUE" } else { "FALSE" };
        check(&call("LIKE", [lit(value), lit(pattern)]), "BOOLEAN NOT NULL", &[expected; 4]);
    }
    check(&call("LIKE", [s(), lit("%^%%"), lit("^")]), "BOOLEAN", &["FALSE", "FALSE", "TRUE", "NULL"]);
    check(&call("LIKE", [s(), lit("h%")]), "BOOLEAN", &["FALSE", "TRUE", "FALSE", "NULL"]);
    check(&call("LIKE", [s(), t()]), "BOOLEAN", &["TRUE", "FALSE", "FALSE", "NULL"]);
    let similar: &[(&str, &str, bool)] = &[
        ("abcabc", "[a-c]+", true),
        ("12", "[[:digit:]]+", true),
        ("-3.75", "a|-3.*", false),
        ("-3.75", "-_._{2}", true),
        ("hello", "%(o|e)%", true),
        ("hello", "(hel|x)lo?", true),
        ("hello", "hell", false),
    ];
    for (value, pattern, expected) in similar {
        let expected = if *expected { "TRUE" } else { "FALSE" };
        check(&call("SIMILAR_TO", [lit(value), lit(pattern)]), "BOOLEAN NOT NULL", &[expected; 4]);
    }
    assert_eq!(refused("LIKE", vec![i(), lit("7")]), "invalid_argument");
}

#[test]
fn strings_join() {
    check(&call("||", [s(), t()]), "STRING", &["1212", "hellojello", "%_\\line\nbreak", "NULL"]);
    check(&call("||", [lit("a"), lit("bc")]), "CHAR(3) NOT NULL", &["abc"; 4]);
    check(&call("||", [lit("a"), s()]), "STRING", &["a12", "ahello", "a%_\\", "NULL"]);
    let four = cast(s(), TypeKind::VarChar(4));
    check(&call("||", [four, lit("abc")]), "VARCHAR(7)", &["12abc", "hellabc", "%_\\abc", "NULL"]);
    assert_eq!(refused("||", vec![s(), i()]), "invalid_argument");
    assert_eq!(call("||", [s(), null_of(TypeKind::Null)]).data_type(), &DataType::string());
}
