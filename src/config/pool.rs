//! `pool` of a database, and what is different for a user.

use std::time::Duration;

use super::reader::Table;
use super::reference;

/// Pool settings of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// When a link goes back.
    pub mode: PoolMode,
    /// Most server connections.
    pub max: usize,
    /// How long a client may wait for one.
    pub wait_timeout: Duration,
    /// When a client that waits is told so.
    pub wait_notice: Duration,
    /// How long connecting and logging in may take.
    pub connect_timeout: Duration,
    /// Idle connections older than this are closed.
    pub idle_timeout: Duration,
    /// Connections older than this are closed once they are idle.
    pub lifetime: Duration,
    /// How long putting a connection in order between two clients may take.
    pub clean_timeout: Duration,
    /// Prepared statements kept on one connection.
    pub prepared_max: usize,
}

/// When a session gives its link back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PoolMode {
    /// When its client leaves.
    Session,
    /// After each transaction.
    Transaction,
    /// After each statement; transactions of several statements are refused.
    Statement,
}

impl Default for Pool {
    fn default() -> Self {
        Pool {
            mode: PoolMode::Session,
            max: 40,
            wait_timeout: Duration::from_secs(10),
            wait_notice: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(600),
            lifetime: Duration::from_secs(3600),
            clean_timeout: Duration::from_secs(5),
            prepared_max: 500,
        }
    }
}

/// What a user has different from the pool of its database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UserPool {
    /// When a link goes back.
    pub mode: Option<PoolMode>,
    /// How long its clients may wait for a link.
    pub wait_timeout: Option<Duration>,
    /// When a client that waits is told so.
    pub wait_notice: Option<Duration>,
}

const MODES: [(&str, PoolMode); 3] = [
    ("session", PoolMode::Session),
    ("transaction", PoolMode::Transaction),
    ("statement", PoolMode::Statement),
];

/// `database.pool`
pub(super) fn read(table: Table<'_>) -> Pool {
    let default = Pool::default();
    let Some(table) = table.table("pool", &reference::POOL) else {
        return default;
    };
    let time = |key, default| table.timeout(key).unwrap_or(default);
    Pool {
        mode: table
            .choice("mode", &MODES)
            .map_or(default.mode, |mode| mode.value),
        max: table.number("max", 1..=100_000).unwrap_or(default.max),
        wait_timeout: time("wait_timeout", default.wait_timeout),
        wait_notice: time("wait_notice", default.wait_notice),
        connect_timeout: time("connect_timeout", default.connect_timeout),
        idle_timeout: time("idle_timeout", default.idle_timeout),
        lifetime: time("lifetime", default.lifetime),
        clean_timeout: time("clean_timeout", default.clean_timeout),
        prepared_max: table
            .number("prepared_max", 1..=100_000)
            .unwrap_or(default.prepared_max),
    }
}

/// `user.pool`
pub(super) fn read_user(table: Table<'_>) -> UserPool {
    let Some(table) = table.table("pool", &reference::USER_POOL) else {
        return UserPool::default();
    };
    UserPool {
        mode: table.choice("mode", &MODES).map(|mode| mode.value),
        wait_timeout: table.timeout("wait_timeout"),
        wait_notice: table.timeout("wait_notice"),
    }
}
