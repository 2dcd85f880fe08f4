//! A candidate beside the version that judges: it sees the same statements,
//! says what it would do, and nobody acts on it.
//!
//! It runs on a thread and an instance of its own, over owned copies. What comes
//! faster than it judges is dropped and counted: traffic waits for nothing here.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwapOption;

use super::super::memo::Answer;
use super::super::set::Scope;
use super::super::subject::Subject;
use super::super::version::Version;
use super::super::wasm::{Hook, Instance};
use super::tally::{Report, Tally};
use crate::config::PolicyConfig;
use crate::model::{Client, Verdict};

/// Decisions that may wait.
const QUEUE_MAX: usize = 4096;

/// A decision to be taken again by the candidate.
pub(in crate::policy) struct Twice {
    pub(in crate::policy) subject: Subject,
    /// What the policy said that judges; none: there is none of that name.
    pub(in crate::policy) live: Option<Arc<Answer>>,
}

/// The candidate that runs.
#[derive(Debug)]
pub(in crate::policy) struct Shadow {
    /// As it was configured: name, settings, and its component.
    pub(in crate::policy) policy: PolicyConfig,
    pub(in crate::policy) version: Arc<Version>,
    pub(in crate::policy) scope: Scope,
    /// The component.
    pub(in crate::policy) bytes: Vec<u8>,
    /// When it began.
    pub(in crate::policy) since: SystemTime,
    queue: SyncSender<Twice>,
    tally: Arc<Mutex<Tally>>,
    dropped: AtomicU64,
}

impl Shadow {
    /// Starts its thread, which ends with it.
    pub(in crate::policy) fn start(
        policy: PolicyConfig,
        version: Arc<Version>,
        scope: Scope,
        bytes: Vec<u8>,
    ) -> std::io::Result<Shadow> {
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        let tally = Arc::new(Mutex::new(Tally::default()));
        let (of_thread, counted) = (version.clone(), tally.clone());
        std::thread::Builder::new()
            .name("policy-shadow".into())
            .spawn(move || work(&jobs, &of_thread, &counted))?;
        Ok(Shadow {
            policy,
            version,
            scope,
            bytes,
            since: SystemTime::now(),
            queue,
            tally,
            dropped: AtomicU64::new(0),
        })
    }

    /// Whether it is about this client.
    pub(in crate::policy) fn is_about(&self, client: &Client) -> bool {
        self.scope.holds(client)
    }

    /// Lets it judge, later.
    pub(in crate::policy) fn see(&self, twice: Twice) {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(twice) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(in crate::policy) fn report(&self) -> Report {
        let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.report(self.dropped.load(Ordering::Relaxed))
    }
}

/// At most one candidate at a time.
#[derive(Debug, Default)]
pub(in crate::policy) struct Shadows {
    wanted: AtomicBool,
    running: ArcSwapOption<Shadow>,
}

impl Shadows {
    /// The candidate; one relaxed load where there is none.
    #[inline]
    pub(in crate::policy) fn running(&self) -> Option<Arc<Shadow>> {
        if !self.wanted.load(Ordering::Relaxed) {
            return None;
        }
        self.running.load_full()
    }

    pub(in crate::policy) fn start(&self, shadow: Shadow) {
        self.running.store(Some(Arc::new(shadow)));
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// Ends it, and gives what it was.
    pub(in crate::policy) fn stop(&self) -> Option<Arc<Shadow>> {
        self.wanted.store(false, Ordering::Relaxed);
        self.running.swap(None)
    }
}

fn work(jobs: &Receiver<Twice>, version: &Arc<Version>, tally: &Mutex<Tally>) {
    let mut instance: Option<Instance> = None;
    let nothing = Verdict::default();
    while let Ok(twice) = jobs.recv() {
        let statement = twice.subject.statement.normalized.clone();
        let started = Instant::now();
        let outcome = match instance.take() {
            Some(instance) => Ok(instance),
            None => version.start(),
        };
        let outcome = outcome.and_then(|mut ready| {
            let judged = ready.call(Hook::Judge, Arc::new(twice.subject))?;
            instance = Some(ready);
            Ok(judged)
        });
        let spent = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            // It wants values that the other one did not need: asked again with them.
            Ok(judged) if judged.needs_values => {}
            Ok(judged) => {
                tally.spent_ns = tally.spent_ns.saturating_add(spent);
                let live = twice.live.as_ref().map(|live| &live.judged.verdict);
                tally.compare(live.unwrap_or(&nothing), &judged.verdict, &statement);
            }
            Err(fault) => {
                tally.faults += 1;
                tally.fault = Some(fault.to_string());
            }
        }
    }
}
