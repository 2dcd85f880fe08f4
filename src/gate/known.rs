//! What was worked out about classes of statements in the sessions' worlds.
//!
//! Some things depend on the statement, on the catalog and on the session, and
//! cost too much to be worked out each time: which relations a statement
//! touches beyond its text, what a permit for it needs, whether its plan is good. One per worker;
//! bounded in two generations.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use super::line::Needs;
use crate::backend::postgres::catalog::{Catalog, Traces};
use crate::model::facts::Class;
use crate::model::{Kinds, Verdict};

/// Classes kept in each of two generations.
const CLASSES_MAX: usize = 4096;
/// Worlds kept of one class.
const WORLDS_MAX: usize = 8;
/// Verdicts kept of one class in one world.
const VERDICTS_MAX: usize = 8;
/// Good plans kept of one class in one world.
const PLANS_MAX: usize = 8;

/// Where a statement runs, as far as the meaning of names depends on it.
#[derive(Debug, Clone)]
pub(super) struct World {
    /// The catalog that resolves names; held weakly so that its place is not taken by another.
    pub(super) catalog: Weak<Catalog>,
    /// Reading of the catalog.
    pub(super) epoch: u64,
    /// The reading may not know all definitions.
    pub(super) pending: bool,
    /// Definitions have moved in this very transaction or string.
    pub(super) moved: bool,
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
            && self.moved == other.moved
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

/// What is known of a class in one world.
pub(super) struct Found {
    /// The class with what the catalog adds; none when it adds nothing.
    pub(super) wider: Option<Arc<Class>>,
    /// What code that it can run may leave in the server session.
    pub(super) traces: Traces,
    /// When it has run, nothing about the session or its link is different.
    pub(super) plain: bool,
    needs: RefCell<Vec<(Arc<Verdict>, Rc<Needs>)>>,
    plans: RefCell<Vec<GoodPlan>>,
}

/// What a plan depends on besides the class, its world and its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Planned {
    /// Reading of the catalog's statistics.
    pub(super) epoch: u64,
    /// Settings of the session.
    pub(super) settings: u64,
    /// Kinds of the constants.
    pub(super) kinds: Kinds,
    /// Number of bound values.
    pub(super) count: usize,
}

/// A plan that was found good for this verdict, whatever the values are.
struct GoodPlan {
    verdict: Arc<Verdict>,
    planned: Planned,
    types: Box<[u32]>,
}

impl Found {
    pub(super) fn new(wider: Option<Arc<Class>>, traces: Traces, plain: bool) -> Rc<Found> {
        Rc::new(Found {
            wider,
            traces,
            plain,
            needs: RefCell::default(),
            plans: RefCell::default(),
        })
    }

    /// What a permit with this verdict needs, worked out by `find` where it is not known.
    pub(super) fn needs(&self, verdict: &Arc<Verdict>, find: impl FnOnce() -> Needs) -> Rc<Needs> {
        let known = self.needs.borrow();
        if let Some((_, needs)) = known.iter().find(|(of, _)| Arc::ptr_eq(of, verdict)) {
            return needs.clone();
        }
        drop(known);
        let needs = Rc::new(find());
        let mut all = self.needs.borrow_mut();
        if all.len() >= VERDICTS_MAX {
            all.remove(0);
        }
        all.push((verdict.clone(), needs.clone()));
        needs
    }

    /// Whether the plan is known to be good.
    pub(super) fn is_planned(
        &self,
        verdict: &Arc<Verdict>,
        planned: &Planned,
        types: &[u32],
    ) -> bool {
        self.plans.borrow().iter().any(|plan| {
            Arc::ptr_eq(&plan.verdict, verdict) && plan.planned == *planned && *plan.types == *types
        })
    }

    /// The plan is good, whatever the values are.
    pub(super) fn note_planned(&self, verdict: &Arc<Verdict>, planned: Planned, types: &[u32]) {
        let mut plans = self.plans.borrow_mut();
        if plans.len() >= PLANS_MAX {
            plans.remove(0);
        }
        plans.push(GoodPlan {
            verdict: verdict.clone(),
            planned,
            types: types.into(),
        });
    }
}

struct Entry {
    /// Held, so that its address stays its own.
    class: Arc<Class>,
    worlds: Vec<(Rc<World>, Rc<Found>)>,
}

/// All of it.
#[derive(Default)]
pub struct Known {
    young: HashMap<usize, Entry, rustc_hash::FxBuildHasher>,
    old: HashMap<usize, Entry, rustc_hash::FxBuildHasher>,
}

impl Known {
    /// What is known of a class, worked out by `find` where it is not.
    pub(super) fn found(
        &mut self,
        class: &Arc<Class>,
        world: &Rc<World>,
        find: impl FnOnce() -> Rc<Found>,
    ) -> Rc<Found> {
        let entry = self.entry(class);
        debug_assert!(Arc::ptr_eq(&entry.class, class));
        let same = |of: &Rc<World>| Rc::ptr_eq(of, world) || **of == **world;
        if let Some((_, found)) = entry.worlds.iter().find(|(of, _)| same(of)) {
            return found.clone();
        }
        let found = find();
        if entry.worlds.len() >= WORLDS_MAX {
            entry.worlds.remove(0);
        }
        entry.worlds.push((world.clone(), found.clone()));
        found
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
