//! Databases, users, and how many there are of everything.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{is_itself, links, mode};
use crate::config::{Backend, Config, Database};
use crate::console::gather::Picture;
use crate::console::table::{Columns, Kind, Table, Value};
use crate::console::{Console, ITSELF};
use crate::gate::roster::ClientView;

use Kind::{Big, Int, Text};

pub(super) const DATABASES: Columns = &[
    ("name", Text),
    ("host", Text),
    ("port", Int),
    ("database", Text),
    ("force_user", Text),
    ("pool_size", Int),
    ("min_pool_size", Int),
    ("reserve_pool_size", Int),
    ("server_lifetime", Int),
    ("pool_mode", Text),
    ("load_balance_hosts", Text),
    ("max_connections", Int),
    ("current_connections", Int),
    ("max_client_connections", Int),
    ("current_client_connections", Int),
    ("paused", Int),
    ("disabled", Int),
    // PgBouncer's name for it before 1.24; Debian's exporter reads no other.
    ("reserve_pool", Int),
];

pub(super) const USERS: Columns = &[
    ("name", Text),
    ("pool_size", Text),
    ("reserve_pool_size", Text),
    ("pool_mode", Text),
    ("max_user_connections", Int),
    ("current_connections", Int),
    ("max_user_client_connections", Int),
    ("current_client_connections", Int),
];

pub(super) const LISTS: Columns = &[("list", Text), ("items", Int)];

pub(super) const MEM: Columns = &[
    ("name", Text),
    ("size", Int),
    ("used", Int),
    ("free", Int),
    ("memtotal", Int),
];

pub(super) const STATE: Columns = &[("key", Text), ("value", Text)];
pub(super) const DNS_HOSTS: Columns = &[("hostname", Text), ("ttl", Big), ("addrs", Text)];
pub(super) const DNS_ZONES: Columns = &[("zonename", Text), ("serial", Big), ("count", Int)];
pub(super) const PEERS: Columns = &[
    ("peer_id", Int),
    ("host", Text),
    ("port", Int),
    ("pool_size", Int),
];
pub(super) const PEER_POOLS: Columns = &[
    ("peer_id", Int),
    ("cl_active_cancel_req", Int),
    ("cl_waiting_cancel_req", Int),
    ("sv_active_cancel", Int),
    ("sv_login", Int),
];

pub(super) fn databases(console: &Console, picture: &Picture, table: &mut Table) {
    let config = console.plant.config.load();
    let port = super::config::tcp(&config).map(|at| at.port());
    let visitors = picture.count(|one| is_itself(&one.client.database));
    table.row(vec![
        ITSELF.into(),
        Value::Null,
        Value::from(port.map(u64::from)),
        ITSELF.into(),
        ITSELF.into(),
        Value::Number(2),
        Value::Number(0),
        Value::Number(0),
        Value::Number(0),
        "statement".into(),
        Value::Null,
        Value::Number(0),
        Value::Number(0),
        Value::Number(0),
        visitors.into(),
        Value::Number(0),
        Value::Number(0),
        Value::Number(0),
    ]);
    for database in &config.databases {
        let (host, port, name, user) = match &database.backend {
            Backend::Postgres(server) => (
                server
                    .hosts
                    .list
                    .iter()
                    .map(|host| &*host.name)
                    .collect::<Vec<_>>()
                    .join(",")
                    .into(),
                u64::from(server.port()),
                server.database.to_string(),
                Value::from(&*server.user),
            ),
            Backend::Sqlite { path } => {
                let file = path.as_ref().map(|path| path.display().to_string());
                let file = file.unwrap_or_else(|| ":memory:".to_owned());
                (Value::Null, 0, file, Value::Null)
            }
        };
        let brake = console.plant.brakes.of(&database.name);
        let behind = picture.behind.iter().find(|one| one.name == database.name);
        let clients = picture.count(|one| one.client.database == database.name);
        table.row(vec![
            Value::from(&*database.name),
            host,
            port.into(),
            name.into(),
            user,
            database.pool.max.into(),
            database.pool.min.into(),
            database.pool.reserve.into(),
            database.pool.lifetime.as_secs().into(),
            mode(database.pool.mode).into(),
            load_balance(database).into(),
            database.pool.max.into(),
            behind.map_or(0, |one| one.links).into(),
            database.pool.clients_max.unwrap_or(0).into(),
            clients.into(),
            brake.is_held().into(),
            brake.is_disabled().into(),
            database.pool.reserve.into(),
        ]);
    }
}

/// How one of several servers is chosen; none: there is one.
pub(super) fn load_balance(database: &Database) -> Option<&'static str> {
    match &database.backend {
        Backend::Postgres(server) if server.hosts.list.len() > 1 => Some(if server.hosts.random {
            "round-robin"
        } else {
            "disable"
        }),
        _ => None,
    }
}

