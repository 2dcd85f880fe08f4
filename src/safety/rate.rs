//! Rates: how many statements may come in how much time.
//!
//! GCRA, the leaky bucket that needs one number per key: the *theoretical
//! arrival time*, when the cell is empty again. One atomic per cell, found in a
//! sharded table; a shard's lock is held only for the look-up.
//!
//! Cells are keyed by (database, policy, bucket, dimensions), never by the
//! quota, so they survive reloads: a changed quota keeps the share that was
//! already spent.
//!
//! Keys come from clients (an application name can be anything), so their number
//! is bounded: a full table first forgets cells that have nothing left to
//! remember, then all new keys of a bucket share one overflow cell.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hashbrown::HashTable;

use crate::model::refusal::sqlstate;
use crate::model::{Client, Kind, Refusal, Requirement, RequirementKind, SessionFacts};

/// Most keys held at once, in all buckets together.
pub const KEYS_MAX: usize = 100_000;

const SHARDS: usize = 64;
/// Overflow cells a shard may hold beyond its share of [`KEYS_MAX`].
const OVERFLOW_PER_SHARD: usize = 64;

/// Dimension bits of `RequirementKind::Rate::by`.
mod by {
    pub(super) const USER: u64 = 1;
    pub(super) const ADDRESS: u64 = 2;
    pub(super) const APPLICATION: u64 = 4;
    pub(super) const DATABASE: u64 = 8;
    pub(super) const CLASS: u64 = 16;
    pub(super) const ALL: u64 = USER | ADDRESS | APPLICATION | DATABASE | CLASS;
}

/// Coarse class of a statement, the dimension `class`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Class {
    Read,
    Write,
    Schema,
    Control,
    Other,
}

impl Class {
    fn of(kind: Kind) -> Class {
        match kind {
            Kind::Select | Kind::Explain | Kind::Declare | Kind::Fetch | Kind::Show => Class::Read,
            Kind::Insert
            | Kind::Update
            | Kind::Delete
            | Kind::Merge
            | Kind::Truncate
            | Kind::Copy => Class::Write,
            Kind::Create
            | Kind::Alter
            | Kind::Drop
            | Kind::Grant
            | Kind::Revoke
            | Kind::Comment
            | Kind::Refresh
            | Kind::Maintain
            | Kind::Load => Class::Schema,
            Kind::Begin
            | Kind::Commit
            | Kind::Rollback
            | Kind::Savepoint
            | Kind::TwoPhase
            | Kind::Set
            | Kind::Reset
            | Kind::Discard
            | Kind::Prepare
            | Kind::Deallocate
            | Kind::Close
            | Kind::Empty => Class::Control,
            _ => Class::Other,
        }
    }
}

/// A key as the statement brings it, without owning anything.
#[derive(Hash, Clone, Copy)]
struct KeyRef<'a> {
    database: &'a str,
    policy: &'a str,
    bucket: &'a str,
    by: u64,
    user: &'a str,
    address: Option<IpAddr>,
    application: &'a str,
    class: Option<Class>,
    overflow: bool,
}

/// The same, kept.
struct Key {
    database: Box<str>,
    policy: Box<str>,
    bucket: Box<str>,
    by: u64,
    user: Box<str>,
    address: Option<IpAddr>,
    application: Box<str>,
    class: Option<Class>,
    overflow: bool,
}

impl KeyRef<'_> {
    fn is(&self, key: &Key) -> bool {
        self.by == key.by
            && self.class == key.class
            && self.overflow == key.overflow
            && self.address == key.address
            && *self.user == *key.user
            && *self.application == *key.application
            && *self.bucket == *key.bucket
            && *self.policy == *key.policy
            && *self.database == *key.database
    }

    fn keep(&self) -> Key {
        Key {
            database: self.database.into(),
            policy: self.policy.into(),
            bucket: self.bucket.into(),
            by: self.by,
            user: self.user.into(),
            address: self.address,
            application: self.application.into(),
            class: self.class,
            overflow: self.overflow,
        }
    }

    fn hash(&self) -> u64 {
        use std::hash::BuildHasher;
        // Keys are chosen by clients: a keyed hash, so that nobody can aim at one shard.
        static STATE: std::sync::LazyLock<std::hash::RandomState> =
            std::sync::LazyLock::new(std::hash::RandomState::new);
        STATE.hash_one(self)
    }

    /// The cell shared by all keys of the bucket that found no room.
    fn shared(&self) -> KeyRef<'_> {
        KeyRef {
            user: "",
            address: None,
            application: "",
            class: None,
            overflow: true,
            ..*self
        }
    }
}

