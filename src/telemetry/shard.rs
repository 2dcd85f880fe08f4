//! One worker's counters.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use crate::model::code::Kind;
use crate::model::{Refusal, RequirementKind};

use super::lock;
use super::mask::masked;
use super::record::{Outcome, Record, STAGES, shown};

/// Label pairs kept per worker; rules come from plugins, and one that invents
/// names without end must not fill the memory. What comes later is `other`.
const LABELS_MAX: usize = 512;

/// Refusals remembered per worker for the status page.
const RECENT_MAX: usize = 50;

/// Bucket `i` counts what took at most `2^(i + 10)` nanoseconds: 1 µs to 17 s.
pub(super) const BUCKETS: usize = 25;

/// A counter that one thread writes and others read.
#[derive(Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    /// Adds without a locked instruction: there is one writer.
    pub(super) fn add(&self, n: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(n),
            Ordering::Relaxed,
        );
    }

    pub(super) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Times of one stage.
#[derive(Default)]
pub(super) struct Times {
    pub(super) buckets: [Count; BUCKETS],
    pub(super) count: Count,
    pub(super) sum_ns: Count,
}

impl Times {
    fn add(&self, ns: u64) {
        // The smallest i with ns <= 2^(i + 10).
        let bucket = (64 - ns.saturating_sub(1).leading_zeros() as usize).saturating_sub(10);
        if let Some(count) = self.buckets.get(bucket) {
            count.add(1);
        }
        self.count.add(1);
        self.sum_ns.add(ns);
    }
}

/// Which family a counter with free labels belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Family {
    Refusals,
    WouldRefuse,
    Alerts,
    Faults,
    LoginsFailed,
    ConnectionsRefused,
    DeniedConnections,
    WouldDenyConnections,
    Reloads,
    LinksFailed,
}

