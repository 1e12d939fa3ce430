//! Keys: relative paths that mean the same in every store and in a URI, without any escaping.

use crate::error::{Error, Result};

/// Longest key; S3 allows 1024 bytes, prefix included.
const MAX_KEY_BYTES: usize = 800;

/// Refuses what is not a key.
pub(super) fn check(key: &str) -> Result<()> {
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'=' | b'-'))
    };
    if key.len() <= MAX_KEY_BYTES && key.split('/').all(is_part) {
        return Ok(());
    }
    let shown: String = key.chars().take(100).collect();
    Err(Error::invalid(
        "invalid_object_key",
        format!("'{shown}' is not an object key: expected a relative path of letters, digits and '.', '_', '=', '-'"),
    ))
}

#[cfg(test)]
mod tests {
    #[test]
    fn keys_are_plain_relative_paths() {
        let long = "k".repeat(801);
        let cases = [
            ("a", true),
            ("jobs/0a/chk-1/manifest.json", true),
            ("A_b=c-1.sst", true),
            ("", false),
            ("/a", false),
            ("a/", false),
            ("a//b", false),
            ("a/../b", false),
            (".staging/x", false),
            ("a b", false),
            ("a%20b", false),
            ("ü", false),
            ("a#1", false),
            ("a\\b", false),
            (&long, false),
        ];
        for (key, expected) in cases {
            assert_eq!(super::check(key).is_ok(), expected, "{key}");
        }
    }
}
