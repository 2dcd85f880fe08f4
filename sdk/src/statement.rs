//! The statement being judged, as a policy asks about it.

use crate::client::{Client, Clock, Values};
use crate::code::{Access, ColumnUses, Dialect, Effects, Kind, Predicate, Traits, Via};
use crate::host;
use crate::names::{Names, Symbol};

/// The current statement.
///
/// Kind, effects and traits are at hand. Everything else is asked of the gate
/// when it is called, and the gate remembers the verdict under exactly what
/// was asked: the less a policy asks, the more often its verdict is reused.
#[derive(Debug)]
pub struct Statement {
    kind: Kind,
    effects: Effects,
    traits: Traits,
}

impl Statement {
    pub(crate) fn new(kind: u32, effects: u64, traits: u64) -> Statement {
        Statement {
            kind: Kind::from_code(kind),
            effects: Effects::from_bits_retain(effects),
            traits: Traits::from_bits_retain(traits),
        }
    }

    /// The leading verb.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What it can do, by its text.
    pub fn effects(&self) -> Effects {
        self.effects
    }

    /// Yes-or-no facts.
    pub fn traits(&self) -> Traits {
        self.traits
    }

    /// Whether the gate could not fully understand it; relations are then all
    /// identifiers of the text.
    pub fn is_opaque(&self) -> bool {
        self.traits.contains(Traits::OPAQUE)
    }

    /// Whether it only asks for a plan.
    pub fn is_plan_only(&self) -> bool {
        self.traits.contains(Traits::PLAN_ONLY)
    }

    /// Whose grammar it follows.
    pub fn dialect(&self) -> Dialect {
        Dialect::from_code(host::dialect())
    }

    /// Weakest predicate of all writes in it, or of the read.
    pub fn predicate(&self) -> Predicate {
        Predicate::from_code(host::predicate())
    }

    /// All relations it names, in order of appearance; the same relation once per way it is reached.
    pub fn relations(&self) -> impl Iterator<Item = Relation> {
        (0..host::relations()).map(Relation::at)
    }

    /// The first relation that `names` matches and to which any of `access` is done.
    pub fn find(&self, names: Names, access: Access) -> Option<Relation> {
        self.find_all(names, access).next()
    }

    /// All relations that `names` matches and to which any of `access` is done.
    pub fn find_all(&self, names: Names, access: Access) -> impl Iterator<Item = Relation> {
        let set = names.0;
        walk(move |start| set.map_or(-1, |set| host::find(set, access.bits(), start)))
            .map(Relation::at)
    }

    /// All relations to which any of `access` is done.
    pub fn accessed(&self, access: Access) -> impl Iterator<Item = Relation> {
        walk(move |start| host::find_access(access.bits(), start)).map(Relation::at)
    }

    /// Whether it names a column that `names` matches. `*` stands for itself.
    pub fn names_column(&self, names: Names) -> bool {
        names.0.is_some_and(|set| host::find_column(set, 0) >= 0)
    }

    /// Whether it does any of `uses` with a column that `names` matches. `*`
    /// stands for all columns of a table, a row as a whole, or columns under other names.
    pub fn uses_column(&self, names: Names, uses: ColumnUses) -> bool {
        names
            .0
            .is_some_and(|set| host::find_column_use(set, uses.bits(), 0) >= 0)
    }

    /// The first function it calls that is not known to be harmless and that
    /// `names` does not match. Nothing matches a list without patterns.
    pub fn unlisted_function(&self, names: Names) -> Option<String> {
        let found = host::find_unlisted_function(names.0.unwrap_or(u32::MAX), 0);
        u32::try_from(found).ok().map(host::function_name)
    }

    /// New values of the settings it changes and `names` matches: none for
    /// DEFAULT, RESET, and what is no constant. `"*"` in quotes is any setting.
    pub fn settings(&self, names: Names) -> impl Iterator<Item = Option<String>> {
        let set = names.0;
        walk(move |start| set.map_or(-1, |set| host::find_setting(set, start)))
            .map(host::setting_value)
    }

    /// Whether it calls a function that `names` matches.
    pub fn calls(&self, names: Names) -> bool {
        names.0.is_some_and(|set| host::find_function(set, 0) >= 0)
    }

    /// The constant LIMIT of the outermost query.
    pub fn limit(&self) -> Option<u64> {
        u64::try_from(host::limit()).ok()
    }

    /// The text with literals as placeholders and without comments.
    pub fn normalized(&self) -> String {
        host::normalized()
    }

    /// Whether the shape was learned into this set.
    pub fn is_learned(&self, learned: &str) -> bool {
        host::shape_in(learned)
    }

    /// A counter the gate keeps. A verdict that asked for one is never remembered.
    pub fn counter(&self, name: &str) -> u64 {
        host::counter(name)
    }

    /// Who sent it.
    pub fn client(&self) -> Client {
        Client::current()
    }

    /// Its constants and bind values.
    pub fn values(&self) -> Values {
        Values::current()
    }

    /// The time, as far as policies may know it.
    pub fn clock(&self) -> Clock {
        Clock::current()
    }
}

/// Follows a "first index at or after `start`" question.
fn walk(next: impl Fn(u32) -> i32) -> impl Iterator<Item = u32> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let found = u32::try_from(next(start)).ok()?;
        start = found + 1;
        Some(found)
    })
}

/// One relation the statement names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation {
    /// Its place in the statement's list, for requirements.
    pub index: u32,
    /// Schema, if one was written.
    pub schema: Symbol,
    /// Name.
    pub name: Symbol,
    /// What is done to it.
    pub access: Access,
    /// How it is reached.
    pub via: Via,
}

impl Relation {
    fn at(index: u32) -> Relation {
        let (schema, name, access, via) = host::relation_at(index);
        Relation {
            index,
            schema: Symbol(schema),
            name: Symbol(name),
            access: Access::from_bits_retain(access),
            via: Via::from_code(via),
        }
    }

    /// Index of the most specific pattern of `names` that matches.
    pub fn pattern(&self, names: Names) -> Option<usize> {
        let set = names.0?;
        usize::try_from(host::pattern(self.index, set)).ok()
    }

    /// Whether any pattern of `names` matches.
    pub fn is_in(&self, names: Names) -> bool {
        self.pattern(names).is_some()
    }

    /// `schema.table`, or `table` when no schema was written.
    pub fn qualified(&self) -> String {
        if self.schema.is_none() {
            self.name.text()
        } else {
            format!("{}.{}", self.schema.text(), self.name.text())
        }
    }
}
