//! Hashes keys as keyed state does, and splits batches by the subtask that owns each row's key group.

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;

use crate::error::{Error, Result};
use crate::graph::key_group::{key_group, subtask_of};
use crate::state::key_codec::KeyCodec;
use crate::types::Schema;

/// See the module text.
pub struct KeyHasher {
    codec: KeyCodec,
    keys: Vec<usize>,
}

impl KeyHasher {
    /// A hasher of these columns of `schema`.
    pub fn new(schema: &Schema, keys: &[usize]) -> Result<Self> {
        let types = keys.iter().map(|k| {
            let field = schema.fields.get(*k).ok_or_else(|| Error::internal("a key column does not exist"))?;
            Ok(field.data_type.to_arrow())
        });
        Ok(KeyHasher { codec: KeyCodec::new(types.collect::<Result<_>>()?)?, keys: keys.to_vec() })
    }

    /// The hash of each row's key.
    pub fn hash(&self, batch: &RecordBatch) -> Result<Vec<u64>> {
        let columns: Vec<ArrayRef> = self.keys.iter().map(|k| batch.column(*k).clone()).collect();
        Ok(self.codec.encode(&columns, batch.num_rows())?.hashes())
    }

    /// The rows of each subtask in their order, `None` where there are none; the batch itself if there is one subtask.
    pub fn partition(
        &self,
        batch: &RecordBatch,
        parallelism: u32,
        max_parallelism: u32,
    ) -> Result<Vec<Option<RecordBatch>>> {
        if parallelism <= 1 {
            return Ok(vec![Some(batch.clone())]);
        }
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); parallelism as usize];
        for (row, hash) in (0u32..).zip(self.hash(batch)?) {
            rows[subtask_of(key_group(hash, max_parallelism), parallelism, max_parallelism)].push(row);
        }
        let part = |rows: Vec<u32>| match rows.len() {
            0 => Ok(None),
            n if n == batch.num_rows() => Ok(Some(batch.clone())),
            _ => Ok(Some(take_record_batch(batch, &UInt32Array::from(rows))?)),
        };
        rows.into_iter().map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{DataType, Field, TypeKind};
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;
    use std::sync::Arc;

    #[test]
    fn partition_sends_each_key_to_its_owner_in_order() {
        let schema = Schema::new(vec![
            Field::new("v", TypeKind::BigInt.into()),
            Field::new("k", DataType::not_null(TypeKind::BigInt)),
        ]);
        let hasher = KeyHasher::new(&schema, &[1]).unwrap();
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1000));
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values((0..1000).map(|v| v % 37)));
        let batch = RecordBatch::try_new(schema.to_arrow(), vec![values, keys]).unwrap();
        assert_eq!(hasher.partition(&batch, 1, 128).unwrap(), vec![Some(batch.clone())]);
        let parts = hasher.partition(&batch, 3, 128).unwrap();
        let mut seen = 0;
        for (subtask, part) in parts.iter().enumerate() {
            let part = part.as_ref().unwrap();
            let hashes = hasher.hash(part).unwrap();
            assert!(hashes.iter().all(|h| subtask_of(key_group(*h, 128), 3, 128) == subtask));
            let values = part.column(0).as_primitive::<Int64Type>().values();
            assert!(values.is_sorted());
            seen += values.len();
        }
        assert_eq!(seen, 1000);
        let one = hasher.partition(&batch.slice(5, 1), 3, 128).unwrap();
        assert_eq!(one.iter().flatten().map(RecordBatch::num_rows).sum::<usize>(), 1);
    }
}
