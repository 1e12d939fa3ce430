//! `JSON_EXISTS`, `JSON_VALUE`, `JSON_QUERY`: looking into JSON text with a path.
//!
//! Every row ends in one of three ways: the path found something, it found nothing (only in lax mode), or it failed.
//! What a function answers for the last two is chosen by its behaviours.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array,
    Int64Array, StringArray, StringBuilder, new_null_array,
};
use arrow::compute::interleave;
use arrow::datatypes::DataType as ArrowType;

use super::super::arguments::{Arguments, Row, Want, function, literal_text, refuse, signature, text_list_builder};
use super::path::{Mode, Path};
use super::value::Json;
use crate::error::{Error, Result};
use crate::expr::function::{Call, Function, Kernel, Value};
use crate::expr::{Expr, Scalar, cast};
use crate::types::{DataType, TypeKind};

pub(super) const JSON_EXISTS: Function = function("JSON_EXISTS", |a| exists_type(a), prepare_exists);
pub(super) const JSON_VALUE: Function = function("JSON_VALUE", |a| value_type(a), prepare_value);
pub(super) const JSON_QUERY: Function = function("JSON_QUERY", |a| query_type(a), prepare_query);

/// How a look-up ended.
enum Outcome<'j, 'a> {
    Found(Cow<'j, Json<'a>>, Mode),
    Nothing,
    Failed(&'static str),
}

/// Looks a path up in a text and hands the outcome on.
fn look_up<T>(text: &str, path: &Path, f: impl FnOnce(Outcome<'_, '_>) -> T) -> T {
    let fail = |why| if path.mode == Mode::Lax { Outcome::Nothing } else { Outcome::Failed(why) };
    let Some(root) = Json::parse(text) else { return f(fail("the text is not JSON")) };
    if root == Json::Null {
        return f(Outcome::Failed("the document is null"));
    }
    f(match path.find(&root) {
        Ok(value) if *value == Json::Null => fail("the value is null"),
        Ok(value) => Outcome::Found(value, path.mode),
        Err(_) if path.mode == Mode::Lax && !path.definite() => {
            Outcome::Found(Cow::Owned(Json::Array(Vec::new())), Mode::Lax)
        }
        Err(_) => fail("the path does not exist"),
    })
}

fn failed(function: &str, why: &str) -> Error {
    Error::invalid("json_path_failed", format!("{function}: {why}, and its behaviour is ERROR"))
}

/// The paths of the rows: a literal one, or the last computed one.
struct Paths<'p> {
    literal: Option<&'p Path>,
    computed: Option<(String, Path)>,
}

impl<'p> Paths<'p> {
    fn new(literal: &'p Option<Path>) -> Self {
        Paths { literal: literal.as_ref(), computed: None }
    }
    fn of(&mut self, row: Row<'_>) -> Result<&Path> {
        if let Some(literal) = self.literal {
            return Ok(literal);
        }
        let text = row.str(1);
        if self.computed.as_ref().is_none_or(|(known, _)| known != text) {
            self.computed = Some((text.to_owned(), Path::new(text)?));
        }
        Ok(&self.computed.as_ref().expect("it was just set").1)
    }
}

fn literal_path(args: &[Expr]) -> Result<Option<Path>> {
    args.get(1).and_then(literal_text).map(Path::new).transpose()
}

/// The type that a null literal at the end names; `STRING` if it is left out.
fn returning(args: &[Expr], at: usize) -> DataType {
    args.get(at).map_or_else(DataType::string, |a| a.data_type().with_nullable(true))
}

const EXISTS_USAGE: &str = "JSON_EXISTS(json, path [TRUE | FALSE | UNKNOWN | ERROR ON ERROR])";
const VALUE_USAGE: &str =
    "JSON_VALUE(json, path [RETURNING type] [NULL | ERROR | DEFAULT value ON EMPTY] [… ON ERROR])";
const QUERY_USAGE: &str = "JSON_QUERY(json, path [RETURNING type] [… WRAPPER] [NULL | ERROR | EMPTY ARRAY | EMPTY OBJECT ON EMPTY] [… ON ERROR])";

fn exists_type(args: &[Expr]) -> Result<DataType> {
    signature(args, EXISTS_USAGE, &[Want::Text; 2], &[Want::Text])?;
    literal_path(args)?;
    exists_on_error(args)?;
    Ok(DataType::nullable(TypeKind::Boolean))
}

