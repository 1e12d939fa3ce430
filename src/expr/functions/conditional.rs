//! Functions of the chapter "conditional".
//!
//! `COALESCE`, `IFNULL` and `IF` are run by the evaluator, which does not evaluate what a row does not need; the
//! kernels here serve callers that have all arguments.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, StringArray};
use arrow::buffer::BooleanBuffer;

use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::cast::{cast, least_restrictive};
use crate::expr::function::{Call, Function, Kernel, Value};
use crate::expr::operators::comparison::{self, Test, coerce_comparable};
use crate::expr::text::parse_double;
use crate::expr::vector::{boolean, select, string, with_nulls};
use crate::types::{DataType, TypeKind};

pub(super) static FUNCTIONS: &[Function] = &[
    Function { name: "COALESCE", bind: bind_coalesce, prepare: |_| Ok(Box::new(coalesce)), deterministic: true },
    Function { name: "IFNULL", bind: bind_if_null, prepare: |_| Ok(Box::new(coalesce)), deterministic: true },
    Function { name: "IF", bind: bind_if, prepare: |_| Ok(Box::new(choose)), deterministic: true },
    Function { name: "NULLIF", bind: bind_null_if, prepare: prepare_null_if, deterministic: true },
    Function {
        name: "GREATEST",
        bind: |a| bind_extreme("GREATEST", a),
        prepare: |_| Ok(extreme(Test::Ge)),
        deterministic: true,
    },
    Function {
        name: "LEAST",
        bind: |a| bind_extreme("LEAST", a),
        prepare: |_| Ok(extreme(Test::Le)),
        deterministic: true,
    },
    Function {
        name: "IS_DECIMAL",
        bind: |a| bind_text_test("IS_DECIMAL", a),
        prepare: |c| text_test(c, |s| parse_double(s).is_some() || all_digits(s)),
        deterministic: true,
    },
    Function {
        name: "IS_DIGIT",
        bind: |a| bind_text_test("IS_DIGIT", a),
        prepare: |c| text_test(c, all_digits),
        deterministic: true,
    },
    Function {
        name: "IS_ALPHA",
        bind: |a| bind_text_test("IS_ALPHA", a),
        prepare: |c| text_test(c, |s| !s.is_empty() && s.chars().all(char::is_alphabetic)),
        deterministic: true,
    },
    Function { name: "TYPEOF", bind: bind_type_of, prepare: prepare_type_of, deterministic: true },
    Function {
        name: "CURRENT_DATABASE",
        bind: bind_current_database,
        prepare: |_| Ok(Box::new(current_database)),
        deterministic: true,
    },
    Function { name: "UUID", bind: bind_uuid, prepare: |_| Ok(Box::new(uuids)), deterministic: false },
];

fn refuse<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::invalid("invalid_argument", message))
}

/// Casts the arguments to their common type. As in Flink, the result is a time attribute if the first argument is.
fn unify(name: &str, args: &mut [Expr]) -> Result<TypeKind> {
    let first = args.first().map(|a| a.data_type().kind.clone());
    let types: Vec<DataType> = args.iter().map(|a| a.data_type().clone()).collect();
    let common =
        least_restrictive(&types).map_err(|e| Error::invalid("invalid_argument", format!("{name}: {}", e.message)))?;
    let kind = common.kind.regular();
    for arg in args {
        let nullable = arg.data_type().nullable;
        let target = DataType { kind: kind.clone(), nullable };
        let input = std::mem::replace(arg, null());
        *arg = cast(input, &target, true)?;
    }
    Ok(first.filter(|first| first.regular() == kind).unwrap_or(kind))
}

fn null() -> Expr {
    Expr::literal(crate::expr::Scalar::Null, TypeKind::Null)
}

fn bind_coalesce(args: &mut Vec<Expr>) -> Result<DataType> {
    if args.is_empty() {
        return refuse("COALESCE takes at least one argument");
    }
    let nullable = args.iter().all(|a| a.data_type().nullable);
    Ok(DataType { kind: unify("COALESCE", args)?, nullable })
}

fn bind_if_null(args: &mut Vec<Expr>) -> Result<DataType> {
    if args.len() != 2 {
        return refuse(format!("IFNULL takes 2 arguments, not {}", args.len()));
    }
    if args.first().is_some_and(|a| !a.data_type().nullable) {
        // Never null: the second argument does not even widen the type.
        args.truncate(1);
    }
    bind_coalesce(args)
}

