//! Text becomes facts. The only folder that names sqlparser.
//!
//! A text is cut into tokens exactly as the server cuts it (`lex`), into
//! statements (`split`), and every statement is read along the server's grammar
//! (`read`). What cannot be read keeps lexical facts (`lexical`) and is marked
//! opaque; what was read is checked a second time, token by token, for words
//! that could start a write and are not accounted for.
//!
//! Deliberately not here: decisions, names resolved against a catalog.
//!
//! Read [`analyze`] first, then `assemble.rs`.

mod assemble;
pub mod ast;
mod builtin;
mod bytes;
mod comments;
mod explain;
mod known;
pub mod lex;
mod lexical;
mod normalize;
mod read;
mod settings;
pub mod shape;
mod split;

pub use assemble::{execute_values, handle_span, literals};
pub use ast::{AST_KINDS, AST_VERSION, ast_image};
pub use comments::is_spliced;
pub use explain::explain_json;
pub use known::Analyses;

use crate::model::{Analysis, Dialect};

/// What the server's lexer would do with a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lexer {
    /// Grammar.
    pub dialect: Dialect,
    /// standard_conforming_strings.
    pub standard_strings: bool,
    /// Longest text in bytes that is read; longer ones are `Problem::TooLarge`.
    pub text_bytes_max: usize,
}

impl Lexer {
    /// PostgreSQL with its default settings.
    pub const POSTGRES: Lexer = Lexer {
        dialect: Dialect::Postgres,
        standard_strings: true,
        text_bytes_max: 1 << 20,
    };
    /// SQLite.
    pub const SQLITE: Lexer = Lexer {
        dialect: Dialect::Sqlite,
        standard_strings: true,
        text_bytes_max: 1 << 20,
    };
}

/// Reads a text. Never fails and never panics: what is not understood is a fact.
pub fn analyze(text: &str, lexer: Lexer) -> Analysis {
    assemble::analyze(text, lexer)
}

#[cfg(test)]
mod tests;
