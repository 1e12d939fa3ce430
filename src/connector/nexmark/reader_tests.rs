//! The event generator: the same events for any split and after any restart.

use std::time::Instant;

use super::super::Nexmark;
use crate::connector::format::Encoder;
use crate::connector::format::json::{JsonEncoder, JsonOptions};
use crate::connector::format::scalar::TimestampFormat;
use crate::connector::options::spec;
use crate::connector::{Poll, SourceConnector, SourceReader, SplitState, TaskContext};
use crate::graph::SourceSpec;
use crate::id::{JobId, OperatorId};
use crate::types::{Field, Schema, TimestampKind, TypeKind};

fn members(members: &[(&str, super::Member)]) -> TypeKind {
    let kind = |m: &super::Member| match m {
        super::Member::Number(_) => TypeKind::BigInt,
        super::Member::Time | super::Member::Instant(_) => TypeKind::Timestamp(3, TimestampKind::Regular),
        super::Member::Text(_) | super::Member::Extra(_) => TypeKind::VarChar(crate::types::MAX_LENGTH),
    };
    TypeKind::Row(members.iter().map(|(n, m)| Field::new(*n, kind(m).into())).collect())
}

fn full() -> Schema {
    Schema::new(vec![
        Field::new("event_type", TypeKind::Int.into()),
        Field::new("person", members(super::PERSON).into()),
        Field::new("auction", members(super::AUCTION).into()),
        Field::new("bid", members(super::BID).into()),
    ])
}

fn pruned() -> Schema {
    let row = |m: &[(&str, super::Member)], kept: &[&str]| {
        let kept: Vec<_> = m.iter().filter(|(n, _)| kept.contains(n)).copied().collect();
        members(&kept)
    };
    Schema::new(vec![
        Field::new("event_type", TypeKind::Int.into()),
        Field::new("person", row(super::PERSON, &["dateTime"]).into()),
        Field::new("auction", row(super::AUCTION, &["dateTime", "expires", "category"]).into()),
        Field::new("bid", row(super::BID, &["auction", "bidder", "price", "dateTime"]).into()),
    ])
}

fn table(physical: Schema, options: &[(&str, &str)]) -> SourceSpec {
    let connector = spec("nexmark", options);
    SourceSpec { connector, physical, metadata: Vec::new(), projection: None, watermark: None }
}

fn context(subtask: usize, parallelism: usize) -> TaskContext {
    let (job_id, operator_id) = (JobId::from_text("j"), OperatorId::from_text("o"));
    TaskContext { job_id, operator_id, attempt: 1, subtask, parallelism }
}

fn lines(table: &SourceSpec, reader: &mut dyn SourceReader) -> Vec<String> {
    let options = JsonOptions { timestamp_format: TimestampFormat::Iso8601, ..JsonOptions::default() };
    let mut encoder = JsonEncoder::new(&table.physical, options);
    let mut out = Vec::new();
    while let Poll::Batch { batch, .. } = reader.poll(None).unwrap() {
        encoder.encode(&batch, &mut out).unwrap();
    }
    String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
}

fn all(table: &SourceSpec, splits: Vec<SplitState>) -> Vec<String> {
    Nexmark.validate(table).unwrap();
    lines(table, Nexmark.reader(table, &context(0, 1), splits).unwrap().as_mut())
}

/// Lines of the bench's `nexgen --events 200000`, by number. Its times always have three digits of fraction.
const GOLDEN: &str = include_str!("golden.jsonl");

#[test]
fn the_stream_is_that_of_the_bench() {
    let table = table(full(), &[("events.num", "200000")]);
    let lines = all(&table, Nexmark.discover(&table, 1).unwrap());
    assert_eq!(lines.len(), 200_000);
    for golden in GOLDEN.lines() {
        let (number, expected) = golden.split_once('\t').unwrap();
        let mut got: serde_json::Value = serde_json::from_str(&lines[number.parse::<usize>().unwrap()]).unwrap();
        for row in ["person", "auction", "bid"] {
            for time in ["dateTime", "expires"] {
                if let Some(serde_json::Value::String(text)) = got[row].get_mut(time) {
                    let fraction = text.split_once('.').map_or("", |(_, f)| f);
                    let base = text.split('.').next().unwrap();
                    *text = format!("{base}.{fraction:0<3}");
                }
            }
        }
        assert_eq!(got, serde_json::from_str::<serde_json::Value>(expected).unwrap(), "event {number}");
    }
}

