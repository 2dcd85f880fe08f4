//! The straight line, and the session that carries statements along it.
//!
//! analyze, decide, prepare, execute, verify, record: [`line`] holds the first
//! two and the last, [`held`] what must happen around a permitted statement,
//! and [`session`] moves the bytes. Statements without requirements never
//! leave the byte mover; only those that need work before or after take the
//! slow way, where the code reads from top to bottom.
//!
//! Which file holds what: from the client `client`, `query`, `extended`, `function`; from
//! the server `server`, `complete`; around a statement `held`, `string`, `plan`,
//! `own`, `refuse`; what is known `names`, `state`, `settings`, `known`, `permit`, `aside`;
//! links `begin`, `home`, `wait`, `lease`, `leave`, `prepared`, `source`; time `clock`,
//! `overdue`; beside statements `hooks`, `cancel`, `signals`, `roster`, `brake`.
//!
//! Deliberately not here: SQL, wire formats, policies' reasons, sockets.
//!
//! Read [`session::Session::run`] first.

mod aside;
mod begin;
pub mod brake;
pub mod cancel;
mod client;
mod clock;
mod complete;
pub mod crowd;
mod expected;
mod extended;
mod function;
mod held;
mod home;
pub mod hooks;
mod known;
mod lease;
mod leave;
mod line;
mod moving;
mod names;
mod overdue;
mod own;
mod permit;
mod plan;
mod prepared;
mod query;
mod reading;
mod refuse;
pub mod roster;
pub mod served;
mod server;
pub mod session;
mod settings;
mod signals;
pub mod source;
mod spare;
mod state;
mod string;
mod wait;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::backend::postgres;
use crate::backend::postgres::link::Applied;
use crate::backend::postgres::login::Target;
use crate::backend::postgres::pool::{Lane, LinkKey, LinkPool};
use crate::backend::sqlite::Engine;
use crate::config::{Config, ConsoleRole, Database, User};
use crate::model::{Client, UserMessage};
use crate::net::Ends;
use crate::policy::{Asked, Brought, Judge, Later, Outcome};
use crate::safety::plan::PlanCache;
use crate::safety::rate::Rates;
use crate::sql::Analyses;
use crate::telemetry::{Event, Recorder};
use crate::wire;

/// A client that has logged in. AuthenticationOk is written; the session
/// continues with ParameterStatus, BackendKeyData and ReadyForQuery.
#[derive(Debug)]
pub struct Arrival<S> {
    /// The connection.
    pub stream: S,
    /// From where to where it goes.
    pub ends: Ends,
    /// Bytes already read from it.
    pub inbox: BytesMut,
    /// Identity.
    pub client: Arc<Client>,
    /// The configured user.
    pub user: Arc<User>,
    /// The database it asked for.
    pub database: Arc<Database>,
    /// Start-up parameters besides user and database.
    pub parameters: Vec<(String, String)>,
    /// Its cancel key.
    pub registration: cancel::Registration,
}

/// An operator that has logged in to the console. AuthenticationOk is written.
#[derive(Debug)]
pub struct Visit<S> {
    /// The connection.
    pub stream: S,
    /// From where to where it goes.
    pub ends: Ends,
    /// Bytes already read from it.
    pub inbox: BytesMut,
    /// Identity; the database is the name the console was called by.
    pub client: Arc<Client>,
    /// What it may do.
    pub role: ConsoleRole,
    /// Start-up parameters besides user and database.
    pub parameters: Vec<(String, String)>,
    /// Its cancel key.
    pub registration: cancel::Registration,
}

impl<S> Visit<S> {
    /// From now on the console sees this operator as well.
    pub fn enter(&self, worker: &Rc<Worker>) -> roster::Listed {
        list(&self.client, &self.ends, worker)
    }
}

/// What one worker thread shares among its sessions.
pub struct Worker {
    /// Decides; owns this thread's policy instances.
    pub judge: RefCell<Judge>,
    /// Counts and writes; this thread's share.
    pub recorder: Recorder,
    /// The configuration, swapped on reload.
    pub config: Arc<ArcSwap<Config>>,
    /// Rates, shared by all workers.
    pub rates: Arc<Rates>,
    /// Plans looked at before.
    pub plans: RefCell<PlanCache>,
    /// Texts analyzed before.
    pub analyses: RefCell<Analyses>,
    /// What was worked out about statements with the help of the catalog.
    pub known: RefCell<known::Known>,
    /// Prepared statements as servers know them.
    pub statements: RefCell<prepared::Statements>,
    /// Links handed from transaction to transaction.
    pub lanes: RefCell<Vec<Rc<Lane>>>,
    /// Settings that sessions want, one copy of each: equal ones are compared by place.
    pub applied: RefCell<Vec<Applied>>,
    /// Finds what takes too long.
    pub clock: Rc<clock::Clock>,
    /// Buffers nobody uses now.
    pub spares: spare::Spares,
    /// Where what clients send is read to first.
    pub desk: RefCell<Box<[u8]>>,
    /// Number of the next session, shared by all workers.
    pub sessions: Arc<std::sync::atomic::AtomicU64>,
    /// Turns true when sessions should end at their next idle point.
    pub drain: tokio::sync::watch::Receiver<bool>,
    /// News for all sessions.
    pub signals: signals::Signals,
    /// Who is here.
    pub roster: roster::Roster,
    /// Databases that are paused or disabled, shared by all workers.
    pub brakes: Arc<brake::Brakes>,
}

