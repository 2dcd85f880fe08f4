//! Worker threads: each a runtime of its own that owns its clients and its
//! policy instances, so that nothing on the path is shared between them.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::app::directories::Directories;
use crate::app::doors::Doors;
use crate::config::Config;
use crate::console::Console;
use crate::frontend::postgres::attempts::Attempts;
use crate::frontend::postgres::{Door, serve};
use crate::gate::brake::Brakes;
use crate::gate::cancel::Cancels;
use crate::gate::roster::Orders;
use crate::gate::{Backends, Worker};
use crate::net::accept::{Accepted, Arrivals, Handover, Load};
use crate::policy::{Judge, Policies};
use crate::safety::rate::Rates;
use crate::telemetry::Telemetry;

/// Everything workers share.
#[derive(Clone)]
pub struct Shared {
    /// The configuration, swapped on reload.
    pub config: Arc<ArcSwap<Config>>,
    /// The policies, swapped on reload.
    pub policies: Arc<Policies>,
    /// Counters and log.
    pub telemetry: Telemetry,
    /// Rates.
    pub rates: Arc<Rates>,
    /// Cancel keys.
    pub cancels: Arc<Cancels>,
    /// Failed logins of late.
    pub attempts: Arc<Attempts>,
    /// Users that the servers know.
    pub directories: Arc<Directories>,
    /// Databases.
    pub backends: Arc<ArcSwap<Backends>>,
    /// TLS and lists of the doors, swapped on reload.
    pub doors: Arc<Doors>,
    /// Turns true when sessions should end at their next idle point.
    pub drain: watch::Receiver<bool>,
    /// Turns true when sessions end at once.
    pub stop: watch::Receiver<bool>,
    /// Connections served now.
    pub clients: Arc<AtomicUsize>,
    /// Number of the next session.
    pub sessions: Arc<AtomicU64>,
    /// Databases that are paused or disabled.
    pub brakes: Arc<Brakes>,
    /// Secret of this process for mock logins.
    pub seed: [u8; 32],
}

/// How many workers there are to be; 0: one for each core.
pub fn count(wanted: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if wanted == 0 { cores } else { wanted }
}

/// Starts a worker for each mailbox; connections reach them through the handovers.
pub fn start(
    shared: &Shared,
    console: &Arc<Console>,
    orders: Vec<Orders>,
) -> std::io::Result<(Vec<Handover>, Vec<JoinHandle<()>>)> {
    let mut handovers = Vec::with_capacity(orders.len());
    let mut threads = Vec::with_capacity(orders.len());
    for (i, orders) in orders.into_iter().enumerate() {
        let (handover, arrivals) = Handover::pair();
        let (shared, console) = (shared.clone(), console.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new()
            .name(format!("worker-{i}"))
            .spawn(move || {
                LocalSet::new().block_on(&runtime, begin(shared, console, arrivals, orders))
            })?;
        handovers.push(handover);
        threads.push(thread);
    }
    Ok((handovers, threads))
}

/// The future a `LocalSet` runs is polled whenever any of its tasks wakes: this one
/// only waits, so that a statement does not pay for the door.
async fn begin(shared: Shared, console: Arc<Console>, arrivals: Arrivals, orders: Orders) {
    if let Err(error) = tokio::task::spawn_local(work(shared, console, arrivals, orders)).await
        && error.is_panic()
    {
        tracing::error!("a worker ended by a defect in the gate");
    }
}

/// One worker, until there are no more connections and the last one has ended.
async fn work(shared: Shared, console: Arc<Console>, mut arrivals: Arrivals, mut orders: Orders) {
    let worker = Worker::new(
        Judge::new(shared.policies.clone()),
        shared.telemetry.recorder(),
        shared.config.clone(),
        shared.rates.clone(),
        shared.sessions.clone(),
        shared.drain.clone(),
        shared.brakes.clone(),
    );
    let mut stop = shared.stop.clone();
    let mut sessions = tokio::task::JoinSet::new();
    let mut open = true;
    while open || !sessions.is_empty() {
        tokio::select! {
            arrived = arrivals.next(), if open => match arrived {
                Some((accepted, load)) => {
                    // Not inside another future: that would hold it twice.
                    let (shared, worker) = (shared.clone(), worker.clone());
                    sessions.spawn_local(one(accepted, load, shared, worker, console.clone()));
                }
                None => open = false,
            },
            Some(order) = orders.recv() => worker.obey(order),
            // A session that panicked has ended, and only that one.
            Some(ended) = sessions.join_next(), if !sessions.is_empty() => {
                if let Err(error) = ended && error.is_panic() {
                    tracing::error!("a session ended by a defect in the gate");
                }
            }
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

async fn one(
    accepted: Accepted,
    _load: Load,
    shared: Shared,
    worker: Rc<Worker>,
    console: Arc<Console>,
) {
    let Ok(socket) = accepted.stream.open() else {
        return;
    };
    let Some(entrance) = shared.doors.entrance(accepted.door) else {
        return;
    };
    let door = Door {
        config: shared.config.load_full(),
        cancels: shared.cancels.clone(),
        seed: shared.seed,
        attempts: shared.attempts.clone(),
        directory: shared.directories.clone(),
        tls: entrance.tls.clone(),
        gates: entrance.gates.clone(),
    };
    let backends = shared.backends.load_full();
    let clients = shared.clients.fetch_add(1, Ordering::Relaxed) + 1;
    let _counted = Counted(shared.clients.clone());
    let visit = serve::connection(socket, door, worker.clone(), (*backends).clone(), clients).await;
    if let Some(visit) = visit {
        crate::console::serve(visit, worker, console).await;
    }
}

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
