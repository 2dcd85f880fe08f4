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
    pub fn beyond(&self, facts: &Facts, world: &World<'_>) -> Vec<(Named, Option<u32>)> {
        let touched = self.touched(facts, world);
        let mut written: BTreeMap<Oid, Access> = BTreeMap::new();
        for named in &facts.relations {
            for oid in self.resolve(named, world) {
                *written.entry(oid).or_insert(Access::empty()) |= named.access;
            }
        }
        let hidden: Vec<(Oid, Access)> = touched
            .into_iter()
            .map(|(oid, access)| {
                let known = written.get(&oid).copied();
                (oid, hidden(access, known))
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
                let origin = leads.iter().position(|behind| behind.contains(&oid));
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
