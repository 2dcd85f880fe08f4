//! Settings as they are now: PgBouncer's names for what has one, then ours.

use std::time::Duration;

use super::mode;
use crate::config::{Config, ConsoleConfig, Endpoint, Limits, LogConfig, Pool};
use crate::console::Console;
use crate::console::act::settings;
use crate::console::table::{Columns, Kind, Table, Value};

use Kind::Text;

pub(super) const CONFIG: Columns = &[
    ("key", Text),
    ("value", Text),
    ("default", Text),
    ("changeable", Text),
];

pub(super) fn fill(console: &Console, table: &mut Table) {
    let config = console.plant.config.load();
    let default = Config::default();
    for (key, value, standard) in entries(&config, &default) {
        let changeable = if settings::is_live(&key) { "yes" } else { "no" };
        table.row(vec![key.into(), value, standard, changeable.into()]);
    }
}

type Entry = (String, Value, Value);

fn entries(config: &Config, default: &Config) -> Vec<Entry> {
    let mut all = pgbouncers(config, default);
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all.extend(ours(config, default));
    all
}

fn entry(key: &str, value: impl Into<Value>, standard: impl Into<Value>) -> Entry {
    (key.to_owned(), text(value.into()), text(standard.into()))
}

/// Everything in this table is text.
fn text(value: Value) -> Value {
    match value {
        Value::Number(number) => number.to_string().into(),
        other => other,
    }
}

fn names(list: &[std::sync::Arc<str>]) -> String {
    list.iter()
        .map(|name| &**name)
        .collect::<Vec<_>>()
        .join(", ")
}

/// As PgBouncer writes durations: whole seconds.
fn seconds(time: Duration) -> u64 {
    time.as_secs()
}

/// The first listener that has a port.
pub(super) fn tcp(config: &Config) -> Option<std::net::SocketAddr> {
    let mut doors = config.listen.iter();
    doors.find_map(|door| match door.address {
        Endpoint::Tcp(address) => Some(address),
        _ => None,
    })
}

fn pgbouncers(config: &Config, default: &Config) -> Vec<Entry> {
    let pool = Pool::default();
    let (here, usual) = (tcp(config), tcp(default));
    let file = config.path.as_ref().map(|path| path.display().to_string());
    vec![
        entry("admin_users", names(&config.console.admins), ""),
        entry("stats_users", names(&config.console.readers), ""),
        entry(
            "stats_period",
            seconds(config.console.stats_period),
            seconds(ConsoleConfig::default().stats_period),
        ),
        entry("conffile", file, Value::Null),
        entry(
            "listen_addr",
            here.map(|at| at.ip().to_string()),
            usual.map(|at| at.ip().to_string()),
        ),
        entry(
            "listen_port",
            here.map(|at| u64::from(at.port())),
            usual.map(|at| u64::from(at.port())),
        ),
        entry(
            "max_client_conn",
            config.limits.clients_max,
            default.limits.clients_max,
        ),
        entry(
            "client_login_timeout",
            seconds(config.limits.login_timeout),
            seconds(default.limits.login_timeout),
        ),
        entry(
            "max_packet_size",
            config.limits.message_bytes_max,
            default.limits.message_bytes_max,
        ),
        entry("default_pool_size", pool.max, pool.max),
        entry("pool_mode", mode(pool.mode), mode(pool.mode)),
        entry("max_user_connections", 0_u64, 0_u64),
        entry("max_db_connections", 0_u64, 0_u64),
        entry(
            "query_wait_timeout",
            seconds(pool.wait_timeout),
            seconds(pool.wait_timeout),
        ),
        entry(
            "server_idle_timeout",
            seconds(pool.idle_timeout),
            seconds(pool.idle_timeout),
        ),
        entry(
            "server_lifetime",
            seconds(pool.lifetime),
            seconds(pool.lifetime),
        ),
        entry(
            "server_connect_timeout",
            seconds(pool.connect_timeout),
            seconds(pool.connect_timeout),
        ),
        entry(
            "max_prepared_statements",
            pool.prepared_max,
            pool.prepared_max,
        ),
    ]
}

fn ours(config: &Config, default: &Config) -> Vec<Entry> {
    let limits = |limits: &Limits| {
        [
            ("limits.clients_max", limits.clients_max.to_string()),
            (
                "limits.drain_timeout",
                format!("{:?}", limits.drain_timeout),
            ),
            (
                "limits.login_timeout",
                format!("{:?}", limits.login_timeout),
            ),
            (
                "limits.message_bytes_max",
                limits.message_bytes_max.to_string(),
            ),
            ("limits.prepared_max", limits.prepared_max.to_string()),
        ]
    };
    let log = |log: &LogConfig| {
        [
            (
                "log.format",
                if log.json { "json" } else { "text" }.to_owned(),
            ),
            ("log.level", log.level.clone()),
            ("log.statements", log.statements.to_string()),
        ]
    };
    let one = |config: &Config| {
        let mut all = vec![
            (
                "admin.address",
                config.admin.map(|at| at.to_string()).unwrap_or_default(),
            ),
            (
                "analysis.text_bytes_max",
                config.analysis.text_bytes_max.to_string(),
            ),
            ("console.admins", names(&config.console.admins)),
            ("console.readers", names(&config.console.readers)),
            (
                "console.stats_period",
                format!("{:?}", config.console.stats_period),
            ),
        ];
        all.extend(limits(&config.limits));
        all.extend(log(&config.log));
        all.push(("workers", config.workers.to_string()));
        all
    };
    let standard = one(default);
    one(config)
        .into_iter()
        .zip(standard)
        .map(|((key, value), (_, standard))| entry(key, value, standard))
        .collect()
}