/// Family and label values.
pub(super) type Labels = (Family, Arc<str>, Arc<str>, &'static str);

/// A refusal as the status page shows it.
#[derive(Debug, Clone)]
pub struct Recent {
    /// When.
    pub at: SystemTime,
    /// False: it would have been refused, but the policy is in monitor mode.
    pub enforced: bool,
    /// Who sent it.
    pub user: Arc<str>,
    /// To which database.
    pub database: Arc<str>,
    /// Why.
    pub refusal: Refusal,
    /// The statement, literals masked.
    pub statement: String,
    /// The id that the client was given.
    pub incident: Option<String>,
}

const KINDS: usize = Kind::ALL.len();

pub(super) struct Shard {
    statements: [[Count; KINDS]; Outcome::ALL.len()],
    pub(super) requirements: [Count; REQUIREMENTS.len()],
    pub(super) stages: [Times; STAGES.len()],
    pub(super) remembered: Count,
    pub(super) judged: Count,
    pub(super) wasm_calls: Count,
    pub(super) rows_returned: Count,
    pub(super) rows_changed: Count,
    pub(super) connections_opened: Count,
    pub(super) connections_closed: Count,
    /// Only touched when something was refused or went wrong.
    rare: Mutex<Rare>,
}

#[derive(Default)]
struct Rare {
    counts: HashMap<Labels, u64>,
    recent: VecDeque<Recent>,
}

impl Shard {
    pub(super) fn new() -> Shard {
        Shard {
            statements: std::array::from_fn(|_| std::array::from_fn(|_| Count::default())),
            requirements: Default::default(),
            stages: Default::default(),
            remembered: Count::default(),
            judged: Count::default(),
            wasm_calls: Count::default(),
            rows_returned: Count::default(),
            rows_changed: Count::default(),
            connections_opened: Count::default(),
            connections_closed: Count::default(),
            rare: Mutex::default(),
        }
    }

    pub(super) fn count(&self, record: &Record<'_>) {
        let kind = record
            .statement
            .map_or(Kind::Other, |statement| statement.facts.kind);
        if let Some(count) = self.statements[record.outcome as usize].get(kind as usize) {
            count.add(1);
        }
        for (times, ns) in self.stages.iter().zip(record.timings.all()) {
            if ns != 0 {
                times.add(ns);
            }
        }
        self.rows_returned.add(record.rows_returned);
        self.rows_changed.add(record.changed().unwrap_or(0));
        if let Some(verdict) = record.verdict {
            if record.remembered {
                self.remembered.add(1);
            } else {
                self.judged.add(1);
            }
            if record.outcome != Outcome::Refused {
                for requirement in &verdict.requirements {
                    self.requirements[requirement_index(&requirement.kind)].add(1);
                }
            }
            for alert in &verdict.alerts {
                let (policy, rule) = alert.rule.split_once('/').unwrap_or((&alert.rule, ""));
                self.rare(Family::Alerts, policy, rule, alert.severity.name());
            }
        }
        if let Some(refusal) = record.refusal {
            self.refusal(record, refusal);
        }
    }

    fn refusal(&self, record: &Record<'_>, refusal: &Refusal) {
        let enforced = match record.outcome {
            Outcome::Refused => true,
            Outcome::Monitored => false,
            _ => return,
        };
        let family = if enforced {
            Family::Refusals
        } else {
            Family::WouldRefuse
        };
        self.rare(family, &refusal.policy, &refusal.rule, "");
        let mut rare = lock(&self.rare);
        if rare.recent.len() == RECENT_MAX {
            rare.recent.pop_front();
        }
        rare.recent.push_back(Recent {
            at: SystemTime::now(),
            enforced,
            user: record.client.user.clone(),
            database: record.client.database.clone(),
            refusal: refusal.clone(),
            statement: record
                .statement
                .map(|s| masked(shown(&s.normalized)))
                .unwrap_or_default(),
            incident: record.incident.map(str::to_owned),
        });
    }

    /// Adds one to a counter with free labels.
    pub(super) fn rare(&self, family: Family, a: &str, b: &str, c: &'static str) {
        let counts = &mut lock(&self.rare).counts;
        let mut labels: Labels = (family, Arc::from(a), Arc::from(b), c);
        if counts.len() >= LABELS_MAX && !counts.contains_key(&labels) {
            labels = (family, Arc::from("other"), Arc::from("other"), c);
        }
        *counts.entry(labels).or_default() += 1;
    }

    pub(super) fn rare_counts(&self) -> Vec<(Labels, u64)> {
        lock(&self.rare)
            .counts
            .iter()
            .map(|(labels, count)| (labels.clone(), *count))
            .collect()
    }

    pub(super) fn recent(&self) -> Vec<Recent> {
        lock(&self.rare).recent.iter().cloned().collect()
    }

    pub(super) fn statement_counts(&self) -> impl Iterator<Item = (Outcome, Kind, u64)> {
        Outcome::ALL.into_iter().flat_map(move |outcome| {
            Kind::ALL.iter().filter_map(move |kind| {
                let count = self.statements[outcome as usize].get(*kind as usize)?.get();
                (count != 0).then_some((outcome, *kind, count))
            })
        })
    }

    pub(super) fn statements(&self) -> u64 {
        self.statement_counts().map(|(_, _, count)| count).sum()
    }

    pub(super) fn outcome(&self, outcome: Outcome) -> u64 {
        self.statements[outcome as usize]
            .iter()
            .map(Count::get)
            .sum()
    }
}

/// Names of the kinds of requirement, in the order of [`requirement_index`].
pub(super) const REQUIREMENTS: [&str; 14] = [
    "rows-changed-max",
    "rows-returned-max",
    "table-rows-max",
    "rate",
    "plan-max",
    "want-plan",
    "preview",
    "dry-run",
    "read-only",
    "backup",
    "confirm",
    "statement-timeout",
    "lock-timeout",
    "mask",
];

fn requirement_index(kind: &RequirementKind) -> usize {
    match kind {
        RequirementKind::RowsChangedMax { .. } => 0,
        RequirementKind::RowsReturnedMax { .. } => 1,
        RequirementKind::TableRowsMax { .. } => 2,
        RequirementKind::Rate { .. } => 3,
        RequirementKind::PlanMax { .. } => 4,
        RequirementKind::WantPlan => 5,
        RequirementKind::Preview { .. } => 6,
        RequirementKind::DryRun => 7,
        RequirementKind::ReadOnly => 8,
        RequirementKind::Backup { .. } => 9,
        RequirementKind::Confirm { .. } => 10,
        RequirementKind::StatementTimeout { .. } => 11,
        RequirementKind::LockTimeout { .. } => 12,
        RequirementKind::Mask { .. } => 13,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_what_their_bound_says() {
        for (ns, bucket) in [(1, 0), (1024, 0), (1025, 1), (2048, 1), (1 << 34, 24)] {
            let times = Times::default();
            times.add(ns);
            assert_eq!(times.buckets[bucket].get(), 1, "{ns}");
        }
        let times = Times::default();
        times.add(u64::MAX);
        assert_eq!(times.count.get(), 1);
        assert!(times.buckets.iter().all(|b| b.get() == 0));
    }

    #[test]
    fn labels_do_not_grow_without_end() {
        let shard = Shard::new();
        for i in 0..10_000 {
            shard.rare(Family::Refusals, "p", &i.to_string(), "");
        }
        assert!(shard.rare_counts().len() <= LABELS_MAX + 1);
        assert_eq!(
            shard.rare_counts().iter().map(|(_, n)| n).sum::<u64>(),
            10_000
        );
    }
}
