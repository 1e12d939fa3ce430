//! Asks a dependency again while it is away.

use std::time::Duration;

/// Tries, and the pause between them: half a minute in all, about the longest a database restart takes.
pub const TRIES: u32 = 60;
/// See [`TRIES`].
pub const PAUSE: Duration = Duration::from_millis(500);

/// Evaluates a call again while its answer is `Unavailable`; for calls that may be repeated. A macro, because a closure
/// that returns a borrowing future cannot be proven `Send` yet (rust-lang/rust#110338).
macro_rules! retry {
    ($call:expr) => {{
        let mut tries = 1;
        loop {
            match $call.await {
                Err(error)
                    if error.kind == crate::error::ErrorKind::Unavailable && tries < crate::job::retry::TRIES =>
                {
                    tries += 1;
                    tokio::time::sleep(crate::job::retry::PAUSE).await;
                }
                result => break result,
            }
        }
    }};
}
pub(super) use retry;
