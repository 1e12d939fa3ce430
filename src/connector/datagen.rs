//! The `datagen` source: random or counted rows, for trying things out.
//!
//! Every value is a function of the table's name, the column, and the row's number, so that a restored reader makes the
//! same rows again; timestamps are relative to the time at which the job was first started (kept in the split).
//! Row number n belongs to split n % splits. Source: Flink's "DataGen" page.

use super::format::column::{Column, Data};
use super::options::{Options, invalid};
use super::throttle::{Allowance, Throttle};
use super::{MAX_BATCH_ROWS, Poll, ReaderCounters, SourceConnector, SourceReader, SplitState, TaskContext};
use crate::clock::now_ms;
use crate::error::{Error, Result};
use crate::graph::SourceSpec;
use crate::types::{Field, Schema, TypeKind};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use xxhash_rust::xxh3::xxh3_64;

const OPTIONS: &[&str] = &[
    "rows-per-second",
    "number-of-rows",
    "fields.#.kind",
    "fields.#.min",
    "fields.#.max",
    "fields.#.max-past",
    "fields.#.length",
    "fields.#.var-len",
    "fields.#.start",
    "fields.#.end",
    "fields.#.null-rate",
];
/// Flink's default.
const DEFAULT_ROWS_PER_SECOND: f64 = 10_000.0;
/// Flink's default length of texts and bytes.
const DEFAULT_LENGTH: u32 = 100;
/// Longest text: a batch of such rows stays below 2 GiB.
const MAX_LENGTH: u32 = 100_000;
const DAY_MS: i64 = 86_400_000;

/// The connector.
pub struct Datagen;

impl SourceConnector for Datagen {
    fn validate(&self, spec: &SourceSpec) -> Result<()> {
        let options = Options::new(&spec.connector);
        options.refuse_unknown(OPTIONS)?;
        if let Some((key, _)) = spec.metadata.first() {
            return Err(Error::invalid("unknown_metadata", format!("datagen has no metadata '{key}'")));
        }
        options.number_from("rows-per-second", 1u64)?;
        options.number::<u64>("number-of-rows")?;
        fields(spec).map(|_| ())
    }

    fn discover(&self, spec: &SourceSpec, parallelism: usize) -> Result<Vec<SplitState>> {
        let _ = spec;
        let start_ms = now_ms();
        let split = |i: usize| {
            let position = serde_json::json!({"v": 1, "next": i, "step": parallelism, "start_ms": start_ms});
            SplitState { id: format!("{i}-of-{parallelism}"), finished: false, started: false, position }
        };
        Ok((0..parallelism).map(split).collect())
    }