pub(super) fn users(console: &Console, picture: &Picture, table: &mut Table) {
    let config = console.plant.config.load();
    let mut names: BTreeSet<Arc<str>> = config.users.iter().map(|one| one.name.clone()).collect();
    // Those that are not in the file, where the server is asked who may come.
    names.extend(picture.clients.iter().map(|one| one.client.user.clone()));
    for name in names {
        let is = |one: &ClientView| one.client.user == name;
        let user = config.users.iter().find(|one| one.name == name);
        let pool = user.map(|one| one.pool).unwrap_or_default();
        let size = pool.max.map_or_else(String::new, |max| max.to_string());
        table.row(vec![
            Value::from(&*name),
            size.into(),
            "".into(),
            pool.mode.map(mode).into(),
            pool.max.unwrap_or(0).into(),
            picture.count(|one| is(one) && one.link.is_some()).into(),
            pool.clients_max.unwrap_or(0).into(),
            picture.count(is).into(),
        ]);
    }
}

pub(super) fn lists(console: &Console, picture: &Picture, table: &mut Table) {
    let config = console.plant.config.load();
    let pools = picture
        .behind
        .iter()
        .map(|one| links::users(picture, one).len());
    let servers: usize = picture.behind.iter().map(|one| one.links).sum();
    let connected = console.plant.connected.load(Ordering::Relaxed);
    let hosts = hosts(&config, picture).len();
    for (list, items) in [
        // With the console's own, as in PgBouncer.
        ("databases", config.databases.len() + 1),
        ("users", config.users.len()),
        ("peers", 0),
        ("pools", pools.sum::<usize>() + 1),
        ("peer_pools", 0),
        ("free_clients", 0),
        ("used_clients", picture.clients.len()),
        (
            "login_clients",
            connected.saturating_sub(picture.clients.len()),
        ),
        ("free_servers", 0),
        ("used_servers", servers),
        ("dns_names", hosts),
        ("dns_zones", 0),
        ("dns_queries", 0),
        ("dns_pending", 0),
    ] {
        table.row(vec![list.into(), items.into()]);
    }
}

/// Host names and the addresses that links found behind them.
fn hosts(config: &Config, picture: &Picture) -> Vec<(Arc<str>, String)> {
    let mut found: std::collections::BTreeMap<Arc<str>, BTreeSet<String>> = Default::default();
    for database in &config.databases {
        let Backend::Postgres(server) = &database.backend else {
            continue;
        };
        let behind = picture.behind.iter().find(|one| one.name == database.name);
        let servers = behind.map_or(&[][..], |one| &one.servers);
        for host in &server.hosts.list {
            let name = &host.name;
            if name.starts_with('/') || name.parse::<std::net::IpAddr>().is_ok() {
                continue;
            }
            let addresses = servers.iter().filter_map(|one| one.ends.peer);
            let addresses = addresses.map(|one| one.ip().to_string());
            found.entry(name.clone()).or_default().extend(addresses);
        }
    }
    let joined = |(host, addresses): (Arc<str>, BTreeSet<String>)| {
        (host, addresses.into_iter().collect::<Vec<_>>().join(","))
    };
    found.into_iter().map(joined).collect()
}

pub(super) fn dns_hosts(console: &Console, picture: &Picture, table: &mut Table) {
    let config = console.plant.config.load();
    for (host, addresses) in hosts(&config, picture) {
        // Asked anew for every connection: nothing is kept here.
        table.row(vec![
            Value::from(&*host),
            Value::Number(0),
            addresses.into(),
        ]);
    }
}

pub(super) fn mem(picture: &Picture, table: &mut Table) {
    let (buffers, bytes) = picture.buffers;
    let servers: usize = picture.behind.iter().map(|one| one.links).sum();
    let mut row = |name: &str, size: usize, used: usize, free: usize, total: usize| {
        table.row(vec![
            name.into(),
            size.into(),
            used.into(),
            free.into(),
            total.into(),
        ]);
    };
    let client = std::mem::size_of::<ClientView>();
    row(
        "client_cache",
        client,
        picture.clients.len(),
        0,
        client * picture.clients.len(),
    );
    row("server_cache", 0, servers, 0, 0);
    let size = bytes.checked_div(buffers).unwrap_or(0);
    row("iobuf_cache", size, 0, buffers, bytes);
    row("shape_cache", 0, picture.shapes, 0, 0);
    if let Some(resident) = resident() {
        row("process", 1, resident, 0, resident);
    }
}

/// Bytes of memory that the process has in use.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

pub(super) fn state(console: &Console, table: &mut Table) {
    let paused = console.plant.brakes.is_everything_held();
    let suspended = console.suspended.load(Ordering::Relaxed);
    let word = |yes: bool| if yes { "yes" } else { "no" };
    for (key, is) in [
        ("active", !paused && !suspended),
        ("paused", paused),
        ("suspended", suspended),
        ("draining", *console.plant.closing.borrow()),
    ] {
        table.row(vec![key.into(), word(is).into()]);
    }
}