fn bind_if(args: &mut Vec<Expr>) -> Result<DataType> {
    let [condition, branches @ ..] = args.as_mut_slice() else { return refuse("IF takes 3 arguments") };
    if branches.len() != 2 {
        return refuse("IF takes 3 arguments: a condition, a value, and another value");
    }
    if !matches!(condition.data_type().kind, TypeKind::Boolean | TypeKind::Null) {
        return refuse(format!("the first argument of IF is a BOOLEAN, not {}", condition.data_type().kind));
    }
    let condition_nullable = condition.data_type().nullable;
    let nullable = condition_nullable || branches.iter().any(|a| a.data_type().nullable);
    Ok(DataType { kind: unify("IF", branches)?, nullable })
}

/// The first argument that is not null.
fn coalesce(args: &[Value], rows: usize) -> Result<Value> {
    let Some((first, rest)) = args.split_first() else { return Err(Error::internal("COALESCE of nothing")) };
    let mut result = first.clone();
    for next in rest {
        match result.array().logical_nulls() {
            Some(nulls) if nulls.null_count() == nulls.len() => result = next.clone(),
            Some(nulls) if nulls.null_count() > 0 => {
                let there = BooleanArray::new(nulls.inner().clone(), None);
                debug_assert!(there.len() == rows || rows == 0);
                result = Value::Array(select(&there, &result, next)?);
            }
            _ => break,
        }
    }
    Ok(result)
}

fn choose(args: &[Value], rows: usize) -> Result<Value> {
    let [condition, truthy, falsy] = args else { return Err(Error::internal("IF takes 3 arguments")) };
    let all = [condition, truthy, falsy];
    let rows = if all.iter().all(|v| v.is_scalar()) { 1 } else { rows };
    let mask = Value::Array(condition.clone().into_array(rows)?);
    let mask = boolean(&mask)?;
    let mask = match mask.nulls() {
        Some(nulls) => BooleanArray::new(mask.values() & nulls.inner(), None),
        None => mask.clone(),
    };
    Ok(Value::of(&all, select(&mask, truthy, falsy)?))
}

/// The type is the first argument's; both are compared in their common type.
fn bind_null_if(args: &mut Vec<Expr>) -> Result<DataType> {
    let [first, second] = args.as_slice() else { return refuse("NULLIF takes 2 arguments") };
    let data_type = first.data_type().with_nullable(true);
    // The value itself comes first, then the two sides of the comparison.
    let mut sides = vec![first.clone(), second.clone()];
    coerce_comparable("NULLIF", &mut sides, false)?;
    args.truncate(1);
    args.extend(sides);
    Ok(data_type)
}

fn prepare_null_if(_: &Call<'_>) -> Result<Kernel> {
    Ok(Box::new(|args, rows| {
        let [value, left, right] = args else { return Err(Error::internal("NULLIF takes 2 arguments")) };
        let equal = comparison::run(Test::Eq, left, right)?;
        if args.iter().all(Value::is_scalar) {
            let equal = boolean(&equal)?;
            let hide = equal.is_valid(0) && equal.value(0);
            return Ok(if hide { Value::null(value.data_type()) } else { value.clone() });
        }
        let array = value.clone().into_array(rows)?;
        let equal = Value::Array(equal.into_array(rows)?);
        let equal = boolean(&equal)?;
        let hidden = match equal.nulls() {
            Some(nulls) => equal.values() & nulls.inner(),
            None => equal.values().clone(),
        };
        Ok(Value::Array(with_nulls(&array, Some(&arrow::buffer::NullBuffer::new(!&hidden)))?))
    }))
}

fn bind_extreme(name: &str, args: &mut Vec<Expr>) -> Result<DataType> {
    if args.is_empty() {
        return refuse(format!("{name} takes at least one argument"));
    }
    let nullable = args.iter().any(|a| a.data_type().nullable);
    Ok(DataType { kind: unify(name, args)?, nullable })
}

