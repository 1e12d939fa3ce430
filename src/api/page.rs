//! Opaque tokens of keyset pages.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Items of a page, if the request does not say.
pub const DEFAULT_LIMIT: u32 = 50;
/// Most items of a page.
pub const MAX_LIMIT: u32 = 200;

/// The token after which the next page starts.
pub fn encode<T: Serialize>(position: &T) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(position).expect("a position is plain data"))
}

/// The position of a token; errors have code `invalid_page_token`.
pub fn decode<T: DeserializeOwned>(token: &str) -> Result<T> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    bytes.and_then(|b| serde_json::from_slice(&b).ok()).ok_or_else(|| {
        Error::invalid("invalid_page_token", "the page token is not one that this service gave; start again without it")
    })
}

/// The requested page size, checked.
pub fn limit(requested: Option<u32>) -> Result<u32> {
    match requested.unwrap_or(DEFAULT_LIMIT) {
        n @ 1..=MAX_LIMIT => Ok(n),
        _ => Err(Error::invalid("invalid_limit", format!("limit must be between 1 and {MAX_LIMIT}"))),
    }
}

/// Cuts `items` (fetched with one more than `limit`) to a page; answers the position of the last if there are more.
pub fn cut<T>(mut items: Vec<T>, limit: u32, position: impl Fn(&T) -> String) -> (Vec<T>, Option<String>) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more { items.last().map(position) } else { None };
    (items, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_back_and_others_are_refused() {
        assert_eq!(decode::<(i64, String)>(&encode(&(5, "a"))).unwrap(), (5, "a".to_owned()));
        assert!(decode::<(i64, String)>("garbage").is_err());
        assert!(decode::<(i64, String)>(&encode(&"x")).is_err());
    }

    #[test]
    fn a_page_ends_where_the_next_begins() {
        assert_eq!(cut(vec![1, 2, 3], 2, ToString::to_string), (vec![1, 2], Some("2".into())));
        assert_eq!(cut(vec![1, 2], 2, ToString::to_string), (vec![1, 2], None));
    }
}
