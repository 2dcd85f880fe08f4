//! What a text proves about the statements in it.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::code::{Access, ColumnUses, Dialect, Effects, Kind, Predicate, Traits, Via};
use super::literal::{Kinds, Literal};

/// One relation a statement names, with what it does to it.
///
/// The same relation appears once per way it is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Relation {
    /// Schema as folded, if one was written.
    pub schema: Option<Arc<str>>,
    /// Name as folded and cut at 63 bytes.
    pub name: Arc<str>,
    /// What is done to it.
    pub access: Access,
    /// How it is reached.
    pub via: Via,
}

impl Relation {
    /// `schema.table`, or `table` when no schema was written.
    pub fn qualified(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.name),
            None => self.name.to_string(),
        }
    }
}

/// A function, or an operator or cast that is written as a call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FunctionUse {
    /// Schema as folded, if one was written.
    pub schema: Option<Arc<str>>,
    /// Name as folded.
    pub name: Arc<str>,
    /// On the list of built-in functions that neither write nor run code.
    pub harmless: bool,
}

/// A setting that the statement changes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Setting {
    /// Folded name, `role` and `session_authorization` included.
    pub name: Arc<str>,
    /// New value where it is a constant; none for DEFAULT and for RESET.
    pub value: Option<Arc<str>>,
    /// SET LOCAL, or set_config with `true`.
    pub local: bool,
}

/// Why a text or a statement could not be fully understood.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Problem {
    /// The tokenizer gave up: refused always, SQLSTATE 42601.
    Untokenizable(String),
    /// The parser does not know this syntax; facts are lexical.
    Unparsable(String),
    /// A token that can start a write is not explained by the tree.
    Unexplained(String),
    /// Nested or long beyond the limits of the analysis.
    TooLarge(String),
    /// Holds a byte sequence the server's encoding does not allow, or NUL.
    Encoding(String),
}

impl Problem {
    /// One line for people.
    pub fn text(&self) -> &str {
        match self {
            Problem::Untokenizable(text)
            | Problem::Unparsable(text)
            | Problem::Unexplained(text)
            | Problem::TooLarge(text)
            | Problem::Encoding(text) => text,
        }
    }
}

/// What a statement does to the transaction it runs in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Control {
    /// BEGIN or START TRANSACTION.
    Begin,
    /// COMMIT or END; true with AND CHAIN.
    Commit(bool),
    /// ROLLBACK or ABORT; true with AND CHAIN.
    Rollback(bool),
    /// SAVEPOINT name.
    Savepoint(Arc<str>),
    /// RELEASE name.
    Release(Arc<str>),
    /// ROLLBACK TO name.
    RollbackTo(Arc<str>),
    /// PREPARE TRANSACTION.
    PrepareTransaction,
    /// COMMIT PREPARED or ROLLBACK PREPARED.
    FinishPrepared,
}

/// A name in the session that the statement defines, uses or forgets.
#[derive(Debug, Clone)]
pub enum Handle {
    /// PREPARE name AS statement.
    Prepare(Arc<str>, Arc<Statement>),
    /// EXECUTE name, also inside EXPLAIN or CREATE TABLE AS.
    Execute(Arc<str>),
    /// DEALLOCATE name; none for ALL.
    Deallocate(Option<Arc<str>>),
    /// DECLARE name CURSOR FOR statement.
    Declare(Arc<str>, Arc<Statement>),
    /// FETCH or MOVE from a cursor; true for FETCH, which returns rows.
    Fetch(Arc<str>, bool),
    /// CLOSE name; none for ALL.
    Close(Option<Arc<str>>),
    /// DISCARD ALL.
    DiscardAll,
}

