//! Generated rows: values by kind, splits, rates, and reading on from a position.

use super::*;
use crate::connector::format::json::encode_rows;
use crate::connector::options::spec;
use crate::id::{JobId, OperatorId};
use crate::types::{DataType, TimestampKind};

fn table(options: &[(&str, &str)], fields: &[(&str, TypeKind)]) -> SourceSpec {
    SourceSpec {
        connector: spec("datagen", options),
        physical: Schema::new(fields.iter().map(|(n, k)| Field::new(*n, k.clone().into())).collect()),
        metadata: Vec::new(),
        projection: None,
        watermark: None,
    }
}

fn context(subtask: usize, parallelism: usize) -> TaskContext {
    let (job_id, operator_id) = (JobId::from_text("j"), OperatorId::from_text("o"));
    TaskContext { job_id, operator_id, attempt: 1, subtask, parallelism }
}

/// Rows of a reader, without its limit of speed.
fn make(table: &SourceSpec, splits: Vec<SplitState>, most: usize) -> (Vec<serde_json::Value>, Vec<SplitState>) {
    Datagen.validate(table).unwrap();
    let fields = fields(table).unwrap();
    let rows = Options::new(&table.connector).number("number-of-rows").unwrap();
    let rows = fields.iter().filter_map(Generator::rows).chain(rows).min();
    let columns = table.physical.fields.iter().map(|f| Column::new(&f.data_type, 8)).collect();
    let splits = splits.into_iter().map(|s| Split::restore(s).unwrap()).collect();
    let schema = table.physical.clone();
    let mut reader = Reader { splits, rows, schema, columns, fields, throttle: Throttle::new(None) };
    let mut made = Vec::new();
    while made.len() < most {
        match reader.poll(None).unwrap() {
            Poll::Batch { batch, .. } => {
                made.extend(encode_rows(&batch, &table.physical).unwrap().into_iter().map(serde_json::Value::from));
            }
            _ => break,
        }
    }
    (made, SourceReader::splits(&reader))
}

#[test]
fn every_scalar_type_stays_in_its_bounds() {
    let kinds = [
        ("b", TypeKind::Boolean),
        ("i", TypeKind::Int),
        ("l", TypeKind::BigInt),
        ("f", TypeKind::Float),
        ("d", TypeKind::Double),
        ("c", TypeKind::Decimal { precision: 6, scale: 2 }),
        ("s", TypeKind::VarChar(8)),
        ("h", TypeKind::Char(3)),
        ("y", TypeKind::VarBinary(8)),
        ("t", TypeKind::Timestamp(3, TimestampKind::Regular)),
        ("z", TypeKind::TimestampLtz(6, TimestampKind::Regular)),
        ("a", TypeKind::Date),
        ("m", TypeKind::Time(0)),
        ("n", TypeKind::TinyInt),
    ];
    let options = [
        ("number-of-rows", "1000"),
        ("fields.i.min", "5"),
        ("fields.i.max", "7"),
        ("fields.d.min", "0"),
        ("fields.d.max", "1"),
        ("fields.c.min", "-1.50"),
        ("fields.c.max", "1.5"),
        ("fields.s.length", "8"),
        ("fields.s.var-len", "true"),
        ("fields.t.max-past", "10 s"),
        ("fields.n.null-rate", "0.5"),
    ];
    let table = table(&options, &kinds);
    let splits = Datagen.discover(&table, 3).unwrap();
    let (rows, end) = make(&table, splits.clone(), usize::MAX);
    assert_eq!(rows.len(), 1000);
    assert!(end.iter().all(|s| s.finished));
    let mut seen = std::collections::BTreeSet::new();
    for row in &rows {
        seen.insert(row[1].as_i64().unwrap());
        assert!((0.0..=1.0).contains(&row[4].as_f64().unwrap()));
        assert!(row[5].as_str().unwrap().parse::<f64>().unwrap().abs() <= 1.5);
        assert!((1..=8).contains(&row[6].as_str().unwrap().len()));
        assert_eq!(row[7].as_str().unwrap().len(), 3);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [5, 6, 7]);
    let nulls = rows.iter().filter(|r| r[13].is_null()).count();
    assert!((400..600).contains(&nulls), "{nulls}");
    assert_eq!(make(&table, splits, usize::MAX).0, rows);
}

#[test]
fn a_sequence_ends_and_is_restored() {
    let table = table(
        &[("fields.n.kind", "sequence"), ("fields.n.start", "1"), ("fields.n.end", "20000")],
        &[("n", TypeKind::BigInt), ("s", DataType::string().kind)],
    );
    let splits = Datagen.discover(&table, 2).unwrap();
    let (all, _) = make(&table, splits.clone(), usize::MAX);
    let mut numbers: Vec<_> = all.iter().map(|r| r[0].as_i64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=20_000).collect::<Vec<_>>());
    let (mut some, state) = make(&table, splits, 1);
    let (rest, _) = make(&table, state, usize::MAX);
    some.extend(rest);
    assert_eq!(some.len(), 20_000);
    let sorted = |mut rows: Vec<serde_json::Value>| {
        rows.sort_by_key(|r| r[0].as_i64());
        rows
    };
    assert_eq!(sorted(some), sorted(all));
}

#[test]
fn the_speed_is_limited_without_sleeping() {
    let table = table(&[("rows-per-second", "1")], &[("n", TypeKind::Int)]);
    let splits = Datagen.discover(&table, 1).unwrap();
    let mut reader = Datagen.reader(&table, &context(0, 1), splits).unwrap();
    assert!(matches!(reader.poll(None).unwrap(), Poll::Pending { retry_after_ms: 1..=100 }));
}

#[test]
fn wrong_options_are_refused() {
    for (options, code) in [
        (vec![("fields.n.kind", "sequence")], "missing_option"),
        (vec![("fields.n.min", "5"), ("fields.n.max", "4")], "invalid_option"),
        (vec![("fields.n.null-rate", "2")], "invalid_option"),
        (vec![("rows-per-second", "0")], "invalid_option"),
        (vec![("field.n.min", "1")], "unknown_option"),
    ] {
        let table = table(&options, &[("n", TypeKind::Int)]);
        assert_eq!(Datagen.validate(&table).unwrap_err().code, code, "{options:?}");
    }
    let nested = table(&[], &[("r", TypeKind::Row(Vec::new()))]);
    assert_eq!(Datagen.validate(&nested).unwrap_err().code, "unsupported_type");
}
