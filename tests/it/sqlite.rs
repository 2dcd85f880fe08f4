//! The same door, an embedded database behind it.

use futures_util::future;
use tokio_postgres::NoTls;

use crate::support::answer::Answer;
use crate::support::gate::{DATABASE, Gate};

const SCHEMA: &str = "
    CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, score REAL, active BOOLEAN DEFAULT true);
    CREATE TABLE canary_credentials (secret TEXT);
    CREATE VIEW innocent AS SELECT secret FROM canary_credentials;
    CREATE TABLE log (what TEXT);
    CREATE TABLE inbox (n INTEGER);
    CREATE TRIGGER purge AFTER INSERT ON inbox BEGIN DELETE FROM users WHERE id <= NEW.n; END;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
        INSERT INTO users SELECT i, 'user ' || i, i / 2.0, i % 2 FROM n;
";

const RULES: &str = "
    [table_limits]
    users = { changed = 100 }

    [[policy]]
    name = \"honeytoken\"
    settings = { tables = [\"canary_*\"] }
";

struct Scene {
    gate: Gate,
    file: tempfile::NamedTempFile,
}

impl Scene {
    fn new() -> Scene {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let direct = rusqlite::Connection::open(file.path()).expect("opened");
        direct.execute_batch(SCHEMA).expect("the schema");
        let head = format!(
            "[[database]]\nname = \"{DATABASE}\"\nbackend = \"sqlite:{}\"\n\n[[user]]\nname = \"app\"\nauth = \"trust\"\n\n",
            file.path().display()
        );
        Scene {
            gate: Gate::start_with(&head, RULES),
            file,
        }
    }

    fn count(&self, sql: &str) -> i64 {
        let direct = rusqlite::Connection::open(self.file.path()).expect("opened");
        direct
            .query_row(sql, [], |row| row.get(0))
            .expect("a number")
    }
}

fn codes(answers: &[Answer]) -> Vec<String> {
    answers
        .iter()
        .filter(|answer| answer.tag == b'E')
        .map(Answer::code)
        .collect()
}

#[test]
fn answers_simple_and_extended_queries() {
    let scene = Scene::new();
    let mut client = scene.gate.connect();
    let lines = client.lines("Q SELECT id, name, score FROM users WHERE id = 3");
    assert_eq!(
        lines[1..],
        [
            "DataRow 3 | user 3 | 1.5",
            "CommandComplete SELECT 1",
            "ReadyForQuery I"
        ]
    );
    let lines = client
        .lines("P s SELECT name FROM users WHERE id = $1\nB - s 4\nD P -\nE -\nB - s 5\nE -\nS");
    assert!(
        lines.contains(&"DataRow user 4".to_owned())
            && lines.contains(&"DataRow user 5".to_owned()),
        "{lines:#?}"
    );
    assert_eq!(lines.last().map(String::as_str), Some("ReadyForQuery I"));
    let lines = client.lines("Q INSERT INTO log VALUES ('a'), ('b'); SELECT count(*) FROM log");
    assert!(
        lines.contains(&"CommandComplete INSERT 0 2".to_owned()),
        "{lines:#?}"
    );
    assert!(lines.contains(&"DataRow 2".to_owned()), "{lines:#?}");
}

#[test]
fn keeps_transactions() {
    let scene = Scene::new();
    let mut client = scene.gate.connect();
    let lines = client.lines("Q BEGIN\n---\nQ INSERT INTO log VALUES ('x')\n---\nQ ROLLBACK");
    let states: Vec<&String> = lines
        .iter()
        .filter(|line| line.starts_with("Ready"))
        .collect();
    assert_eq!(
        states,
        ["ReadyForQuery T", "ReadyForQuery T", "ReadyForQuery I"]
    );
    assert_eq!(scene.count("SELECT count(*) FROM log"), 0);
    client.run("Q BEGIN\n---\nQ INSERT INTO log VALUES ('y')\n---\nQ COMMIT");
    assert_eq!(scene.count("SELECT count(*) FROM log"), 1);
    let lines =
        client.lines("Q BEGIN\n---\nQ SELECT * FROM missing\n---\nQ SELECT 1\n---\nQ COMMIT");
    assert!(
        lines.iter().any(|line| line.contains("42P01")),
        "{lines:#?}"
    );
    assert!(
        lines.iter().any(|line| line.contains("25P02")),
        "{lines:#?}"
    );
    assert!(
        lines.contains(&"CommandComplete ROLLBACK".to_owned()),
        "{lines:#?}"
    );
}

#[test]
fn enforces_the_same_policies() {
    let scene = Scene::new();
    for (script, code) in [
        ("Q DELETE FROM users", "42501"),
        ("P - DELETE FROM users\nB - -\nE -\nS", "42501"),
        ("Q SELECT * FROM canary_credentials", "42P01"),
        ("Q SELECT * FROM innocent", "42P01"),
        ("Q DELETE FROM users WHERE id <= 150", "54000"),
        (
            "P - DELETE FROM users WHERE id <= $1\nB - - 150\nE -\nS",
            "54000",
        ),
        ("Q INSERT INTO inbox VALUES (150)", "54000"),
        (
            "Q BEGIN; DELETE FROM users WHERE id <= 60; DELETE FROM users WHERE id BETWEEN 151 AND 210; COMMIT",
            "54000",
        ),
        (
            "Q REPLACE INTO users SELECT id, 'x', 0, 1 FROM users WHERE id <= 150",
            "54000",
        ),
    ] {
        let mut client = scene.gate.connect();
        let answers = client.run(script);
        let lines: Vec<String> = answers.iter().map(Answer::line).collect();
        assert_eq!(
            codes(&answers).first().map(String::as_str),
            Some(code),
            "{script}\n{}",
            lines.join("\n")
        );
        client.run("Q ROLLBACK");
        assert_eq!(client.value("SELECT 7"), "7", "{script}");
        assert_eq!(
            scene.count("SELECT count(*) FROM users WHERE name = 'user ' || id"),
            300,
            "{script}"
        );
    }
    let mut client = scene.gate.connect();
    let lines = client.lines("Q DELETE FROM users WHERE id <= 100");
    assert_eq!(lines, ["CommandComplete DELETE 100", "ReadyForQuery I"]);
}

#[test]
fn errors_have_the_nearest_sqlstate() {
    let scene = Scene::new();
    let mut client = scene.gate.connect();
    for (sql, code) in [
        ("SELECT * FROM missing", "42P01"),
        ("SELECT missing FROM users", "42703"),
        ("SELEC 1", "42601"),
        ("SELEC 1; DELETE FROM log", "42601"),
        ("delet FROM users", "42601"),
        // It could be run, and the gate does not understand it.
        ("PRAGMA writable_schema = 1", "42501"),
        ("INSERT INTO users (id, name) VALUES (1, 'again')", "23505"),
        ("INSERT INTO users (id) VALUES (999)", "23502"),
    ] {
        let answers = client.run(&format!("Q {sql}"));
        assert_eq!(codes(&answers), [code], "{sql}");
    }
    let answers = client.run("P - SELEC $1\nB - 1\nE -\nS");
    assert_eq!(codes(&answers), ["42601"], "extended");
    let error = client.run("Q SELEC 1").remove(0);
    assert_eq!(error.field(b'M'), "syntax error at or near \"SELEC\"");
}

#[test]
fn tokio_postgres_creates_reads_updates_deletes() {
    let scene = Scene::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let config = format!(
            "host=127.0.0.1 port={} user=app dbname={DATABASE}",
            scene.gate.address.port()
        );
        let (mut client, connection) = tokio_postgres::connect(&config, NoTls)
            .await
            .expect("connected");
        tokio::spawn(connection);
        client
            .batch_execute("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price REAL)")
            .await
            .expect("created");
        let insert = client
            .prepare("INSERT INTO item (name, price) VALUES ($1, $2)")
            .await
            .expect("prepared");
        for (name, price) in [("pen", 1.5_f64), ("ink", 7.0)] {
            assert_eq!(
                client
                    .execute(&insert, &[&name, &price])
                    .await
                    .expect("inserted"),
                1
            );
        }
        let rows = client
            .query("SELECT id, name, price FROM item ORDER BY id", &[])
            .await
            .expect("rows");
        assert_eq!(rows[1].get::<_, String>("name"), "ink");
        assert!((rows[0].get::<_, f64>("price") - 1.5).abs() < 1e-9);
        assert_eq!(
            client
                .execute("UPDATE item SET price = 2 WHERE name = $1", &[&"pen"])
                .await
                .expect("updated"),
            1
        );
        let transaction = client.transaction().await.expect("begin");
        transaction
            .execute("DELETE FROM item WHERE id = 1", &[])
            .await
            .expect("deleted");
        transaction.rollback().await.expect("rollback");
        let one = client
            .query_one("SELECT count(*) FROM item", &[])
            .await
            .expect("a row");
        assert_eq!(one.get::<_, i64>(0), 2);
        let pair = future::join(
            client.query_one("SELECT 1", &[]),
            client.query_one("SELECT 2", &[]),
        )
        .await;
        pair.0.expect("first");
        pair.1.expect("second");
    });
}

#[test]
fn psql_lists_and_describes() {
    let scene = Scene::new();
    let psql = |command: &str| {
        let output = std::process::Command::new("psql")
            .args([
                "-X",
                "-h",
                "127.0.0.1",
                "-U",
                "app",
                "-d",
                DATABASE,
                "-c",
                command,
            ])
            .args(["-p", &scene.gate.address.port().to_string()])
            .output();
        let output = output.ok()?;
        Some(
            String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let Some(list) = psql("\\dt") else {
        assert!(
            std::env::var_os("REQUIRE_SERVERS").is_none(),
            "psql is not installed"
        );
        return;
    };
    assert!(list.contains("users") && list.contains("inbox"), "{list}");
    let table = psql("\\d users").unwrap_or_default();
    assert!(table.contains("name") && table.contains("score"), "{table}");
}
