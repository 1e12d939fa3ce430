//! One input of a regular join: what of a row is key and identity, and the kept rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;

use crate::error::{Error, Result};
use crate::graph::{JoinCondition, JoinInputKey};
use crate::state::Backend;
use crate::state::key_codec::{KeyBatch, KeyCodec};
use crate::state::row_codec::{RowCodec, RowEncoder};
use crate::state::row_lists::{Identity, RowLists};
use crate::types::Schema;
use crate::types::row_kind::adds;

/// The keys of an input's rows.
pub struct SideKeys {
    columns: Vec<usize>,
    /// The columns of which null equals nothing.
    strict: Vec<usize>,
    codec: KeyCodec,
}

impl SideKeys {
    /// The keys of the left input (0) or the right (1).
    pub fn new(condition: &JoinCondition, input: usize, schema: &Schema) -> Result<Self> {
        let column = |k: &crate::graph::JoinKey| if input == 0 { k.left } else { k.right };
        let columns: Vec<usize> = condition.keys.iter().map(column).collect();
        let strict = condition.keys.iter().filter(|k| !k.null_safe).map(column).collect();
        let field = |c: &usize| schema.fields.get(*c).ok_or_else(|| Error::internal("a join key does not exist"));
        let types: Result<Vec<_>> = columns.iter().map(|c| Ok(field(c)?.data_type.to_arrow())).collect();
        Ok(SideKeys { columns, strict, codec: KeyCodec::new(types?)? })
    }
    /// Keys with a bucket of time as their first column.
    pub fn in_buckets(condition: &JoinCondition, input: usize, schema: &Schema) -> Result<Self> {
        let keys = Self::new(condition, input, schema)?;
        let column = |c: &usize| schema.fields.get(*c).map(|f| f.data_type.to_arrow());
        let types = std::iter::once(DataType::Int64).chain(keys.columns.iter().filter_map(column)).collect();
        Ok(SideKeys { codec: KeyCodec::new(types)?, ..keys })
    }
    /// The key of each row with its bucket.
    pub fn of_buckets(&self, batch: &RecordBatch, buckets: Vec<i64>) -> Result<KeyBatch> {
        let rows = buckets.len();
        let bucket: ArrayRef = Arc::new(Int64Array::from(buckets));
        let columns: Vec<_> =
            std::iter::once(bucket).chain(self.columns.iter().map(|c| batch.column(*c).clone())).collect();
        self.codec.encode(&columns, rows)
    }
    /// How keys are encoded.
    pub fn codec(&self) -> &KeyCodec {
        &self.codec
    }
    /// The key of each row.
    pub fn of(&self, batch: &RecordBatch) -> Result<KeyBatch> {
        let columns: Vec<_> = self.columns.iter().map(|c| batch.column(*c).clone()).collect();
        self.codec.encode(&columns, batch.num_rows())
    }
    /// Which rows can equal others; `None` for all.
    pub fn matchable(&self, batch: &RecordBatch) -> Option<NullBuffer> {
        let nulls = self.strict.iter().map(|c| batch.column(*c));
        nulls.fold(None, |all, column| NullBuffer::union(all.as_ref(), column.logical_nulls().as_ref()))
    }
}

/// See the module text.
pub struct Side {
    pub keys: SideKeys,
    pub rows: RowCodec,
    pub lists: RowLists,
    /// The columns by which a row is found again; `None`: all.
    identity: Option<(Vec<usize>, RowCodec)>,
    /// Whether each row's number of matches is kept.
    pub counts: bool,
}

impl Side {
    /// Opens the rows of an input in a table of the backend.
    pub fn open(
        backend: &Backend,
        table: &'static str,
        keys: SideKeys,
        key: &JoinInputKey,
        schema: &Schema,
        max_parallelism: u32,
        counts: bool,
    ) -> Result<Self> {
        let arrow = |c: &usize| {
            let field = schema.fields.get(*c).ok_or_else(|| Error::internal("a unique key does not exist"))?;
            Ok(field.data_type.to_arrow())
        };
        let identity = match key {
            JoinInputKey::None => None,
            JoinInputKey::Unique(columns) => Some(columns.clone()),
            JoinInputKey::Keys => Some(vec![]),
        };
        let identity = identity
            .map(|columns| {
                let types = columns.iter().map(arrow).collect::<Result<Vec<_>>>()?;
                Ok::<_, Error>((columns, RowCodec::new(types)))
            })
            .transpose()?;
        Ok(Side {
            lists: RowLists::open(backend, table, keys.codec().clone(), max_parallelism),
            keys,
            rows: RowCodec::new(schema.fields.iter().map(|f| f.data_type.to_arrow()).collect()),
            identity,
            counts,
        })
    }

    /// What decides the form of the stored rows.
    pub fn layout(key: &JoinInputKey, schema: &Schema) -> String {
        let columns: Vec<String> =
            schema.fields.iter().map(|f| format!("{} {}", f.name, f.data_type.kind.regular())).collect();
        format!("[{}] by {key:?}", columns.join(", "))
    }

    /// Reads the groups of rows that will be looked for: those that are taken away, and all where rows are replaced.
    pub fn prepare(&mut self, backend: &Backend, groups: &[u32], kinds: Option<&[i8]>) -> Result<()> {
        if self.identity.is_some() {
            return self.lists.read(backend, groups);
        }
        let Some(kinds) = kinds else { return Ok(()) };
        let taken: Vec<u32> = groups.iter().zip(kinds).filter(|(_, k)| !adds(**k)).map(|(g, _)| *g).collect();
        self.lists.read(backend, &taken)
    }

    /// The columns of a batch by which its rows are found again.
    pub fn identity_columns(&self, columns: &[ArrayRef]) -> Option<Vec<ArrayRef>> {
        self.identity.as_ref().map(|(of, _)| of.iter().map(|c| columns[*c].clone()).collect())
    }

    /// Writes rows of a batch to the state; `by` are its [`Side::identity_columns`].
    pub fn writer<'a>(&mut self, columns: &'a [ArrayRef], by: Option<&'a [ArrayRef]>) -> Result<SideWriter<'_, 'a>> {
        let rows = self.rows.encoder(columns)?;
        let by = match (&self.identity, by) {
            (Some((_, codec)), Some(columns)) => Some(codec.encoder(columns)?),
            _ => None,
        };
        Ok(SideWriter { side: self, rows, by, row: Vec::new(), key: Vec::new() })
    }
}

/// See [`Side::writer`].
pub struct SideWriter<'s, 'a> {
    side: &'s mut Side,
    rows: RowEncoder<'a>,
    by: Option<RowEncoder<'a>>,
    row: Vec<u8>,
    key: Vec<u8>,
}

impl SideWriter<'_, '_> {
    /// Adds a row with its number of matches, or takes it away.
    pub fn write(&mut self, row: usize, group: u32, kind: i8, matches: u32) -> Result<()> {
        self.row.clear();
        self.rows.write(row, &mut self.row);
        let identity = match &self.by {
            Some(by) => {
                self.key.clear();
                by.write(row, &mut self.key);
                Identity::Key(&self.key)
            }
            None => Identity::Row,
        };
        let lists = &mut self.side.lists;
        let replaces = matches!(identity, Identity::Key(_));
        if (replaces || !adds(kind))
            && let Some(known) = lists.find(group, identity.of(&self.row))
        {
            lists.remove(known);
        }
        if adds(kind) {
            lists.push(group, &self.row, identity, if self.side.counts { matches } else { 0 })?;
        }
        Ok(())
    }
}
