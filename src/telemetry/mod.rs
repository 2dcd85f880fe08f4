//! What happened, told twice from one place: as a log line and as a metric.
//!
//! Each thing that can happen is one struct; recording it writes the line and
//! moves the counter, so the two never disagree. Each worker has its own
//! [`Recorder`] with its own counters, summed when somebody asks: no lock and
//! no shared cache line on the path of a statement, and no allocation while
//! statements are not logged.
//!
//! Deliberately not here: globals. [`Telemetry`] is built once by the
//! composition root; only `main` installs the log ([`log::install`]).
//!
//! Read [`Recorder::record`] first.

mod event;
mod incident;
pub mod log;
mod mask;
mod metrics;
mod policy;
mod record;
mod shard;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Instant, SystemTime};

pub use event::Event;
pub use metrics::{METRICS, Metric, MetricKind, markdown};
pub use policy::PolicyCounts;
pub use record::{Outcome, ProtocolName, Record, STAGES, Timings};
pub use shard::Recent;

use shard::Shard;

/// A number that is read when metrics are asked for.
type Reading = Box<dyn Fn() -> i64 + Send + Sync>;

/// Somebody who looks at every record, on the thread that records it.
type Observer = Box<dyn Fn(&Record<'_>) + Send + Sync>;

/// The shared half: all workers' counters. Cheap to clone.
#[derive(Clone)]
pub struct Telemetry {
    inner: Arc<Inner>,
}

struct Inner {
    shards: Mutex<Vec<Arc<Shard>>>,
    readings: Mutex<Vec<(&'static str, Reading)>>,
    page: Mutex<Option<metrics::Page>>,
    incidents: incident::Incidents,
    observer: OnceLock<Observer>,
    statements: AtomicBool,
    started: Instant,
    started_at: SystemTime,
}

impl Telemetry {
    /// Builds; `log_statements` is `log.statements` of the configuration.
    pub fn new(log_statements: bool) -> Telemetry {
        let inner = Arc::new(Inner {
            shards: Mutex::default(),
            readings: Mutex::default(),
            page: Mutex::default(),
            incidents: incident::Incidents::new(),
            observer: OnceLock::new(),
            statements: AtomicBool::new(log_statements),
            started: Instant::now(),
            started_at: SystemTime::now(),
        });
        *lock(&inner.page) = metrics::Page::register(Arc::downgrade(&inner));
        Telemetry { inner }
    }

    /// A handle for one worker, or for one thread that records rarely.
    ///
    /// Its counters live as long as `Telemetry`; make one per thread, not one per event.
    pub fn recorder(&self) -> Recorder {
        let shard = Arc::new(Shard::new());
        lock(&self.inner.shards).push(shard.clone());
        Recorder {
            shard,
            shared: self.clone(),
            one_thread: PhantomData,
        }
    }

    /// Switches the line per statement on or off; refusals are logged in any case.
    pub fn log_statements(&self, on: bool) {
        self.inner.statements.store(on, Ordering::Relaxed);
    }

    /// Says where a gauge of [`METRICS`] is read from.
    pub fn read_gauge(
        &self,
        name: &'static str,
        reading: impl Fn() -> i64 + Send + Sync + 'static,
    ) {
        lock(&self.inner.readings).push((name, Box::new(reading)));
    }

    /// Shows every record to `look`, which must not wait. Only the first one counts.
    pub fn show_records(&self, look: impl Fn(&Record<'_>) + Send + Sync + 'static) {
        let _ = self.inner.observer.set(Box::new(look));
    }

    /// All metrics in Prometheus' text format.
    pub fn metrics_text(&self) -> String {
        lock(&self.inner.page)
            .as_ref()
            .map(metrics::Page::text)
            .unwrap_or_default()
    }

    /// The newest refusals (real ones and those of policies in monitor mode), newest first.
    pub fn recent_refusals(&self, at_most: usize) -> Vec<Recent> {
        let mut recent: Vec<Recent> = lock(&self.inner.shards)
            .iter()
            .flat_map(|shard| shard.recent())
            .collect();
        recent.sort_by_key(|refusal| std::cmp::Reverse(refusal.at));
        recent.truncate(at_most);
        recent
    }

    /// Totals for the status page.
    pub fn totals(&self) -> Totals {
        let shards = lock(&self.inner.shards);
        let sum =
            |read: &dyn Fn(&Shard) -> u64| shards.iter().map(|shard| read(shard)).sum::<u64>();
        Totals {
            statements: sum(&|s| s.statements()),
            refused: sum(&|s| s.outcome(Outcome::Refused)),
            would_refuse: sum(&|s| s.outcome(Outcome::Monitored)),
            clients: sum(&|s| s.connections_opened.get())
                .saturating_sub(sum(&|s| s.connections_closed.get())),
            uptime: self.inner.started.elapsed(),
        }
    }

    /// A new incident id.
    pub fn incident(&self) -> String {
        self.inner.incidents.next()
    }
}

/// Totals since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// Statements recorded.
    pub statements: u64,
    /// Of those, refused.
    pub refused: u64,
    /// Of those, let through only because the policy is in monitor mode.
    pub would_refuse: u64,
    /// Clients connected now.
    pub clients: u64,
    /// Time since the start.
    pub uptime: std::time::Duration,
}

/// One worker's handle. Cheap to clone within the thread.
#[derive(Clone)]
pub struct Recorder {
    shard: Arc<Shard>,
    shared: Telemetry,
    // The counters are written by one thread without locked instructions.
    one_thread: PhantomData<Cell<()>>,
}

impl Recorder {
    /// Records one statement, whatever became of it.
    pub fn record(&self, record: &Record<'_>) {
        self.shard.count(record);
        if let Some(look) = self.shared.inner.observer.get() {
            look(record);
        }
        record::write(record, self.shared.inner.statements.load(Ordering::Relaxed));
    }

    /// Records anything else.
    pub fn emit(&self, event: &Event<'_>) {
        event.count(&self.shard);
        event.write();
    }

    /// A new incident id: given to the client and found in the log.
    pub fn incident(&self) -> String {
        self.shared.incident()
    }

    /// Takes over the running totals of the worker's judge.
    pub fn judge_totals(&self, wasm_calls: u64) {
        self.shard.wasm_calls.set(wasm_calls);
    }

    /// The shared half.
    pub fn telemetry(&self) -> &Telemetry {
        &self.shared
    }
}

/// A poisoned lock only means that a panic was recorded somewhere else.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
