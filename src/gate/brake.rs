//! Databases that are held: paused, so that nobody gets a link, or disabled, so
//! that nobody new comes in.
//!
//! Kept by name beside the configuration: a reload does not loosen a brake that
//! an operator has put on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// The brake of one database, shared by all workers.
#[derive(Debug, Default)]
pub struct Brake {
    paused: AtomicBool,
    disabled: AtomicBool,
    /// All databases are paused.
    everything: Arc<AtomicBool>,
    loosened: Notify,
}

impl Brake {
    /// Whether links are handed out no more.
    pub fn is_held(&self) -> bool {
        self.paused.load(Ordering::Relaxed) || self.everything.load(Ordering::Relaxed)
    }

    /// Whether this database was paused itself.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// Whether nobody new may come.
    pub fn is_disabled(&self) -> bool {
        self.disabled.load(Ordering::Relaxed)
    }

    /// Lets nobody new come, or does again.
    pub fn disable(&self, disabled: bool) {
        self.disabled.store(disabled, Ordering::Relaxed);
    }

    /// Waits until it is not held. The one wait without a limit: whoever put
    /// the brake on is in charge of it, and a client may leave at any time.
    pub async fn pass(&self) {
        loop {
            let loosened = self.loosened.notified();
            let mut loosened = std::pin::pin!(loosened);
            // In line before the look: what is loosened in between is not missed.
            loosened.as_mut().enable();
            if !self.is_held() {
                return;
            }
            loosened.await;
        }
    }
}

/// All brakes, by the name of the database.
#[derive(Debug, Default)]
pub struct Brakes {
    by_name: Mutex<HashMap<Arc<str>, Arc<Brake>>>,
    everything: Arc<AtomicBool>,
}

impl Brakes {
    /// The brake of a database.
    pub fn of(&self, name: &Arc<str>) -> Arc<Brake> {
        let mut all = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(name) {
            return known.clone();
        }
        // Names may come from clients, where databases are found by a pattern.
        all.retain(|_, brake| {
            Arc::strong_count(brake) > 1 || brake.is_paused() || brake.is_disabled()
        });
        let brake = Arc::new(Brake {
            everything: self.everything.clone(),
            ..Brake::default()
        });
        all.insert(name.clone(), brake.clone());
        brake
    }

    /// Whether everything is paused.
    pub fn is_everything_held(&self) -> bool {
        self.everything.load(Ordering::Relaxed)
    }

    /// Puts the brake of one database on. False: it was on.
    pub fn pause(&self, name: &Arc<str>) -> bool {
        !self.of(name).paused.swap(true, Ordering::Relaxed)
    }

    /// Loosens the brake of one database. False: it was loose.
    pub fn resume(&self, name: &Arc<str>) -> bool {
        let brake = self.of(name);
        let was = brake.paused.swap(false, Ordering::Relaxed);
        brake.loosened.notify_waiters();
        was
    }

    /// Puts the brake of all on, of those to come as well. False: it was on.
    pub fn pause_everything(&self) -> bool {
        !self.everything.swap(true, Ordering::Relaxed)
    }

    /// Loosens what holds all; if nothing does, what holds single databases.
    /// False: nothing was held.
    pub fn resume_everything(&self) -> bool {
        let was = self.everything.swap(false, Ordering::Relaxed);
        let all = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        let mut loosened = was;
        for brake in all.values() {
            if !was {
                loosened |= brake.paused.swap(false, Ordering::Relaxed);
            }
            brake.loosened.notify_waiters();
        }
        loosened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_goes_on_when_the_brake_is_loosened() {
        let brakes = Arc::new(Brakes::default());
        let name: Arc<str> = "app".into();
        let brake = brakes.of(&name);
        brake.pass().await;
        assert!(brakes.pause(&name) && !brakes.pause(&name));
        let waiting = tokio::spawn({
            let brake = brake.clone();
            async move { brake.pass().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        assert!(brakes.resume(&name) && !brakes.resume(&name));
        waiting.await.unwrap();
    }

    #[test]
    fn what_holds_everything_holds_databases_that_come_later() {
        let brakes = Brakes::default();
        let (one, two): (Arc<str>, Arc<str>) = ("one".into(), "two".into());
        brakes.pause(&one);
        assert!(brakes.pause_everything());
        assert!(brakes.of(&two).is_held());
        assert!(brakes.resume_everything());
        assert!(!brakes.of(&two).is_held());
        assert!(brakes.of(&one).is_held(), "it was paused by itself");
        assert!(brakes.resume_everything());
        assert!(!brakes.of(&one).is_held());
        assert!(!brakes.resume_everything());
    }
}
