//! Requirements and reach become a plan for counting.

use std::sync::Arc;

use crate::backend::postgres::catalog::{CatalogSnapshot, Matched, Oid, Reach, World};
use crate::model::refusal::sqlstate;
use crate::model::{Access, Facts, Kind, Refusal, Requirement, RequirementKind, Traits};

use super::{CountPlan, Counting, Group, LimitPlan, Returned, Scope};

/// Whether any requirement limits rows: if none does, there is nothing to plan.
pub fn is_limited(requirements: &[Requirement]) -> bool {
    requirements.iter().any(|requirement| {
        matches!(
            requirement.kind,
            RequirementKind::RowsChangedMax { .. }
                | RequirementKind::RowsReturnedMax { .. }
                | RequirementKind::TableRowsMax { .. }
        )
    })
}

/// What to count for a statement with these facts under these requirements.
///
/// Without a snapshot nothing is known, and what may change rows is refused.
pub fn plan(
    requirements: &[Requirement],
    facts: &Facts,
    snapshot: Option<&CatalogSnapshot>,
    world: &World<'_>,
) -> LimitPlan {
    if !is_limited(requirements) {
        return LimitPlan {
            read_only: false,
            ..LimitPlan::default()
        };
    }
    let Some(snapshot) = snapshot else {
        return without_catalog(requirements, facts);
    };
    let reach = snapshot.reach(facts, world);
    let planner = Planner {
        snapshot,
        facts,
        world,
        reach: &reach,
    };
    LimitPlan {
        changed: planner.changed(requirements),
        returned: planner.returned(requirements),
        read_only: reach.read_only,
    }
}

/// Statements that neither change nor return rows of any table pass; the rest waits for the catalog.
fn without_catalog(requirements: &[Requirement], facts: &Facts) -> LimitPlan {
    let quiet = matches!(
        facts.kind,
        Kind::Begin
            | Kind::Commit
            | Kind::Rollback
            | Kind::Savepoint
            | Kind::Prepare
            | Kind::Deallocate
            | Kind::Close
            | Kind::Set
            | Kind::Reset
            | Kind::Show
            | Kind::Discard
            | Kind::Empty
    );
    let bare = quiet && facts.functions.iter().all(|function| function.harmless);
    if bare {
        return LimitPlan {
            read_only: true,
            ..LimitPlan::default()
        };
    }
    let by = requirements
        .iter()
        .find(|requirement| is_limited(std::slice::from_ref(requirement)));
    let refusal = Refusal {
        policy: by.map_or_else(
            || Arc::from("gate"),
            |requirement| Arc::clone(&requirement.policy),
        ),
        ..Refusal::gate(
            "catalog",
            sqlstate::ROW_LIMIT,
            "row limits cannot be enforced: the catalog is not known yet",
        )
        .hint("try again; if this lasts, check that the operator role can connect to the database")
    };
    LimitPlan {
        changed: CountPlan::Refuse(refusal),
        ..LimitPlan::default()
    }
}

struct Planner<'a> {
    snapshot: &'a CatalogSnapshot,
    facts: &'a Facts,
    world: &'a World<'a>,
    reach: &'a Reach,
}

