//! Answers of Apache Flink 2.3: every case of `tests/oracle` gives the same result here, at parallelism 1 and 2, or is
//! refused when it is planned.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use holdfast::connector::format::json::encode_rows;
use holdfast::runtime::{Barrier, Execution, ExecutionSpec, TaskEvent};
use holdfast::state::SharedMemory;
use holdfast::types::{Schema, TypeKind, row_kind};
use serde_json::Value;
use tokio::sync::mpsc;

/// Cases that need SQL which is not supported yet. Each is refused when it is planned, with its place in the text; the
/// test fails if one of them starts to work, so that this table stays true.
const NOT_SUPPORTED: &[(&str, &str)] = &[
    ("cdc.distinct_regions", "aggregation without windows"),
    ("cdc.filter", "the debezium-json format"),
    ("cdc.left_join", "joins"),
    ("cdc.top2_by_region", "OVER aggregations"),
    ("cep.optional", "MATCH_RECOGNIZE"),
    ("cep.quantifier_range", "MATCH_RECOGNIZE"),
    ("cep.running_avg", "MATCH_RECOGNIZE"),
    ("cep.skip_next_row", "MATCH_RECOGNIZE"),
    ("cep.skip_to_last", "MATCH_RECOGNIZE"),
    ("cep.strict_sequence", "MATCH_RECOGNIZE"),
    ("cep.v_shape", "MATCH_RECOGNIZE"),
    ("cep.within", "MATCH_RECOGNIZE"),
    ("nexmark.q18", "OVER aggregations"),
    ("nexmark.q19", "OVER aggregations"),
    ("nexmark.q9", "joins"),
    ("over.lag", "OVER aggregations"),
    ("over.range_interval", "OVER aggregations"),
    ("over.unbounded", "OVER aggregations"),
    ("rank.dedup_first", "OVER aggregations"),
    ("rank.nulls_last", "OVER aggregations"),
    ("rank.nulls_order", "OVER aggregations"),
    ("rank.over_sum_can_fall", "aggregation without windows"),
    ("rank.range_2_4", "OVER aggregations"),
    ("rank.top3_no_rank_number", "OVER aggregations"),
];

/// A case's files, unpacked where they are packed.
struct Corpus {
    dir: PathBuf,
    _unpacked: tempfile::TempDir,
    inputs: PathBuf,
}

static CORPUS: LazyLock<Corpus> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle");
    let unpacked = tempfile::tempdir().unwrap();
    let inputs = unpacked.path().to_path_buf();
    for entry in std::fs::read_dir(dir.join("inputs")).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let text = read(&entry.path());
        std::fs::write(inputs.join(name.trim_end_matches(".gz")), text).unwrap();
    }
    Corpus { dir, _unpacked: unpacked, inputs }
});

/// A file's text, unpacked if its name ends with `.gz`.
fn read(path: &Path) -> String {
    if path.extension().is_some_and(|e| e == "gz") {
        let output = std::process::Command::new("gzip").arg("-dc").arg(path).output().expect("gzip runs");
        assert!(output.status.success(), "gzip -dc {}", path.display());
        String::from_utf8(output.stdout).unwrap()
    } else {
        std::fs::read_to_string(path).unwrap()
    }
}

fn cases() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(CORPUS.dir.join("cases"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap().trim_end_matches(".sql").to_owned())
        .collect();
    names.sort();
    assert!(names.len() > 90, "the corpus is complete");
    names
}

fn script(case: &str) -> String {
    let tables = if case.starts_with("nexmark.") { "tables-nexmark.sql" } else { "tables.sql" };
    let text = format!("{}\n{}", read(&CORPUS.dir.join(tables)), read(&CORPUS.dir.join(format!("cases/{case}.sql"))));
    text.replace("${DIR}", CORPUS.inputs.to_str().unwrap())
}

