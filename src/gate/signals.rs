//! What happens to all sessions of a worker at once: draining, new policies.
//!
//! A session looks at one number when it is about to wait, instead of asking
//! each source of news every time it wakes. The source that changes the number
//! wakes everybody.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::task::Waker;

use tokio::sync::watch;

use super::Worker;

/// See the head of this file.
#[derive(Debug, Default)]
pub struct Signals {
    /// Grows with every piece of news.
    count: Cell<u64>,
    draining: Cell<bool>,
    listeners: RefCell<HashMap<u64, Waker>>,
}

impl Signals {
    /// Number of the last piece of news. Session that never heard any begin with 0.
    pub(super) fn count(&self) -> u64 {
        self.count.get() + 1
    }

    /// Whether sessions should end at their next idle point.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Wakes everybody.
    fn ring(&self) {
        self.count.set(self.count.get() + 1);
        // A waker only puts its task into a queue: nobody comes back here meanwhile.
        for waker in self.listeners.borrow().values() {
            waker.wake_by_ref();
        }
    }
}

/// A session that is woken by news; no longer when this drops.
pub(super) struct Listening {
    worker: Rc<Worker>,
    id: u64,
}

impl Listening {
    /// From now on this task is woken.
    pub(super) fn begin(worker: &Rc<Worker>, id: u64, waker: &Waker) -> Listening {
        let mut listeners = worker.signals.listeners.borrow_mut();
        listeners.insert(id, waker.clone());
        Listening {
            worker: worker.clone(),
            id,
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut listeners = self.worker.signals.listeners.borrow_mut();
        listeners.remove(&self.id);
    }
}

/// Passes news on to the sessions of a worker until it is gone.
pub(super) async fn relay(
    worker: Weak<Worker>,
    mut drain: watch::Receiver<bool>,
    mut swaps: watch::Receiver<u64>,
) {
    loop {
        if let Some(worker) = worker.upgrade() {
            worker.signals.draining.set(*drain.borrow_and_update());
            worker.signals.ring();
        }
        let more = tokio::select! {
            changed = drain.changed() => changed.is_ok(),
            changed = swaps.changed() => changed.is_ok(),
        };
        if !more || worker.strong_count() == 0 {
            return;
        }
    }
}