impl Worker {
    /// A worker's share of everything. To be called inside a `LocalSet`, where news
    /// for its sessions is passed on.
    pub fn new(
        judge: Judge,
        recorder: Recorder,
        config: Arc<ArcSwap<Config>>,
        rates: Arc<Rates>,
        sessions: Arc<std::sync::atomic::AtomicU64>,
        drain: tokio::sync::watch::Receiver<bool>,
        brakes: Arc<brake::Brakes>,
    ) -> Rc<Worker> {
        let (draining, swaps) = (drain.clone(), judge.swaps());
        let worker = Rc::new(Worker {
            judge: RefCell::new(judge),
            recorder,
            config,
            rates,
            plans: RefCell::default(),
            analyses: RefCell::default(),
            known: RefCell::default(),
            statements: RefCell::default(),
            lanes: RefCell::default(),
            applied: RefCell::default(),
            clock: Rc::default(),
            spares: spare::Spares::default(),
            desk: RefCell::new(vec![0; spare::BYTES_NEW].into()),
            sessions,
            drain,
            roster: roster::Roster::default(),
            brakes,
            signals: signals::Signals::default(),
        });
        let news = signals::relay(Rc::downgrade(&worker), draining, swaps);
        tokio::task::spawn_local(news);
        worker
    }
}

impl Worker {
    /// Stage two: may this statement run? Counts what it cost, and records what policies did wrong.
    /// Later: with the answers that are waited for it is asked once more.
    pub fn decide(&self, asked: &Asked<'_>, brought: &Brought) -> Result<Outcome, Later> {
        let outcome = self.judge.borrow_mut().decide(asked, brought);
        self.after_calls(None);
        outcome
    }

    /// Nanoseconds that decisions took since the last call; remembered ones take none.
    fn take_spent(&self) -> u64 {
        self.judge.borrow_mut().take_spent()
    }

    /// Counts what policies were asked, and records what they did wrong.
    fn after_calls(&self, incident: Option<&str>) {
        let mut judge = self.judge.borrow_mut();
        self.recorder.judge_totals(judge.calls());
        for (policy, fault) in judge.take_faults() {
            self.recorder.emit(&Event::PolicyFault {
                policy: &policy,
                fault: fault.kind.name(),
                message: &fault.message,
                incident,
            });
        }
    }
}

/// Different settings kept for comparison.
const APPLIED_MAX: usize = 64;

impl Worker {
    /// The one copy of these settings.
    fn intern(&self, settings: &Applied) -> Applied {
        let mut kept = self.applied.borrow_mut();
        if let Some(known) = kept.iter().find(|known| *known == settings) {
            return known.clone();
        }
        if kept.len() >= APPLIED_MAX {
            kept.remove(0);
        }
        kept.push(settings.clone());
        settings.clone()
    }

    /// This worker's lane of that pool for that kind of link.
    fn lane(&self, pool: &Arc<LinkPool>, key: &LinkKey, target: &Target) -> Rc<Lane> {
        let mut lanes = self.lanes.borrow_mut();
        lanes.retain(|lane| Rc::strong_count(lane) > 1 || !lane.is_empty());
        if let Some(lane) = lanes.iter().find(|lane| lane.is_for(pool, key)) {
            lane.aim(target);
            return lane.clone();
        }
        let lane = Lane::open(pool.clone(), key.clone(), target.clone());
        lanes.push(lane.clone());
        lane
    }
}

/// What stands behind a database name.
#[derive(Clone)]
pub enum Behind {
    /// A PostgreSQL server.
    Postgres(Arc<source::Source>),
    /// An embedded SQLite file.
    Sqlite(Arc<Engine>),
}

/// Opens databases that have no name of their own in the configuration.
pub trait OnDemand: Send + Sync {
    /// What stands behind this one, or what to tell the client.
    fn open(&self, database: &Arc<Database>) -> Result<Behind, Box<UserMessage>>;
    /// Those that are open now.
    fn opened(&self) -> Vec<(Arc<str>, Behind)>;
}

/// All databases by the name clients use, and who opens others.
#[derive(Clone, Default)]
pub struct Backends(
    /// Those that are written out.
    pub std::collections::HashMap<Arc<str>, Behind>,
    /// Those that are not; none: there are no others.
    pub Option<Arc<dyn OnDemand>>,
);