#[test]
fn pruning_changes_no_value() {
    let (wide, narrow) = (table(full(), &[("events.num", "3000")]), table(pruned(), &[("events.num", "3000")]));
    let wide = all(&wide, Nexmark.discover(&wide, 1).unwrap());
    let narrow = all(&narrow, Nexmark.discover(&narrow, 1).unwrap());
    for (wide, narrow) in wide.iter().zip(&narrow) {
        let wide: serde_json::Value = serde_json::from_str(wide).unwrap();
        let narrow: serde_json::Value = serde_json::from_str(narrow).unwrap();
        for row in ["person", "auction", "bid"] {
            for (name, value) in narrow[row].as_object().into_iter().flatten() {
                assert_eq!(&wide[row][name], value);
            }
        }
    }
}

#[test]
fn splits_share_the_events_and_are_restored() {
    let table = table(pruned(), &[("events.num", "50001")]);
    let splits = Nexmark.discover(&table, 3).unwrap();
    let one = all(&table, Nexmark.discover(&table, 1).unwrap());
    let mut shared = all(&table, splits.clone());
    let mut reader = Nexmark.reader(&table, &context(0, 1), splits).unwrap();
    let mut restored = Vec::new();
    let mut encoder = JsonEncoder::new(
        &table.physical,
        JsonOptions { timestamp_format: TimestampFormat::Iso8601, ..JsonOptions::default() },
    );
    while let Poll::Batch { batch, .. } = reader.poll(None).unwrap() {
        encoder.encode(&batch, &mut restored).unwrap();
        reader = Nexmark.reader(&table, &context(0, 1), reader.splits()).unwrap();
    }
    let mut restored: Vec<_> = String::from_utf8(restored).unwrap().lines().map(str::to_owned).collect();
    let mut expected = one;
    for lines in [&mut expected, &mut shared, &mut restored] {
        lines.sort_unstable();
    }
    assert!(expected == shared && expected == restored);
}

#[test]
fn unknown_columns_and_wrong_types_are_refused() {
    let check = |name: &str, kind: TypeKind| {
        let table = table(Schema::new(vec![Field::new(name, kind.into())]), &[]);
        Nexmark.validate(&table).unwrap_err().code
    };
    assert_eq!(check("bids", TypeKind::Int), "unknown_column");
    assert_eq!(check("event_type", TypeKind::BigInt), "unsupported_type");
    assert_eq!(check("bid", TypeKind::Row(vec![Field::new("prize", TypeKind::BigInt.into())])), "unknown_column");
    assert_eq!(check("bid", TypeKind::Row(vec![Field::new("price", TypeKind::Int.into())])), "unsupported_type");
    for (option, value) in [("bid.proportion", "x"), ("base-time", "soon"), ("rows-per-second", "0"), ("seed", "-1")] {
        assert_eq!(Nexmark.validate(&table(pruned(), &[(option, value)])).unwrap_err().code, "invalid_option");
    }
}

#[test]
#[ignore = "a measurement"]
fn speed() {
    for (name, schema, events) in [("pruned", pruned(), 5_000_000u32), ("full", full(), 1_000_000)] {
        let table = table(schema, &[("events.num", &events.to_string())]);
        let mut reader = Nexmark.reader(&table, &context(0, 1), Nexmark.discover(&table, 1).unwrap()).unwrap();
        let begin = Instant::now();
        while let Poll::Batch { .. } = reader.poll(None).unwrap() {}
        println!("{name}: {:.2} M events/s", f64::from(events) / begin.elapsed().as_secs_f64() / 1e6);
    }
}
