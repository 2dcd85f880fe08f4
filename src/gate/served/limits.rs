//! What a permit requires, as this backend can hold it.
//!
//! Everything is enforced exactly or refused by name; nothing is dropped.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::sqlite::{Changes, Reach, Touch};
use crate::model::pattern::PatternSet;
use crate::model::refusal::sqlstate;
use crate::model::verdict::PatternText;
use crate::model::{Access, Facts, Measure, Refusal, Requirement, RequirementKind};
use crate::safety::limit::{Group, Returned, Scope};

/// Compiled lists of patterns, by the list they came from.
#[derive(Default)]
pub(super) struct Patterns(HashMap<Arc<[PatternText]>, Arc<PatternSet>>);

/// Lists kept; more come only with reloads.
const PATTERNS_MAX: usize = 64;

impl Patterns {
    fn get(&mut self, list: &Arc<[PatternText]>) -> Result<Arc<PatternSet>, Refusal> {
        if let Some(known) = self.0.get(list) {
            return Ok(known.clone());
        }
        let set = PatternSet::new(list.iter()).map_err(|error| {
            Refusal::gate(
                "patterns",
                sqlstate::POLICY_FAULT,
                format!("a limit has an unusable pattern: {error}"),
            )
        })?;
        if self.0.len() >= PATTERNS_MAX {
            self.0.clear();
        }
        Ok(self.0.entry(list.clone()).or_insert(Arc::new(set)).clone())
    }
}

/// A limit of changed rows.
struct Bound {
    policy: Arc<str>,
    limit: u64,
    over: Over,
}

/// Over which tables a limit runs.
enum Over {
    /// Everything the statement changes.
    Statement,
    /// One relation of the statement.
    Relation(String),
    /// Each table whose best pattern is this one, over the transaction.
    Pattern(Arc<PatternSet>, u32),
}

impl Over {
    fn covers(&self, schema: &str, table: &str) -> bool {
        match self {
            Over::Statement => true,
            Over::Relation(name) => name.eq_ignore_ascii_case(table),
            Over::Pattern(set, index) => set.best(Some(schema), table, None) == Some(*index),
        }
    }
}

/// All requirements of one statement.
#[derive(Default)]
pub(super) struct Rules {
    changed: Vec<Bound>,
    /// Most rows returned.
    pub returned: Option<Returned>,
    /// Longest time.
    pub timeout: Option<Duration>,
    /// Longest wait for a lock.
    pub lock_timeout: Option<Duration>,
    scans: Vec<(Arc<str>, Measure, f64)>,
}

impl Rules {
    /// Reads the requirements, or names the one that cannot be held.
    pub(super) fn new(
        requirements: &[Requirement],
        facts: &Facts,
        reach: &Reach,
        readonly: bool,
        patterns: &mut Patterns,
    ) -> Result<Rules, Refusal> {
        let mut rules = Rules::default();
        for requirement in requirements {
            let policy = &requirement.policy;
            match &requirement.kind {
                RequirementKind::RowsChangedMax { relation, rows } => {
                    let named = relation.and_then(|index| facts.relations.get(index as usize));
                    let over =
                        named.map_or(Over::Statement, |r| Over::Relation(r.name.to_string()));
                    rules.changed.push(Bound {
                        policy: policy.clone(),
                        limit: *rows,
                        over,
                    });
                }
                RequirementKind::RowsReturnedMax { rows } => {
                    rules.return_at_most(policy, None, *rows)
                }
                RequirementKind::TableRowsMax {
                    patterns: list,
                    pattern,
                    changed,
                    returned,
                } => {
                    let set = patterns.get(list)?;
                    if let Some(limit) = *changed {
                        let over = Over::Pattern(set.clone(), *pattern);
                        rules.changed.push(Bound {
                            policy: policy.clone(),
                            limit,
                            over,
                        });
                    }
                    let touched =
                        |t: &&Touch| set.best(Some(t.schema), &t.name, None) == Some(*pattern);
                    if let (Some(limit), Some(touch)) =
                        (*returned, reach.touches.iter().find(touched))
                    {
                        rules.return_at_most(policy, Some(&touch.name), limit);
                    }
                }
                RequirementKind::PlanMax {
                    measure: measure @ (Measure::SequentialScans | Measure::SequentialRows),
                    limit,
                } => {
                    rules.scans.push((policy.clone(), *measure, *limit));
                }
                RequirementKind::ReadOnly if readonly => {}
                RequirementKind::ReadOnly => {
                    return Err(refusal(
                        policy,
                        "read-only",
                        "42501",
                        "statement changes data, and only reading is allowed",
                    ));
                }
                RequirementKind::StatementTimeout { ms } => shorten(&mut rules.timeout, *ms),
                RequirementKind::LockTimeout { ms } => shorten(&mut rules.lock_timeout, *ms),
                // Charged before, by `Rates::charge`.
                RequirementKind::Rate { .. } => {}
                other => return Err(impossible(policy, other)),
            }
        }
        Ok(rules)
    }

