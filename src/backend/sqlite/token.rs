//! Tokens of one statement, as far as translation needs them.
//!
//! The lexer is PostgreSQL's and SQLite's common ground. Where the two read
//! the same bytes differently (nested comments, comments that never end), the
//! text is not guessed at but given up: see [`Unreadable`].

use std::borrow::Cow;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Unquoted word: keyword or identifier.
    Word,
    /// `"identifier"`, quotes included.
    Quoted,
    /// String constant in standard form, quotes included.
    Text,
    /// `x'..'`.
    Blob,
    /// Number.
    Number,
    /// `$n`.
    Parameter,
    /// Operator, as long as it goes.
    Operator,
    /// One of `( ) [ ] , ; .`.
    Punctuation,
}

/// One token; white space and comments lie between tokens and are not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token<'a> {
    /// Kind.
    pub kind: TokenKind,
    /// As written; string constants of other forms are already in standard form.
    pub text: Cow<'a, str>,
    /// Something lay between this token and the one before.
    pub spaced: bool,
    /// Byte where it starts in the text.
    pub start: usize,
}

impl<'a> Token<'a> {
    /// A token that the translation adds.
    pub fn new(kind: TokenKind, text: impl Into<Cow<'a, str>>) -> Token<'a> {
        Token {
            kind,
            text: text.into(),
            spaced: true,
            start: 0,
        }
    }

    /// A word that the translation adds.
    pub fn word(text: impl Into<Cow<'a, str>>) -> Token<'a> {
        Token::new(TokenKind::Word, text)
    }

    /// Whether it is this keyword, in any case.
    pub fn is(&self, word: &str) -> bool {
        self.kind == TokenKind::Word && self.text.eq_ignore_ascii_case(word)
    }

    /// Whether it is one of these keywords.
    pub fn is_any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(word))
    }

    /// Whether it is this operator or punctuation.
    pub fn is_sign(&self, sign: &str) -> bool {
        matches!(self.kind, TokenKind::Operator | TokenKind::Punctuation) && self.text == sign
    }

    /// The name it stands for, if it can be an identifier: folded when unquoted.
    pub fn name(&self) -> Option<String> {
        match self.kind {
            TokenKind::Word => Some(self.text.to_ascii_lowercase()),
            TokenKind::Quoted => Some(unquote(&self.text, '"')),
            _ => None,
        }
    }

    /// The value of a string constant.
    pub fn string(&self) -> Option<String> {
        (self.kind == TokenKind::Text).then(|| unquote(&self.text, '\''))
    }
}

/// The text cannot be read in one way only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub &'static str);

fn unquote(text: &str, quote: char) -> String {
    let inner = text
        .strip_prefix(quote)
        .and_then(|t| t.strip_suffix(quote))
        .unwrap_or(text);
    inner.replace(&format!("{quote}{quote}"), &quote.to_string())
}

