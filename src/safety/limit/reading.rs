//! Two readings of the server's counters become a number of rows.

use crate::backend::postgres::catalog::{Counter, Oid};
use crate::model::Refusal;
use crate::model::refusal::sqlstate;

use super::{Group, Ledger};

/// The answer of one `counter_query`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readings {
    counters: Vec<Counter>,
}

/// What happened to a group of tables between two readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delta {
    /// So many rows were inserted, updated or deleted.
    Rows(u64),
    /// A table got a new file: it was truncated or rewritten.
    Rewritten,
    /// A table is gone.
    Dropped,
    /// The server did not count (track_counts is off) or did not answer for every table.
    Uncounted,
}

impl Readings {
    /// From the rows, in any order.
    pub fn new(counters: impl IntoIterator<Item = Counter>) -> Readings {
        let mut counters: Vec<Counter> = counters.into_iter().collect();
        counters.sort_by_key(|counter| counter.oid);
        Readings { counters }
    }

    fn get(&self, oid: Oid) -> Option<&Counter> {
        let index = self
            .counters
            .binary_search_by_key(&oid, |counter| counter.oid)
            .ok()?;
        self.counters.get(index)
    }

    /// What happened to these tables since `before`.
    pub fn since(&self, before: &Readings, oids: &[Oid]) -> Delta {
        let mut rows: u64 = 0;
        for oid in oids {
            let (Some(before), Some(after)) = (before.get(*oid), self.get(*oid)) else {
                return Delta::Uncounted;
            };
            if !before.tracked || !after.tracked {
                return Delta::Uncounted;
            }
            match (before.filenode, after.filenode) {
                (old, new) if old == new => {}
                (Some(_), None) => return Delta::Dropped,
                _ => return Delta::Rewritten,
            }
            match after.changed.checked_sub(before.changed) {
                Some(changed) => rows = rows.saturating_add(changed),
                None => return Delta::Rewritten,
            }
        }
        Delta::Rows(rows)
    }
}

impl Ledger {
    /// Books what happened between two readings, or refuses.
    pub fn settle(
        &mut self,
        groups: &[Group],
        before: &Readings,
        after: &Readings,
    ) -> Result<(), Refusal> {
        for group in groups {
            match after.since(before, &group.oids) {
                Delta::Rows(rows) => self.add(group, rows)?,
                Delta::Rewritten => return Err(group.removed("empty or rewrite")),
                Delta::Dropped => return Err(group.removed("drop")),
                Delta::Uncounted => return Err(group.uncounted()),
            }
        }
        Ok(())
    }
}

impl Group {
    /// The refusal of a statement that does away with a whole table.
    pub(super) fn removed(&self, how: &str) -> Refusal {
        self.refuse(format!(
            "statement would {how} \"{}\", the limit is {} rows",
            self.label, self.limit
        ))
        .detail("the rows that this changes cannot be counted")
        .hint("delete rows within the limit, or have the limit lifted for this user")
    }

    fn uncounted(&self) -> Refusal {
        Refusal {
            code: sqlstate::ROW_LIMIT,
            ..self
                .refuse(format!(
                    "the rows changed in \"{}\" cannot be counted",
                    self.label
                ))
                .detail("the server keeps no counts in this session")
                .hint("set track_counts to on")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(oid: Oid, changed: u64, filenode: Option<u32>) -> Counter {
        Counter {
            oid,
            changed,
            filenode,
            tracked: true,
        }
    }

    fn delta(before: &[Counter], after: &[Counter]) -> Delta {
        Readings::new(after.iter().copied()).since(&Readings::new(before.iter().copied()), &[1, 2])
    }

    #[test]
    fn adds_the_differences_of_all_members() {
        let before = [counter(2, 1000, Some(2)), counter(1, 7, Some(1))];
        let after = [counter(1, 10, Some(1)), counter(2, 1040, Some(2))];
        assert_eq!(delta(&before, &after), Delta::Rows(43));
    }

    #[test]
    fn a_new_file_or_none_is_never_a_number() {
        let before = [counter(1, 7, Some(1)), counter(2, 0, Some(2))];
        let cases = [
            (
                [counter(1, 7, Some(1)), counter(2, 0, Some(3))],
                Delta::Rewritten,
            ),
            (
                [counter(1, 7, Some(1)), counter(2, 0, None)],
                Delta::Dropped,
            ),
            (
                [counter(1, 3, Some(1)), counter(2, 0, Some(2))],
                Delta::Rewritten,
            ),
            (
                [
                    Counter {
                        tracked: false,
                        ..before[0]
                    },
                    before[1],
                ],
                Delta::Uncounted,
            ),
            ([before[0], counter(3, 0, None)], Delta::Uncounted),
        ];
        for (after, expected) in cases {
            assert_eq!(delta(&before, &after), expected);
        }
    }

    #[test]
    fn a_partitioned_table_without_a_file_stays_without() {
        let before = [counter(1, 0, None), counter(2, 5, Some(2))];
        let after = [counter(1, 0, None), counter(2, 9, Some(2))];
        assert_eq!(delta(&before, &after), Delta::Rows(4));
    }
}
