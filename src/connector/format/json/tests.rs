//! The JSON format: tables of texts and values, and both ways round.

use std::time::Instant;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;

use super::*;
use crate::connector::format::{Decoder, Encoder};
use crate::types::{Field, Schema, TimestampKind};

const REGULAR: TimestampKind = TimestampKind::Regular;

fn options(ignore: bool) -> JsonOptions {
    JsonOptions { ignore_parse_errors: ignore, ..JsonOptions::default() }
}

fn schema(fields: Vec<(&str, TypeKind)>) -> Schema {
    Schema::new(fields.into_iter().map(|(n, k)| Field::new(n, k.into())).collect())
}

fn batch(schema: &Schema, options: JsonOptions, input: &str) -> Result<RecordBatch, String> {
    let mut decoder = JsonDecoder::new(schema, options, 16);
    let done = decoder.decode(input.as_bytes(), true, 1 << 20).map_err(|e| format!("{}: {}", e.line, e.reason))?;
    assert_eq!(done.bytes, input.len());
    let (columns, rows) = decoder.finish().unwrap();
    let batch = RecordBatch::try_new(schema.to_arrow(), columns).unwrap();
    assert_eq!(batch.num_rows(), rows);
    Ok(batch)
}

fn encoded(schema: &Schema, options: JsonOptions, batch: &RecordBatch) -> String {
    let mut out = Vec::new();
    JsonEncoder::new(schema, options).encode(batch, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Decodes `value` as `kind`, and writes it as the format does; an error gives its reason.
fn convert(kind: &TypeKind, value: &str, options: JsonOptions) -> String {
    let schema = schema(vec![("v", kind.clone())]);
    match batch(&schema, options, &format!("{{\"v\":{value}}}\n")) {
        Ok(batch) => {
            let line = encoded(&schema, options, &batch);
            line.trim_end().strip_prefix("{\"v\":").unwrap().strip_suffix('}').unwrap().to_owned()
        }
        Err(reason) => reason,
    }
}

fn text() -> TypeKind {
    TypeKind::VarChar(crate::types::MAX_LENGTH)
}

#[test]
fn values_convert_as_in_flink() {
    let decimal = TypeKind::Decimal { precision: 10, scale: 2 };
    let array = TypeKind::Array(Box::new(TypeKind::Int.into()));
    let map = TypeKind::Map(Box::new(text().into()), Box::new(TypeKind::Int.into()));
    let multiset = TypeKind::Multiset(Box::new(text().into()));
    let row = TypeKind::Row(vec![Field::new("a", TypeKind::Int.into()), Field::new("b", text().into())]);
    let cases: Vec<(TypeKind, &str, &str)> = vec![
        (TypeKind::Boolean, "true", "true"),
        (TypeKind::Boolean, "\"FALSE\"", "false"),
        (TypeKind::TinyInt, "-128", "-128"),
        (TypeKind::SmallInt, "32767", "32767"),
        (TypeKind::Int, "\" 7 \"", "7"),
        (TypeKind::Int, "1.0", "1"),
        (TypeKind::BigInt, "9223372036854775807", "9223372036854775807"),
        (TypeKind::BigInt, "-9223372036854775808", "-9223372036854775808"),
        (TypeKind::BigInt, "0", "0"),
        (TypeKind::Float, "0.1", "0.1"),
        (TypeKind::Double, "1e3", "1000.0"),
        (TypeKind::Double, "\"NaN\"", "\"NaN\""),
        (TypeKind::Double, "-0.00001", "-1.0E-5"),
        (decimal.clone(), "1.005", "1.01"),
        (decimal.clone(), "\"12345678.9\"", "12345678.90"),
        (text(), "\"a\\\"b\\\\\\u00e9\\ud83d\\ude00\\n\"", "\"a\\\"b\\\\é😀\\n\""),
        (text(), "12.50", "\"12.50\""),
        (text(), "true", "\"true\""),
        (text(), "{ \"a\" : [ 1, \"x y\" ] }", "\"{\\\"a\\\":[1,\\\"x y\\\"]}\""),
        (text(), "null", "null"),
        (TypeKind::VarBinary(100), "\"AQID\"", "\"AQID\""),
        (TypeKind::Date, "\"2026-03-01\"", "\"2026-03-01\""),
        (TypeKind::Time(0), "\"12:34:56\"", "\"12:34:56\""),
        (TypeKind::Timestamp(3, REGULAR), "\"2026-03-01 00:00:00.1239\"", "\"2026-03-01 00:00:00.123\""),
        (TypeKind::Timestamp(0, REGULAR), "\"2026-03-01 00:00:00.9\"", "\"2026-03-01 00:00:00\""),
        (TypeKind::Timestamp(9, REGULAR), "\"2026-03-01 00:00:00.000000001\"", "\"2026-03-01 00:00:00.000000001\""),
        (TypeKind::TimestampLtz(3, REGULAR), "\"2026-03-01 00:00:00Z\"", "\"2026-03-01 00:00:00Z\""),
        (array.clone(), "[1, null,3]", "[1,null,3]"),
        (array.clone(), "[]", "[]"),
        (map.clone(), "{\"a\":1, \"b\":null, \"a\":2}", "{\"a\":2,\"b\":null}"),
        (multiset, "{\"x\":2}", "{\"x\":2}"),
        (row.clone(), "{\"b\":\"x\",\"c\":[{}],\"a\":1}", "{\"a\":1,\"b\":\"x\"}"),
        (row.clone(), "{\"a\":1,\"a\":2}", "{\"a\":2,\"b\":null}"),
        (row.clone(), "{}", "{\"a\":null,\"b\":null}"),
        (TypeKind::IntervalDayTime, "5", "5"),
        // Refused.
        (TypeKind::TinyInt, "128", "0: member 'v': expected TINYINT, found 128"),
        (TypeKind::Int, "1.5", "0: member 'v': expected INT, found 1.5"),
        (TypeKind::Int, "true", "0: member 'v': expected INT, found true"),
        (TypeKind::Boolean, "\"yes\"", "0: member 'v': expected BOOLEAN, found \"yes\""),
        (decimal, "123456789", "0: member 'v': expected DECIMAL(10, 2), found 123456789"),
        (TypeKind::Date, "\"2026-02-29\"", "0: member 'v': expected DATE, found \"2026-02-29\""),
        (TypeKind::VarBinary(9), "\"###\"", "0: member 'v': expected VARBINARY(9), found \"###\""),
        (array, "[1,\"x\"]", "0: member 'v.1': expected INT, found \"x\""),
        (map, "{\"k\":\"x\"}", "0: member 'v.k': expected INT, found \"x\""),
        (row, "{\"a\":[1]}", "0: member 'v.a': expected INT, found [1]"),
    ];
    for (kind, value, expected) in cases {
        assert_eq!(convert(&kind, value, options(false)), expected, "{kind} {value}");
    }
}

#[test]
fn a_bad_member_is_null_and_a_bad_line_is_dropped_if_errors_are_ignored() {
    let row = TypeKind::Row(vec![Field::new("a", TypeKind::Int.into()), Field::new("b", text().into())]);
    let schema = schema(vec![("x", TypeKind::BigInt), ("r", row), ("s", text())]);
    let input = concat!(
        "{\"x\":1,\"r\":{\"a\":\"no\",\"b\":\"kept\"},\"s\":\"1\"}\n",
        "{\"x\":2,\"r\":7,\"s\":\"2\"}\n",
        "{\"x\":3,\"r\":{\"a\":3,\"b\":\"cut",
        "\n",
        "   \n",
        "{\"x\":4,\"s\":\"4\"} \r\n",
        "{\"x\":5}x\n",
        "[]\n",
        "{\"x\":6,\"s\":\"6\"}",
    );
    let mut decoder = JsonDecoder::new(&schema, options(true), 4);
    let done = decoder.decode(input.as_bytes(), true, 100).unwrap();
    assert_eq!((done.lines, done.skipped, decoder.rows()), (8, 3, 4));
    let batch = RecordBatch::try_new(schema.to_arrow(), decoder.finish().unwrap().0).unwrap();
    assert_eq!(
        encoded(&schema, options(true), &batch),
        concat!(
            "{\"x\":1,\"r\":{\"a\":null,\"b\":\"kept\"},\"s\":\"1\"}\n",
            "{\"x\":2,\"r\":null,\"s\":\"2\"}\n",
            "{\"x\":4,\"r\":null,\"s\":\"4\"}\n",
            "{\"x\":6,\"r\":null,\"s\":\"6\"}\n",
        )
    );
}

#[test]
fn malformed_lines_name_the_place() {
    let schema = schema(vec![("v", TypeKind::Int)]);
    for (line, expected) in [
        ("{\"v\":1", "expected ',' or '}' at column 7, found the end of the line"),
        ("{\"v\" 1}", "expected ':' at column 6, found '1}'"),
        ("{v:1}", "expected a member's name at column 2"),
        ("{\"v\":01}", "without leading zeros"),
        ("{\"v\":1,}", "expected a member's name at column 8"),
        ("{\"w\":tru}", "expected a value at column 6"),
        ("{\"w\":\"a\u{1}\"}", "expected the end of a string"),
        ("{\"w\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\u{1}\"}", "expected the end of a string"),
        ("{\"w\":\"\\", "expected the end of a string"),
        ("{\"v\":\"\\x\"}", "expected an escape"),
        ("{\"v\":-}", "expected a digit"),
        ("7", "expected a JSON object at column 1"),
    ] {
        let reason = batch(&schema, options(false), &format!("{{}}\n{line}\n")).unwrap_err();
        assert!(reason.starts_with("1: the line is not valid JSON") && reason.contains(expected), "{line}: {reason}");
    }
    let deep = format!("{{\"w\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
    assert!(batch(&schema, options(false), &deep).unwrap_err().contains("less nesting"));
    let mut decoder = JsonDecoder::new(&schema, options(false), 4);
    let bad = decoder.decode(b"{\"v\":1}\n{\"w\":\"\xff\"}\n", true, 9).unwrap_err();
    assert!(bad.line == 1 && bad.reason.contains("UTF-8"), "{bad:?}");
    assert_eq!(decoder.rows(), 1);
}

#[test]
fn a_missing_field_fails_on_demand() {
    let schema = schema(vec![("v", TypeKind::Int)]);
    let options = JsonOptions { fail_on_missing_field: true, ..JsonOptions::default() };
    assert_eq!(batch(&schema, options, "{\"w\":1}").unwrap_err(), "0: member 'v': the member is missing");
}

#[test]
fn encoding_options_are_kept() {
    let schema = schema(vec![
        ("d", TypeKind::Decimal { precision: 10, scale: 9 }),
        ("n", TypeKind::Int),
        ("t", TypeKind::Timestamp(3, REGULAR)),
    ]);
    let input = "{\"d\":0.000000027,\"t\":\"2026-03-01T00:00:00.120\"}";
    let iso = JsonOptions { timestamp_format: TimestampFormat::Iso8601, ..JsonOptions::default() };
    let batch = batch(&schema, iso, input).unwrap();
    assert_eq!(
        encoded(&schema, JsonOptions::default(), &batch),
        "{\"d\":2.7E-8,\"n\":null,\"t\":\"2026-03-01 00:00:00.12\"}\n"
    );
    let plain = JsonOptions { decimal_as_plain_number: true, ignore_null_fields: true, ..iso };
    assert_eq!(encoded(&schema, plain, &batch), "{\"d\":0.000000027,\"t\":\"2026-03-01T00:00:00.12\"}\n");
}

#[test]
fn rows_become_json_values() {
    let pairs = TypeKind::Map(Box::new(text().into()), Box::new(TypeKind::Double.into()));
    let schema = schema(vec![
        ("i", TypeKind::BigInt),
        ("f", TypeKind::Float),
        ("d", TypeKind::Double),
        ("c", TypeKind::Decimal { precision: 5, scale: 2 }),
        ("t", TypeKind::Timestamp(3, REGULAR)),
        ("z", TypeKind::TimestampLtz(3, REGULAR)),
        ("m", pairs),
        ("r", TypeKind::Row(vec![Field::new("x", TypeKind::Date.into())])),
    ]);
    let input = "{\"i\":1,\"f\":0.1,\"d\":\"NaN\",\"c\":1.5,\"t\":\"2026-03-01 00:01:00\",\"z\":\"2026-03-01 00:01:00Z\",\"m\":{\"k\":2.5},\"r\":{\"x\":\"2026-03-01\"}}\n{}";
    let batch = batch(&schema, options(false), input).unwrap();
    let rows = serde_json::to_string(&encode_rows(&batch, &schema).unwrap()).unwrap();
    assert_eq!(
        rows,
        "[[1,0.1,\"NaN\",\"1.50\",\"2026-03-01T00:01\",\"2026-03-01T00:01:00Z\",{\"k\":2.5},{\"x\":\"2026-03-01\"}],\
         [null,null,null,null,null,null,null,null]]"
    );
}

/// Any JSON text of objects, with the members `a`, `b` and `c` among others.
fn any_object() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        // Few digits: serde_json reads others only nearly right.
        any::<i32>().prop_map(|n| (f64::from(n) / 8.0).into()),
        "[\\PC\"\\\\\n\t]{0,40}".prop_map(Into::into),
    ];
    let value = leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::hash_map("[abcx\"]{1,2}", inner, 0..5)
                .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
        ]
    });
    prop::collection::hash_map("[abcx]", value, 0..6).prop_map(|m| serde_json::Value::Object(m.into_iter().collect()))
}