/// Applies changes to the rows that they describe.
fn fold(
    rows: &mut HashMap<String, i64>,
    batch: &arrow::record_batch::RecordBatch,
    schema: &Schema,
) -> Result<(), String> {
    let (batch, kinds) = row_kind::split(batch.clone()).map_err(|e| e.to_string())?;
    for (at, row) in encode_rows(&batch, schema).map_err(|e| e.to_string())?.into_iter().enumerate() {
        let adds = kinds.as_ref().is_none_or(|k| row_kind::adds(k.value(at)));
        *rows.entry(Value::Array(row).to_string()).or_default() += if adds { 1 } else { -1 };
    }
    Ok(())
}

/// The rows that are left, each as often as it is there.
fn rows_of(folded: HashMap<String, i64>) -> Result<Vec<Vec<Value>>, String> {
    let mut rows = Vec::new();
    for (row, count) in folded {
        let times = usize::try_from(count).map_err(|_| format!("{row} was taken away more often than it was given"))?;
        let row: Vec<Value> = serde_json::from_str(&row).map_err(|e| e.to_string())?;
        rows.extend(std::iter::repeat_n(row, times));
    }
    Ok(rows)
}

/// Runs a query and answers its columns and rows.
async fn run(sql: &str, parallelism: u32) -> Result<(Schema, Vec<Vec<Value>>), String> {
    let (planned, schema) = holdfast::sql::plan_query(sql).map_err(|e| e.to_string())?;
    let dir = tempfile::tempdir().unwrap();
    let (rows, mut batches) = mpsc::channel(16);
    let (events, mut reports) = mpsc::unbounded_channel();
    let spec = ExecutionSpec {
        job_id: holdfast::id::JobId::generate(),
        attempt: 1,
        graph: Arc::new(planned.graph),
        parallelism,
        max_parallelism: 128,
        exactly_once: true,
        work_dir: dir.path().to_path_buf(),
        memory_bytes: 64 << 20,
        shared_memory: Arc::new(SharedMemory::new(32 << 20)),
        restored: Default::default(),
        collect: Some(rows),
    };
    let execution = Execution::start(spec, events).map_err(|e| e.to_string())?;
    let mut reading: HashSet<_> = execution.sources().iter().copied().collect();
    let mut working: HashSet<_> = execution.tasks().iter().copied().collect();
    let mut result = HashMap::new();
    let outcome = loop {
        tokio::select! {
            Some(batch) = batches.recv() => fold(&mut result, &batch, &schema)?,
            Some(event) = reports.recv() => match event {
                TaskEvent::Failed { error, .. } => break Err(error.to_string()),
                TaskEvent::SourceFinished { task } => {
                    if reading.remove(&task) && reading.is_empty() {
                        execution.trigger(Barrier { checkpoint_id: 1, stops: true });
                    }
                }
                TaskEvent::Acknowledge { task, .. } => {
                    working.remove(&task);
                    if working.is_empty() { break Ok(()) }
                }
                TaskEvent::Running { .. } | TaskEvent::Committed { .. } => {}
            },
        }
    };
    while let Ok(batch) = batches.try_recv() {
        fold(&mut result, &batch, &schema)?;
    }
    tokio::task::spawn_blocking(move || execution.join()).await.unwrap();
    outcome?;
    Ok((schema, rows_of(result)?))
}

/// A cell in a form in which equal values are equal texts: instants, doubles, the rest as it is.
fn normal(value: &Value, kind: &TypeKind) -> String {
    match (kind, value) {
        (_, Value::Null) => "null".into(),
        (TypeKind::Timestamp(..) | TypeKind::TimestampLtz(..), Value::String(text)) => {
            let text = text.trim_end_matches('Z');
            let full = if text.matches(':').count() == 1 { format!("{text}:00") } else { text.to_owned() };
            let instant = chrono::NaiveDateTime::parse_from_str(&full, "%Y-%m-%dT%H:%M:%S%.f")
                .unwrap_or_else(|e| panic!("{text}: {e}"));
            format!("{}", instant.and_utc().timestamp_nanos_opt().unwrap())
        }
        (TypeKind::Time(_), Value::String(text)) => {
            if text.matches(':').count() == 1 {
                format!("{text}:00")
            } else {
                text.clone()
            }
        }
        (TypeKind::Double | TypeKind::Float, Value::String(text)) => {
            format!("{:?}", text.parse::<f64>().unwrap_or_else(|_| panic!("{text} is a double")))
        }
        (TypeKind::Double | TypeKind::Float, Value::Number(n)) => format!("{:?}", n.as_f64().unwrap()),
        (TypeKind::Row(fields), Value::Object(members)) => {
            java_text(&Value::Array(fields.iter().map(|f| members[&f.name].clone()).collect()))
        }
        // Java prints their entries in the order of a hash table.
        (TypeKind::Map(..) | TypeKind::Multiset(_), other) => {
            let mut entries: Vec<String> = match other {
                // Keys that are no texts: pairs.
                Value::Array(pairs) => {
                    pairs.iter().map(|p| format!("{}={}", java_text(&p[0]), java_text(&p[1]))).collect()
                }
                other => java_text(other).trim_matches(['{', '}']).split(", ").map(str::to_owned).collect(),
            };
            entries.sort_unstable();
            entries.join(", ")
        }
        (TypeKind::Row(_) | TypeKind::Array(_), other) => java_text(other),
        (_, Value::String(text)) => text.clone(),
        (_, other) => other.to_string(),
    }
}

