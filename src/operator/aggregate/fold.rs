//! One number (or byte string) per group, folded from the group's values: `SUM`, `MIN`, `MAX`, the sum of an `AVG`.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;

use super::Stored;
use crate::error::{Error, Result};
use crate::state::backend::malformed;

/// The largest unscaled value of `DECIMAL(38, s)`.
const MAX_DECIMAL: i128 = 10i128.pow(38) - 1;

/// No value was folded yet: the result is null.
const EMPTY: u8 = 0;
/// There is a value.
const VALUE: u8 = 1;
/// A decimal sum left its precision: the result is null for good.
const OVERFLOW: u8 = 2;

/// How values are folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoldOp {
    Sum,
    /// `SUM` of `FLOAT`: each step is rounded to single precision, as in Flink.
    SumSingle,
    Min,
    Max,
}

/// A number that can be folded and stored.
pub trait Number: Copy + Default + Send {
    /// `a + b`; `None` where a decimal overflows.
    fn sum(a: Self, b: Self) -> Option<Self>;
    /// `a + b` in single precision.
    fn sum_single(a: Self, b: Self) -> Option<Self> {
        Self::sum(a, b)
    }
    /// `a - b`; `None` where a decimal overflows.
    fn difference(a: Self, b: Self) -> Option<Self>;
    /// `a - b` in single precision.
    fn difference_single(a: Self, b: Self) -> Option<Self> {
        Self::difference(a, b)
    }
    /// The smaller one.
    fn least(a: Self, b: Self) -> Option<Self>;
    /// The larger one.
    fn greatest(a: Self, b: Self) -> Option<Self>;
    /// Appends the stored form.
    fn write(self, out: &mut Vec<u8>);
    /// Reads the stored form.
    fn read(input: &mut Stored<'_>) -> Result<Self>;
}

impl Number for i64 {
    fn sum(a: i64, b: i64) -> Option<i64> {
        Some(a.wrapping_add(b))
    }
    fn difference(a: i64, b: i64) -> Option<i64> {
        Some(a.wrapping_sub(b))
    }
    fn least(a: i64, b: i64) -> Option<i64> {
        Some(a.min(b))
    }
    fn greatest(a: i64, b: i64) -> Option<i64> {
        Some(a.max(b))
    }
    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }
    fn read(input: &mut Stored<'_>) -> Result<i64> {
        input.array().map(i64::from_be_bytes)
    }
}

impl Number for f64 {
    fn sum(a: f64, b: f64) -> Option<f64> {
        Some(a + b)
    }
    #[expect(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
    fn sum_single(a: f64, b: f64) -> Option<f64> {
        // The sum of two singles, rounded to double and then to single, is their correctly rounded sum.
        Some(f64::from((a + b) as f32))
    }
    fn difference(a: f64, b: f64) -> Option<f64> {
        Some(a - b)
    }
    #[expect(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
    fn difference_single(a: f64, b: f64) -> Option<f64> {
        Some(f64::from((a - b) as f32))
    }
    // NaN is the largest, as in `Double.compare`; a total order, so that the answer does not depend on the order of rows.
    fn least(a: f64, b: f64) -> Option<f64> {
        Some(if b.is_nan() || (!a.is_nan() && a.total_cmp(&b).is_le()) { a } else { b })
    }
    fn greatest(a: f64, b: f64) -> Option<f64> {
        Some(if a.is_nan() || (!b.is_nan() && a.total_cmp(&b).is_ge()) { a } else { b })
    }
    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_bits().to_be_bytes());
    }
    fn read(input: &mut Stored<'_>) -> Result<f64> {
        input.array().map(|b| f64::from_bits(u64::from_be_bytes(b)))
    }
}

impl Number for i128 {
    fn sum(a: i128, b: i128) -> Option<i128> {
        a.checked_add(b).filter(|s| s.unsigned_abs() <= MAX_DECIMAL.unsigned_abs())
    }
    fn difference(a: i128, b: i128) -> Option<i128> {
        a.checked_sub(b).filter(|s| s.unsigned_abs() <= MAX_DECIMAL.unsigned_abs())
    }
    fn least(a: i128, b: i128) -> Option<i128> {
        Some(a.min(b))
    }
    fn greatest(a: i128, b: i128) -> Option<i128> {
        Some(a.max(b))
    }
    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }
    fn read(input: &mut Stored<'_>) -> Result<i128> {
        input.array().map(i128::from_be_bytes)
    }
}