proptest! {
    /// Whatever serde_json writes is read, and gives what serde_json sees; whatever it refuses is refused.
    #[test]
    fn agrees_with_serde_json(objects in prop::collection::vec(any_object(), 1..8), pretty: bool, cut in 0usize..400, at in 0usize..400, byte: u8) {
        let schema = schema(vec![("a", text()), ("b", text())]);
        let mut input = String::new();
        for o in &objects {
            let line = if pretty { serde_json::to_string_pretty(o).unwrap().replace('\n', " ") } else { o.to_string() };
            input.push_str(&line);
            input.push('\n');
        }
        let batch = batch(&schema, options(false), &input).unwrap();
        for (c, name) in ["a", "b"].iter().enumerate() {
            let column = batch.column(c).as_string::<i32>();
            for (row, o) in objects.iter().enumerate() {
                let got = column.is_valid(row).then(|| column.value(row));
                match o.get(name) {
                    None | Some(serde_json::Value::Null) => prop_assert_eq!(got, None),
                    Some(serde_json::Value::String(s)) => prop_assert_eq!(got, Some(s.as_str())),
                    Some(other) => prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(got.unwrap()).unwrap(), other),
                }
            }
        }
        // Damaged lines: refused if and only if serde_json refuses them, but for lone surrogates and huge exponents.
        let mut line = objects[0].to_string().into_bytes();
        line.truncate(cut.max(1));
        let at = at % line.len();
        line[at] = byte;
        if !line.contains(&b'\n') && !line.contains(&b'\\') && !line.contains(&b'e') && !line.contains(&b'E') && !line.trim_ascii().is_empty() {
            let mut decoder = JsonDecoder::new(&schema, options(false), 4);
            let ours = decoder.decode(&line, true, 9).is_ok();
            let theirs = matches!(serde_json::from_slice::<serde_json::Value>(&line), Ok(serde_json::Value::Object(_)));
            prop_assert_eq!(ours, theirs, "{}", String::from_utf8_lossy(&line));
        }
    }

    /// Where the input is cut into pieces makes no difference.
    #[test]
    fn pieces_make_no_difference(rows in prop::collection::vec((any::<Option<i64>>(), "\\PC{0,20}"), 0..30), most in 1usize..9) {
        let schema = schema(vec![("n", TypeKind::BigInt), ("s", text())]);
        let lines: Vec<String> = rows.iter().map(|(n, s)| serde_json::json!({"s": s, "n": n}).to_string()).collect();
        let input = lines.join("\n");
        let mut decoder = JsonDecoder::new(&schema, options(false), 4);
        let (mut at, mut seen) = (0, Vec::new());
        while at < input.len() {
            let end = (at + 25).min(input.len());
            let mut done = decoder.decode(&input.as_bytes()[at..end], end == input.len(), most).unwrap();
            if done.bytes == 0 {
                done = decoder.decode(&input.as_bytes()[at..], true, most).unwrap();
            }
            at += done.bytes;
            let (columns, count) = decoder.finish().unwrap();
            let (n, s) = (columns[0].as_primitive::<Int64Type>(), columns[1].as_string::<i32>());
            seen.extend((0..count).map(|i| (n.is_valid(i).then(|| n.value(i)), s.value(i).to_owned())));
        }
        prop_assert_eq!(seen, rows);
    }
}