/// A string constant in standard form.
pub fn quote_text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// An identifier in quotes.
pub fn quote_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Splits a text into tokens.
pub fn tokens(text: &str) -> Result<Vec<Token<'_>>, Unreadable> {
    let mut scanner = Scanner {
        text,
        bytes: text.as_bytes(),
        at: 0,
    };
    let mut found = Vec::with_capacity(text.len() / 5);
    loop {
        let spaced = scanner.skip_space()?;
        if scanner.at >= text.len() {
            return Ok(found);
        }
        let start = scanner.at;
        let (kind, text) = scanner.next()?;
        found.push(Token {
            kind,
            text,
            spaced,
            start,
        });
    }
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip_space(&mut self) -> Result<bool, Unreadable> {
        let start = self.at;
        loop {
            match (self.peek(0), self.peek(1)) {
                (b' ' | b'\t' | b'\n' | b'\r' | 0x0c, _) => self.at += 1,
                (b'-', b'-') => {
                    let rest = &self.bytes[self.at..];
                    self.at += memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                }
                (b'/', b'*') => self.skip_comment()?,
                _ => return Ok(self.at > start),
            }
        }
    }

    /// PostgreSQL nests comments, SQLite ends one at the first `*/` and accepts
    /// one that never ends: both differences can hide a statement.
    fn skip_comment(&mut self) -> Result<(), Unreadable> {
        let inner = &self.text[self.at + 2..];
        let end = inner
            .find("*/")
            .ok_or(Unreadable("unterminated /* comment"))?;
        if inner[..end].contains("/*") {
            return Err(Unreadable("comments inside comments are not supported"));
        }
        self.at += end + 4;
        Ok(())
    }

    fn next(&mut self) -> Result<(TokenKind, Cow<'a, str>), Unreadable> {
        let first = self.peek(0);
        match first {
            b'\'' => self.quoted(b'\'', TokenKind::Text),
            b'"' => self.quoted(b'"', TokenKind::Quoted),
            b'`' => Err(Unreadable(
                "identifiers in back-quotes are not supported, use double quotes",
            )),
            b'e' | b'E' if self.peek(1) == b'\'' => self.escaped(),
            b'x' | b'X' if self.peek(1) == b'\'' => {
                let start = self.at;
                self.at += 1;
                self.quoted(b'\'', TokenKind::Blob)?;
                Ok((TokenKind::Blob, Cow::Borrowed(&self.text[start..self.at])))
            }
            b'$' if self.peek(1).is_ascii_digit() => {
                Ok(self.take(TokenKind::Parameter, 1, |b| b.is_ascii_digit()))
            }
            b'$' => self.dollar(),
            b'0'..=b'9' => Ok(self.number()),
            b'.' if self.peek(1).is_ascii_digit() => Ok(self.number()),
            b'(' | b')' | b'[' | b']' | b',' | b';' | b'.' | b'{' | b'}' => {
                Ok(self.take(TokenKind::Punctuation, 1, |_| false))
            }
            b if is_word_start(b) => Ok(self.take(TokenKind::Word, 1, is_word)),
            b if is_operator(b) => Ok(self.operator()),
            _ => Err(Unreadable("unrecognized character")),
        }
    }

    fn take(
        &mut self,
        kind: TokenKind,
        skip: usize,
        more: fn(u8) -> bool,
    ) -> (TokenKind, Cow<'a, str>) {
        let start = self.at;
        self.at += skip;
        while self.at < self.bytes.len() && more(self.bytes[self.at]) {
            self.at += 1;
        }
        (kind, Cow::Borrowed(&self.text[start..self.at]))
    }

    fn quoted(
        &mut self,
        quote: u8,
        kind: TokenKind,
    ) -> Result<(TokenKind, Cow<'a, str>), Unreadable> {
        let start = self.at;
        self.at += 1;
        loop {
            let rest = &self.bytes[self.at.min(self.bytes.len())..];
            let end =
                memchr::memchr(quote, rest).ok_or(Unreadable("unterminated quoted string"))?;
            self.at += end + 1;
            if self.peek(0) != quote {
                return Ok((kind, Cow::Borrowed(&self.text[start..self.at])));
            }
            self.at += 1;
        }
    }

    /// `E'...'` with backslash escapes, into standard form.
    fn escaped(&mut self) -> Result<(TokenKind, Cow<'a, str>), Unreadable> {
        self.at += 2;
        let mut value = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(next) = rest.chars().next() else {
                return Err(Unreadable("unterminated quoted string"));
            };
            self.at += next.len_utf8();
            match next {
                '\'' if self.peek(0) == b'\'' => {
                    self.at += 1;
                    value.push('\'');
                }
                '\'' => return Ok((TokenKind::Text, Cow::Owned(quote_text(&value)))),
                '\\' => self.escape(&mut value)?,
                other => value.push(other),
            }
        }
    }

    fn escape(&mut self, value: &mut String) -> Result<(), Unreadable> {
        let Some(next) = self.text[self.at..].chars().next() else {
            return Err(Unreadable("unterminated quoted string"));
        };
        self.at += next.len_utf8();
        match next {
            'n' => value.push('\n'),
            't' => value.push('\t'),
            'r' => value.push('\r'),
            'b' => value.push('\u{8}'),
            'f' => value.push('\u{c}'),
            'x' | 'u' | 'U' | '0'..='9' => {
                return Err(Unreadable(
                    "numeric escapes in E'' strings are not supported",
                ));
            }
            other => value.push(other),
        }
        Ok(())
    }

    /// `$tag$ ... $tag$`, into standard form.
    fn dollar(&mut self) -> Result<(TokenKind, Cow<'a, str>), Unreadable> {
        let rest = &self.text[self.at..];
        let tag_end = rest[1..]
            .find('$')
            .ok_or(Unreadable("unrecognized character"))?
            + 2;
        let tag = &rest[..tag_end];
        if !tag[1..tag_end - 1].bytes().all(is_word) {
            return Err(Unreadable("unrecognized character"));
        }
        let body = &rest[tag_end..];
        let end = body
            .find(tag)
            .ok_or(Unreadable("unterminated dollar-quoted string"))?;
        self.at += tag_end + end + tag_end;
        Ok((TokenKind::Text, Cow::Owned(quote_text(&body[..end]))))
    }

    fn number(&mut self) -> (TokenKind, Cow<'a, str>) {
        let start = self.at;
        let digits = |s: &mut Self| {
            while s.peek(0).is_ascii_digit() {
                s.at += 1;
            }
        };
        if self.peek(0) == b'0' && matches!(self.peek(1), b'x' | b'X') {
            return self.take(TokenKind::Number, 2, |b| b.is_ascii_hexdigit());
        }
        digits(self);
        if self.peek(0) == b'.' && self.peek(1) != b'.' {
            self.at += 1;
            digits(self);
        }
        let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
        if matches!(self.peek(0), b'e' | b'E') && self.peek(1 + sign).is_ascii_digit() {
            self.at += 1 + sign;
            digits(self);
        }
        (TokenKind::Number, Cow::Borrowed(&self.text[start..self.at]))
    }

    /// The longest run of operator characters that does not start a comment.
    fn operator(&mut self) -> (TokenKind, Cow<'a, str>) {
        let start = self.at;
        while self.at < self.bytes.len() && is_operator(self.bytes[self.at]) {
            let comment = matches!((self.peek(0), self.peek(1)), (b'-', b'-') | (b'/', b'*'));
            // `a=-1` and `a*-1`: a sign after an operator is its own token.
            let sign = self.at > start
                && matches!(self.peek(0), b'-' | b'+')
                && self.bytes[self.at - 1] != b'-';
            if self.at > start && (comment || sign) {
                break;
            }
            self.at += 1;
            if matches!(&self.text[start..self.at], "->" | "#>") && self.peek(0) != b'>' {
                break;
            }
        }
        (
            TokenKind::Operator,
            Cow::Borrowed(&self.text[start..self.at]),
        )
    }
}

fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_word(byte: u8) -> bool {
    is_word_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

fn is_operator(byte: u8) -> bool {
    b"+-*/<>=~!@#%^&|?:".contains(&byte)
}

/// Puts tokens together again.
pub fn join(tokens: &[Token<'_>]) -> String {
    let mut text = String::with_capacity(tokens.iter().map(|t| t.text.len() + 1).sum());
    let mut last: Option<&Token<'_>> = None;
    for token in tokens {
        let touching = last.is_some_and(|l| {
            // Two tokens must never melt into one.
            !matches!(l.kind, TokenKind::Punctuation)
                && !matches!(token.kind, TokenKind::Punctuation)
        });
        if !text.is_empty() && (token.spaced || touching) {
            text.push(' ');
        }
        text.push_str(&token.text);
        last = Some(token);
    }
    text
}

/// Index of the bracket that closes the one at `open`.
pub fn closing(tokens: &[Token<'_>], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        if token.is_sign("(") || token.is_sign("[") {
            depth += 1;
        } else if token.is_sign(")") || token.is_sign("]") {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                return Some(index);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        tokens(text)
            .unwrap()
            .into_iter()
            .map(|t| t.text.into_owned())
            .collect()
    }

    #[test]
    fn splits_common_statements() {
        let cases: &[(&str, &[&str])] = &[
            (
                "select a.b, $1::int",
                &["select", "a", ".", "b", ",", "$1", "::", "int"],
            ),
            ("a=-1", &["a", "=", "-", "1"]),
            ("x->>'k'", &["x", "->>", "'k'"]),
            ("1.5e3 .5", &["1.5e3", ".5"]),
            ("'it''s' -- end\n/* c */ \"Q\"", &["'it''s'", "\"Q\""]),
            (r"E'a\'b\n'", &["'a''b\n'"]),
            ("$x$it's$x$", &["'it''s'"]),
            ("a !~* b", &["a", "!~*", "b"]),
        ];
        for (text, expected) in cases {
            assert_eq!(texts(text), *expected, "{text}");
        }
    }

    #[test]
    fn gives_up_where_two_readings_exist() {
        for text in [
            "/* /* */ delete from t */",
            "select 1 /* open",
            "'open",
            "\"open",
            "$x$ open",
            "`a`",
        ] {
            assert!(tokens(text).is_err(), "{text}");
        }
    }

    #[test]
    fn joining_keeps_tokens_apart() {
        let text = "SELECT - -1, a/**/b, count(*) FROM t WHERE x= -1";
        let first = texts(text);
        let joined = join(&tokens(text).unwrap());
        assert_eq!(texts(&joined), first);
        assert!(!joined.contains("--"));
    }
}
