//! What a statement can reach: its own names, and whatever the catalog hangs on them.
//!
//! Errs to one side only. A name that could mean two tables means both; what
//! cannot be bounded is `opaque`, and then everything that is limited is counted.

use std::sync::Arc;

use crate::model::{Access, Effects, Facts, FunctionUse, Kind, Relation as Named, Traits, Via};

use super::body::{self, Traces};
use super::snapshot::{CatalogSnapshot, Oid, RelationKind};
use super::walk::Walk;

/// The session a statement runs in, as far as names depend on it.
#[derive(Debug, Clone, Copy, Default)]
pub struct World<'a> {
    /// search_path; none when unknown.
    pub search_path: Option<&'a [Arc<str>]>,
    /// Current role, for `$user`.
    pub role: &'a str,
    /// The session may have made temporary tables, views or functions.
    pub temp_objects: bool,
    /// The snapshot may not know all definitions: this transaction holds DDL of
    /// its own, or the catalog has not caught up with DDL that was seen.
    pub ddl_pending: bool,
    /// Definitions have moved that the snapshot cannot know: those of this
    /// transaction, or of the string that is judged. Nothing in it is a bound.
    pub moved: bool,
    /// The statement behind the name that an EXECUTE or a FETCH uses.
    pub target: Option<&'a Facts>,
}

/// What a statement can reach.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Relations whose rows it can read, views and what is behind them both; ordered.
    pub reads: Vec<Oid>,
    /// Relations whose rows it can change, partitions and cascades included; ordered.
    pub changes: Vec<Oid>,
    /// How each of `changes` is changed, in the same order.
    pub changed_by: Vec<Access>,
    /// Tables it empties or drops by name; ordered.
    pub truncates: Vec<Oid>,
    /// Why `changes` is no bound: count on all limited tables.
    pub opaque: Option<Arc<str>>,
    /// Why `reads` is no bound.
    pub reads_opaque: Option<Arc<str>>,
    /// Why counting in this session is not enough: it can work in another one.
    pub elsewhere: Option<Arc<str>>,
    /// A trigger it can fire may be put off until COMMIT.
    pub deferred: bool,
    /// A user function can run that may change settings, take locks, listen, or
    /// leave temporary objects: what the server reports of that is nothing.
    pub traces: Traces,
    /// The command tag is exact: plain DML on `target` and what is below it,
    /// without triggers, rules, cascading keys or code.
    pub plain: bool,
    /// The one table that the statement itself changes by name, when the name is certain.
    pub target: Option<Oid>,
    /// Names that the statement changes and the catalog does not know.
    pub unknown: Vec<Named>,
    /// Proven to change nothing at all.
    pub read_only: bool,
}

/// What a name in the text means.
enum Meaning {
    /// A relation of pg_catalog or information_schema.
    System,
    /// One of these; more than one when rights or the path leave it open.
    User(Vec<Oid>),
    /// Nothing the snapshot knows, or perhaps a temporary object.
    Unknown(&'static str),
}

impl CatalogSnapshot {
    /// What a statement with these facts can reach.
    pub fn reach(&self, facts: &Facts, world: &World<'_>) -> Reach {
        let mut walk = Walk::new(self);
        let mut own = Own {
            walk: &mut walk,
            world,
            target: None,
            writes: 0,
            unknown: Vec::new(),
        };
        own.statement(facts);
        let (target, writes, unknown) = (own.target, own.writes, own.unknown);
        walk.run();
        let judged = match facts.kind {
            Kind::Execute => world.target.unwrap_or(facts),
            _ => facts,
        };
        let mut reach = walk.finish();
        reach.target = target.filter(|_| writes == 1);
        reach.unknown = unknown;
        reach.plain = is_dml(judged.kind)
            && reach.plain
            && reach
                .target
                .is_some_and(|target| self.is_quiet_tree(target))
            && reach.opaque.is_none()
            && !reach.deferred
            && !world.ddl_pending;
        reach.read_only = reach.changes.is_empty()
            && reach.truncates.is_empty()
            && reach.opaque.is_none()
            && Effects::READS.contains(facts.effects)
            && !facts
                .traits
                .intersects(Traits::CALLS_FUNCTIONS | Traits::OPAQUE);
        reach
    }