    fn return_at_most(&mut self, policy: &Arc<str>, label: Option<&str>, limit: u64) {
        if self
            .returned
            .as_ref()
            .is_none_or(|known| limit < known.limit)
        {
            self.returned = Some(Returned {
                policy: policy.clone(),
                label: label.map(Arc::from),
                limit,
            });
        }
    }

    /// Whether changed rows are bounded at all.
    pub(super) fn counts(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Whether the plan has to be looked at.
    pub(super) fn plans(&self) -> bool {
        !self.scans.is_empty()
    }

    /// Most rows that any limit on this table allows; none: it has no limit.
    pub(super) fn limit_of(&self, touch: &Touch) -> Option<u64> {
        self.changed
            .iter()
            .filter(|b| b.over.covers(touch.schema, &touch.name))
            .map(|b| b.limit)
            .min()
    }

    /// All rows of a table would go, or come, at once.
    pub(super) fn check_all(&self, touch: &Touch, rows: u64) -> Result<(), Refusal> {
        let all = Changes {
            deleted: rows,
            ..Changes::none(touch.schema, &touch.name)
        };
        self.check(
            std::slice::from_ref(&all),
            std::slice::from_ref(&all),
            &Reach::default(),
        )
    }

    /// Verify: rows changed by the statement and by its transaction so far.
    pub(super) fn check(
        &self,
        statement: &[Changes],
        transaction: &[Changes],
        reach: &Reach,
    ) -> Result<(), Refusal> {
        for bound in &self.changed {
            match &bound.over {
                Over::Statement => {
                    bound.hold("this statement", total(statement), 0, Scope::Statement)?
                }
                Over::Relation(name) => {
                    let own: Vec<_> = statement
                        .iter()
                        .filter(|c| bound.over.covers(c.schema, &c.table))
                        .cloned()
                        .collect();
                    // A view keeps no rows: what was changed behind it counts.
                    let rows = if own.is_empty() {
                        total(statement)
                    } else {
                        total(&own)
                    };
                    bound.hold(name, rows, 0, Scope::Statement)?;
                }
                Over::Pattern(..) => bound.check_tables(statement, transaction, reach)?,
            }
        }
        Ok(())
    }

    /// Prepare: tables read from end to end, with their rows where those are asked for.
    pub(super) fn check_scans(&self, scans: &[(String, u64)]) -> Result<(), Refusal> {
        for (policy, measure, limit) in &self.scans {
            let (found, what) = match measure {
                Measure::SequentialScans => (scans.len() as u64, "tables from end to end"),
                _ => (
                    scans.iter().map(|(_, rows)| *rows).max().unwrap_or(0),
                    "rows from end to end",
                ),
            };
            if found as f64 > *limit {
                let tables: Vec<&str> = scans.iter().map(|(table, _)| table.as_str()).collect();
                return Err(refusal(
                    policy,
                    "plan-max",
                    sqlstate::PLAN_LIMIT,
                    format!("statement would read {found} {what}, the limit is {limit}"),
                )
                .detail(format!("scanned: {}", tables.join(", ")))
                .hint("add a condition on a column that has an index"));
            }
        }
        Ok(())
    }

    /// Rows to count in a scanned table before it is certainly too many.
    pub(super) fn scan_cap(&self) -> Option<u64> {
        let rows = self
            .scans
            .iter()
            .filter(|(_, measure, _)| *measure == Measure::SequentialRows);
        rows.map(|(_, _, limit)| limit.max(0.0) as u64)
            .max()
            .map(|limit| limit.saturating_add(1))
    }
}

impl Bound {
    fn hold(&self, label: &str, rows: u64, earlier: u64, scope: Scope) -> Result<(), Refusal> {
        if rows <= self.limit {
            return Ok(());
        }
        let group = Group {
            policy: self.policy.clone(),
            label: label.into(),
            oids: Arc::from([]),
            limit: self.limit,
            scope,
        };
        Err(group.refusal(rows, earlier))
    }