fn exists_on_error(args: &[Expr]) -> Result<Option<Option<bool>>> {
    Ok(match args.get(2).map(literal_text) {
        None | Some(Some("FALSE")) => Some(Some(false)),
        Some(Some("TRUE")) => Some(Some(true)),
        Some(Some("UNKNOWN")) => Some(None),
        Some(Some("ERROR")) => None,
        _ => return Err(refuse(EXISTS_USAGE, args)),
    })
}

fn prepare_exists(call: &Call<'_>) -> Result<Kernel> {
    let literal = literal_path(call.args)?;
    let on_error = exists_on_error(call.args)?;
    Ok(Box::new(move |values, rows| {
        let arguments = Arguments::new(values, rows)?;
        let mut paths = Paths::new(&literal);
        let mut answers = Vec::with_capacity(arguments.rows());
        for i in 0..arguments.rows() {
            let row = arguments.row(i);
            answers.push(if row.any_null() {
                None
            } else {
                look_up(row.str(0), paths.of(row)?, |outcome| match outcome {
                    Outcome::Found(..) => Ok(Some(true)),
                    Outcome::Nothing => Ok(Some(false)),
                    Outcome::Failed(why) => on_error.ok_or_else(|| failed("JSON_EXISTS", why)),
                })?
            });
        }
        Ok(arguments.answer(Arc::new(BooleanArray::from(answers))))
    }))
}

/// What `JSON_VALUE` answers when there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnMissing {
    Null,
    Error,
    Default,
}

fn on_missing(args: &[Expr], at: usize) -> Result<OnMissing> {
    Ok(match args.get(at).map(literal_text) {
        None | Some(Some("NULL")) => OnMissing::Null,
        Some(Some("ERROR")) => OnMissing::Error,
        Some(Some("DEFAULT")) => OnMissing::Default,
        _ => return Err(refuse(VALUE_USAGE, args)),
    })
}

fn value_type(args: &mut [Expr]) -> Result<DataType> {
    if !matches!(args.len(), 2 | 6 | 7) {
        return Err(refuse(VALUE_USAGE, args));
    }
    signature(&args[..2], VALUE_USAGE, &[Want::Text; 2], &[])?;
    literal_path(args)?;
    let result = returning(args, 6);
    let kind = &result.kind;
    if !(kind.is_string() || kind.is_numeric() || *kind == TypeKind::Boolean) {
        return Err(Error::invalid("invalid_argument", format!("JSON_VALUE cannot return {result}")));
    }
    let behaviours: &[usize] = if args.len() > 2 { &[2, 4] } else { &[] };
    for &at in behaviours {
        let behaviour = on_missing(args, at)?;
        let default = &args[at + 1];
        let same = default.data_type().kind == *kind || default.data_type().kind.is_string() && kind.is_string();
        let null = matches!(default, Expr::Literal { value: Scalar::Null, .. });
        if behaviour == OnMissing::Default && !same && !null {
            args[at + 1] = cast(default.clone(), &result, true)?;
        }
    }
    Ok(result)
}

/// Where a row's answer comes from.
const VALUE: usize = 0;
const NULL: usize = 1;
const EMPTY_DEFAULT: usize = 2;
const ERROR_DEFAULT: usize = 3;

fn choose(behaviour: OnMissing, default: usize, why: &str) -> Result<usize> {
    match behaviour {
        OnMissing::Null => Ok(NULL),
        OnMissing::Default => Ok(default),
        OnMissing::Error => Err(failed("JSON_VALUE", why)),
    }
}

