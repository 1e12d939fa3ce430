//! The key by which a client makes a repeated request one.

use axum::http::HeaderMap;

use crate::error::{Error, Result};
use crate::job::savepoints::MAX_CLIENT_KEY_BYTES;

/// The header `Idempotency-Key`; errors have code `invalid_idempotency_key`.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().ok().filter(|t| !t.is_empty() && t.len() <= MAX_CLIENT_KEY_BYTES);
    let text = text.ok_or_else(|| {
        Error::invalid(
            "invalid_idempotency_key",
            format!("Idempotency-Key must be 1 to {MAX_CLIENT_KEY_BYTES} visible ASCII characters"),
        )
    })?;
    Ok(Some(text.to_owned()))
}

/// The key of a request that may carry it in its header or in its body; not a different one in each.
pub fn client_key(headers: &HeaderMap, body: Option<String>) -> Result<Option<String>> {
    match (idempotency_key(headers)?, body) {
        (Some(header), Some(body)) if header != body => Err(Error::invalid(
            "invalid_idempotency_key",
            "the header Idempotency-Key and the member client_key differ: send one of them",
        )
        .at_pointer("/client_key")),
        (header, body) => Ok(header.or(body)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_from_the_header_or_the_body() {
        let check = |header: Option<&str>, body: Option<&str>, expected: Option<Option<&str>>| {
            let headers =
                header.map(|h| ("idempotency-key".parse().unwrap(), h.parse().unwrap())).into_iter().collect();
            let got = client_key(&headers, body.map(str::to_owned)).ok();
            assert_eq!(got, expected.map(|k| k.map(str::to_owned)), "{header:?} {body:?}");
        };
        check(None, None, Some(None));
        check(Some("a"), None, Some(Some("a")));
        check(None, Some("a"), Some(Some("a")));
        check(Some("a"), Some("a"), Some(Some("a")));
        check(Some("a"), Some("b"), None);
        check(Some(""), None, None);
        check(Some(&"x".repeat(256)), None, None);
    }
}
