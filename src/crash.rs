//! Places at which a test stops the process, as a power cut would.
//!
//! Inert unless the environment variable `HOLDFAST_CRASH_AT` names a point when the process starts: `NAME` or `NAME:N`
//! (the N-th passage, from 1). The points are the numbered steps of a checkpoint's life, see `checkpoint`, of a stop, and
//! of operations on savepoints. `HOLDFAST_FAIL_AT`, likewise, makes an operation fail instead. Unit tests arm a point for
//! their own thread and catch the unwinding.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

struct Armed {
    name: String,
    passages_left: AtomicU64,
}

impl Armed {
    fn is_reached(&self, name: &str) -> bool {
        self.name == name && self.passages_left.fetch_sub(1, Ordering::SeqCst) == 1
    }
}

fn armed(variable: &str) -> Option<Armed> {
    let text = std::env::var(variable).ok()?;
    let (name, count) = match text.rsplit_once(':') {
        Some((name, count)) => (name.to_owned(), count.parse().unwrap_or(1)),
        None => (text, 1),
    };
    Some(Armed { name, passages_left: AtomicU64::new(count) })
}

static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| armed("HOLDFAST_CRASH_AT"));
static FAILING: LazyLock<Option<Armed>> = LazyLock::new(|| armed("HOLDFAST_FAIL_AT"));

/// Passes a point at which a test makes an operation fail, named by `HOLDFAST_FAIL_AT`.
pub fn fail(name: &str) -> Result<()> {
    match FAILING.as_ref() {
        Some(armed) if armed.is_reached(name) => {
            Err(Error::unavailable("disk_unavailable", format!("a test failed {name}")))
        }
        _ => Ok(()),
    }
}

/// Passes a point: aborts the process if a test armed it.
pub fn point(name: &str) {
    #[cfg(test)]
    here::point(name);
    if ARMED.as_ref().is_some_and(|armed| armed.is_reached(name)) {
        std::process::abort();
    }
}

/// Crashes of one thread, for tests that go on afterwards as another process would.
#[cfg(test)]
pub mod here {
    use std::cell::Cell;

    thread_local! {
        static PASSAGES_LEFT: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// What unwinds.
    pub struct Crash;

    /// Crashes at the `n`-th point (from 1) that this thread passes from now on; `None` = nowhere.
    pub fn arm(n: Option<u64>) {
        PASSAGES_LEFT.set(n);
    }

    /// Whether the armed crash has not come.
    pub fn is_armed() -> bool {
        PASSAGES_LEFT.get().is_some()
    }

    pub(super) fn point(_name: &str) {
        match PASSAGES_LEFT.get() {
            None => {}
            Some(n) if n > 1 => PASSAGES_LEFT.set(Some(n - 1)),
            Some(_) => {
                PASSAGES_LEFT.set(None);
                // Without the message that a panic prints.
                std::panic::resume_unwind(Box::new(Crash));
            }
        }
    }
}