/// Everything policies may ask about one statement.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Leading verb.
    pub kind: Kind,
    /// What it can do.
    pub effects: Effects,
    /// Yes-or-no facts.
    pub traits: Traits,
    /// Relations, in order of appearance.
    pub relations: Vec<Relation>,
    /// Folded column names, without duplicates. `*` stands for itself.
    pub columns: Vec<Arc<str>>,
    /// What is done with each of them, in the same order. A row as a whole and
    /// columns under other names are uses of `*`.
    pub column_uses: Vec<ColumnUses>,
    /// Functions called, without duplicates.
    pub functions: Vec<FunctionUse>,
    /// Operators used that are not PostgreSQL's own built-in ones.
    pub operators: Vec<Arc<str>>,
    /// Names of types written in casts and definitions that are not built in.
    pub types: Vec<Arc<str>>,
    /// Weakest predicate of all writes in the statement, or of the read.
    pub predicate: Predicate,
    /// LIMIT or FETCH FIRST of the outermost query, where constant.
    pub limit: Option<u64>,
    /// Settings changed.
    pub settings: Vec<Setting>,
    /// Whether constants stand in the text.
    pub has_literals: bool,
    /// Highest parameter number, 0 when there are none.
    pub parameters: u16,
    /// Transaction control.
    pub control: Option<Control>,
    /// Session-level names.
    pub handle: Option<Handle>,
    /// Reasons for which the statement is not fully understood.
    pub problems: Vec<Problem>,
}

impl Facts {
    /// Facts of a statement that does nothing.
    pub fn empty(kind: Kind) -> Facts {
        Facts {
            kind,
            effects: Effects::empty(),
            traits: Traits::empty(),
            relations: Vec::new(),
            columns: Vec::new(),
            column_uses: Vec::new(),
            functions: Vec::new(),
            operators: Vec::new(),
            types: Vec::new(),
            predicate: Predicate::NotApplicable,
            limit: None,
            settings: Vec::new(),
            has_literals: false,
            parameters: 0,
            control: None,
            handle: None,
            problems: Vec::new(),
        }
    }

    /// Whether the statement is not fully understood.
    pub fn is_opaque(&self) -> bool {
        self.traits.contains(Traits::OPAQUE)
    }

    /// What is done with the column of this index; anything, when that is not known.
    pub fn uses_of(&self, column: usize) -> ColumnUses {
        let known = self.column_uses.get(column).copied();
        known.unwrap_or(ColumnUses::all())
    }

    /// Whether it could destroy rows, objects or protection.
    pub fn is_destructive(&self) -> bool {
        self.traits.contains(Traits::DESTRUCTIVE)
    }

    /// Relations that the statement changes (rows or definition), qualified, without duplicates.
    pub fn writes(&self) -> Vec<String> {
        let change = Access::CHANGE | Access::CREATE | Access::ALTER | Access::DROP;
        self.qualified(change)
    }

    /// Relations that the statement reads, qualified, without duplicates.
    pub fn reads(&self) -> Vec<String> {
        self.qualified(Access::SELECT)
    }

    fn qualified(&self, access: Access) -> Vec<String> {
        let mut seen = hashbrown::HashSet::new();
        self.relations
            .iter()
            .filter(|relation| relation.access.intersects(access))
            .filter(|relation| seen.insert((&relation.schema, &relation.name)))
            .map(Relation::qualified)
            .collect()
    }
}

/// The syntax tree as one compact image; `docs/registry.md` lists the node kinds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AstImage {
    /// Version of the node-kind registry.
    pub version: u32,
    /// Nodes of eight words: kind, flags, first child, next sibling, name
    /// (offset into the heap + 1, 0 none), literal index + 1, start, end.
    pub nodes: Vec<u32>,
    /// Strings, each ended by a zero byte.
    pub heap: String,
}

/// What statements that differ only in masked constants have in common.
#[derive(Debug)]
pub struct Class {
    /// Literals as `?`, comments gone, white space folded; equal normalized
    /// text (under one dialect and one lexer state) means equal facts.
    pub normalized: Arc<str>,
    /// Hash of `normalized`; never an identity on its own.
    pub shape: u64,
    /// Grammar it was read by.
    pub dialect: Dialect,
    /// What was found.
    pub facts: Facts,
    /// For each relation that only the catalog knows of ([`Via::Catalog`], in
    /// their order): index of the written relation that leads to it.
    pub origins: Box<[Option<u32>]>,
}

