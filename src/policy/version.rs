//! One version of a policy: its program, its registered names, its instances.
//!
//! Instances live here and not in the workers, so that an idle worker keeps no
//! old set alive.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::aside::Aside;
use super::fault::{Fault, FaultKind};
use super::manifest::Manifest;
use super::quarantine::Quarantine;
use super::setup::{Registry, Setup};
use super::wasm::{Instance, Limits, Program, StartError};
use crate::config::Runtime;

/// Clean instances kept ready.
pub(super) const SPARES: usize = 8;

/// What makes two versions the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) name: Arc<str>,
    /// SHA-256 of the component.
    pub(super) hash: [u8; 32],
    pub(super) settings: Arc<str>,
    pub(super) grants: Vec<Arc<str>>,
    pub(super) limits: Limits,
    pub(super) runtime: Runtime,
}

/// Everything an instance is made from.
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) identity: Identity,
    pub(super) program: Program,
    registry: Arc<Registry>,
}

/// A configured policy.
#[derive(Debug)]
pub struct Version {
    pub(super) id: u64,
    recipe: Arc<Recipe>,
    /// Its own threads, when the workers do not call it.
    pub(super) aside: Option<Aside>,
    pub(super) manifest: Arc<Manifest>,
    pub(super) since: Instant,
    spares: Mutex<Vec<Instance>>,
    /// The instances of runs that are not remembered, by worker.
    warm: Mutex<HashMap<u64, Instance, rustc_hash::FxBuildHasher>>,
    impure: AtomicBool,
    pub(super) quarantine: Quarantine,
    pub(super) judged: AtomicU64,
    pub(super) faulted: AtomicU64,
}

impl Version {
    pub(super) fn new(
        id: u64,
        identity: Identity,
        program: Program,
        manifest: Arc<Manifest>,
        first: Instance,
        registry: Arc<Registry>,
    ) -> std::io::Result<Version> {
        let runtime = identity.runtime;
        let recipe = Arc::new(Recipe {
            identity,
            program,
            registry,
        });
        let (aside, spares) = match runtime {
            Runtime::Ordinary => (None, vec![first]),
            Runtime::Interpreted => (Some(Aside::start(&recipe, first)?), Vec::new()),
        };
        Ok(Version {
            id,
            recipe,
            aside,
            manifest,
            since: Instant::now(),
            spares: Mutex::new(spares),
            warm: Mutex::default(),
            impure: AtomicBool::new(false),
            quarantine: Quarantine::default(),
            judged: AtomicU64::new(0),
            faulted: AtomicU64::new(0),
        })
    }

    /// What makes it the same as another.
    pub(super) fn identity(&self) -> &Identity {
        &self.recipe.identity
    }

    /// Its code.
    pub(super) fn program(&self) -> &Program {
        &self.recipe.program
    }

    /// Name as configured.
    pub fn name(&self) -> &Arc<str> {
        &self.identity().name
    }

    /// What the component says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// SHA-256 of the component, in hexadecimal.
    pub fn hash(&self) -> String {
        use std::fmt::Write;
        self.identity()
            .hash
            .iter()
            .fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            })
    }

    /// Calls so far.
    pub fn judged(&self) -> u64 {
        self.judged.load(Ordering::Relaxed)
    }

    /// Faults so far.
    pub fn faulted(&self) -> u64 {
        self.faulted.load(Ordering::Relaxed)
    }

    /// Whether it was caught answering the same question differently.
    pub fn is_impure(&self) -> bool {
        self.impure.load(Ordering::Relaxed)
    }

    pub(super) fn set_impure(&self) {
        self.impure.store(true, Ordering::Relaxed);
    }

    /// A clean instance, if one is ready; the second value says how many are left.
    pub(super) fn take_spare(&self) -> (Option<Instance>, usize) {
        let mut spares = lock(&self.spares);
        (spares.pop(), spares.len())
    }

    /// Keeps a clean instance.
    pub(super) fn put_spare(&self, instance: Instance) {
        lock(&self.spares).push(instance);
    }

    /// How many clean instances are missing.
    pub(super) fn missing(&self) -> usize {
        match self.aside {
            // Its threads keep their own.
            Some(_) => 0,
            None => SPARES.saturating_sub(lock(&self.spares).len()),
        }
    }

    /// The worker's instance, out of its slot for the time of a call.
    pub(super) fn take_warm(&self, worker: u64) -> Option<Instance> {
        lock(&self.warm).remove(&worker)
    }

    /// Back into the slot; what is handed back is one too many.
    pub(super) fn put_warm(&self, worker: u64, instance: Instance) -> Option<Instance> {
        lock(&self.warm).insert(worker, instance)
    }

    /// A worker ended.
    pub(super) fn forget_worker(&self, worker: u64) {
        lock(&self.warm).remove(&worker);
    }

    /// Makes a clean instance.
    pub(super) fn start(&self) -> Result<Instance, Fault> {
        self.recipe.start()
    }
}

impl Recipe {
    /// Makes a clean instance.
    pub(super) fn start(&self) -> Result<Instance, Fault> {
        let Identity {
            name,
            settings,
            limits,
            ..
        } = &self.identity;
        match self
            .program
            .start(name, settings, Setup::again(self.registry.clone()), *limits)
        {
            Ok((instance, _)) => Ok(instance),
            Err(StartError::Fault(fault)) => Err(fault),
            Err(StartError::Issues(_)) => Err(Fault::new(
                FaultKind::Impure,
                "configure rejected settings that it accepted before",
            )),
        }
    }
}

/// A panic elsewhere leaves the list as it was: every change is one push or pop.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
