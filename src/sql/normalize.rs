//! The text that stands for a whole class of statements.
//!
//! Equal normalized text means equal facts, literal values and spans excepted.
//! So a constant becomes a placeholder only where it cannot change a fact: when
//! it is compared with a column, or is a plain element of a row or an IN list.
//! In doubt it stays.

use std::ops::Range;

use crate::model::{Facts, Kind};

use super::assemble::Text;
use super::lex::{Kw, Tok, Token};

/// Placeholder of a number; an operator's own question marks are doubled.
pub(super) const NUMBER: &str = "?";
/// Placeholder of a string.
pub(super) const STRING: &str = "'?'";

/// The normalized text of one statement.
pub(super) fn normalize(text: &Text<'_>, range: Range<usize>, facts: &Facts) -> String {
    let tokens = text.tokens.get(range.clone()).unwrap_or(&[]);
    let masks = masks(facts) && !facts.is_opaque();
    let size = tokens.last().map_or(0, |t| t.end) - tokens.first().map_or(0, |t| t.start);
    let mut out = String::with_capacity(size as usize + 8);
    let mut list = ListTracker::default();
    for (at, token) in tokens.iter().enumerate() {
        list.step(tokens, at);
        if at > 0 && spaced(&tokens[at - 1], token) {
            out.push(' ');
        }
        let masked = masks && (compared(tokens, at, text.source) || list.is_element(tokens, at));
        push(&mut out, text.source, token, masked);
    }
    out
}

/// Only in these a constant next to `=` is compared or assigned.
fn masks(facts: &Facts) -> bool {
    matches!(
        facts.kind,
        Kind::Select | Kind::Insert | Kind::Update | Kind::Delete | Kind::Merge
    )
}

fn push(out: &mut String, source: &str, token: &Token, masked: bool) {
    let text = token.text(source);
    match token.kind {
        Tok::Number if masked => out.push_str(NUMBER),
        Tok::String if masked => out.push_str(STRING),
        Tok::Word => {
            let from = out.len();
            out.push_str(text);
            out[from..].make_ascii_lowercase();
        }
        // A placeholder must not be mistaken for an operator or parameter.
        Tok::Op | Tok::Param if text.contains('?') => out.push_str(&text.replace('?', "??")),
        _ => out.push_str(text),
    }
}

fn spaced(before: &Token, token: &Token) -> bool {
    match (before.kind, token.kind) {
        (Tok::LParen | Tok::LBracket | Tok::Cast, _) => false,
        (Tok::Dot, Tok::Word | Tok::Quoted) | (Tok::Word | Tok::Quoted, Tok::Dot) => false,
        (_, Tok::RParen | Tok::RBracket | Tok::Comma | Tok::Semicolon | Tok::Cast) => false,
        (Tok::Word, Tok::LParen) => before.kw != Kw::None,
        _ => true,
    }
}

fn is_compare(token: &Token, source: &str) -> bool {
    token.kind == Tok::Op
        && matches!(
            token.text(source),
            "=" | "<>" | "!=" | "<" | ">" | "<=" | ">="
        )
}

/// A column, not a keyword that stands for a constant.
fn is_column(token: &Token) -> bool {
    token.kind == Tok::Quoted || (token.kind == Tok::Word && token.kw == Kw::None)
}

/// Nothing binds the constant to what follows: no cast, no operator.
fn stands_alone(next: Option<&Token>) -> bool {
    next.is_none_or(|next| match next.kind {
        Tok::RParen | Tok::Comma => true,
        Tok::Word => {
            matches!(
                next.kw,
                Kw::And
                    | Kw::Or
                    | Kw::Order
                    | Kw::Group
                    | Kw::Limit
                    | Kw::Offset
                    | Kw::Returning
                    | Kw::Where
                    | Kw::From
                    | Kw::For
                    | Kw::Union
                    | Kw::Then
                    | Kw::When
                    | Kw::Else
                    | Kw::End
                    | Kw::Having
                    | Kw::Fetch
            )
        }
        _ => false,
    })
}

/// `column = constant`, with a sign perhaps.
fn compared(tokens: &[Token], at: usize, source: &str) -> bool {
    if !matches!(tokens[at].kind, Tok::String | Tok::Number) || !stands_alone(tokens.get(at + 1)) {
        return false;
    }
    let Some(mut operator) = at.checked_sub(1) else {
        return false;
    };
    if tokens[at].kind == Tok::Number
        && tokens[operator].kind == Tok::Op
        && tokens[operator].text(source) == "-"
    {
        let Some(before) = operator.checked_sub(1) else {
            return false;
        };
        operator = before;
    }
    let Some(column) = operator.checked_sub(1) else {
        return false;
    };
    is_compare(&tokens[operator], source) && is_column(&tokens[column])
}

/// Rows of VALUES and IN lists: where their elements stand.
#[derive(Default)]
struct ListTracker {
    /// Depth of brackets, and at which depths a list is open.
    depth: usize,
    lists: Vec<usize>,
    /// Index at which the last row of VALUES was closed.
    row_closed: Option<usize>,
    rows: Vec<usize>,
}

impl ListTracker {
    fn step(&mut self, tokens: &[Token], at: usize) {
        let before = |back: usize| at.checked_sub(back).map(|index| &tokens[index]);
        match tokens[at].kind {
            Tok::LParen | Tok::LBracket => {
                self.depth += 1;
                let previous = before(1);
                let values = previous.is_some_and(|token| token.kw == Kw::Values)
                    || (previous.is_some_and(|token| token.kind == Tok::Comma)
                        && at >= 2
                        && self.row_closed == Some(at - 2));
                let within = previous.is_some_and(|token| token.kw == Kw::In)
                    && before(2).is_some_and(|token| is_column(token) || token.kw == Kw::Not);
                if values || within {
                    self.lists.push(self.depth);
                }
                if values {
                    self.rows.push(self.depth);
                }
            }
            Tok::RParen | Tok::RBracket => {
                if self.lists.last() == Some(&self.depth) {
                    self.lists.pop();
                }
                if self.rows.last() == Some(&self.depth) {
                    self.rows.pop();
                    self.row_closed = Some(at);
                }
                self.depth = self.depth.saturating_sub(1);
            }
            _ => {}
        }
    }

    /// A constant that is an element all by itself.
    fn is_element(&self, tokens: &[Token], at: usize) -> bool {
        if !matches!(tokens[at].kind, Tok::String | Tok::Number)
            || self.lists.last() != Some(&self.depth)
        {
            return false;
        }
        let opened = at
            .checked_sub(1)
            .is_some_and(|i| matches!(tokens[i].kind, Tok::LParen | Tok::Comma));
        opened
            && tokens
                .get(at + 1)
                .is_some_and(|next| matches!(next.kind, Tok::RParen | Tok::Comma))
    }
}
