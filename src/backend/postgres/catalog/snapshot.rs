//! One reading of the catalog: plain data with the look-ups that names need.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock};

use crate::model::Access;

use super::body::BodyReach;
use super::matching::Matched;

/// Object identifier of the server.
pub type Oid = u32;

/// What kind of relation it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RelationKind {
    /// An ordinary table.
    Table,
    /// A partitioned table: holds no rows itself.
    Partitioned,
    /// A foreign table: its rows are elsewhere and the server does not count them.
    Foreign,
    /// A view.
    View,
    /// A materialized view.
    Materialized,
    /// A sequence.
    Sequence,
}

impl RelationKind {
    /// From `pg_class.relkind`; none for indexes, composite types and the like.
    pub fn from_relkind(relkind: u8) -> Option<RelationKind> {
        Some(match relkind {
            b'r' => RelationKind::Table,
            b'p' => RelationKind::Partitioned,
            b'f' => RelationKind::Foreign,
            b'v' => RelationKind::View,
            b'm' => RelationKind::Materialized,
            b'S' => RelationKind::Sequence,
            _ => return None,
        })
    }

    /// Whether rows can be changed in it by name and belong to it (views and kin excluded).
    pub fn is_table(self) -> bool {
        matches!(
            self,
            RelationKind::Table | RelationKind::Partitioned | RelationKind::Foreign
        )
    }
}

/// A user trigger that is not disabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// Name, for messages.
    pub name: Arc<str>,
    /// Functions it runs: its own and those of its WHEN condition.
    pub functions: Vec<Oid>,
    /// Events it fires on.
    pub events: Access,
    /// A constraint trigger that can be put off until COMMIT.
    pub deferrable: bool,
}

/// A foreign key of another table that points here and writes there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cascade {
    /// The table that is changed.
    pub table: Oid,
    /// What a DELETE here does there; empty for NO ACTION and RESTRICT.
    pub on_delete: Access,
    /// What an UPDATE here does there.
    pub on_update: Access,
}

/// A unique index over plain columns, without a predicate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UniqueIndex {
    /// Name of the index.
    pub name: Arc<str>,
    /// Its columns, in order.
    pub columns: Vec<Arc<str>>,
}

/// A user relation.
#[derive(Debug, Clone, PartialEq)]
pub struct Relation {
    /// Identity.
    pub oid: Oid,
    /// Schema.
    pub schema: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// Kind.
    pub kind: RelationKind,
    /// Direct partitions and inheriting tables.
    pub children: Vec<Oid>,
    /// Tables it is a partition of or inherits from.
    pub parents: Vec<Oid>,
    /// Enabled user triggers.
    pub triggers: Vec<Trigger>,
    /// Has rewrite rules other than a view's own.
    pub rules: bool,
    /// Relations that its rules name, a view's own included.
    pub rule_relations: Vec<Oid>,
    /// Functions that its rules call, a view's own included.
    pub rule_functions: Vec<Oid>,
    /// Functions that run when a row changes: defaults, generated columns, checks, indexes.
    pub change_functions: Vec<Oid>,
    /// Functions that indexes and statistics compute with: they run on maintenance, too.
    pub index_functions: Vec<Oid>,
    /// Functions of row security policies and of virtual columns: they run when a row is read.
    pub read_functions: Vec<Oid>,
    /// Relations that row security policies look at.
    pub policy_relations: Vec<Oid>,
    /// A rule, default, check or policy calls a built-in function that runs SQL text.
    pub runs_text: bool,
    /// One of them calls a built-in function that changes the session's state.
    pub leaves_traces: bool,
    /// Foreign keys of other tables that point here.
    pub cascades: Vec<Cascade>,
    /// Estimated rows; none when never analyzed.
    pub rows: Option<f64>,
    /// Unique indexes over plain columns.
    pub unique: Vec<UniqueIndex>,
}

impl Relation {
    /// Name in messages: the schema is left out when it is `public`.
    pub fn label(&self) -> Arc<str> {
        if &*self.schema == "public" {
            Arc::clone(&self.name)
        } else {
            format!("{}.{}", self.schema, self.name).into()
        }
    }
}

/// A user-defined function, procedure or aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Identity.
    pub oid: Oid,
    /// Schema.
    pub schema: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// Language.
    pub language: Arc<str>,
    /// An aggregate: does what the functions it is made of do.
    pub aggregate: bool,
    /// Extension that owns it.
    pub extension: Option<Arc<str>>,
    /// Body: the source, or the definition of a SQL-standard body.
    pub body: Arc<str>,
    /// Functions the catalog says it depends on.
    pub functions: Vec<Oid>,
    /// Relations the catalog says it depends on.
    pub relations: Vec<Oid>,
    /// Can be called with one row as its only argument, so also as `row.function`.
    pub attribute: bool,
    /// The default of an argument, or a part of an aggregate, runs SQL text.
    pub(super) runs_text: bool,
    /// It changes what stays in the session.
    pub(super) leaves_traces: bool,
    /// What the body can do: called by name, and called implicitly. Worked out once.
    pub(super) found: [OnceLock<BodyReach>; 2],
}

/// A list of patterns, and what it matches.
pub(super) type KnownMatches = (Arc<[Arc<str>]>, Arc<[Matched]>);

