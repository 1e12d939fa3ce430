//! Types: in columns, in casts, and alone.

use sqlparser::ast::Expr;

use super::super::data_type::{from_sqlparser, from_text};
use super::{expr, fails, one};
use crate::sql::ast::{ColumnKind, Statement};

/// Every type and how Flink summarises it.
const TYPES: &[(&str, &str)] = &[
    ("CHAR", "CHAR(1)"),
    ("CHAR(7)", "CHAR(7)"),
    ("VARCHAR", "VARCHAR(1)"),
    ("varchar(20)", "VARCHAR(20)"),
    ("VARCHAR(2147483647)", "STRING"),
    ("STRING", "STRING"),
    ("BINARY", "BINARY(1)"),
    ("BINARY(3)", "BINARY(3)"),
    ("VARBINARY(10)", "VARBINARY(10)"),
    ("BYTES", "BYTES"),
    ("BOOLEAN", "BOOLEAN"),
    ("DECIMAL", "DECIMAL(10, 0)"),
    ("DEC(5)", "DECIMAL(5, 0)"),
    ("NUMERIC(38, 38)", "DECIMAL(38, 38)"),
    ("TINYINT", "TINYINT"),
    ("SMALLINT", "SMALLINT"),
    ("INT", "INT"),
    ("INTEGER", "INT"),
    ("BIGINT", "BIGINT"),
    ("FLOAT", "FLOAT"),
    ("DOUBLE", "DOUBLE"),
    ("DOUBLE PRECISION", "DOUBLE"),
    ("DATE", "DATE"),
    ("TIME", "TIME(0)"),
    ("TIME(3) WITHOUT TIME ZONE", "TIME(3)"),
    ("TIMESTAMP", "TIMESTAMP(6)"),
    ("TIMESTAMP(0)", "TIMESTAMP(0)"),
    ("TIMESTAMP(9) WITHOUT TIME ZONE", "TIMESTAMP(9)"),
    ("TIMESTAMP(3) WITH LOCAL TIME ZONE", "TIMESTAMP_LTZ(3)"),
    ("TIMESTAMP WITH LOCAL TIME ZONE", "TIMESTAMP_LTZ(6)"),
    ("TIMESTAMP_LTZ", "TIMESTAMP_LTZ(6)"),
    ("TIMESTAMP_LTZ(3)", "TIMESTAMP_LTZ(3)"),
    ("INTERVAL YEAR", "INTERVAL YEAR TO MONTH"),
    ("INTERVAL YEAR(4) TO MONTH", "INTERVAL YEAR TO MONTH"),
    ("INTERVAL MONTH", "INTERVAL YEAR TO MONTH"),
    ("INTERVAL DAY", "INTERVAL DAY TO SECOND(3)"),
    ("INTERVAL DAY(2) TO SECOND(9)", "INTERVAL DAY TO SECOND(3)"),
    ("INTERVAL HOUR TO MINUTE", "INTERVAL DAY TO SECOND(3)"),
    ("INTERVAL SECOND(3)", "INTERVAL DAY TO SECOND(3)"),
    ("ARRAY<INT>", "ARRAY<INT>"),
    ("INT ARRAY", "ARRAY<INT>"),
    ("INT NOT NULL ARRAY", "ARRAY<INT NOT NULL>"),
    ("INT ARRAY ARRAY", "ARRAY<ARRAY<INT>>"),
    ("STRING MULTISET", "MULTISET<STRING>"),
    ("MULTISET<ARRAY<INT>>", "MULTISET<ARRAY<INT>>"),
    ("MAP<STRING, INT NOT NULL>", "MAP<STRING, INT NOT NULL>"),
    ("MAP<STRING NOT NULL, ARRAY<MAP<INT, ROW<a INT>>>>", "MAP<STRING NOT NULL, ARRAY<MAP<INT, ROW<`a` INT>>>>"),
    ("ROW<a INT, `b c` STRING>", "ROW<`a` INT, `b c` STRING>"),
    ("ROW(a INT NULL, b STRING NOT NULL)", "ROW<`a` INT, `b` STRING NOT NULL>"),
    ("ROW<a INT 'the first', b ROW<c DATE> 'the second'>", "ROW<`a` INT, `b` ROW<`c` DATE>>"),
    ("ROW<type STRING, `x``y` INT>", "ROW<`type` STRING, `x``y` INT>"),
];

