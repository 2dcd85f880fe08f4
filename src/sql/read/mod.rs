//! Tokens of one statement become its facts.
//!
//! The reader follows PostgreSQL's grammar where structure matters (statements,
//! clauses, FROM items, CTE scopes, targets of writes) and walks expressions as
//! token runs, in which every bracket that opens a query is read as a query and
//! every name in front of a bracket is a call. So no expression syntax, present
//! or future, can hide a table or make a statement unreadable, and the work is
//! linear in the text. What does not fit the grammar is [`Confused`]; the caller
//! falls back to lexical facts.
//!
//! Deliberately not here: cutting (`lex`), what a refused statement looks like.
//!
//! Read [`Reader::statement`] in `statement.rs` first.

mod body;
mod columns;
mod copy;
mod create;
mod define;
mod expression;
mod from;
mod grant;
mod handles;
mod names;
mod predicate;
mod query;
mod routine;
mod select_parts;
mod session;
mod sqlite;
mod statement;
mod truth;
mod utility;
mod write;

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use crate::model::{
    Access, ColumnUses, Dialect, Effects, Facts, Kind, Predicate, Relation, Traits, Via,
};

use super::Lexer;
use super::lex::{Kw, Tok, Token};

/// Deepest nesting of queries that is read.
const QUERY_DEPTH_MAX: u32 = 100;

/// From this many on, duplicates are found by hash.
const LINEAR_MAX: usize = 24;

/// The statement does not fit the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{expected} expected")]
pub(in crate::sql) struct Confused {
    /// What would have fit.
    pub expected: &'static str,
    /// Token at which reading stopped.
    pub at: usize,
}

pub(in crate::sql) type Read<T> = Result<T, Confused>;

/// A table name as written: folded, with the schema if there was one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sql) struct TableName {
    pub schema: Option<Arc<str>>,
    pub name: Arc<str>,
}

/// What is known about the statements before this one in the same string.
pub(in crate::sql) type Prepared = HashMap<Arc<str>, Arc<crate::model::Statement>>;

/// The state of reading one statement.
pub(in crate::sql) struct Reader<'a> {
    pub source: &'a str,
    pub lexer: Lexer,
    /// Tokens of the whole text.
    pub tokens: &'a [Token],
    /// Partner of every bracket token.
    pub pairs: &'a [u32],
    /// Current token and the end of the current range.
    pub at: usize,
    pub end: usize,
    pub facts: Facts,
    pub via: Via,
    /// Statements prepared earlier in the string.
    pub prepared: &'a Prepared,
    /// Visible CTE names and how many definitions of each are in scope.
    ctes: HashMap<Arc<str>, u32>,
    relation_index: HashMap<(Option<Arc<str>>, Arc<str>, Via), usize>,
    column_index: HashMap<Arc<str>, usize>,
    /// What is done with the columns that are read now.
    pub uses: ColumnUses,
    /// Names under which tables stand in FROM and as targets: a column of that name is a whole row.
    row_names: HashSet<Arc<str>>,
    function_index: HashSet<(Option<Arc<str>>, Arc<str>)>,
    /// Tokens that can start a write and are accounted for.
    pub explained: HashSet<usize>,
    depth: u32,
    write_predicate: Option<Predicate>,
    read_predicate: Option<Predicate>,
    /// Depth of the outermost query, whose LIMIT and WHERE are the statement's own.
    outer_depth: u32,
    /// FOR UPDATE or FOR SHARE was written.
    locks_reads: bool,
}

impl<'a> Reader<'a> {
    pub fn new(
        source: &'a str,
        lexer: Lexer,
        tokens: &'a [Token],
        pairs: &'a [u32],
        prepared: &'a Prepared,
        range: std::ops::Range<usize>,
    ) -> Self {
        Reader {
            source,
            lexer,
            tokens,
            pairs,
            at: range.start,
            end: range.end,
            facts: Facts::empty(Kind::Other),
            via: Via::Direct,
            prepared,
            ctes: HashMap::new(),
            relation_index: HashMap::new(),
            column_index: HashMap::new(),
            uses: ColumnUses::VALUE,
            row_names: HashSet::new(),
            function_index: HashSet::new(),
            explained: HashSet::new(),
            depth: 0,
            write_predicate: None,
            read_predicate: None,
            outer_depth: 1,
            locks_reads: false,
        }
    }

