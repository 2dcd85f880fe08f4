//! Where statements end, as the server sees it.

use std::ops::Range;

use crate::model::{Dialect, Problem};

use super::lex::{Kw, Tok, Token};

/// Deepest nesting of brackets that is read.
pub(super) const BRACKETS_MAX: usize = 400;

/// One statement of a text.
#[derive(Debug)]
pub(super) struct Part {
    /// Its tokens, without the semicolon.
    pub range: Range<usize>,
    /// Why it cannot be read, if brackets already tell.
    pub problem: Option<Problem>,
}

/// A text cut into statements.
#[derive(Debug)]
pub(super) struct Cut {
    /// The statements that hold at least one token.
    pub statements: Vec<Part>,
    /// Index of the partner of every bracket.
    pub pairs: Vec<u32>,
}

/// Cuts at semicolons outside brackets and outside bodies (`BEGIN ATOMIC … END`,
/// SQLite's triggers), in one pass.
pub(super) fn split(tokens: &[Token], dialect: Dialect) -> Cut {
    let mut pairs = vec![u32::MAX; tokens.len()];
    let mut statements = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    let mut problem = None;
    let mut body = Body::new(dialect);
    let mut start = 0;
    for (index, token) in tokens.iter().enumerate() {
        match token.kind {
            Tok::LParen | Tok::LBracket => {
                open.push(index);
                if open.len() == BRACKETS_MAX {
                    problem = Some(Problem::TooLarge(format!(
                        "more than {BRACKETS_MAX} nested brackets"
                    )));
                }
            }
            Tok::RParen | Tok::RBracket => {
                close(tokens, &mut open, &mut pairs, index, &mut problem)
            }
            Tok::Semicolon if open.is_empty() && !body.inside() => {
                finish(&mut statements, start..index, problem.take());
                start = index + 1;
                body = Body::new(dialect);
            }
            // In brackets `begin atomic` is a parameter and its type.
            Tok::Word if open.is_empty() => body.word(tokens, start, index),
            _ => {}
        }
    }
    if !open.is_empty() && problem.is_none() {
        problem = Some(Problem::Unparsable("a bracket is not closed".to_owned()));
    }
    finish(&mut statements, start..tokens.len(), problem);
    Cut { statements, pairs }
}

fn finish(statements: &mut Vec<Part>, range: Range<usize>, problem: Option<Problem>) {
    if !range.is_empty() {
        statements.push(Part { range, problem });
    }
}

fn close(
    tokens: &[Token],
    open: &mut Vec<usize>,
    pairs: &mut [u32],
    index: usize,
    problem: &mut Option<Problem>,
) {
    let wanted = if tokens[index].kind == Tok::RParen {
        Tok::LParen
    } else {
        Tok::LBracket
    };
    match open.pop() {
        Some(from) if tokens[from].kind == wanted => {
            pairs[from] = index as u32;
            pairs[index] = from as u32;
        }
        _ => {
            problem.get_or_insert_with(|| Problem::Unparsable("brackets do not match".to_owned()));
        }
    }
}

/// Follows `BEGIN ATOMIC … END` of SQL routines and `BEGIN … END` of SQLite's triggers.
struct Body {
    dialect: Dialect,
    /// What the statement starts with allows a body.
    allowed: bool,
    begun: bool,
    cases: usize,
    ended: bool,
}

impl Body {
    fn new(dialect: Dialect) -> Body {
        Body {
            dialect,
            allowed: false,
            begun: false,
            cases: 0,
            ended: false,
        }
    }

    fn inside(&self) -> bool {
        self.begun && !self.ended
    }

    fn word(&mut self, tokens: &[Token], start: usize, index: usize) {
        let kw = tokens[index].kw;
        let position = index - start;
        // Behind a dot or AS any word is a name: `SELECT 1 AS case`.
        if position > 0 && (tokens[index - 1].kind == Tok::Dot || tokens[index - 1].kw == Kw::As) {
            return;
        }
        if !self.begun {
            let creates = tokens[start].kw == Kw::Create;
            let object = match self.dialect {
                Dialect::Sqlite => position <= 3 && kw == Kw::Trigger,
                _ => position <= 3 && matches!(kw, Kw::Function | Kw::Procedure),
            };
            self.allowed |= creates && object;
            let atomic = || {
                tokens
                    .get(index + 1)
                    .is_some_and(|next| next.kw == Kw::Atomic)
            };
            if self.allowed && kw == Kw::Begin && (self.dialect == Dialect::Sqlite || atomic()) {
                self.begun = true;
            }
            return;
        }
        match kw {
            Kw::Case => self.cases += 1,
            Kw::End if self.cases > 0 => self.cases -= 1,
            Kw::End => self.ended = true,
            _ => {}
        }
    }
}
