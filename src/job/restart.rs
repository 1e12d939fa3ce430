//! Restart strategies: after a failure, when to start again. Pure. Source: Flink "Task Failure Recovery".

use std::collections::VecDeque;

use crate::metadata::RestartStrategy;

/// What to do after a failure.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum RestartDecision {
    /// Start again after this many ms.
    After(u64),
    /// The failure is final.
    GiveUp,
}

/// Remembers failures as far as the strategy needs it.
#[derive(Debug)]
pub struct RestartTracker {
    strategy: RestartStrategy,
    failures: VecDeque<i64>,
    attempts: u32,
    backoff_ms: f64,
    /// When the restart after the last failure was to begin.
    last_restart_ms: Option<i64>,
}

impl RestartTracker {
    /// No failure yet.
    pub fn new(strategy: RestartStrategy) -> Self {
        RestartTracker { strategy, failures: VecDeque::new(), attempts: 0, backoff_ms: 0.0, last_restart_ms: None }
    }

    /// A failure at `now_ms`; `jitter` in -1..=1 is drawn by the caller.
    pub fn failed(&mut self, now_ms: i64, jitter: f64) -> RestartDecision {
        let decision = self.decide(now_ms, jitter);
        if let RestartDecision::After(delay_ms) = decision {
            self.last_restart_ms = Some(now_ms.saturating_add(i64::try_from(delay_ms).unwrap_or(i64::MAX)));
        }
        decision
    }

    fn decide(&mut self, now_ms: i64, jitter: f64) -> RestartDecision {
        match &self.strategy {
            RestartStrategy::None => RestartDecision::GiveUp,
            RestartStrategy::FixedDelay { attempts, delay_ms } => {
                self.attempts += 1;
                if self.attempts > *attempts { RestartDecision::GiveUp } else { RestartDecision::After(*delay_ms) }
            }
            RestartStrategy::FailureRate { max_failures, interval_ms, delay_ms } => {
                let horizon = now_ms.saturating_sub(i64::try_from(*interval_ms).unwrap_or(i64::MAX));
                self.failures.push_back(now_ms);
                while self.failures.front().is_some_and(|t| *t <= horizon) {
                    self.failures.pop_front();
                }
                let count = u32::try_from(self.failures.len()).unwrap_or(u32::MAX);
                if count > *max_failures { RestartDecision::GiveUp } else { RestartDecision::After(*delay_ms) }
            }
            RestartStrategy::ExponentialDelay {
                initial_backoff_ms,
                max_backoff_ms,
                backoff_multiplier,
                jitter_factor,
                reset_backoff_threshold_ms,
                attempts,
            } => {
                // The threshold is a time without failure; the wait before the restart is none.
                let threshold = i64::try_from(*reset_backoff_threshold_ms).unwrap_or(i64::MAX);
                let reset = self.last_restart_ms.is_none_or(|restart| now_ms.saturating_sub(restart) >= threshold);
                let (initial, max) = (*initial_backoff_ms as f64, *max_backoff_ms as f64);
                self.backoff_ms = if reset { initial } else { (self.backoff_ms * backoff_multiplier).min(max) };
                self.attempts = if reset { 1 } else { self.attempts + 1 };
                if *attempts > 0 && self.attempts > *attempts {
                    return RestartDecision::GiveUp;
                }
                let varied = self.backoff_ms * (1.0 + jitter.clamp(-1.0, 1.0) * jitter_factor);
                RestartDecision::After(varied.clamp(0.0, max) as u64)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RestartDecision::*;

    #[test]
    fn fixed_delay_gives_up_after_its_attempts() {
        let mut t = RestartTracker::new(RestartStrategy::FixedDelay { attempts: 2, delay_ms: 7 });
        assert_eq!([t.failed(0, 0.0), t.failed(1, 0.0), t.failed(2, 0.0)], [After(7), After(7), GiveUp]);
    }

    #[test]
    fn failure_rate_counts_only_its_interval() {
        let mut t =
            RestartTracker::new(RestartStrategy::FailureRate { max_failures: 2, interval_ms: 100, delay_ms: 5 });
        assert_eq!([t.failed(0, 0.0), t.failed(50, 0.0), t.failed(150, 0.0)], [After(5), After(5), After(5)]);
        assert_eq!(t.failed(151, 0.0), After(5));
        assert_eq!(t.failed(152, 0.0), GiveUp);
    }

    #[test]
    fn exponential_delay_gives_up_after_its_attempts_unless_reset() {
        let mut t = RestartTracker::new(RestartStrategy::ExponentialDelay {
            initial_backoff_ms: 10,
            max_backoff_ms: 10,
            backoff_multiplier: 1.0,
            jitter_factor: 0.0,
            reset_backoff_threshold_ms: 100,
            attempts: 2,
        });
        assert_eq!([t.failed(0, 0.0), t.failed(20, 0.0)], [After(10), After(10)]);
        assert_eq!([t.failed(130, 0.0), t.failed(150, 0.0)], [After(10), After(10)], "100 ms without failure");
        assert_eq!(t.failed(170, 0.0), GiveUp);
    }

    #[test]
    fn exponential_delay_grows_to_its_maximum_and_resets() {
        let mut t = RestartTracker::new(RestartStrategy::ExponentialDelay {
            initial_backoff_ms: 100,
            max_backoff_ms: 300,
            backoff_multiplier: 2.0,
            jitter_factor: 0.1,
            reset_backoff_threshold_ms: 10_000,
            attempts: 0,
        });
        assert_eq!(
            [t.failed(0, 0.0), t.failed(200, 1.0), t.failed(600, 0.0), t.failed(900, 1.0)],
            [After(100), After(220), After(300), After(300)]
        );
        // Restarted at 1200: a failure just before 11 200 is still of the same row.
        assert_eq!(t.failed(11_199, 0.0), After(300));
        assert_eq!(t.failed(21_499, -1.0), After(90));
        assert_eq!(RestartTracker::new(RestartStrategy::None).failed(0, 0.0), GiveUp);
    }
}
