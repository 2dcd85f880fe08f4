//! Plans as a real server prints them, and what they mean.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::model::{Access, BindValue, Facts, Kind, Literal, Relation, Via};

/// `users(id primary key, name, email unique)`, `pair(a, b, primary key (a, b))`.
struct Keys;

impl Uniqueness for Keys {
    fn unique_columns(&self, table: &str, index: &str) -> Option<Vec<Arc<str>>> {
        let columns: &[&str] = match (table, index) {
            ("users", "users_pkey") => &["id"],
            ("users", "users_email_key") => &["email"],
            ("pair", "pair_pkey") => &["a", "b"],
            _ => return None,
        };
        Some(columns.iter().map(|column| Arc::from(*column)).collect())
    }
}

fn limit(measure: Measure, limit: f64) -> [Requirement; 1] {
    [Requirement {
        policy: "plan-guard".into(),
        kind: RequirementKind::PlanMax { measure, limit },
    }]
}

fn explain(plan: Value) -> Value {
    json!([{ "Plan": plan }])
}

fn seq(table: &str, rows: u64) -> Value {
    json!({"Node Type": "Seq Scan", "Relation Name": table, "Alias": table, "Parent Relationship": "Outer",
           "Startup Cost": 0.0, "Total Cost": 1628.0, "Plan Rows": rows})
}

fn by_key(table: &str, index: &str, condition: &str) -> Value {
    json!({"Node Type": "Index Scan", "Index Name": index, "Relation Name": table, "Alias": table,
           "Total Cost": 8.31, "Plan Rows": 1, "Index Cond": condition})
}

fn facts(relations: &[(&str, Access)]) -> Facts {
    let mut facts = Facts::empty(Kind::Select);
    facts.relations = relations
        .iter()
        .map(|(name, access)| Relation {
            schema: None,
            name: (*name).into(),
            access: *access,
            via: Via::Direct,
        })
        .collect();
    facts.parameters = 1;
    facts
}

fn number(text: &str) -> Literal {
    Literal {
        span: 0..text.len(),
        value: text.into(),
        string: false,
    }
}

#[test]
fn reads_the_rows_of_a_change_from_its_input() {
    let plan = explain(
        json!({"Node Type": "ModifyTable", "Operation": "Delete", "Relation Name": "users",
        "Total Cost": 1628.0, "Plan Rows": 0, "Plans": [seq("users", 100_000)]}),
    );
    let found = measures(&plan);
    assert_eq!(found.rows, Some(100_000.0));
    assert_eq!(found.value(Measure::SequentialScans), Some(1.0));
}

#[test]
fn takes_the_worst_of_several_plans() {
    let plan = json!([
        {"Plan": {"Node Type": "ModifyTable", "Total Cost": 15.0, "Plan Rows": 0, "Plans": [seq("logs", 1000)]}},
        {"Plan": {"Node Type": "ModifyTable", "Total Cost": 0.0, "Plan Rows": 0, "Plans": [seq("ruled", 1)]}},
    ]);
    let found = measures(&plan);
    assert_eq!((found.total_cost, found.rows), (Some(15.0), Some(1000.0)));
    assert_eq!(
        (found.sequential_rows, found.sequential_scans.len()),
        (Some(1000.0), 2)
    );
}

#[test]
fn believes_the_catalog_about_the_size_of_a_table() {
    let plan = explain(seq("users", 1));
    assert_eq!(measures(&plan).sequential_rows, Some(1.0));
    let known = measures_with(&plan, &|_, table| (table == "users").then_some(100_000.0));
    assert_eq!(known.sequential_rows, Some(100_000.0));
    let refusal = check(&known, &limit(Measure::SequentialRows, 50_000.0)).expect_err("too large");
    assert_eq!(
        &*refusal.message,
        "the plan reads all 100000 rows of \"users\", the limit is 50000"
    );
    assert_eq!(
        (refusal.code, refusal.constraint().as_str()),
        ("54001", "plan-guard/sequential-rows")
    );
}

