//! `COLLECT`: how often each value is in a group, in order of first arrival.

use hashbrown::HashMap;

use super::Stored;
use super::trace::{Encoded, Trace};
use crate::error::{Error, Result};
use crate::state::key_codec::KeyCodec;

/// See the module text.
pub struct Multiset {
    codec: KeyCodec,
    groups: Vec<Values>,
    held: usize,
}

#[derive(Default)]
struct Values {
    /// Position of a value in `all`.
    places: HashMap<Box<[u8]>, usize>,
    /// Values with their counts; 0 = gone.
    all: Vec<(Box<[u8]>, i32)>,
}

/// Bytes of one value besides its own, twice.
const ENTRY_BYTES: usize = 72;

impl Multiset {
    /// No groups; values have this codec.
    pub fn new(codec: KeyCodec) -> Self {
        Multiset { codec, groups: Vec::new(), held: 0 }
    }
    /// How values are encoded.
    pub fn codec(&self) -> &KeyCodec {
        &self.codec
    }
    /// Makes room for `groups` groups.
    pub fn resize(&mut self, groups: usize) {
        self.groups.resize_with(groups, Values::default);
    }
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Values>() + self.held
    }
    /// Counts a value `by` times more.
    pub fn add(&mut self, group: usize, value: &[u8], by: i32) {
        let values = &mut self.groups[group];
        if let Some(place) = values.places.get(value) {
            let count = &mut values.all[*place].1;
            *count = count.wrapping_add(by);
            if *count == 0 {
                // It comes back at the end.
                values.places.remove(value);
                self.held -= ENTRY_BYTES + 2 * value.len();
                if values.places.len() * 2 < values.all.len() {
                    values.all.retain(|(_, count)| *count != 0);
                    values.places = values.all.iter().enumerate().map(|(at, (v, _))| (v.clone(), at)).collect();
                }
            }
        } else {
            values.places.insert(value.into(), values.all.len());
            values.all.push((value.into(), by));
            self.held += ENTRY_BYTES + 2 * value.len();
        }
    }
    /// Forgets a group's values.
    pub fn clear(&mut self, group: usize) {
        let values = std::mem::take(&mut self.groups[group]);
        self.held -= values.places.keys().map(|v| ENTRY_BYTES + 2 * v.len()).sum::<usize>();
    }
    /// Keeps only these groups, renumbered.
    pub fn keep(&mut self, groups: &[u32]) {
        self.groups = groups.iter().map(|g| std::mem::take(&mut self.groups[*g as usize])).collect();
        self.held = self.groups.iter().flat_map(|v| v.places.keys()).map(|v| ENTRY_BYTES + 2 * v.len()).sum();
    }
    /// Takes group `groups[i]` of another into group `to[i]`.
    pub fn merge(&mut self, to: &[u32], from: &Self, groups: &[u32]) {
        for (to, group) in to.iter().zip(groups) {
            for (value, count) in from.groups[*group as usize].present() {
                self.add(*to as usize, value, count);
            }
        }
    }
    /// Appends a group's stored form: the number of values u32, then each one's count i32, length u32 and bytes.
    pub fn write(&self, group: usize, out: &mut Vec<u8>) {
        let length = |n: usize| u32::try_from(n).expect("a group has fewer than 2^32 values").to_be_bytes();
        let values = &self.groups[group];
        out.extend_from_slice(&length(values.places.len()));
        for (value, count) in values.present() {
            out.extend_from_slice(&count.to_be_bytes());
            out.extend_from_slice(&length(value.len()));
            out.extend_from_slice(value);
        }
    }
    /// Replaces a group by its stored form.
    pub fn read(&mut self, group: usize, input: &mut Stored<'_>) -> Result<()> {
        self.clear(group);
        for _ in 0..input.length()? {
            let count = i32::from_be_bytes(input.array()?);
            let length = input.length()?;
            let value = input.bytes(length)?;
            self.add(group, value, count);
        }
        Ok(())
    }
    /// A trace for results.
    pub fn trace(&self) -> Trace {
        Trace::Multisets { lengths: Vec::new(), items: Encoded::new(&self.codec), counts: Vec::new() }
    }
    /// Adds a group's result.
    pub fn push(&self, group: usize, trace: &mut Trace) -> Result<()> {
        let Trace::Multisets { lengths, items, counts } = trace else {
            return Err(Error::internal("a trace of another aggregate"));
        };
        let before = counts.len();
        for (value, count) in self.groups[group].present() {
            items.push(Some(value));
            counts.push(count);
        }
        lengths.push(counts.len() - before);
        Ok(())
    }
}

impl Values {
    fn present(&self) -> impl Iterator<Item = (&[u8], i32)> {
        self.all.iter().filter(|(_, count)| *count != 0).map(|(value, count)| (&value[..], *count))
    }
}
