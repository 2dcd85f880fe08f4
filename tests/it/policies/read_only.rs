//! `read-only`: no way to change anything, by any protocol.

use crate::support::database::fresh_database;
use crate::support::gate::Gate;

const SETUP: &str = "
    CREATE TABLE users (id int PRIMARY KEY, name text);
    INSERT INTO users SELECT i, 'user ' || i FROM generate_series(1, 5) i;
    CREATE SEQUENCE numbers;
    CREATE VIEW people AS SELECT * FROM users;
    CREATE VIEW writable AS SELECT id, name FROM users;
    CREATE RULE gone AS ON UPDATE TO writable DO INSTEAD DELETE FROM users;
    CREATE FUNCTION purge() RETURNS int LANGUAGE sql AS 'DELETE FROM users; SELECT 1';
    CREATE FUNCTION price(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT $1 * 2';
    CREATE VIEW trap AS SELECT purge() AS n;
";

const RULES: &str = "
    [[policy]]
    name = \"read-only\"
    settings = { functions = [\"price\", \"purge\"] }
";

/// A statement and the rule that refuses it.
const REFUSED: &[(&str, &str)] = &[
    ("DELETE FROM users WHERE id = 1", "write"),
    ("UPDATE writable SET name = 'x' WHERE id = 1", "write"),
    // Listed, but the catalog shows what its body does.
    ("SELECT purge()", "write"),
    ("SELECT * FROM trap", "write"),
    ("SELECT nextval('numbers')", "write"),
    ("SELECT lo_create(0)", "write"),
    ("SELECT * FROM users WHERE id = 1 FOR UPDATE", "lock"),
    ("SELECT unlisted(1)", "function"),
    ("SET default_transaction_read_only = off", "switch"),
    (
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
        "switch",
    ),
    (
        "SELECT set_config('transaction_read_only', 'off', false)",
        "switch",
    ),
    ("DO $$ BEGIN PERFORM purge(); END $$", "code"),
    ("CREATE TEMP TABLE t AS SELECT 1", "write"),
    ("VACUUM users", "kind"),
];

#[test]
fn read_only_refuses_every_write_and_lets_reading_through() {
    let Some(database) = fresh_database() else {
        return;
    };
    database.prepare(SETUP);
    let gate = Gate::start(&database, RULES);
    for (sql, rule) in REFUSED {
        for script in [format!("Q {sql}"), format!("P - {sql}\nB - -\nE -\nS")] {
            let mut client = gate.connect();
            let answers = client.run(&script);
            let error = answers
                .iter()
                .find(|answer| answer.tag == b'E')
                .unwrap_or_else(|| panic!("{script} is answered"));
            let by = format!("read-only/{rule}");
            assert_eq!(error.field(b'n'), by, "{script}: {}", error.line());
            assert!(!error.field(b'H').is_empty(), "{script}");
            assert_eq!(client.value("SELECT count(*) FROM users"), "5", "{script}");
        }
    }
    let mut client = gate.connect();
    let lines =
        client.lines("Q PREPARE gone AS DELETE FROM users WHERE id = $1\nQ EXECUTE gone(1)");
    assert!(
        lines
            .iter()
            .all(|line| !line.starts_with("CommandComplete")),
        "{lines:?}"
    );
    for (sql, answer) in [
        ("SELECT price(4)", "8"),
        ("SELECT name FROM people WHERE id = 2", "user 2"),
        ("SELECT count(*) FROM users", "5"),
    ] {
        assert_eq!(client.value(sql), answer, "{sql}");
    }
    let session = client.lines(
        "Q SET application_name = 'report'\nQ BEGIN READ ONLY\nQ SELECT 1\nQ COMMIT\nQ DISCARD ALL",
    );
    assert!(
        !session.iter().any(|line| line.starts_with("ErrorResponse")),
        "{session:?}"
    );
    let mut direct = database.direct();
    assert_eq!(direct.value("SELECT count(*) FROM users"), "5");
    assert_eq!(direct.value("SELECT is_called FROM numbers"), "f");
}
