//! The file source: listing, order, positions, damaged input.

use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;

use super::*;
use crate::connector::options::spec;
use crate::id::{JobId, OperatorId};
use crate::types::{DataType, Field};

fn table(path: &Path, more: &[(&str, &str)], metadata: &[&str]) -> SourceSpec {
    let path = path.to_str().unwrap();
    let mut options = vec![("path", path), ("format", "json")];
    options.extend(more);
    let metadata_type = |key: &str| match key {
        "file.size" => TypeKind::BigInt.into(),
        "file.modification-time" => TypeKind::TimestampLtz(3, TimestampKind::Regular).into(),
        _ => DataType::string(),
    };
    SourceSpec {
        connector: spec("filesystem", &options),
        physical: Schema::new(vec![Field::new("n", TypeKind::BigInt.into())]),
        metadata: metadata.iter().map(|k| ((*k).to_owned(), Field::new(*k, metadata_type(k)))).collect(),
        projection: None,
        watermark: None,
    }
}

fn context(subtask: usize, parallelism: usize) -> TaskContext {
    let (job_id, operator_id) = (JobId::from_text("j"), OperatorId::from_text("o"));
    TaskContext { job_id, operator_id, attempt: 1, subtask, parallelism }
}

fn numbers(batch: &RecordBatch) -> Vec<i64> {
    batch.column(0).as_primitive::<Int64Type>().values().to_vec()
}

/// Reads to the end (or until nothing more is there now).
fn drain(reader: &mut dyn SourceReader) -> Vec<i64> {
    let mut all = Vec::new();
    while let Poll::Batch { batch, .. } = reader.poll(None).unwrap() {
        all.extend(numbers(&batch));
    }
    all
}

fn write(path: &Path, numbers: std::ops::Range<i64>) {
    let lines: String = numbers.map(|n| format!("{{\"n\":{n}}}\n\n")).collect();
    std::fs::write(path, lines.trim_end()).unwrap();
}

fn open(spec: &SourceSpec, context: &TaskContext, splits: Vec<SplitState>) -> Box<dyn SourceReader> {
    FilesystemSource.reader(spec, context, splits).unwrap()
}

#[test]
fn a_reader_restored_at_any_batch_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("a"), 0..20_000);
    write(&dir.path().join("b"), 20_000..20_001);
    std::fs::write(dir.path().join("c"), "\n\n").unwrap();
    write(&dir.path().join("d"), 20_001..30_000);
    let table = table(dir.path(), &[], &[]);
    FilesystemSource.validate(&table).unwrap();
    let all = FilesystemSource.discover(&table, 1).unwrap();
    assert_eq!(all.len(), 4);
    let mut states = vec![(all.clone(), 0)];
    let mut reader = open(&table, &context(0, 1), all);
    let mut rows = Vec::new();
    while let Poll::Batch { batch, .. } = reader.poll(None).unwrap() {
        rows.extend(numbers(&batch));
        states.push((reader.splits(), rows.len()));
    }
    assert_eq!(rows, (0..30_000).collect::<Vec<_>>());
    assert!(states.len() > 5);
    for (state, read) in states {
        // Through JSON, as a checkpoint keeps it.
        let state = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
        assert_eq!(drain(open(&table, &context(0, 1), state).as_mut()), rows[read..]);
    }
}

#[test]
fn subtasks_share_the_files_also_after_a_rescale() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..5 {
        write(&dir.path().join(i.to_string()), i * 10_000..(i + 1) * 10_000);
    }
    let table = table(dir.path(), &[], &[]);
    let all = FilesystemSource.discover(&table, 2).unwrap();
    let mut rows = Vec::new();
    let mut states = Vec::new();
    for subtask in 0..2 {
        let mut reader = open(&table, &context(subtask, 2), all.clone());
        let Poll::Batch { batch, .. } = reader.poll(None).unwrap() else { panic!("rows") };
        rows.extend(numbers(&batch));
        states.extend(reader.splits());
    }
    for subtask in 0..3 {
        rows.extend(drain(open(&table, &context(subtask, 3), states.clone()).as_mut()));
    }
    rows.sort_unstable();
    assert_eq!(rows, (0..50_000).collect::<Vec<_>>());
}

#[test]
fn the_preferred_split_is_read() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("a"), 0..20_000);
    write(&dir.path().join("b"), 20_000..40_000);
    let table = table(dir.path(), &[], &[]);
    let mut reader = open(&table, &context(0, 1), FilesystemSource.discover(&table, 1).unwrap());
    let mut from = Vec::new();
    for preferred in [Some(1), Some(0), Some(1), None, Some(9)] {
        let Poll::Batch { split, batch } = reader.poll(preferred).unwrap() else { panic!("rows") };
        from.push((split, numbers(&batch)[0]));
    }
    assert_eq!(from, [(1, 20_000), (0, 0), (1, 28_192), (0, 8192), (0, 16_384)]);
}

