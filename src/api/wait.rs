//! `?wait=30s`: how long a request may wait for its result.

use std::time::Duration;

use crate::error::{Error, Result};

/// Longest wait of one request.
pub const MAX_WAIT: Duration = Duration::from_secs(120);

/// The wait that a request asks for; none = answer at once.
#[derive(Debug, Clone, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WaitQuery {
    /// Answer when done, but at the latest after this time, such as `30s` or `500ms` (at most `120s`).
    pub wait: Option<String>,
}

impl WaitQuery {
    /// The duration; errors have code `invalid_wait`.
    pub fn duration(&self) -> Result<Option<Duration>> {
        self.wait.as_deref().map(parse).transpose()
    }
}

fn parse(text: &str) -> Result<Duration> {
    let ms = crate::sql::duration::parse_ms(text).map_err(|_| {
        Error::invalid("invalid_wait", format!("wait '{text}' is not a duration; write for example 30s"))
    })?;
    Ok(Duration::from_millis(ms).min(MAX_WAIT))
}

/// The wait in a raw query string, for the request's time limit.
pub fn from_query(query: &str) -> Option<Duration> {
    query.split('&').find_map(|p| p.strip_prefix("wait=")).and_then(|w| parse(w).ok())
}
