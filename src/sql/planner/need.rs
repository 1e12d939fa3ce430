//! What of a column is needed: all of it, or some members of its `ROW`, recursively.
//!
//! Pruning a row renumbers its members, so that every access must go through a [`Layout`].

use std::collections::BTreeMap;

use crate::expr::Expr;
use crate::types::{DataType, Field, TypeKind};

/// What of a value is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    All,
    /// These members; never empty.
    Members(BTreeMap<usize, Need>),
}

/// What of each column is needed; absent columns are not.
pub type Needs = BTreeMap<usize, Need>;

impl Need {
    /// The need of a path of member positions.
    fn path(path: &[usize], end: Need) -> Need {
        match path.split_first() {
            None => end,
            Some((first, rest)) => Need::Members(BTreeMap::from([(*first, Need::path(rest, end))])),
        }
    }
    /// Adds another need.
    pub fn merge(&mut self, other: &Need) {
        match (&mut *self, other) {
            (Need::All, _) => {}
            (_, Need::All) => *self = Need::All,
            (Need::Members(mine), Need::Members(theirs)) => {
                for (index, need) in theirs {
                    merge_at(mine, *index, need);
                }
            }
        }
    }
    /// The type with only the needed members.
    pub fn prune(&self, data_type: &DataType) -> DataType {
        let (Need::Members(members), TypeKind::Row(fields)) = (self, &data_type.kind) else { return data_type.clone() };
        let kept = members
            .iter()
            .filter_map(|(i, need)| fields.get(*i).map(|f| Field::new(f.name.clone(), need.prune(&f.data_type))));
        DataType { kind: TypeKind::Row(kept.collect()), nullable: data_type.nullable }
    }
}

/// Adds the need of one column.
pub fn merge_at(needs: &mut Needs, index: usize, need: &Need) {
    match needs.get_mut(&index) {
        Some(mine) => mine.merge(need),
        None => {
            needs.insert(index, need.clone());
        }
    }
}

/// Adds what an expression needs when `need` of its value is needed.
pub fn collect(expr: &Expr, need: &Need, needs: &mut Needs) {
    let mut path = Vec::new();
    let mut at = expr;
    while let Expr::Field { row, index, .. } = at {
        path.push(*index);
        at = row;
    }
    if let Expr::Column { index, .. } = at {
        path.reverse();
        merge_at(needs, *index, &Need::path(&path, need.clone()));
        return;
    }
    for child in expr.children() {
        collect(child, &Need::All, needs);
    }
}

/// Where a relation's former columns are after pruning: position, what is left of them, type.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    pub columns: BTreeMap<usize, Slot>,
}

/// A former column after pruning.
#[derive(Debug, Clone)]
pub struct Slot {
    pub index: usize,
    pub need: Need,
    pub data_type: DataType,
}

impl Layout {
    /// The new position of a former column. Panics if it was pruned, which would be a defect: whoever maps a column has
    /// asked for it.
    pub fn index(&self, column: usize) -> usize {
        self.columns.get(&column).expect("a mapped column was needed").index
    }
    /// The expression over the new columns.
    pub fn remap(&self, expr: &Expr) -> Expr {
        self.remap_with_need(expr).0
    }
    /// The expression over the new columns, and what is left of its value.
    pub fn remap_with_need(&self, expr: &Expr) -> (Expr, Need) {
        if let Some(found) = self.remap_path(expr) {
            return found;
        }
        let mut copy = expr.clone();
        for child in copy.children_mut() {
            *child = self.remap(child);
        }
        (copy, Need::All)
    }
    fn remap_path(&self, expr: &Expr) -> Option<(Expr, Need)> {
        match expr {
            Expr::Column { index, data_type } => {
                let slot = self.columns.get(index).expect("a mapped column was needed");
                // A column that is whole keeps the type it was bound with (a time attribute, or not).
                let data_type = if slot.need == Need::All { data_type.clone() } else { slot.data_type.clone() };
                Some((Expr::column(slot.index, data_type), slot.need.clone()))
            }
            Expr::Field { row, index, data_type } => {
                let (row, need) = self.remap_path(row)?;
                let (index, need) = match need {
                    Need::All => (*index, Need::All),
                    Need::Members(members) => {
                        let rank = members.keys().take_while(|i| *i < index).count();
                        (rank, members.get(index).expect("a mapped member was needed").clone())
                    }
                };
                let data_type = need.prune(data_type);
                Some((Expr::Field { row: Box::new(row), index, data_type }, need))
            }
            _ => None,
        }
    }
}
