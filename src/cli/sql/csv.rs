//! Rows as CSV (RFC 4180), NULL as nothing, an empty text as `""`.

use std::fmt::Write;

use serde_json::Value;

/// One line without its end.
pub fn line<'a>(cells: impl IntoIterator<Item = &'a Value>) -> String {
    let mut out = String::new();
    for (i, cell) in cells.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        match cell {
            Value::Null => {}
            Value::String(text) => push(&mut out, text),
            Value::Array(_) | Value::Object(_) => push(&mut out, &cell.to_string()),
            Value::Bool(_) | Value::Number(_) => write!(out, "{cell}").expect("a string takes everything"),
        }
    }
    out
}

fn push(out: &mut String, text: &str) {
    let blank = |c: char| c == ' ' || c == '\t';
    let quoted =
        text.is_empty() || text.contains([',', '"', '\n', '\r']) || text.starts_with(blank) || text.ends_with(blank);
    if quoted {
        out.push('"');
        out.push_str(&text.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        let check = |row: Value, expected: &str| assert_eq!(line(row.as_array().unwrap()), expected);
        check(serde_json::json!([1, "a", null, true, 0.5]), "1,a,,true,0.5");
        check(serde_json::json!(["", "a,b", "say \"x\"", "l1\nl2"]), "\"\",\"a,b\",\"say \"\"x\"\"\",\"l1\nl2\"");
        check(serde_json::json!([[1, 2], {"k": "v"}]), "\"[1,2]\",\"{\"\"k\"\":\"\"v\"\"}\"");
        check(serde_json::json!([" a"]), "\" a\"");
    }
}
