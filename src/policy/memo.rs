//! Verdicts remembered by what they depended on. One memo per worker, bounded.
//!
//! The key is the shape: who judges, the normalized text (compared, not only
//! hashed), the traits, and whether bind values were known. Under one key there
//! are variants, each with the reads it was made under; the first whose reads
//! all hold is the answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashTable;

use super::ask::Judged;
use super::read::Reads;
use super::subject::View;
use crate::model::facts::Statement;

/// Longer texts are judged every time: remembering them would let a few statements fill the memo.
const TEXT_BYTES_MAX: usize = 32 * 1024;

/// Variants kept of one key.
const VARIANTS_MAX: usize = 64;

/// Cost of an entry besides its text, roughly.
const ENTRY_BYTES: usize = 512;

/// How long a shape that faulted twice is refused without a call.
const BENCH_TIME: Duration = Duration::from_secs(60);

/// Faults after which a shape is benched.
const BENCH_FAULTS: u8 = 2;

/// A shape that could not be remembered is tried on a clean instance again once in so many runs.
const RETRY_CLEAN: u8 = 64;

/// The answer of one policy to one shape.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) judged: Judged,
}

/// The part of the key that is not read from anywhere else.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'k> {
    hash: u64,
    owner: u64,
    traits: u64,
    flags: u32,
    normalized: &'k Arc<str>,
}

impl<'k> Key<'k> {
    /// `owner` is the chain or the policy version.
    pub(super) fn new(owner: u64, view: &View<'k>) -> Key<'k> {
        let statement: &'k Statement = view.statement;
        let facts = &statement.facts;
        let known = u32::from(!view.lacks_values());
        let strings = u32::from(view.session.standard_strings);
        let flags = statement.dialect.code() << 16 | facts.kind.code() << 2 | strings << 1 | known;
        let traits = facts.traits.bits() | facts.effects.bits() << 32;
        let mixed = [owner, traits, u64::from(flags)]
            .iter()
            .fold(statement.shape, |hash, word| {
                (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            });
        Key {
            hash: mixed ^ mixed >> 32,
            owner,
            traits,
            flags,
            normalized: &statement.normalized,
        }
    }

    /// Whether anything may be remembered under it.
    pub(super) fn is_kept(&self) -> bool {
        self.normalized.len() <= TEXT_BYTES_MAX
    }
}

#[derive(Debug)]
struct Entry<T> {
    hash: u64,
    owner: u64,
    traits: u64,
    flags: u32,
    normalized: Arc<str>,
    variants: Vec<(Reads, T)>,
    marks: Marks,
    /// Asked for since the clock's hand passed.
    fresh: bool,
}

impl<T> Entry<T> {
    fn is(&self, key: &Key<'_>) -> bool {
        self.owner == key.owner
            && self.traits == key.traits
            && self.flags == key.flags
            && (Arc::ptr_eq(&self.normalized, key.normalized) || self.normalized == *key.normalized)
    }

    fn cost(&self) -> usize {
        self.normalized.len() + ENTRY_BYTES
    }
}

/// What is known about a shape besides its verdicts.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Marks {
    faults: u8,
    benched_until: Option<Instant>,
    /// Runs left on the warm instance before a clean one is tried again.
    warm: u8,
}

impl Marks {
    /// Notes a fault; the second one benches the shape.
    pub(super) fn fault(&mut self, now: Instant) {
        self.faults = self.faults.saturating_add(1);
        if self.faults >= BENCH_FAULTS {
            self.benched_until = now.checked_add(BENCH_TIME);
            self.faults = 0;
        }
    }

    /// Whether the shape is refused without a call.
    pub(super) fn benched(&self, now: Instant) -> bool {
        self.benched_until.is_some_and(|until| now < until)
    }

    /// Notes a clean run that could not be remembered.
    pub(super) fn unrepeatable(&mut self) {
        self.warm = RETRY_CLEAN;
    }

