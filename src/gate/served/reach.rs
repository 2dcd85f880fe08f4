//! Facts of a statement as SQLite sees them: what its text does not show is added.

use std::sync::Arc;

use crate::backend::sqlite::Reach;
use crate::model::facts::Class;
use crate::model::{Access, Relation, Statement, Via};

/// A statement that was read by PostgreSQL's grammar and is run by SQLite: policies
/// are told of the database, and its verdicts are not those of the same text elsewhere.
pub(super) fn as_sqlite(statement: &Arc<Statement>) -> Arc<Statement> {
    use crate::model::Dialect;
    let class = Class {
        normalized: format!("{}\u{1f}postgres", statement.normalized).into(),
        shape: statement.shape.rotate_left(1),
        dialect: Dialect::Sqlite,
        facts: statement.facts.clone(),
        origins: Box::default(),
    };
    Arc::new(statement.reclassed(Arc::new(class)))
}

/// Table-valued functions and SQLite's own bookkeeping: nothing a policy names.
fn is_machinery(name: &str) -> bool {
    name.starts_with("json_")
        || name.starts_with("jsonb_")
        || name.starts_with("pragma_")
        || matches!(name, "sqlite_sequence" | "sqlite_stat1" | "sqlite_stat4")
}

/// The statement with the relations that only SQLite knows it touches; none when the text shows them all.
pub(super) fn widened(statement: &Statement, reach: &Reach) -> Option<Statement> {
    let mut more = Vec::new();
    for touch in &reach.touches {
        let schema_table = reach.schema && touch.name.starts_with("sqlite_");
        if schema_table || is_machinery(&touch.name) || touch.access == Access::OTHER {
            continue;
        }
        let wanted = touch.access - Access::SELECT - Access::OTHER;
        let known = statement.facts.relations.iter().any(|r| {
            let schema = r
                .schema
                .as_deref()
                .is_none_or(|s| s == touch.schema || s == "main" || s == "temp");
            let whole = r.access.intersects(
                Access::DROP | Access::TRUNCATE | Access::CREATE | Access::ALTER | Access::POSSIBLE,
            );
            schema
                && r.name.eq_ignore_ascii_case(&touch.name)
                && (whole || r.access.contains(wanted))
        });
        if !known {
            let relation = Relation {
                schema: Some(Arc::from(touch.schema)),
                name: Arc::from(touch.name.as_str()),
                access: touch.access,
                via: Via::Catalog,
            };
            // SQLite does not say which of several names leads there: any written one will do.
            let written = |r: &Relation| r.via != Via::Catalog;
            let origin = statement.facts.relations.iter().position(written);
            let origin = origin.and_then(|origin| u32::try_from(origin).ok());
            more.push((relation, origin));
        }
    }
    if more.is_empty() {
        return None;
    }
    Some(statement.reclassed(Arc::new(statement.class.widened(more))))
}