/// Calls `each` for the rows that `mask` selects.
pub fn for_selected(rows: usize, mask: Option<&BooleanBuffer>, mut each: impl FnMut(usize)) {
    match mask {
        None => (0..rows).for_each(each),
        Some(mask) => mask.set_indices().for_each(&mut each),
    }
}

/// Folded numbers of all groups.
pub struct Fold<T> {
    op: FoldOp,
    values: Vec<T>,
    states: Vec<u8>,
}

impl<T: Number> Fold<T> {
    /// No groups.
    pub fn new(op: FoldOp) -> Self {
        Fold { op, values: Vec::new(), states: Vec::new() }
    }
    /// Makes room for `groups` groups; new ones are empty.
    pub fn resize(&mut self, groups: usize) {
        self.values.resize(groups, T::default());
        self.states.resize(groups, EMPTY);
    }
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<T>() + self.states.capacity()
    }
    /// Folds row `i`'s value into group `groups[i]`.
    pub fn update(&mut self, values: &[T], groups: &[u32], mask: Option<&BooleanBuffer>) {
        match self.op {
            FoldOp::Sum => self.update_with(values, groups, mask, T::sum),
            FoldOp::SumSingle => self.update_with(values, groups, mask, T::sum_single),
            FoldOp::Min => self.update_with(values, groups, mask, T::least),
            FoldOp::Max => self.update_with(values, groups, mask, T::greatest),
        }
    }
    fn update_with(
        &mut self,
        values: &[T],
        groups: &[u32],
        mask: Option<&BooleanBuffer>,
        step: impl Fn(T, T) -> Option<T>,
    ) {
        for_selected(groups.len(), mask, |row| self.step(groups[row] as usize, values[row], &step));
    }
    #[inline(always)]
    fn step(&mut self, group: usize, value: T, step: &impl Fn(T, T) -> Option<T>) {
        let (current, state) = (&mut self.values[group], &mut self.states[group]);
        match *state {
            VALUE => match step(*current, value) {
                Some(folded) => *current = folded,
                None => *state = OVERFLOW,
            },
            EMPTY => (*current, *state) = (value, VALUE),
            _ => {}
        }
    }
    /// Folds one value in, or (sums only) takes it out again.
    #[inline(always)]
    pub fn change(&mut self, group: usize, value: T, add: bool) {
        match (self.op, add) {
            (FoldOp::Sum, true) => self.step(group, value, &T::sum),
            (FoldOp::SumSingle, true) => self.step(group, value, &T::sum_single),
            (FoldOp::Min, _) => self.step(group, value, &T::least),
            (FoldOp::Max, _) => self.step(group, value, &T::greatest),
            (FoldOp::Sum, false) => self.take_out(group, value, T::difference),
            (FoldOp::SumSingle, false) => self.take_out(group, value, T::difference_single),
        }
    }
    fn take_out(&mut self, group: usize, value: T, step: impl Fn(T, T) -> Option<T>) {
        if self.states[group] == EMPTY {
            (self.values[group], self.states[group]) = (T::default(), VALUE);
        }
        self.step(group, value, &step);
    }
    /// Empties a group.
    pub fn clear(&mut self, group: usize) {
        (self.values[group], self.states[group]) = (T::default(), EMPTY);
    }
    /// Keeps only these groups, renumbered.
    pub fn keep(&mut self, groups: &[u32]) {
        self.values = groups.iter().map(|g| self.values[*g as usize]).collect();
        self.states = groups.iter().map(|g| self.states[*g as usize]).collect();
    }
    /// Folds group `groups[i]` of another into group `to[i]`.
    pub fn merge(&mut self, to: &[u32], from: &Self, groups: &[u32]) {
        let step = match self.op {
            FoldOp::Sum => T::sum,
            FoldOp::SumSingle => T::sum_single,
            FoldOp::Min => T::least,
            FoldOp::Max => T::greatest,
        };
        for (to, group) in to.iter().zip(groups) {
            let (to, group) = (*to as usize, *group as usize);
            match from.states[group] {
                VALUE => self.step(to, from.values[group], &step),
                OVERFLOW => self.states[to] = OVERFLOW,
                _ => {}
            }
        }
    }
    /// The value of a group; `None` = null.
    pub fn get(&self, group: usize) -> Option<T> {
        (self.states[group] == VALUE).then(|| self.values[group])
    }
    /// Adds a group's value (arbitrary where null) and its validity.
    #[inline(always)]
    pub fn push(&self, group: usize, values: &mut Vec<T>, valid: &mut Vec<bool>) {
        values.push(self.values[group]);
        valid.push(self.states[group] == VALUE);
    }
    /// Appends a group's stored form: its state byte, then its value if it has one.
    pub fn write(&self, group: usize, out: &mut Vec<u8>) {
        out.push(self.states[group]);
        if let Some(value) = self.get(group) {
            value.write(out);
        }
    }
    /// Replaces a group by its stored form.
    pub fn read(&mut self, group: usize, input: &mut Stored<'_>) -> Result<()> {
        let state = input.state(OVERFLOW)?;
        self.states[group] = state;
        if state == VALUE {
            self.values[group] = T::read(input)?;
        }
        Ok(())
    }
}