    /// What code that the statement can run may leave in the session.
    pub fn leaves_traces(&self, facts: &Facts, world: &World<'_>) -> Traces {
        let unknown = |function: &FunctionUse| {
            let outside = !function.harmless
                && facts.effects.contains(Effects::CODE)
                && function.schema.as_deref() != Some("pg_catalog");
            let schema = function.schema.as_deref();
            let known = || {
                self.functions_named(schema, &function.name, world.search_path, world.role)
                    .next()
                    .is_some()
            };
            body::runs_text(&function.name) || (outside && !known())
        };
        if world.moved && touches(facts)
            || facts.kind == Kind::Do
            || facts.is_opaque()
            || facts.functions.iter().any(unknown)
        {
            return Traces::ANY;
        }
        // A name may mean a temporary object; then what made it has left its traces.
        let world = World {
            temp_objects: false,
            ..*world
        };
        self.reach(facts, &world).traces
    }

    /// The relations a name of the facts can mean; none when it is none that the snapshot knows.
    pub fn resolve(&self, named: &Named, world: &World<'_>) -> Vec<Oid> {
        match self.meaning(named, world) {
            Meaning::User(oids) => oids,
            Meaning::System | Meaning::Unknown(_) => Vec::new(),
        }
    }

    fn meaning(&self, named: &Named, world: &World<'_>) -> Meaning {
        let schema = named.schema.as_deref();
        let temp = |schema: &str| schema == "pg_temp" || schema.starts_with("pg_temp_");
        if schema.is_some_and(temp) || (schema.is_none() && world.temp_objects) {
            return Meaning::Unknown("it may name a temporary object");
        }
        let found: Vec<Oid> = self
            .named(schema, &named.name, world.search_path, world.role)
            .map(|relation| relation.oid)
            .collect();
        let system = match schema {
            None => self.system_names.contains(&named.name),
            Some("pg_catalog" | "information_schema") => true,
            Some(schema) => schema.starts_with("pg_toast"),
        };
        if !found.is_empty() {
            Meaning::User(found)
        } else if system {
            Meaning::System
        } else {
            Meaning::Unknown("it names a relation that is not known")
        }
    }

    /// No trigger, rule or inheritance trap from the table down: the server's tag counts it all.
    fn is_quiet_tree(&self, target: Oid) -> bool {
        self.tree(target).iter().all(|oid| {
            self.relation(*oid).is_some_and(|relation| {
                relation.kind.is_table()
                    && relation.triggers.is_empty()
                    && !relation.rules
                    && !relation.runs_text
            })
        })
    }
}

/// Whether definitions matter to it: it names something, or sets off what waits for COMMIT.
fn touches(facts: &Facts) -> bool {
    let definition = facts
        .effects
        .intersects(Effects::SCHEMA | Effects::PRIVILEGE);
    let named = !(facts.relations.is_empty() && facts.functions.is_empty());
    let inner = matches!(facts.kind, Kind::Execute | Kind::Fetch | Kind::Call);
    let waiting = matches!(facts.kind, Kind::Set | Kind::Commit | Kind::TwoPhase);
    !definition && (named && facts.kind != Kind::Prepare || inner || waiting)
}

fn is_dml(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Insert | Kind::Update | Kind::Delete | Kind::Merge | Kind::Copy
    )
}

/// The statement's own names, put into the walk.
struct Own<'w, 's, 'a> {
    walk: &'w mut Walk<'s>,
    world: &'w World<'a>,
    target: Option<Oid>,
    writes: usize,
    unknown: Vec<Named>,
}

