//! What was worked out about classes of statements in the sessions' worlds.
//!
//! Two things depend on the statement, on the catalog and on the session, and
//! cost too much to be worked out each time: which relations a statement
//! touches beyond its text, and what a permit for it needs. One per worker;
//! bounded in two generations.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use super::line::Needs;
use crate::backend::postgres::catalog::{Catalog, Traces};
use crate::model::Verdict;
use crate::model::facts::Class;

/// Classes kept in each of two generations.
const CLASSES_MAX: usize = 4096;
/// Worlds kept of one class.
const WORLDS_MAX: usize = 8;
/// Verdicts kept of one class in one world.
const VERDICTS_MAX: usize = 8;

/// Where a statement runs, as far as the meaning of names depends on it.
#[derive(Debug, Clone)]
pub(super) struct World {
    /// The catalog that resolves names; held weakly so that its place is not taken by another.
    pub(super) catalog: Weak<Catalog>,
    /// Reading of the catalog.
    pub(super) epoch: u64,
    /// The reading may not know all definitions.
    pub(super) pending: bool,
    /// Temporary objects may hide others.
    pub(super) temporary: bool,
    /// search_path; none when unknown.
    pub(super) search_path: Option<Arc<[Arc<str>]>>,
    /// Current role, for `$user`.
    pub(super) role: Arc<str>,
}

impl PartialEq for World {
    fn eq(&self, other: &World) -> bool {
        self.epoch == other.epoch
            && self.pending == other.pending
            && self.temporary == other.temporary
            && self.catalog.ptr_eq(&other.catalog)
            && same(&self.role, &other.role)
            && match (&self.search_path, &other.search_path) {
                (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a == b,
                (None, None) => true,
                _ => false,
            }
    }
}

fn same(a: &Arc<str>, b: &Arc<str>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

/// A class in one world.
struct Seen {
    world: Rc<World>,
    /// The class with what the catalog adds; none when it adds nothing.
    wider: Option<Arc<Class>>,
    /// It can run code that may leave traces in the server session.
    code: Traces,
    needs: Vec<(Arc<Verdict>, Rc<Needs>)>,
}

struct Entry {
    /// Held, so that its address stays its own.
    class: Arc<Class>,
    worlds: Vec<Seen>,
}

/// All of it.
#[derive(Default)]
pub struct Known {
    young: HashMap<usize, Entry, rustc_hash::FxBuildHasher>,
    old: HashMap<usize, Entry, rustc_hash::FxBuildHasher>,
}

impl Known {
    /// What the catalog adds to a class, and whether code runs that may leave
    /// traces in the session; worked out by `find` where it is not known.
    pub(super) fn found(
        &mut self,
        class: &Arc<Class>,
        world: &Rc<World>,
        find: impl FnOnce() -> (Option<Arc<Class>>, Traces),
    ) -> (Option<Arc<Class>>, Traces) {
        let entry = self.entry(class);
        if let Some(seen) = entry.seen(world) {
            return (seen.wider.clone(), seen.code);
        }
        let (wider, code) = find();
        entry.add(Seen {
            world: world.clone(),
            wider: wider.clone(),
            code,
            needs: Vec::new(),
        });
        (wider, code)
    }

    /// What a permit for a class needs, worked out by `find` where it is not known.
    pub(super) fn needs(
        &mut self,
        class: &Arc<Class>,
        world: &Rc<World>,
        verdict: &Arc<Verdict>,
        find: impl FnOnce() -> Needs,
    ) -> Rc<Needs> {
        let entry = self.entry(class);
        let known = entry.seen(world).and_then(|seen| {
            let found = seen.needs.iter().find(|(of, _)| Arc::ptr_eq(of, verdict));
            found.map(|(_, needs)| needs.clone())
        });
        if let Some(known) = known {
            return known;
        }
        let needs = Rc::new(find());
        // Asked only after `found`; a world that was pushed out meanwhile is not worth keeping.
        if let Some(seen) = entry.seen(world) {
            if seen.needs.len() >= VERDICTS_MAX {
                seen.needs.remove(0);
            }
            seen.needs.push((verdict.clone(), needs.clone()));
        }
        needs
    }

    fn entry(&mut self, class: &Arc<Class>) -> &mut Entry {
        let place = Arc::as_ptr(class) as usize;
        if !self.young.contains_key(&place) {
            if self.young.len() >= CLASSES_MAX {
                self.old = std::mem::take(&mut self.young);
            }
            let entry = self.old.remove(&place).unwrap_or_else(|| Entry {
                class: class.clone(),
                worlds: Vec::new(),
            });
            self.young.insert(place, entry);
        }
        self.young.entry(place).or_insert_with(|| Entry {
            class: class.clone(),
            worlds: Vec::new(),
        })
    }
}

impl Entry {
    fn seen(&mut self, world: &Rc<World>) -> Option<&mut Seen> {
        debug_assert!(Arc::strong_count(&self.class) > 0);
        self.worlds
            .iter_mut()
            .find(|seen| Rc::ptr_eq(&seen.world, world) || seen.world == *world)
    }

    fn add(&mut self, seen: Seen) {
        if self.worlds.len() >= WORLDS_MAX {
            self.worlds.remove(0);
        }
        self.worlds.push(seen);
    }
}
