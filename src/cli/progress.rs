//! A spinner on standard error while something takes its time. Only on a terminal; otherwise silence.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::one_line;

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(120);

/// Cleared when dropped.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Starts turning.
    pub fn start(message: &str) -> Self {
        let target =
            if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.set_message(one_line(message));
        bar.enable_steady_tick(TICK);
        Progress { bar }
    }

    /// Shows what is going on now.
    pub fn say(&self, message: &str) {
        self.bar.set_message(one_line(message));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
