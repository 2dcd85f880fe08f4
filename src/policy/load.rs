//! All policies, loaded together or not at all.
//!
//! A reload compiles and tries everything before it swaps; whatever is wrong,
//! the set that judges now goes on judging.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::event::{Observed, shown};
use super::fault::Fault;
use super::keeper::Keeper;
use super::live::Live;
use super::loading::{Loaded, Loader};
use super::observers::Observers;
use super::set::{ChainIds, Member, PolicySet};
use super::wasm::Engines;
use crate::config::{Config, PolicyConfig, Position};
use crate::model::code::Outcome;
use crate::model::{Effects, Kind};
use crate::telemetry::Record;

/// Why a policy does not load, in words for the one who configured it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy {policy}: {message}")]
pub struct LoadError {
    /// Name as configured; empty when it concerns all of them.
    pub policy: Arc<str>,
    /// What is wrong.
    pub message: String,
    /// What to do. Empty: none.
    pub hint: String,
    /// RFC 6901 pointer into the settings.
    pub path: Option<String>,
    /// Where in the configuration file.
    pub position: Option<Position>,
}

/// What a reload did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReloadReport {
    /// Generation that judges now.
    pub generation: u64,
    /// Policies that were not there before.
    pub added: Vec<Arc<str>>,
    /// Policies with other bytes, settings or grants.
    pub changed: Vec<Arc<str>>,
    /// Policies that keep their instances and their memo, and are used in another
    /// way: mode, on_fault, or whom they judge.
    pub adjusted: Vec<Arc<str>>,
    /// Policies of which nothing changed.
    pub unchanged: Vec<Arc<str>>,
    /// Policies that are gone or off.
    pub removed: Vec<Arc<str>>,
    /// Those that stayed judge in another order: which refusal is shown first may differ.
    pub reordered: bool,
}

/// The policies of the gate: what judges now, and how that changes.
#[derive(Debug)]
pub struct Policies {
    engines: Engines,
    keeper: Keeper,
    observers: Observers,
    ids: Arc<ChainIds>,
    alive: Arc<()>,
    current: ArcSwap<PolicySet>,
    versions: AtomicU64,
    /// The generation that judges, for those who must notice a swap while they wait for something else.
    swaps: watch::Sender<u64>,
    /// Reloads happen one after the other.
    pub(super) reloading: Mutex<()>,
    /// What operators have changed without touching the file.
    pub(super) live: Live,
}

impl Policies {
    /// Compiles, configures and tries all policies, as the file says.
    pub fn load(config: &Config) -> Result<Arc<Policies>, Vec<LoadError>> {
        let policies = Policies::with(config, Live::default())?;
        policies.reload(config)?;
        Ok(policies)
    }

    /// The same for a gate: what its operators have changed counts, and what
    /// judges is kept to go back to.
    pub fn start(config: &Config) -> Result<Arc<Policies>, Vec<LoadError>> {
        let policies = Policies::refusing(config)?;
        policies.reload(config)?;
        Ok(policies)
    }

    /// For a gate: every statement is refused until a reload succeeds.
    pub fn refusing(config: &Config) -> Result<Arc<Policies>, Vec<LoadError>> {
        Policies::with(config, Live::open(config).map_err(|error| vec![error])?)
    }

    fn with(config: &Config, live: Live) -> Result<Arc<Policies>, Vec<LoadError>> {
        let engines = Engines::new(cache_folder(config).as_deref())
            .map_err(|message| vec![LoadError::general(message)])?;
        let keeper =
            Keeper::start().map_err(|error| vec![LoadError::general(error.to_string())])?;
        let observers = Observers::start(keeper.shared.clone())
            .map_err(|error| vec![LoadError::general(error.to_string())])?;
        let (ids, alive) = (Arc::new(ChainIds::default()), Arc::new(()));
        let empty = PolicySet::new(0, Vec::new(), ids.clone(), alive.clone());
        Ok(Arc::new(Policies {
            engines,
            keeper,
            observers,
            ids,
            alive,
            current: ArcSwap::from_pointee(empty),
            versions: AtomicU64::new(0),
            swaps: watch::Sender::new(0),
            reloading: Mutex::new(()),
            live,
        }))
    }

