//! Pools, and both ends of them: clients and servers.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{is_itself, mode, moment};
use crate::console::gather::Picture;
use crate::console::table::{Columns, Kind, Table, Value};
use crate::console::{Console, ITSELF};
use crate::gate::roster::{BackendView, ClientView, ServerView, State};
use crate::net::Ends;

use Kind::{Int, Text};

pub(super) const POOLS: Columns = &[
    ("database", Text),
    ("user", Text),
    ("cl_active", Int),
    ("cl_waiting", Int),
    ("cl_active_cancel_req", Int),
    ("cl_waiting_cancel_req", Int),
    ("sv_active", Int),
    ("sv_active_cancel", Int),
    ("sv_being_canceled", Int),
    ("sv_idle", Int),
    ("sv_used", Int),
    ("sv_tested", Int),
    ("sv_login", Int),
    ("maxwait", Int),
    ("maxwait_us", Int),
    ("pool_mode", Text),
    ("load_balance_hosts", Text),
];

macro_rules! sockets {
    ($($more:expr,)*) => {
        &[
            ("type", Text),
            ("user", Text),
            ("database", Text),
            ("replication", Text),
            ("state", Text),
            ("addr", Text),
            ("port", Int),
            ("local_addr", Text),
            ("local_port", Int),
            ("connect_time", Text),
            ("request_time", Text),
            ("wait", Int),
            ("wait_us", Int),
            ("close_needed", Int),
            ("ptr", Text),
            ("link", Text),
            ("remote_pid", Int),
            ("tls", Text),
            ("application_name", Text),
            ("prepared_statements", Int),
            ("id", Int),
            $($more,)*
        ]
    };
}

pub(super) const SOCKETS: Columns = sockets![];
pub(super) const SOCKETS_LONG: Columns = sockets![
    ("recv_pos", Int),
    ("pkt_pos", Int),
    ("pkt_remain", Int),
    ("send_pos", Int),
    ("send_remain", Int),
    ("pkt_avail", Int),
    ("send_avail", Int),
];

/// Place of `state`.
pub(super) const STATE_AT: usize = 4;
/// How many columns the long form has more.
const MORE: usize = 7;

pub(super) const PINS: Columns = &[
    ("client_id", Int),
    ("user", Text),
    ("database", Text),
    ("server_id", Int),
    ("reason", Text),
    ("application_name", Text),
];

/// Seconds, and the microseconds that are left.
fn parts(time: Duration) -> [Value; 2] {
    [
        Value::from(time.as_secs()),
        Value::from(u64::from(time.subsec_micros())),
    ]
}

/// A pool for each server user of a database, and one for the console itself.
pub(super) fn pools(console: &Console, picture: &Picture, table: &mut Table) {
    let visitors: Vec<&ClientView> = picture
        .clients
        .iter()
        .filter(|one| is_itself(&one.client.database))
        .collect();
    let mut row = vec![ITSELF.into(), ITSELF.into(), visitors.len().into()];
    row.resize(POOLS.len() - 2, Value::Number(0));
    row.extend(["statement".into(), Value::Null]);
    table.row(row);
    let config = console.plant.config.load();
    for behind in &picture.behind {
        for (at, user) in users(picture, behind).iter().enumerate() {
            let of = || picture.of(&behind.name, user);
            let waiting = of().filter(|one| one.state == State::Waiting).count();
            let servers = behind.servers.iter().filter(|one| one.user == *user);
            let (busy, free): (Vec<_>, Vec<_>) =
                servers.partition(|one| picture.holder(one.id).is_some());
            let database = config.databases.iter().find(|one| one.name == behind.name);
            let mut row = vec![
                Value::from(&*behind.name),
                Value::from(&**user),
                Value::from(of().count() - waiting),
                waiting.into(),
                Value::Number(0),
                Value::Number(0),
                busy.len().into(),
                Value::Number(0),
                Value::Number(0),
                free.len().into(),
                Value::Number(0),
                Value::Number(0),
                // Whose login it is does not show; it is the first user's in most cases.
                if at == 0 { behind.opening } else { 0 }.into(),
            ];
            row.extend(parts(Picture::longest_wait(of())));
            row.push(database.map(|one| mode(one.pool.mode)).into());
            row.push(
                database
                    .and_then(|one| super::lists::load_balance(one))
                    .into(),
            );
            table.row(row);
        }
    }
}

/// Server users that somebody runs as, or that a link belongs to.
pub(super) fn users(picture: &Picture, behind: &BackendView) -> BTreeSet<Arc<str>> {
    let clients = picture.clients.iter();
    clients
        .filter(|one| one.client.database == behind.name)
        .map(|one| one.server_user.clone())
        .chain(behind.servers.iter().map(|one| one.user.clone()))
        .collect()
}

