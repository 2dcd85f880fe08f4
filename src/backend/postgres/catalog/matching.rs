//! Which tables a set of patterns limits.

use std::sync::{Arc, PoisonError};

use crate::model::pattern::PatternSet;

use super::snapshot::{CatalogSnapshot, Oid, Relation, RelationKind};

/// Readings kept per snapshot; one for each set of patterns in use.
const MATCHED_MAX: usize = 64;

/// A relation that a pattern limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    /// The relation.
    pub oid: Oid,
    /// Its kind.
    pub kind: RelationKind,
    /// Index of its most specific pattern.
    pub pattern: u32,
    /// Name in messages.
    pub label: Arc<str>,
    /// Relations whose rows are its rows: itself, its partitions, tables that inherit from it.
    pub members: Arc<[Oid]>,
    /// A member's rows are not counted by the server (foreign table).
    pub uncounted: bool,
}

impl CatalogSnapshot {
    /// Every relation that some pattern matches, with its most specific pattern, ordered by name.
    ///
    /// A partition whose parent is limited by the same pattern is left out: the
    /// parent's sum already bounds it.
    pub fn matching(&self, patterns: &PatternSet) -> Vec<Matched> {
        let best =
            |relation: &Relation| patterns.best(Some(&relation.schema), &relation.name, None);
        let mut found: Vec<Matched> = Vec::new();
        for relation in self.relations.values() {
            if relation.kind == RelationKind::Sequence {
                continue;
            }
            let Some(pattern) = best(relation) else {
                continue;
            };
            let covered = self
                .ancestors(relation)
                .iter()
                .any(|parent| best(parent) == Some(pattern));
            if !covered {
                found.push(self.matched(relation, pattern));
            }
        }
        found.sort_by(|a, b| a.label.cmp(&b.label).then(a.oid.cmp(&b.oid)));
        found
    }

    /// [`CatalogSnapshot::matching`], worked out once for each list of patterns.
    pub fn matching_texts(&self, texts: &Arc<[Arc<str>]>) -> Result<Arc<[Matched]>, String> {
        let mut kept = self.matched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = kept
            .iter()
            .find(|(known, _)| Arc::ptr_eq(known, texts) || known == texts)
        {
            return Ok(Arc::clone(found));
        }
        let found: Arc<[Matched]> = self.matching(&PatternSet::new(texts.iter())?).into();
        if kept.len() >= MATCHED_MAX {
            kept.remove(0);
        }
        kept.push((Arc::clone(texts), Arc::clone(&found)));
        Ok(found)
    }

    fn matched(&self, relation: &Relation, pattern: u32) -> Matched {
        let members = self.tree(relation.oid);
        let foreign = |oid: &Oid| {
            self.relations
                .get(oid)
                .is_some_and(|r| r.kind == RelationKind::Foreign)
        };
        Matched {
            oid: relation.oid,
            kind: relation.kind,
            pattern,
            label: relation.label(),
            uncounted: members.iter().any(foreign),
            members: members.into(),
        }
    }

    /// Everything above a partition or an inheriting table.
    pub(super) fn ancestors<'a>(&'a self, relation: &'a Relation) -> Vec<&'a Relation> {
        let mut found: Vec<&Relation> = Vec::new();
        let mut next = vec![relation];
        while let Some(relation) = next.pop() {
            for parent in relation
                .parents
                .iter()
                .filter_map(|oid| self.relations.get(oid))
            {
                if !found.iter().any(|known| known.oid == parent.oid) {
                    found.push(parent);
                    next.push(parent);
                }
            }
        }
        found
    }
}
