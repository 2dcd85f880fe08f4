//! Bytes become tokens exactly as the server's own scanner cuts them.
//!
//! This is the truth for everything else in `sql`: where statements end, what
//! is a string, what is a name. A text that cannot be cut here is refused, as
//! the server would refuse it.
//!
//! Deliberately not here: any grammar.
//!
//! Read [`lex`] first, then `postgres.rs` beside PostgreSQL's `scan.l`.

pub mod keyword;
mod postgres;
mod sqlite;
mod value;

use crate::model::Dialect;

use super::Lexer;
pub use keyword::Kw;
pub use value::{fold_word, name_of, text_of};

/// Longest name in bytes; the server cuts the rest (NAMEDATALEN - 1).
pub const NAME_BYTES_MAX: usize = 63;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tok {
    /// A bare word: keyword or name.
    Word,
    /// A quoted name.
    Quoted,
    /// A string constant of any form.
    String,
    /// A numeric constant.
    Number,
    /// A parameter.
    Param,
    /// An operator.
    Op,
    /// `(`
    LParen,
    /// `)`
    RParen,
    /// `[`
    LBracket,
    /// `]`
    RBracket,
    /// `,`
    Comma,
    /// `;`
    Semicolon,
    /// `.`
    Dot,
    /// `:`
    Colon,
    /// `::`
    Cast,
    /// `:=` and `=>`
    Assign,
    /// `..`
    DotDot,
}

/// How a string or a quoted name is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// `'…'` or `"…"`, a doubled quote stands for one.
    Plain,
    /// `E'…'`, or `'…'` without standard_conforming_strings.
    Escape,
    /// `U&'…'` or `U&"…"`, UESCAPE included in the token.
    Unicode,
    /// `$tag$…$tag$`
    Dollar,
    /// `B'…'` and `X'…'`
    Bits,
    /// `N'…'`
    National,
    /// MySQL's and SQLite's backtick.
    Backtick,
    /// SQLite's `[…]`
    Bracket,
}

/// One token. Its text is the slice of the source between `start` and `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Tok,
    /// How it is written; `Plain` for everything that is neither string nor name.
    pub form: Form,
    /// Which keyword a bare word is.
    pub kw: Kw,
    /// First byte.
    pub start: u32,
    /// Byte behind the last one.
    pub end: u32,
}

impl Token {
    /// The bytes as written.
    pub fn text<'a>(&self, source: &'a str) -> &'a str {
        source
            .get(self.start as usize..self.end as usize)
            .unwrap_or("")
    }

    /// A bare word or a quoted name.
    pub fn is_name(&self) -> bool {
        matches!(self.kind, Tok::Word | Tok::Quoted)
    }
}

/// Why a text cannot be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct LexError {
    /// What is wrong.
    pub what: &'static str,
    /// Where.
    pub at: usize,
}

/// Cuts a text. One pass, no recursion.
pub fn lex(text: &str, lexer: Lexer) -> Result<Vec<Token>, LexError> {
    match lexer.dialect {
        Dialect::Sqlite => sqlite::lex(text),
        Dialect::Postgres | Dialect::Mysql => postgres::lex(text, lexer.standard_strings),
    }
}