impl Planner<'_> {
    fn changed(&self, requirements: &[Requirement]) -> CountPlan {
        let mut wanted = Wanted::default();
        for requirement in requirements {
            let found = match &requirement.kind {
                RequirementKind::RowsChangedMax { relation, rows } => {
                    self.statement_limit(&mut wanted, requirement, *relation, *rows)
                }
                RequirementKind::TableRowsMax {
                    patterns,
                    pattern,
                    changed: Some(limit),
                    ..
                } => self.table_limit(&mut wanted, requirement, patterns, *pattern, *limit),
                _ => Ok(()),
            };
            if let Err(refusal) = found {
                return CountPlan::Refuse(refusal);
            }
        }
        self.count(wanted)
    }

    fn count(&self, wanted: Wanted) -> CountPlan {
        if wanted.groups.is_empty() {
            return CountPlan::Nothing;
        }
        if let Some(refusal) = self.impossible(&wanted) {
            return CountPlan::Refuse(refusal);
        }
        let groups: Arc<[Group]> = wanted.groups.into();
        if self.reach.plain && !wanted.partial {
            return CountPlan::Tag(groups);
        }
        let mut oids: Vec<Oid> = groups
            .iter()
            .flat_map(|group| group.oids.iter().copied())
            .collect();
        oids.sort_unstable();
        oids.dedup();
        CountPlan::Counters(Counting {
            groups,
            oids: oids.into(),
            settle: self.reach.deferred,
        })
    }

    /// What the server's counters cannot tell is refused, not guessed.
    fn impossible(&self, wanted: &Wanted) -> Option<Refusal> {
        let first = wanted.groups.first()?;
        let refuse = |why: &str| {
            let message = format!("the rows changed in \"{}\" cannot be counted", first.label);
            first.refuse(message).detail(why)
        };
        if self.facts.traits.contains(Traits::NO_TRANSACTION) {
            let message = format!(
                "{} cannot run inside a transaction block, and the limit of \"{}\" needs one",
                self.facts.kind.name().to_uppercase(),
                first.label
            );
            return Some(
                first
                    .refuse(message)
                    .hint("have the limit lifted for this user"),
            );
        }
        if let Some(why) = &self.reach.elsewhere {
            return Some(refuse(why).hint("make the change with a plain statement"));
        }
        if self.facts.kind == Kind::Declare {
            let why = "a cursor runs its query later, and WITH HOLD inside COMMIT";
            return Some(refuse(why).hint("run the query without a cursor"));
        }
        if !self.reach.plain && wanted.uncounted {
            return Some(refuse("the server does not count rows of foreign tables"));
        }
        None
    }

    /// `rows-changed-max`: one relation of the statement, or all it does.
    fn statement_limit(
        &self,
        wanted: &mut Wanted,
        requirement: &Requirement,
        relation: Option<u32>,
        rows: u64,
    ) -> Result<(), Refusal> {
        let named = relation.and_then(|index| self.facts.relations.get(index as usize));
        let label: Arc<str> =
            named.map_or_else(|| "any table".into(), |named| named.qualified().into());
        let oids: Vec<Oid> = match named {
            Some(named) => self.snapshot.resolve(named, self.world),
            None if self.reach.opaque.is_some() => self.all_tables(),
            None => self
                .reach
                .changes
                .iter()
                .chain(&self.reach.truncates)
                .copied()
                .collect(),
        };
        let unknown =
            named.is_some_and(|named| named.access.intersects(Access::CHANGE)) && oids.is_empty();
        let mut oids: Vec<Oid> = oids
            .into_iter()
            .flat_map(|oid| self.snapshot.tree(oid))
            .collect();
        oids.sort_unstable();
        oids.dedup();
        let group = Group {
            policy: Arc::clone(&requirement.policy),
            label,
            oids: oids.into(),
            limit: rows,
            scope: Scope::Statement,
        };
        if unknown {
            let message = format!("the rows changed in \"{}\" cannot be counted", group.label);
            return Err(group
                .refuse(message)
                .detail("the catalog does not know it, or it may be temporary"));
        }
        self.want(wanted, group, false)
    }

    fn all_tables(&self) -> Vec<Oid> {
        self.snapshot
            .relations()
            .filter(|relation| relation.kind.is_table())
            .map(|relation| relation.oid)
            .collect()
    }

    /// `table-rows-max`: every table whose most specific pattern is this one.
    fn table_limit(
        &self,
        wanted: &mut Wanted,
        requirement: &Requirement,
        patterns: &Arc<[Arc<str>]>,
        pattern: u32,
        limit: u64,
    ) -> Result<(), Refusal> {
        let group = |label: &Arc<str>, oids: Arc<[Oid]>| Group {
            policy: Arc::clone(&requirement.policy),
            label: Arc::clone(label),
            oids,
            limit,
            scope: Scope::Transaction,
        };
        for matched in self
            .matched(requirement, patterns)?
            .iter()
            .filter(|matched| matched.pattern == pattern)
        {
            let oids = if matched.kind.is_table() {
                Arc::clone(&matched.members)
            } else if self.reach.target == Some(matched.oid)
                || self.reach.changes.contains(&matched.oid)
            {
                // A limited view: whatever is behind it and changes, counts.
                self.reach
                    .changes
                    .iter()
                    .copied()
                    .filter(|oid| *oid != matched.oid)
                    .collect()
            } else {
                continue;
            };
            self.want(wanted, group(&matched.label, oids), matched.uncounted)?;
        }
        self.unknown_targets(wanted, patterns, pattern, &group)
    }

    /// A table made in this transaction is not in the catalog; its name still counts.
    fn unknown_targets(
        &self,
        wanted: &mut Wanted,
        patterns: &Arc<[Arc<str>]>,
        pattern: u32,
        group: &impl Fn(&Arc<str>, Arc<[Oid]>) -> Group,
    ) -> Result<(), Refusal> {
        if self.reach.unknown.is_empty() {
            return Ok(());
        }
        // The list was parsed by `matched` before: it cannot fail here.
        let Ok(set) = crate::model::pattern::PatternSet::new(patterns.iter()) else {
            return Ok(());
        };
        for named in &self.reach.unknown {
            let best = set.best(named.schema.as_deref(), &named.name, self.world.search_path);
            if best == Some(pattern) && !self.world.temp_objects {
                let refused = group(&named.qualified().into(), Arc::from([]));
                let message = format!(
                    "the rows changed in \"{}\" cannot be counted",
                    refused.label
                );
                return Err(refused
                    .refuse(message)
                    .detail(
                        "the table is limited by its name, and the catalog does not know it yet",
                    )
                    .hint("commit its definition first, then try again"));
            }
        }
        let _ = wanted;
        Ok(())
    }

    /// Takes a group in if the statement can reach it.
    fn want(&self, wanted: &mut Wanted, group: Group, uncounted: bool) -> Result<(), Refusal> {
        let reached = |list: &[Oid]| group.oids.iter().any(|oid| list.binary_search(oid).is_ok());
        if reached(&self.reach.truncates) {
            let how = if self.facts.kind == Kind::Truncate {
                "empty"
            } else {
                "drop"
            };
            return Err(group.removed(how));
        }
        if group.oids.is_empty() || !(self.reach.opaque.is_some() || reached(&self.reach.changes)) {
            return Ok(());
        }
        // The tag is the sum over all that changes: a group that holds only some of it needs its own.
        let holds = |oid: &Oid| group.oids.contains(oid);
        wanted.partial |= !self.reach.changes.iter().all(holds);
        wanted.uncounted |= uncounted;
        wanted.groups.push(group);
        Ok(())
    }

    fn returned(&self, requirements: &[Requirement]) -> Option<Returned> {
        if self.reach.plain && !self.judged().traits.contains(Traits::RETURNS_ROWS) {
            // A change without RETURNING, rules or code: there is nothing to count.
            return None;
        }
        let mut least: Option<Returned> = None;
        let mut take = |policy: &Arc<str>, label: Option<Arc<str>>, limit: u64| {
            if least.as_ref().is_none_or(|least| limit < least.limit) {
                least = Some(Returned {
                    policy: Arc::clone(policy),
                    label,
                    limit,
                });
            }
        };
        for requirement in requirements {
            match &requirement.kind {
                RequirementKind::RowsReturnedMax { rows } => take(&requirement.policy, None, *rows),
                RequirementKind::TableRowsMax {
                    patterns,
                    pattern,
                    returned: Some(limit),
                    ..
                } => {
                    let Ok(matched) = self.matched(requirement, patterns) else {
                        continue;
                    };
                    for matched in matched.iter().filter(|matched| matched.pattern == *pattern) {
                        if self.shows(matched) {
                            take(
                                &requirement.policy,
                                self.reads_surely(matched)
                                    .then(|| Arc::clone(&matched.label)),
                                *limit,
                            );
                        }
                    }
                }
                _ => {}
            }
        }
        least
    }

    /// What runs: of EXECUTE the statement that it names.
    fn judged(&self) -> &Facts {
        match self.facts.kind {
            Kind::Execute => self.world.target.unwrap_or(self.facts),
            _ => self.facts,
        }
    }

    /// Whether rows of the relation can be among those that are returned.
    ///
    /// A statement whose reads cannot be bounded may show any table.
    fn shows(&self, matched: &Matched) -> bool {
        self.reach.reads_opaque.is_some() || self.reads_surely(matched)
    }

    fn reads_surely(&self, matched: &Matched) -> bool {
        let reached = |list: &[Oid]| {
            matched
                .members
                .iter()
                .any(|oid| list.binary_search(oid).is_ok())
        };
        reached(&self.reach.reads) || reached(&self.reach.changes)
    }

    fn matched(
        &self,
        requirement: &Requirement,
        patterns: &Arc<[Arc<str>]>,
    ) -> Result<Arc<[Matched]>, Refusal> {
        self.snapshot
            .matching_texts(patterns)
            .map_err(|why| Refusal {
                policy: Arc::clone(&requirement.policy),
                ..Refusal::gate(
                    "table-rows-max",
                    sqlstate::POLICY_FAULT,
                    "a limit of this policy cannot be read",
                )
                .detail(why)
            })
    }
}

/// What a statement's limits add up to.
#[derive(Default)]
struct Wanted {
    groups: Vec<Group>,
    /// Some group holds only a part of what changes.
    partial: bool,
    /// Some group holds rows that the server does not count.
    uncounted: bool,
}
