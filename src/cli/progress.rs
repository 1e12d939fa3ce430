//! What standard error shows while something takes its time: a bar where it is known how much there is to do, else a
//! spinner. Only on a terminal; otherwise silence.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::one_line;

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(120);
const SPINNER: &str = "{spinner} {msg} ({elapsed})";
const BAR: &str =
    "{spinner} {msg} [{bar:30}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} ({elapsed}, {eta} left)";

/// Cleared when dropped.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Starts turning.
    pub fn start(message: &str) -> Self {
        let target =
            if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self::start_on(target, message)
    }

    fn start_on(target: ProgressDrawTarget, message: &str) -> Self {
        let progress = Progress { bar: ProgressBar::with_draw_target(None, target) };
        progress.style(SPINNER);
        progress.bar.set_message(one_line(message));
        progress.bar.enable_steady_tick(TICK);
        progress
    }

    /// Shows what is going on now.
    pub fn say(&self, message: &str) {
        self.bar.set_message(one_line(message));
    }

    /// Shows bytes done of all; none = it is not known (any more).
    pub fn figures(&self, figures: Option<(u64, u64)>) {
        match figures {
            Some((done, total)) => {
                if self.bar.length().is_none() {
                    self.style(BAR);
                }
                self.bar.set_length(total);
                self.bar.set_position(done);
            }
            None if self.bar.length().is_some() => {
                self.bar.unset_length();
                self.style(SPINNER);
            }
            None => {}
        }
    }

    fn style(&self, template: &str) {
        // The templates are constants, and tested.
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Result;
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;

    use super::*;

    /// A terminal that notes what was written to it.
    #[derive(Debug, Clone, Default)]
    struct Written(Arc<Mutex<String>>);

    impl Written {
        /// What was written since the last look.
        fn take(&self) -> String {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    impl TermLike for Written {
        fn width(&self) -> u16 {
            160
        }
        fn move_cursor_up(&self, _: usize) -> Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> Result<()> {
            Ok(())
        }
        fn write_line(&self, line: &str) -> Result<()> {
            self.write_str(line)
        }
        fn write_str(&self, text: &str) -> Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> Result<()> {
            Ok(())
        }
        fn flush(&self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_bar_is_shown_once_the_total_is_known() {
        let written = Written::default();
        let progress = Progress::start_on(ProgressDrawTarget::term_like(Box::new(written.clone())), "savepoint 1");
        let shown = || {
            written.take();
            progress.bar.force_draw();
            written.take()
        };
        let spinner = shown();
        assert!(spinner.contains("savepoint 1") && !spinner.contains("MiB"), "{spinner}");
        progress.figures(Some((1 << 20, 4 << 20)));
        let bar = shown();
        assert!(bar.contains("1.00 MiB/4.00 MiB") && bar.contains("█"), "{bar}");
        progress.figures(None);
        let spinner = shown();
        assert!(spinner.contains("savepoint 1") && !spinner.contains("MiB"), "{spinner}");
    }
}
