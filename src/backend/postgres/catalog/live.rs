//! The snapshot that is current, and what keeps it so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod};
use tokio::sync::{Mutex, Notify, watch};
use tokio_postgres::IsolationLevel;

use super::super::dial::encryption;
use super::super::hosts::Hosts;
use super::connect::Dial;
use super::digest::epoch_query;
use super::load::load;
use super::places::learn;
use super::snapshot::CatalogSnapshot;
use crate::config::PostgresBackend;
use crate::wire::postgres::places::Places;

/// Bound on one reading of the catalog.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the catalog cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No control connection.
    #[error("no control connection for the catalog")]
    Connect(#[from] deadpool_postgres::PoolError),
    /// The pool cannot be built.
    #[error("the pool of control connections cannot be built")]
    Build(#[from] deadpool_postgres::BuildError),
    /// Certificates that cannot be used.
    #[error(transparent)]
    Tls(#[from] crate::net::tls::Error),
    /// A query failed.
    #[error("the catalog cannot be read")]
    Query(#[from] tokio_postgres::Error),
    /// It took too long.
    #[error("reading the catalog took longer than {} s", READ_TIMEOUT.as_secs())]
    Timeout,
}

/// How the catalog is kept fresh.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Time between two looks at the digest.
    pub poll: Duration,
    /// A snapshot that could not be confirmed for so long counts as stale.
    pub stale_after: Duration,
    /// Bound on connecting.
    pub connect_timeout: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            poll: Duration::from_secs(1),
            stale_after: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
        }
    }
}

/// What is known at this moment.
#[derive(Debug, Clone)]
pub struct View {
    /// The last reading; none before the first one succeeded.
    pub snapshot: Option<Arc<CatalogSnapshot>>,
    /// The reading may not know all definitions: hand it on as `World::ddl_pending`.
    pub stale: bool,
}

/// The current reading, by numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulse {
    /// Number of the reading of definitions; 0: none yet.
    pub epoch: u64,
    /// Number of the reading of statistics.
    pub plan_epoch: u64,
    /// The reading may not know all definitions.
    pub stale: bool,
    /// Definitions that the reading is sure to know, by their tickets.
    pub covered: u64,
    /// The ticket of the last one that everybody waits for.
    pub wanted: u64,
}

/// The catalog of one database, shared by all sessions.
pub struct Catalog {
    pool: Pool,
    pace: Pace,
    current: ArcSwapOption<CatalogSnapshot>,
    /// How this server says that a relation is not there.
    places: ArcSwap<Places>,
    /// Definitions that went by.
    noted: AtomicU64,
    /// The last of them that everybody waits for.
    wanted: AtomicU64,
    /// How many of them the current snapshot is sure to know.
    covered: AtomicU64,
    /// Epochs of the current snapshot, for definitions and for plans: set after it.
    epochs: (AtomicU64, AtomicU64),
    /// When the digest was last confirmed, in milliseconds since `start`; 0: never.
    confirmed: AtomicU64,
    failing: AtomicBool,
    start: Instant,
    wake: Notify,
    readings: watch::Sender<u64>,
    /// Digests of the current snapshot; held while reading, so that one reads at a time.
    reading: Mutex<Digests>,
}

#[derive(Default, PartialEq, Eq)]
struct Digests {
    definitions: String,
    statistics: String,
}

impl Catalog {
    /// A catalog that is still empty: [`Catalog::run`] fills it and keeps it fresh.
    pub fn new(backend: &PostgresBackend, pace: Pace) -> Result<Arc<Catalog>, Error> {
        Catalog::of(backend, Hosts::new(&backend.hosts), pace)
    }

