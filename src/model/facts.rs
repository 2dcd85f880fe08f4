//! What a text proves about the statements in it.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::code::{Access, Dialect, Effects, Kind, Predicate, Traits, Via};

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

/// A constant written in the text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Literal {
    /// Bytes of the whole text, quotes included.
    pub span: Range<usize>,
    /// The value without quotes and with escapes resolved; numbers as written.
    pub value: Arc<str>,
    /// True for every kind of string constant.
    pub string: bool,
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
    /// Constants, in order of appearance.
    pub literals: Vec<Literal>,
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
            functions: Vec::new(),
            operators: Vec::new(),
            types: Vec::new(),
            predicate: Predicate::NotApplicable,
            limit: None,
            settings: Vec::new(),
            literals: Vec::new(),
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

/// One statement of a text, analyzed.
#[derive(Debug)]
pub struct Statement {
    /// Text of this statement alone, without the separating semicolon.
    pub text: Arc<str>,
    /// Where it stands in the whole text, in bytes.
    pub span: Range<usize>,
    /// Literals as `?`, comments gone, white space folded; equal normalized
    /// text (under one dialect and one lexer state) means equal facts.
    pub normalized: Arc<str>,
    /// Hash of `normalized`; never an identity on its own.
    pub shape: u64,
    /// Grammar it was read by.
    pub dialect: Dialect,
    /// What was found.
    pub facts: Facts,
    /// Built on first demand, shared by all policies.
    pub ast: OnceLock<Arc<AstImage>>,
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
