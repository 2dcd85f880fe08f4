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
    let masks = masks(facts, tokens);
    let size = tokens.last().map_or(0, |t| t.end) - tokens.first().map_or(0, |t| t.start);
    let mut out = String::with_capacity(size as usize + 8);
    let mut groups = Groups::default();
    let mut assigns = false;
    for (at, token) in tokens.iter().enumerate() {
        groups.step(text, range.start, at);
        if groups.open.is_empty() && facts.kind == Kind::Update {
            assigns = (assigns || token.kw == Kw::Set) && !ends_assignments(token.kw);
        }
        if at > 0 && spaced(&tokens[at - 1], token) {
            out.push(' ');
        }
        let masked = masks
            && matches!(token.kind, Tok::String | Tok::Number)
            && groups.all_plain()
            && (compared(tokens, at, text.source)
                || groups.is_element(tokens, at, text.source)
                || (assigns && groups.open.is_empty() && added(tokens, at, text.source)));
        push(&mut out, text.source, token, masked);
    }
    out
}

/// Only in these a constant next to `=` is compared or assigned. With OR, two
/// comparisons of one column may complete each other: the constants count.
fn masks(facts: &Facts, tokens: &[Token]) -> bool {
    matches!(
        facts.kind,
        Kind::Select | Kind::Insert | Kind::Update | Kind::Delete
    ) && !facts.is_opaque()
        && !tokens.iter().any(|token| token.kw == Kw::Or)
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

/// Words that end a condition: nothing binds what stands before them to what follows.
pub(super) fn ends_condition(kw: Kw) -> bool {
    matches!(
        kw,
        Kw::And
            | Kw::Order
            | Kw::Group
            | Kw::Limit
            | Kw::Offset
            | Kw::Returning
            | Kw::Where
            | Kw::From
            | Kw::For
            | Kw::Union
            | Kw::Having
            | Kw::Fetch
            | Kw::On
    )
}

/// Words in front of a bracket that holds a condition, a query or a list, no arguments.
pub(super) fn opens_plain(kw: Kw) -> bool {
    matches!(
        kw,
        Kw::Where
            | Kw::And
            | Kw::On
            | Kw::From
            | Kw::Join
            | Kw::Exists
            | Kw::As
            | Kw::In
            | Kw::Values
            | Kw::Having
    )
}

/// Nothing binds the constant to what follows: no cast, no operator.
fn stands_alone(next: Option<&Token>) -> bool {
    next.is_none_or(|next| match next.kind {
        Tok::RParen | Tok::Comma => true,
        Tok::Word => ends_condition(next.kw),
        _ => false,
    })
}

/// `column = constant`, with a sign perhaps.
fn compared(tokens: &[Token], at: usize, source: &str) -> bool {
    if !stands_alone(tokens.get(at + 1)) {
        return false;
    }
    let Some(mut operator) = at.checked_sub(1) else {
        return false;
    };
    let minus = tokens[operator].kind == Tok::Op && tokens[operator].text(source) == "-";
    if tokens[at].kind == Tok::Number && minus {
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

/// Words behind which SET's assignments are over.
pub(super) fn ends_assignments(kw: Kw) -> bool {
    matches!(kw, Kw::Where | Kw::From | Kw::Returning)
}

/// `column + number` or `column - number` as the whole of what is assigned: the
/// number is a value like any other that is written.
fn added(tokens: &[Token], at: usize, source: &str) -> bool {
    if tokens[at].kind != Tok::Number || !stands_alone(tokens.get(at + 1)) {
        return false;
    }
    let sign = |at: Option<usize>, signs: &[&str]| {
        at.filter(|at| tokens[*at].kind == Tok::Op && signs.contains(&tokens[*at].text(source)))
    };
    let Some(mut operator) = at.checked_sub(1) else {
        return false;
    };
    // A sign of the number itself stands behind the operator.
    let before = operator.checked_sub(1);
    if sign(Some(operator), &["-"]).is_some() && sign(before, &["+", "-"]).is_some() {
        operator -= 1;
    }
    sign(Some(operator), &["+", "-"]).is_some()
        && operator
            .checked_sub(1)
            .is_some_and(|column| is_column(&tokens[column]))
}

/// The brackets around a token.
#[derive(Default)]
struct Groups {
    /// Per open bracket: plain, and a list of elements.
    open: Vec<(bool, bool)>,
    /// How many of them are not plain.
    odd: usize,
    /// Index at which the last row of VALUES was closed.
    row_closed: Option<usize>,
    rows: Vec<usize>,
}

impl Groups {
    fn all_plain(&self) -> bool {
        self.odd == 0
    }

    /// Follows token `at` of the statement that starts at `base` of the text.
    fn step(&mut self, text: &Text<'_>, base: usize, at: usize) {
        let kind = |at: usize| text.tokens.get(base + at).map(|token| token.kind);
        let kw = |at: usize| {
            text.tokens
                .get(base + at)
                .map_or(Kw::None, |token| token.kw)
        };
        match kind(at) {
            Some(Tok::LParen | Tok::LBracket) => {
                let before = at.checked_sub(1);
                let row = before.is_some_and(|before| kw(before) == Kw::Values)
                    || (before.is_some_and(|before| kind(before) == Some(Tok::Comma))
                        && at >= 2
                        && self.row_closed == Some(at - 2));
                let list = row || before.is_some_and(|before| kw(before) == Kw::In);
                let opened = before.is_some_and(|before| {
                    opens_plain(kw(before)) || kind(before) == Some(Tok::LParen)
                });
                let plain = row || (opened && self.closes_plain(text, base + at));
                self.odd += usize::from(!plain);
                self.open.push((plain, list));
                if row {
                    self.rows.push(self.open.len());
                }
            }
            Some(Tok::RParen | Tok::RBracket) => {
                if self.rows.last() == Some(&self.open.len()) {
                    self.rows.pop();
                    self.row_closed = Some(at);
                }
                if let Some((false, _)) = self.open.pop() {
                    self.odd -= 1;
                }
            }
            _ => {}
        }
    }

    /// Behind the bracket that closes this one nothing goes on with its value.
    fn closes_plain(&self, text: &Text<'_>, index: usize) -> bool {
        let Some(close) = text.pairs.get(index).filter(|pair| **pair != u32::MAX) else {
            return false;
        };
        match text.tokens.get(*close as usize + 1) {
            None => true,
            Some(next) => match next.kind {
                Tok::RParen | Tok::Semicolon => true,
                // An alias, a clause, the next condition; never an operator word.
                Tok::Word => ends_condition(next.kw) || next.kw == Kw::None || next.kw == Kw::As,
                _ => false,
            },
        }
    }

    /// A constant that is an element of a list all by itself.
    fn is_element(&self, tokens: &[Token], at: usize, source: &str) -> bool {
        if !self.open.last().is_some_and(|(_, list)| *list) {
            return false;
        }
        let signed = tokens[at].kind == Tok::Number
            && at.checked_sub(1).is_some_and(|sign| {
                tokens[sign].kind == Tok::Op && tokens[sign].text(source) == "-"
            });
        let opened = at
            .checked_sub(1 + usize::from(signed))
            .is_some_and(|before| matches!(tokens[before].kind, Tok::LParen | Tok::Comma));
        let next = tokens.get(at + 1);
        opened && next.is_some_and(|next| matches!(next.kind, Tok::RParen | Tok::Comma))
    }
}
