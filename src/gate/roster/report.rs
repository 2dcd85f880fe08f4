//! What a worker tells others: plain copies.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Counts;
use crate::model::Client;
use crate::net::Ends;
use crate::policy::Stats;

/// Everything one worker knows at a moment.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Its clients.
    pub clients: Vec<ClientView>,
    /// What was done, by database.
    pub counts: Vec<(Arc<str>, Counts)>,
    /// Links that wait for their next owner.
    pub idle: Vec<IdleLink>,
    /// What its policies were asked.
    pub judged: Stats,
    /// Buffers kept for whoever needs one, and their bytes.
    pub buffers: (usize, usize),
}

/// A link that waits for its next owner: its number, and for how long.
pub type IdleLink = (u64, Duration);

/// What a client is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It holds a link.
    Active,
    /// It wants one.
    Waiting,
    /// It needs none.
    Idle,
}

/// A client.
#[derive(Debug, Clone)]
pub struct ClientView {
    /// Number of its session.
    pub id: u64,
    /// Who.
    pub client: Arc<Client>,
    /// The server user its statements run as.
    pub server_user: Arc<str>,
    /// From where to where.
    pub ends: Ends,
    /// Logged in.
    pub since: SystemTime,
    /// Last request.
    pub asked: SystemTime,
    /// What it is about.
    pub state: State,
    /// How long it has been waiting for a link.
    pub wait: Duration,
    /// The link it holds.
    pub link: Option<u64>,
    /// Why the link stays with it between transactions.
    pub pin: Option<&'static str>,
    /// What it calls itself.
    pub application: Arc<str>,
    /// Prepared statements it has.
    pub prepared: usize,
    /// Nothing is under way.
    pub quiet: bool,
}

/// A connection to a server.
#[derive(Debug, Clone)]
pub struct ServerView {
    /// Its number.
    pub id: u64,
    /// The database it belongs to.
    pub database: Arc<str>,
    /// Server user.
    pub user: Arc<str>,
    /// Here and there.
    pub ends: Ends,
    /// Opened.
    pub since: SystemTime,
    /// Process id on the server.
    pub pid: i32,
    /// Prepared statements on it.
    pub prepared: usize,
    /// It is closed as soon as it is free.
    pub close_needed: bool,
}

/// A database, and the links that exist for it.
#[derive(Debug, Clone)]
pub struct Behind {
    /// As clients call it.
    pub name: Arc<str>,
    /// Connections to its server.
    pub servers: Vec<ServerView>,
    /// Connections that are being opened.
    pub opening: usize,
    /// Connections in use or idle, where there is no list of them.
    pub links: usize,
    /// Connections closed so far, and how long they had lived altogether.
    pub closed: (u64, Duration),
}
