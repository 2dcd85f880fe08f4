//! A statement's facts as the JSON object that `portcullis explain` prints.

use serde_json::{Value, json};

use crate::model::{Access, Statement, Via};

/// The facts without a verdict.
pub fn explain_json(statement: &Statement) -> Value {
    let facts = &statement.facts;
    let mut object = json!({
        "kind": facts.kind.name(),
        "effects": facts.effects.names().collect::<Vec<_>>(),
        "reads": facts.reads(),
        "writes": facts.writes(),
        "destructive": facts.is_destructive(),
        "opaque": facts.is_opaque(),
        "predicate": facts.predicate.name(),
        "traits": facts.traits.names().collect::<Vec<_>>(),
        "relations": facts.relations.iter().map(|relation| json!({
            "name": relation.qualified(),
            "access": relation.access.names().collect::<Vec<_>>(),
            "via": relation.via.name(),
        })).collect::<Vec<_>>(),
    });
    let Some(fields) = object.as_object_mut() else {
        return object;
    };
    if !facts.functions.is_empty() {
        let calls = facts.functions.iter().map(|function| {
            let name = match &function.schema {
                Some(schema) => format!("{schema}.{}", function.name),
                None => function.name.to_string(),
            };
            json!({ "name": name, "harmless": function.harmless })
        });
        fields.insert("functions".to_owned(), calls.collect());
    }
    if !facts.settings.is_empty() {
        let settings = facts.settings.iter();
        let settings = settings
            .map(|s| json!({ "name": &*s.name, "value": s.value.as_deref(), "local": s.local }));
        fields.insert("settings".to_owned(), settings.collect());
    }
    if let Some(limit) = facts.limit {
        fields.insert("limit".to_owned(), json!(limit));
    }
    let possible = facts.relations.iter().filter(|relation| {
        relation.access.contains(Access::POSSIBLE)
            && matches!(relation.via, Via::Lexical | Via::Nested)
    });
    let possible: Vec<String> = possible.map(|relation| relation.qualified()).collect();
    if !possible.is_empty() {
        fields.insert("possible".to_owned(), json!(possible));
    }
    if !facts.problems.is_empty() {
        fields.insert(
            "problems".to_owned(),
            facts
                .problems
                .iter()
                .map(|problem| problem.text())
                .collect(),
        );
    }
    fields.insert("normalized".to_owned(), json!(&*statement.normalized));
    object
}