impl Backends {
    fn find(&self, database: &Arc<Database>) -> Result<Behind, Box<UserMessage>> {
        match (self.0.get(&database.name), &self.1) {
            (Some(behind), _) => Ok(behind.clone()),
            (None, Some(on_demand)) => on_demand.open(database),
            (None, None) => {
                // A reload may have taken the database away since the login.
                let message = format!("database \"{}\" does not exist", database.name);
                Err(Box::new(UserMessage::fatal("3D000", message)))
            }
        }
    }
}

/// Serves somebody who has logged in until it leaves.
pub async fn serve<S>(
    mut arrival: Arrival<S>,
    worker: Rc<Worker>,
    backends: &Backends,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let listed = list(&arrival.client, &arrival.ends, &worker);
    listed.presence.listen().await;
    let _leaving = Leaving::enter(&listed.presence, &arrival, &worker);
    if worker.brakes.of(&arrival.database.name).is_disabled() {
        let name = &arrival.database.name;
        let message = UserMessage::fatal(
            "55000",
            format!("database \"{name}\" is not currently accepting connections"),
        );
        return turn_away(&mut arrival.stream, &message).await;
    }
    let behind = match backends.find(&arrival.database) {
        Ok(behind) => behind,
        Err(message) => return turn_away(&mut arrival.stream, &message).await,
    };
    let crowd = arrival.registration.crowd();
    let _member = match crowd.enter(&arrival.user, &arrival.database) {
        Ok(member) => member,
        Err(message) => {
            worker.recorder.emit(&Event::ConnectionRefused {
                address: arrival.client.address,
                reason: "too-many",
            });
            return turn_away(&mut arrival.stream, &message).await;
        }
    };
    let facts = hooks::first_facts(&arrival, &behind);
    let admission = match worker.admit(&arrival.client, &facts).await {
        Ok(admission) => admission,
        Err(message) => return turn_away(&mut arrival.stream, &message).await,
    };
    let presence = listed.presence.clone();
    match behind {
        Behind::Postgres(source) => begin::run(arrival, worker, source, admission, presence).await,
        Behind::Sqlite(engine) => {
            Box::pin(served::run(arrival, worker, engine, admission, presence)).await
        }
    }
}

/// Somebody who has logged in and may not stay.
async fn turn_away<S: AsyncWrite + Unpin>(
    stream: &mut S,
    message: &UserMessage,
) -> Result<(), Error> {
    let mut out = BytesMut::new();
    wire::postgres::encode::error(&mut out, message);
    let _ = stream.write_all(&out).await;
    let _ = stream.shutdown().await;
    Err(Error::Denied)
}

/// From now on the console sees this client.
fn list(client: &Arc<Client>, ends: &Ends, worker: &Rc<Worker>) -> roster::Listed {
    let id = worker
        .sessions
        .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let tally = worker.roster.tally(&client.database);
    let brake = worker.brakes.of(&client.database);
    let presence = roster::Presence::new(id, client.clone(), ends.clone(), tally, brake);
    roster::Roster::enter(worker, presence)
}

/// Tells telemetry that a client came, and when dropped that it went.
struct Leaving {
    worker: Rc<Worker>,
    session: u64,
}

impl Leaving {
    fn enter<S>(presence: &roster::Presence, arrival: &Arrival<S>, worker: &Rc<Worker>) -> Leaving {
        let session = presence.id();
        worker.recorder.emit(&Event::ConnectionOpened {
            session,
            user: &arrival.client.user,
            database: &arrival.client.database,
            address: arrival.client.address,
        });
        let worker = worker.clone();
        Leaving { worker, session }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.worker.recorder.emit(&Event::ConnectionClosed {
            session: self.session,
            reason: "terminated",
        });
    }
}

/// Why a session ended before the client said goodbye.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client went away.
    #[error("the client went away")]
    ClientGone(#[source] std::io::Error),
    /// The client does not speak the protocol.
    #[error("the client broke the protocol: {0}")]
    Client(#[source] wire::postgres::Error),
    /// The database cannot be reached, or went away.
    #[error(transparent)]
    Backend(#[from] postgres::Error),
    /// The embedded database failed.
    #[error(transparent)]
    Sqlite(#[from] crate::backend::sqlite::Error),
    /// Something took too long; what the client is told.
    #[error("{}", .0.message)]
    Overdue(Box<crate::model::UserMessage>),
    /// The gate is shutting down.
    #[error("the gate is shutting down")]
    Draining,
    /// An administrator, or a reload, ended it.
    #[error("the session was ended from outside")]
    Ended(roster::Ending),
    /// A policy does not let the client connect, or stay.
    #[error("a policy refused the connection")]
    Denied,
}
