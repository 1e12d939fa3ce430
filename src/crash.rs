//! Places at which a test stops the process, as a power cut would.
//!
//! Inert unless the environment variable `HOLDFAST_CRASH_AT` names a point when the process starts: `NAME` or `NAME:N`
//! (the N-th passage, from 1). The points are the numbered steps of a checkpoint's life, see `checkpoint`.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

struct Armed {
    name: String,
    passages_left: AtomicU64,
}

static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| {
    let text = std::env::var("HOLDFAST_CRASH_AT").ok()?;
    let (name, count) = match text.rsplit_once(':') {
        Some((name, count)) => (name.to_owned(), count.parse().unwrap_or(1)),
        None => (text, 1),
    };
    Some(Armed { name, passages_left: AtomicU64::new(count) })
});

/// Passes a point: aborts the process if a test armed it.
pub fn point(name: &str) {
    if let Some(armed) = ARMED.as_ref()
        && armed.name == name
        && armed.passages_left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        std::process::abort();
    }
}