#[test]
fn a_monitored_folder_gives_new_files_to_one_subtask_each() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("a"), 0..10);
    let table = table(dir.path(), &[("source.monitor-interval", "0 ms")], &[]);
    let all = FilesystemSource.discover(&table, 2).unwrap();
    let mut readers: Vec<_> = (0..2).map(|s| open(&table, &context(s, 2), all.clone())).collect();
    let mut rows: Vec<i64> = readers.iter_mut().flat_map(|r| drain(r.as_mut())).collect();
    assert_eq!(rows.len(), 10);
    for i in 1..10 {
        write(&dir.path().join(format!("f{i}")), i * 10..(i + 1) * 10);
    }
    std::fs::write(dir.path().join(".staged"), "x").unwrap();
    let counts: Vec<usize> = readers
        .iter_mut()
        .map(|r| {
            let more = drain(r.as_mut());
            rows.extend(&more);
            more.len()
        })
        .collect();
    assert!(counts.iter().all(|c| *c > 0), "{counts:?}");
    rows.sort_unstable();
    assert_eq!(rows, (0..100).collect::<Vec<_>>());
    // Restored, nothing is read again, however the files are dealt out.
    let known: Vec<_> = readers.iter().flat_map(|r| r.splits()).collect();
    assert!(known.iter().all(|s| s.finished));
    let again = (0..3).flat_map(|s| drain(open(&table, &context(s, 3), known.clone()).as_mut()));
    assert_eq!(again.count(), 0);
}

#[test]
fn metadata_columns_follow_the_physical_ones() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("a.json"), 0..2);
    let mut table = table(dir.path(), &[], &["file.name", "file.size", "file.path", "file.modification-time"]);
    FilesystemSource.validate(&table).unwrap();
    let mut reader = open(&table, &context(0, 1), FilesystemSource.discover(&table, 1).unwrap());
    let Poll::Batch { batch, .. } = reader.poll(None).unwrap() else { panic!("rows") };
    assert_eq!(batch.column(1).as_string::<i32>().value(1), "a.json");
    assert_eq!(batch.column(2).as_primitive::<Int64Type>().value(0), 16);
    assert!(batch.column(3).as_string::<i32>().value(0).ends_with("/a.json"));
    assert_eq!(batch.num_columns(), 5);
    table.metadata[0].1.data_type = TypeKind::Int.into();
    assert_eq!(FilesystemSource.validate(&table).unwrap_err().code, "invalid_metadata_type");
    table.metadata[0].0 = "file.nam".into();
    assert!(FilesystemSource.validate(&table).unwrap_err().message.contains("did you mean 'file.name'?"));
}

#[test]
fn a_bad_record_names_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let mut text: String = (0..10_000).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    text.push_str("\n{\"n\":\"x\"}\n{\"n\":1\n{\"n\":2}\n");
    std::fs::write(&path, text).unwrap();
    let strict = table(&path, &[], &[]);
    let splits = FilesystemSource.discover(&strict, 1).unwrap();
    let mut reader = open(&strict, &context(0, 1), splits.clone());
    reader.poll(None).unwrap();
    let Err(e) = reader.poll(None) else { panic!("an error") };
    assert_eq!((e.code.as_str(), e.message.as_str()), ("bad_record", "member 'n': expected BIGINT, found \"x\""));
    assert_eq!(e.place, Some(crate::error::Place::Input { file: path.to_str().unwrap().into(), line: 10_002 }));
    let lenient = table(&path, &[("json.ignore-parse-errors", "true")], &[]);
    let mut reader = open(&lenient, &context(0, 1), splits);
    assert_eq!(drain(reader.as_mut()).len(), 10_002);
    assert_eq!(reader.counters().skipped_records, 1);
    assert!(reader.counters().bytes > 100_000);
}

#[test]
fn a_changed_input_is_refused_after_a_restore() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    write(&path, 0..20_000);
    let table = table(dir.path(), &[], &[]);
    let mut reader = open(&table, &context(0, 1), FilesystemSource.discover(&table, 1).unwrap());
    reader.poll(None).unwrap();
    let state = reader.splits();
    let code = |state: &[SplitState]| {
        let mut reader = open(&table, &context(0, 1), state.to_vec());
        reader.poll(None).err().map(|e| e.code)
    };
    std::fs::write(&path, "{}").unwrap();
    assert_eq!(code(&state).as_deref(), Some("input_shrank"));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(code(&state).as_deref(), Some("input_vanished"));
    let broken = SplitState { position: serde_json::json!({"v": 2}), ..state[0].clone() };
    assert!(FilesystemSource.reader(&table, &context(0, 1), vec![broken]).is_err());
}

#[test]
fn options_are_checked() {
    let dir = Path::new("/tmp");
    for (options, code) in [
        (vec![("format", "xml")], "unknown_format"),
        (vec![("json.ignore-parse-error", "true")], "unknown_option"),
        (vec![("source.monitor-interval", "soon")], "invalid_option"),
        (vec![("source.path.regex-pattern", "(")], "invalid_option"),
        (vec![("path", "s3://x/y")], "invalid_option"),
        (vec![("csv.field-delimiter", ";")], "unknown_option"),
    ] {
        assert_eq!(FilesystemSource.validate(&table(dir, &options, &[])).unwrap_err().code, code, "{options:?}");
    }
}

#[test]
fn an_overlong_record_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    std::fs::write(&path, format!("{{\"n\":1}}\n\"{}", "x".repeat(MAX_RECORD_BYTES + 10))).unwrap();
    let table = table(&path, &[], &[]);
    let mut reader = open(&table, &context(0, 1), FilesystemSource.discover(&table, 1).unwrap());
    let mut poll = || loop {
        if let Err(e) = reader.poll(None) {
            return e;
        }
    };
    let e = poll();
    assert!(e.message.contains("16 MiB") || e.message.contains("not valid JSON"), "{e}");
    assert!(matches!(e.place, Some(crate::error::Place::Input { line: 2, .. })));
}
