//! `[console]`: who may look at the gate, and who may steer it.

use std::sync::Arc;
use std::time::Duration;

use super::reader::{At, Table};
use super::{Database, User, reference};

/// Names under which clients find the console instead of a database.
pub const CONSOLE_NAMES: [&str; 2] = ["portcullis", "pgbouncer"];

/// Who may use the console, and how it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleConfig {
    /// Users that may do everything.
    pub admins: Vec<Arc<str>>,
    /// Users that may only look.
    pub readers: Vec<Arc<str>>,
    /// Time over which averages are taken.
    pub stats_period: Duration,
}

impl Default for ConsoleConfig {
    fn default() -> Self {
        ConsoleConfig {
            admins: Vec::new(),
            readers: Vec::new(),
            stats_period: Duration::from_secs(60),
        }
    }
}

/// What somebody may do on the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsoleRole {
    /// Everything.
    Admin,
    /// SHOW.
    Reader,
}

impl ConsoleConfig {
    /// Whether there is a console at all.
    pub fn is_open(&self) -> bool {
        !(self.admins.is_empty() && self.readers.is_empty())
    }

    /// Whether a database name means the console.
    pub fn answers_to(&self, database: &str) -> bool {
        self.is_open() && CONSOLE_NAMES.contains(&database)
    }

    /// What this user may do; none: not even look.
    pub fn role(&self, user: &str) -> Option<ConsoleRole> {
        if self.admins.iter().any(|name| **name == *user) {
            Some(ConsoleRole::Admin)
        } else if self.readers.iter().any(|name| **name == *user) {
            Some(ConsoleRole::Reader)
        } else {
            None
        }
    }
}

pub(super) fn read(
    top: Table<'_>,
    databases: &[Arc<Database>],
    users: &[Arc<User>],
) -> ConsoleConfig {
    let default = ConsoleConfig::default();
    let Some(table) = top.table("console", &reference::CONSOLE) else {
        return default;
    };
    let names = |key| {
        let found = table.texts(key);
        for name in &found {
            check_user(table, name, users);
        }
        found.iter().map(|name| Arc::from(name.value)).collect()
    };
    let console = ConsoleConfig {
        admins: names("admins"),
        readers: names("readers"),
        stats_period: table
            .duration("stats_period")
            .unwrap_or(default.stats_period)
            .max(Duration::from_secs(1)),
    };
    let called = |database: &Arc<Database>| {
        let mut names = database.aliases.clone();
        names.push(database.name.clone());
        names
    };
    for name in databases.iter().flat_map(called) {
        if console.answers_to(&name) {
            let message = format!(
                "a database is called `{name}`, and under that name clients find the console"
            );
            let hint = "rename the database, or leave `admins` and `readers` empty";
            table.problems.error(table.span(), message, hint);
        }
    }
    console
}

/// A name that nobody has is a mistake that would only be noticed in an emergency.
fn check_user(table: Table<'_>, name: &At<&str>, users: &[Arc<User>]) {
    // Judged only when the users themselves were read.
    if users.is_empty() || users.iter().any(|user| *user.name == *name.value) {
        return;
    }
    let near = super::nearest(name.value, users.iter().map(|user| &*user.name));
    let hint = near.map_or_else(
        || "add a [[user]] with this name".to_owned(),
        |near| format!("did you mean \"{near}\"?"),
    );
    let message = format!("there is no user `{}` in this file", name.value);
    table.problems.warning(name.span.clone(), message, hint);
}