#[test]
fn types_are_read_in_columns_and_casts_and_alone() {
    for (text, expected) in TYPES {
        assert_eq!(from_text(text).unwrap_or_else(|e| panic!("{text}: {e}")).to_string(), *expected);

        let Statement::CreateTable(table) = one(&format!("CREATE TABLE t (before INT, x {text} NOT NULL)")) else {
            panic!("{text}")
        };
        let ColumnKind::Physical(column) = &table.columns[1].kind else { panic!("{text}") };
        assert_eq!(column.to_string(), format!("{expected} NOT NULL"));

        for word in ["CAST", "TRY_CAST"] {
            let Expr::Cast { data_type, .. } = expr(&format!("{word}(x AS {text})")) else { panic!("{text}") };
            assert_eq!(from_sqlparser(&data_type).unwrap().to_string(), *expected);
        }
    }
}

#[test]
fn the_types_of_literals_are_read() {
    for (text, expected) in [
        ("DATE '2020-01-01'", "DATE"),
        ("TIME '10:00:00'", "TIME(0)"),
        ("TIMESTAMP '2020-01-01 00:00:00'", "TIMESTAMP(6)"),
    ] {
        let Expr::TypedString(literal) = expr(text) else { panic!("{text}") };
        assert_eq!(from_sqlparser(&literal.data_type).unwrap().to_string(), expected);
    }
}

#[test]
fn nested_nullability_does_not_leak() {
    let t = from_text("ARRAY<INT NOT NULL> NOT NULL").unwrap();
    assert_eq!(t.to_string(), "ARRAY<INT NOT NULL> NOT NULL");
    assert_eq!(from_text("INT NULL").unwrap().to_string(), "INT");
}

#[test]
fn wrong_types_fail_at_their_place() {
    // The type begins at column 19.
    for (text, column, code, message) in [
        ("CHAR(0)", 24, "sql_syntax", "the length must be between 1 and 2147483647, not 0"),
        ("VARCHAR(2147483648)", 27, "sql_syntax", "the length must be between 1 and 2147483647, not 2147483648"),
        ("DECIMAL(39, 0)", 27, "sql_syntax", "the precision of a DECIMAL must be between 1 and 38, not 39"),
        ("DECIMAL(5, 6)", 30, "sql_syntax", "the scale of this DECIMAL must be between 0 and 5, not 6"),
        ("TIMESTAMP(10)", 29, "sql_syntax", "the precision must be between 0 and 9, not 10"),
        ("TIME(1.5)", 24, "sql_syntax", "the precision must be between 0 and 9, not 1.5"),
        (
            "TIMESTAMP(3) WITH TIME ZONE",
            32,
            "sql_unsupported",
            "TIMESTAMP WITH TIME ZONE is not supported: write TIMESTAMP_LTZ for an instant",
        ),
        ("RAW('a', 'b')", 19, "sql_unsupported", "the type RAW is not supported"),
        ("TEXT", 19, "sql_syntax", "expected a type, found TEXT"),
        ("`INT`", 19, "sql_syntax", "expected a type, found `INT`"),
        ("ARRAY<INT", 28, "sql_syntax", "expected `>`, found )"),
        ("ARRAY INT", 25, "sql_syntax", "expected `<`, found INT"),
        ("MAP<INT>", 26, "sql_syntax", "expected `,`, found >"),
        ("ROW<a INT, a INT>", 30, "sql_syntax", "the field a is defined twice"),
        ("ROW<a>", 24, "sql_syntax", "expected a type, found >"),
        ("INTERVAL MINUTE TO HOUR", 38, "sql_syntax", "expected a unit smaller than MINUTE, found HOUR"),
        ("INTERVAL YEAR(5)", 33, "sql_syntax", "the precision of this unit must be between 1 and 4, not 5"),
    ] {
        let (error, line, at) = fails(&format!("CREATE TABLE t (x {text})"));
        assert_eq!((error.code.as_str(), line, at), (code, 1, column), "{text}: {error}");
        assert_eq!(error.message, message, "{text}");
    }
    // Whether a cast's result can be NULL follows from its operand.
    let (error, _, column) = fails("SELECT CAST(x AS INT NOT NULL) FROM t");
    assert_eq!((error.message.as_str(), column), ("expected `)`, found NOT", 22));
}
