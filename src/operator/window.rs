//! Window arithmetic: which windows a time is in, and the slices that windows share. Pure; all times in ms.
//!
//! A slice is the longest interval that lies in the same windows: a tumbling window is one slice; hopping windows are
//! cut into panes of gcd(size, slide), cumulating windows into their steps. Sessions are not here: they depend on the
//! rows. Source: Flink `TimeWindow.getWindowStartWithOffset`, `SliceAssigners`.
//!
//! Arithmetic wraps at the ends of `i64`, 292 million years away, rather than panic.

use crate::error::{Error, Result};
use crate::graph::WindowKind;

/// `[start, end)`. Ordered by end, then start: the order in which windows fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    pub end: i64,
    pub start: i64,
}

/// Windows that are known without the rows.
#[derive(Debug, Clone, Copy)]
pub struct Windows {
    size: i64,
    /// A window starts each `slide`; of cumulating ones several.
    slide: i64,
    offset: i64,
    slice: i64,
    cumulate: bool,
}

impl Windows {
    /// Checks the lengths (`invalid_window`).
    pub fn new(kind: WindowKind) -> Result<Self> {
        let (size, slide, offset) = match kind {
            WindowKind::Tumble { size_ms, offset_ms } => (size_ms, size_ms, offset_ms),
            WindowKind::Hop { size_ms, slide_ms, offset_ms } => (size_ms, slide_ms, offset_ms),
            WindowKind::Cumulate { size_ms, step_ms, offset_ms } => {
                if step_ms <= 0 || size_ms <= 0 || size_ms % step_ms != 0 {
                    let message = "the size of cumulating windows must be a whole multiple of their step";
                    return Err(Error::invalid("invalid_window", message));
                }
                let (size, slide, offset) = (size_ms, size_ms, offset_ms);
                return Ok(Windows { size, slide, offset, slice: step_ms, cumulate: true });
            }
            WindowKind::Session { .. } => return Err(Error::internal("sessions are not known without their rows")),
        };
        if size <= 0 || slide <= 0 {
            return Err(Error::invalid("invalid_window", "a window's size and slide must be longer than 0"));
        }
        let (mut slice, mut rest) = (size, slide);
        while rest != 0 {
            (slice, rest) = (rest, slice % rest);
        }
        Ok(Windows { size, slide, offset, slice, cumulate: false })
    }

    /// Whether each window has all slices of the one before.
    pub fn are_cumulative(&self) -> bool {
        self.cumulate
    }

    /// The slice of a time.
    pub fn slice_of(&self, time: i64) -> Window {
        let start = self.floor(time, self.slice);
        Window { start, end: start.wrapping_add(self.slice) }
    }

    /// The windows that contain a slice, earliest first; none if it lies in a gap (slide longer than size).
    pub fn of_slice(&self, slice: Window) -> impl DoubleEndedIterator<Item = Window> + use<> {
        let Windows { size, slide, .. } = *self;
        let last = self.floor(slice.start, slide);
        if self.cumulate {
            let (first, count) = (slice.end, (last.wrapping_add(size).wrapping_sub(slice.end)) / self.slice + 1);
            return sequence((last, first, count, 0, self.slice));
        }
        // Starts `last - n * slide` for which the window still reaches the slice's end.
        let room = size.wrapping_sub(slice.end.wrapping_sub(last));
        let count = if room < 0 { 0 } else { room / slide + 1 };
        let start = last.wrapping_sub(slide.wrapping_mul(count.saturating_sub(1)));
        sequence((start, start.wrapping_add(size), count, slide, slide))
    }

    /// The windows that contain a time, earliest first.
    pub fn of_time(&self, time: i64) -> impl DoubleEndedIterator<Item = Window> + use<> {
        self.of_slice(self.slice_of(time))
    }

    fn floor(&self, time: i64, step: i64) -> i64 {
        time.wrapping_sub(time.wrapping_sub(self.offset).rem_euclid(step))
    }
}

/// `count` windows: the first one's start and end, and how far both move from one to the next.
fn sequence(
    (start, end, count, start_step, end_step): (i64, i64, i64, i64, i64),
) -> impl DoubleEndedIterator<Item = Window> {
    (0..count).map(move |n| Window {
        start: start.wrapping_add(start_step.wrapping_mul(n)),
        end: end.wrapping_add(end_step.wrapping_mul(n)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: WindowKind, time: i64, slice: (i64, i64), windows: &[(i64, i64)]) {
        let of = Windows::new(kind).unwrap();
        let found = of.slice_of(time);
        assert_eq!((found.start, found.end), slice, "slice of {time} in {kind:?}");
        let found: Vec<_> = of.of_time(time).map(|w| (w.start, w.end)).collect();
        assert_eq!(found, windows, "windows of {time} in {kind:?}");
    }

    #[test]
    fn assigns_as_flink_does() {
        let tumble = |size_ms, offset_ms| WindowKind::Tumble { size_ms, offset_ms };
        let hop = |size_ms, slide_ms, offset_ms| WindowKind::Hop { size_ms, slide_ms, offset_ms };
        check(tumble(10, 0), 0, (0, 10), &[(0, 10)]);
        check(tumble(10, 0), 9, (0, 10), &[(0, 10)]);
        check(tumble(10, 0), -1, (-10, 0), &[(-10, 0)]);
        check(tumble(10, 0), -10, (-10, 0), &[(-10, 0)]);
        check(tumble(10, 3), 2, (-7, 3), &[(-7, 3)]);
        check(tumble(10, -3), 7, (7, 17), &[(7, 17)]);
        check(tumble(10, 23), 5, (3, 13), &[(3, 13)]);
        check(hop(10, 5, 0), 7, (5, 10), &[(0, 10), (5, 15)]);
        check(hop(10, 5, 0), -1, (-5, 0), &[(-10, 0), (-5, 5)]);
        check(hop(10, 5, 2), 1, (-3, 2), &[(-8, 2), (-3, 7)]);
        check(hop(10, 4, 0), 9, (8, 10), &[(0, 10), (4, 14), (8, 18)]);
        check(hop(10, 4, 0), 10, (10, 12), &[(4, 14), (8, 18)]);
        check(hop(10, 10, 0), 10, (10, 20), &[(10, 20)]);
        check(hop(4, 10, 0), 3, (2, 4), &[(0, 4)]);
        check(hop(4, 10, 0), 4, (4, 6), &[]);
        let cumulate = |size_ms, step_ms, offset_ms| WindowKind::Cumulate { size_ms, step_ms, offset_ms };
        check(cumulate(30, 10, 0), 0, (0, 10), &[(0, 10), (0, 20), (0, 30)]);
        check(cumulate(30, 10, 0), 29, (20, 30), &[(0, 30)]);
        check(cumulate(30, 10, 0), -1, (-10, 0), &[(-30, 0)]);
        check(cumulate(30, 10, 5), 4, (-5, 5), &[(-25, 5)]);
        check(cumulate(30, 10, 5), 17, (15, 25), &[(5, 25), (5, 35)]);
    }

    #[test]
    fn no_time_panics_and_no_length_is_zero() {
        for time in [i64::MIN, i64::MAX, 0] {
            let windows = Windows::new(WindowKind::Hop { size_ms: 10, slide_ms: 3, offset_ms: i64::MIN }).unwrap();
            assert!(windows.of_time(time).count() <= 4);
        }
        for (size_ms, slide_ms) in [(0, 1), (1, 0), (-1, 1)] {
            let kind = WindowKind::Hop { size_ms, slide_ms, offset_ms: 0 };
            assert_eq!(Windows::new(kind).unwrap_err().code, "invalid_window");
        }
    }
}