impl Own<'_, '_, '_> {
    fn statement(&mut self, facts: &Facts) {
        if facts.is_opaque() && !facts.traits.contains(Traits::HARMLESS) {
            self.walk.opaque("the statement is not fully understood");
        }
        if facts
            .effects
            .intersects(Effects::NETWORK | Effects::PROGRAM)
        {
            self.walk
                .elsewhere("the statement works outside this session");
        }
        if self.world.moved && touches(facts) {
            // A view or a body may have been replaced, a trigger, a rule or a child added.
            self.walk
                .opaque("definitions have changed in this transaction");
            self.walk.may_wait();
        }
        match facts.kind {
            Kind::Select
            | Kind::Insert
            | Kind::Update
            | Kind::Delete
            | Kind::Merge
            | Kind::Copy
            | Kind::Explain
            | Kind::Declare => self.query(facts),
            Kind::Execute | Kind::Fetch => self.indirect(facts),
            Kind::Truncate | Kind::Drop => self.removal(facts),
            Kind::Call => self.call(facts),
            Kind::Set | Kind::Commit | Kind::TwoPhase => self.walk.deferred_triggers(),
            Kind::Maintain => self.maintenance(facts),
            Kind::Begin
            | Kind::Rollback
            | Kind::Savepoint
            | Kind::Prepare
            | Kind::Deallocate
            | Kind::Close
            | Kind::Reset
            | Kind::Show
            | Kind::Discard
            | Kind::Lock
            | Kind::Notify
            | Kind::Empty => self.functions(facts),
            Kind::Grant | Kind::Revoke | Kind::Comment => {
                self.functions(facts);
                self.walk.event_triggers();
            }
            Kind::Do => self.walk.opaque("DO runs code"),
            _ => self.definition(facts),
        }
    }

    /// SELECT and DML, also inside EXPLAIN.
    fn query(&mut self, facts: &Facts) {
        self.functions(facts);
        self.walk.ambient();
        let runs = !facts.traits.contains(Traits::PLAN_ONLY);
        for named in &facts.relations {
            let change = named.access & Access::CHANGE;
            if runs && !change.is_empty() {
                self.change(named, change);
            }
            if named
                .access
                .intersects(Access::SELECT | Access::LOCK | Access::POSSIBLE | Access::OTHER)
                || !change.is_empty()
            {
                self.read(named);
            }
            if named
                .access
                .intersects(Access::CREATE | Access::ALTER | Access::DROP)
            {
                // SELECT INTO, and definitions in an opaque text.
                self.walk.opaque("the statement defines a relation");
            }
        }
        let says_writes = facts.effects.intersects(Effects::WRITES | Effects::SCHEMA);
        if runs && says_writes && self.writes == 0 {
            self.walk
                .opaque("the statement writes to something that has no name");
        }
        if runs && facts.effects.contains(Effects::CODE) && facts.functions.is_empty() {
            self.walk
                .opaque("the statement runs code that it does not show");
        }
    }

    fn read(&mut self, named: &Named) {
        match self.walk.snapshot.meaning(named, self.world) {
            Meaning::System => {}
            Meaning::User(oids) => oids.into_iter().for_each(|oid| self.walk.read(oid)),
            Meaning::Unknown(why) => self.walk.opaque(why),
        }
    }

    fn change(&mut self, named: &Named, access: Access) {
        self.writes += 1;
        match self.walk.snapshot.meaning(named, self.world) {
            Meaning::System => self.walk.opaque("the statement changes the system catalog"),
            Meaning::User(oids) => {
                if let ([only], Via::Direct) = (&oids[..], named.via) {
                    self.target = Some(*only);
                }
                oids.into_iter()
                    .for_each(|oid| self.walk.change(oid, access));
            }
            Meaning::Unknown(why) => {
                self.unknown.push(named.clone());
                self.walk.opaque(why);
            }
        }
    }

    fn functions(&mut self, facts: &Facts) {
        for function in &facts.functions {
            self.function(function);
        }
        let (path, role) = (self.world.search_path, self.world.role);
        for column in &facts.columns {
            for function in self
                .walk
                .snapshot
                .functions_named(None, column, path, role)
                .filter(|f| f.attribute)
            {
                self.walk.call(function.oid);
            }
        }
    }

    /// Puts the user functions that a call can mean into the walk; says whether there are any.
    fn function(&mut self, function: &FunctionUse) -> bool {
        let (path, role) = (self.world.search_path, self.world.role);
        let schema = function.schema.as_deref();
        let mut found = false;
        for candidate in self
            .walk
            .snapshot
            .functions_named(schema, &function.name, path, role)
        {
            self.walk.call(candidate.oid);
            found = true;
        }
        if body::runs_text(&function.name) {
            self.walk
                .opaque(&format!("{} runs SQL text", function.name));
        } else if !found && self.may_be_unknown(schema) && !function.harmless {
            self.walk
                .opaque(&format!("function {} is not known", function.name));
        }
        found
    }

    /// A function that is no user function is a built-in one, unless the snapshot is behind or it is temporary.
    fn may_be_unknown(&self, schema: Option<&str>) -> bool {
        match schema {
            Some("pg_catalog" | "information_schema") => false,
            Some(_) => true,
            None => self.world.ddl_pending,
        }
    }

    /// EXECUTE and FETCH do what the named statement does.
    fn indirect(&mut self, facts: &Facts) {
        self.functions(facts);
        match self.world.target {
            Some(target) if !matches!(target.kind, Kind::Execute | Kind::Fetch) => {
                self.statement(target)
            }
            _ => self
                .walk
                .opaque("the statement behind the name is not known"),
        }
    }

    /// A procedure the snapshot knows is judged by its body.
    fn call(&mut self, facts: &Facts) {
        self.walk.ambient();
        let known: Vec<bool> = facts
            .functions
            .iter()
            .map(|function| self.function(function))
            .collect();
        if !known.contains(&true) {
            self.walk.opaque("CALL runs code");
        }
    }

    fn removal(&mut self, facts: &Facts) {
        self.functions(facts);
        self.walk.event_triggers();
        let cascade = facts.traits.contains(Traits::CASCADE);
        if facts.kind == Kind::Drop && facts.traits.contains(Traits::NO_TRANSACTION) {
            return; // A database, a tablespace, an index without locks: no table of this database.
        }
        for named in &facts.relations {
            match self.walk.snapshot.meaning(named, self.world) {
                Meaning::User(oids) => {
                    for oid in oids {
                        self.walk.remove(oid, facts.kind == Kind::Truncate, cascade);
                    }
                }
                Meaning::System => self.walk.opaque("the statement removes a system relation"),
                Meaning::Unknown(why) => self.walk.opaque(why),
            }
        }
        let by_name = facts.kind == Kind::Truncate && !facts.relations.is_empty();
        if !by_name {
            // DROP SCHEMA, DROP OWNED, DROP … CASCADE: what goes is not in the text.
            self.walk.opaque("DROP can remove more than it names");
        }
    }

    /// VACUUM and kin change no rows, but compute index expressions.
    fn maintenance(&mut self, facts: &Facts) {
        self.functions(facts);
        let functions: Vec<Oid> = self
            .walk
            .snapshot
            .relations()
            .flat_map(|relation| relation.index_functions.iter().copied())
            .collect();
        functions.into_iter().for_each(|oid| self.walk.call(oid));
    }

    /// Any definition: rewrites and drops show in the file nodes, so all is counted.
    fn definition(&mut self, facts: &Facts) {
        self.functions(facts);
        self.walk.ambient();
        self.walk.event_triggers();
        for named in &facts.relations {
            if let Meaning::User(oids) = self.walk.snapshot.meaning(named, self.world) {
                oids.into_iter().for_each(|oid| self.walk.read(oid));
            }
        }
        if !facts.traits.contains(Traits::NO_TRANSACTION) {
            self.walk
                .opaque("a definition can rewrite or remove what it does not name");
        }
    }
}

/// What is kept of a relation's kind where only tables count.
pub(super) fn can_be_changed(kind: RelationKind) -> bool {
    kind.is_table() || kind == RelationKind::View
}
