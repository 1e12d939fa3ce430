//! Key groups: the unit in which keyed state moves between subtasks.
//!
//! A key belongs to key group `murmur(hash(key)) mod max_parallelism`; subtask `i` of `p` owns a contiguous range of
//! groups. Formulas: Flink `KeyGroupRangeAssignment` and `MathUtils.murmurHash`. The key's own hash is XXH3-64 of its
//! Arrow row encoding, folded to 32 bits; it is part of the stored format and must never change.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

/// Flink's `MathUtils.murmurHash(int)`: the murmur3 finaliser over one word, non-negative.
fn murmur_hash(code: u32) -> u32 {
    let mut h = code.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    h = h.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    h ^= 4;
    h ^= h >> 16;
    h = h.wrapping_mul(0x85eb_ca6b);
    h ^= h >> 13;
    h = h.wrapping_mul(0xc2b2_ae35);
    h ^= h >> 16;
    let signed = h.cast_signed();
    if signed >= 0 {
        h
    } else if signed != i32::MIN {
        signed.wrapping_neg().cast_unsigned()
    } else {
        0
    }
}

/// XXH3-64 of an encoded key; callers that also need it for a hash table compute it once.
pub fn hash_key(row: &[u8]) -> u64 {
    xxh3_64(row)
}

/// The key group of a key with this [`hash_key`].
pub fn key_group(hash: u64, max_parallelism: u32) -> u16 {
    let folded = (hash ^ (hash >> 32)) & 0xffff_ffff;
    let code = u32::try_from(folded).expect("masked to 32 bits");
    u16::try_from(murmur_hash(code) % max_parallelism).expect("max parallelism is at most 32768")
}

/// The subtask that owns a key group.
pub fn subtask_of(group: u16, parallelism: u32, max_parallelism: u32) -> usize {
    usize::try_from(u32::from(group) * parallelism / max_parallelism).expect("fits")
}

/// The key groups of a subtask.
pub fn range_of(subtask: usize, parallelism: u32, max_parallelism: u32) -> Range<u16> {
    let subtask = u32::try_from(subtask).expect("subtasks are few");
    let start = (subtask * max_parallelism).div_ceil(parallelism);
    let end = ((subtask + 1) * max_parallelism).div_ceil(parallelism);
    u16::try_from(start).expect("fits")..u16::try_from(end).expect("fits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur_hash_is_flinks() {
        // Answers of org.apache.flink.util.MathUtils.murmurHash.
        for (code, expected) in [
            (0u32, 593_689_054u32),
            (1, 68_075_478),
            (42, 1_134_849_565),
            (u32::MAX, 1_982_413_648),
            (123_456_789, 1_088_346_449),
        ] {
            assert_eq!(murmur_hash(code), expected, "murmurHash({code})");
        }
    }

    #[test]
    fn ranges_partition_the_groups_and_agree_with_subtask_of() {
        for max in [1u32, 7, 128, 32768] {
            for p in [1u32, 2, 3, 5, 7].into_iter().filter(|p| *p <= max) {
                let mut next = 0u16;
                for subtask in 0..p as usize {
                    let range = range_of(subtask, p, max);
                    assert_eq!(range.start, next);
                    assert!(range.clone().all(|g| subtask_of(g, p, max) == subtask));
                    next = range.end;
                }
                assert_eq!(u32::from(next), max);
            }
        }
    }
}