#[test]
fn counts_joins_without_a_condition() {
    let nested = |extra: Value, inner: Value| {
        let mut node = json!({"Node Type": "Nested Loop", "Join Type": "Inner", "Total Cost": 1e8,
            "Plan Rows": 1e10, "Plans": [seq("users", 100_000), inner]});
        if let (Some(node), Some(extra)) = (node.as_object_mut(), extra.as_object()) {
            node.extend(extra.clone());
        }
        explain(node)
    };
    let orders = || json!({"Node Type": "Materialize", "Plan Rows": 100_000, "Plans": [seq("orders", 100_000)]});
    let crossed = measures(&nested(json!({}), orders()));
    assert_eq!(crossed.value(Measure::CrossJoins), Some(1.0));
    let refusal = check(&crossed, &limit(Measure::CrossJoins, 0.0)).expect_err("a cross join");
    assert_eq!(
        &*refusal.detail,
        "every row of Seq Scan on \"users\" is joined with every row of Materialize on \"orders\""
    );
    let filtered = measures(&nested(
        json!({"Join Filter": "(users.id > orders.id)"}),
        orders(),
    ));
    assert_eq!(filtered.cross_joins.len(), 0);
    let mut inner = by_key("orders", "orders_pkey", "(id = users.id)");
    inner["Plan Rows"] = json!(3);
    assert_eq!(measures(&nested(json!({}), inner)).cross_joins.len(), 0);
    let one = measures(&nested(
        json!({}),
        by_key("orders", "orders_pkey", "(id = 5)"),
    ));
    assert_eq!(
        one.cross_joins.len(),
        0,
        "a side of one row multiplies nothing"
    );
    let function = json!({"Node Type": "Function Scan", "Alias": "x", "Plan Rows": 10});
    assert_eq!(measures(&nested(json!({}), function)).cross_joins.len(), 0);
}

#[test]
fn refuses_what_cannot_be_measured_and_what_is_no_number() {
    let sqlite = sqlite_scan_measures(&["SCAN users".to_owned()]);
    let refusal = check(&sqlite, &limit(Measure::TotalCost, 1e9)).expect_err("SQLite has no costs");
    assert_eq!(&*refusal.message, "the plan does not tell its total-cost");
    let plan = explain(json!({"Node Type": "Result", "Plan Rows": 1}));
    assert!(
        check(&measures(&plan), &limit(Measure::TotalCost, 1e9)).is_err(),
        "a plan without a cost"
    );
    let plan = explain(seq("users", 5));
    assert!(check(&measures(&plan), &limit(Measure::Rows, f64::NAN)).is_err());
    assert!(check(&measures(&plan), &limit(Measure::Rows, 5.0)).is_ok());
}

#[test]
fn reads_sqlites_query_plan() {
    let cases: [(&[&str], &[&str]); 6] = [
        (&["SCAN users"], &["users"]),
        (&["SCAN TABLE users"], &["users"]),
        (&["SEARCH users USING INTEGER PRIMARY KEY (rowid=?)"], &[]),
        (&["SCAN users USING COVERING INDEX by_name"], &[]),
        (
            &[
                "CO-ROUTINE sub",
                "SCAN orders",
                "SCAN sub",
                "USE TEMP B-TREE FOR ORDER BY",
            ],
            &["orders"],
        ),
        (
            &[
                "SCAN CONSTANT ROW",
                "SCAN 2 CONSTANT ROWS",
                "SCAN json_each VIRTUAL TABLE INDEX 1:",
            ],
            &[],
        ),
    ];
    for (details, expected) in cases {
        let details: Vec<String> = details.iter().map(|detail| (*detail).to_owned()).collect();
        let found = sqlite_scan_measures(&details);
        let tables: Vec<&str> = found
            .sequential_scans
            .iter()
            .map(|scan| &*scan.table)
            .collect();
        assert_eq!(tables, expected, "{details:?}");
    }
}

