//! The table that a changelog describes.
//!
//! A row is known by its content, as in Flink's retract changelogs: `-U` and `-D` take away one equal row, the newest.
//! Invariant: an update keeps its row's place, so that the table reads in the order in which rows first appeared.

use std::collections::HashMap;

use serde_json::Value;

use super::lines::{Change, Op};
use crate::cli::failure::{Exit, Failure};

/// Rows that a table may have here; more belong into a sink.
const MAX_ROWS: usize = 5_000_000;

/// See the module text.
#[derive(Debug, Default)]
pub struct Fold {
    /// Rows in order; `None` = taken away.
    rows: Vec<Option<Vec<Value>>>,
    /// Places of each row's text.
    places: HashMap<String, Vec<usize>>,
    /// The place that the last `-U` left.
    left: Option<usize>,
}

impl Fold {
    /// Applies one change.
    pub fn apply(&mut self, change: Change) -> Result<(), Failure> {
        let key = Value::from(change.row.clone()).to_string();
        let left = self.left.take();
        match change.op {
            Op::Insert => self.put(key, change.row, None),
            Op::UpdateAfter => self.put(key, change.row, left),
            Op::UpdateBefore => {
                self.left = Some(self.take(&key)?);
                Ok(())
            }
            Op::Delete => self.take(&key).map(drop),
        }
    }

    fn put(&mut self, key: String, row: Vec<Value>, place: Option<usize>) -> Result<(), Failure> {
        let place = place.unwrap_or(self.rows.len());
        match self.rows.get_mut(place) {
            Some(slot) => *slot = Some(row),
            None if place >= MAX_ROWS => {
                let detail = format!(
                    "the result has more than {MAX_ROWS} rows; use --changelog or --limit, or write it to a table"
                );
                return Err(Failure::new(Exit::Failed, "result_too_large", detail));
            }
            None => self.rows.push(Some(row)),
        }
        self.places.entry(key).or_default().push(place);
        Ok(())
    }

    fn take(&mut self, key: &str) -> Result<usize, Failure> {
        let places = self.places.get_mut(key);
        let Some(place) = places.and_then(Vec::pop) else {
            let detail =
                format!("the query took away a row that it never gave: {key}; please report it with the query");
            return Err(Failure::new(Exit::Failed, "inconsistent_changelog", detail));
        };
        if self.places.get(key).is_some_and(Vec::is_empty) {
            self.places.remove(key);
        }
        if let Some(slot) = self.rows.get_mut(place) {
            *slot = None;
        }
        Ok(place)
    }

    /// The rows of the table as it is now.
    pub fn rows(&self) -> impl Iterator<Item = &Vec<Value>> {
        self.rows.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(text: &str) -> Change {
        let (op, row) = text.split_at(2);
        let op =
            [Op::Insert, Op::UpdateBefore, Op::UpdateAfter, Op::Delete].into_iter().find(|o| o.as_str() == op).unwrap();
        Change { op, row: row.split(',').map(Value::from).collect() }
    }

    #[test]
    fn a_changelog_folds_to_its_table() {
        let check = |changes: &[&str], expected: &[&str]| {
            let mut fold = Fold::default();
            for text in changes {
                fold.apply(change(text)).unwrap();
            }
            let rows: Vec<String> =
                fold.rows().map(|r| r.iter().map(|c| c.as_str().unwrap()).collect::<Vec<_>>().join(",")).collect();
            assert_eq!(rows, expected, "{changes:?}");
        };
        check(&["+Ia,1", "+Ib,1"], &["a,1", "b,1"]);
        check(&["+Ia,1", "+Ib,1", "-Ua,1", "+Ua,2"], &["a,2", "b,1"]);
        check(&["+Ia,1", "+Ib,1", "-Da,1"], &["b,1"]);
        check(&["+Ia", "+Ia", "-Da"], &["a"]);
        check(&["+Ia", "-Ua", "+Ib", "+Uc"], &["b", "c"]);
        check(&["+Ia", "-Ua", "+Ua"], &["a"]);
        check(&["+Ua"], &["a"]);
        check(&["+Ia", "-Da", "+Ia"], &["a"]);
    }

    #[test]
    fn taking_away_what_was_never_there_is_an_error() {
        let mut fold = Fold::default();
        assert_eq!(fold.apply(change("-Dx")).unwrap_err().code, "inconsistent_changelog");
    }
}