/// `MIN` or `MAX` of strings or bytes, compared as unsigned bytes.
pub struct ByteExtremes {
    largest: bool,
    values: Vec<Option<Vec<u8>>>,
    /// Bytes of all values' allocations.
    held: usize,
}

impl ByteExtremes {
    /// No groups.
    pub fn new(op: FoldOp) -> Self {
        ByteExtremes { largest: op == FoldOp::Max, values: Vec::new(), held: 0 }
    }
    /// Makes room for `groups` groups.
    pub fn resize(&mut self, groups: usize) {
        self.values.resize(groups, None);
    }
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<Option<Vec<u8>>>() + self.held
    }
    /// Takes row `i`'s value into group `groups[i]`.
    pub fn update(&mut self, values: &ArrayRef, groups: &[u32], mask: Option<&BooleanBuffer>) -> Result<()> {
        match values.data_type() {
            DataType::Utf8 => {
                let values = values.as_string::<i32>();
                for_selected(groups.len(), mask, |r| self.take(groups[r] as usize, values.value(r).as_bytes()));
            }
            DataType::Binary => {
                let values = values.as_binary::<i32>();
                for_selected(groups.len(), mask, |r| self.take(groups[r] as usize, values.value(r)));
            }
            other => return Err(Error::internal(format!("a column of {other} is not bytes"))),
        }
        Ok(())
    }
    /// Takes a value into a group.
    pub fn take(&mut self, group: usize, value: &[u8]) {
        let current = &mut self.values[group];
        let better = match current {
            None => true,
            Some(current) if self.largest => value > &current[..],
            Some(current) => value < &current[..],
        };
        if better {
            let buffer = current.get_or_insert_default();
            let before = buffer.capacity();
            buffer.clear();
            buffer.extend_from_slice(value);
            self.held += buffer.capacity() - before;
        }
    }
    /// Takes group `groups[i]` of another into group `to[i]`.
    pub fn merge(&mut self, to: &[u32], from: &Self, groups: &[u32]) {
        for (to, group) in to.iter().zip(groups) {
            if let Some(value) = &from.values[*group as usize] {
                self.take(*to as usize, value);
            }
        }
    }
    /// The value of a group.
    pub fn get(&self, group: usize) -> Option<&[u8]> {
        self.values[group].as_deref()
    }
    /// Empties a group.
    pub fn clear(&mut self, group: usize) {
        if let Some(old) = self.values[group].take() {
            self.held -= old.capacity();
        }
    }
    /// Keeps only these groups, renumbered.
    pub fn keep(&mut self, groups: &[u32]) {
        self.values = groups.iter().map(|g| self.values[*g as usize].take()).collect();
        self.held = self.values.iter().flatten().map(Vec::capacity).sum();
    }
    /// Appends a group's stored form: 0, or 1, length and bytes.
    pub fn write(&self, group: usize, out: &mut Vec<u8>) {
        out.push(u8::from(self.values[group].is_some()));
        if let Some(value) = &self.values[group] {
            out.extend_from_slice(&u32::try_from(value.len()).expect("arrow's offsets are 32 bits").to_be_bytes());
            out.extend_from_slice(value);
        }
    }
    /// Replaces a group by its stored form.
    pub fn read(&mut self, group: usize, input: &mut Stored<'_>) -> Result<()> {
        self.clear(group);
        if input.state(VALUE)? == VALUE {
            let length = usize::try_from(u32::from_be_bytes(input.array()?)).map_err(|_| malformed("a length"))?;
            self.take(group, input.bytes(length)?);
        }
        Ok(())
    }
}
