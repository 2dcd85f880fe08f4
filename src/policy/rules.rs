//! The gate's own rules. They come before any policy.

use super::judge::Asked;
use crate::config::OpaqueMode;
use crate::model::refusal::sqlstate;
use crate::model::{Problem, Refusal, Statement, Traits};

/// A refusal that no policy can lift.
pub(super) fn refuse(asked: &Asked<'_>) -> Option<Refusal> {
    if asked.set.generation() == 0 {
        return Some(no_policies());
    }
    if let Some(problem) = asked.analysis_problem {
        return Some(unreadable(problem));
    }
    let traits = asked.statement.facts.traits;
    if !traits.contains(Traits::OPAQUE) || asked.opaque == OpaqueMode::Judge {
        return None;
    }
    let harmless = traits.contains(Traits::HARMLESS) && !traits.contains(Traits::UNEXPLAINED_WRITE);
    (!harmless).then(|| opaque(asked.statement))
}

/// The set before the first one: the gate was told to start though its policies do not load.
fn no_policies() -> Refusal {
    let message = "the gate has no policies and refuses every statement";
    Refusal::gate("no-policies", sqlstate::POLICY_FAULT, message)
        .hint("ask an operator to look at the gate's log")
}

fn unreadable(problem: &Problem) -> Refusal {
    let (rule, message, hint) = match problem {
        Problem::TooLarge(_) => (
            "too-large",
            "the statement is larger than the gate reads",
            "send it in smaller parts",
        ),
        Problem::Encoding(_) => (
            "encoding",
            "the statement is not valid in the connection's encoding",
            "send valid UTF-8 without NUL bytes",
        ),
        _ => (
            "unreadable",
            "the statement cannot be read",
            "check for an open quote, comment or dollar quote; the gate refuses what it cannot tell apart",
        ),
    };
    Refusal::gate(rule, sqlstate::UNREADABLE, message)
        .detail(problem.text())
        .hint(hint)
}

fn opaque(statement: &Statement) -> Refusal {
    let problem = statement.facts.problems.first();
    let hint = match problem {
        Some(Problem::Unexplained(_)) => {
            "write it so that every change stands at the top of a statement or in a CTE, or send it as several statements"
        }
        _ => {
            "write it in plainer SQL, or set `analysis.opaque = \"judge\"` to let the policies decide on its words alone"
        }
    };
    Refusal::gate(
        Refusal::OPAQUE,
        sqlstate::REFUSED,
        "the gate does not fully understand this statement and it may write",
    )
    .detail(problem.map(Problem::text).unwrap_or_default())
    .hint(hint)
}
