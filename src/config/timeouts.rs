//! How long things may take: `timeouts` at a database, overridden at a user.

use std::time::Duration;

use super::reader::Table;
use super::reference;

/// What a timeout is that is turned off: longer than anybody waits, and short
/// enough to be added to any clock.
pub const FOREVER: Duration = Duration::from_secs(100 * 366 * 86_400);

/// Timeouts as written; what is absent is said elsewhere or by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// One statement, from being sent to its answer.
    pub query: Option<Duration>,
    /// One transaction, implicit ones included.
    pub transaction: Option<Duration>,
    /// A client that has a transaction open and says nothing.
    pub idle_transaction: Option<Duration>,
    /// A client that has nothing open and says nothing.
    pub client_idle: Option<Duration>,
    /// A server that was asked to cancel.
    pub cancel: Option<Duration>,
}

impl Timeouts {
    /// These, and `others` where these say nothing.
    pub fn or(self, others: Timeouts) -> Timeouts {
        Timeouts {
            query: self.query.or(others.query),
            transaction: self.transaction.or(others.transaction),
            idle_transaction: self.idle_transaction.or(others.idle_transaction),
            client_idle: self.client_idle.or(others.client_idle),
            cancel: self.cancel.or(others.cancel),
        }
    }

    /// How long a cancel request, and the server's answer to it, may take.
    pub fn cancel(&self) -> Duration {
        self.cancel.unwrap_or(Duration::from_secs(10))
    }
}

/// `timeouts` of a database or a user.
pub(super) fn read(table: Table<'_>, section: &reference::Section) -> Timeouts {
    let Some(table) = table.table("timeouts", section) else {
        return Timeouts::default();
    };
    Timeouts {
        query: table.timeout("query"),
        transaction: table.timeout("transaction"),
        idle_transaction: table.timeout("idle_transaction"),
        client_idle: table.timeout("client_idle"),
        cancel: table.timeout("cancel"),
    }
}