/// What the server knows, read at one moment.
///
/// Temporary objects are not in it: they belong to one session.
#[derive(Debug, Default)]
pub struct CatalogSnapshot {
    /// Number of this reading; grows by one with every change that was seen.
    pub(super) epoch: u64,
    /// Moves with the statistics that the planner uses, and with `epoch`.
    pub(super) plan_epoch: u64,
    /// Version of the server, as in `server_version_num`.
    pub(super) server_version: u32,
    pub(super) relations: HashMap<Oid, Relation>,
    pub(super) relation_names: HashMap<Arc<str>, Vec<Oid>>,
    /// Names of the relations of pg_catalog and of information_schema.
    pub(super) system_names: HashSet<Arc<str>>,
    pub(super) functions: HashMap<Oid, Function>,
    pub(super) function_names: HashMap<Arc<str>, Vec<Oid>>,
    /// Functions that run without being named: by operators, casts, types, domains, operator classes.
    pub(super) ambient: Vec<Oid>,
    /// A domain's check, an operator or a cast runs SQL text.
    pub(super) ambient_text: bool,
    /// An operator or a cast changes what stays in the session.
    pub(super) ambient_traces: bool,
    /// Functions of event triggers.
    pub(super) event_functions: Vec<Oid>,
    pub(super) matched: Mutex<Vec<KnownMatches>>,
}

impl CatalogSnapshot {
    /// Number of this reading: equal numbers mean equal content.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Like [`CatalogSnapshot::epoch`], and moves with the planner's statistics too.
    pub fn plan_epoch(&self) -> u64 {
        self.plan_epoch
    }

    /// `server_version_num`.
    pub fn server_version(&self) -> u32 {
        self.server_version
    }

    /// A relation by its identity.
    pub fn relation(&self, oid: Oid) -> Option<&Relation> {
        self.relations.get(&oid)
    }

    /// All user relations, in no order.
    pub fn relations(&self) -> impl Iterator<Item = &Relation> {
        self.relations.values()
    }

    /// A user-defined function by its identity.
    pub fn function(&self, oid: Oid) -> Option<&Function> {
        self.functions.get(&oid)
    }

    /// Columns of a unique index, given the names that a plan shows.
    ///
    /// None when a table of that name is a partition or inherits: with another
    /// value the same statement may read another one.
    pub fn unique_columns(&self, table: &str, index: &str) -> Option<Vec<Arc<str>>> {
        let tables = self.relation_names.get(table)?;
        let mut found: Option<&[Arc<str>]> = None;
        for relation in tables.iter().filter_map(|oid| self.relations.get(oid)) {
            let unique = relation
                .unique
                .iter()
                .find(|unique| &*unique.name == index)?;
            let alone = relation.parents.is_empty() && relation.children.is_empty();
            if !alone || found.is_some_and(|known| known != unique.columns) {
                return None;
            }
            found = Some(&unique.columns);
        }
        found.map(<[Arc<str>]>::to_vec)
    }

    /// Estimated rows of the largest table of that name.
    pub fn table_rows(&self, schema: Option<&str>, table: &str) -> Option<f64> {
        let tables = self
            .relation_names
            .get(table)?
            .iter()
            .filter_map(|oid| self.relations.get(oid));
        let in_schema =
            tables.filter(|relation| schema.is_none_or(|schema| schema == &*relation.schema));
        in_schema
            .filter_map(|relation| relation.rows)
            .max_by(f64::total_cmp)
    }

    /// The table and everything below it that holds its rows, itself first.
    pub fn tree(&self, oid: Oid) -> Vec<Oid> {
        let mut tree = vec![oid];
        let mut next = 0;
        while let Some(relation) = tree.get(next).and_then(|oid| self.relations.get(oid)) {
            next += 1;
            for child in &relation.children {
                if !tree.contains(child) {
                    tree.push(*child);
                }
            }
        }
        tree
    }

    /// User relations an unqualified or qualified name can mean.
    pub(super) fn named<'a>(
        &'a self,
        schema: Option<&'a str>,
        name: &str,
        path: Option<&'a [Arc<str>]>,
        role: &'a str,
    ) -> impl Iterator<Item = &'a Relation> {
        let candidates = self.relation_names.get(name).map_or(&[][..], Vec::as_slice);
        candidates
            .iter()
            .filter_map(|oid| self.relations.get(oid))
            .filter(move |relation| in_scope(&relation.schema, schema, path, role))
    }

    /// User functions an unqualified or qualified name can mean, all overloads.
    pub(super) fn functions_named<'a>(
        &'a self,
        schema: Option<&'a str>,
        name: &str,
        path: Option<&'a [Arc<str>]>,
        role: &'a str,
    ) -> impl Iterator<Item = &'a Function> {
        let candidates = self.function_names.get(name).map_or(&[][..], Vec::as_slice);
        candidates
            .iter()
            .filter_map(|oid| self.functions.get(oid))
            .filter(move |function| in_scope(&function.schema, schema, path, role))
    }
}

/// Whether a name in `found` can be meant by what was written.
///
/// Not the first schema of the path but all of them: the server skips schemas
/// that the role may not use, and the gate does not know about rights.
fn in_scope(found: &str, written: Option<&str>, path: Option<&[Arc<str>]>, role: &str) -> bool {
    match (written, path) {
        (Some(written), _) => written == found,
        (None, None) => true,
        (None, Some(path)) => path.iter().any(|entry| match &**entry {
            "$user" => role == found,
            entry => entry == found,
        }),
    }
}