#[test]
fn reuses_a_plan_only_when_every_scan_is_a_key() {
    let users = facts(&[("users", Access::SELECT)]);
    let pair = facts(&[("pair", Access::SELECT)]);
    let both = facts(&[("users", Access::SELECT), ("pair", Access::SELECT)]);
    let nested = json!({"Node Type": "Nested Loop", "Plans": [
        by_key("users", "users_pkey", "(id = 5)"), by_key("pair", "pair_pkey", "((a = users.id) AND (b = 2))")]});
    let filtered = json!({"Node Type": "Result", "One-Time Filter": "false"});
    let cases = [
        (by_key("users", "users_pkey", "(id = 5)"), &users, true),
        (
            by_key("users", "users_email_key", "((email)::text = 'e'::text)"),
            &users,
            true,
        ),
        (by_key("users", "users_pkey", "(id < 5)"), &users, false),
        (by_key("users", "users_name", "(name = 'x')"), &users, false),
        (
            by_key("users", "users_pkey", "(id = ANY ('{1,2}'::integer[]))"),
            &users,
            false,
        ),
        (
            by_key("pair", "pair_pkey", "((a = 1) AND (b = 2))"),
            &pair,
            true,
        ),
        (by_key("pair", "pair_pkey", "(a = 1)"), &pair, false),
        (seq("users", 1), &users, false),
        (nested, &both, true),
        (by_key("users", "users_pkey", "(id = 5)"), &both, false),
        (filtered, &users, false),
        (
            json!({"Node Type": "Function Scan", "Function Name": "generate_series"}),
            &facts(&[]),
            false,
        ),
        (
            json!({"Node Type": "ModifyTable", "Operation": "Insert", "Plans": [{"Node Type": "Result"}]}),
            &facts(&[("users", Access::INSERT)]),
            true,
        ),
        (
            json!({"Node Type": "ModifyTable", "Operation": "Insert", "Plans": [{"Node Type": "Result"}]}),
            &facts(&[("users", Access::INSERT), ("logs", Access::SELECT)]),
            false,
        ),
    ];
    for (plan, facts, expected) in cases {
        let found = is_reusable(
            &explain(plan.clone()),
            facts,
            "SELECT * FROM t WHERE id = $1",
            &Keys,
        );
        assert_eq!(found, expected, "{plan}");
    }
    let mut constant = facts(&[("users", Access::SELECT)]);
    constant.parameters = 0;
    assert!(is_reusable(
        &explain(seq("users", 9)),
        &constant,
        "SELECT * FROM users",
        &Keys
    ));
}

fn asked<'a>(literals: &'a [Literal], values: &'a [BindValue]) -> PlanAsked<'a> {
    PlanAsked {
        normalized: "SELECT * FROM users WHERE id = ?",
        role: "app",
        search_path: None,
        settings: 1,
        plan_epoch: 7,
        literals,
        values,
    }
}

#[test]
fn a_reusable_plan_serves_other_values_of_the_same_type_only() {
    let mut cache = PlanCache::new();
    let plan = Arc::new(PlanMeasures::default());
    cache.insert(&asked(&[number("5")], &[]), plan, true);
    assert!(cache.get(&asked(&[number("6")], &[])).is_some());
    assert!(
        cache.get(&asked(&[number("5000000000")], &[])).is_none(),
        "a bigint"
    );
    assert!(
        cache.get(&asked(&[number("5.0")], &[])).is_none(),
        "a numeric is compared by casting the column"
    );
    let other = PlanAsked {
        plan_epoch: 8,
        ..asked(&[], &[])
    };
    assert!(
        cache
            .get(&PlanAsked {
                literals: &[number("5")],
                ..other
            })
            .is_none()
    );
    let role = PlanAsked {
        role: "other",
        ..asked(&[], &[])
    };
    assert!(
        cache
            .get(&PlanAsked {
                literals: &[number("5")],
                ..role
            })
            .is_none()
    );
}

#[test]
fn any_other_plan_serves_its_own_values_only() {
    let mut cache = PlanCache::new();
    let value = |text: &'static [u8]| BindValue {
        type_oid: 23,
        binary: false,
        bytes: Some(bytes::Bytes::from_static(text)),
    };
    cache.insert(
        &asked(&[], &[value(b"5")]),
        Arc::new(PlanMeasures::default()),
        false,
    );
    assert!(cache.get(&asked(&[], &[value(b"5")])).is_some());
    assert!(cache.get(&asked(&[], &[value(b"1000000000")])).is_none());
    let binary = BindValue {
        binary: true,
        ..value(b"5")
    };
    assert!(cache.get(&asked(&[], &[binary])).is_none());
}

#[test]
fn a_flood_of_values_is_bounded_and_does_not_push_out_reusable_plans() {
    let mut cache = PlanCache::new();
    cache.insert(
        &asked(&[number("5")], &[]),
        Arc::new(PlanMeasures::default()),
        true,
    );
    for id in 0..10_000 {
        let literal = [Literal {
            string: true,
            ..number(&id.to_string())
        }];
        cache.insert(
            &asked(&literal, &[]),
            Arc::new(PlanMeasures::default()),
            false,
        );
    }
    assert!(cache.len() <= 2 * 1024 + 1, "{}", cache.len());
    assert!(cache.get(&asked(&[number("77")], &[])).is_some());
}
