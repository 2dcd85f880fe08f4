//! Follows the catalog from what a statement names to everything that hangs on it.
//!
//! A worklist over three kinds of step: rows of a relation are read, rows of a
//! relation are changed, a function runs. Every step is taken once, so it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::Access;

use super::body::{self, Traces};
use super::reach::{Reach, can_be_changed};
use super::snapshot::{CatalogSnapshot, Oid, Relation, RelationKind};

#[derive(Debug, Clone, Copy)]
enum Step {
    Read(Oid),
    Change(Oid, Access),
    Call(Oid),
    /// Called by an operator, cast or type.
    CallImplicitly(Oid),
}

pub(super) struct Walk<'s> {
    pub(super) snapshot: &'s CatalogSnapshot,
    queue: Vec<Step>,
    reads: BTreeSet<Oid>,
    changes: BTreeMap<Oid, Access>,
    called: BTreeSet<(Oid, bool)>,
    truncates: BTreeSet<Oid>,
    opaque: Option<Arc<str>>,
    elsewhere: Option<Arc<str>>,
    deferred: bool,
    /// Code runs that may change the session's state.
    traces: Traces,
    /// Some change is not the statement's own: the command tag does not count it.
    indirect: bool,
}

impl<'s> Walk<'s> {
    pub(super) fn new(snapshot: &'s CatalogSnapshot) -> Walk<'s> {
        Walk {
            snapshot,
            queue: Vec::new(),
            reads: BTreeSet::new(),
            changes: BTreeMap::new(),
            called: BTreeSet::new(),
            truncates: BTreeSet::new(),
            opaque: None,
            elsewhere: None,
            deferred: false,
            traces: Traces::default(),
            indirect: false,
        }
    }

    /// The first reason is kept.
    pub(super) fn opaque(&mut self, why: &str) {
        self.opaque.get_or_insert_with(|| why.into());
    }

    pub(super) fn elsewhere(&mut self, why: &str) {
        self.elsewhere.get_or_insert_with(|| why.into());
    }

    pub(super) fn read(&mut self, oid: Oid) {
        self.queue.push(Step::Read(oid));
    }

    pub(super) fn change(&mut self, oid: Oid, access: Access) {
        self.queue.push(Step::Change(oid, access));
    }

    pub(super) fn call(&mut self, oid: Oid) {
        self.queue.push(Step::Call(oid));
    }

    /// What can run without being named: operators, casts, types, domains.
    pub(super) fn ambient(&mut self) {
        let functions = self
            .snapshot
            .ambient
            .iter()
            .map(|oid| Step::CallImplicitly(*oid));
        self.queue.extend(functions);
        if self.snapshot.ambient_text {
            self.opaque("a domain's check, an operator or a cast runs SQL text");
            self.traces = Traces::ANY;
        }
        self.traces.state |= self.snapshot.ambient_traces;
    }

    /// Triggers that nobody knows may wait for COMMIT.
    pub(super) fn may_wait(&mut self) {
        self.deferred = true;
    }

    pub(super) fn event_triggers(&mut self) {
        let functions = self
            .snapshot
            .event_functions
            .iter()
            .map(|oid| Step::Call(*oid));
        self.queue.extend(functions);
    }

    /// What COMMIT and SET CONSTRAINTS can set off.
    pub(super) fn deferred_triggers(&mut self) {
        let snapshot = self.snapshot;
        for trigger in snapshot
            .relations()
            .flat_map(|relation| &relation.triggers)
            .filter(|t| t.deferrable)
        {
            self.deferred = true;
            self.indirect = true;
            trigger.functions.iter().for_each(|oid| self.call(*oid));
        }
    }

    /// TRUNCATE or DROP of a table and all below it; TRUNCATE … CASCADE follows foreign keys.
    pub(super) fn remove(&mut self, oid: Oid, truncate: bool, cascade: bool) {
        let snapshot = self.snapshot;
        for oid in snapshot.tree(oid) {
            if !self.truncates.insert(oid) {
                continue;
            }
            let Some(relation) = snapshot.relation(oid) else {
                continue;
            };
            if truncate {
                self.triggers(relation, Access::TRUNCATE);
            }
            if truncate && cascade {
                for key in &relation.cascades {
                    self.remove(key.table, true, true);
                }
            }
        }
    }

    pub(super) fn run(&mut self) {
        while let Some(step) = self.queue.pop() {
            match step {
                Step::Read(oid) => self.on_read(oid),
                Step::Change(oid, access) => self.on_change(oid, access),
                Step::Call(oid) => self.on_call(oid, false),
                Step::CallImplicitly(oid) => self.on_call(oid, true),
            }
        }
    }

    /// `plain` holds only what the walk itself can say: every change was the statement's own.
    pub(super) fn finish(mut self) -> Reach {
        // What has no bound may also set off what waits for COMMIT.
        let waiting = |relation: &Relation| relation.triggers.iter().any(|t| t.deferrable);
        self.deferred |= self.opaque.is_some() && self.snapshot.relations().any(waiting);
        Reach {
            reads: self.reads.into_iter().collect(),
            changed_by: self.changes.values().copied().collect(),
            changes: self.changes.into_keys().collect(),
            truncates: self.truncates.into_iter().collect(),
            reads_opaque: self.opaque.clone(),
            plain: !self.indirect && self.opaque.is_none() && self.elsewhere.is_none(),
            opaque: self.opaque,
            elsewhere: self.elsewhere,
            deferred: self.deferred,
            traces: self.traces,
            ..Reach::default()
        }
    }

    fn on_read(&mut self, oid: Oid) {
        if !self.reads.insert(oid) {
            return;
        }
        let Some(relation) = self.snapshot.relation(oid) else {
            return self.opaque("the catalog names a relation that is not known");
        };
        self.text_runner(relation);
        self.children(relation, Step::Read);
        if matches!(
            relation.kind,
            RelationKind::View | RelationKind::Materialized
        ) {
            self.queue
                .extend(relation.rule_relations.iter().map(|oid| Step::Read(*oid)));
        }
        // A materialized view shows its sources' rows, but its functions ran before.
        if relation.kind == RelationKind::View {
            self.queue
                .extend(relation.rule_functions.iter().map(|oid| Step::Call(*oid)));
        }
        self.queue
            .extend(relation.policy_relations.iter().map(|oid| Step::Read(*oid)));
        self.queue
            .extend(relation.read_functions.iter().map(|oid| Step::Call(*oid)));
    }

    fn on_change(&mut self, oid: Oid, access: Access) {
        let known = self.changes.entry(oid).or_insert(Access::empty());
        if known.contains(access) {
            return;
        }
        *known |= access;
        let Some(relation) = self.snapshot.relation(oid) else {
            return self.opaque("the catalog names a relation that is not known");
        };
        if !can_be_changed(relation.kind) {
            self.changes.remove(&oid);
            return;
        }
        self.text_runner(relation);
        self.queue
            .extend(relation.policy_relations.iter().map(|oid| Step::Read(*oid)));
        self.queue
            .extend(relation.read_functions.iter().map(|oid| Step::Call(*oid)));
        self.queue
            .extend(relation.change_functions.iter().map(|oid| Step::Call(*oid)));
        self.triggers(relation, access);
        self.rules(relation, access);
        self.cascades(relation, access);
        // A row that an UPDATE moves to another partition is deleted here and inserted there.
        let moves = relation.kind == RelationKind::Partitioned && access.contains(Access::UPDATE);
        let below = if moves {
            access | Access::INSERT | Access::DELETE
        } else {
            access
        };
        self.children(relation, |child| Step::Change(child, below));
    }

    fn children(&mut self, relation: &Relation, step: impl Fn(Oid) -> Step) {
        self.queue
            .extend(relation.children.iter().map(|child| step(*child)));
    }

    fn triggers(&mut self, relation: &Relation, access: Access) {
        for trigger in relation
            .triggers
            .iter()
            .filter(|trigger| trigger.events.intersects(access))
        {
            self.deferred |= trigger.deferrable;
            self.queue
                .extend(trigger.functions.iter().map(|oid| Step::Call(*oid)));
        }
    }

    /// A rule, and a view, lead to whatever relation they name, in any way.
    fn rules(&mut self, relation: &Relation, access: Access) {
        if !relation.rules && relation.kind != RelationKind::View {
            return;
        }
        self.indirect = true;
        let access = if relation.rules {
            Access::CHANGE
        } else {
            access
        };
        for oid in &relation.rule_relations {
            self.queue.push(Step::Read(*oid));
            self.queue.push(Step::Change(*oid, access));
        }
        self.queue
            .extend(relation.rule_functions.iter().map(|oid| Step::Call(*oid)));
    }

    /// Foreign keys of other tables that point to this one or to a table it is part of.
    fn cascades(&mut self, relation: &Relation, access: Access) {
        let snapshot = self.snapshot;
        let above = snapshot.ancestors(relation);
        for key in above
            .into_iter()
            .chain([relation])
            .flat_map(|table| &table.cascades)
        {
            let mut change = Access::empty();
            if access.contains(Access::DELETE) {
                change |= key.on_delete;
            }
            if access.contains(Access::UPDATE) {
                change |= key.on_update;
            }
            if !change.is_empty() {
                self.indirect = true;
                self.change(key.table, change);
            }
        }
    }

    fn on_call(&mut self, oid: Oid, implicit: bool) {
        if !self.called.insert((oid, implicit)) {
            return;
        }
        // Not a user function: part of the server.
        let Some(function) = self.snapshot.function(oid) else {
            return;
        };
        let found = body::reach(self.snapshot, function, implicit);
        self.traces = self.traces.join(found.traces);
        if let Some(why) = &found.opaque {
            self.opaque(why);
        }
        if let Some(why) = &found.elsewhere {
            self.elsewhere(why);
        }
        self.queue
            .extend(found.functions.iter().map(|oid| Step::Call(*oid)));
        for oid in &found.relations {
            self.queue.push(Step::Read(*oid));
            if found.changes {
                self.indirect = true;
                self.queue.push(Step::Change(*oid, Access::CHANGE));
            }
        }
    }

    fn text_runner(&mut self, relation: &Relation) {
        self.traces.state |= relation.leaves_traces;
        if relation.runs_text {
            self.opaque(&format!(
                "a definition of \"{}\" runs SQL text",
                relation.name
            ));
        }
    }
}
