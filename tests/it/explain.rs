//! `portcullis explain`: JSON lines in, JSON lines out, no database.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

fn explain(arguments: &[&str], input: &str) -> (Vec<Value>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .arg("explain")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("explain starts");
    let mut stdin = child.stdin.take().expect("its input");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("explain ends");
    writer
        .join()
        .expect("the writer")
        .expect("explain reads everything");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    (lines.collect(), errors)
}

fn one(sql: &str) -> Value {
    let input = json!({ "id": 1, "sql": sql }).to_string() + "\n";
    let (mut lines, errors) = explain(&["--dialect", "postgres", "--format", "json"], &input);
    assert_eq!(lines.len(), 1, "{sql}: {errors}");
    lines.remove(0)
}

#[test]
fn prints_facts_and_verdict_for_each_statement() {
    let line = one("SELECT name FROM app.users WHERE id = 1; DELETE FROM orders");
    assert_eq!(line["id"], 1);
    let statements = line["statements"].as_array().expect("statements");
    assert_eq!(statements.len(), 2);
    assert_eq!(statements[0]["kind"], "select");
    assert_eq!(statements[0]["reads"], json!(["app.users"]));
    assert_eq!(statements[0]["writes"], json!([]));
    assert_eq!(statements[0]["destructive"], false);
    assert_eq!(statements[0]["verdict"]["decision"], "allow");
    assert_eq!(statements[1]["kind"], "delete");
    assert_eq!(statements[1]["writes"], json!(["orders"]));
    assert_eq!(statements[1]["destructive"], true);
    assert_eq!(statements[1]["verdict"]["decision"], "refuse");
    assert_eq!(statements[1]["verdict"]["policy"], "require-where");
    assert_eq!(statements[1]["verdict"]["code"], "42501");
}

#[test]
fn answers_every_line_in_order_whatever_it_holds() {
    let mut input = String::new();
    let hostile = [
        String::new(),
        ";".repeat(1000),
        "SELECT 'open".to_owned(),
        "(".repeat(1 << 20),
        "\u{0}\u{1}\u{202e}SELECT".to_owned(),
        format!("SELECT {}", "1+".repeat(50_000)),
        "WITH x AS (DELETE FROM users RETURNING *) SELECT * FROM x".to_owned(),
    ];
    for (number, sql) in hostile.iter().enumerate() {
        input += &(json!({ "id": number, "sql": sql }).to_string() + "\n");
    }
    let (lines, errors) = explain(&["--dialect", "postgres", "--format", "json"], &input);
    let ids: Vec<u64> = lines
        .iter()
        .filter_map(|line| line["id"].as_u64())
        .collect();
    assert_eq!(
        ids,
        (0..hostile.len() as u64).collect::<Vec<_>>(),
        "{errors}"
    );
}

#[test]
fn writes_in_disguise_are_writes() {
    for (sql, table) in [
        (
            "WITH d AS (DELETE FROM users RETURNING id) SELECT * FROM d",
            "users",
        ),
        ("EXPLAIN ANALYZE DELETE FROM users", "users"),
        ("COPY (DELETE FROM users RETURNING id) TO STDOUT", "users"),
        ("PREPARE q AS DELETE FROM users", "users"),
        ("SELECT * INTO copied FROM users", "copied"),
        (
            "MERGE INTO users u USING s ON u.id = s.id WHEN MATCHED THEN DELETE",
            "users",
        ),
        ("DEL/**/ETE FROM users", ""),
        ("DELETE/**/FROM\"users\"", "users"),
        ("CREATE TABLE copied AS SELECT * FROM users", "copied"),
        (
            "INSERT INTO users VALUES (1) ON CONFLICT (id) DO UPDATE SET name = 'x'",
            "users",
        ),
        ("SELECT 1; /* */ TRUNCATE users", "users"),
    ] {
        let line = one(sql);
        let statements = line["statements"].as_array().expect("statements");
        let writes = statements.iter().any(|statement| {
            let named = statement["writes"]
                .as_array()
                .is_some_and(|w| w.iter().any(|name| name == table));
            let effect = statement["effects"]
                .as_array()
                .is_some_and(|e| !e.is_empty() && e.iter().any(|e| e != "reads"));
            statement["opaque"] == true || named && effect
        });
        assert!(writes, "{sql}: {line}");
    }
}

#[test]
fn a_configuration_decides_when_one_is_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("portcullis.toml");
    let text = "[[database]]\nname = \"app\"\nbackend = \"postgres://app@127.0.0.1:5432/app\"\n\n\
                [[user]]\nname = \"app\"\nauth = \"trust\"\n\n[table_limits]\nusers = 100\n\n\
                [[policy]]\nname = \"honeytoken\"\nsettings = { tables = [\"trap_*\"] }\n";
    std::fs::write(&file, text).expect("the configuration");
    let input = "{\"id\": \"a\", \"sql\": \"SELECT * FROM trap_one\"}\n{\"id\": \"b\", \"sql\": \"DELETE FROM users WHERE id = 1\"}\n";
    let config = file.to_string_lossy().into_owned();
    let (lines, errors) = explain(
        &[
            "--dialect",
            "postgres",
            "--format",
            "json",
            "--config",
            &config,
        ],
        input,
    );
    assert_eq!(
        lines[0]["statements"][0]["verdict"]["decision"], "refuse",
        "{errors}"
    );
    let verdict = lines[0]["statements"][0]["verdict"].to_string();
    assert!(!verdict.contains("trap"), "{verdict}");
    assert_eq!(
        lines[1]["statements"][0]["verdict"]["decision"], "allow",
        "{errors}"
    );
    let requirements = lines[1]["statements"][0]["verdict"]["requirements"].to_string();
    assert!(requirements.contains("100"), "{requirements}");
}
