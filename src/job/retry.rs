//! Asks a dependency again while it is away.

use std::time::Duration;

use crate::error::{ErrorKind, Result};

/// Tries, and the pause between them: half a minute in all, about the longest a database restart takes.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_millis(500);

/// Calls again while the answer is `Unavailable`; for calls that may be repeated.
pub async fn retry<T, F: Future<Output = Result<T>>>(call: impl Fn() -> F) -> Result<T> {
    let mut tries = 1;
    loop {
        match call().await {
            Err(error) if error.kind == ErrorKind::Unavailable && tries < TRIES => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}
