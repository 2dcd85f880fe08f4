//! Where the server would point if a relation were missing.
//!
//! A disguised refusal must equal the server's own error byte for byte, its
//! position included, so the name is searched outside strings and comments.

use std::sync::Arc;

use crate::model::facts::{FunctionUse, Relation, Statement};
use crate::model::pattern::cut;
use crate::model::{Disguise, Kind, Via};

/// What is said of a missing relation of this statement, and of one that must look missing;
/// `name` is folded, with the schema when one was written.
pub fn missing_relation(statement: &Statement, name: &str) -> Disguise {
    let noun = match statement.facts.kind {
        Kind::Drop => "table",
        _ => "relation",
    };
    let position = if has_position(statement.facts.kind) {
        locate(&statement.text, name)
    } else {
        None
    };
    Disguise {
        name: name.into(),
        noun,
        position: position.map(|at| statement.span.start + at),
    }
}

/// What hides the relation at this index.
///
/// One that is written, or reached through one that is written, is not there.
/// One that is reached through a function cannot be denied in the server's own
/// words without naming it: then the function is what may not be called.
pub(super) fn hide(statement: &Statement, index: usize) -> Disguise {
    if let Some(written) = statement.written(index) {
        return missing_relation(statement, &written.qualified());
    }
    let own = |function: &&FunctionUse| !function.harmless;
    let functions = &statement.facts.functions;
    if let Some(function) = functions.iter().find(own) {
        return Disguise {
            name: function.name.clone(),
            noun: FUNCTION,
            position: None,
        };
    }
    // Through an operator or a type, perhaps: any name of the text will do.
    let written = |relation: &&Relation| relation.via != Via::Catalog;
    match statement.facts.relations.iter().find(written) {
        Some(relation) => missing_relation(statement, &relation.qualified()),
        None => Disguise {
            name: functions
                .first()
                .map_or_else(|| Arc::from("operator"), |function| function.name.clone()),
            noun: FUNCTION,
            position: None,
        },
    }
}

/// The same disguise for another text of the class.
#[cfg(feature = "gate")]
pub(super) fn again(statement: &Statement, known: &Disguise) -> Disguise {
    if known.noun == FUNCTION {
        return known.clone();
    }
    missing_relation(statement, &known.name)
}

/// Noun of a disguise that denies a function instead of a relation.
const FUNCTION: &str = "function";

/// Utility statements look names up without a place in the text.
fn has_position(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Select
            | Kind::Insert
            | Kind::Update
            | Kind::Delete
            | Kind::Merge
            | Kind::Explain
            | Kind::Prepare
            | Kind::Declare
            | Kind::Create
    )
}

/// Byte position of the first place where the name stands as an identifier.
fn locate(text: &str, name: &str) -> Option<usize> {
    let mut tokens = Tokens { text, at: 0 }.peekable();
    while let Some((start, mut found)) = tokens.next() {
        loop {
            if found == name {
                return Some(start);
            }
            // `schema . table`: the position is that of the first part.
            let mut ahead = tokens.clone();
            match (ahead.next(), ahead.next()) {
                (Some((_, dot)), Some((_, part)))
                    if dot == "." && name.starts_with(&format!("{found}.")) =>
                {
                    found = format!("{found}.{part}");
                    tokens = ahead;
                }
                _ => break,
            }
        }
    }
    None
}

/// Identifiers (folded) and dots, with their positions; everything else is skipped.
#[derive(Clone)]
struct Tokens<'t> {
    text: &'t str,
    at: usize,
}

impl Iterator for Tokens<'_> {
    type Item = (usize, String);

    fn next(&mut self) -> Option<(usize, String)> {
        loop {
            let rest = &self.text[self.at..];
            let start = self.at;
            let first = rest.chars().next()?;
            let two = rest.get(..2).unwrap_or_default();
            if two == "--" {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if two == "/*" {
                self.at += comment(rest);
            } else if matches!(two, "e'" | "E'") {
                self.at += 1 + string(&rest[1..], true);
            } else if first == '\'' {
                self.at += string(rest, false);
            } else if first == '$' {
                self.at += dollar(rest);
            } else if first == '"' {
                let end = string_like(rest, '"', false);
                self.at += end;
                let inner = rest.get(1..end.saturating_sub(1)).unwrap_or_default();
                return Some((start, cut(&inner.replace("\"\"", "\"")).to_owned()));
            } else if first == '_' || first.is_alphabetic() {
                let inside = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
                let end = rest.find(|c| !inside(c)).unwrap_or(rest.len());
                self.at += end;
                return Some((start, crate::model::pattern::fold(&rest[..end])));
            } else {
                self.at += first.len_utf8();
                match first {
                    '.' => return Some((start, ".".to_owned())),
                    // A separator that no name contains ends a chain of parts.
                    c if !c.is_whitespace() => return Some((start, "\0".to_owned())),
                    _ => {}
                }
            }
        }
    }
}

fn string(text: &str, escapes: bool) -> usize {
    string_like(text, '\'', escapes)
}

/// Length up to and with the closing quote; a doubled quote does not close.
fn string_like(text: &str, quote: char, escapes: bool) -> usize {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if escapes && c == '\\' {
            chars.next();
        } else if c == quote {
            match chars.peek() {
                Some((_, next)) if *next == quote => {
                    chars.next();
                }
                _ => return at + 1,
            }
        }
    }
    text.len()
}

/// Comments nest.
fn comment(text: &str) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(step) = text[at..].find(['/', '*']) {
        at += step;
        match text.get(at..at + 2) {
            Some("/*") => depth += 1,
            Some("*/") => depth = depth.saturating_sub(1),
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// `$tag$ … $tag$`, or one byte for a parameter.
fn dollar(text: &str) -> usize {
    let Some(end) = text[1..].find('$') else {
        return 1;
    };
    let tag = &text[..end + 2];
    let name = &tag[1..tag.len() - 1];
    let plain = name.chars().all(|c| c.is_alphanumeric() || c == '_');
    if !plain || name.starts_with(|c: char| c.is_ascii_digit()) {
        return 1;
    }
    text[tag.len()..]
        .find(tag)
        .map_or(text.len(), |inner| tag.len() * 2 + inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_name_where_the_server_would_point() {
        let cases = [
            ("SELECT * FROM canary", "canary", Some(14)),
            ("SELECT 'canary' FROM CANARY", "canary", Some(21)),
            (
                "SELECT /* canary /* x */ canary */ 1 FROM canary",
                "canary",
                Some(42),
            ),
            ("SELECT 1 -- canary\nFROM canary", "canary", Some(24)),
            (
                "SELECT $$canary$$, $a$ canary $a$ FROM canary",
                "canary",
                Some(39),
            ),
            ("SELECT e'\\'canary' FROM canary", "canary", Some(24)),
            ("SELECT * FROM \"canary\"", "canary", Some(14)),
            ("SELECT * FROM app . canary", "app.canary", Some(14)),
            ("SELECT canary.x FROM app.canary", "app.canary", Some(21)),
            ("SELECT canaries FROM canary", "canary", Some(21)),
            ("SELECT $1 FROM canary", "canary", Some(15)),
            ("SELECT 'canary", "canary", None),
        ];
        for (text, name, expected) in cases {
            assert_eq!(locate(text, name), expected, "{text}");
        }
    }
}
