//! How fast bytes go to and from a store: bytes over the time during which anything was under way, so that parallel
//! transfers count once.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Less says more about latency than about speed, bytes.
const MIN_BYTES: u64 = 1 << 20;
/// What is older counts half, then a quarter, and so on.
const HALVED_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct State {
    active: u32,
    since: Option<Instant>,
    busy: Duration,
    bytes: u64,
}

/// One direction. A short critical section, never held across an await.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<State>);

/// A transfer under way; one that fails counts its time and no bytes.
pub(super) struct Transfer<'m> {
    meter: &'m Meter,
    bytes: u64,
}

impl Meter {
    pub(super) fn start(&self) -> Transfer<'_> {
        if let Ok(mut state) = self.0.lock() {
            if state.active == 0 {
                state.since = Some(Instant::now());
            }
            state.active += 1;
        }
        Transfer { meter: self, bytes: 0 }
    }

    /// Bytes per second; none if too little was seen.
    pub(super) fn rate(&self) -> Option<u64> {
        let state = self.0.lock().ok()?;
        rate(state.bytes, state.busy)
    }
}

fn rate(bytes: u64, busy: Duration) -> Option<u64> {
    let micros = busy.as_micros();
    if bytes < MIN_BYTES || micros == 0 {
        return None;
    }
    u64::try_from(u128::from(bytes) * 1_000_000 / micros).ok()
}

impl Transfer<'_> {
    pub(super) fn done(mut self, bytes: u64) {
        self.bytes = bytes;
    }
}

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        let Ok(mut state) = self.meter.0.lock() else { return };
        state.bytes += self.bytes;
        state.active -= 1;
        if state.active == 0
            && let Some(since) = state.since.take()
        {
            state.busy += since.elapsed();
            if state.busy > HALVED_AFTER {
                state.busy /= 2;
                state.bytes /= 2;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_says_nothing_and_a_rate_is_bytes_over_busy_time() {
        assert_eq!(rate(MIN_BYTES - 1, Duration::from_secs(1)), None);
        assert_eq!(rate(MIN_BYTES, Duration::ZERO), None);
        assert_eq!(rate(10 << 20, Duration::from_millis(500)), Some(20 << 20));
    }

    #[test]
    fn parallel_transfers_count_their_time_once_and_failed_ones_no_bytes() {
        let meter = Meter::default();
        let (first, second, failed) = (meter.start(), meter.start(), meter.start());
        first.done(MIN_BYTES);
        drop(failed);
        assert_eq!(meter.0.lock().unwrap().busy, Duration::ZERO, "one is still under way");
        second.done(MIN_BYTES);
        let state = meter.0.lock().unwrap();
        assert_eq!((state.bytes, state.active), (2 * MIN_BYTES, 0));
        assert!(state.busy > Duration::ZERO && state.since.is_none());
    }
}
