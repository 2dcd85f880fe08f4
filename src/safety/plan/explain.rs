//! EXPLAIN (FORMAT JSON) becomes numbers.

use std::sync::Arc;

use serde_json::Value;

use super::{PlanMeasures, Scan};

/// Rows of a table by the catalog, given schema (if the plan names it) and name.
pub type TableRows<'a> = &'a dyn Fn(Option<&str>, &str) -> Option<f64>;

/// Conditions in which an inner side can refer to its outer side.
const CONDITIONS: &[&str] = &[
    "Index Cond",
    "Filter",
    "Recheck Cond",
    "Hash Cond",
    "Merge Cond",
    "TID Cond",
    "Join Filter",
    "One-Time Filter",
    "Cache Key",
    "Order By",
    "Function Call",
];

/// Reads a plan; see [`measures_with`]. A table's size is then the planner's guess of what the scan returns.
pub fn measures(explain: &Value) -> PlanMeasures {
    measures_with(explain, &|_, _| None)
}

/// Reads a plan. A statement with rules has several: the worst of each number counts, scans and joins add up.
pub fn measures_with(explain: &Value, rows: TableRows<'_>) -> PlanMeasures {
    let mut reader = Reader {
        rows,
        found: PlanMeasures::default(),
    };
    for plan in plans(explain) {
        reader.plan(plan);
    }
    let mut found = reader.found;
    found.sequential_scans.sort_by(|a, b| {
        let rows = |scan: &Scan| scan.rows.unwrap_or(f64::INFINITY);
        rows(b).total_cmp(&rows(a))
    });
    // No sequential scan: nothing is read from end to end.
    found.sequential_rows = match found.sequential_scans.first() {
        Some(scan) => scan.rows,
        None => Some(0.0),
    };
    found
}

/// The top nodes of all plans in an EXPLAIN.
pub(super) fn plans(explain: &Value) -> impl Iterator<Item = &Value> {
    explain
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.get("Plan"))
}

/// The nodes right below.
pub(super) fn children(node: &Value) -> impl Iterator<Item = &Value> {
    node.get("Plans")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

pub(super) fn text<'v>(node: &'v Value, key: &str) -> Option<&'v str> {
    node.get(key).and_then(Value::as_str)
}

pub(super) fn kind(node: &Value) -> &str {
    text(node, "Node Type").unwrap_or("")
}

fn planned_rows(node: &Value) -> f64 {
    node.get("Plan Rows").and_then(Value::as_f64).unwrap_or(0.0)
}

/// Whether the node feeds its parent's rows, and is no subplan beside it.
fn is_input(node: &Value) -> bool {
    !matches!(
        text(node, "Parent Relationship"),
        Some("InitPlan" | "SubPlan")
    )
}

struct Reader<'a> {
    rows: TableRows<'a>,
    found: PlanMeasures,
}

impl Reader<'_> {
    fn plan(&mut self, top: &Value) {
        let cost = top
            .get("Total Cost")
            .and_then(Value::as_f64)
            .unwrap_or(f64::INFINITY);
        if self.found.total_cost.is_none_or(|known| cost > known) {
            self.found.total_cost = Some(cost);
            self.found.top = describe(top);
        }
        // ModifyTable says 0 rows unless it returns some: what it changes is what its input yields.
        let rows = match kind(top) {
            "ModifyTable" => children(top)
                .filter(|node| is_input(node))
                .map(planned_rows)
                .fold(0.0, f64::max),
            _ => planned_rows(top),
        };
        self.found.rows = Some(self.found.rows.map_or(rows, |known| known.max(rows)));
        self.node(top);
    }

    /// Depth is bounded by the JSON reader, which refuses more than 128 levels.
    fn node(&mut self, node: &Value) {
        match kind(node) {
            "Seq Scan" | "Sample Scan" => self.scan(node),
            "Nested Loop" | "Merge Join" => self.join(node),
            "ModifyTable" => self.changed_rows(node),
            _ => {}
        }
        children(node).for_each(|child| self.node(child));
    }

    /// A change inside a CTE is as much a change as one at the top.
    fn changed_rows(&mut self, node: &Value) {
        let rows = children(node)
            .filter(|child| is_input(child))
            .map(planned_rows)
            .fold(0.0, f64::max);
        self.found.rows = Some(self.found.rows.map_or(rows, |known| known.max(rows)));
    }

    fn scan(&mut self, node: &Value) {
        let table = text(node, "Relation Name").unwrap_or("?");
        let known = (self.rows)(text(node, "Schema"), table);
        let planned = planned_rows(node);
        let rows = known.map_or(planned, |known| known.max(planned));
        self.found.sequential_scans.push(Scan {
            table: table.into(),
            rows: Some(rows),
        });
    }

    /// A join without a condition, both sides more than one row, the inner one a table.
    ///
    /// One row on a side is how the planner joins two look-ups by key. Functions
    /// on the inner side usually are given the outer row, which the plan does not show.
    fn join(&mut self, node: &Value) {
        if text(node, "Join Filter").is_some() || text(node, "Merge Cond").is_some() {
            return;
        }
        let mut inputs = children(node).filter(|child| is_input(child));
        let (Some(outer), Some(inner)) = (inputs.next(), inputs.next()) else {
            return;
        };
        let mut names = Vec::new();
        aliases(outer, &mut names);
        let one = planned_rows(outer) <= 1.0 || planned_rows(inner) <= 1.0;
        if !one && reads_table(inner) && !refers(inner, &names) {
            self.found
                .cross_joins
                .push((describe(outer), describe(inner)));
        }
    }
}

fn aliases<'v>(node: &'v Value, found: &mut Vec<&'v str>) {
    found.extend(text(node, "Alias"));
    children(node).for_each(|child| aliases(child, found));
}

fn reads_table(node: &Value) -> bool {
    text(node, "Relation Name").is_some()
        || kind(node) == "CTE Scan"
        || children(node).any(reads_table)
}

/// Whether a condition below mentions one of these aliases.
fn refers(node: &Value, names: &[&str]) -> bool {
    let mentions = |condition: &str| {
        names.iter().any(|name| {
            condition.contains(&format!("{name}."))
                || condition.contains(&format!("\"{}\".", name.replace('"', "\"\"")))
        })
    };
    CONDITIONS
        .iter()
        .filter_map(|key| text(node, key))
        .any(mentions)
        || children(node).any(|child| refers(child, names))
}

/// `Seq Scan on users`, `Nested Loop`.
fn describe(node: &Value) -> Arc<str> {
    match text(node, "Relation Name").or_else(|| children(node).find_map(only_table)) {
        Some(table) => format!("{} on \"{table}\"", kind(node)).into(),
        None => kind(node).into(),
    }
}

/// The table below nodes with a single input (Materialize, Sort, Gather).
fn only_table(node: &Value) -> Option<&str> {
    let mut inputs = children(node);
    match (text(node, "Relation Name"), inputs.next(), inputs.next()) {
        (Some(table), ..) => Some(table),
        (None, Some(only), None) => only_table(only),
        _ => None,
    }
}
