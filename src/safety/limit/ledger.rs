//! Rows changed so far in a transaction.

use std::sync::Arc;

use crate::model::Refusal;

use super::{Group, Scope};

/// Totals of one transaction, with a mark for each savepoint.
///
/// The server's counters keep counting what a savepoint rolled back; the ledger
/// does not: it forgets what came after the mark.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The first level is the transaction, each savepoint opens one more.
    levels: Vec<Level>,
}

#[derive(Debug, Default)]
struct Level {
    /// Savepoint; none for the transaction itself.
    name: Option<Arc<str>>,
    totals: Vec<Total>,
}

#[derive(Debug, Clone)]
struct Total {
    policy: Arc<str>,
    label: Arc<str>,
    rows: u64,
}

impl Total {
    fn is(&self, group: &Group) -> bool {
        self.label == group.label && self.policy == group.policy
    }
}

impl Ledger {
    /// Nothing changed yet.
    pub fn new() -> Ledger {
        Ledger::default()
    }

    /// Adds rows that a statement changed; refuses when the sum passes the limit.
    ///
    /// A refused statement is rolled back, so its rows are not added.
    pub fn add(&mut self, group: &Group, rows: u64) -> Result<(), Refusal> {
        let earlier = match group.scope {
            Scope::Transaction => self.total(group),
            Scope::Statement => 0,
        };
        let sum = earlier.saturating_add(rows);
        if sum > group.limit {
            return Err(group.refusal(sum, earlier));
        }
        if rows > 0 && group.scope == Scope::Transaction {
            self.book(group, rows);
        }
        Ok(())
    }

    /// Rows booked for the group in this transaction.
    pub fn total(&self, group: &Group) -> u64 {
        let totals = self.levels.iter().flat_map(|level| &level.totals);
        totals
            .filter(|total| total.is(group))
            .fold(0, |sum, total| sum.saturating_add(total.rows))
    }

    /// Whether anything was booked.
    pub fn is_empty(&self) -> bool {
        self.levels.iter().all(|level| level.totals.is_empty())
    }

    /// SAVEPOINT name.
    pub fn savepoint(&mut self, name: Arc<str>) {
        if self.levels.is_empty() {
            self.levels.push(Level::default());
        }
        self.levels.push(Level {
            name: Some(name),
            totals: Vec::new(),
        });
    }

    /// ROLLBACK TO name: forgets what came after it; the savepoint stays.
    pub fn rollback_to(&mut self, name: &str) {
        if let Some(index) = self.position(name) {
            self.levels.truncate(index + 1);
            if let Some(level) = self.levels.last_mut() {
                level.totals.clear();
            }
        }
    }

    /// RELEASE name: what came after it belongs to what is around it.
    pub fn release(&mut self, name: &str) {
        let Some(index) = self.position(name) else {
            return;
        };
        let inner: Vec<Total> = self
            .levels
            .drain(index..)
            .flat_map(|level| level.totals)
            .collect();
        for total in inner {
            self.merge(total);
        }
    }

    /// COMMIT, ROLLBACK, or the end of an implicit transaction.
    pub fn end(&mut self) {
        self.levels.clear();
    }

    /// The latest savepoint of that name, as the server looks for it.
    fn position(&self, name: &str) -> Option<usize> {
        self.levels
            .iter()
            .rposition(|level| level.name.as_deref() == Some(name))
    }

    fn book(&mut self, group: &Group, rows: u64) {
        self.merge(Total {
            policy: Arc::clone(&group.policy),
            label: Arc::clone(&group.label),
            rows,
        });
    }