    /// The same, of servers that others use too: what they learn helps here.
    pub fn of(
        backend: &PostgresBackend,
        hosts: Arc<Hosts>,
        pace: Pace,
    ) -> Result<Arc<Catalog>, Error> {
        let patience = pace.connect_timeout.saturating_mul(8);
        let dial = Dial {
            tls: encryption(backend)?,
            hosts,
            timeout: pace.connect_timeout,
        };
        let manager = Manager::from_connect(
            connection(backend, &pace),
            dial,
            ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            },
        );
        let pool = Pool::builder(manager)
            .max_size(2)
            .runtime(deadpool_postgres::Runtime::Tokio1)
            .wait_timeout(Some(pace.connect_timeout))
            .create_timeout(Some(patience))
            .recycle_timeout(Some(pace.connect_timeout))
            .build()?;
        Ok(Arc::new(Catalog {
            pool,
            pace,
            current: ArcSwapOption::empty(),
            places: ArcSwap::default(),
            noted: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            covered: AtomicU64::new(0),
            epochs: Default::default(),
            confirmed: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            start: Instant::now(),
            wake: Notify::new(),
            readings: watch::Sender::new(0),
            reading: Mutex::default(),
        }))
    }

    /// The last reading, however old.
    pub fn snapshot(&self) -> Option<Arc<CatalogSnapshot>> {
        self.current.load_full()
    }

    /// The last reading, and whether it can be relied on.
    pub fn view(&self) -> View {
        // The order matters: a snapshot taken after the check is at least as new.
        let stale = self.is_stale(Instant::now());
        View {
            snapshot: self.snapshot(),
            stale,
        }
    }

    /// Where the server says that a relation is not there.
    pub fn places(&self) -> Arc<Places> {
        self.places.load_full()
    }

    /// What [`Catalog::view`] says, without taking hold of it.
    pub fn pulse(&self, now: Instant) -> Pulse {
        let stale = self.is_stale(now);
        Pulse {
            // Whoever sees an epoch here finds a snapshot at least as new.
            epoch: self.epochs.0.load(Ordering::Acquire),
            plan_epoch: self.epochs.1.load(Ordering::Acquire),
            stale,
            covered: self.covered.load(Ordering::Acquire),
            wanted: self.wanted.load(Ordering::Acquire),
        }
    }

    /// A definition goes by. Call it before the statement is sent, and again when
    /// the transaction that holds it has ended: until then nobody else sees it.
    pub fn note_ddl(&self) {
        let ticket = self.note_code();
        self.wanted.fetch_max(ticket, Ordering::AcqRel);
    }

    /// Code went by that may have defined something: whoever ran it waits for its
    /// ticket, others do not.
    pub fn note_code(&self) -> u64 {
        let ticket = self.noted.fetch_add(1, Ordering::AcqRel) + 1;
        self.wake.notify_one();
        ticket
    }

    /// Waits, not longer than `wait`, until a reading covers a ticket.
    pub async fn covers(&self, ticket: u64, wait: Duration) -> bool {
        let mut readings = self.readings.subscribe();
        let settled = async {
            while self.covered.load(Ordering::Acquire) < ticket {
                self.wake.notify_one();
                if readings.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(wait, settled).await.is_ok()
    }

    /// Waits, not longer than `wait`, until the view is not stale.
    pub async fn fresh(&self, wait: Duration) -> View {
        let mut readings = self.readings.subscribe();
        let settled = async {
            while self.is_stale(Instant::now()) || self.current.load().is_none() {
                self.wake.notify_one();
                if readings.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(wait, settled).await;
        self.view()
    }

    /// Keeps the catalog fresh until the future is dropped. Failures are logged once and tried again.
    pub async fn run(self: Arc<Self>) {
        loop {
            match self.refresh().await {
                Ok(()) => self.recovered(),
                Err(error) => self.failed(&error),
            }
            tokio::select! {
                () = tokio::time::sleep(self.pace.poll) => {}
                () = self.wake.notified() => {}
            }
            if self.failing.load(Ordering::Acquire) {
                tokio::time::sleep(self.pace.poll.min(Duration::from_millis(200))).await;
            }
        }
    }

    /// Looks at the digest, and reads the catalog again if it moved.
    pub async fn refresh(&self) -> Result<(), Error> {
        tokio::time::timeout(READ_TIMEOUT, self.read())
            .await
            .map_err(|_| Error::Timeout)?
    }

    async fn read(&self) -> Result<(), Error> {
        let mut known = self.reading.lock().await;
        let noted = self.noted.load(Ordering::Acquire);
        let mut client = self.pool.get().await?;
        let result = self.read_with(&mut client, &mut known).await;
        if result.is_err() {
            // Its state is not known: not to be used again.
            drop(Object::take(client));
        }
        result?;
        self.covered.fetch_max(noted, Ordering::AcqRel);
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.confirmed.store(now.max(1), Ordering::Release);
        self.readings.send_modify(|count| *count += 1);
        Ok(())
    }

    async fn read_with(&self, client: &mut Object, known: &mut Digests) -> Result<(), Error> {
        let transaction = client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .await?;
        transaction
            .batch_execute(
                "SET LOCAL search_path = pg_catalog; SET LOCAL statement_timeout = '20s'; \
                 SET LOCAL lock_timeout = '2s'; SET LOCAL idle_in_transaction_session_timeout = '30s'",
            )
            .await?;
        let row = transaction.query_one(&epoch_query(), &[]).await?;
        let digests = Digests {
            definitions: row.try_get(0)?,
            statistics: row.try_get(1)?,
        };
        let current = self.snapshot();
        if *known == digests && current.is_some() {
            return Ok(());
        }
        let mut snapshot = load(&transaction).await?;
        let version = current.as_ref().map(|current| current.server_version);
        let other = version != Some(snapshot.server_version);
        let (epoch, plan_epoch) =
            current.map_or((0, 0), |current| (current.epoch, current.plan_epoch));
        let moved = known.definitions != digests.definitions;
        snapshot.epoch = epoch + u64::from(moved || epoch == 0);
        snapshot.plan_epoch = plan_epoch + 1;
        transaction.commit().await?;
        if other {
            self.places.store(Arc::new(learn(client).await));
        }
        *known = digests;
        let (epoch, plan_epoch) = (snapshot.epoch, snapshot.plan_epoch);
        self.current.store(Some(Arc::new(snapshot)));
        self.epochs.0.store(epoch, Ordering::Release);
        self.epochs.1.store(plan_epoch, Ordering::Release);
        Ok(())
    }

    fn is_stale(&self, now: Instant) -> bool {
        if self.covered.load(Ordering::Acquire) != self.noted.load(Ordering::Acquire) {
            return true;
        }
        let confirmed = self.confirmed.load(Ordering::Acquire);
        let age = now
            .saturating_duration_since(self.start)
            .saturating_sub(Duration::from_millis(confirmed));
        confirmed == 0 || age > self.pace.stale_after
    }

    fn failed(&self, error: &Error) {
        if !self.failing.swap(true, Ordering::AcqRel) {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::warn!(
                error = %error,
                cause = cause.as_deref().unwrap_or(""),
                "the catalog cannot be read; limited statements are counted or refused until it can"
            );
        }
    }

    fn recovered(&self) {
        if self.failing.swap(false, Ordering::AcqRel) {
            tracing::info!("the catalog is read again");
        }
    }
}

fn connection(backend: &PostgresBackend, pace: &Pace) -> tokio_postgres::Config {
    let (user, password) = match &backend.operator {
        Some((user, password)) => (user, password),
        None => (&backend.user, &backend.password),
    };
    let mut config = tokio_postgres::Config::new();
    if backend.hosts.wanted.writes() {
        config.target_session_attrs(tokio_postgres::config::TargetSessionAttrs::ReadWrite);
    }
    config
        .dbname(&*backend.database)
        .user(&**user)
        .application_name("portcullis catalog")
        .connect_timeout(pace.connect_timeout);
    if let Some(password) = password {
        config.password(password.reveal());
    }
    config
}
