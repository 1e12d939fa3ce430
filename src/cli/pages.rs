//! Lists that come in pages.

use super::failure::Failure;
use super::output::note;

/// Most items that the service puts on a page.
const PAGE: u32 = 200;

/// One page, as its own type gives it.
pub type Page<T> = (Vec<T>, Option<String>);

/// Up to `limit` items, page after page, and the token behind them if there are more.
pub async fn collect<T>(
    limit: u32,
    fetch: impl AsyncFn(Vec<(&'static str, String)>) -> Result<Page<T>, Failure>,
) -> Result<Page<T>, Failure> {
    let mut items: Vec<T> = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let missing = limit.saturating_sub(u32::try_from(items.len()).unwrap_or(u32::MAX));
        let mut query = vec![("limit", missing.clamp(1, PAGE).to_string())];
        query.extend(token.take().map(|t| ("page_token", t)));
        let (page, next) = fetch(query).await?;
        let ended = page.is_empty() || next.is_none();
        items.extend(page);
        if ended || items.len() >= usize::try_from(limit).unwrap_or(usize::MAX) {
            return Ok((items, next));
        }
        token = next;
    }
}

/// Says that a list was cut.
pub fn note_if_cut(shown: usize, next: Option<&String>) {
    if next.is_some() {
        note(&format!("the newest {shown} are shown; there are more (--limit)"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pages_are_followed_up_to_the_limit() {
        async fn check(total: u32, limit: u32, expected: usize, more: bool) {
            let fetch = async |query: Vec<(&'static str, String)>| {
                let number =
                    |name: &str| query.iter().find(|(k, _)| *k == name).map(|(_, v)| v.parse::<u32>().unwrap());
                let start = number("page_token").unwrap_or(0);
                let end = (start + number("limit").unwrap()).min(total);
                Ok(((start..end).collect(), (end < total).then(|| end.to_string())))
            };
            let (items, next) = collect(limit, fetch).await.unwrap();
            assert_eq!((items.len(), next.is_some()), (expected, more), "{total} {limit}");
            assert!(items.iter().enumerate().all(|(i, n)| i == *n as usize));
        }
        check(0, 50, 0, false).await;
        check(10, 50, 10, false).await;
        check(1_000, 450, 450, true).await;
        check(450, 450, 450, false).await;
        check(1_000, 5_000, 1_000, false).await;
    }
}
