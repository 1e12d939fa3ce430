//! Which kinds of rows a stream may carry.

use std::fmt;

/// The kinds of rows of a stream besides `+I`, which any may carry. Flink's `ChangelogMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct ChangelogMode {
    /// `+U`.
    pub update: bool,
    /// `-U` before each `+U`; only with `update`.
    pub update_before: bool,
    /// `-D`.
    pub delete: bool,
}

impl ChangelogMode {
    /// Rows are only added.
    pub const INSERT_ONLY: ChangelogMode = ChangelogMode { update: false, update_before: false, delete: false };
    /// All kinds.
    pub const ALL: ChangelogMode = ChangelogMode { update: true, update_before: true, delete: true };
    /// Updates without the row before, by key.
    pub const UPSERT: ChangelogMode = ChangelogMode { update: true, update_before: false, delete: true };

    /// Whether rows are only added.
    pub fn is_insert_only(self) -> bool {
        !self.update && !self.delete
    }
    /// The kinds of either.
    #[must_use]
    pub fn union(self, other: ChangelogMode) -> ChangelogMode {
        ChangelogMode {
            update: self.update || other.update,
            update_before: self.update_before || other.update_before,
            delete: self.delete || other.delete,
        }
    }
}

impl fmt::Display for ChangelogMode {
    /// As Flink's `EXPLAIN CHANGELOG_MODE`: `[I,UB,UA,D]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[I")?;
        for (has, kind) in [(self.update_before, ",UB"), (self.update, ",UA"), (self.delete, ",D")] {
            f.write_str(if has { kind } else { "" })?;
        }
        f.write_str("]")
    }
}
