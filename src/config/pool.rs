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
    /// Server connections kept ready.
    pub min: usize,
    /// Further server connections for clients that wait long.
    pub reserve: usize,
    /// How long is long.
    pub reserve_timeout: Duration,
    /// Most server connections of one server user.
    pub user_max: Option<usize>,
    /// Most clients.
    pub clients_max: Option<usize>,
    /// How long a client may wait for one.
    pub wait_timeout: Duration,
    /// When a client that waits is told so.
    pub wait_notice: Duration,
    /// How long connecting and logging in may take.
    pub connect_timeout: Duration,
    /// Idle connections older than this are closed.
    pub idle_timeout: Duration,
    /// How often host names are looked up anew.
    pub resolve_every: Duration,
    /// Connections older than this are closed once they are idle.
    pub lifetime: Duration,
    /// How long putting a connection in order between two clients may take.
    pub clean_timeout: Duration,
    /// A connection that was idle for so long is tried before somebody gets it.
    pub check_after: Duration,
    /// The connection that was idle longest is taken next, not the youngest.
    pub round_robin: bool,
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
            min: 0,
            reserve: 0,
            reserve_timeout: Duration::from_secs(5),
            user_max: None,
            clients_max: None,
            wait_timeout: Duration::from_secs(10),
            wait_notice: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(600),
            resolve_every: Duration::from_secs(15),
            lifetime: Duration::from_secs(3600),
            clean_timeout: Duration::from_secs(5),
            check_after: Duration::from_secs(30),
            round_robin: false,
            prepared_max: 500,
        }
    }
}

/// What a user has different from the pool of its database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UserPool {
    /// When a link goes back.
    pub mode: Option<PoolMode>,
    /// Most server connections of its own, in each database.
    pub max: Option<usize>,
    /// Most clients.
    pub clients_max: Option<usize>,
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
    let max = table.number("max", 1..=100_000).unwrap_or(default.max);
    let mode = table.choice("mode", &MODES);
    let mode = mode.map_or(default.mode, |mode| mode.value);
    let min = table.number("min", 0..=100_000).unwrap_or(default.min);
    if let Some(found) = table.get("min") {
        if min > max {
            let message = format!("`min` is {min}, and `max` is only {max}");
            table.problems.error(found.span, message, "raise `max`");
        } else if mode == PoolMode::Session {
            let message = "`min` makes no connections ready in session mode";
            let hint = "a session's connection is made for its start-up parameters";
            table.problems.warning(found.span, message, hint);
        }
    }
    Pool {
        mode,
        max,
        min,
        reserve: table
            .number("reserve", 0..=100_000)
            .unwrap_or(default.reserve),
        reserve_timeout: time("reserve_timeout", default.reserve_timeout),
        user_max: table.number("user_max", 1..=100_000),
        clients_max: table.number("clients_max", 1..=1_000_000),
        check_after: time("check_after", default.check_after),
        round_robin: table.flag("round_robin").unwrap_or(default.round_robin),
        wait_timeout: time("wait_timeout", default.wait_timeout),
        wait_notice: time("wait_notice", default.wait_notice),
        connect_timeout: time("connect_timeout", default.connect_timeout),
        idle_timeout: time("idle_timeout", default.idle_timeout),
        resolve_every: time("resolve_every", default.resolve_every),
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
        max: table.number("max", 1..=100_000),
        clients_max: table.number("clients_max", 1..=1_000_000),
        wait_timeout: table.timeout("wait_timeout"),
        wait_notice: table.timeout("wait_notice"),
    }
}
