//! `signature`: what tools of attackers send, by both protocols.

use crate::support::database::fresh_database;
use crate::support::gate::Gate;

const SETUP: &str = "
    CREATE TABLE users (id int PRIMARY KEY, name text);
    INSERT INTO users VALUES (1, 'ann'), (2, 'O''Brien');
    CREATE TABLE posts (body text);
";

/// The budget is that of an unoptimized gate: the time in which it looks through
/// the values counts. What a value can cost has to stay far below it.
const RULES: &str = "
    [[policy]]
    name = \"signature\"
    budget = \"500ms\"
    settings = { exempt = [\"posts\"] }
";

/// A value as sqlmap and its like write it, and the rule that finds it.
const VALUES: &[(&str, &str)] = &[
    ("' OR 1=1-- x", "value-tautology"),
    ("1 AND 5647=5647", "value-tautology"),
    ("1) AND 5647=5648 AND (8=8", "value-tautology"),
    ("1' AND 'abcd'='abcd", "value-tautology"),
    ("-1 UNION ALL SELECT NULL,NULL,NULL--", "value-union"),
    ("1;SELECT PG_SLEEP(5)--", "value-stacked"),
    ("1 AND 9=(SELECT 9 FROM PG_SLEEP(5))", "value-subquery"),
    ("1 AND PG_SLEEP(5) IS NULL", "value-call"),
    ("ann'--", "value-comment"),
];

#[test]
fn attempts_are_found_in_values_by_both_protocols() {
    let Some(database) = fresh_database() else {
        return;
    };
    database.prepare(SETUP);
    let gate = Gate::start(&database, RULES);
    for (value, rule) in VALUES {
        let literal = value.replace('\'', "''");
        for script in [
            format!("Q SELECT id FROM users WHERE name = '{literal}'"),
            format!("P - SELECT id FROM users WHERE name = $1\nB - - {value}\nE -\nS"),
        ] {
            let mut client = gate.connect();
            let answers = client.run(&script);
            let error = answers
                .iter()
                .find(|answer| answer.tag == b'E')
                .unwrap_or_else(|| panic!("{script} is answered"));
            assert_eq!(
                error.field(b'n'),
                format!("signature/{rule}"),
                "{script}: {}",
                error.line()
            );
            assert_eq!(client.value("SELECT count(*) FROM users"), "2", "{script}");
        }
    }
    gate.wait_for_log(&["value-union"]);
    for (sql, rule) in [
        ("SELECT id FROM users WHERE name = '' OR 1=1", "tautology"),
        ("SELECT/**/id/**/FROM/**/users", "comment"),
        ("SELECT pg_sleep(30)", "sleep"),
        ("SELECT usename FROM pg_shadow", "credentials"),
    ] {
        for script in [format!("Q {sql}"), format!("P - {sql}\nB - -\nE -\nS")] {
            let error = &gate.connect().run(&script)[0];
            assert_eq!(error.field(b'n'), format!("signature/{rule}"), "{script}");
        }
    }
    // Honest values, and texts about SQL where they belong.
    let mut client = gate.connect();
    let found = client.lines("P - SELECT id FROM users WHERE name = $1\nB - - O'Brien\nE -\nS");
    assert!(found.contains(&"DataRow 2".to_owned()), "{found:?}");
    let kept = client.lines("P - INSERT INTO posts VALUES ($1)\nB - - ' OR 1=1--\nE -\nS");
    assert!(
        kept.contains(&"CommandComplete INSERT 0 1".to_owned()),
        "{kept:?}"
    );
    // Many values, and hostile long ones, cost a bounded time: never a fault.
    let rows: Vec<String> = (10..5000)
        .map(|n| format!("({n}, 'it''s; row (n={n})')"))
        .collect();
    let load = format!("Q INSERT INTO users VALUES {}", rows.join(", "));
    let loaded = client.lines(&load);
    assert!(
        loaded.contains(&"CommandComplete INSERT 0 4990".to_owned()),
        "{loaded:?}"
    );
    for piece in ["' or ", "((((", "/*", "1 and ", "'\"`", "union ("] {
        let script = format!(
            "P - SELECT id FROM users WHERE name = $1\nB - - x{}\nE -\nS",
            piece.repeat(5000)
        );
        let answers = gate.connect().run(&script);
        assert!(
            answers
                .iter()
                .all(|answer| answer.tag != b'E' || answer.code() == "42501"),
            "{piece}: {}",
            answers[0].line()
        );
    }
}
