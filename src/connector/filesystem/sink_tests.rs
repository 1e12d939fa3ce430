//! The file sink: rolling, staging, publication and what crashes leave.

use std::sync::Arc;

use arrow::array::Int64Array;

use super::*;
use crate::connector::options::spec;
use crate::id::{JobId, OperatorId};
use crate::types::{Field, TypeKind};

fn schema() -> Schema {
    Schema::new(vec![Field::new("n", TypeKind::BigInt.into())])
}

fn table(folder: &Path, more: &[(&str, &str)]) -> SinkSpec {
    let mut options = vec![("path", folder.to_str().unwrap()), ("format", "json")];
    options.extend(more);
    SinkSpec { connector: spec("filesystem", &options), partitioned_by: Vec::new() }
}

fn writer(folder: &Path, attempt: u64, more: &[(&str, &str)]) -> Box<dyn SinkWriter> {
    let (job_id, operator_id) = (JobId::from_text("j"), OperatorId::from_text("o"));
    let context = TaskContext { job_id, operator_id, attempt, subtask: 0, parallelism: 1 };
    let table = table(folder, more);
    FilesystemSink.validate(&table, &schema()).unwrap();
    FilesystemSink.writer(&table, &schema(), &context).unwrap()
}

fn rows(values: Vec<i64>) -> RecordBatch {
    RecordBatch::try_new(schema().to_arrow(), vec![Arc::new(Int64Array::from(values))]).unwrap()
}

/// Visible files' contents, and the number of hidden files.
fn content(folder: &Path) -> (String, usize) {
    let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    let hidden = |p: &PathBuf| p.file_name().unwrap().to_str().unwrap().starts_with('.');
    let visible = names.iter().filter(|p| !hidden(p)).map(|p| std::fs::read_to_string(p).unwrap()).collect();
    (visible, names.iter().filter(|p| hidden(p)).count())
}

#[test]
fn nothing_is_visible_before_the_commit_and_all_of_it_after() {
    let dir = tempfile::tempdir().unwrap();
    let mut w = writer(dir.path(), 1, &[]);
    w.write(&rows(vec![1, 2])).unwrap();
    w.write(&rows((0..100_000).collect())).unwrap();
    assert_eq!(content(dir.path()).0, "");
    let first = w.prepare_commit(1).unwrap();
    assert_eq!((first.len(), content(dir.path())), (1, (String::new(), 1)));
    // Rows after the barrier belong to the next checkpoint.
    w.write(&rows(vec![3])).unwrap();
    w.commit(&first).unwrap();
    let (text, _) = content(dir.path());
    assert_eq!(text.lines().count(), 100_002);
    assert!(text.starts_with("{\"n\":1}\n{\"n\":2}\n{\"n\":0}\n") && text.ends_with("{\"n\":99999}\n"));
    assert_eq!(first[0]["bytes"].as_u64(), Some(text.len() as u64));
    w.commit(&first).unwrap();
    assert_eq!(content(dir.path()).0, text);
    let second = w.prepare_commit(2).unwrap();
    w.commit(&second).unwrap();
    assert_eq!(content(dir.path()), (format!("{text}{{\"n\":3}}\n"), 0));
    assert!(w.prepare_commit(3).unwrap().is_empty());
}

#[test]
fn a_crash_between_prepare_and_commit_loses_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut dead = writer(dir.path(), 1, &[]);
    dead.write(&rows(vec![1])).unwrap();
    let kept = dead.prepare_commit(1).unwrap();
    dead.write(&rows(vec![2])).unwrap();
    // This checkpoint never completes.
    dead.prepare_commit(2).unwrap();
    dead.write(&rows(vec![3])).unwrap();
    drop(dead);
    let mut w = writer(dir.path(), 2, &[]);
    w.commit(&kept).unwrap();
    w.discard_stale().unwrap();
    assert_eq!(content(dir.path()), ("{\"n\":1}\n".into(), 0));
    w.write(&rows(vec![2, 3])).unwrap();
    let next = w.prepare_commit(2).unwrap();
    w.discard_stale().unwrap();
    w.commit(&next).unwrap();
    w.commit(&kept).unwrap();
    assert_eq!(content(dir.path()), ("{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n".into(), 0));
}

#[test]
fn a_published_file_that_was_moved_away_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut w = writer(dir.path(), 1, &[]);
    w.write(&rows(vec![1])).unwrap();
    let kept = w.prepare_commit(1).unwrap();
    w.commit(&kept).unwrap();
    let published = kept[0]["final"].as_str().unwrap();
    std::fs::remove_file(published).unwrap();
    w.commit(&kept).unwrap();
    assert_eq!(w.commit(&[serde_json::json!({"v": 9})]).unwrap_err().code, "invalid_committable");
}

#[test]
fn other_operators_staged_files_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let foreign =
        dir.path().join(format!(".holdfast-{}-{}-1-0-0.inprogress", JobId::from_text("j"), OperatorId::from_text("x")));
    std::fs::write(&foreign, "x").unwrap();
    writer(dir.path(), 2, &[]).discard_stale().unwrap();
    assert!(foreign.exists());
}

#[test]
fn files_roll_at_their_size() {
    let dir = tempfile::tempdir().unwrap();
    let mut w = writer(dir.path(), 1, &[("sink.rolling-policy.file-size", "100 kb")]);
    for _ in 0..3 {
        w.write(&rows((0..40_000).collect())).unwrap();
    }
    let kept = w.prepare_commit(1).unwrap();
    assert_eq!(kept.len(), 3);
    w.commit(&kept).unwrap();
    assert_eq!(content(dir.path()).0.lines().count(), 120_000);
}

#[test]
fn partitions_and_types_without_a_form_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut t = table(dir.path(), &[]);
    t.partitioned_by.push("n".into());
    assert_eq!(FilesystemSink.validate(&t, &schema()).unwrap_err().code, "unsupported_partitions");
    let nested = Schema::new(vec![Field::new("r", TypeKind::Row(Vec::new()).into())]);
    let csv = table(dir.path(), &[("format", "csv")]);
    assert_eq!(FilesystemSink.validate(&csv, &nested).unwrap_err().code, "unsupported_type");
}