    /// Whether a clean instance would be wasted on this run.
    pub(super) fn wants_warm(&mut self) -> bool {
        let warm = self.warm > 0;
        self.warm = self.warm.saturating_sub(1);
        warm
    }
}

/// The memo: a slab of entries, a table of their places, and a clock's hand that evicts.
#[derive(Debug)]
pub(super) struct Memo<T> {
    entries: Vec<Entry<T>>,
    places: HashTable<usize>,
    hand: usize,
    cost: usize,
    cost_max: usize,
}

impl<T> Memo<T> {
    /// A memo of about this many bytes.
    pub(super) fn new(cost_max: usize) -> Memo<T> {
        Memo {
            entries: Vec::new(),
            places: HashTable::new(),
            hand: 0,
            cost: 0,
            cost_max,
        }
    }

    /// The value remembered for these answers.
    pub(super) fn get(&mut self, key: &Key<'_>, view: &View<'_>) -> Option<&T> {
        let place = self.place(key)?;
        let entry = self.entries.get_mut(place)?;
        entry.fresh = true;
        entry
            .variants
            .iter()
            .find(|(reads, _)| reads.hold(view))
            .map(|(_, value)| value)
    }

    /// Remembers.
    pub(super) fn put(&mut self, key: &Key<'_>, reads: Reads, value: T) {
        let Some(entry) = self.entry(key) else { return };
        if entry.variants.len() >= VARIANTS_MAX {
            entry.variants.remove(0);
        }
        entry.variants.push((reads, value));
    }

    /// The marks of a shape, if it has any.
    pub(super) fn marks(&mut self, key: &Key<'_>) -> Option<&mut Marks> {
        let place = self.place(key)?;
        self.entries.get_mut(place).map(|entry| &mut entry.marks)
    }

    /// The marks of a shape, to set.
    pub(super) fn mark(&mut self, key: &Key<'_>) -> Option<&mut Marks> {
        self.entry(key).map(|entry| &mut entry.marks)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.places.clear();
        self.hand = 0;
        self.cost = 0;
    }

    /// Keys held.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn place(&self, key: &Key<'_>) -> Option<usize> {
        let same = |place: &usize| self.entries.get(*place).is_some_and(|entry| entry.is(key));
        self.places.find(key.hash, same).copied()
    }

    /// Finds or makes.
    fn entry(&mut self, key: &Key<'_>) -> Option<&mut Entry<T>> {
        if !key.is_kept() {
            return None;
        }
        let place = match self.place(key) {
            Some(place) => place,
            None => self.insert(key),
        };
        self.entries.get_mut(place)
    }

    fn insert(&mut self, key: &Key<'_>) -> usize {
        let entry = Entry {
            hash: key.hash,
            owner: key.owner,
            traits: key.traits,
            flags: key.flags,
            normalized: key.normalized.clone(),
            variants: Vec::new(),
            marks: Marks::default(),
            // What is never asked for again goes first: a flood of new shapes does not push out old friends.
            fresh: false,
        };
        self.cost += entry.cost();
        while self.cost > self.cost_max && !self.entries.is_empty() {
            self.evict();
        }
        let place = self.entries.len();
        self.entries.push(entry);
        let entries = &self.entries;
        self.places.insert_unique(key.hash, place, |place| {
            entries.get(*place).map_or(0, |entry| entry.hash)
        });
        place
    }

    /// Removes the first entry behind the hand that nobody asked for since it passed.
    fn evict(&mut self) {
        let victim = loop {
            self.hand = if self.hand < self.entries.len() {
                self.hand
            } else {
                0
            };
            let Some(entry) = self.entries.get_mut(self.hand) else {
                return;
            };
            if !std::mem::take(&mut entry.fresh) {
                break self.hand;
            }
            self.hand += 1;
        };
        let last = self.entries.len() - 1;
        self.forget_place(victim);
        let removed = self.entries.swap_remove(victim);
        self.cost -= removed.cost();
        // The last entry moved into the gap: its place must follow.
        if let Some(moved) = self.entries.get(victim)
            && let Ok(mut found) = self.places.find_entry(moved.hash, |place| *place == last)
        {
            *found.get_mut() = victim;
        }
    }

