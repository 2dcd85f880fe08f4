//! The operator's other door: a console that speaks PostgreSQL.
//!
//! Whoever connects to the database `portcullis`, or `pgbouncer`, finds no
//! database but this: `SHOW …` tells what goes on, a few words change it. Names
//! and columns are PgBouncer's, so that its dashboards and scripts go on.
//!
//! Deliberately not here: backends (the gate tells what is known of links),
//! logging in (`frontend`), signals (`app`).
//!
//! Read [`serve`] first, then `session`; `show` has one file for each group of
//! tables, `act` what changes something.

mod act;
mod command;
mod gather;
mod session;
mod show;
mod table;

use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::Config;
use crate::gate::brake::Brakes;
use crate::gate::roster::Mailbox;
use crate::gate::{Backends, Visit, Worker};
use crate::policy::Policies;
use crate::telemetry::Telemetry;

pub use command::Stop;

/// What clients take for the version of a server: drivers choose their words by it.
const SERVER_VERSION: &str = concat!("15.0 (Portcullis ", env!("CARGO_PKG_VERSION"), ")");
/// The same as a number.
const SERVER_VERSION_NUM: &str = "150000";

/// The name that rows about the console itself have, as in PgBouncer.
const ITSELF: &str = "pgbouncer";

/// What only the composition root can do.
pub trait Control: Send + Sync {
    /// Reads the configuration again; says what is wrong with it.
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>>;
    /// Stops the gate.
    fn stop(&self, how: Stop);
    /// Whether the gate is about to stop.
    fn is_stopping(&self) -> bool;
}

/// Everything the console looks at and acts on; shared by all workers.
pub struct Plant {
    /// The configuration, swapped on reload.
    pub config: Arc<ArcSwap<Config>>,
    /// The policies.
    pub policies: Arc<Policies>,
    /// Counters.
    pub telemetry: Telemetry,
    /// Databases.
    pub backends: Arc<ArcSwap<Backends>>,
    /// Paused and disabled databases.
    pub brakes: Arc<Brakes>,
    /// The ways to all workers.
    pub workers: Arc<[Mailbox]>,
    /// Connections served now, those that have not logged in included.
    pub connected: Arc<AtomicUsize>,
    /// Turns true when nobody new is let in any more.
    pub closing: tokio::sync::watch::Receiver<bool>,
    /// The rest.
    pub control: Arc<dyn Control>,
}

/// The console.
pub struct Console {
    plant: Plant,
    samples: Mutex<gather::Samples>,
    /// Operators that are connected.
    visitors: AtomicUsize,
    suspended: std::sync::atomic::AtomicBool,
}

impl Console {
    /// One for the whole gate.
    pub fn new(plant: Plant) -> Arc<Console> {
        Arc::new(Console {
            plant,
            samples: Mutex::default(),
            visitors: AtomicUsize::new(0),
            suspended: Default::default(),
        })
    }

    /// Takes the sums that averages are made of, every period. Never returns.
    pub async fn keep_averages(self: Arc<Self>) {
        loop {
            let period = self.plant.config.load().console.stats_period;
            tokio::time::sleep(period).await;
            if let Ok(picture) = gather::Picture::take(&self.plant).await {
                let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
                samples.push(picture.counts);
            }
        }
    }

    fn recent(
        &self,
        database: &str,
        now: crate::gate::roster::Counts,
    ) -> (crate::gate::roster::Counts, std::time::Duration) {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.recent(database, now)
    }

    /// Stops everything on every database, as SIGUSR1 asks for.
    pub fn pause_everything(&self) {
        act::pause_everything(self);
    }

    /// The opposite.
    pub async fn resume_everything(&self) {
        act::resume_everything(self).await;
    }
}

/// Serves an operator until it leaves.
pub async fn serve<S>(visit: Visit<S>, worker: Rc<Worker>, console: Arc<Console>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let _counted = Counted::new(&console);
    session::run(visit, worker, &console).await;
}

struct Counted(Arc<Console>);

impl Counted {
    fn new(console: &Arc<Console>) -> Counted {
        console.visitors.fetch_add(1, Ordering::Relaxed);
        Counted(console.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.visitors.fetch_sub(1, Ordering::Relaxed);
    }
}