/// Collections as Java prints them in the expected files: `[1, 2]`, `{k=v}`.
fn java_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(java_text).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => format!(
            "{{{}}}",
            members.iter().map(|(k, v)| format!("{k}={}", java_text(v))).collect::<Vec<_>>().join(", ")
        ),
        other => other.to_string(),
    }
}

fn normal_rows(rows: &[Vec<Value>], schema: &Schema) -> Vec<String> {
    let row = |r: &Vec<Value>| {
        r.iter().zip(&schema.fields).map(|(v, f)| normal(v, &f.data_type.kind)).collect::<Vec<_>>().join("\u{1f}")
    };
    let mut rows: Vec<String> = rows.iter().map(row).collect();
    rows.sort();
    rows
}

async fn check(case: &str) -> Result<(), String> {
    let packed = CORPUS.dir.join(format!("expected/{case}.expected.gz"));
    let path = if packed.exists() { packed } else { CORPUS.dir.join(format!("expected/{case}.expected")) };
    let expected = read(&path);
    let mut lines = expected.lines();
    let header: Value = serde_json::from_str(lines.next().expect("a header")).unwrap();
    let wanted: Vec<Vec<Value>> = lines.map(|l| serde_json::from_str(l).unwrap()).collect();
    for parallelism in [1, 2] {
        let (schema, rows) = run(&script(case), parallelism).await?;
        let columns: Vec<(String, String)> =
            schema.fields.iter().map(|f| (f.name.clone(), f.data_type.to_string())).collect();
        let wanted_columns: Vec<(String, String)> = header["columns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| (c["name"].as_str().unwrap().to_owned(), c["type"].as_str().unwrap().to_owned()))
            .collect();
        if columns != wanted_columns {
            let differing: Vec<_> = columns.iter().zip(&wanted_columns).filter(|(a, b)| a != b).collect();
            return Err(format!("columns differ (ours, Flink's): {differing:?}"));
        }
        let (ours, flinks) = (normal_rows(&rows, &schema), normal_rows(&wanted, &schema));
        if ours != flinks {
            let difference = ours.iter().zip(&flinks).find(|(a, b)| a != b);
            return Err(format!(
                "at parallelism {parallelism} {} rows, Flink has {}; first difference (ours, Flink's): {difference:?}",
                ours.len(),
                flinks.len()
            ));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn supported_cases_give_flinks_answers_and_others_are_refused_at_plan_time() {
    let mut wrong = Vec::new();
    let mut answered = 0;
    for case in cases() {
        match NOT_SUPPORTED.iter().find(|(name, _)| *name == case) {
            None => match check(&case).await {
                Ok(()) => answered += 1,
                Err(why) => wrong.push(format!("{case}: {why}")),
            },
            Some((_, why)) => match holdfast::sql::plan_query(&script(&case)) {
                Err(error) if error.place.is_some() => {}
                Err(error) => wrong.push(format!("{case}: refused ({why}) without a place: {error}")),
                Ok(_) => wrong.push(format!("{case}: planned although {why} is listed as not supported")),
            },
        }
    }
    assert!(wrong.is_empty(), "{answered} answered, {} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
