//! Event time: what a source promises, and how several inputs' promises combine.

use crate::operator::Watermark;

/// Combines the watermarks of several inputs: the lowest of those that are not idle. Never decreases.
#[derive(Debug)]
pub struct WatermarkCombiner {
    inputs: Vec<(Watermark, bool)>,
    emitted: Watermark,
    idle: bool,
}

/// What a combiner's owner must pass on.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Progress {
    None,
    Watermark(Watermark),
    /// All inputs became idle (`true`), or one is active again.
    Idle(bool),
}

impl WatermarkCombiner {
    /// For `inputs` inputs that have promised nothing yet.
    pub fn new(inputs: usize) -> Self {
        WatermarkCombiner { inputs: vec![(Watermark::MIN, false); inputs], emitted: Watermark::MIN, idle: false }
    }

    /// Input `input` promises `watermark`; an input that sends one is active.
    pub fn advance(&mut self, input: usize, watermark: Watermark) -> Progress {
        let slot = &mut self.inputs[input];
        *slot = (slot.0.max(watermark), false);
        self.progress()
    }

    /// Input `input` becomes idle or active.
    pub fn set_idle(&mut self, input: usize, idle: bool) -> Progress {
        self.inputs[input].1 = idle;
        let all_idle = self.inputs.iter().all(|(_, idle)| *idle);
        if all_idle != self.idle {
            self.idle = all_idle;
            return Progress::Idle(all_idle);
        }
        self.progress()
    }

    fn progress(&mut self) -> Progress {
        let lowest = self.inputs.iter().filter(|(_, idle)| !idle).map(|(w, _)| *w).min();
        match lowest {
            Some(lowest) if lowest > self.emitted => {
                self.emitted = lowest;
                self.idle = false;
                Progress::Watermark(lowest)
            }
            _ => Progress::None,
        }
    }
}

/// Where a source must cut a batch so that lateness is decided as if records came one by one.
///
/// `rowtimes[i]` is row i's event time, `watermarks[i]` the watermark that row i implies (`None` = none); `current` the
/// watermark before the batch, of which `announced` was already sent; `ceiling` bounds what this split may promise
/// (other splits of the same reader). Answers the cuts (row index, watermark to send before that row) and the watermark
/// after the batch. A row at or behind the watermark could be late downstream: everything promised before it must be
/// sent before it. A row ahead of the watermark is never late, so no cut is needed there.
pub fn cuts(
    rowtimes: &[i64],
    watermarks: impl Fn(usize) -> Option<Watermark>,
    announced: Watermark,
    current: Watermark,
    ceiling: Watermark,
) -> (Vec<(usize, Watermark)>, Watermark) {
    let mut cuts = Vec::new();
    let mut sent = announced;
    let mut now = current;
    for (i, rowtime) in rowtimes.iter().enumerate() {
        let promised = now.min(ceiling);
        if *rowtime <= promised && promised > sent {
            cuts.push((i, promised));
            sent = promised;
        }
        if let Some(w) = watermarks(i) {
            now = now.max(w);
        }
    }
    (cuts, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combined_watermark_is_the_lowest_of_active_inputs_and_never_falls() {
        let mut c = WatermarkCombiner::new(2);
        assert_eq!(c.advance(0, 10), Progress::None);
        assert_eq!(c.advance(1, 5), Progress::Watermark(5));
        assert_eq!(c.advance(1, 4), Progress::None);
        assert_eq!(c.set_idle(1, true), Progress::Watermark(10));
        assert_eq!(c.advance(1, 7), Progress::None);
        assert_eq!(c.advance(1, 20), Progress::None);
        assert_eq!(c.advance(0, 15), Progress::Watermark(15));
    }

    #[test]
    fn idle_is_passed_on_when_every_input_is_idle() {
        let mut c = WatermarkCombiner::new(2);
        assert_eq!(c.set_idle(0, true), Progress::None);
        assert_eq!(c.set_idle(1, true), Progress::Idle(true));
        assert_eq!(c.set_idle(1, false), Progress::Idle(false));
    }

    #[test]
    fn a_batch_is_cut_before_a_row_that_could_be_late() {
        let check = |times: &[i64], expected: &[(usize, i64)], last: i64| {
            let (got, now) = cuts(times, |i| Some(times[i] - 5), i64::MIN, i64::MIN, i64::MAX);
            assert_eq!((got.as_slice(), now), (expected, last), "{times:?}");
        };
        check(&[10, 11, 12, 20], &[], 15);
        check(&[10, 20, 15, 14, 16], &[(2, 15)], 15);
        check(&[10, 20, 3, 30, 25, 24], &[(2, 15), (4, 25)], 25);
        check(&[10, 8, 7, 6], &[], 5);
    }
}
