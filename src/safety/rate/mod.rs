//! Rates: how many statements may come in how much time.
//!
//! GCRA, the leaky bucket that needs one number per key: the *theoretical
//! arrival time*, when the cell is empty again. One atomic per cell, found in a
//! sharded table; a shard's lock is held only for the look-up, and a session that
//! has looked keeps what it found ([`Held`]).
//!
//! Cells are keyed by (database, policy, bucket, dimensions), never by the
//! quota, so they survive reloads: a changed quota keeps the share that was
//! already spent.
//!
//! Keys come from clients (an application name can be anything), so their number
//! is bounded: a full table first forgets cells that have nothing left to
//! remember, then all new keys of a bucket share one overflow cell.

mod cell;
mod held;
mod key;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::model::refusal::sqlstate;
use crate::model::{Client, Kind, Refusal, Requirement, RequirementKind, SessionFacts};

use cell::{Cell, Shard};
pub use held::Held;
use key::{Asked, KeyRef, dimensions};

/// Most keys held at once, in all buckets together.
pub const KEYS_MAX: usize = 100_000;

const SHARDS: usize = 64;
/// Overflow cells a shard may hold beyond its share of [`KEYS_MAX`].
const OVERFLOW_PER_SHARD: usize = 64;

/// All rate cells of the process. Shared by all workers, outlives reloads.
pub struct Rates {
    start: Instant,
    shards: Box<[Mutex<Shard>]>,
    keys_per_shard: usize,
}

impl Default for Rates {
    fn default() -> Self {
        Rates::new()
    }
}

impl Rates {
    /// No cell yet.
    pub fn new() -> Rates {
        Rates::with_keys_max(KEYS_MAX)
    }

    fn with_keys_max(keys_max: usize) -> Rates {
        Rates {
            start: Instant::now(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            keys_per_shard: keys_max / SHARDS,
        }
    }

    /// Charges every rate in `requirements` for one statement, or none of them.
    ///
    /// Call once for each permitted Execute, or statement of a string; never for
    /// a refused statement and never in monitor mode.
    pub fn charge(
        &self,
        requirements: &[Requirement],
        client: &Client,
        session: &SessionFacts,
        kind: Kind,
        database: &str,
    ) -> Result<(), Refusal> {
        let is_rate =
            |requirement: &Requirement| matches!(requirement.kind, RequirementKind::Rate { .. });
        if !requirements.iter().any(is_rate) {
            return Ok(());
        }
        let now = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX / 2);
        let asked = Asked {
            client,
            session,
            kind,
            database,
        };
        self.charge_at(requirements, &asked, now)
    }

    /// Cells held now; for metrics.
    pub fn keys(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| {
                shard
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .cells
                    .len()
            })
            .sum()
    }

    fn charge_at(
        &self,
        requirements: &[Requirement],
        asked: &Asked<'_>,
        now: u64,
    ) -> Result<(), Refusal> {
        let cells = self.cells(requirements, asked, now)?;
        held::charge(requirements, &cells, now)
    }

    /// The key's cell, a new one if there is room, else the bucket's shared one.
    fn cell(&self, key: &KeyRef<'_>, now: u64) -> Option<Arc<Cell>> {
        self.cell_within(key, self.keys_per_shard, now).or_else(|| {
            let room = self.keys_per_shard + OVERFLOW_PER_SHARD;
            self.cell_within(&key.shared(), room, now)
        })
    }

    fn cell_within(&self, key: &KeyRef<'_>, room: usize, now: u64) -> Option<Arc<Cell>> {
        let hash = key.hash();
        let shard = self.shards.get(hash as usize % SHARDS)?;
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = shard.find(hash, key) {
            return Some(cell);
        }
        if shard.cells.len() >= room {
            shard.sweep(now);
        }
        (shard.cells.len() < room).then(|| shard.insert(hash, key))
    }
}

fn refusal(requirement: &Requirement, wait: u64) -> Refusal {
    let RequirementKind::Rate {
        bucket,
        by,
        burst,
        period_ms,
    } = &requirement.kind
    else {
        return no_room(requirement);
    };
    let allowed = format!(
        "allowed are {burst} statements in {} per {}",
        seconds(Duration::from_millis(*period_ms)),
        dimensions(*by),
    );
    let hint = if *burst == 0 {
        "this rate allows no statements at all".to_owned()
    } else {
        format!("try again in {}", seconds(Duration::from_nanos(wait)))
    };
    Refusal {
        policy: Arc::clone(&requirement.policy),
        rule: Arc::clone(bucket),
        ..Refusal::gate(
            "rate",
            sqlstate::RATE,
            format!("rate limit \"{bucket}\" exceeded"),
        )
        .detail(allowed)
        .hint(hint)
    }
}

/// Fail closed: more overflow cells than buckets can sensibly exist.
fn no_room(requirement: &Requirement) -> Refusal {
    Refusal {
        policy: Arc::clone(&requirement.policy),
        ..Refusal::gate("rate", sqlstate::RATE, "too many rate keys at once")
            .hint("try again later")
    }
}

/// Tenths of a second, rounded up, so that waiting as long as told is enough.
fn seconds(duration: Duration) -> String {
    let tenths = duration.as_nanos().div_ceil(100_000_000);
    match (tenths / 10, tenths % 10) {
        (whole, 0) => format!("{whole} s"),
        (whole, tenth) => format!("{whole}.{tenth} s"),
    }
}

#[cfg(test)]
mod tests;
