//! With a limit of 100 returned rows, no row past it reaches a client.

use crate::support::answer::Answer;
use crate::support::database::{Database, fresh_database};
use crate::support::gate::Gate;

const SETUP: &str = "
    CREATE TABLE wide (id int PRIMARY KEY, name text);
    INSERT INTO wide SELECT i, 'n' FROM generate_series(1, 1000) i;
    CREATE TABLE users (id int PRIMARY KEY);
    INSERT INTO users SELECT i FROM generate_series(1, 300) i;
";

const RULES: &str = "
    [table_limits]
    wide = { returned = 100 }

    [[policy]]
    name = \"require-where\"
    mode = \"off\"
";

struct Scene {
    database: Database,
    gate: Gate,
}

impl Scene {
    fn new() -> Option<Scene> {
        let database = fresh_database()?;
        database.prepare(SETUP);
        let gate = Gate::start(&database, RULES);
        Some(Scene { database, gate })
    }
}

fn print(answers: &[Answer]) -> String {
    let lines: Vec<String> = answers
        .iter()
        .filter(|a| a.tag != b'D')
        .map(Answer::line)
        .collect();
    lines.join("\n")
}

/// Scripts that would return 150 (or `{n}`) rows of `wide`, whose limit for returned rows is 100.
const READS: &[(&str, &str)] = &[
    ("simple", "Q SELECT * FROM wide WHERE id <= {n}"),
    (
        "extended",
        "P - SELECT * FROM wide WHERE id <= $1\nB - - {n}\nE -\nS",
    ),
    (
        "one slice",
        "P - SELECT * FROM wide WHERE id <= {n}\nB p -\nE p 1000\nS",
    ),
    (
        "slices",
        "P - SELECT * FROM wide WHERE id <= {n}\nB p -\nE p 40\nE p 40\nE p 40\nE p\nS",
    ),
    (
        "cursor",
        "Q BEGIN\n---\nQ DECLARE c CURSOR FOR SELECT * FROM wide WHERE id <= {n}\n---\nQ FETCH 60 FROM c\n---\nQ FETCH 60 FROM c\n---\nQ FETCH 60 FROM c\n---\nQ COMMIT",
    ),
    (
        "copy",
        "Q COPY (SELECT * FROM wide WHERE id <= {n}) TO STDOUT",
    ),
    (
        "join",
        "Q SELECT w.id FROM wide w JOIN users u ON u.id = w.id WHERE w.id <= {n}",
    ),
    (
        "sql-level execute",
        "Q PREPARE r(int) AS SELECT * FROM wide WHERE id <= $1\n---\nQ EXECUTE r({n})",
    ),
    (
        "returning",
        "Q UPDATE wide SET name = name WHERE id <= {n} RETURNING id",
    ),
];

#[test]
fn no_row_past_the_limit_is_returned() {
    let Some(scene) = Scene::new() else { return };
    let mut wrong = Vec::new();
    for (name, script) in READS {
        for (rows, allowed) in [(150, false), (101, false), (100, true), (0, true)] {
            let mut client = scene.gate.connect();
            let answers = client.run(&script.replace("{n}", &rows.to_string()));
            let seen = answers
                .iter()
                .filter(|answer| matches!(answer.tag, b'D' | b'd'))
                .count();
            let refused = answers
                .iter()
                .any(|answer| answer.tag == b'E' && answer.code() == "54000");
            let failed = answers.iter().any(|answer| answer.tag == b'E');
            let right = if allowed {
                seen == rows && !failed
            } else {
                seen <= 100 && refused
            };
            if !right {
                wrong.push(format!(
                    "== {name}, {rows} rows: {seen} seen\n{}",
                    print(&answers)
                ));
            }
            client.run("Q ROLLBACK");
            if client.value("SELECT 7") != "7" {
                wrong.push(format!("== {name}, {rows} rows: not usable afterwards"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_change_whose_answer_is_too_long_is_not_committed() {
    let Some(scene) = Scene::new() else { return };
    let answers = scene
        .gate
        .connect()
        .run("Q UPDATE wide SET name = 'changed' WHERE id <= 150 RETURNING id");
    assert!(
        answers.iter().any(|answer| answer.code() == "54000"),
        "{}",
        print(&answers)
    );
    let changed = scene
        .database
        .direct()
        .value("SELECT count(*) FROM wide WHERE name = 'changed'");
    assert_eq!(changed, "0");
}
