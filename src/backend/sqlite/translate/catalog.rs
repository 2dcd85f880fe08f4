//! Names of the PostgreSQL catalog, as psql and drivers ask for them.

use super::super::infer;
use super::super::token::{Token, TokenKind, quote_name};
use super::{Writer, inside};

/// Catalog tables that have no rows here, whatever the database holds.
const EMPTY: &[&str] = &[
    "pg_policy",
    "pg_publication",
    "pg_publication_rel",
    "pg_publication_namespace",
    "pg_statistic_ext",
    "pg_inherits",
    "pg_subscription",
    "pg_foreign_table",
    "pg_foreign_server",
    "pg_event_trigger",
];

/// Whether a token names the catalog.
pub(super) fn is_catalog_name(token: &Token<'_>) -> bool {
    token
        .name()
        .is_some_and(|name| name.starts_with("pg_") || name == "information_schema")
}

/// A query that takes its rows from a table without rows has none: its columns
/// are answered and nothing else, so that arrays, set-returning functions and
/// subscripts in it need no translation.
///
/// Only when the empty table is joined plainly; an outer join, an aggregate or
/// a second source in a UNION would give rows.
pub(super) fn always_empty(source: &[Token<'_>]) -> Option<String> {
    if !source.first()?.is("select")
        || source
            .iter()
            .any(|t| t.is_any(&["left", "right", "full", "group", "having"]))
    {
        return None;
    }
    let mut rest = source;
    loop {
        let end = super::cast::top_level(rest, |t| t.is_any(&["union"])).unwrap_or(rest.len());
        let branch = &rest[..end];
        let from = super::cast::top_level(branch, |t| t.is("from"))?;
        let aggregate = branch[..from]
            .iter()
            .any(|t| t.is_any(&["count", "sum", "min", "max", "exists"]));
        let empty = super::cast::top_level(&branch[from..], |t| {
            t.name().is_some_and(|n| EMPTY.contains(&n.as_str()))
        });
        if aggregate || empty.is_none() {
            return None;
        }
        match rest.get(end + 1..) {
            Some(more) if !more.is_empty() => rest = more,
            _ => break,
        }
    }
    let items = infer::select_list(source)?;
    let columns: Vec<String> = items
        .iter()
        .map(|item| format!("NULL AS {}", quote_name(&infer::column_name(item))))
        .collect();
    Some(format!("SELECT {} WHERE 0", columns.join(", ")))
}

impl<'a> Writer<'a> {
    /// `pg_catalog.name`: functions are registered without a schema, tables lie
    /// in an attached database of that name.
    pub(super) fn catalog_name(&mut self, rest: &[Token<'a>]) -> Option<usize> {
        let called = rest.get(3).is_some_and(|t| t.is_sign("("));
        if !called {
            return None;
        }
        if rest.get(2)?.is("pg_partition_ancestors")
            && let Some(taken) = self.no_ancestors(rest)
        {
            return Some(taken);
        }
        // The name follows as an ordinary function.
        Some(2)
    }

    /// `pg_catalog.pg_partition_ancestors(x) WITH ORDINALITY AS a(b, c)`: no rows.
    fn no_ancestors(&mut self, rest: &[Token<'a>]) -> Option<usize> {
        let (_, close) = inside(rest, 3)?;
        let tail = rest.get(close + 1..)?;
        let [with, ordinality, as_, alias, ..] = tail else {
            return None;
        };
        (with.is("with") && ordinality.is("ordinality") && as_.is("as")).then_some(())?;
        let (columns, end) = inside(tail, 4)?;
        let names: Vec<String> = columns
            .iter()
            .filter(|t| t.kind != TokenKind::Punctuation)
            .map(|t| format!("NULL AS {}", t.text))
            .collect();
        self.push(format!(
            "(SELECT {} WHERE 0) AS {}",
            names.join(", "),
            alias.text
        ));
        Some(close + 1 + end + 1)
    }
}
