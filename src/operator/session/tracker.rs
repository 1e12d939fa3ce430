//! Which session each row is in: intervals per key that grow and merge. Pure; knows neither rows nor aggregates.
//!
//! A session is `[start, end)`, from its first time to its last time plus the gap; sessions that touch are one. It has a
//! slot, by which others hold what belongs to it. Invariants: 1. live sessions of a key neither overlap nor touch; 2. a
//! live slot refers to itself by `into`, a merged one to a slot that it was merged into, a gone one to nothing; 3. a
//! session's `id` is the start with which it began: unique among the live ones of its key, and it never changes.
//! Source: Flink `SessionWindowAssigner`, `MergingWindowProcessFunction`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::operator::Watermark;
use crate::operator::event_time::TimeShift;

/// No slot.
const NONE: u32 = u32::MAX;

/// One session.
#[derive(Debug, Clone, Copy)]
pub struct Session {
    pub start: i64,
    pub end: i64,
    pub id: i64,
    /// Its key's id.
    pub key: u32,
    /// The next session of the key.
    next: u32,
    into: u32,
}

/// See the module text.
pub struct Tracker {
    gap: i64,
    shift: TimeShift,
    sessions: Vec<Session>,
    /// By key: the first of its sessions.
    first: Vec<u32>,
    live: usize,
    /// When to look at a slot again, in instants: never later than its session is over.
    due: BinaryHeap<Reverse<(i64, u32)>>,
}

