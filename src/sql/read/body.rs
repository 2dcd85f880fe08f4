//! UPDATE and DELETE without a condition, inside code that runs now or later.
//!
//! A DO block, a rule's action or a function's body is text for another
//! language's parser. Its statements are cut out where they begin and read on
//! their own; one that would change every row is a fact of the whole, so that
//! packing a DELETE into code is no way around a policy that wants a condition.

use crate::model::{Access, Kind, Predicate, Via};
use crate::sql::Lexer;
use crate::sql::lex::{Kw, Tok, Token, lex, text_of};

use super::{Reader, TableName};

/// Strings in strings in code that are still looked into.
const DEPTH_MAX: u32 = 4;

impl Reader<'_> {
    /// Notes what the code changes without a condition.
    pub fn unbounded_changes(&mut self, code: &str) {
        let mut found = Vec::new();
        search(code, self.lexer, 0, &mut found);
        for (kind, table, predicate) in found {
            let access = match kind {
                Kind::Update => Access::UPDATE,
                _ => Access::DELETE,
            };
            let saved = std::mem::replace(&mut self.via, Via::Nested);
            self.touch(&table, access | Access::POSSIBLE);
            self.via = saved;
            self.write_predicate(predicate);
        }
    }
}

fn search(code: &str, lexer: Lexer, depth: u32, found: &mut Vec<(Kind, TableName, Predicate)>) {
    let Ok(tokens) = lex(code, lexer) else {
        return;
    };
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].kind == Tok::String && depth < DEPTH_MAX {
            search(&text_of(&tokens[at], code), lexer, depth + 1, found);
        }
        if !begins(&tokens, at) {
            at += 1;
            continue;
        }
        let end = end_of(&tokens, at, code);
        let text = code
            .get(tokens[at].start as usize..tokens[end - 1].end as usize)
            .unwrap_or("");
        for statement in crate::sql::analyze(text, lexer).statements {
            let facts = &statement.facts;
            let weak = matches!(facts.predicate, Predicate::None | Predicate::AlwaysTrue);
            if !weak || facts.is_opaque() || !matches!(facts.kind, Kind::Update | Kind::Delete) {
                continue;
            }
            let targets = facts
                .relations
                .iter()
                .filter(|r| r.access.intersects(Access::UPDATE | Access::DELETE));
            for target in targets {
                let table = TableName {
                    schema: target.schema.clone(),
                    name: target.name.clone(),
                };
                found.push((facts.kind, table, facts.predicate));
            }
        }
        at = end;
    }
}

/// DELETE FROM, or UPDATE where it is a statement and not part of another one.
fn begins(tokens: &[Token], at: usize) -> bool {
    let kw = |at: usize| tokens.get(at).map_or(Kw::None, |token| token.kw);
    if tokens[at].kind != Tok::Word {
        return false;
    }
    let before = at.checked_sub(1).map_or(Kw::None, kw);
    match tokens[at].kw {
        Kw::Delete => kw(at + 1) == Kw::From,
        // `ON CONFLICT … DO UPDATE SET`; a rule's `DO UPDATE table SET` is a statement.
        Kw::Update if before == Kw::Do => kw(at + 1) != Kw::Set,
        // FOR UPDATE, ON UPDATE.
        Kw::Update => !matches!(before, Kw::For | Kw::On | Kw::No | Kw::Key),
        _ => false,
    }
}

/// Behind the last token of the statement: a semicolon, the bracket it stands
/// in, or the loop that runs over its rows.
fn end_of(tokens: &[Token], at: usize, code: &str) -> usize {
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(at) {
        match token.kind {
            Tok::LParen | Tok::LBracket => depth += 1,
            Tok::RParen | Tok::RBracket if depth == 0 => return index,
            Tok::RParen | Tok::RBracket => depth -= 1,
            Tok::Semicolon => return index,
            Tok::Word if depth == 0 && token.text(code).eq_ignore_ascii_case("loop") => {
                return index;
            }
            _ => {}
        }
    }
    tokens.len()
}