/// The members that the query q0 of the auction workload reads.
fn auction_schema() -> Schema {
    let time = || Field::new("dateTime", TypeKind::Timestamp(3, REGULAR).into());
    let number = |name: &str| Field::new(name, TypeKind::BigInt.into());
    schema(vec![
        ("event_type", TypeKind::Int),
        ("person", TypeKind::Row(vec![time()])),
        ("auction", TypeKind::Row(vec![time()])),
        ("bid", TypeKind::Row(vec![number("auction"), number("bidder"), number("price"), time()])),
    ])
}

/// What sonic-rs needs for the same: its fastest way to typed members, without writing columns.
mod with_sonic {
    #[derive(serde::Deserialize)]
    #[expect(non_snake_case, dead_code, reason = "the names of the members")]
    pub struct Timed<'a> {
        #[serde(borrow)]
        pub dateTime: &'a str,
    }
    #[derive(serde::Deserialize)]
    #[expect(non_snake_case, dead_code, reason = "the names of the members")]
    pub struct Bid<'a> {
        pub auction: i64,
        pub bidder: i64,
        pub price: i64,
        #[serde(borrow)]
        pub dateTime: &'a str,
    }
    #[derive(serde::Deserialize)]
    pub struct Event<'a> {
        pub event_type: i32,
        #[serde(borrow)]
        pub person: Option<Timed<'a>>,
        #[serde(borrow)]
        pub auction: Option<Timed<'a>>,
        #[serde(borrow)]
        pub bid: Option<Bid<'a>>,
    }
}