impl Tracker {
    /// No sessions; times are shifted as `shift` says.
    pub fn new(gap: i64, shift: TimeShift) -> Self {
        Tracker { gap, shift, sessions: Vec::new(), first: Vec::new(), live: 0, due: BinaryHeap::new() }
    }
    /// Makes room for `keys` keys.
    pub fn grow(&mut self, keys: usize) {
        self.first.resize(keys, NONE);
    }
    /// The number of slots, gone ones included.
    pub fn slots(&self) -> usize {
        self.sessions.len()
    }
    /// The number of sessions.
    pub fn live(&self) -> usize {
        self.live
    }
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.sessions.capacity() * size_of::<Session>() + 4 * self.first.capacity() + 16 * self.due.capacity()
    }
    /// A slot's session, if it is not gone or merged.
    pub fn get(&self, slot: u32) -> Option<&Session> {
        self.sessions.get(slot as usize).filter(|s| s.into == slot)
    }
    /// The key and the id of a session, also of one that was merged away.
    pub fn owner(&self, slot: u32) -> (u32, i64) {
        self.sessions.get(slot as usize).map_or((0, 0), |s| (s.key, s.id))
    }
    /// The slots of a key's sessions.
    pub fn of_key(&self, key: u32) -> impl Iterator<Item = u32> {
        let next = |slot: u32| Some(slot).filter(|s| *s != NONE);
        std::iter::successors(next(self.first[key as usize]), move |slot| next(self.sessions[*slot as usize].next))
    }
    /// When a session that ends at `end` is over.
    pub fn instant(&self, end: i64) -> i64 {
        self.shift.to_instant(end.wrapping_sub(1))
    }

    /// The slot of a row; `None` if it is late: its own session is over, and it touches no other. Sessions that it
    /// connects are merged: (from, into) are appended to `merges`.
    pub fn assign(&mut self, key: u32, time: i64, watermark: Watermark, merges: &mut Vec<(u32, u32)>) -> Option<u32> {
        let (start, end) = (time, time.saturating_add(self.gap));
        let (mut found, mut before, mut at) = (NONE, NONE, self.first[key as usize]);
        while at != NONE {
            let session = self.sessions[at as usize];
            if session.start > end || start > session.end {
                before = at;
            } else if found == NONE {
                (found, before) = (at, at);
                let session = &mut self.sessions[at as usize];
                (session.start, session.end) = (session.start.min(start), session.end.max(end));
            } else {
                // It connects a second one.
                self.sessions[before as usize].next = session.next;
                self.sessions[at as usize].into = found;
                let kept = &mut self.sessions[found as usize];
                (kept.start, kept.end) = (kept.start.min(session.start), kept.end.max(session.end));
                merges.push((at, found));
                self.live -= 1;
            }
            at = session.next;
        }
        if found != NONE {
            return Some(found);
        }
        if self.shift.has_fired(end, watermark) {
            return None;
        }
        Some(self.insert(key, start, end, start))
    }

    /// Adds a session.
    pub fn insert(&mut self, key: u32, start: i64, end: i64, id: i64) -> u32 {
        let slot = u32::try_from(self.sessions.len()).expect("the memory budget is reached long before 2^32 sessions");
        let next = std::mem::replace(&mut self.first[key as usize], slot);
        self.sessions.push(Session { start, end, id, key, next, into: slot });
        self.due.push(Reverse((self.instant(end), slot)));
        self.live += 1;
        slot
    }

    /// The slot that a slot was merged into, or itself.
    pub fn root(&self, mut slot: u32) -> u32 {
        while self.sessions[slot as usize].into != slot {
            slot = self.sessions[slot as usize].into;
        }
        slot
    }

    /// The sessions that are over at a watermark, in order of their end; they stay until they are removed.
    pub fn over(&mut self, watermark: Watermark) -> Vec<u32> {
        let mut over = Vec::new();
        while let Some(Reverse((instant, slot))) = self.due.peek().copied() {
            if instant > watermark {
                break;
            }
            self.due.pop();
            let Some(session) = self.get(slot) else { continue };
            let now_due = self.instant(session.end);
            if now_due > watermark {
                self.due.push(Reverse((now_due, slot)));
            } else {
                over.push((now_due, slot));
            }
        }
        over.sort_unstable();
        over.into_iter().map(|(_, slot)| slot).collect()
    }

    /// Forgets a session.
    pub fn remove(&mut self, slot: u32) {
        let Some(Session { key, next, .. }) = self.get(slot).copied() else { return };
        let before = self.of_key(key).find(|s| self.sessions[*s as usize].next == slot);
        match before {
            Some(before) => self.sessions[before as usize].next = next,
            None => self.first[key as usize] = next,
        }
        self.sessions[slot as usize].into = NONE;
        self.live -= 1;
    }

    /// The same sessions of the keys that `new_key` keeps, under new slots; answers the old slot of each new one.
    pub fn rebuilt(&self, keys: usize, new_key: impl Fn(u32) -> Option<u32>) -> (Tracker, Vec<u32>) {
        let mut tracker = Tracker::new(self.gap, self.shift);
        tracker.grow(keys);
        let mut old = Vec::with_capacity(self.live);
        for slot in (0u32..).take(self.sessions.len()) {
            if let Some(session) = self.get(slot)
                && let Some(key) = new_key(session.key)
            {
                tracker.insert(key, session.start, session.end, session.id);
                old.push(slot);
            }
        }
        (tracker, old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sessions(tracker: &Tracker, key: u32) -> Vec<(i64, i64)> {
        let mut found: Vec<_> = tracker.of_key(key).filter_map(|s| tracker.get(s)).map(|s| (s.start, s.end)).collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn sessions_that_touch_are_one() {
        let mut tracker = Tracker::new(10, TimeShift::none());
        tracker.grow(1);
        let mut merges = Vec::new();
        for (time, expected) in [
            (0, vec![(0, 10)]),
            (21, vec![(0, 10), (21, 31)]),
            (41, vec![(0, 10), (21, 31), (41, 51)]),
            (10, vec![(0, 20), (21, 31), (41, 51)]),
            (31, vec![(0, 20), (21, 51)]),
            (11, vec![(0, 51)]),
        ] {
            tracker.assign(0, time, i64::MIN, &mut merges);
            assert_eq!(sessions(&tracker, 0), expected, "after {time}");
        }
        assert_eq!((tracker.live(), merges.len()), (1, 2));
        assert_eq!(tracker.over(49), Vec::<u32>::new());
        let over = tracker.over(50);
        assert_eq!(over.len(), 1);
        tracker.remove(over[0]);
        assert_eq!((tracker.live(), sessions(&tracker, 0).len()), (0, 0));
    }

    #[test]
    fn a_row_is_late_unless_it_touches_a_live_session() {
        let mut tracker = Tracker::new(10, TimeShift::none());
        tracker.grow(1);
        assert_eq!(tracker.assign(0, 5, 14, &mut vec![]), None);
        assert!(tracker.assign(0, 5, 13, &mut vec![]).is_some());
        assert!(tracker.assign(0, 14, 13, &mut vec![]).is_some());
        // [-4, 6) is over, but the session [5, 24) is not.
        assert!(tracker.assign(0, -4, 20, &mut vec![]).is_some());
        assert_eq!(tracker.assign(0, -16, 20, &mut vec![]), None);
    }

    proptest! {
        #[test]
        fn sessions_are_the_connected_intervals(times in prop::collection::vec((0..3u32, 0..200i64), 1..60)) {
            let mut tracker = Tracker::new(7, TimeShift::none());
            tracker.grow(3);
            let mut merges = Vec::new();
            let slots: Vec<u32> =
                times.iter().map(|(k, t)| tracker.assign(*k, *t, i64::MIN, &mut merges).unwrap()).collect();
            for key in 0..3 {
                let mut sorted: Vec<i64> = times.iter().filter(|(k, _)| *k == key).map(|(_, t)| *t).collect();
                sorted.sort_unstable();
                let mut expected: Vec<(i64, i64)> = Vec::new();
                for time in sorted {
                    match expected.last_mut() {
                        Some((_, end)) if time <= *end => *end = time + 7,
                        _ => expected.push((time, time + 7)),
                    }
                }
                prop_assert_eq!(sessions(&tracker, key), expected);
            }
            for ((key, time), slot) in times.iter().zip(slots) {
                let session = tracker.get(tracker.root(slot)).unwrap();
                prop_assert!(session.key == *key && session.start <= *time && *time < session.end);
            }
        }
    }
}
