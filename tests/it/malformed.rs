//! Texts that are no Flink SQL: each is refused within a second, with a code, a line and a column, and none panics.
//!
//! `tests/malformed.txt` holds the texts: a line `== code line:column`, then the text, over the tables of [`TABLES`].
//! Nested and huge texts are made here. Last, texts of the corpus and of the oracle are cut and joined at random places:
//! whatever comes out is planned or refused, and nothing else.

use std::time::{Duration, Instant};

use holdfast::error::{Error, Place};
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

/// Longest time until an answer.
const LIMIT: Duration = Duration::from_secs(1);
/// What every text of the corpus is written over; two lines.
const TABLES: &str = "CREATE TABLE t (id INT NOT NULL, name STRING, price DECIMAL(10, 2), ok BOOLEAN, tags ARRAY<STRING>, attrs MAP<STRING, INT>, inner_row ROW<a INT, b STRING>, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND) WITH ('connector' = 'datagen', 'number-of-rows' = '1');
CREATE TABLE out_t (id INT NOT NULL, name STRING) WITH ('connector' = 'blackhole');
";
const CORPUS: &str = include_str!("../malformed.txt");
/// Texts made by cutting and joining.
const MUTATIONS: usize = 3_000;

/// Checks a text; the time that it took must be within the limit.
fn refusal(text: &str) -> Option<Error> {
    let since = Instant::now();
    let answer = holdfast::sql::check(text);
    let took = since.elapsed();
    assert!(took < LIMIT, "{took:?} for {}", head(text));
    let error = answer.err()?;
    assert_ne!(error.code, "internal", "{error} for {}", head(text));
    Some(error)
}

fn head(text: &str) -> String {
    text.chars().take(300).collect()
}

fn place(error: &Error) -> String {
    match &error.place {
        Some(Place::Sql { line, column }) => format!("{line}:{column}"),
        _ => "nowhere".to_owned(),
    }
}

/// The texts of the corpus, each with what it is refused with.
fn corpus() -> Vec<(&'static str, &'static str)> {
    CORPUS
        .split("\n== ")
        .map(|entry| entry.trim_start_matches("== ").split_once('\n').expect("code, then text"))
        .collect()
}

#[test]
fn each_text_of_the_corpus_is_refused_at_its_place() {
    let corpus = corpus();
    assert!(corpus.len() >= 200, "{} texts", corpus.len());
    let mut wrong = Vec::new();
    for (expected, text) in corpus {
        let text = text.trim_end_matches('\n');
        let found = match refusal(&format!("{TABLES}{text}")) {
            Some(error) => format!("{} {}", error.code, place(&error)),
            None => "accepted".to_owned(),
        };
        if found != expected {
            wrong.push(format!("{text}\n  expected {expected}, found {found}"));
        }
    }
    assert!(wrong.is_empty(), "{} texts\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn nested_and_huge_texts_are_refused_at_a_place() {
    let nested = |open: &str, inner: &str, close: &str, depth: usize| {
        format!("SELECT {}{inner}{}", open.repeat(depth), close.repeat(depth))
    };
    let texts = [
        nested("(", "1", ")", 5_000),
        nested("(", "", "", 5_000),
        nested("NOT ", "TRUE", "", 5_000),
        nested("- ", "", "", 5_000),
        nested("CAST(", "1", " AS INT)", 1_000),
        nested("ARRAY[", "1", "]", 3_000),
        nested("CASE WHEN TRUE THEN ", "1", " END", 2_000),
        nested("UPPER(", "'a'", ")", 1_000),
        nested("x IN (", "1", ")", 2_000),
        nested("EXISTS (SELECT ", "nope", ")", 300),
        nested("* FROM (SELECT ", "nope", ")", 500),
        format!("SELECT {}nope", "1 + ".repeat(20_000)),
        format!("SELECT nope{}", ", 1".repeat(10_000)),
        format!("SELECT '{}", "a".repeat(200_000)),
        format!("SELECT 1 FROM {}", "b".repeat(100_000)),
        format!("SELECT 1 {}UNION ALL SELECT 1, 2", "UNION ALL SELECT 1 ".repeat(5_000)),
        format!("SELECT f{}", "[1]".repeat(2_000)),
        format!("CREATE TABLE x (a {}INT{}) WITH ('connector' = 'datagen')", "ARRAY<".repeat(2_000), ">".repeat(2_000)),
        format!("CREATE TABLE x (a {}INT{}) WITH ('connector' = 'datagen')", "ROW<b ".repeat(2_000), ">".repeat(2_000)),
        "/*".repeat(1_000),
        format!("SELECT 1{}", "0".repeat(1_000)),
        "\u{feff}SELEKT 1".to_owned(),
        "é".to_owned(),
    ];
    for text in texts {
        let error = refusal(&text).unwrap_or_else(|| panic!("accepted: {}", head(&text)));
        assert_ne!(place(&error), "nowhere", "{error} for {}", head(&text));
    }
}

#[test]
fn texts_cut_and_joined_at_random_never_panic() {
    let oracle = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle/cases");
    let mut texts: Vec<String> = corpus().into_iter().map(|(_, text)| text.to_owned()).collect();
    let mut files: Vec<_> = std::fs::read_dir(oracle).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    texts.extend(files.iter().map(|f| std::fs::read_to_string(f).unwrap()));
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut below = |n: usize| usize::try_from(random.next_u64() % n.max(1) as u64).unwrap();
    for _ in 0..MUTATIONS {
        let (a, b) = (below(texts.len()), below(texts.len()));
        let (words, others): (Vec<&str>, Vec<&str>) = (texts[a].split(' ').collect(), texts[b].split(' ').collect());
        let (cut, from) = (below(words.len()), below(others.len()));
        let to = (from + below(6)).min(others.len());
        let skip = (cut + below(3)).min(words.len());
        let text = [&words[..cut], &others[from..to], &words[skip..]].concat().join(" ");
        refusal(&format!("{TABLES}{text}"));
    }
}
