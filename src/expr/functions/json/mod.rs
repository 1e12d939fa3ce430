//! Functions of the chapter "json".
//!
//! JSON is what Jackson reads with Flink's settings: strict syntax, whatever follows the first value is ignored,
//! numbers keep all digits, the last of equal keys counts; what is written has sorted keys. Paths are those of Jayway
//! JsonPath with the prefix `lax` or `strict` (the default): see [`path`]. Source: Flink's "System (Built-in)
//! Functions", JSON functions, checked against Flink 2.3.
//!
//! Calling conventions, because SQL's own syntax is not a plain call; all behaviours are string literals:
//! - `JSON_EXISTS(json, path [, on error])`: `TRUE FALSE UNKNOWN ERROR`; left out: `FALSE`.
//! - `JSON_VALUE(json, path [, on empty, default, on error, default [, type]])`: `NULL ERROR DEFAULT`; left out: `NULL`.
//!   A default that is not used is any null literal; `type` is a null literal whose type is that after `RETURNING`.
//! - `JSON_QUERY(json, path [, wrapper, on empty, on error [, type]])`: wrapper `WITHOUT CONDITIONAL UNCONDITIONAL`;
//!   behaviours `NULL ERROR EMPTY ARRAY EMPTY OBJECT`; `type` as above, `STRING` or `ARRAY<STRING>`.
//! - `JSON_OBJECT(key, value, …, on null)` and `JSON_ARRAY(value, …, on null)`: the last argument is always the
//!   literal `NULL` or `ABSENT` (SQL's defaults: `NULL` for objects, `ABSENT` for arrays). A value that is itself a
//!   call of `JSON_OBJECT`, `JSON_ARRAY` or `JSON` is embedded as it is.
//! - `IS_JSON(string [, kind])`: `VALUE SCALAR ARRAY OBJECT`; left out: `VALUE`. Never null.

mod build;
pub(super) mod number;
mod path;
mod query;
mod text;
mod value;

use crate::expr::function::Function;

pub(super) static FUNCTIONS: &[Function] = &[
    query::JSON_EXISTS,
    query::JSON_VALUE,
    query::JSON_QUERY,
    build::JSON_STRING,
    build::JSON_OBJECT,
    build::JSON_ARRAY,
    text::JSON,
    text::JSON_QUOTE,
    text::JSON_UNQUOTE,
    text::IS_JSON,
];
