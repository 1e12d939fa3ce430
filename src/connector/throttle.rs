//! A limit of rows per second of wall-clock time, that never sleeps.

/// How many rows may be made now.
#[derive(Debug, PartialEq, Eq)]
pub enum Allowance {
    /// At most this many, at least one.
    Rows(usize),
    /// None before so many ms have passed.
    Wait(u64),
}

/// Rows per second, measured from the first question on. What was not used within a second is lost.
#[derive(Debug)]
pub struct Throttle {
    rows_per_second: Option<f64>,
    last_ms: Option<i64>,
    rows: f64,
}

/// Asking more often than this would only burn the processor.
const MIN_WAIT_MS: u64 = 5;

impl Throttle {
    /// A limit; none if `None`.
    pub fn new(rows_per_second: Option<f64>) -> Self {
        Throttle { rows_per_second, last_ms: None, rows: 0.0 }
    }

    /// How many of `wanted` rows may be made at `now_ms`; [`Throttle::used`] tells how many were.
    pub fn ask(&mut self, wanted: usize, now_ms: i64) -> Allowance {
        let Some(rate) = self.rows_per_second else { return Allowance::Rows(wanted) };
        #[expect(clippy::cast_precision_loss, reason = "a few ms")]
        let passed_ms = self.last_ms.map_or(0.0, |last| (now_ms - last).max(0) as f64);
        self.last_ms = Some(now_ms);
        self.rows = (self.rows + passed_ms * rate / 1000.0).min(rate.max(1.0));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the rate")]
        let whole = self.rows as usize;
        if whole > 0 {
            return Allowance::Rows(whole.min(wanted));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive; the cast saturates")]
        let wait_ms = ((1.0 - self.rows) * 1000.0 / rate) as u64;
        Allowance::Wait(wait_ms.clamp(MIN_WAIT_MS, super::MAX_POLL_MS))
    }

    /// Counts rows that were made.
    pub fn used(&mut self, rows: usize) {
        if self.rows_per_second.is_some() {
            #[expect(clippy::cast_precision_loss, reason = "at most one batch")]
            let rows = rows as f64;
            self.rows -= rows;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_follow_the_clock() {
        let mut t = Throttle::new(Some(10.0));
        assert_eq!(t.ask(100, 0), Allowance::Wait(100));
        assert_eq!(t.ask(100, 500), Allowance::Rows(5));
        t.used(5);
        assert_eq!(t.ask(100, 550), Allowance::Wait(50));
        assert_eq!(t.ask(100, 60_000), Allowance::Rows(10));
        assert_eq!(Throttle::new(None).ask(7, 0), Allowance::Rows(7));
    }
}
