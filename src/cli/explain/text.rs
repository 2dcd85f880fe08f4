//! What is printed for one statement, for people.

use std::fmt::Write as _;

use serde_json::Value;

use crate::cli::terminal::Paint;
use crate::model::{Decision, Predicate, Refusal, SessionFacts};

use super::answer;
use super::judging::Judged;

/// Characters of a statement that are shown; a terminal is 80 wide.
const TEXT_SHOWN: usize = 66;

/// All statements of a text.
pub(super) fn page(judged: &[Judged], session: &SessionFacts, paint: Paint) -> String {
    if judged.is_empty() {
        return "nothing to run: only white space and comments\n".to_owned();
    }
    let mut out = String::new();
    for (number, judged) in judged.iter().enumerate() {
        if number > 0 {
            out.push('\n');
        }
        statement(&mut out, judged, session, paint);
    }
    out
}

fn statement(out: &mut String, judged: &Judged, session: &SessionFacts, paint: Paint) {
    let facts = &judged.statement.facts;
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(out, "{} {value}", paint.dim(&format!("{name:<11}")));
        }
    };
    line("statement", &paint.bold(&one_line(&judged.statement.text)));
    line("kind", facts.kind.name());
    line(
        "effects",
        &facts.effects.names().collect::<Vec<_>>().join(", "),
    );
    line("reads", &facts.reads().join(", "));
    line("writes", &facts.writes().join(", "));
    line(
        "condition",
        match facts.predicate {
            Predicate::NotApplicable => "",
            Predicate::None => "none: every row",
            Predicate::AlwaysTrue => "true for every row",
            Predicate::Real => "real",
        },
    );
    if facts.is_destructive() {
        line(
            "warning",
            &paint.odd("could destroy rows, objects or protection"),
        );
    }
    if facts.is_opaque() {
        line(
            "warning",
            &paint.odd("not fully understood: facts are those of its words"),
        );
        for problem in &facts.problems {
            line("", &one_line(problem.text()));
        }
    }
    match (&judged.refusal, judged.decision) {
        (Some(refusal), _) => {
            line(
                "verdict",
                &format!(
                    "{} by {} ({})",
                    paint.bad("refused"),
                    refusal.constraint(),
                    refusal.code
                ),
            );
            reason(&mut line, refusal);
        }
        (None, Decision::Respond) => line("verdict", &paint.odd("answered by a policy")),
        (None, _) => line("verdict", &paint.good("allowed")),
    }
    for refusal in &judged.would_refuse {
        line(
            "monitored",
            &format!(
                "{} by {}",
                paint.odd("would be refused"),
                refusal.constraint()
            ),
        );
        reason(&mut line, refusal);
    }
    if judged.values_unknown {
        line("note", "judged without values, and a policy asked for them");
    }
    for requirement in answer::shown(&judged.requirements, facts, session) {
        line(
            "under",
            &condition(&answer::requirement(requirement, facts)),
        );
    }
}

fn reason(line: &mut impl FnMut(&str, &str), refusal: &Refusal) {
    line("", &refusal.message);
    line("", &refusal.detail);
    line("", &refusal.hint);
}

/// `table-rows-max table=users changed=100 (table_limits)`
fn condition(requirement: &Value) -> String {
    let Value::Object(fields) = requirement else {
        return String::new();
    };
    let mut out = String::new();
    for (key, value) in fields {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Array(items) => items
                .iter()
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join("+"),
            other => other.to_string(),
        };
        let _ = match &**key {
            "kind" => write!(out, "{value}"),
            "policy" => write!(out, " ({value})"),
            key => write!(out, " {key}={value}"),
        };
    }
    out
}

fn one_line(text: &str) -> String {
    let folded = text.split_whitespace().collect::<Vec<_>>().join(" ");
    // What a terminal would obey instead of showing.
    let mut shown: String = folded
        .chars()
        .filter(|c| !c.is_control())
        .take(TEXT_SHOWN + 1)
        .collect();
    if shown.chars().count() > TEXT_SHOWN {
        shown = shown.chars().take(TEXT_SHOWN - 1).collect();
        shown.push('…');
    }
    shown
}