    pub fn sqlite(&self) -> bool {
        self.lexer.dialect == Dialect::Sqlite
    }

    // ---- tokens -------------------------------------------------------

    pub fn token(&self, ahead: usize) -> Option<&'a Token> {
        let index = self.at + ahead;
        if index < self.end {
            self.tokens.get(index)
        } else {
            None
        }
    }

    /// Keyword of the bare word `ahead` tokens from here.
    pub fn kw(&self, ahead: usize) -> Kw {
        self.token(ahead).map_or(Kw::None, |token| token.kw)
    }

    pub fn kind(&self, ahead: usize) -> Option<Tok> {
        self.token(ahead).map(|token| token.kind)
    }

    pub fn text(&self, index: usize) -> &'a str {
        self.tokens
            .get(index)
            .map_or("", |token| token.text(self.source))
    }

    /// Keyword of token `index`, wherever the current range ends.
    pub fn kw_at(&self, index: usize) -> Kw {
        self.tokens.get(index).map_or(Kw::None, |token| token.kw)
    }

    /// Kind of token `index`; behind the last one a semicolon.
    pub fn kind_at(&self, index: usize) -> Tok {
        self.tokens
            .get(index)
            .map_or(Tok::Semicolon, |token| token.kind)
    }

    /// Whether token `index` is a bare word or a quoted name.
    pub fn name_at(&self, index: usize) -> bool {
        self.tokens.get(index).is_some_and(Token::is_name)
    }

    pub fn is_op(&self, ahead: usize, text: &str) -> bool {
        self.token(ahead)
            .is_some_and(|token| token.kind == Tok::Op && token.text(self.source) == text)
    }

    /// Any bare word, without case; for words that are no keywords of ours.
    pub fn is_word(&self, ahead: usize, word: &str) -> bool {
        self.token(ahead)
            .is_some_and(|t| t.kind == Tok::Word && t.text(self.source).eq_ignore_ascii_case(word))
    }

    pub fn done(&self) -> bool {
        self.at >= self.end
    }

    pub fn accept(&mut self, kw: Kw) -> bool {
        let found = self.kw(0) == kw;
        if found {
            self.at += 1;
        }
        found
    }

    pub fn accept_all(&mut self, words: &[Kw]) -> bool {
        let found = words
            .iter()
            .enumerate()
            .all(|(ahead, kw)| self.kw(ahead) == *kw);
        if found {
            self.at += words.len();
        }
        found
    }

    pub fn accept_kind(&mut self, kind: Tok) -> bool {
        let found = self.kind(0) == Some(kind);
        if found {
            self.at += 1;
        }
        found
    }

    pub fn expect(&mut self, kw: Kw, expected: &'static str) -> Read<()> {
        if self.accept(kw) {
            Ok(())
        } else {
            self.confused(expected)
        }
    }

    pub fn confused<T>(&self, expected: &'static str) -> Read<T> {
        Err(Confused {
            expected,
            at: self.at,
        })
    }

    pub fn expect_done(&self) -> Read<()> {
        if self.done() {
            Ok(())
        } else {
            self.confused("end of statement")
        }
    }

    /// Index of the bracket that closes the one at `index`.
    pub fn partner(&self, index: usize) -> usize {
        self.pairs
            .get(index)
            .map_or(self.end, |pair| *pair as usize)
    }

    /// Steps over the bracket group that starts here; its inner range.
    pub fn group(&mut self) -> Read<(usize, usize)> {
        match self.kind(0) {
            Some(Tok::LParen | Tok::LBracket) => {
                let range = (self.at + 1, self.partner(self.at));
                self.at = range.1 + 1;
                Ok(range)
            }
            _ => self.confused("an opening bracket"),
        }
    }

    /// Reads the range with `read`, then goes on where it was.
    pub fn within<T>(
        &mut self,
        range: (usize, usize),
        read: impl FnOnce(&mut Self) -> Read<T>,
    ) -> Read<T> {
        let saved = (self.at, self.end);
        (self.at, self.end) = range;
        let result = read(self);
        (self.at, self.end) = saved;
        result
    }

    /// Tokens up to the end of the current range.
    pub fn remaining(&self) -> &'a [Token] {
        self.tokens
            .get(self.at.min(self.end)..self.end)
            .unwrap_or(&[])
    }

    pub fn rest(&mut self) {
        self.at = self.end;
    }

    pub fn explain(&mut self, index: usize) {
        self.explained.insert(index);
    }

    pub fn deeper(&mut self) -> Read<()> {
        self.depth += 1;
        if self.depth > QUERY_DEPTH_MAX {
            self.confused("fewer nested queries")
        } else {
            Ok(())
        }
    }

    pub fn shallower(&mut self) {
        self.depth -= 1;
    }

    // ---- facts --------------------------------------------------------

    pub fn effect(&mut self, effects: Effects) {
        self.facts.effects |= effects;
    }

    pub fn mark(&mut self, traits: Traits) {
        self.facts.traits |= traits;
    }

    /// Adds an access to a relation under the way it is reached now.
    pub fn touch(&mut self, table: &TableName, access: Access) -> usize {
        let via = self.via;
        let key = (table.schema.clone(), table.name.clone(), via);
        if let Some(index) = self.relation_index.get(&key) {
            self.facts.relations[*index].access |= access;
            return *index;
        }
        let index = self.facts.relations.len();
        self.facts.relations.push(Relation {
            schema: table.schema.clone(),
            name: table.name.clone(),
            access,
            via,
        });
        self.relation_index.insert(key, index);
        index
    }

    /// The weakest predicate of all writes counts.
    pub fn write_predicate(&mut self, predicate: Predicate) {
        self.write_predicate = Some(
            self.write_predicate
                .map_or(predicate, |known| known.min(predicate)),
        );
    }

    pub fn is_cte(&self, table: &TableName) -> bool {
        table.schema.is_none() && !self.ctes.is_empty() && self.ctes.contains_key(&table.name)
    }

    pub fn define_cte(&mut self, name: &Arc<str>) {
        *self.ctes.entry(name.clone()).or_insert(0) += 1;
    }

    pub fn forget_ctes(&mut self, names: &[Arc<str>]) {
        for name in names {
            if let Some(count) = self.ctes.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.ctes.remove(name);
                }
            }
        }
    }

    /// Runs `read` with no CTE in scope: a nested statement starts anew.
    pub fn merge_nested(&mut self, nested: &Facts, via: Via) {
        for relation in &nested.relations {
            let saved = self.via;
            self.via = if via == Via::Direct {
                relation.via
            } else {
                via
            };
            let name = TableName {
                schema: relation.schema.clone(),
                name: relation.name.clone(),
            };
            self.touch(&name, relation.access);
            self.via = saved;
        }
        for (column, uses) in nested.columns.iter().zip(&nested.column_uses) {
            let saved = std::mem::replace(&mut self.uses, *uses);
            self.column(column.clone());
            self.uses = saved;
        }
        for function in &nested.functions {
            self.note_function(function.clone());
        }
        self.effect(nested.effects);
        let kept = Traits::DESTRUCTIVE
            | Traits::CALLS_FUNCTIONS
            | Traits::LOCKS
            | Traits::CASCADE
            | Traits::OPAQUE
            | Traits::UNEXPLAINED_WRITE;
        self.mark(nested.traits & kept);
        self.facts
            .operators
            .extend(nested.operators.iter().cloned());
        self.facts.types.extend(nested.types.iter().cloned());
        self.facts.settings.extend(nested.settings.iter().cloned());
        self.facts.problems.extend(nested.problems.iter().cloned());
        self.facts.predicate = nested.predicate;
    }

    pub fn note_function(&mut self, function: crate::model::FunctionUse) {
        let functions = &mut self.facts.functions;
        if functions.len() < LINEAR_MAX {
            if !functions.contains(&function) {
                functions.push(function);
            }
            return;
        }
        if self.function_index.is_empty() {
            self.function_index
                .extend(functions.iter().map(|f| (f.schema.clone(), f.name.clone())));
        }
        if self
            .function_index
            .insert((function.schema.clone(), function.name.clone()))
        {
            functions.push(function);
        }
    }
}
