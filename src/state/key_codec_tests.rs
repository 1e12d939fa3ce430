//! Key bytes: equal keys, order, and both ways round.

use super::super::key_table::KeyTable;
use super::*;
use arrow::array::{BooleanArray, Int16Array, Int32Array, Int64Array};

fn check(columns: Vec<ArrayRef>, expected: &[&[u8]]) {
    let codec = KeyCodec::new(columns.iter().map(|c| c.data_type().clone()).collect()).unwrap();
    let rows = expected.len();
    let batch = codec.encode(&columns, rows).unwrap();
    let expected_hashes: Vec<u64> = expected.iter().map(|k| hash_key(k)).collect();
    assert_eq!(batch.hashes(), expected_hashes);
    let mut table = KeyTable::new(&codec);
    let mut groups = Vec::new();
    table.resolve(&batch, &mut groups).unwrap();
    assert_eq!(groups, (0..u32::try_from(rows).unwrap()).collect::<Vec<_>>(), "all keys differ");
    for (group, bytes) in expected.iter().enumerate() {
        let mut key = Vec::new();
        table.write_key(group, &mut key);
        assert_eq!(&key[..], *bytes, "row {group}");
        assert_eq!(table.hash(group), hash_key(bytes));
        assert_eq!(table.find(bytes).unwrap(), Some(groups[group]));
        assert_eq!(table.insert(bytes).unwrap(), groups[group]);
    }
    assert_eq!(codec.decode(expected).unwrap(), columns);
    assert_eq!(table.columns(&codec, 0..rows).unwrap(), columns);
}

#[test]
fn stored_bytes_are_these() {
    check(
        vec![Arc::new(Int64Array::from(vec![Some(-1), Some(0), Some(i64::MAX), None]))],
        &[
            &[1, 0x7f, 255, 255, 255, 255, 255, 255, 255],
            &[1, 0x80, 0, 0, 0, 0, 0, 0, 0],
            &[1, 255, 255, 255, 255, 255, 255, 255, 255],
            &[0],
        ],
    );
    check(vec![Arc::new(Int16Array::from(vec![-2, 1]))], &[&[1, 0x7f, 0xfe], &[1, 0x80, 1]]);
    check(vec![Arc::new(BooleanArray::from(vec![true, false]))], &[&[1, 0x81], &[1, 0x80]]);
    check(
        vec![
            Arc::new(StringArray::from(vec![Some("ab"), None, Some("")])),
            Arc::new(Int32Array::from(vec![Some(1), Some(-1), None])),
        ],
        &[&[1, 0, 0, 0, 2, b'a', b'b', 1, 0x80, 0, 0, 1], &[0, 1, 0x7f, 255, 255, 255], &[1, 0, 0, 0, 0, 0]],
    );
    check(
        vec![
            Arc::new(Float64Array::from(vec![Some(1.0), None])),
            Arc::new(BinaryArray::from(vec![Some(&b"\0"[..]), None])),
            Arc::new(Decimal128Array::from(vec![Some(-1), Some(2)]).with_precision_and_scale(10, 2).unwrap()),
        ],
        &[
            &[
                1, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0x7f, 255, 255, 255, 255, 255, 255, 255, 255,
                255, 255, 255, 255, 255, 255, 255,
            ],
            &[0, 0, 1, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
        ],
    );
    check(vec![], &[&[]]);
}

#[test]
fn hash_of_a_key_is_stable() {
    let codec = KeyCodec::new(vec![DataType::Int64]).unwrap();
    let column: ArrayRef = Arc::new(Int64Array::from(vec![42]));
    let hash = codec.encode(&[column], 1).unwrap().hashes()[0];
    assert_eq!(hash, hash_key(&[1, 0x80, 0, 0, 0, 0, 0, 0, 42]));
    assert_eq!(crate::graph::key_group::key_group(hash, 128), GROUP_OF_42);
}

/// Computed once; if it changes, every stored snapshot's keys are in the wrong key groups.
const GROUP_OF_42: u16 = 95;

#[test]
fn truncated_keys_are_corrupt() {
    let codec = KeyCodec::new(vec![DataType::Utf8, DataType::Int32]).unwrap();
    for bytes in [&[][..], &[1, 0, 0, 0, 9, b'a'], &[0, 1, 1], &[0, 0, 7], &[1, 0, 0, 0, 1, 0xff, 0]] {
        assert_eq!(codec.decode(&[bytes]).unwrap_err().code, "state_corrupt", "{bytes:?}");
    }
}

#[test]
fn types_that_no_sql_type_has_are_refused() {
    let error = KeyCodec::new(vec![DataType::LargeUtf8]).unwrap_err();
    assert_eq!(error.code, "unsupported_key_type");
}
