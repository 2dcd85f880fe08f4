//! The links that exist, whoever holds them: for the console.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use crate::net::Ends;

/// What everybody may know of a link.
#[derive(Debug)]
pub struct Card {
    /// Its number; no other link of this process has it.
    pub id: u64,
    /// Server user.
    pub user: Arc<str>,
    /// Here and there.
    pub ends: Ends,
    /// Process id on the server.
    pub pid: i32,
    /// Opened.
    pub since: SystemTime,
    opened: Instant,
    /// The epoch of its pool in which it was opened.
    pub(super) epoch: u64,
    /// Prepared statements on it, at last sight.
    pub prepared: AtomicUsize,
    closed: Arc<Closed>,
}

#[derive(Debug, Default)]
struct Closed {
    count: AtomicU64,
    lifetime_us: AtomicU64,
}

impl Drop for Card {
    fn drop(&mut self) {
        let lived = u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.closed.count.fetch_add(1, Ordering::Relaxed);
        self.closed.lifetime_us.fetch_add(lived, Ordering::Relaxed);
    }
}

/// All cards of a pool.
#[derive(Debug, Default)]
pub(super) struct Cards {
    opening: AtomicUsize,
    closed: Arc<Closed>,
    all: Mutex<Vec<Weak<Card>>>,
}

/// A login that is going on; over when this drops.
pub(super) struct Opening<'c>(&'c Cards);

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.opening.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Cards {
    pub(super) fn opening(&self) -> Opening<'_> {
        self.opening.fetch_add(1, Ordering::Relaxed);
        Opening(self)
    }

    pub(super) fn being_opened(&self) -> usize {
        self.opening.load(Ordering::Relaxed)
    }

    /// How many links were closed, and how long they had lived altogether.
    pub(super) fn closed(&self) -> (u64, Duration) {
        let lifetime = self.closed.lifetime_us.load(Ordering::Relaxed);
        (
            self.closed.count.load(Ordering::Relaxed),
            Duration::from_micros(lifetime),
        )
    }

    /// A card for a link that has logged in; `epoch` is the one it began in.
    pub(super) fn issue(&self, user: Arc<str>, ends: Ends, pid: i32, epoch: u64) -> Arc<Card> {
        /// Links are rare and their numbers must differ over all pools.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let card = Arc::new(Card {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            user,
            ends,
            pid,
            since: SystemTime::now(),
            opened: Instant::now(),
            epoch,
            prepared: AtomicUsize::new(0),
            closed: self.closed.clone(),
        });
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|card| card.strong_count() > 0);
        all.push(Arc::downgrade(&card));
        card
    }

    pub(super) fn all(&self) -> Vec<Arc<Card>> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter_map(Weak::upgrade).collect()
    }
}
