//! Stops what runs: on a cancel request, when its time is up, when the client is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;

/// Virtual-machine steps between two looks at the clock.
const STEPS: i32 = 2000;

struct State {
    start: Instant,
    cancelled: AtomicBool,
    closed: AtomicBool,
    /// Milliseconds after `start`; 0: no deadline.
    deadline: AtomicU64,
}

/// Shared between a connection's thread and everybody who may stop it.
#[derive(Clone)]
pub struct Watch(Arc<State>);

/// The part of a watch that a cancel request may use.
#[derive(Clone)]
pub struct Canceller(Watch);

impl Canceller {
    /// Stops the statement that runs, if one does.
    pub fn cancel(&self) {
        self.0.0.cancelled.store(true, Ordering::Release);
    }
}

impl Watch {
    pub(super) fn new() -> Watch {
        Watch(Arc::new(State {
            start: Instant::now(),
            cancelled: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            deadline: AtomicU64::new(0),
        }))
    }

    pub(super) fn install(&self, connection: &Connection) {
        let seen = self.clone();
        connection.progress_handler(STEPS, Some(move || seen.must_stop()));
    }

    pub(super) fn canceller(&self) -> Canceller {
        Canceller(self.clone())
    }

    /// A statement begins: earlier cancel requests are void.
    pub(super) fn begin(&self, limit: Option<Duration>) {
        self.0.cancelled.store(false, Ordering::Release);
        let deadline = limit.map_or(0, |l| {
            self.elapsed().saturating_add(l.as_millis() as u64).max(1)
        });
        self.0.deadline.store(deadline, Ordering::Release);
    }

    /// The client is gone for good.
    pub(super) fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
    }

    pub(super) fn timed_out(&self) -> bool {
        let deadline = self.0.deadline.load(Ordering::Acquire);
        deadline != 0 && self.elapsed() >= deadline
    }

    pub(super) fn must_stop(&self) -> bool {
        self.0.closed.load(Ordering::Acquire)
            || self.0.cancelled.load(Ordering::Acquire)
            || self.timed_out()
    }

    fn elapsed(&self) -> u64 {
        self.0.start.elapsed().as_millis() as u64
    }
}