/// What a requirement allows, in nanoseconds.
#[derive(Clone, Copy)]
struct Quota {
    /// Time that one statement costs.
    interval: u64,
    /// Time that may be owed: `burst` statements.
    depth: u64,
}

impl Quota {
    fn new(burst: u32, period_ms: u64) -> Quota {
        // A year bounds every sum below far away from overflow.
        let period = period_ms.min(366 * 24 * 3600 * 1000) * 1_000_000;
        let interval = period / u64::from(burst.max(1));
        Quota {
            interval,
            depth: interval * u64::from(burst),
        }
    }
}

struct Cell {
    key: Key,
    hash: u64,
    /// When the cell is empty again, in nanoseconds since the start.
    arrival: AtomicU64,
    /// Depth of the quota `arrival` was written under.
    depth: AtomicU64,
}

impl Cell {
    /// Brings what was spent under another quota to the same share of this one.
    fn adopt(&self, quota: Quota, now: u64) {
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

    fn peek(&self, quota: Quota, now: u64) -> Option<u64> {
        Cell::wait(self.arrival.load(Ordering::Acquire), quota, now)
    }

    fn charge(&self, quota: Quota, now: u64) -> Result<(), u64> {
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

    fn refund(&self, quota: Quota) {
        let back = |arrival: u64| Some(arrival.saturating_sub(quota.interval));
        let _ = self
            .arrival
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, back);
    }
}

#[derive(Default)]
struct Shard {
    cells: HashTable<Arc<Cell>>,
    /// No cell can be forgotten before this; saves sweeping in vain.
    sweep_after: u64,
}

impl Shard {
    fn find(&self, hash: u64, key: &KeyRef<'_>) -> Option<Arc<Cell>> {
        self.cells.find(hash, |cell| key.is(&cell.key)).cloned()
    }

    fn insert(&mut self, hash: u64, key: &KeyRef<'_>) -> Arc<Cell> {
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
    fn sweep(&mut self, now: u64) {
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
        let mut held: Vec<(Arc<Cell>, Quota, &Requirement)> = Vec::new();
        for requirement in requirements {
            let RequirementKind::Rate {
                bucket,
                by,
                burst,
                period_ms,
            } = &requirement.kind
            else {
                continue;
            };
            let quota = Quota::new(*burst, *period_ms);
            let key = asked.key(&requirement.policy, bucket, *by);
            let Some(cell) = self.cell(&key, now) else {
                return Err(no_room(requirement));
            };
            cell.adopt(quota, now);
            if let Some(wait) = cell.peek(quota, now) {
                return Err(refusal(requirement, wait));
            }
            held.push((cell, quota, requirement));
        }
        for (index, (cell, quota, requirement)) in held.iter().enumerate() {
            let Err(wait) = cell.charge(*quota, now) else {
                continue;
            };
            // Somebody was quicker between the check and the charge.
            for (cell, quota, _) in &held[..index] {
                cell.refund(*quota);
            }
            return Err(refusal(requirement, wait));
        }
        Ok(())
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

struct Asked<'a> {
    client: &'a Client,
    session: &'a SessionFacts,
    kind: Kind,
    database: &'a str,
}

impl<'a> Asked<'a> {
    fn key(&self, policy: &'a str, bucket: &'a str, dimensions: u64) -> KeyRef<'a> {
        let has = |bit: u64| dimensions & bit != 0;
        KeyRef {
            database: self.database,
            policy,
            bucket,
            by: dimensions & by::ALL,
            user: if has(by::USER) { &self.client.user } else { "" },
            address: self.client.address.filter(|_| has(by::ADDRESS)),
            application: if has(by::APPLICATION) {
                &self.session.application
            } else {
                ""
            },
            class: has(by::CLASS).then(|| Class::of(self.kind)),
            overflow: false,
        }
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

fn dimensions(dimensions: u64) -> String {
    let names = [
        (by::USER, "user"),
        (by::ADDRESS, "address"),
        (by::APPLICATION, "application"),
        (by::DATABASE, "database"),
        (by::CLASS, "statement class"),
    ];
    let chosen: Vec<&str> = names
        .iter()
        .filter(|(bit, _)| dimensions & bit != 0)
        .map(|(_, name)| *name)
        .collect();
    if chosen.is_empty() {
        "database".to_owned()
    } else {
        chosen.join(" and ")
    }
}

#[cfg(test)]
mod tests;
