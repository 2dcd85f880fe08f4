//! One cell of GCRA, and a shard of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashTable;

use super::key::{Key, KeyRef};

/// What a requirement allows, in nanoseconds.
#[derive(Clone, Copy)]
pub(super) struct Quota {
    /// Time that one statement costs.
    interval: u64,
    /// Time that may be owed: `burst` statements.
    depth: u64,
}

impl Quota {
    pub(super) fn new(burst: u32, period_ms: u64) -> Quota {
        // A year bounds every sum below far away from overflow.
        let period = period_ms.min(366 * 24 * 3600 * 1000) * 1_000_000;
        let interval = period / u64::from(burst.max(1));
        Quota {
            interval,
            depth: interval * u64::from(burst),
        }
    }
}

pub(super) struct Cell {
    key: Key,
    hash: u64,
    /// When the cell is empty again, in nanoseconds since the start.
    arrival: AtomicU64,
    /// Depth of the quota `arrival` was written under.
    depth: AtomicU64,
}

impl Cell {
    /// Brings what was spent under another quota to the same share of this one.
    pub(super) fn adopt(&self, quota: Quota, now: u64) {
        // Nearly always: no locked instruction for it.
        if self.depth.load(Ordering::Acquire) == quota.depth {
            return;
        }
        let old = self.depth.swap(quota.depth, Ordering::AcqRel);
        if old == quota.depth || old == 0 {
            return;
        }
        let rescale = |arrival: u64| {
            let owed = u128::from(arrival.saturating_sub(now));
            let owed = owed * u128::from(quota.depth) / u128::from(old);
            Some(now.saturating_add(u64::try_from(owed).unwrap_or(u64::MAX)))
        };
        let _ = self
            .arrival
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, rescale);
    }

    /// Nanoseconds until one more statement fits; none when it fits now.
    fn wait(arrival: u64, quota: Quota, now: u64) -> Option<u64> {
        let after = arrival.max(now).saturating_add(quota.interval);
        let owed = after - now;
        (owed > quota.depth).then(|| owed - quota.depth)
    }

    pub(super) fn peek(&self, quota: Quota, now: u64) -> Option<u64> {
        Cell::wait(self.arrival.load(Ordering::Acquire), quota, now)
    }

    pub(super) fn charge(&self, quota: Quota, now: u64) -> Result<(), u64> {
        let mut arrival = self.arrival.load(Ordering::Acquire);
        loop {
            if let Some(wait) = Cell::wait(arrival, quota, now) {
                return Err(wait);
            }
            let next = arrival.max(now).saturating_add(quota.interval);
            match self.arrival.compare_exchange_weak(
                arrival,
                next,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Ok(()),
                Err(seen) => arrival = seen,
            }
        }
    }

    pub(super) fn refund(&self, quota: Quota) {
        let back = |arrival: u64| Some(arrival.saturating_sub(quota.interval));
        let _ = self
            .arrival
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, back);
    }
}

#[derive(Default)]
pub(super) struct Shard {
    pub(super) cells: HashTable<Arc<Cell>>,
    /// No cell can be forgotten before this; saves sweeping in vain.
    sweep_after: u64,
}

impl Shard {
    pub(super) fn find(&self, hash: u64, key: &KeyRef<'_>) -> Option<Arc<Cell>> {
        self.cells.find(hash, |cell| key.is(&cell.key)).cloned()
    }

    pub(super) fn insert(&mut self, hash: u64, key: &KeyRef<'_>) -> Arc<Cell> {
        let cell = Arc::new(Cell {
            key: key.keep(),
            hash,
            arrival: AtomicU64::new(0),
            depth: AtomicU64::new(0),
        });
        self.cells
            .insert_unique(hash, Arc::clone(&cell), |cell| cell.hash);
        cell
    }

    /// Forgets cells that have regained everything: a new one would be equal.
    pub(super) fn sweep(&mut self, now: u64) {
        if now < self.sweep_after {
            return;
        }
        let mut earliest = u64::MAX;
        self.cells.retain(|cell| {
            let arrival = cell.arrival.load(Ordering::Acquire);
            // Somebody who holds the cell is about to charge it.
            let keep = arrival > now || Arc::strong_count(cell) > 1;
            if keep {
                earliest = earliest.min(arrival);
            }
            keep
        });
        self.sweep_after = earliest.max(now.saturating_add(1_000_000));
    }
}