    /// Loads again and swaps the whole set, or changes nothing. Takes as long
    /// as compiling takes: never call it on a worker.
    pub fn reload(&self, config: &Config) -> Result<ReloadReport, Vec<LoadError>> {
        let _one = self
            .reloading
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.live
            .overrides()
            .read_again()
            .map_err(|why| vec![LoadError::general(why)])?;
        self.reload_alone(config)
    }

    /// The same for who holds the lock.
    pub(super) fn reload_alone(&self, config: &Config) -> Result<ReloadReport, Vec<LoadError>> {
        let (before, now) = (self.current(), SystemTime::now());
        let mut loader = Loader::new(&self.engines, &before, &self.versions);
        let policies = self
            .live
            .overrides()
            .apply(&config.policies, &self.live.kept, now)
            .map_err(|(policy, why)| {
                vec![LoadError {
                    policy: policy.into(),
                    hint: "take the override back: `portcullis plugin reset`".to_owned(),
                    ..LoadError::general(why)
                }]
            })?;
        let members = loader.load(&policies, config.path.as_deref())?;
        let generation = before.generation() + 1;
        let report = report(generation, &before, &members);
        for member in &members {
            self.keeper.refill(&member.version);
        }
        self.keep(loader.take_loaded(), now);
        self.observers.follow(&members);
        self.swap(generation, members);
        Ok(report)
    }

    fn swap(&self, generation: u64, members: Vec<Arc<Member>>) {
        let alive: Vec<u64> = members.iter().map(|member| member.version.id).collect();
        let mut set = PolicySet::new(generation, members, self.ids.clone(), self.alive.clone());
        set.is_shadowed = self.live.shadows.running().is_some();
        self.current.store(Arc::new(set));
        // After the store: whoever wakes up finds the new set.
        self.swaps.send_replace(generation);
        self.ids.retain(&alive);
    }

    /// The same policies as a new set: permits of the old one do not hold any more.
    pub(super) fn swap_again(&self) {
        let before = self.current();
        self.swap(before.generation() + 1, before.members().to_vec());
    }

    /// What judges now is there to go back to. Not having it is no reason not to swap.
    fn keep(&self, loaded: Vec<Loaded>, now: SystemTime) {
        for Loaded {
            name,
            version,
            bytes,
        } in loaded
        {
            if let Err(error) = self.live.kept.note(&name, &version, &bytes, now) {
                tracing::warn!(policy = %name, %error, "the component cannot be kept to go back to");
            }
        }
    }

    /// Loads one policy beside the others.
    pub(super) fn candidate(
        &self,
        policy: &PolicyConfig,
    ) -> Result<(Member, Vec<u8>), Vec<LoadError>> {
        let before = self.current();
        let mut loader = Loader::new(&self.engines, &before, &self.versions);
        let member = loader.member(policy, None)?;
        let bytes = loader.take_loaded().pop().map(|loaded| loaded.bytes);
        Ok((member, bytes.unwrap_or_default()))
    }

    /// Workers forget what they remember.
    pub(super) fn forget_remembered(&self) {
        self.keeper.shared.impurities.fetch_add(1, Ordering::SeqCst);
    }

    /// The set that judges now.
    pub fn current(&self) -> Arc<PolicySet> {
        self.current.load_full()
    }

    /// Changes with every swap.
    pub fn swaps(&self) -> watch::Receiver<u64> {
        self.swaps.subscribe()
    }

    /// Sets that somebody still holds; 1 when the last swap is through.
    pub fn sets_alive(&self) -> usize {
        Arc::strong_count(&self.alive) - 1
    }

    /// Faults found beside the path since the last call, with the policy's name.
    pub fn take_faults(&self) -> Vec<(Arc<str>, Fault)> {
        self.keeper.shared.take_faults()
    }

