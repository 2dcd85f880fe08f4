//! What the analysis promises, as tables of hostile and of ordinary SQL.
//!
//! `golden/*.sql` holds one text a line (`\n` stands for a newline); the file
//! beside it what is found. `UPDATE_EXPECT=1` writes it anew: read the diff.

mod bodies;
mod columns;
mod golden;
mod limits;
mod properties;
mod scopes;
mod strings;
mod truth;

use crate::model::{Analysis, Statement};
use crate::sql::{Lexer, analyze};
use std::sync::Arc;

/// The only statement of a PostgreSQL text.
fn one(text: &str) -> Arc<Statement> {
    let found = analyze(text, Lexer::POSTGRES);
    assert_eq!(found.statements.len(), 1, "{text}");
    found.statements[0].clone()
}

/// One line per statement: what policies see.
fn summary(found: &Analysis) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    if let Some(problem) = &found.problem {
        let _ = writeln!(out, "  refused: {}", problem.text());
    }
    for statement in &found.statements {
        let facts = &statement.facts;
        let names: Vec<_> = facts.effects.names().collect();
        let traits: Vec<_> = facts.traits.names().collect();
        let _ = write!(out, "  {} [{}]", facts.kind, names.join(" "));
        if !facts.reads().is_empty() {
            let _ = write!(out, " reads {}", facts.reads().join(" "));
        }
        if !facts.writes().is_empty() {
            let _ = write!(out, " writes {}", facts.writes().join(" "));
        }
        let _ = writeln!(out, " predicate {} · {}", facts.predicate, traits.join(" "));
        for problem in &facts.problems {
            let _ = writeln!(out, "    {}", problem.text());
        }
    }
    out
}
