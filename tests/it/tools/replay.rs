//! `portcullis replay`: recorded statements against a configuration.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::author::text;

fn replay(folder: &Path, words: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .arg("replay")
        .args(words)
        .current_dir(folder)
        .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .output()
        .expect("it starts");
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn json(folder: &Path, words: &[&str]) -> Value {
    let (code, out, err) = replay(folder, &[words, &["--format", "json"]].concat());
    assert_eq!(code, Some(0), "{words:?}: {err}");
    serde_json::from_str(&out).expect("JSON")
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).expect("written");
    }
    folder
}

/// A line as PostgreSQL 15 writes it.
fn csv(message: &str, detail: &str) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    format!(
        "2026-11-22 10:00:00.000 UTC,\"ann\",\"shop\",77,\"10.1.2.3:40000\",65f.1,3,\"SELECT\",\
         2026-11-22 09:59:00 UTC,3/9,0,LOG,00000,{},{},,,,,,,,\"psql\",\"client backend\",,0\n",
        quoted(message),
        if detail.is_empty() {
            String::new()
        } else {
            quoted(detail)
        },
    )
}

fn count<'a>(result: &'a Value, list: &str, key: &str, name: &str) -> &'a Value {
    let list = result[list].as_array().expect("a list");
    list.iter()
        .find(|it| it[key] == name)
        .unwrap_or_else(|| panic!("{name} in {result}"))
}

#[test]
fn says_what_would_be_allowed_refused_and_limited() {
    let sql = "SELECT 1;\nDELETE FROM orders;\n\nDELETE\nFROM orders\nWHERE id = 1; UPDATE t SET a = 1;\nSELECT * FROM users;\n";
    let folder = folder(&[("s.sql", sql), ("f.toml", "[table_limits]\nusers = 5\n")]);
    let result = json(folder.path(), &["s.sql", "--config", "f.toml"]);
    let counted = ["statements", "allowed", "refused", "limited"].map(|key| result[key].as_u64());
    assert_eq!(counted, [Some(5), Some(3), Some(2), Some(3)], "{result}");
    let refused = result["refusals"].as_array().expect("a list");
    let number: u64 = refused.iter().filter_map(|it| it["count"].as_u64()).sum();
    assert_eq!(number, 2);
    assert_eq!(refused[0]["example"], "DELETE FROM orders");
    let limit = count(&result, "limits", "limit", "table_limits table-rows-max");
    assert_eq!(limit["example"], "SELECT * FROM users");
    let plans = count(&result, "limits", "limit", "plan-guard plan-max");
    assert_eq!(
        plans["count"], 3,
        "once for a statement, however many measures"
    );
    assert!(
        result["statements_per_second"]
            .as_f64()
            .is_some_and(|rate| rate > 0.0)
    );

    let (code, out, err) = replay(folder.path(), &["s.sql", "--config", "f.toml"]);
    assert_eq!((code, &*err), (Some(0), ""), "no progress bar into a pipe");
    assert!(
        out.starts_with("5 statements: 3 allowed (3 limited), 2 refused"),
        "{out}"
    );
    assert!(out.contains("statements per second"), "{out}");
    for line in out.lines() {
        assert!(
            line.chars().count() <= 80 && !line.contains('\x1b'),
            "{line}"
        );
    }
}

#[test]
fn says_what_differs_from_another_configuration() {
    let off = "[[policy]]\nname = \"require-where\"\nmode = \"off\"\n";
    let monitor = "[[policy]]\nname = \"require-where\"\nmode = \"monitor\"\n";
    let folder = folder(&[
        ("s.sql", "DELETE FROM a;\nDELETE FROM b;\nSELECT 1;\n"),
        ("off.toml", off),
        ("monitor.toml", monitor),
    ]);
    let result = json(folder.path(), &["s.sql", "--against", "off.toml"]);
    let differences = result["differences"].as_array().expect("a list");
    assert_eq!(differences.len(), 1, "{result}");
    let change = differences[0]["change"].as_str().expect("a change");
    assert!(change.starts_with("allowed -> require-where/"), "{change}");
    assert_eq!(differences[0]["count"], 2);
    assert_eq!(differences[0]["example"], "DELETE FROM a");
    let result = json(folder.path(), &["s.sql", "--config", "monitor.toml"]);
    assert_eq!(
        (&result["refused"], &result["monitored"][0]["count"]),
        (&0.into(), &2.into())
    );
    let (_, out, _) = replay(folder.path(), &["s.sql", "--against", "off.toml"]);
    assert!(out.contains("OTHER THAN BEFORE"), "{out}");
    let (_, out, _) = replay(
        folder.path(),
        &["s.sql", "--config", "off.toml", "--against", "off.toml"],
    );
    assert!(out.contains("no statement is decided otherwise"), "{out}");
}

