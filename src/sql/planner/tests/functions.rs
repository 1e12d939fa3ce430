//! `docs/functions.md` is true: each call has the type and the value that the page says, and each function is on it.

use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use crate::connector::format::json::encode_rows;
use crate::expr::{EvalContext, Evaluator, Expr};
use crate::graph::OperatorKind;
use crate::types::Schema;

const PAGE: &str = include_str!("../../../../docs/functions.md");
/// What operators and clauses are called inside.
const INTERNAL: &[&str] = &[
    "AND",
    "OR",
    "NOT",
    "IN",
    "LIKE",
    "SIMILAR_TO",
    "BETWEEN",
    "BETWEEN_SYMMETRIC",
    "IS_DISTINCT_FROM",
    "IS_NOT_DISTINCT_FROM",
    "IS_NULL",
    "IS_NOT_NULL",
    "IS_TRUE",
    "IS_NOT_TRUE",
    "IS_FALSE",
    "IS_NOT_FALSE",
    "IS_UNKNOWN",
    "IS_NOT_UNKNOWN",
    "IS_JSON",
    "ITEM",
    "NEGATE",
    "ARRAY",
    "MAP",
    "OVERLAPS",
];

/// The cells of a table's line: text in backticks.
fn cells(line: &str) -> Option<Vec<String>> {
    let line = line.strip_prefix("| `")?.strip_suffix(" |")?;
    Some(line.split(" | ").map(|cell| cell.trim_matches('`').replace("\\|", "|")).collect())
}

/// The tables of the page: (heading, lines).
fn tables() -> Vec<(&'static str, Vec<Vec<String>>)> {
    let parts = PAGE.split("\n## ").skip(1);
    parts.map(|part| (part.lines().next().unwrap(), part.lines().filter_map(cells).collect())).collect()
}

/// A constant's type and value as JSON.
fn value(call: &str) -> Result<(String, String), crate::error::Error> {
    let (planned, schema) = crate::sql::plan_query(&format!("SELECT {call}"))?;
    let first = &planned.graph.vertices[0].operators[0];
    let OperatorKind::Values { rows } = &first.kind else { panic!("{call} is no constant") };
    Ok((schema.fields[0].data_type.to_string(), evaluate(&rows[0][0], &schema)))
}

fn evaluate(expr: &Expr, schema: &Schema) -> String {
    let context = EvalContext { time_zone: chrono_tz::Tz::UTC };
    let one = RecordBatchOptions::new().with_row_count(Some(1));
    let empty = RecordBatch::try_new_with_options(Schema::default().to_arrow(), vec![], &one).unwrap();
    let column = Evaluator::new(expr, &context).unwrap().evaluate(&empty).unwrap();
    let batch = RecordBatch::try_new(schema.to_arrow(), vec![column]).unwrap();
    encode_rows(&batch, schema).unwrap()[0][0].to_string()
}

#[test]
fn each_call_has_the_type_and_value_that_the_page_says() {
    let mut checked = 0;
    let mut wrong = Vec::new();
    for line in tables().into_iter().flat_map(|(_, lines)| lines).filter(|line| line.len() == 3) {
        let [call, data_type, expected] = &line[..] else { continue };
        checked += 1;
        let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
        let found = value(call).map(|(t, v)| (t, serde_json::from_str::<serde_json::Value>(&v).unwrap()));
        if found.as_ref().ok() != Some(&(data_type.clone(), expected)) {
            wrong.push(format!("{call}: {found:?}"));
        }
    }
    assert!(checked > 200, "{checked} calls");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn calls_whose_value_changes_have_their_type() {
    let tables = tables();
    let (_, lines) = tables.iter().find(|(heading, _)| *heading == "Values that change").unwrap();
    for line in lines {
        let (_, schema) = crate::sql::plan_query(&format!("SELECT {}", line[0])).unwrap();
        assert_eq!(schema.fields[0].data_type.to_string(), line[1], "{}", line[0]);
    }
}

#[test]
fn what_the_page_says_is_not_here_is_refused() {
    let tables = tables();
    let (_, lines) = tables.iter().find(|(heading, _)| *heading == "Not here").unwrap();
    for line in lines {
        let error = crate::sql::plan_query(&format!("SELECT {} FROM (VALUES (1)) AS v (a)", line[0])).unwrap_err();
        assert!(error.place.is_some(), "{error}");
    }
}

#[test]
fn each_function_is_on_the_page() {
    let named = |name: &&str| name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    let missing: Vec<_> = crate::expr::function::names()
        .into_iter()
        .filter(named)
        .filter(|name| !INTERNAL.contains(name))
        .filter(|name| !PAGE.contains(&format!("{name}(")) && !PAGE.contains(&format!("`{name}`")))
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}
