//! When one statement's plan speaks for the next one with other values.
//!
//! After `id < 5` passed, `id < 1000000000` must be looked at again. A plan holds
//! for all values only when every scan in it is an equality on all columns of a
//! unique index: then each yields at most one row whatever the value is. And the
//! plan must not be what the values left of the statement: the planner folds
//! constants, so `id = $1 OR $2` looks like a look-up by key while `$2` is false.
//! That is why the text has to be plain, too.

use std::sync::Arc;

use serde_json::Value;

use crate::backend::postgres::catalog::CatalogSnapshot;
use crate::model::{Access, Facts};

use super::condition::equalities;
use super::explain::{children, kind, plans, text};

/// What the catalog knows about keys.
pub trait Uniqueness {
    /// Columns of the unique index of that name on a table of that name; none
    /// when there is no such index, when more than one could be meant, or when the
    /// table is a partition or inherits (other values may lead to another one).
    fn unique_columns(&self, table: &str, index: &str) -> Option<Vec<Arc<str>>>;
}

impl Uniqueness for CatalogSnapshot {
    fn unique_columns(&self, table: &str, index: &str) -> Option<Vec<Arc<str>>> {
        CatalogSnapshot::unique_columns(self, table, index)
    }
}

/// Words that can make a condition something else than a conjunction, or hide a scan.
const FOLDABLE: &[&str] = &[
    "or",
    "not",
    "case",
    "union",
    "intersect",
    "except",
    "any",
    "some",
    "all",
    "recursive",
];

/// Words behind which conditions stand.
const CONDITIONAL: &[&str] = &["where", "on", "having"];

/// Whether the plan holds for every value that the same normalized text can carry.
pub fn is_reusable(
    explain: &Value,
    facts: &Facts,
    normalized: &str,
    unique: &dyn Uniqueness,
) -> bool {
    if !facts.has_literals && facts.parameters == 0 {
        return true;
    }
    let plain = facts.operators.is_empty()
        && facts.functions.iter().all(|function| function.harmless)
        && !facts.is_opaque()
        && is_plain(normalized);
    if !plain {
        return false;
    }
    let mut scans = Scans {
        unique,
        tables: Vec::new(),
    };
    if !plans(explain).all(|plan| scans.hold(plan)) {
        return false;
    }
    // A table that the statement reads and the plan does not: the values made it superfluous.
    facts
        .relations
        .iter()
        .filter(|relation| reads(relation.access))
        .all(|relation| scans.tables.iter().any(|table| **table == *relation.name))
}

fn reads(access: Access) -> bool {
    access.intersects(Access::SELECT | Access::UPDATE | Access::DELETE)
}

/// No word that folds, and no parenthesis where conditions stand.
fn is_plain(normalized: &str) -> bool {
    let mut conditions = false;
    for token in tokens(normalized) {
        let word = token.to_ascii_lowercase();
        if FOLDABLE.contains(&&*word) || (conditions && token == "(") {
            return false;
        }
        conditions |= CONDITIONAL.contains(&&*word);
    }
    true
}

/// Words, and single characters between them.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let first = rest.chars().next()?;
        let length = if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        Some(token)
    })
}

struct Scans<'a, 'v> {
    unique: &'a dyn Uniqueness,
    tables: Vec<&'v str>,
}

impl<'v> Scans<'_, 'v> {
    fn hold(&mut self, node: &'v Value) -> bool {
        // A gate in front of a subtree, or partitions that were left out: the values decided.
        if node.get("One-Time Filter").is_some() || node.get("Subplans Removed").is_some() {
            return false;
        }
        let holds = match kind(node) {
            "Index Scan" | "Index Only Scan" => self.by_key(node, node),
            "Bitmap Heap Scan" => match children(node).next() {
                Some(index) if kind(index) == "Bitmap Index Scan" => self.by_key(node, index),
                _ => false,
            },
            "Bitmap Index Scan" | "Result" | "Values Scan" | "Subquery Scan" | "CTE Scan" => true,
            "ProjectSet" | "Recursive Union" | "BitmapOr" | "BitmapAnd" => false,
            // Any other way to read something: from end to end, by row address, from a function, elsewhere.
            other => !other.ends_with("Scan"),
        };
        holds && children(node).all(|child| self.hold(child))
    }

    fn by_key(&mut self, scan: &'v Value, index: &'v Value) -> bool {
        let (Some(table), Some(name), Some(condition)) = (
            text(scan, "Relation Name"),
            text(index, "Index Name"),
            text(index, "Index Cond"),
        ) else {
            return false;
        };
        self.tables.push(table);
        let (Some(columns), Some(equal)) = (
            self.unique.unique_columns(table, name),
            equalities(condition),
        ) else {
            return false;
        };
        !columns.is_empty()
            && columns
                .iter()
                .all(|column| equal.iter().any(|equal| **equal == **column))
    }
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn a_text_is_plain_when_its_conditions_are_a_conjunction() {
        let plain = [
            "SELECT abalance FROM pgbench_accounts WHERE aid = ?",
            "UPDATE t SET v = (SELECT 1), w = v + ? WHERE a = ? AND b = ?",
            "INSERT INTO t (a, b) VALUES (?, ?)",
            "SELECT * FROM a JOIN b ON a.id = b.id WHERE a.id = $1 LIMIT $2",
        ];
        let others = [
            "SELECT * FROM t WHERE id = $1 OR $2",
            "SELECT * FROM t WHERE (id = $1) = $2",
            "SELECT * FROM t WHERE id = $1 AND coalesce($2, true)",
            "SELECT * FROM t WHERE id = ? UNION ALL SELECT * FROM u WHERE id = ?",
            "SELECT * FROM t WHERE CASE WHEN $1 THEN id = 1 END",
            "SELECT * FROM t WHERE NOT id = ?",
            "SELECT * FROM t WHERE id=ANY($1)",
        ];
        for text in plain {
            assert!(is_plain(text), "{text}");
        }
        for text in others {
            assert!(!is_plain(text), "{text}");
        }
    }
}
