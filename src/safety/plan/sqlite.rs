//! SQLite's EXPLAIN QUERY PLAN: says which tables are scanned, and nothing about numbers.

use std::sync::Arc;

use super::{PlanMeasures, Scan};

/// Reads the detail column of EXPLAIN QUERY PLAN.
pub fn sqlite_scan_measures(details: &[String]) -> PlanMeasures {
    let made_here: Vec<&str> = details
        .iter()
        .filter_map(|detail| materialized(detail))
        .collect();
    let scans: Vec<Scan> = details
        .iter()
        .filter_map(|detail| scanned(detail))
        .filter(|table| !made_here.contains(table))
        .map(|table| Scan {
            table: table.into(),
            rows: None,
        })
        .collect();
    PlanMeasures {
        sequential_rows: scans.is_empty().then_some(0.0),
        sequential_scans: scans,
        top: Arc::from("the query plan"),
        scans_only: true,
        ..PlanMeasures::default()
    }
}

/// `MATERIALIZE x`, `CO-ROUTINE x`: a subquery's result, not a table.
fn materialized(detail: &str) -> Option<&str> {
    let detail = detail.trim();
    detail
        .strip_prefix("MATERIALIZE ")
        .or_else(|| detail.strip_prefix("CO-ROUTINE "))
}

/// The table of a full scan; none for a search, an index scan, a constant or a virtual table.
fn scanned(detail: &str) -> Option<&str> {
    let rest = detail.trim().strip_prefix("SCAN ")?;
    let rest = rest.strip_prefix("TABLE ").unwrap_or(rest);
    let name = rest.split(' ').next().filter(|name| !name.is_empty())?;
    let counted = rest
        .split(' ')
        .nth(1)
        .is_some_and(|word| word == "CONSTANT");
    let other = rest.contains("USING INDEX")
        || rest.contains("USING COVERING INDEX")
        || rest.contains("VIRTUAL TABLE")
        || name == "CONSTANT"
        || name.starts_with('(')
        || counted;
    (!other).then_some(name)
}