#[test]
fn judges_with_the_client_and_the_values_of_the_log() {
    let mut log = csv("statement: DELETE FROM orders", "");
    log += &csv(
        "execute s1: SELECT * FROM t WHERE a = $1",
        "parameters: $1 = 'x''y'",
    );
    log += &csv(
        "duration: 0.5 ms  execute <unnamed>: SELECT * FROM t WHERE b = $1",
        "",
    );
    log += &csv(
        "duration: 0.1 ms  parse s1: SELECT * FROM t WHERE a = $1",
        "",
    );
    log += &csv("connection authorized: user=ann", "");
    log += "2026-11-22 10:00:00.000 UTC,\"ann\",\"shop\",77,\"cut o";
    let only_ann = "[[policy]]\nname = \"require-where\"\nusers = [\"ann\"]\ndatabases = [\"shop\"]\n\
                    [[policy]]\nname = \"honeytoken\"\nsettings = { tables = [\"bait\"] }\n";
    let others = only_ann.replace("ann", "ben");
    let folder = folder(&[
        ("log.csv", &log),
        ("ann.toml", only_ann),
        ("ben.toml", &others),
    ]);
    let result = json(folder.path(), &["log.csv", "--config", "ann.toml"]);
    let counted = [
        "statements",
        "refused",
        "other_lines",
        "odd_lines",
        "values_unknown",
    ];
    let counted = counted.map(|key| result[key].as_u64().expect("a number"));
    assert_eq!(counted, [3, 1, 2, 1, 1], "{result}");
    let result = json(folder.path(), &["log.csv", "--config", "ben.toml"]);
    assert_eq!(result["refused"], 0);
}

#[test]
fn reads_json_logs_of_the_server_and_of_the_gate_and_lines_of_explain() {
    let lines = [
        r#"{"timestamp":"x","user":"ann","dbname":"shop","remote_host":"10.0.0.1","message":"statement: DELETE FROM t","backend_type":"client backend"}"#,
        r#"{"timestamp":"x","user":"ann","message":"execute <unnamed>: SELECT $1","detail":"parameters: $1 = '5'"}"#,
        r#"{"timestamp":"x","level":"INFO","message":"statement","target":"portcullis::statement","user":"ann","database":"shop","statement":"DELETE FROM t"}"#,
        r#"{"timestamp":"x","level":"INFO","message":"reload","target":"portcullis::gate"}"#,
        r#"{"id":1,"sql":"DELETE FROM t WHERE id = $1","params":[5],"client":{"user":"ben"}}"#,
        r#"{"id":2,"sql":5}"#,
        r#"{"cut": "o"#,
        "not JSON at all",
    ];
    let folder = folder(&[("log.json", &lines.join("\n"))]);
    let result = json(folder.path(), &["log.json"]);
    let counted = ["statements", "refused", "other_lines", "odd_lines"];
    let counted = counted.map(|key| result[key].as_u64().expect("a number"));
    assert_eq!(counted, [4, 2, 1, 3], "{result}");
}

#[test]
fn tens_of_thousands_of_statements_are_judged_on_all_cores() {
    let mut log = String::new();
    for n in 0..40_000 {
        let statement = match n % 4 {
            0 => format!("statement: SELECT * FROM orders WHERE id = {n}"),
            1 => format!("statement: UPDATE orders SET paid = {n} WHERE id = {n}"),
            2 => format!("statement: INSERT INTO log (n, text) VALUES ({n}, 'n''{n}')"),
            _ => format!("statement: DELETE FROM t{}", n % 16),
        };
        let _ = write!(log, "{}", csv(&statement, ""));
    }
    let folder = folder(&[("log.csv", &log)]);
    let result = json(folder.path(), &["log.csv"]);
    let counted = ["statements", "allowed", "refused", "odd_lines", "defects"];
    let counted = counted.map(|key| result[key].as_u64().expect("a number"));
    assert_eq!(counted, [40_000, 30_000, 10_000, 0, 0], "{result}");
    // Whatever the number of threads, the result is the same.
    let alone = json(folder.path(), &["log.csv", "--threads", "1"]);
    assert_eq!(alone["refusals"], result["refusals"]);
    eprintln!(
        "replayed on {} cores: {} statements per second",
        result["cores"], result["statements_per_second"]
    );
}

#[test]
fn a_file_that_is_not_there_or_a_wrong_configuration_ends_it() {
    let folder = folder(&[("s.sql", "SELECT 1;"), ("bad.toml", "x = 1\n")]);
    let (code, _, err) = replay(folder.path(), &["none.sql"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("none.sql"), "{err}");
    let (code, _, err) = replay(folder.path(), &["s.sql", "--config", "bad.toml"]);
    assert_eq!(code, Some(64), "{err}");
    let (code, _, err) = replay(folder.path(), &["s.sql", "--plugin", "none.wasm"]);
    assert_eq!(code, Some(64), "{err}");
}

#[test]
fn a_candidate_is_judged_before_it_is_installed() {
    let folder = folder(&[("s.sql", "SELECT 1;\nSELECT 2;\n"), ("now.toml", "")]);
    let component = crate::support::component::policy("call $refuse");
    std::fs::write(folder.path().join("no.wasm"), component).expect("written");
    let words = ["s.sql", "--plugin", "no.wasm", "--against", "now.toml"];
    let result = json(folder.path(), &words);
    let change = count(&result, "differences", "change", "allowed -> candidate/no");
    assert_eq!(change["count"], 2);
}

/// Written by PostgreSQL 15 with `log_statement = all`, durations and connections.
#[test]
fn reads_both_logs_of_a_real_server_alike() {
    let rules = "[[policy]]\nname = \"honeytoken\"\nsettings = { tables = [\"nope\"] }\n";
    let folder = folder(&[
        ("a.csv", include_str!("logs/server.csv")),
        ("b.json", include_str!("logs/server.json")),
        ("f.toml", rules),
    ]);
    for file in ["a.csv", "b.json"] {
        let result = json(folder.path(), &[file, "--config", "f.toml"]);
        let counted = [
            "statements",
            "refused",
            "odd_lines",
            "values_unknown",
            "defects",
        ];
        let counted = counted.map(|key| result[key].as_u64().expect("a number"));
        assert_eq!(counted, [6, 2, 0, 0, 0], "{file}: {result}");
        assert!(result["other_lines"].as_u64() > Some(5), "{result}");
    }
}
