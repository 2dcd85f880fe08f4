//! How the gate is told to stop: first politely, then at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// How far stopping has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Running,
    /// No new clients; the ones that are here may stay.
    Closing,
    /// No new clients; the ones that are here may finish what they began.
    Draining,
    /// Everybody out.
    Now,
}

/// A handle to stop a gate with. Cheap to clone; any clone will do.
#[derive(Debug, Clone)]
pub struct Shutdown {
    phase: Arc<watch::Sender<Phase>>,
    relieved: Arc<AtomicBool>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Shutdown {
            phase: Arc::new(watch::Sender::new(Phase::Running)),
            relieved: Arc::default(),
        }
    }
}

impl Shutdown {
    /// A new one, not yet told anything.
    pub fn new() -> Shutdown {
        Shutdown::default()
    }

    /// No new clients; it ends when the last one that is here has left.
    pub fn close(&self) {
        self.raise(Phase::Closing);
    }

    /// Another gate serves from now on: like [`close`](Self::close), and nobody
    /// needs to be told that the service stops, for it does not.
    pub fn relieve(&self) {
        self.relieved.store(true, Ordering::Release);
        self.close();
    }

    /// Whether another gate serves instead.
    pub fn is_relieved(&self) -> bool {
        self.relieved.load(Ordering::Acquire)
    }

    /// No new clients; those that are here may finish what they began.
    pub fn drain(&self) {
        self.raise(Phase::Draining);
    }

    /// Everybody out.
    pub fn now(&self) {
        self.raise(Phase::Now);
    }

    /// One step further: what a second Ctrl-C means.
    pub fn further(&self) {
        let next = match self.phase() {
            Phase::Running | Phase::Closing => Phase::Draining,
            Phase::Draining | Phase::Now => Phase::Now,
        };
        self.raise(next);
    }

    /// How far it has come.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Returns once it has come at least this far.
    pub async fn reached(&self, phase: Phase) {
        let mut receiver = self.phase.subscribe();
        // An error would mean that no sender is left, but `self` is one.
        let _ = receiver.wait_for(|now| *now >= phase).await;
    }

    fn raise(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let further = phase > *now;
            if further {
                *now = phase;
            }
            further
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_only_forward() {
        let shutdown = Shutdown::new();
        shutdown.further();
        assert_eq!(shutdown.phase(), Phase::Draining);
        shutdown.further();
        shutdown.drain();
        assert_eq!(shutdown.phase(), Phase::Now);
    }

    #[test]
    fn who_may_stay_may_be_asked_to_leave_later() {
        let shutdown = Shutdown::new();
        shutdown.close();
        assert_eq!(shutdown.phase(), Phase::Closing);
        shutdown.drain();
        shutdown.close();
        assert_eq!(shutdown.phase(), Phase::Draining);
    }
}
