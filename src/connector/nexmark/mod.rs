//! The `nexmark` source: auctions, the people who sell and bid, and their bids, as one stream of events.
//!
//! The option names are those of Flink's nexmark connector, and `seed`, `inflight-auctions`, `active-people` and
//! `rows-per-second` (a limit by wall-clock time; none by default). Event number n belongs to split n % splits.

mod generator;
mod reader;

use self::generator::Config;
use super::options::{Options, invalid, offer};
use super::{SourceConnector, SourceReader, SplitState, TaskContext};
use crate::error::{Error, Result};
use crate::graph::SourceSpec;

const OPTIONS: &[&str] = &[
    "events.num",
    "first-event.rate",
    "next-event.rate",
    "base-time",
    "seed",
    "rows-per-second",
    "inflight-auctions",
    "active-people",
    "person.proportion",
    "auction.proportion",
    "bid.proportion",
    "person.avg-size",
    "auction.avg-size",
    "bid.avg-size",
    "bid.hot-ratio.auctions",
    "bid.hot-ratio.bidders",
    "auction.hot-ratio.sellers",
];

/// The connector.
pub struct Nexmark;

impl SourceConnector for Nexmark {
    fn validate(&self, spec: &SourceSpec) -> Result<()> {
        let options = Options::new(&spec.connector);
        options.refuse_unknown(OPTIONS)?;
        if let Some((key, _)) = spec.metadata.first() {
            return Err(Error::invalid("unknown_metadata", format!("nexmark has no metadata '{key}'")));
        }
        config(options)?;
        limits(options)?;
        reader::outputs(&spec.physical).map(|_| ())
    }

    fn discover(&self, _: &SourceSpec, parallelism: usize) -> Result<Vec<SplitState>> {
        let split = |i: usize| {
            let position = serde_json::json!({"v": 1, "next": i, "step": parallelism});
            SplitState { id: format!("{i}-of-{parallelism}"), finished: false, started: false, position }
        };
        Ok((0..parallelism).map(split).collect())
    }

    fn reader(&self, spec: &SourceSpec, context: &TaskContext, all: Vec<SplitState>) -> Result<Box<dyn SourceReader>> {
        let options = Options::new(&spec.connector);
        let (events, rate) = limits(options)?;
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let rate = rate.map(|r| r / context.parallelism.max(1) as f64);
        let own = all.into_iter().enumerate().filter(|(i, _)| i % context.parallelism == context.subtask);
        let own = own.map(|(_, s)| s).collect();
        Ok(Box::new(reader::Reader::new(&spec.physical, config(options)?, events, rate, own)?))
    }
}

/// The number of events, if limited, and the events per second of wall-clock time, if limited.
fn limits(options: Options<'_>) -> Result<(Option<u64>, Option<f64>)> {
    let events = options.number::<u64>("events.num")?.filter(|n| *n > 0);
    let rate = options.number::<f64>("rows-per-second")?;
    match rate {
        Some(r) if !(r > 0.0 && r.is_finite()) => Err(invalid("rows-per-second", &r.to_string(), "above zero")),
        rate => Ok((events, rate)),
    }
}

fn config(options: Options<'_>) -> Result<Config> {
    let d = Config::default();
    let at_least = |name: &str, least: u64, default: u64| -> Result<u64> {
        Ok(options.number_from(name, least)?.unwrap_or(default))
    };
    let first_rate = options.number_from("first-event.rate", 1)?;
    let next_rate = options.number_from("next-event.rate", 1)?;
    if let (Some(a), Some(b)) = (first_rate, next_rate)
        && a != b
    {
        return Err(invalid(
            "next-event.rate",
            &b.to_string(),
            "the same as 'first-event.rate': a changing rate is not supported",
        ));
    }
    let config = Config {
        seed: options.number("seed")?.unwrap_or(d.seed),
        events_per_second: first_rate.or(next_rate).unwrap_or(d.events_per_second),
        base_ms: base_ms(options)?.unwrap_or(d.base_ms),
        persons: at_least("person.proportion", 1, d.persons)?,
        auctions: at_least("auction.proportion", 1, d.auctions)?,
        bids: at_least("bid.proportion", 0, d.bids)?,
        person_bytes: at_least("person.avg-size", 0, d.person_bytes)?,
        auction_bytes: at_least("auction.avg-size", 0, d.auction_bytes)?,
        bid_bytes: at_least("bid.avg-size", 0, d.bid_bytes)?,
        hot_auctions: at_least("bid.hot-ratio.auctions", 1, d.hot_auctions)?,
        hot_bidders: at_least("bid.hot-ratio.bidders", 1, d.hot_bidders)?,
        hot_sellers: at_least("auction.hot-ratio.sellers", 1, d.hot_sellers)?,
        inflight_auctions: at_least("inflight-auctions", 1, d.inflight_auctions)?,
        active_people: at_least("active-people", 1, d.active_people)?,
    };
    for name in ["person", "auction", "bid"] {
        // Sums and products of these stay far from overflow, and texts in a batch below 2 GiB.
        for what in ["proportion", "avg-size"] {
            let option = format!("{name}.{what}");
            if options.number::<u64>(&option)?.is_some_and(|n| n > 100_000) {
                return Err(invalid(&option, options.get(&option).unwrap_or_default(), "at most 100000"));
            }
        }
    }
    for option in ["inflight-auctions", "active-people"] {
        if options.number::<u64>(option)?.is_some_and(|n| n > 1_000_000_000) {
            return Err(invalid(option, options.get(option).unwrap_or_default(), "at most 1000000000"));
        }
    }
    Ok(config)
}

/// The option `base-time`: epoch milliseconds, or a timestamp in UTC.
fn base_ms(options: Options<'_>) -> Result<Option<i64>> {
    use super::format::temporal::{parse_timestamp, to_unit};
    let Some(text) = options.get("base-time") else { return Ok(None) };
    let plain = text.trim().trim_end_matches('Z').as_bytes();
    let stamp = parse_timestamp(plain, b' ').or_else(|| parse_timestamp(plain, b'T'));
    let ms = text.trim().parse().ok().or_else(|| stamp.and_then(|(s, n)| to_unit(s, n, 3)));
    match ms {
        Some(ms) => Ok(Some(ms)),
        None => Err(invalid("base-time", text, "epoch milliseconds or a timestamp such as '2026-01-01 00:00:00'")),
    }
}

fn unknown_column(name: &str, known: &[&str]) -> Error {
    Error::invalid("unknown_column", format!("nexmark has no column '{name}'; {}", offer(name, known)))
}
