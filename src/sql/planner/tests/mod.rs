//! Plans, types and refusals of whole scripts. Connectors are not asked: their options are tested with them.

mod changelogs;
mod functions;
mod ids;
mod joins;
mod plans;
mod refusals;
mod scripts;
mod types;

use crate::connector::SinkChangelog;
use crate::error::{Error, Result};
use crate::expr;
use crate::sql::planner::Environment;
use crate::sql::{Planned, plan_job_with, plan_query_with};
use crate::types::Schema;
use crate::types::changelog::ChangelogMode;

const TABLES: &str = "
CREATE TABLE events (
  event_type INT,
  person ROW<id BIGINT, name STRING, emailAddress STRING, city STRING, state STRING, `dateTime` TIMESTAMP(3)>,
  auction ROW<id BIGINT, itemName STRING, initialBid BIGINT, reserve BIGINT, `dateTime` TIMESTAMP(3), category BIGINT>,
  bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, `dateTime` TIMESTAMP(3), extra STRING>,
  ts AS COALESCE(bid.`dateTime`, auction.`dateTime`, person.`dateTime`),
  WATERMARK FOR ts AS ts - INTERVAL '4' SECOND
) WITH ('connector' = 'filesystem', 'path' = '/in', 'format' = 'json');
CREATE VIEW auctions AS SELECT auction.id, auction.reserve, ts, auction.category FROM events WHERE event_type = 1;
CREATE VIEW bids AS SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, ts, bid.extra FROM events WHERE event_type = 2;
CREATE TABLE orders (
  order_id BIGINT, customer INT, product STRING, quantity INT, price DECIMAL(10, 2), rush BOOLEAN, ts TIMESTAMP(3),
  loaded TIMESTAMP(3) METADATA FROM 'file.modification-time' VIRTUAL,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '/orders', 'format' = 'json');
CREATE TABLE docs (
  id INT, s STRING, t STRING, i INT, l BIGINT, d DOUBLE, `dec` DECIMAL(12, 2), b BOOLEAN, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '/docs', 'format' = 'json');
CREATE TABLE sensors (
  id STRING, v DOUBLE, at_ms BIGINT, at AS TO_TIMESTAMP_LTZ(at_ms, 3), WATERMARK FOR at AS at
) WITH ('connector' = 'filesystem', 'path' = '/sensors', 'format' = 'json');
CREATE TABLE rates (currency STRING, rate DECIMAL(10, 4), ts TIMESTAMP(3), WATERMARK FOR ts AS ts, PRIMARY KEY (currency) NOT ENFORCED)
  WITH ('connector' = 'filesystem', 'path' = '/rates', 'format' = 'json');
CREATE TABLE lists (id INT, tags ARRAY<STRING>, m MAP<STRING, INT>, rs ARRAY<ROW<x INT, y STRING>>)
  WITH ('connector' = 'filesystem', 'path' = '/lists', 'format' = 'json');
CREATE TABLE lines (a INT, b STRING, c DOUBLE, d AS a + 1) WITH ('connector' = 'filesystem', 'path' = '/lines', 'format' = 'csv');
CREATE TABLE counts (bidder BIGINT, n BIGINT NOT NULL, window_start TIMESTAMP(3), window_end TIMESTAMP(3))
  WITH ('connector' = 'filesystem', 'path' = '/counts', 'format' = 'json');
CREATE TABLE prices (auction BIGINT, price BIGINT) WITH ('connector' = 'filesystem', 'path' = '/prices', 'format' = 'json');
CREATE TABLE `strict` (a INT NOT NULL, b STRING, c AS a + 1)
  WITH ('connector' = 'filesystem', 'path' = '/strict', 'format' = 'json');
";

fn environment() -> Environment {
    Environment {
        call: expr::call,
        prunes_columns: |c| c.options["format"] != "csv",
        source_changelog: |c| match c.options.get("format").map(String::as_str) {
            Some("debezium-json") => ChangelogMode::ALL,
            _ => ChangelogMode::INSERT_ONLY,
        },
        sink_changelog: |s| match s.connector.connector.as_str() {
            "print" => SinkChangelog::All,
            "upsert" => SinkChangelog::Upsert,
            _ => SinkChangelog::InsertOnly,
        },
        check_source: |_| Ok(()),
        check_sink: |_, _| Ok(()),
    }
}

/// A query over [`TABLES`].
fn query(sql: &str) -> Result<(Planned, Schema)> {
    plan_query_with(&format!("{TABLES}{sql}"), &environment())
}

/// A job over [`TABLES`].
fn job(sql: &str) -> Result<Planned> {
    plan_job_with(&format!("{TABLES}{sql}"), &environment())
}

/// The error's code and place, with lines counted from the text after [`TABLES`].
fn place_of(error: &Error) -> (String, u64, u64) {
    match error.place {
        Some(crate::error::Place::Sql { line, column }) => {
            (error.code.clone(), (line + 1).saturating_sub(TABLES.lines().count() as u64 + 1), column)
        }
        _ => (error.code.clone(), 0, 0),
    }
}
