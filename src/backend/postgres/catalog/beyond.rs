//! The relations a statement touches and its text does not name.
//!
//! Policies judge names. Behind a view, a rule, a trigger, a cascade, a
//! partition or a function stand more names than were written; here they
//! become relations of the statement, each with the written one that leads to
//! it, so that a guarded name holds for whatever leads to its table.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Access, Facts, Relation as Named, Via};

use super::reach::World;
use super::snapshot::{CatalogSnapshot, Oid};

impl CatalogSnapshot {
    /// What the catalog adds to the relations of these facts; empty for the
    /// statement that shows all it touches. Ordered by identity.
    ///
    /// Where a name may mean a temporary object it may mean the other one as well.
    pub fn beyond(&self, facts: &Facts, world: &World<'_>) -> Vec<(Named, Option<u32>)> {
        let world = &World {
            temp_objects: false,
            ..*world
        };
        let touched = self.touched(facts, world);
        let mut written: BTreeMap<Oid, Access> = BTreeMap::new();
        for named in &facts.relations {
            for oid in self.resolve(named, world) {
                *written.entry(oid).or_insert(Access::empty()) |= named.access;
            }
        }
        let again = self.read_again(facts, &written, world);
        let hidden: Vec<(Oid, Access)> = touched
            .into_iter()
            .map(|(oid, access)| {
                let known = written.get(&oid).copied();
                let again = if again.contains(&oid) {
                    Access::SELECT
                } else {
                    Access::empty()
                };
                (oid, hidden(access, known) | again)
            })
            .filter(|(_, access)| !access.is_empty())
            .collect();
        if hidden.is_empty() {
            return Vec::new();
        }
        let leads: Vec<BTreeSet<Oid>> = facts
            .relations
            .iter()
            .map(|named| self.behind(facts, named, world))
            .collect();
        hidden
            .into_iter()
            .filter_map(|(oid, access)| {
                let relation = self.relation(oid)?;
                let leads_there = |index: usize, behind: &BTreeSet<Oid>| {
                    let own = || self.resolve(&facts.relations[index], world).contains(&oid);
                    behind.contains(&oid) && !(again.contains(&oid) && own())
                };
                let origin = (0..leads.len()).find(|index| leads_there(*index, &leads[*index]));
                let named = Named {
                    schema: Some(relation.schema.clone()),
                    name: relation.name.clone(),
                    access,
                    via: Via::Catalog,
                };
                Some((named, origin.and_then(|origin| u32::try_from(origin).ok())))
            })
            .collect()
    }

    /// Tables that the text names, and that something else in it reads as well:
    /// a view beside them, a function. What that passes on is not in the text.
    fn read_again(
        &self,
        facts: &Facts,
        written: &BTreeMap<Oid, Access>,
        world: &World<'_>,
    ) -> BTreeSet<Oid> {
        let calls = facts.functions.iter().any(|function| !function.harmless);
        if facts.relations.len() < 2 && !calls {
            return BTreeSet::new();
        }
        let read_without = |oid: &Oid| {
            let mut others = facts.clone();
            others
                .relations
                .retain(|named| !self.resolve(named, world).contains(oid));
            let touched = self.touched(&others, world);
            touched
                .get(oid)
                .is_some_and(|access| access.contains(Access::SELECT))
        };
        written.keys().copied().filter(read_without).collect()
    }

    /// Everything that is touched, and how.
    fn touched(&self, facts: &Facts, world: &World<'_>) -> BTreeMap<Oid, Access> {
        let reach = self.reach(facts, world);
        let mut touched: BTreeMap<Oid, Access> = BTreeMap::new();
        // What code does to a table is known only as "some change"; emptying it
        // is a matter of its own, and the counters see it.
        let changed_by = reach.changed_by.iter().map(|by| *by - Access::TRUNCATE);
        let changes = reach.changes.iter().copied().zip(changed_by);
        let reads = reach.reads.into_iter().map(|oid| (oid, Access::SELECT));
        let truncates = reach.truncates.into_iter().map(|oid| (oid, removal(facts)));
        for (oid, access) in changes.chain(reads).chain(truncates) {
            *touched.entry(oid).or_insert(Access::empty()) |= access;
        }
        touched
    }

    /// What this one written relation leads to.
    fn behind(&self, facts: &Facts, named: &Named, world: &World<'_>) -> BTreeSet<Oid> {
        let mut alone = Facts::empty(facts.kind);
        alone.effects = facts.effects;
        alone.traits = facts.traits;
        alone.relations.push(named.clone());
        self.touched(&alone, world).into_keys().collect()
    }
}

/// What of an access the text does not show. Reading what one changes is no news.
fn hidden(access: Access, written: Option<Access>) -> Access {
    match written {
        None => access,
        Some(written) if written.contains(Access::POSSIBLE) => Access::empty(),
        Some(written) => (access & Access::CHANGE) - written,
    }
}

/// TRUNCATE and DROP reach further than they say.
fn removal(facts: &Facts) -> Access {
    match facts.kind {
        crate::model::Kind::Truncate => Access::TRUNCATE,
        _ => Access::DROP,
    }
}