fn prepare_value(call: &Call<'_>) -> Result<Kernel> {
    let literal = literal_path(call.args)?;
    let (on_empty, on_error) = (on_missing(call.args, 2)?, on_missing(call.args, 4)?);
    let kind = call.data_type.kind.clone();
    Ok(Box::new(move |values, rows| {
        // Defaults may have any type: only the text and the path are read by row.
        let arguments = Arguments::new(&values[..2], rows)?;
        let scalar = values.iter().all(|v| matches!(v, Value::Scalar(_)));
        let rows = if scalar { 1 } else { rows };
        let mut paths = Paths::new(&literal);
        let mut texts = StringBuilder::with_capacity(rows, rows * 16);
        let mut sources = Vec::with_capacity(rows);
        for i in 0..rows {
            let row = arguments.row(i);
            if row.any_null() {
                texts.append_null();
                sources.push(NULL);
                continue;
            }
            let source = look_up(row.str(0), paths.of(row)?, |outcome| match outcome {
                Outcome::Found(value, mode) => match (value.scalar_text(), mode) {
                    (Some(text), _) => {
                        texts.append_value(text);
                        Ok(VALUE)
                    }
                    (None, Mode::Lax) => choose(on_empty, EMPTY_DEFAULT, "there is no scalar"),
                    (None, Mode::Strict) => choose(on_error, ERROR_DEFAULT, "the value is not a scalar"),
                },
                Outcome::Nothing => choose(on_empty, EMPTY_DEFAULT, "there is no value"),
                Outcome::Failed(why) => choose(on_error, ERROR_DEFAULT, why),
            })?;
            if source != VALUE {
                texts.append_null();
            }
            sources.push(source);
        }
        let converted = convert(texts.finish(), &kind)?;
        for (i, source) in sources.iter_mut().enumerate() {
            if *source == VALUE && converted.is_null(i) {
                *source = choose(on_error, ERROR_DEFAULT, "the value does not have the type that is to be returned")?;
            }
        }
        let array = if sources.iter().all(|s| *s < EMPTY_DEFAULT) {
            converted
        } else {
            with_defaults(converted, &sources, values)?
        };
        Ok(if scalar { Value::Scalar(array) } else { Value::Array(array) })
    }))
}

fn with_defaults(converted: ArrayRef, sources: &[usize], values: &[Value]) -> Result<ArrayRef> {
    let default = |at: usize| match values.get(at) {
        Some(Value::Array(array)) if array.data_type() == converted.data_type() => (array.clone(), 1),
        Some(Value::Scalar(array)) if array.data_type() == converted.data_type() => (array.clone(), 0),
        _ => (new_null_array(converted.data_type(), 1), 0),
    };
    let ((empty, empty_stride), (error, error_stride)) = (default(3), default(5));
    let picks: Vec<_> = sources
        .iter()
        .enumerate()
        .map(|(i, source)| match *source {
            EMPTY_DEFAULT => (1, i * empty_stride),
            ERROR_DEFAULT => (2, i * error_stride),
            _ => (0, i),
        })
        .collect();
    Ok(interleave(&[converted.as_ref(), empty.as_ref(), error.as_ref()], &picks)?)
}

/// Values of the type that is returned; null where a text is not one.
fn convert(texts: StringArray, kind: &TypeKind) -> Result<ArrayRef> {
    fn integer<T: TryFrom<i128>>(text: &str) -> Option<T> {
        let whole = text.parse::<i128>().ok().or_else(|| {
            let number = text.parse::<f64>().ok()?.trunc();
            // Beyond this a BIGINT is out of range anyway.
            #[expect(clippy::cast_possible_truncation, reason = "checked to be in range and whole")]
            (number.abs() < 1e19).then_some(number as i128)
        });
        T::try_from(whole?).ok()
    }
    let each = || texts.iter().map(|t| t.map(str::trim));
    Ok(match kind {
        TypeKind::Char(n) | TypeKind::VarChar(n) => {
            let n = usize::try_from(*n).unwrap_or(usize::MAX);
            if texts.iter().flatten().all(|t| t.len() <= n) {
                return Ok(Arc::new(texts));
            }
            let cut = |t: &str| t.char_indices().nth(n).map_or(t.len(), |(i, _)| i);
            Arc::new(texts.iter().map(|t| t.map(|t| &t[..cut(t)])).collect::<StringArray>())
        }
        TypeKind::Boolean => Arc::new(
            each()
                .map(|t| match t?.to_ascii_lowercase().as_str() {
                    "true" | "t" | "yes" | "1" => Some(true),
                    "false" | "f" | "no" | "0" => Some(false),
                    _ => None,
                })
                .collect::<BooleanArray>(),
        ),
        TypeKind::TinyInt => Arc::new(each().map(|t| integer(t?)).collect::<Int8Array>()),
        TypeKind::SmallInt => Arc::new(each().map(|t| integer(t?)).collect::<Int16Array>()),
        TypeKind::Int => Arc::new(each().map(|t| integer(t?)).collect::<Int32Array>()),
        TypeKind::BigInt => Arc::new(each().map(|t| integer(t?)).collect::<Int64Array>()),
        TypeKind::Float => {
            let float = |t: &str| t.parse::<f32>().ok().filter(|f| f.is_finite());
            Arc::new(each().map(|t| float(t?)).collect::<Float32Array>())
        }
        TypeKind::Double => {
            let double = |t: &str| t.parse::<f64>().ok().filter(|d| d.is_finite());
            Arc::new(each().map(|t| double(t?)).collect::<Float64Array>())
        }
        TypeKind::Decimal { .. } => {
            let decimals = arrow::compute::cast(&texts, &kind.to_arrow())?;
            Arc::new(
                decimals
                    .as_any()
                    .downcast_ref::<Decimal128Array>()
                    .cloned()
                    .ok_or_else(|| Error::internal("a cast to DECIMAL did not give decimals"))?,
            )
        }
        other => return Err(Error::internal(format!("JSON_VALUE cannot return {other}"))),
    })
}