    fn merge(&mut self, total: Total) {
        if self.levels.is_empty() {
            self.levels.push(Level::default());
        }
        let Some(level) = self.levels.last_mut() else {
            return;
        };
        let known = level
            .totals
            .iter_mut()
            .find(|t| t.label == total.label && t.policy == total.policy);
        match known {
            Some(known) => known.rows = known.rows.saturating_add(total.rows),
            None => level.totals.push(total),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(limit: u64) -> Group {
        Group {
            policy: "table_limits".into(),
            label: "users".into(),
            oids: Arc::from([16384]),
            limit,
            scope: Scope::Transaction,
        }
    }

    #[test]
    fn lets_exactly_the_limit_pass() {
        let mut ledger = Ledger::new();
        assert!(ledger.add(&users(100), 100).is_ok());
        let refusal = Ledger::new()
            .add(&users(100), 101)
            .expect_err("one too many");
        assert_eq!(
            &*refusal.message,
            "statement would change 101 rows of \"users\", the limit is 100"
        );
        assert_eq!(
            (refusal.code, refusal.constraint().as_str()),
            ("54000", "table_limits/rows-changed-max")
        );
    }

    #[test]
    fn adds_up_over_a_transaction_and_forgets_at_its_end() {
        let mut ledger = Ledger::new();
        ledger.add(&users(100), 60).expect("first");
        let refusal = ledger.add(&users(100), 60).expect_err("second");
        assert_eq!(
            &*refusal.message,
            "transaction would change 120 rows of \"users\", the limit is 100"
        );
        assert!(
            refusal.detail.starts_with("60 rows were changed earlier"),
            "{}",
            refusal.detail
        );
        ledger.end();
        ledger.add(&users(100), 60).expect("a new transaction");
    }

    #[test]
    fn a_statement_limit_does_not_add_up() {
        let mut ledger = Ledger::new();
        let group = Group {
            scope: Scope::Statement,
            ..users(100)
        };
        for _ in 0..3 {
            ledger.add(&group, 100).expect("each alone");
        }
        assert!(ledger.add(&group, 101).is_err());
    }

    #[test]
    fn rolling_back_to_a_savepoint_gives_its_rows_back() {
        let mut ledger = Ledger::new();
        ledger.add(&users(100), 40).expect("before");
        ledger.savepoint("a".into());
        ledger.add(&users(100), 50).expect("inside");
        ledger.rollback_to("a");
        assert_eq!(ledger.total(&users(100)), 40);
        ledger.add(&users(100), 60).expect("again up to the limit");
        ledger.rollback_to("a");
        assert_eq!(ledger.total(&users(100)), 40);
    }

    #[test]
    fn releasing_a_savepoint_keeps_its_rows() {
        let mut ledger = Ledger::new();
        ledger.savepoint("a".into());
        ledger.add(&users(100), 10).expect("a");
        ledger.savepoint("b".into());
        ledger.add(&users(100), 20).expect("b");
        ledger.release("a");
        assert_eq!(ledger.total(&users(100)), 30);
        ledger.rollback_to("b");
        assert_eq!(ledger.total(&users(100)), 30, "b went with a");
    }

    #[test]
    fn savepoints_of_one_name_hide_each_other() {
        let mut ledger = Ledger::new();
        ledger.savepoint("s".into());
        ledger.add(&users(100), 10).expect("outer");
        ledger.savepoint("s".into());
        ledger.add(&users(100), 20).expect("inner");
        ledger.rollback_to("s");
        assert_eq!(ledger.total(&users(100)), 10);
        ledger.release("s");
        ledger.rollback_to("s");
        assert_eq!(ledger.total(&users(100)), 0);
    }

    #[test]
    fn keeps_tables_and_policies_apart() {
        let mut ledger = Ledger::new();
        let orders = Group {
            label: "orders".into(),
            ..users(100)
        };
        let other = Group {
            policy: "other".into(),
            ..users(100)
        };
        for group in [&users(100), &orders, &other] {
            ledger.add(group, 100).expect("each has its own sum");
        }
    }

    #[test]
    fn huge_numbers_do_not_wrap() {
        let mut ledger = Ledger::new();
        let group = users(u64::MAX);
        ledger.add(&group, u64::MAX).expect("as many as there are");
        assert_eq!(ledger.total(&group), u64::MAX);
    }
}
