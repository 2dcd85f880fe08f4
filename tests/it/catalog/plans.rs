//! Real plans: their numbers, and whether they hold for other values.

use portcullis::backend::postgres::catalog::CatalogSnapshot;
use portcullis::model::Measure;
use portcullis::safety::plan::{PlanMeasures, is_reusable, measures_with};
use portcullis::sql::{self, Lexer};

use crate::support::raw::Raw;

use super::fixture::Known;

const SCHEMA: &str = "
CREATE TABLE users(id int PRIMARY KEY, name text, email varchar(40) UNIQUE, active bool);
CREATE TABLE pair(a int, b int, v text, PRIMARY KEY (a, b));
CREATE TABLE history(id int, at timestamp, v int);
CREATE TABLE events(id int, day int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (1000000);
CREATE TABLE quiet(id int);
CREATE RULE also AS ON DELETE TO quiet DO ALSO DELETE FROM pair;
INSERT INTO users SELECT i, 'n' || i, 'e' || i, true FROM generate_series(1, 20000) i;
INSERT INTO pair SELECT i, i, 'x' FROM generate_series(1, 20000) i;
INSERT INTO events SELECT i, i FROM generate_series(1, 20000) i;
ANALYZE users; ANALYZE pair; ANALYZE events;
";

fn look(link: &mut Raw, snapshot: &CatalogSnapshot, sql: &str) -> (PlanMeasures, bool) {
    let text = link.value(&format!("EXPLAIN (FORMAT JSON) {sql}"));
    // The raw client prints line breaks as `\n`.
    let explain: serde_json::Value =
        serde_json::from_str(&text.replace("\\n", "\n")).expect("JSON");
    let analysis = sql::analyze(sql, Lexer::POSTGRES);
    let statement = analysis.statements.first().expect("a statement");
    let rows = |schema: Option<&str>, table: &str| snapshot.table_rows(schema, table);
    let reusable = is_reusable(&explain, &statement.facts, &statement.normalized, snapshot);
    (measures_with(&explain, &rows), reusable)
}

#[test]
fn only_plans_by_key_hold_for_other_values() {
    let Some(known) = Known::new(SCHEMA) else {
        return;
    };
    let (snapshot, mut link) = (known.snapshot(), known.database.direct());
    let cases = [
        ("SELECT name FROM users WHERE id = 5", true),
        ("SELECT name FROM users WHERE id = 5 AND name = 'x'", true),
        ("SELECT name FROM users WHERE email = 'e5'", true),
        ("UPDATE users SET name = 'x' WHERE id = 7", true),
        ("DELETE FROM users WHERE id = 7", true),
        ("SELECT v FROM pair WHERE a = 1 AND b = 2", true),
        (
            "SELECT u.name, p.v FROM users u JOIN pair p ON p.a = u.id AND p.b = u.id WHERE u.id = 5",
            true,
        ),
        ("INSERT INTO history VALUES (1, now(), 5)", true),
        ("SELECT count(*) FROM users", true),
        ("SELECT name FROM users WHERE id < 5", false),
        ("SELECT name FROM users WHERE name = 'x'", false),
        ("SELECT v FROM pair WHERE a = 1", false),
        ("SELECT name FROM users WHERE id = 5.0", false),
        ("SELECT name FROM users WHERE id = 5 OR name = 'x'", false),
        ("SELECT name FROM users WHERE id IN (1, 2)", false),
        (
            "SELECT name FROM users WHERE id = 5 UNION ALL SELECT v FROM pair WHERE a = 1 AND b = 2",
            false,
        ),
        ("SELECT * FROM generate_series(1, 5)", false),
        ("SELECT id FROM events WHERE id = 5 AND day = 5", false),
        ("DELETE FROM quiet WHERE id = 5", false),
    ];
    let mut wrong = Vec::new();
    for (sql, expected) in cases {
        let (_, reusable) = look(&mut link, &snapshot, sql);
        if reusable != expected {
            wrong.push(format!("{sql}: reusable {reusable}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn numbers_come_from_the_worst_plan() {
    let Some(known) = Known::new(SCHEMA) else {
        return;
    };
    let (snapshot, mut link) = (known.snapshot(), known.database.direct());
    let mut measure = |sql: &str, measure: Measure| {
        look(&mut link, &snapshot, sql)
            .0
            .value(measure)
            .expect("a number")
    };
    assert_eq!(measure("DELETE FROM users", Measure::Rows), 20_000.0);
    assert_eq!(measure("DELETE FROM quiet", Measure::Rows), 20_000.0);
    assert_eq!(
        measure(
            "SELECT * FROM users WHERE name = 'x'",
            Measure::SequentialRows
        ),
        20_000.0
    );
    assert_eq!(
        measure("SELECT * FROM users WHERE id = 5", Measure::SequentialScans),
        0.0
    );
    assert_eq!(
        measure("SELECT * FROM users, pair", Measure::CrossJoins),
        1.0
    );
    assert_eq!(
        measure(
            "SELECT * FROM users JOIN pair ON a = id",
            Measure::CrossJoins
        ),
        0.0
    );
    assert_eq!(
        measure(
            "SELECT * FROM users u JOIN pair p ON p.a > u.id",
            Measure::CrossJoins
        ),
        0.0
    );
    assert!(measure("SELECT * FROM users, pair", Measure::TotalCost) > 1e6);
}