#[derive(Clone, Copy)]
enum Wrapper {
    Without,
    Conditional,
    Unconditional,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OnNoJson {
    Null,
    Error,
    EmptyArray,
    EmptyObject,
}

fn wrapper(args: &[Expr]) -> Result<Wrapper> {
    Ok(match args.get(2).map(literal_text) {
        None | Some(Some("WITHOUT")) => Wrapper::Without,
        Some(Some("CONDITIONAL")) => Wrapper::Conditional,
        Some(Some("UNCONDITIONAL")) => Wrapper::Unconditional,
        _ => return Err(refuse(QUERY_USAGE, args)),
    })
}

fn on_no_json(args: &[Expr], at: usize) -> Result<OnNoJson> {
    Ok(match args.get(at).map(literal_text) {
        None | Some(Some("NULL")) => OnNoJson::Null,
        Some(Some("ERROR")) => OnNoJson::Error,
        Some(Some("EMPTY ARRAY")) => OnNoJson::EmptyArray,
        Some(Some("EMPTY OBJECT")) => OnNoJson::EmptyObject,
        _ => return Err(refuse(QUERY_USAGE, args)),
    })
}

fn query_type(args: &[Expr]) -> Result<DataType> {
    if !(2..=6).contains(&args.len()) {
        return Err(refuse(QUERY_USAGE, args));
    }
    signature(&args[..2], QUERY_USAGE, &[Want::Text; 2], &[])?;
    literal_path(args)?;
    wrapper(args)?;
    let behaviours = [on_no_json(args, 3)?, on_no_json(args, 4)?];
    let result = returning(args, 5);
    match &result.kind {
        kind if kind.is_string() => Ok(result),
        TypeKind::Array(item) if item.kind.is_string() => {
            if behaviours.contains(&OnNoJson::EmptyObject) {
                return Err(Error::invalid(
                    "invalid_argument",
                    "JSON_QUERY that returns an array cannot give an EMPTY OBJECT",
                ));
            }
            Ok(result)
        }
        _ => {
            Err(Error::invalid("invalid_argument", format!("JSON_QUERY returns STRING or ARRAY<STRING>, not {result}")))
        }
    }
}

fn wrapped<'a>(value: Cow<'_, Json<'a>>, wrapper: Wrapper) -> Json<'a> {
    match (wrapper, value) {
        (Wrapper::Without, value) => value.into_owned(),
        (Wrapper::Conditional, value) if matches!(*value, Json::Array(_)) => value.into_owned(),
        (_, value) => Json::Array(vec![value.into_owned()]),
    }
}

fn prepare_query(call: &Call<'_>) -> Result<Kernel> {
    let literal = literal_path(call.args)?;
    let wrapper = wrapper(call.args)?;
    let (on_empty, on_error) = (on_no_json(call.args, 3)?, on_no_json(call.args, 4)?);
    let list = matches!(call.data_type.to_arrow(), ArrowType::List(_));
    Ok(Box::new(move |values, rows| {
        // The type argument has no values to read.
        let arguments = Arguments::new(&values[..2], rows)?;
        let scalar = values.iter().all(|v| matches!(v, Value::Scalar(_)));
        let rows = if scalar { 1 } else { rows };
        let mut paths = Paths::new(&literal);
        let mut texts = StringBuilder::with_capacity(rows, if list { 0 } else { rows * 32 });
        let mut lists = text_list_builder(rows);
        for i in 0..rows {
            let row = arguments.row(i);
            let answer = if row.any_null() {
                None
            } else {
                look_up(row.str(0), paths.of(row)?, |outcome| {
                    let (behaviour, why) = match outcome {
                        Outcome::Found(value, mode) => {
                            let value = wrapped(value, wrapper);
                            match mode {
                                Mode::Lax if value.is_scalar() => (on_empty, "there is no array or object"),
                                Mode::Strict if value.is_scalar() => (on_error, "the value is not an array or object"),
                                _ if list && !matches!(value, Json::Array(_)) => {
                                    (on_error, "the value is not an array")
                                }
                                _ => {
                                    put_json(&value, list, &mut texts, lists.values());
                                    return Ok(Some(()));
                                }
                            }
                        }
                        Outcome::Nothing => (on_empty, "there is no value"),
                        Outcome::Failed(why) => (on_error, why),
                    };
                    match behaviour {
                        OnNoJson::Null => return Ok(None),
                        OnNoJson::Error => return Err(failed("JSON_QUERY", why)),
                        OnNoJson::EmptyArray => put_json(&Json::Array(Vec::new()), list, &mut texts, lists.values()),
                        OnNoJson::EmptyObject => put_json(&Json::Object(Vec::new()), list, &mut texts, lists.values()),
                    }
                    Ok(Some(()))
                })?
            };
            match (list, answer) {
                (true, answer) => lists.append(answer.is_some()),
                (false, Some(())) => texts.append_value(""),
                (false, None) => texts.append_null(),
            }
        }
        let array: ArrayRef = if list { Arc::new(lists.finish()) } else { Arc::new(texts.finish()) };
        Ok(if scalar { Value::Scalar(array) } else { Value::Array(array) })
    }))
}

/// Writes a value as text, or its items as the elements of a list.
fn put_json(value: &Json<'_>, list: bool, texts: &mut StringBuilder, items: &mut StringBuilder) {
    match value {
        Json::Array(elements) if list => {
            for element in elements {
                match (element, element.scalar_text()) {
                    (Json::Null, _) => items.append_null(),
                    (_, Some(text)) => items.append_value(text),
                    (element, None) => {
                        element.write(items);
                        items.append_value("");
                    }
                }
            }
        }
        value => value.write(texts),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::arguments::testing::{check, code, lit, null, num};
    use super::super::FUNCTIONS;
    use super::*;

    fn type_literal(kind: TypeKind) -> Expr {
        Expr::literal(Scalar::Null, kind)
    }

    const DOC: &str = r#"{"a":{"b":[1,2,{"c":"d"}]},"n":null,"t":true,"s":"x y"}"#;

    #[test]
    fn exists() {
        let cases = [
            (DOC, "$.a", "FALSE", "true"),
            (DOC, "$.zz", "FALSE", "false"),
            (DOC, "$.zz", "TRUE", "true"),
            (DOC, "lax $.zz", "TRUE", "false"),
            (DOC, "$.n", "UNKNOWN", "NULL"),
            (DOC, "lax $.n", "UNKNOWN", "false"),
            ("[]", "$[*]", "FALSE", "true"),
            ("not json", "$.a", "UNKNOWN", "NULL"),
            ("not json", "lax $.a", "UNKNOWN", "false"),
        ];
        for (json, path, on_error, expected) in cases {
            check(FUNCTIONS, "JSON_EXISTS", vec![lit(json), lit(path), lit(on_error)], expected, "BOOLEAN");
        }
        check(FUNCTIONS, "JSON_EXISTS", vec![null(), lit("$")], "NULL", "BOOLEAN");
        assert_eq!(code(FUNCTIONS, "JSON_EXISTS", vec![lit("x"), lit("$"), lit("ERROR")]), "json_path_failed");
        assert_eq!(code(FUNCTIONS, "JSON_EXISTS", vec![lit("x"), lit("$["), lit("TRUE")]), "invalid_argument");
    }

    fn value(json: &str, path: &str, empty: (&str, Expr), error: (&str, Expr), kind: Option<TypeKind>) -> Vec<Expr> {
        let mut args = vec![lit(json), lit(path), lit(empty.0), empty.1, lit(error.0), error.1];
        args.extend(kind.map(type_literal));
        args
    }

    #[test]
    fn values() {
        let cases = [
            (DOC, "$.t", "true"),
            (DOC, "$.a.b[2].c", "d"),
            (DOC, "$.a", "error"),
            (DOC, "lax $.a", "empty"),
            (DOC, "lax $.zz", "empty"),
            (DOC, "$.zz", "error"),
            (DOC, "$..c", "error"),
            ("not json", "lax $.a", "empty"),
            ("not json", "$.a", "error"),
            ("[1.50,1e3]", "$[0]", "1.50"),
            ("[1.50,1e3]", "$[1]", "1E+3"),
            ("null", "lax $", "error"),
        ];
        for (json, path, expected) in cases {
            let args = value(json, path, ("DEFAULT", lit("empty")), ("DEFAULT", lit("error")), None);
            check(FUNCTIONS, "JSON_VALUE", args, expected, "STRING");
        }
        check(FUNCTIONS, "JSON_VALUE", vec![lit(DOC), lit("$.zz")], "NULL", "STRING");
        check(FUNCTIONS, "JSON_VALUE", vec![null(), lit("$.zz")], "NULL", "STRING");
        let fails = value(DOC, "$.zz", ("NULL", null()), ("ERROR", null()), None);
        assert_eq!(code(FUNCTIONS, "JSON_VALUE", fails), "json_path_failed");
    }

    #[test]
    fn values_of_other_types() {
        let cases = [
            ("[2]", TypeKind::Int, "2", "INT"),
            ("[2.5]", TypeKind::Int, "2", "INT"),
            ("[3000000000]", TypeKind::Int, "-1", "INT"),
            ("[3000000000]", TypeKind::BigInt, "3000000000", "BIGINT"),
            ("[\"5\"]", TypeKind::Int, "5", "INT"),
            ("[true]", TypeKind::Boolean, "true", "BOOLEAN"),
            ("[2.5]", TypeKind::Double, "2.5", "DOUBLE"),
            ("[true]", TypeKind::VarChar(2), "tr", "VARCHAR(2)"),
        ];
        for (json, kind, expected, data_type) in cases {
            let default = if kind == TypeKind::Int { num(-1) } else { type_literal(kind.clone()) };
            let args = value(json, "$[0]", ("NULL", null()), ("DEFAULT", default), Some(kind));
            check(FUNCTIONS, "JSON_VALUE", args, expected, data_type);
        }
        let args = value("[1]", "$[0]", ("NULL", null()), ("NULL", null()), Some(TypeKind::Date));
        assert_eq!(code(FUNCTIONS, "JSON_VALUE", args), "invalid_argument");
    }

    #[test]
    fn queries() {
        let cases = [
            (DOC, "$.a", "WITHOUT", r#"{"b":[1,2,{"c":"d"}]}"#),
            (DOC, "$.t", "WITHOUT", "{}"),
            (DOC, "lax $.t", "WITHOUT", "[]"),
            (DOC, "$.t", "UNCONDITIONAL", "[true]"),
            ("[1,2]", "$[*]", "UNCONDITIONAL", "[[1,2]]"),
            ("[1,2]", "$", "CONDITIONAL", "[1,2]"),
            (r#"{"b":1,"a":2}"#, "$", "CONDITIONAL", r#"[{"a":2,"b":1}]"#),
            ("not json", "$", "WITHOUT", "{}"),
            ("not json", "lax $", "WITHOUT", "[]"),
            ("[1]", "lax $.a[*]", "WITHOUT", "[]"),
        ];
        for (json, path, wrapper, expected) in cases {
            let args = vec![lit(json), lit(path), lit(wrapper), lit("EMPTY ARRAY"), lit("EMPTY OBJECT")];
            check(FUNCTIONS, "JSON_QUERY", args, expected, "STRING");
        }
        check(FUNCTIONS, "JSON_QUERY", vec![lit(DOC), lit("$.t")], "NULL", "STRING");
        let list = || type_literal(TypeKind::Array(Box::new(DataType::string())));
        let args = |path, on_error| vec![lit(DOC), lit(path), lit("WITHOUT"), lit("NULL"), lit(on_error), list()];
        check(FUNCTIONS, "JSON_QUERY", args("$.a.b", "NULL"), r#"[1, 2, {"c":"d"}]"#, "ARRAY<STRING>");
        check(FUNCTIONS, "JSON_QUERY", args("$.a", "NULL"), "NULL", "ARRAY<STRING>");
        check(FUNCTIONS, "JSON_QUERY", args("$.a", "EMPTY ARRAY"), "[]", "ARRAY<STRING>");
        assert_eq!(code(FUNCTIONS, "JSON_QUERY", args("$.a", "EMPTY OBJECT")), "invalid_argument");
        assert_eq!(code(FUNCTIONS, "JSON_QUERY", args("$.a", "ERROR")), "json_path_failed");
    }
}
