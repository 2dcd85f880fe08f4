//! What is printed for one statement, for programs.

use serde_json::{Map, Value, json};

use crate::model::pattern::PatternSet;
use crate::model::{Decision, Effects, Facts, Refusal, Requirement, RequirementKind, SessionFacts};

use super::judging::Judged;

/// The line that answers a question.
pub(super) fn line(id: &Value, judged: &[Judged], session: &SessionFacts) -> Value {
    let statements: Vec<Value> = judged
        .iter()
        .map(|judged| statement(judged, session))
        .collect();
    json!({ "id": id, "statements": statements })
}

/// The line for one that cannot be answered.
pub(super) fn error(id: &Value, error: &str) -> Value {
    json!({ "id": id, "error": error })
}

fn statement(judged: &Judged, session: &SessionFacts) -> Value {
    let facts = &judged.statement.facts;
    json!({
        "kind": facts.kind.name(),
        "effects": facts.effects.names().collect::<Vec<_>>(),
        "reads": facts.reads(),
        "writes": facts.writes(),
        "destructive": facts.is_destructive(),
        "opaque": facts.is_opaque(),
        "predicate": facts.predicate.name(),
        "verdict": verdict(judged, session),
    })
}

fn verdict(judged: &Judged, session: &SessionFacts) -> Value {
    let mut verdict = Map::new();
    verdict.insert("decision".to_owned(), json!(decision(judged.decision)));
    let refusal = judged.refusal.as_ref();
    let text = |read: fn(&Refusal) -> &str| {
        refusal
            .map(|refusal| Value::from(read(refusal)))
            .unwrap_or_default()
    };
    verdict.insert("policy".to_owned(), text(|refusal| &refusal.policy));
    verdict.insert("code".to_owned(), text(|refusal| refusal.code));
    let requirements = shown(&judged.requirements, &judged.statement.facts, session);
    verdict.insert(
        "requirements".to_owned(),
        requirements
            .map(|it| requirement(it, &judged.statement.facts))
            .collect(),
    );
    if let Some(refusal) = refusal {
        for (key, value) in [
            ("rule", &refusal.rule),
            ("message", &refusal.message),
            ("detail", &refusal.detail),
            ("hint", &refusal.hint),
        ] {
            if !value.is_empty() {
                verdict.insert(key.to_owned(), json!(&**value));
            }
        }
    }
    if !judged.would_refuse.is_empty() {
        let monitored = judged.would_refuse.iter().map(|refusal| {
            json!({ "policy": &*refusal.policy, "rule": &*refusal.rule, "code": refusal.code, "message": &*refusal.message })
        });
        verdict.insert("monitored".to_owned(), monitored.collect());
    }
    if judged.values_unknown {
        verdict.insert("values".to_owned(), json!("unknown"));
    }
    Value::Object(verdict)
}

/// Name of a decision in output.
pub(super) fn decision(decision: Decision) -> &'static str {
    match decision {
        Decision::Pass => "allow",
        Decision::Refuse => "refuse",
        Decision::Respond => "respond",
    }
}

/// Requirements worth showing: a limit per table travels with every statement
/// that could reach the table by a way the text does not show, but is shown
/// only where the text names the table or hides what it does.
pub(in crate::cli) fn shown<'a>(
    requirements: &'a [Requirement],
    facts: &'a Facts,
    session: &'a SessionFacts,
) -> impl Iterator<Item = &'a Requirement> {
    let hidden = facts.is_opaque() || facts.effects.contains(Effects::CODE);
    requirements
        .iter()
        .filter(move |requirement| match &requirement.kind {
            RequirementKind::TableRowsMax {
                patterns, pattern, ..
            } => hidden || names_one(patterns, *pattern, facts, session),
            _ => true,
        })
}

fn names_one(
    patterns: &[std::sync::Arc<str>],
    pattern: u32,
    facts: &Facts,
    session: &SessionFacts,
) -> bool {
    let Ok(set) = PatternSet::new(patterns) else {
        return true;
    };
    facts.relations.iter().any(|relation| {
        set.best(
            relation.schema.as_deref(),
            &relation.name,
            session.search_path.as_deref(),
        ) == Some(pattern)
    })
}

/// A requirement with its numbers.
pub(super) fn requirement(requirement: &Requirement, facts: &Facts) -> Value {
    let mut out = Map::new();
    out.insert("kind".to_owned(), json!(requirement.kind.name()));
    let mut put = |key: &str, value: Value| {
        if !value.is_null() {
            out.insert(key.to_owned(), value);
        }
    };
    match &requirement.kind {
        RequirementKind::RowsChangedMax { relation, rows } => {
            let relation = relation.and_then(|index| facts.relations.get(index as usize));
            put(
                "table",
                json!(relation.map(|relation| relation.qualified())),
            );
            put("rows", json!(rows));
        }
        RequirementKind::RowsReturnedMax { rows } => put("rows", json!(rows)),
        RequirementKind::TableRowsMax {
            patterns,
            pattern,
            changed,
            returned,
        } => {
            put(
                "table",
                json!(patterns.get(*pattern as usize).map(|pattern| &**pattern)),
            );
            put("changed", json!(changed));
            put("returned", json!(returned));
        }
        RequirementKind::Rate {
            bucket,
            by,
            burst,
            period_ms,
        } => {
            put("bucket", json!(&**bucket));
            put("by", json!(dimensions(*by)));
            put("burst", json!(burst));
            put("period_ms", json!(period_ms));
        }
        RequirementKind::PlanMax { measure, limit } => {
            put("measure", json!(measure.name()));
            put("limit", json!(limit));
        }
        RequirementKind::Preview { rows } => put("rows", json!(rows)),
        RequirementKind::Backup { scope } => put("scope", json!(scope)),
        RequirementKind::Confirm { ttl_ms } => put("ttl_ms", json!(ttl_ms)),
        RequirementKind::StatementTimeout { ms } | RequirementKind::LockTimeout { ms } => {
            put("ms", json!(ms))
        }
        RequirementKind::Mask { column, method } => {
            put("column", json!(&**column));
            put("method", json!(method));
        }
        RequirementKind::WantPlan | RequirementKind::DryRun | RequirementKind::ReadOnly => {}
    }
    put("policy", json!(&*requirement.policy));
    Value::Object(out)
}

fn dimensions(by: u64) -> Vec<&'static str> {
    [
        (1, "user"),
        (2, "address"),
        (4, "application"),
        (8, "database"),
        (16, "class"),
    ]
    .into_iter()
    .filter(|(bit, _)| by & bit != 0)
    .map(|(_, name)| name)
    .collect()
}