/// Null if any argument is null.
fn extreme(test: Test) -> Kernel {
    Box::new(move |args, rows| {
        let Some((first, rest)) = args.split_first() else { return Err(Error::internal("GREATEST of nothing")) };
        if args.iter().all(Value::is_scalar) {
            let mut best = first.clone();
            for next in rest {
                let keep = comparison::run(test, &best, next)?;
                let keep = boolean(&keep)?;
                if keep.is_null(0) {
                    return Ok(Value::null(first.data_type()));
                }
                if !keep.value(0) {
                    best = next.clone();
                }
            }
            return Ok(best);
        }
        let mut best = first.clone().into_array(rows)?;
        for next in rest {
            let keep = comparison::run(test, &Value::Array(best.clone()), next)?;
            let keep = Value::Array(keep.into_array(rows)?);
            let keep = boolean(&keep)?;
            let mask = BooleanArray::new(keep.values().clone(), None);
            best = with_nulls(&select(&mask, &Value::Array(best), next)?, keep.nulls())?;
        }
        Ok(Value::Array(best))
    })
}

fn bind_text_test(name: &str, args: &mut Vec<Expr>) -> Result<DataType> {
    if args.len() != 1 {
        return refuse(format!("{name} takes 1 argument, not {}", args.len()));
    }
    Ok(DataType::not_null(TypeKind::Boolean))
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || (!c.is_ascii() && is_decimal_digit(c)))
}

/// Java's `Character.isDigit` beyond ASCII: Unicode's Nd, whose blocks of ten the regex crate knows.
fn is_decimal_digit(c: char) -> bool {
    static DIGIT: std::sync::LazyLock<regex::Regex> =
        std::sync::LazyLock::new(|| regex::Regex::new(r"^\p{Nd}$").expect("the pattern is constant"));
    let mut buffer = [0; 4];
    DIGIT.is_match(c.encode_utf8(&mut buffer))
}

/// Null is no digit and no letter; a number is a decimal and its digits depend on the sign, as Flink asks its text.
fn text_test(call: &Call<'_>, test: fn(&str) -> bool) -> Result<Kernel> {
    let kind = call.args.first().map(|a| a.data_type().clone()).unwrap_or_else(DataType::string);
    let to_text = if kind.kind.is_string() {
        None
    } else {
        crate::expr::cast::kernel(&kind, &DataType::string(), false, call.context)?
    };
    Ok(Box::new(move |args, _| {
        let [arg] = args else { return Err(Error::internal("a test of text takes 1 argument")) };
        let value = match &to_text {
            Some(kernel) => Value::of(&[arg], kernel(arg.array())?),
            None => arg.clone(),
        };
        let text: &StringArray = string(&value)?;
        let bits = BooleanBuffer::collect_bool(text.len(), |i| text.is_valid(i) && test(text.value(i)));
        Ok(Value::of(&[arg], Arc::new(BooleanArray::new(bits, None))))
    }))
}

fn bind_type_of(args: &mut Vec<Expr>) -> Result<DataType> {
    if args.is_empty() || args.len() > 2 {
        return refuse("TYPEOF takes a value and perhaps a BOOLEAN");
    }
    Ok(DataType::string())
}

fn prepare_type_of(call: &Call<'_>) -> Result<Kernel> {
    let text = call
        .args
        .first()
        .map(|a| DataType { kind: a.data_type().kind.regular(), ..a.data_type().clone() }.to_string())
        .unwrap_or_default();
    let array: ArrayRef = Arc::new(StringArray::from(vec![text]));
    Ok(Box::new(move |_, _| Ok(Value::Scalar(array.clone()))))
}

/// The one database that there is, under Flink's name for it.
fn bind_current_database(args: &mut Vec<Expr>) -> Result<DataType> {
    if !args.is_empty() {
        return refuse("CURRENT_DATABASE takes no arguments");
    }
    Ok(DataType::not_null(TypeKind::VarChar(crate::types::MAX_LENGTH)))
}

fn current_database(_: &[Value], _: usize) -> Result<Value> {
    Ok(Value::Scalar(Arc::new(StringArray::from(vec!["default_database"]))))
}

fn bind_uuid(args: &mut Vec<Expr>) -> Result<DataType> {
    if !args.is_empty() {
        return refuse("UUID takes no arguments");
    }
    Ok(DataType::not_null(TypeKind::VarChar(crate::types::MAX_LENGTH)))
}

#[expect(clippy::disallowed_methods, reason = "the value that a query asks for, not an id of ours")]
fn uuids(_: &[Value], rows: usize) -> Result<Value> {
    let mut builder = arrow::array::StringBuilder::with_capacity(rows, rows * 36);
    let mut buffer = uuid::Uuid::encode_buffer();
    for _ in 0..rows {
        builder.append_value(uuid::Uuid::new_v4().hyphenated().encode_lower(&mut buffer));
    }
    Ok(Value::Array(Arc::new(builder.finish())))
}

