//! All policies of one moment, and which of them judge whom.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::version::Version;
use crate::config::{Mode, OnFault};
use crate::model::Client;
use crate::model::pattern::PatternSet;

/// Whom a policy judges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) databases: Option<PatternSet>,
    pub(super) users: Option<PatternSet>,
    pub(super) except_users: Option<PatternSet>,
}

impl Scope {
    fn is_everything(&self) -> bool {
        *self == Scope::default()
    }

    pub(super) fn holds(&self, client: &Client) -> bool {
        let hit = |set: &PatternSet, name: &str| set.best(None, name, None).is_some();
        self.databases
            .as_ref()
            .is_none_or(|set| hit(set, &client.database))
            && self.users.as_ref().is_none_or(|set| hit(set, &client.user))
            && !self
                .except_users
                .as_ref()
                .is_some_and(|set| hit(set, &client.user))
    }
}

/// A policy in its place in the order.
#[derive(Debug)]
pub struct Member {
    pub(super) version: Arc<Version>,
    pub(super) mode: Mode,
    pub(super) on_fault: OnFault,
    pub(super) scope: Scope,
    /// The version before this one; judges in its place while it is on probation.
    pub(super) last_good: Option<Arc<Version>>,
}

impl Member {
    /// The version that judges.
    pub fn version(&self) -> &Arc<Version> {
        &self.version
    }

    /// Whether its answers are enforced.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether the same version would do the same in this place.
    pub(super) fn is_used_like(&self, other: &Member) -> bool {
        self.mode == other.mode && self.on_fault == other.on_fault && self.scope == other.scope
    }

    /// What happens when it fails.
    pub fn on_fault(&self) -> OnFault {
        self.on_fault
    }
}

/// The policies that judge one kind of client.
#[derive(Debug)]
pub(super) struct Chain {
    /// Same members in the same modes, same number: across sets too.
    pub(super) id: u64,
    pub(super) members: Vec<Arc<Member>>,
    /// One of them judges beside the workers.
    pub(super) has_aside: bool,
}

impl Chain {
    fn new(id: u64, members: Vec<Arc<Member>>) -> Chain {
        let has_aside = members.iter().any(|m| m.version.aside.is_some());
        Chain {
            id,
            members,
            has_aside,
        }
    }
}

/// What a chain's number stands for: each version, in its mode.
type Link = (u64, Mode, OnFault);

/// Numbers for chains that outlive a set, so that a reload that changes nothing forgets nothing.
#[derive(Debug, Default)]
pub(super) struct ChainIds {
    known: Mutex<HashMap<Vec<Link>, u64>>,
    next: AtomicU64,
}

impl ChainIds {
    fn id(&self, members: &[Arc<Member>]) -> u64 {
        let key = members
            .iter()
            .map(|m| (m.version.id, m.mode, m.on_fault))
            .collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known
            .entry(key)
            .or_insert_with(|| self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Forgets numbers of chains with versions that are gone.
    pub(super) fn retain(&self, alive: &[u64]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|key, _| key.iter().all(|(version, ..)| alive.contains(version)));
    }
}

/// All policies of one moment. Swapped as a whole; held for one statement.
#[derive(Debug)]
pub struct PolicySet {
    generation: u64,
    members: Vec<Arc<Member>>,
    whole: Arc<Chain>,
    scoped: bool,
    chains: Mutex<HashMap<Vec<bool>, Arc<Chain>>>,
    ids: Arc<ChainIds>,
    /// A candidate wants to see every decision, so no permit holds for a second one.
    pub(super) is_shadowed: bool,
    /// Counts the sets that live.
    _alive: Arc<()>,
}

impl PolicySet {
    pub(super) fn new(
        generation: u64,
        members: Vec<Arc<Member>>,
        ids: Arc<ChainIds>,
        alive: Arc<()>,
    ) -> PolicySet {
        let whole = Arc::new(Chain::new(ids.id(&members), members.clone()));
        let scoped = members.iter().any(|member| !member.scope.is_everything());
        PolicySet {
            generation,
            members,
            whole,
            scoped,
            chains: Mutex::default(),
            ids,
            is_shadowed: false,
            _alive: alive,
        }
    }

    /// Moves with every swap.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Its policies in configuration order; those that are off are not among them.
    pub fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    /// The chain of every client, when no policy has a scope.
    pub(super) fn whole(&self) -> Option<&Arc<Chain>> {
        (!self.scoped).then_some(&self.whole)
    }

    /// The chain of this client. Takes a lock: workers keep what it returns, weakly.
    pub(super) fn chain(&self, client: &Client) -> Arc<Chain> {
        let holds: Vec<bool> = self
            .members
            .iter()
            .map(|member| member.scope.holds(client))
            .collect();
        let mut chains = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(chain) = chains.get(&holds) {
            return chain.clone();
        }
        let chosen = self.members.iter().zip(&holds).filter(|(_, holds)| **holds);
        let members: Vec<Arc<Member>> = chosen.map(|(member, _)| member.clone()).collect();
        let chain = Arc::new(Chain::new(self.ids.id(&members), members));
        chains.insert(holds, chain.clone());
        chain
    }
}