/// Times that each figure is taken; the best counts.
const REPEATS: usize = 10;

/// `HOLDFAST_JSON=file cargo test --release --lib json::tests::speed -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn speed() {
    let path = std::env::var("HOLDFAST_JSON").unwrap_or_else(|_| "/tmp/nex200k.json".into());
    let input = std::fs::read(path).unwrap();
    let lines = memchr::memchr_iter(b'\n', &input).count();
    let mut best: std::collections::BTreeMap<&str, f64> = std::collections::BTreeMap::new();
    let mut report = |name: &'static str, begin: Instant| {
        let s = begin.elapsed().as_secs_f64();
        let entry = best.entry(name).or_insert(s);
        *entry = entry.min(s);
    };
    let schema = auction_schema();
    let iso = JsonOptions { timestamp_format: TimestampFormat::Iso8601, ..JsonOptions::default() };
    // The best of many: other processes share the machine.
    for _ in 0..REPEATS {
        let mut decoder = JsonDecoder::new(&schema, iso, 8192);
        let begin = Instant::now();
        let (mut at, mut rows) = (0, 0);
        while at < input.len() {
            at += decoder.decode(&input[at..], true, 8192).unwrap().bytes;
            rows += decoder.finish().unwrap().1;
        }
        assert_eq!(rows, lines);
        report("columns", begin);

        let begin = Instant::now();
        let mut sum = 0;
        for line in input.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            let event: with_sonic::Event<'_> = sonic_rs::from_slice(line).unwrap();
            sum += i64::from(event.event_type) + event.bid.map_or(0, |b| b.price);
            sum += i64::from(event.person.is_some()) + i64::from(event.auction.is_some());
        }
        assert!(sum > 0);
        report("sonic-rs, without columns", begin);

        let begin = Instant::now();
        let found = memchr::memchr_iter(b'\n', &input).count();
        assert_eq!(found, lines);
        report("lines only", begin);
        let begin = Instant::now();
        let valid = simdutf8::basic::from_utf8(&input).is_ok();
        assert!(valid);
        report("UTF-8 only", begin);
    }
    for (name, s) in best {
        #[expect(clippy::cast_precision_loss, reason = "a measurement")]
        let (rows, mb) = (lines as f64 / s, input.len() as f64 / s / 1e6);
        println!("{name}: {:.2} M events/s, {mb:.0} MB/s, {:.0} ns per event", rows / 1e6, 1e9 / rows);
    }
    let mut decoder = JsonDecoder::new(&schema, iso, 8192);
    let (mut at, mut out) = (0, Vec::new());
    let mut encoder = JsonEncoder::new(&schema, iso);
    let mut spent = std::time::Duration::ZERO;
    while at < input.len() {
        at += decoder.decode(&input[at..], true, 8192).unwrap().bytes;
        let batch = RecordBatch::try_new(schema.to_arrow(), decoder.finish().unwrap().0).unwrap();
        let begin = Instant::now();
        encoder.encode(&batch, &mut out).unwrap();
        spent += begin.elapsed();
    }
    println!("encoding: {:.0} ns per event", spent.as_secs_f64() * 1e9 / f64::from(u32::try_from(lines).unwrap()));
}
