//! Properties over broken text: never a panic, always a position inside of the text.

use proptest::prelude::*;

use super::super::parse;
use crate::error::Place;

const QUERIES: &str = include_str!("../../../../tests/data/sql/queries.sql");
const TABLES: &str = include_str!("../../../../tests/data/sql/tables-nexmark.sql");

/// Words and signs of the grammar, and some of others.
const SOUP: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "BY",
    "ORDER",
    "HAVING",
    "JOIN",
    "LEFT",
    "ON",
    "UNION",
    "ALL",
    "WITH",
    "AS",
    "(",
    ")",
    "[",
    "]",
    "<",
    ">",
    ">>",
    "{",
    "}",
    ",",
    ".",
    ";",
    "*",
    "+",
    "-",
    "/",
    "=",
    "<>",
    "!=",
    "=>",
    "||",
    "|",
    "?",
    "%",
    "::",
    "a",
    "`b c`",
    "t",
    "1",
    "2.5",
    "'s'",
    "\"q\"",
    "CREATE",
    "TABLE",
    "VIEW",
    "TEMPORARY",
    "IF",
    "NOT",
    "EXISTS",
    "INSERT",
    "INTO",
    "VALUES",
    "SET",
    "RESET",
    "EXPLAIN",
    "EXECUTE",
    "STATEMENT",
    "BEGIN",
    "END",
    "DROP",
    "LIKE",
    "INCLUDING",
    "PRIMARY",
    "KEY",
    "ENFORCED",
    "WATERMARK",
    "FOR",
    "METADATA",
    "VIRTUAL",
    "COMMENT",
    "PARTITIONED",
    "INT",
    "ROW",
    "MAP",
    "ARRAY",
    "MULTISET",
    "TIMESTAMP",
    "LOCAL",
    "TIME",
    "ZONE",
    "INTERVAL",
    "DAY",
    "TO",
    "SECOND",
    "CAST",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "IS",
    "NULL",
    "JSON",
    "JSON_VALUE",
    "JSON_QUERY",
    "JSON_OBJECT",
    "RETURNING",
    "EMPTY",
    "ERROR",
    "VALUE",
    "DEFAULT",
    "TUMBLE",
    "SESSION",
    "DESCRIPTOR",
    "PARTITION",
    "OVER",
    "ROWS",
    "BETWEEN",
    "PRECEDING",
    "AND",
    "IN",
    "MATCH_RECOGNIZE",
    "PATTERN",
    "WITHIN",
    "DEFINE",
    "MEASURES",
    "LATERAL",
    "UNNEST",
    "SYSTEM_TIME",
    "OF",
    "POSITION",
    "EXTRACT",
    "TRIM",
    "FLOOR",
    "DISTINCT",
    "default_database",
    "default_catalog",
    "/*+ OPTIONS('a'='b') */",
    "/*+ X */",
    "/* c */",
    "-- c\n",
    "'",
    "`",
    "\\",
    "é",
    "\u{0}",
    "$1",
    "@",
    "#",
    "&",
    "^",
    "~",
    "0x1",
    "1e",
    "U&'\\",
    "LIMIT",
    "FETCH",
];

/// Parses, and checks the error.
fn check(sql: &str) -> Result<(), TestCaseError> {
    let Err(error) = parse(sql) else { return Ok(()) };
    prop_assert!(matches!(error.code.as_str(), "sql_syntax" | "sql_unsupported"), "{:?}", error);
    let Some(Place::Sql { line, column }) = error.place else {
        return Err(TestCaseError::fail(format!("no position: {error:?}")));
    };
    let lines: Vec<&str> = sql.split('\n').collect();
    prop_assert!(line >= 1 && line <= lines.len() as u64, "{error:?} in {sql:?}");
    let length = lines[line as usize - 1].chars().count() as u64;
    prop_assert!(column >= 1 && column <= length + 1, "{error:?} in {sql:?}");
    prop_assert!(!error.message.contains(" at Line: "), "{error:?}");
    Ok(())
}

fn valid_statement() -> impl Strategy<Value = String> {
    let statements: Vec<String> = QUERIES.split('\n').chain(TABLES.split(";\n")).map(str::to_owned).collect();
    prop::sample::select(statements)
}

/// One change of a text.
#[derive(Debug, Clone)]
enum Mutation {
    Delete(prop::sample::Index, usize),
    Insert(prop::sample::Index, &'static str),
    Copy(prop::sample::Index, prop::sample::Index, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        (index(), 1usize..12).prop_map(|(at, n)| Mutation::Delete(at, n)),
        (index(), prop::sample::select(SOUP)).prop_map(|(at, word)| Mutation::Insert(at, word)),
        (index(), index(), 1usize..40).prop_map(|(from, to, n)| Mutation::Copy(from, to, n)),
    ]
}

fn mutate(text: &str, mutation: &Mutation) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let slots = chars.len() + 1;
    match mutation {
        Mutation::Delete(at, n) => {
            let at = at.index(slots);
            let end = (at + n).min(chars.len());
            chars.drain(at..end);
        }
        Mutation::Insert(at, word) => {
            let at = at.index(slots);
            chars.splice(at..at, format!(" {word} ").chars());
        }
        Mutation::Copy(from, to, n) => {
            let from = from.index(slots);
            let piece: Vec<char> = chars[from..(from + n).min(chars.len())].to_vec();
            let to = to.index(slots);
            chars.splice(to..to, piece);
        }
    }
    chars.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn token_soup_never_panics(words in prop::collection::vec(prop::sample::select(SOUP), 0..60)) {
        check(&words.join(" "))?;
    }

    #[test]
    fn soup_after_select_never_panics(words in prop::collection::vec(prop::sample::select(SOUP), 0..40)) {
        check(&format!("SELECT {}", words.join(" ")))?;
        check(&format!("CREATE TABLE t ({}", words.join(" ")))?;
        check(&format!("SELECT * FROM {}", words.join(" ")))?;
    }

    #[test]
    fn mutations_of_valid_statements_never_panic(
        statement in valid_statement(),
        mutations in prop::collection::vec(mutation(), 1..5),
    ) {
        check(&mutations.iter().fold(statement, |text, mutation| mutate(&text, mutation)))?;
    }

    #[test]
    fn random_text_never_panics(text in "\\PC{0,80}") {
        check(&text)?;
    }
}