    fn reader(&self, spec: &SourceSpec, context: &TaskContext, all: Vec<SplitState>) -> Result<Box<dyn SourceReader>> {
        let options = Options::new(&spec.connector);
        let fields = fields(spec)?;
        let sequence_end = fields.iter().filter_map(Generator::rows).min();
        let given = options.number::<u64>("number-of-rows")?;
        let rate = options.number::<f64>("rows-per-second")?.unwrap_or(DEFAULT_ROWS_PER_SECOND);
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let rate = rate / context.parallelism.max(1) as f64;
        let own = all.into_iter().enumerate().filter(|(i, _)| i % context.parallelism == context.subtask);
        let splits = own.map(|(_, s)| Split::restore(s)).collect::<Result<Vec<_>>>()?;
        Ok(Box::new(Reader {
            splits,
            rows: given.into_iter().chain(sequence_end).min(),
            columns: spec.physical.fields.iter().map(|f| Column::new(&f.data_type, MAX_BATCH_ROWS)).collect(),
            schema: spec.physical.clone(),
            fields,
            throttle: Throttle::new(Some(rate)),
        }))
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Position {
    v: u32,
    next: u64,
    step: u64,
    start_ms: i64,
}

struct Split {
    id: String,
    started: bool,
    finished: bool,
    position: Position,
}

impl Split {
    fn restore(state: SplitState) -> Result<Self> {
        let position: Position =
            serde_json::from_value(state.position).ok().filter(|p: &Position| p.v == 1 && p.step > 0).ok_or_else(
                || Error::corrupt("invalid_position", format!("the position of split {} is unreadable", state.id)),
            )?;
        Ok(Split { id: state.id, started: state.started, finished: state.finished, position })
    }
}

/// How a column's values are made.
struct Generator {
    /// Distinguishes the columns' random numbers.
    seed: u64,
    null_rate: f64,
    kind: Kind,
}

enum Kind {
    Boolean,
    /// Any type held as an integer: uniform in `least..=most`.
    Integer {
        least: i64,
        most: i64,
    },
    Decimal {
        least: i128,
        most: i128,
    },
    Double {
        least: f64,
        most: f64,
    },
    /// Hexadecimal digits, or bytes.
    Text {
        length: u32,
        variable: bool,
    },
    /// Up to so many ms before the start, in units of which this many are a ms (or 1 in ns-wise precision).
    Past {
        max_past_ms: i64,
        per_ms: i64,
    },
    Sequence {
        start: i64,
        end: i64,
    },
}

fn mix(seed: u64, n: u64) -> u64 {
    // splitmix64 of a combined counter.
    let mut z = seed.wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Uniform in [0, 1).
fn unit(random: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits")]
    let top = (random >> 11) as f64;
    top / 9_007_199_254_740_992.0
}

fn between(random: u64, least: i64, most: i64) -> i64 {
    let width = u128::from(most.abs_diff(least)) + 1;
    let offset = (u128::from(random) * width) >> 64;
    i64::try_from(i128::from(least) + offset.cast_signed()).unwrap_or(most)
}

impl Generator {
    fn new(table: &str, field: &Field, options: Options<'_>) -> Result<Self> {
        let option = |what: &str| format!("fields.{}.{what}", field.name);
        let null_rate = options.number::<f64>(&option("null-rate"))?.unwrap_or(0.0);
        if !(0.0..=1.0).contains(&null_rate) {
            return Err(invalid(&option("null-rate"), &null_rate.to_string(), "between 0 and 1"));
        }
        let seed = xxh3_64(format!("{table}\0{}", field.name).as_bytes());
        let sequence = options.one_of(&option("kind"), &["random", "sequence"])? == Some("sequence");
        let kind = if sequence { sequence_of(field, options)? } else { random_of(field, options)? };
        Ok(Generator { seed, null_rate, kind })
    }

    /// After so many rows a sequence ends.
    fn rows(&self) -> Option<u64> {
        match self.kind {
            Kind::Sequence { start, end } if start <= end => Some(end.abs_diff(start).saturating_add(1)),
            Kind::Sequence { .. } => Some(0),
            _ => None,
        }
    }

    fn append(&self, column: &mut Column, row: u64, start_ms: i64) {
        let random = mix(self.seed, row);
        if self.null_rate > 0.0 && unit(mix(!self.seed, row)) < self.null_rate {
            return column.push_null();
        }
        let (kind, data) = column.values();
        match (&self.kind, data) {
            (Kind::Boolean, Data::Boolean(v)) => v.append(random >> 63 == 1),
            (Kind::Integer { least, most }, data) => push_integer(data, between(random, *least, *most)),
            (Kind::Sequence { start, .. }, Data::Decimal(v)) => v.push(i128::from(*start) + i128::from(row)),
            (Kind::Sequence { start, .. }, Data::Bytes(v)) => {
                v.push(start.saturating_add_unsigned(row).to_string().as_bytes());
            }
            (Kind::Sequence { start, .. }, data) => push_integer(data, start.saturating_add_unsigned(row)),
            (Kind::Decimal { least, most }, Data::Decimal(v)) => {
                let wide = u128::from(random) << 64 | u128::from(mix(random, row));
                let width = most.abs_diff(*least) + 1;
                v.push(least.wrapping_add_unsigned(wide % width));
            }
            (Kind::Double { least, most }, Data::Float64(v)) => v.push(in_range(random, *least, *most)),
            #[expect(clippy::cast_possible_truncation, reason = "a FLOAT is the nearest single-precision number")]
            (Kind::Double { least, most }, Data::Float32(v)) => v.push(in_range(random, *least, *most) as f32),
            (Kind::Text { length, variable }, Data::Bytes(v)) => {
                let length = if *variable { between(random, 1, i64::from(*length)) } else { i64::from(*length) };
                let is_text = kind.is_string();
                let mut word = random;
                for i in 0..length.unsigned_abs() {
                    if i % 16 == 0 {
                        word = mix(random, i);
                    }
                    let byte = word.to_le_bytes()[0];
                    word >>= 4;
                    v.data.push(if is_text { b"0123456789abcdef"[usize::from(byte & 15)] } else { byte });
                }
                v.end();
            }
            (Kind::Past { max_past_ms, per_ms }, Data::Int64(v)) => {
                v.push((start_ms - between(random, 0, *max_past_ms)) * per_ms);
            }
            _ => return column.push_null(),
        }
        column.end_value();
    }
}

/// A number between the bounds; halved on the way, because their distance may exceed the type.
fn in_range(random: u64, least: f64, most: f64) -> f64 {
    let u = unit(random);
    (least * (1.0 - u)) + most * u
}

fn push_integer(data: &mut Data, value: i64) {
    match data {
        Data::Int8(v) => v.push(i8::try_from(value).unwrap_or(i8::MAX)),
        Data::Int16(v) => v.push(i16::try_from(value).unwrap_or(i16::MAX)),
        Data::Int32(v) => v.push(i32::try_from(value).unwrap_or(i32::MAX)),
        Data::Int64(v) => v.push(value),
        #[expect(clippy::cast_precision_loss, reason = "a sequence in a FLOAT column")]
        Data::Float32(v) => v.push(value as f32),
        #[expect(clippy::cast_precision_loss, reason = "a sequence in a DOUBLE column")]
        Data::Float64(v) => v.push(value as f64),
        _ => {}
    }
}

/// The range of an integer type.
fn integer_range(kind: &TypeKind) -> Option<(i64, i64)> {
    match kind {
        TypeKind::TinyInt => Some((i8::MIN.into(), i8::MAX.into())),
        TypeKind::SmallInt => Some((i16::MIN.into(), i16::MAX.into())),
        TypeKind::Int => Some((i32::MIN.into(), i32::MAX.into())),
        TypeKind::BigInt => Some((i64::MIN, i64::MAX)),
        TypeKind::IntervalYearMonth => Some((0, 120_000)),
        TypeKind::IntervalDayTime => Some((0, 10 * 365 * DAY_MS)),
        _ => None,
    }
}

fn sequence_of(field: &Field, options: Options<'_>) -> Result<Kind> {
    let name = |what: &str| format!("fields.{}.{what}", field.name);
    let kind = &field.data_type.kind;
    if !(kind.is_numeric() || kind.is_string()) {
        return Err(invalid(&name("kind"), "sequence", &format!("random for a column of type {kind}")));
    }
    let number = |what: &str| -> Result<i64> {
        let name = name(what);
        options.required(&name)?;
        Ok(options.number(&name)?.unwrap_or(0))
    };
    let (start, end) = (number("start")?, number("end")?);
    if let Some((least, most)) = integer_range(kind)
        && (start < least || end > most)
    {
        return Err(invalid(&name("end"), &end.to_string(), &format!("within the range of {kind}")));
    }
    if start > end {
        return Err(invalid(&name("end"), &end.to_string(), &format!("at least the start {start}")));
    }
    let kind_is_decimal = matches!(kind, TypeKind::Decimal { .. });
    if kind_is_decimal {
        return Err(invalid(&name("kind"), "sequence", "random for a DECIMAL column; use BIGINT and CAST"));
    }
    Ok(Kind::Sequence { start, end })
}

fn random_of(field: &Field, options: Options<'_>) -> Result<Kind> {
    let name = |what: &str| format!("fields.{}.{what}", field.name);
    let kind = &field.data_type.kind;
    let bounds = |least: i64, most: i64| -> Result<Kind> {
        let low = options.number_from(&name("min"), least)?.unwrap_or(least);
        let high = options.number_from(&name("max"), low)?.unwrap_or(most);
        if high > most {
            return Err(invalid(&name("max"), &high.to_string(), &format!("at most {most}")));
        }
        Ok(Kind::Integer { least: low, most: high })
    };
    if let Some((least, most)) = integer_range(kind) {
        return bounds(least, most);
    }
    let doubles = |limit: f64| -> Result<Kind> {
        let least = options.number(&name("min"))?.unwrap_or(-limit);
        let most = options.number_from(&name("max"), least)?.unwrap_or(limit);
        Ok(Kind::Double { least, most })
    };
    let text = |length: Option<u32>| -> Result<Kind> {
        let given = options.number_from::<u32>(&name("length"), 0)?;
        let length = given.or(length).unwrap_or(DEFAULT_LENGTH);
        if length > MAX_LENGTH {
            return Err(invalid(&name("length"), &length.to_string(), &format!("at most {MAX_LENGTH}")));
        }
        Ok(Kind::Text { length, variable: options.boolean(&name("var-len"), false)? && length > 0 })
    };
    match kind {
        TypeKind::Boolean => Ok(Kind::Boolean),
        TypeKind::Float => doubles(f32::MAX.into()),
        TypeKind::Double => doubles(f64::MAX),
        TypeKind::Decimal { precision, scale } => {
            let most = 10i128.pow(u32::from((*precision).min(38))) - 1;
            let bound = |what: &str, otherwise: i128| {
                let Some(text) = options.get(&name(what)) else { return Ok(otherwise) };
                super::format::number::parse_decimal(text.trim().as_bytes(), *precision, *scale)
                    .map_err(|_| invalid(&name(what), text, &format!("a {kind}")))
            };
            let (least, most) = (bound("min", -most)?, bound("max", most)?);
            if least > most {
                return Err(invalid(
                    &name("max"),
                    options.get(&name("max")).unwrap_or_default(),
                    "at least the minimum",
                ));
            }
            Ok(Kind::Decimal { least, most })
        }
        TypeKind::Char(n) | TypeKind::Binary(n) => text(Some(*n)),
        TypeKind::VarChar(n) | TypeKind::VarBinary(n) => text(Some(DEFAULT_LENGTH.min(*n))),
        TypeKind::Date => Ok(Kind::Integer { least: now_ms() / DAY_MS, most: now_ms() / DAY_MS }),
        TypeKind::Time(_) => Ok(Kind::Integer { least: 0, most: DAY_MS - 1 }),
        TypeKind::Timestamp(p, _) | TypeKind::TimestampLtz(p, _) => {
            let past = options.duration_ms(&name("max-past"))?.unwrap_or(0);
            let max_past_ms = i64::try_from(past).unwrap_or(i64::MAX / 2);
            Ok(Kind::Past { max_past_ms, per_ms: super::format::temporal::units_per_second(*p) / 1000 })
        }
        other => {
            let column = &field.name;
            Err(Error::invalid(
                "unsupported_type",
                format!("column '{column}': datagen cannot make values of type {other}"),
            ))
        }
    }
}

fn fields(spec: &SourceSpec) -> Result<Vec<Generator>> {
    let options = Options::new(&spec.connector);
    spec.physical.fields.iter().map(|f| Generator::new(&spec.connector.table, f, options)).collect()
}

struct Reader {
    splits: Vec<Split>,
    /// Rows of all splits together; none: without end.
    rows: Option<u64>,
    schema: Schema,
    columns: Vec<Column>,
    fields: Vec<Generator>,
    throttle: Throttle,
}

impl Reader {
    fn make(&mut self, index: usize, most: usize) -> Result<Option<RecordBatch>> {
        let Some(split) = self.splits.get_mut(index) else { return Ok(None) };
        let Position { next, step, start_ms, .. } = split.position;
        let left = self.rows.map_or(u64::MAX, |all| all.saturating_sub(next).div_ceil(step));
        let rows = usize::try_from(left).unwrap_or(usize::MAX).min(most);
        let last = next + step * u64::try_from(rows).unwrap_or(0);
        for (column, generator) in self.columns.iter_mut().zip(&self.fields) {
            let mut row = next;
            while row < last {
                generator.append(column, row, start_ms);
                row += step;
            }
        }
        split.started = true;
        split.position.next = last;
        split.finished = self.rows.is_some_and(|all| last >= all);
        if rows == 0 {
            return Ok(None);
        }
        let arrays = self.columns.iter_mut().map(Column::finish).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(Some(RecordBatch::try_new_with_options(self.schema.to_arrow(), arrays, &options)?))
    }
}

impl SourceReader for Reader {
    fn poll(&mut self, preferred: Option<usize>) -> Result<Poll> {
        loop {
            let open = |i: &usize| self.splits.get(*i).is_some_and(|s| !s.finished);
            let lowest = || (0..self.splits.len()).filter(open).min_by_key(|i| self.splits[*i].position.next);
            let Some(split) = preferred.filter(open).or_else(lowest) else { return Ok(Poll::End) };
            let most = match self.throttle.ask(MAX_BATCH_ROWS, now_ms()) {
                Allowance::Rows(rows) => rows,
                Allowance::Wait(ms) => return Ok(Poll::Pending { retry_after_ms: ms }),
            };
            if let Some(batch) = self.make(split, most)? {
                self.throttle.used(batch.num_rows());
                return Ok(Poll::Batch { split, batch });
            }
        }
    }

    fn splits(&self) -> Vec<SplitState> {
        let state = |s: &Split| {
            let p = &s.position;
            let position = serde_json::json!({"v": 1, "next": p.next, "step": p.step, "start_ms": p.start_ms});
            SplitState { id: s.id.clone(), finished: s.finished, started: s.started, position }
        };
        self.splits.iter().map(state).collect()
    }

    fn counters(&self) -> ReaderCounters {
        ReaderCounters::default()
    }
}

#[cfg(test)]
#[path = "datagen_tests.rs"]
mod tests;
