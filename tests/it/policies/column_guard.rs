//! `column-guard`: the column is in no answer, whatever stands in front of it.

use crate::support::database::fresh_database;
use crate::support::gate::Gate;

const SETUP: &str = "
    CREATE TABLE users (id int PRIMARY KEY, name text, email text);
    INSERT INTO users SELECT i, 'user ' || i, 'secret' || i FROM generate_series(1, 5) i;
    CREATE TABLE orders (id int, owner int REFERENCES users);
    INSERT INTO orders VALUES (1, 2);
    CREATE VIEW everything AS SELECT * FROM users;
    CREATE VIEW renamed AS SELECT id, email AS contact FROM everything;
    CREATE FUNCTION contact(int) RETURNS text LANGUAGE sql STABLE AS
        'SELECT email FROM users WHERE id = $1';
    CREATE TABLE people (id int, email text) PARTITION BY LIST (id);
    CREATE TABLE people_1 PARTITION OF people FOR VALUES IN (1);
    INSERT INTO people VALUES (1, 'secret6');
";

const RULES: &str = "
    [[policy]]
    name = \"column-guard\"
    settings = { columns = [\"users.email\", \"people.email\"], roles = [\"payroll\"] }
";

const REFUSED: &[(&str, &str)] = &[
    ("SELECT * FROM users", "read"),
    ("SELECT u FROM users u", "read"),
    ("SELECT * FROM everything", "read"),
    ("SELECT contact FROM renamed", "read"),
    ("SELECT contact(1)", "read"),
    // The table is named as well, and the view beside it shows the column.
    (
        "SELECT r.contact FROM users u JOIN renamed r ON r.id = u.id",
        "read",
    ),
    ("SELECT u.id, contact(u.id) FROM users u", "read"),
    (
        "SELECT id FROM users WHERE name IN (SELECT contact FROM renamed)",
        "read",
    ),
    (
        "SELECT * FROM orders o JOIN renamed r ON r.id = o.owner",
        "read",
    ),
    ("COPY (SELECT * FROM everything) TO STDOUT", "read"),
    (
        "UPDATE users SET name = 'x' WHERE id = 1 RETURNING *",
        "read",
    ),
    ("UPDATE users SET name = email WHERE id = 1", "read"),
    (
        "SELECT id FROM users WHERE email LIKE 'secret%'",
        "condition",
    ),
    ("SELECT email FROM people", "read"),
    (
        "SELECT most_common_vals FROM pg_stats WHERE tablename = 'users'",
        "statistics",
    ),
];

#[test]
fn a_guarded_column_is_read_by_no_way_around_its_name() {
    let Some(database) = fresh_database() else {
        return;
    };
    database.prepare(SETUP);
    let gate = Gate::start(&database, RULES);
    for (sql, rule) in REFUSED {
        for script in [format!("Q {sql}"), format!("P - {sql}\nB - -\nE -\nS")] {
            let answers = gate.connect().run(&script);
            let lines: Vec<String> = answers.iter().map(|answer| answer.line()).collect();
            let error = answers
                .iter()
                .find(|answer| answer.tag == b'E')
                .unwrap_or_else(|| panic!("{script}: {lines:?}"));
            let by = format!("column-guard/{rule}");
            assert_eq!(error.field(b'n'), by, "{script}: {lines:?}");
            assert!(
                !lines.iter().any(|line| line.contains("secret")),
                "{lines:?}"
            );
        }
    }
    let mut client = gate.connect();
    for (sql, answer) in [
        ("SELECT name FROM users WHERE id = 2", "user 2"),
        ("SELECT count(*) FROM users", "5"),
        ("SELECT id FROM people", "1"),
        ("INSERT INTO orders VALUES (2, 3) RETURNING id", "2"),
        (
            "SELECT a.name FROM users a JOIN users b ON b.id = a.id WHERE a.id = 2",
            "user 2",
        ),
        (
            "SELECT u.name FROM orders o JOIN users u ON u.id = o.owner",
            "user 2",
        ),
        (
            "UPDATE users SET email = 'new' WHERE id = 1 RETURNING id",
            "1",
        ),
    ] {
        assert_eq!(client.value(sql), answer, "{sql}");
    }
    assert_eq!(
        database
            .direct()
            .value("SELECT email FROM users WHERE id = 1"),
        "new"
    );
}

#[test]
fn views_may_decide_themselves_where_the_operator_says_so() {
    let Some(database) = fresh_database() else {
        return;
    };
    database.prepare(SETUP);
    let rules = RULES.replace("roles = [\"payroll\"]", "behind = \"allow\"");
    let gate = Gate::start(&database, &rules);
    let mut client = gate.connect();
    assert_eq!(
        client.value("SELECT contact FROM renamed WHERE id = 3"),
        "secret3"
    );
    let refused = &client.run("Q SELECT email FROM users")[0];
    assert_eq!(refused.field(b'n'), "column-guard/read");
}

#[test]
fn a_mask_that_cannot_be_carried_out_refuses() {
    let Some(database) = fresh_database() else {
        return;
    };
    database.prepare(SETUP);
    let rules = RULES.replace("roles = [\"payroll\"]", "action = \"mask\"");
    let gate = Gate::start(&database, &rules);
    let mut client = gate.connect();
    let refused = &client.run("Q SELECT email FROM users")[0];
    assert_eq!(refused.tag, b'E', "{}", refused.line());
    assert!(refused.line().contains("mask"), "{}", refused.line());
    assert_eq!(
        client.value("SELECT name FROM users WHERE id = 2"),
        "user 2"
    );
}
