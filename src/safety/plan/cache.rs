//! Plans already looked at. One per worker, bounded, no allocation on a hit.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use crate::model::{BindValue, Literal, LiteralKind};

use super::PlanMeasures;

/// Entries a generation holds; two generations are kept.
const GENERATION: usize = 1024;

/// Values longer than this together are not kept.
const VALUE_BYTES_MAX: usize = 4096;

/// Everything a plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct PlanAsked<'a> {
    /// The normalized text.
    pub normalized: &'a str,
    /// Current role.
    pub role: &'a str,
    /// search_path, as far as known.
    pub search_path: Option<&'a [Arc<str>]>,
    /// Equal numbers mean equal settings, over all sessions of the worker.
    pub settings: u64,
    /// `CatalogSnapshot::plan_epoch`.
    pub plan_epoch: u64,
    /// Constants of the text.
    pub literals: &'a [Literal],
    /// Values bound; empty when there are no parameters.
    pub values: &'a [BindValue],
}

struct Entry {
    hash: u64,
    normalized: Box<str>,
    role: Box<str>,
    search_path: Option<Box<[Arc<str>]>>,
    settings: u64,
    plan_epoch: u64,
    classes: Box<[LiteralKind]>,
    types: Box<[u32]>,
    values: Option<Values>,
    measures: Arc<PlanMeasures>,
}

/// Binary or not, and the bytes; none for NULL.
type Bound = (bool, Option<Box<[u8]>>);

/// The values of one statement, as it brought them.
#[derive(PartialEq)]
struct Values {
    literals: Box<[Box<str>]>,
    bound: Box<[Bound]>,
}

impl PlanAsked<'_> {
    fn hash(&self, with_values: bool) -> u64 {
        let mut state = FxBuildHasher.build_hasher();
        self.normalized.hash(&mut state);
        self.role.hash(&mut state);
        (self.settings, self.plan_epoch, with_values).hash(&mut state);
        for literal in self.literals {
            literal.kind().hash(&mut state);
            if with_values {
                literal.value.hash(&mut state);
            }
        }
        for value in self.values {
            value.type_oid.hash(&mut state);
            if with_values {
                value.bytes.hash(&mut state);
            }
        }
        state.finish()
    }

    fn is(&self, entry: &Entry) -> bool {
        self.settings == entry.settings
            && self.plan_epoch == entry.plan_epoch
            && *self.normalized == *entry.normalized
            && *self.role == *entry.role
            && self.search_path == entry.search_path.as_deref()
            && self
                .literals
                .iter()
                .map(Literal::kind)
                .eq(entry.classes.iter().copied())
            && self
                .values
                .iter()
                .map(|value| value.type_oid)
                .eq(entry.types.iter().copied())
            && entry.values.as_ref().is_none_or(|values| self.has(values))
    }

    fn has(&self, values: &Values) -> bool {
        let literals = self.literals.iter().map(|literal| &*literal.value);
        let bound = self
            .values
            .iter()
            .map(|value| (value.binary, value.bytes.as_deref()));
        literals.eq(values.literals.iter().map(|literal| &**literal))
            && bound.eq(values
                .bound
                .iter()
                .map(|(binary, bytes)| (*binary, bytes.as_deref())))
    }

    fn value_bytes(&self) -> usize {
        let literals: usize = self
            .literals
            .iter()
            .map(|literal| literal.value.len())
            .sum();
        let bound: usize = self
            .values
            .iter()
            .filter_map(|value| value.bytes.as_ref())
            .map(|bytes| bytes.len())
            .sum();
        literals + bound + self.normalized.len()
    }

    fn keep(&self, measures: Arc<PlanMeasures>, reusable: bool) -> Entry {
        let values = || Values {
            literals: self
                .literals
                .iter()
                .map(|literal| (*literal.value).into())
                .collect(),
            bound: self
                .values
                .iter()
                .map(|value| (value.binary, value.bytes.as_deref().map(Box::from)))
                .collect(),
        };
        Entry {
            hash: self.hash(!reusable),
            normalized: self.normalized.into(),
            role: self.role.into(),
            search_path: self.search_path.map(Box::from),
            settings: self.settings,
            plan_epoch: self.plan_epoch,
            classes: self.literals.iter().map(Literal::kind).collect(),
            types: self.values.iter().map(|value| value.type_oid).collect(),
            values: (!reusable).then(values),
            measures,
        }
    }
}

/// Two generations: when the young one is full it becomes the old one, and the old one goes.
#[derive(Default)]
struct Shelf {
    young: HashTable<Entry>,
    old: HashTable<Entry>,
}

impl Shelf {
    fn get(&mut self, hash: u64, asked: &PlanAsked<'_>) -> Option<Arc<PlanMeasures>> {
        if let Some(entry) = self.young.find(hash, |entry| asked.is(entry)) {
            return Some(Arc::clone(&entry.measures));
        }
        let found = self.old.find_entry(hash, |entry| asked.is(entry)).ok()?;
        let (entry, _) = found.remove();
        let measures = Arc::clone(&entry.measures);
        self.put(entry);
        Some(measures)
    }

    fn put(&mut self, entry: Entry) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young
            .insert_unique(entry.hash, entry, |entry| entry.hash);
    }
}

/// Measures of plans already seen.
///
/// Plans that hold for all values and plans of one set of values lie on two
/// shelves, so that a flood of values cannot push out the former.
#[derive(Default)]
pub struct PlanCache {
    reusable: Shelf,
    exact: Shelf,
}

impl PlanCache {
    /// Empty.
    pub fn new() -> PlanCache {
        PlanCache::default()
    }

    /// What an earlier look found, if it still holds for this statement.
    pub fn get(&mut self, asked: &PlanAsked<'_>) -> Option<Arc<PlanMeasures>> {
        let reusable = self.reusable.get(asked.hash(false), asked);
        reusable.or_else(|| self.exact.get(asked.hash(true), asked))
    }

    /// Like [`PlanCache::get`], only plans that hold for every value: of the
    /// values no more than their types is looked at.
    pub fn get_reusable(&mut self, asked: &PlanAsked<'_>) -> Option<Arc<PlanMeasures>> {
        self.reusable.get(asked.hash(false), asked)
    }

    /// Keeps what a look found; `reusable` as [`super::is_reusable`] says.
    pub fn insert(&mut self, asked: &PlanAsked<'_>, measures: Arc<PlanMeasures>, reusable: bool) {
        if asked.value_bytes() > VALUE_BYTES_MAX {
            return;
        }
        let shelf = if reusable {
            &mut self.reusable
        } else {
            &mut self.exact
        };
        if shelf.get(asked.hash(!reusable), asked).is_none() {
            shelf.put(asked.keep(measures, reusable));
        }
    }

    /// Entries held.
    pub fn len(&self) -> usize {
        [&self.reusable, &self.exact]
            .iter()
            .map(|shelf| shelf.young.len() + shelf.old.len())
            .sum()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