#[cfg(test)]
mod tests {
    use crate::expr::testing::*;

    #[test]
    fn conditional_functions_answer_as_flink_does() {
        let null = || super::null();
        check(&call("COALESCE", [i(), int(0)]), "INT NOT NULL", &["7", "1", "-7", "0"]);
        check(&call("COALESCE", [i(), l(), int(0)]), "BIGINT NOT NULL", &["7", "1", "-7", "9007199254740993"]);
        check(&call("COALESCE", [null(), i()]), "INT", &["7", "1", "-7", "NULL"]);
        check(&call("COALESCE", [dec(), d()]), "DOUBLE", &["0.05", "1.23", "-99.99", "NULL"]);
        check(&call("COALESCE", [lit("ab"), s()]), "STRING NOT NULL", &["ab", "ab", "ab", "ab"]);
        check(&call("COALESCE", [ts(), ts()]), "TIMESTAMP(3) *ROWTIME*", &TS);
        check(&call("IFNULL", [i(), int(9)]), "INT NOT NULL", &["7", "1", "-7", "9"]);
        check(&call("IFNULL", [lit("ab"), s()]), "CHAR(2) NOT NULL", &["ab", "ab", "ab", "ab"]);
        check(&call("IF", [b(), int(1), int(2)]), "INT", &["1", "2", "2", "2"]);
        check(&call("IF", [b(), i(), l()]), "BIGINT", &["7", "5", "NULL", "9007199254740993"]);
        check(&call("IF", [b(), lit("ab"), lit("abc")]), "VARCHAR(3)", &["ab", "abc", "abc", "abc"]);
        check(&call("NULLIF", [i(), int(7)]), "INT", &["NULL", "1", "-7", "NULL"]);
        check(&call("NULLIF", [int(7), i()]), "INT", &["NULL", "7", "7", "7"]);
        check(&call("NULLIF", [i(), decimal("75", 2, 1)]), "INT", &["7", "1", "-7", "NULL"]);
        check(&call("NULLIF", [lit("a"), lit("b")]), "CHAR(1)", &["a", "a", "a", "a"]);
        let greatest = call("GREATEST", [i(), l(), decimal("25", 2, 1)]);
        check(&greatest, "DECIMAL(20, 1)", &["1000000000000.0", "5.0", "NULL", "NULL"]);
        check(&call("GREATEST", [lit("a"), s()]), "STRING", &["a", "hello", "a", "NULL"]);
        check(&call("LEAST", [i(), int(3), int(5)]), "INT", &["3", "1", "-7", "NULL"]);
        check(&call("LEAST", [int(4), int(3)]), "INT NOT NULL", &["3", "3", "3", "3"]);
        check(&call("TYPEOF", [i()]), "STRING", &["INT", "INT", "INT", "INT"]);
        check(&call("TYPEOF", [int(1)]), "STRING", &["INT NOT NULL"; 4]);
        for (arguments, name) in [([i(), lit("a")], "COALESCE"), ([s(), int(1)], "IFNULL"), ([s(), int(1)], "NULLIF")] {
            assert_eq!(refused(name, arguments.to_vec()), "invalid_argument", "{name}");
        }
    }

    #[test]
    fn texts_are_tested_as_flink_does() {
        let cases: &[(&str, bool, bool, bool)] = &[
            ("12", true, true, false),
            (" 12 ", true, false, false),
            ("-3.75", true, false, false),
            ("1e3", true, false, false),
            ("12d", true, false, false),
            ("NaN", true, false, true),
            ("Infinity", true, false, true),
            ("-inf", false, false, false),
            ("", false, false, false),
            ("0x10", false, false, false),
            ("१२", true, true, false),
            ("true", false, false, true),
            ("12 3", false, false, false),
        ];
        for (text, decimal, digit, alpha) in cases {
            for (name, expected) in [("IS_DECIMAL", decimal), ("IS_DIGIT", digit), ("IS_ALPHA", alpha)] {
                let expected = if *expected { "TRUE" } else { "FALSE" };
                check(&call(name, [lit(text)]), "BOOLEAN NOT NULL", &[expected; 4]);
            }
        }
    }

    #[test]
    fn uuids_differ_per_row() {
        let values = values(&call("UUID", []));
        assert_eq!(values.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
        assert!(values.iter().all(|v| v.len() == 36));
    }
}