/// One statement of a text, analyzed.
///
/// What it shares with its whole class ([`Class`]) is read straight through it.
#[derive(Debug)]
pub struct Statement {
    /// Text of this statement alone, without the separating semicolon.
    pub text: Arc<str>,
    /// Where it stands in the whole text, in bytes.
    pub span: Range<usize>,
    /// Everything that does not depend on constants.
    pub class: Arc<Class>,
    /// Kinds of its constants.
    pub kinds: Kinds,
    /// Constants in order of appearance; `sql::literals` reads them on first demand.
    pub literals: OnceLock<Arc<[Literal]>>,
    /// Built on first demand, shared by all policies.
    pub ast: OnceLock<Arc<AstImage>>,
}

impl Class {
    /// The class of the same texts where the database knows more relations that
    /// they reach: each with the written relation that leads to it.
    ///
    /// What a text reaches is part of what it is: a verdict must not be
    /// remembered without it, so it becomes part of the normalized text.
    pub fn widened(&self, more: impl IntoIterator<Item = (Relation, Option<u32>)>) -> Class {
        use sha2::Digest;
        use std::fmt::Write;
        use std::hash::{Hash, Hasher};
        let mut facts = self.facts.clone();
        let mut origins = self.origins.to_vec();
        let mut added = String::new();
        for (relation, origin) in more {
            // A control byte cannot stand in a name.
            let _ = write!(
                added,
                "\u{1f}{}:{}:{}",
                relation.qualified(),
                relation.access.bits(),
                origin.map_or(-1, i64::from),
            );
            facts.relations.push(relation);
            origins.push(origin);
        }
        // A thousand partitions must not make the key too long to be remembered.
        let digest = sha2::Sha256::digest(added.as_bytes());
        let mut normalized = format!("{}\u{1f}", self.normalized);
        for byte in digest {
            let _ = write!(normalized, "{byte:02x}");
        }
        let mut hasher = rustc_hash::FxHasher::default();
        normalized.hash(&mut hasher);
        Class {
            shape: hasher.finish(),
            normalized: normalized.into(),
            dialect: self.dialect,
            facts,
            origins: origins.into(),
        }
    }

    /// The relation as the text shows it: itself, or the written one that leads to it.
    pub fn written(&self, index: usize) -> Option<&Relation> {
        let relation = self.facts.relations.get(index)?;
        if relation.via != Via::Catalog {
            return Some(relation);
        }
        let first = self.facts.relations.len() - self.origins.len();
        let origin = self.origins.get(index.checked_sub(first)?).copied()??;
        self.facts.relations.get(origin as usize)
    }
}

impl std::ops::Deref for Statement {
    type Target = Class;

    fn deref(&self) -> &Class {
        &self.class
    }
}

impl Statement {
    /// A statement of this class.
    pub fn new(text: impl Into<Arc<str>>, span: Range<usize>, class: Arc<Class>) -> Statement {
        Statement {
            text: text.into(),
            span,
            class,
            kinds: Kinds::UNKNOWN,
            literals: OnceLock::new(),
            ast: OnceLock::new(),
        }
    }

    /// The same text with another class: what is known about it has grown.
    pub fn reclassed(&self, class: Arc<Class>) -> Statement {
        Statement {
            kinds: self.kinds,
            literals: self.literals.clone(),
            ..Statement::new(self.text.clone(), self.span.clone(), class)
        }
    }
}

/// A whole text: what one Query or Parse message carries.
#[derive(Debug, Clone)]
pub struct Analysis {
    /// The text as received.
    pub text: Arc<str>,
    /// Statements in order; empty for an empty query.
    pub statements: Vec<Arc<Statement>>,
    /// Set when the text as a whole cannot be read; then `statements` holds one
    /// opaque statement and the text must be refused.
    pub problem: Option<Problem>,
}