    fn forget_place(&mut self, place: usize) {
        let Some(entry) = self.entries.get(place) else {
            return;
        };
        if let Ok(found) = self.places.find_entry(entry.hash, |known| *known == place) {
            found.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::facts::{Class, Facts};
    use crate::model::{Client, Dialect, Kind, SessionFacts};
    use crate::policy::read::Read;
    use crate::policy::subject::Values;

    fn statement(normalized: &str, shape: u64) -> Statement {
        let class = Class {
            normalized: normalized.into(),
            shape,
            dialect: Dialect::Postgres,
            facts: Facts::empty(Kind::Select),
            origins: Box::default(),
        };
        Statement::new(normalized, 0..0, Arc::new(class))
    }

    fn client(user: &str) -> Client {
        Client {
            user: user.into(),
            database: "app".into(),
            address: None,
        }
    }

    fn view<'v>(
        statement: &'v Statement,
        client: &'v Client,
        session: &'v SessionFacts,
    ) -> View<'v> {
        View {
            statement,
            client,
            session,
            values: Values::Known(&[]),
            now: None,
        }
    }

    #[test]
    fn tells_texts_with_one_hash_apart() {
        let (session, user) = (SessionFacts::default(), client("a"));
        let (one, two) = (statement("SELECT ?", 7), statement("DELETE ?", 7));
        let mut memo = Memo::new(1 << 20);
        let (first, second) = (view(&one, &user, &session), view(&two, &user, &session));
        memo.put(&Key::new(1, &first), Reads::default(), "one");
        assert_eq!(memo.get(&Key::new(1, &first), &first), Some(&"one"));
        assert_eq!(memo.get(&Key::new(1, &second), &second), None);
        assert_eq!(
            memo.get(&Key::new(2, &first), &first),
            None,
            "another chain"
        );
    }

    #[test]
    fn keeps_a_variant_for_each_answer() {
        let session = SessionFacts::default();
        let (alice, bob) = (client("alice"), client("bob"));
        let text = statement("SELECT ?", 1);
        let mut memo = Memo::new(1 << 20);
        for user in [&alice, &bob] {
            let view = view(&text, user, &session);
            let mut reads = Reads::default();
            reads.note(Read::User(user.user.clone()));
            memo.put(&Key::new(1, &view), reads, user.user.clone());
        }
        let view = view(&text, &bob, &session);
        assert_eq!(
            memo.get(&Key::new(1, &view), &view).map(|user| &**user),
            Some("bob")
        );
    }

    #[test]
    fn stays_within_its_bound_and_keeps_what_is_used() {
        let (session, user) = (SessionFacts::default(), client("a"));
        let mut memo = Memo::new(100 * ENTRY_BYTES);
        let hot = statement("SELECT hot", u64::MAX);
        let hot = view(&hot, &user, &session);
        memo.put(&Key::new(1, &hot), Reads::default(), 0);
        for number in 0..10_000u64 {
            let text = statement(&format!("SELECT {number}"), number % 13);
            let view = view(&text, &user, &session);
            memo.put(&Key::new(1, &view), Reads::default(), number);
            assert!(number % 7 > 0 || memo.get(&Key::new(1, &view), &view) == Some(&number));
            assert!(
                memo.get(&Key::new(1, &hot), &hot).is_some(),
                "evicted after {number}"
            );
            assert!(memo.len() <= 100);
        }
    }

    #[test]
    fn benches_a_shape_after_two_faults() {
        let now = Instant::now();
        let mut marks = Marks::default();
        marks.fault(now);
        assert!(!marks.benched(now));
        marks.fault(now);
        assert!(marks.benched(now));
        assert!(!marks.benched(now + BENCH_TIME));
    }
}