    fn check_tables(
        &self,
        statement: &[Changes],
        transaction: &[Changes],
        reach: &Reach,
    ) -> Result<(), Refusal> {
        for changes in transaction
            .iter()
            .filter(|c| self.over.covers(c.schema, &c.table))
        {
            let now = statement
                .iter()
                .find(|c| c.schema == changes.schema && c.table == changes.table);
            let earlier = changes
                .total()
                .saturating_sub(now.map_or(0, Changes::total));
            if now.is_some() {
                self.hold(&changes.table, changes.total(), earlier, Scope::Transaction)?;
            }
        }
        // A limit on a view holds for what is changed through it.
        let counted = |t: &Touch| {
            statement
                .iter()
                .any(|c| c.schema == t.schema && c.table == t.name)
        };
        for view in reach
            .changed()
            .filter(|t| self.over.covers(t.schema, &t.name) && !counted(t))
        {
            self.hold(&view.name, total(statement), 0, Scope::Statement)?;
        }
        Ok(())
    }
}

/// Tables whose rows go as a whole: dropped, or rewritten under another shape or name.
pub(super) fn doomed<'r>(reach: &'r Reach, text: &str) -> Vec<&'r Touch> {
    let lower = text.to_ascii_lowercase();
    let rewritten = lower.contains("drop") || lower.contains("rename");
    let goes = |t: &&Touch| {
        t.access.contains(Access::DROP)
            || t.access.contains(Access::ALTER)
                && rewritten
                && lower.trim_start().starts_with("alter")
    };
    reach.touches.iter().filter(goes).collect()
}

fn total(changes: &[Changes]) -> u64 {
    changes
        .iter()
        .map(Changes::total)
        .fold(0, u64::saturating_add)
}

fn shorten(bound: &mut Option<Duration>, ms: u32) {
    let new = Duration::from_millis(ms.into());
    *bound = Some(bound.map_or(new, |old| old.min(new)));
}

fn refusal(
    policy: &Arc<str>,
    rule: &str,
    code: &'static str,
    message: impl Into<Arc<str>>,
) -> Refusal {
    Refusal {
        policy: policy.clone(),
        ..Refusal::gate(rule, code, message)
    }
}

fn impossible(policy: &Arc<str>, kind: &RequirementKind) -> Refusal {
    let what = match kind {
        RequirementKind::PlanMax { measure, .. } => format!("{} ({})", kind.name(), measure.name()),
        other => other.name().to_owned(),
    };
    refusal(
        policy,
        "requirement",
        sqlstate::NOT_SUPPORTED,
        format!("policy \"{policy}\" requires {what}, which an SQLite database cannot enforce"),
    )
    .hint("Ask the operator to change the policy for this database.")
}