struct Socket<'s> {
    kind: &'static str,
    user: &'s str,
    database: &'s str,
    state: &'static str,
    ends: &'s Ends,
    connected: String,
    asked: String,
    wait: Duration,
    close_needed: bool,
    link: Option<u64>,
    pid: u64,
    application: &'s str,
    prepared: usize,
    id: u64,
}

fn row(socket: Socket<'_>, long: bool) -> Vec<Value> {
    let end = |address: Option<std::net::SocketAddr>| {
        let text: Cow<'static, str> = match address {
            Some(address) => address.ip().to_canonical().to_string().into(),
            None => "unix".into(),
        };
        let port = address.map_or(0, |address| address.port());
        [Value::Text(text), Value::Number(port.into())]
    };
    let name = |kind: &str, id: u64| format!("{kind}{id}");
    let other = if socket.kind == "C" { "S" } else { "C" };
    let mut row: Vec<Value> = vec![
        socket.kind.into(),
        socket.user.into(),
        socket.database.into(),
        "none".into(),
        socket.state.into(),
    ];
    row.extend(end(socket.ends.peer));
    row.extend(end(socket.ends.local));
    row.extend([socket.connected.into(), socket.asked.into()]);
    row.extend(parts(socket.wait));
    row.extend([
        socket.close_needed.into(),
        name(socket.kind, socket.id).into(),
        socket
            .link
            .map_or_else(String::new, |id| name(other, id))
            .into(),
        socket.pid.into(),
        socket.ends.tls.clone().unwrap_or_default().into(),
        socket.application.into(),
        socket.prepared.into(),
        socket.id.into(),
    ]);
    if long {
        row.resize(row.len() + MORE, Value::Number(0));
    }
    row
}

pub(super) fn clients(picture: &Picture, table: &mut Table, long: bool) {
    for client in &picture.clients {
        table.row(row(
            Socket {
                kind: "C",
                user: &client.client.user,
                database: &client.client.database,
                state: match (client.state, long) {
                    (State::Active, false) => "active",
                    (State::Waiting, false) => "waiting",
                    (State::Idle, false) => "idle",
                    (State::Active, true) => "cl_active",
                    (State::Waiting, true) => "cl_waiting",
                    (State::Idle, true) => "cl_idle",
                },
                ends: &client.ends,
                connected: moment(client.since),
                asked: moment(client.asked),
                wait: client.wait,
                close_needed: false,
                link: client.link,
                pid: 0,
                application: &client.application,
                prepared: client.prepared,
                id: client.id,
            },
            long,
        ));
    }
}

pub(super) fn servers(picture: &Picture, table: &mut Table, long: bool) {
    for server in picture.behind.iter().flat_map(|one| &one.servers) {
        table.row(one_server(picture, server, long));
    }
}

fn one_server(picture: &Picture, server: &ServerView, long: bool) -> Vec<Value> {
    let holder = picture.holder(server.id);
    let free = picture.idle.get(&server.id);
    let state = match (holder, long) {
        (Some(_), false) => "active",
        (None, false) => "idle",
        (Some(_), true) => "sv_active",
        (None, true) => "sv_idle",
    };
    let asked = match (holder, free) {
        (Some(client), _) => client.asked,
        (None, Some(free)) => std::time::SystemTime::now()
            .checked_sub(*free)
            .unwrap_or(server.since),
        (None, None) => server.since,
    };
    row(
        Socket {
            kind: "S",
            user: &server.user,
            database: &server.database,
            state,
            ends: &server.ends,
            connected: moment(server.since),
            asked: moment(asked),
            wait: Duration::ZERO,
            close_needed: server.close_needed,
            link: holder.map(|client| client.id),
            pid: u64::try_from(server.pid).unwrap_or_default(),
            application: holder.map_or("", |client| &client.application),
            prepared: server.prepared,
            id: server.id,
        },
        long,
    )
}

/// Whether a row's state is one in which bytes may be under way.
pub(super) fn is_active(state: &Value) -> bool {
    matches!(state, Value::Text(text) if !text.ends_with("idle"))
}

/// Clients that keep their link between transactions.
pub(super) fn pins(picture: &Picture, table: &mut Table) {
    for client in &picture.clients {
        let (Some(reason), Some(link)) = (client.pin, client.link) else {
            continue;
        };
        table.row(vec![
            client.id.into(),
            Value::from(&*client.client.user),
            Value::from(&*client.client.database),
            link.into(),
            reason.into(),
            Value::from(&*client.application),
        ]);
    }
}
