//! Rows changed, counted exactly.
//!
//! SQLite's update hook is called for every row, in triggers and cascades too.
//! It stays silent in three cases, and each is made good elsewhere: all rows
//! dropped at once (the authorizer forbids that, see `guard`), tables WITHOUT
//! ROWID (total_changes knows them), and rows that REPLACE removes (counted
//! before and after, see `thread`).

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use rusqlite::hooks::Action;

/// Rows changed in one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// `public` or `pg_temp`.
    pub schema: &'static str,
    /// Table, lower case.
    pub table: String,
    /// Rows added.
    pub inserted: u64,
    /// Rows changed in place.
    pub updated: u64,
    /// Rows removed.
    pub deleted: u64,
}

impl Changes {
    /// None yet.
    pub fn none(schema: &'static str, table: &str) -> Changes {
        Changes {
            schema,
            table: table.to_owned(),
            inserted: 0,
            updated: 0,
            deleted: 0,
        }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.inserted
            .saturating_add(self.updated)
            .saturating_add(self.deleted)
    }

    fn since(&self, before: Option<&Changes>) -> Changes {
        let Some(before) = before else {
            return self.clone();
        };
        Changes {
            schema: self.schema,
            table: self.table.clone(),
            inserted: self.inserted.saturating_sub(before.inserted),
            updated: self.updated.saturating_sub(before.updated),
            deleted: self.deleted.saturating_sub(before.deleted),
        }
    }
}

#[derive(Default)]
struct State {
    changes: Vec<Changes>,
    marks: Vec<(String, Vec<Changes>)>,
}

/// Counters of the transaction of one connection.
#[derive(Clone, Default)]
pub struct Tally(Arc<Mutex<State>>);

impl Tally {
    /// Installs the hook.
    pub fn install(connection: &Connection) -> Tally {
        let tally = Tally::default();
        let seen = tally.clone();
        connection.update_hook(Some(
            move |action: Action, database: &str, table: &str, _row: i64| {
                seen.count(action, database, table);
            },
        ));
        tally
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, action: Action, database: &str, table: &str) {
        let schema = match database {
            "main" => "public",
            "temp" => "pg_temp",
            _ => return,
        };
        let mut state = self.lock();
        let changes = entry(&mut state.changes, schema, table);
        match action {
            Action::SQLITE_INSERT => changes.inserted += 1,
            Action::SQLITE_DELETE => changes.deleted += 1,
            _ => changes.updated += 1,
        }
    }

    /// Adds what the hook cannot see.
    pub fn add(&self, unseen: &Changes) {
        let mut state = self.lock();
        let changes = entry(&mut state.changes, unseen.schema, &unseen.table);
        changes.inserted += unseen.inserted;
        changes.updated += unseen.updated;
        changes.deleted += unseen.deleted;
    }

    /// A transaction begins or has ended.
    pub fn reset(&self) {
        *self.lock() = State::default();
    }

    /// Rows changed in this transaction so far.
    pub fn now(&self) -> Vec<Changes> {
        self.lock().changes.clone()
    }

    /// What has come since an earlier `now`.
    pub fn since(&self, before: &[Changes]) -> Vec<Changes> {
        let state = self.lock();
        let differences = state
            .changes
            .iter()
            .map(|c| c.since(find(before, c.schema, &c.table)));
        differences.filter(|c| c.total() > 0).collect()
    }

    /// SAVEPOINT.
    pub fn mark(&self, name: &str) {
        let mut state = self.lock();
        let changes = state.changes.clone();
        state.marks.push((name.to_owned(), changes));
    }

    /// ROLLBACK TO: rows changed since do not count any more.
    pub fn rewind(&self, name: &str) {
        let mut state = self.lock();
        if let Some(at) = state.marks.iter().rposition(|(mark, _)| mark == name) {
            state.marks.truncate(at + 1);
            state.changes = state.marks[at].1.clone();
        }
    }

    /// RELEASE.
    pub fn release(&self, name: &str) {
        let mut state = self.lock();
        if let Some(at) = state.marks.iter().rposition(|(mark, _)| mark == name) {
            state.marks.truncate(at);
        }
    }
}

fn find<'c>(changes: &'c [Changes], schema: &str, table: &str) -> Option<&'c Changes> {
    changes
        .iter()
        .find(|c| c.schema == schema && c.table.eq_ignore_ascii_case(table))
}

fn entry<'c>(changes: &'c mut Vec<Changes>, schema: &'static str, table: &str) -> &'c mut Changes {
    let known = changes
        .iter()
        .position(|c| c.schema == schema && c.table.eq_ignore_ascii_case(table));
    let at = known.unwrap_or_else(|| {
        changes.push(Changes::none(schema, &table.to_ascii_lowercase()));
        changes.len() - 1
    });
    &mut changes[at]
}