    /// Tells the policies that want to know what became of a statement. Off the
    /// path: it is copied and looked at later, or dropped and counted.
    pub fn observe(&self, record: &Record<'_>) {
        if !self.observers.is_wanted() {
            return;
        }
        let statement = record.statement;
        let kind = statement.map_or(Kind::Other, |statement| statement.facts.kind);
        let outcome = Outcome::from_name(record.outcome.name());
        self.observers.tell(Observed {
            outcome: outcome.unwrap_or(Outcome::Failed),
            effects: statement.map_or(Effects::empty(), |statement| statement.facts.effects),
            rows_returned: record.rows_returned,
            rows_changed: record.changed(),
            decide_ns: record.timings.decide_ns,
            execute_ns: record.timings.execute_ns,
            remembered: record.remembered,
            statement: statement.map_or_else(|| Arc::from(""), |s| shown(&s.normalized)),
            refusal: record
                .refusal
                .map(|refusal| (refusal.policy.clone(), refusal.rule.clone())),
            sqlstate: record.sqlstate.unwrap_or("").into(),
            incident: record.incident.unwrap_or("").into(),
            ..Observed::allowed(record.client.clone(), kind)
        });
    }

    /// Events that no policy was told of because too many waited.
    pub fn dropped_events(&self) -> u64 {
        self.observers.dropped()
    }

    /// Remembered verdicts that were judged again.
    pub fn checked(&self) -> u64 {
        self.keeper.shared.checked.load(Ordering::Relaxed)
    }

    /// Jobs beside the path that were dropped because too many waited.
    pub fn dropped_jobs(&self) -> u64 {
        self.keeper.shared.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    pub(super) fn impurities(&self) -> u64 {
        self.keeper.shared.impurities.load(Ordering::Relaxed)
    }
}

impl LoadError {
    pub(super) fn general(message: String) -> LoadError {
        LoadError {
            policy: Arc::from(""),
            message,
            hint: String::new(),
            path: None,
            position: None,
        }
    }
}

fn report(generation: u64, before: &PolicySet, members: &[Arc<Member>]) -> ReloadReport {
    let mut report = ReloadReport {
        generation,
        ..ReloadReport::default()
    };
    for member in members {
        let name = member.version.name();
        let list = match before
            .members()
            .iter()
            .find(|old| old.version.name() == name)
        {
            None => &mut report.added,
            Some(old) if old.version.id != member.version.id => &mut report.changed,
            Some(old) if old.is_used_like(member) => &mut report.unchanged,
            Some(_) => &mut report.adjusted,
        };
        list.push(name.clone());
    }
    let gone = before.members().iter().map(|old| old.version.name());
    report.removed = gone
        .filter(|name| !members.iter().any(|m| m.version.name() == *name))
        .cloned()
        .collect();
    let stayed = |list: &[Arc<Member>], other: &[Arc<Member>]| -> Vec<Arc<str>> {
        list.iter()
            .map(|member| member.version.name())
            .filter(|name| other.iter().any(|m| m.version.name() == *name))
            .cloned()
            .collect()
    };
    report.reordered = stayed(members, before.members()) != stayed(before.members(), members);
    report
}

/// Where compiled code is kept: below the state directory, or the user's cache.
fn cache_folder(config: &Config) -> Option<PathBuf> {
    if let Some(state) = &config.state_dir {
        return Some(state.join("cache").join("policies"));
    }
    let absolute =
        |path: std::ffi::OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let cache = std::env::var_os("XDG_CACHE_HOME").and_then(absolute);
    let cache = cache.or_else(|| {
        std::env::var_os("HOME")
            .and_then(absolute)
            .map(|home| home.join(".cache"))
    });
    cache.map(|cache| cache.join("portcullis").join("policies"))
}

/// Paths in the configuration are relative to its file.
pub(super) fn resolve(path: &Path, config: Option<&Path>) -> PathBuf {
    match config.and_then(Path::parent) {
        Some(folder) if path.is_relative() => folder.join(path),
        _ => path.to_path_buf(),
    }
}
