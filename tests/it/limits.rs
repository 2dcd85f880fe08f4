//! With a limit of 100, no way leads past it, and exactly 100 is allowed.
//!
//! Every way is tried twice: once so that it would change 150 rows, which must
//! leave everything as it was, and once with exactly 100, which must succeed.

use crate::support::answer::Answer;
use crate::support::database::{Database, fresh_database};
use crate::support::gate::Gate;

const SETUP: &str = "
    CREATE TABLE users (id int PRIMARY KEY, name text);
    CREATE VIEW users_view AS SELECT id, name FROM users;
    CREATE TABLE inbox (n int);
    CREATE RULE purge AS ON INSERT TO inbox DO ALSO DELETE FROM users WHERE id <= NEW.n;
    CREATE TABLE event (n int);
    CREATE FUNCTION on_event() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN DELETE FROM users WHERE id <= NEW.n; RETURN NEW; END$$;
    CREATE TRIGGER on_event AFTER INSERT ON event FOR EACH ROW EXECUTE FUNCTION on_event();
    CREATE TABLE part (id int, name text) PARTITION BY RANGE (id);
    CREATE TABLE part_low PARTITION OF part FOR VALUES FROM (0) TO (51);
    CREATE TABLE part_high PARTITION OF part FOR VALUES FROM (51) TO (10000);
    CREATE TABLE parent (id int PRIMARY KEY);
    CREATE TABLE child (id int, parent int REFERENCES parent ON DELETE CASCADE);
    CREATE FUNCTION purge(n int) RETURNS int LANGUAGE plpgsql AS
        $$BEGIN DELETE FROM users WHERE id <= n; RETURN n; END$$;
    CREATE FUNCTION purge_sql(n int) RETURNS void LANGUAGE sql AS $$DELETE FROM users WHERE id <= n$$;
    CREATE PROCEDURE purge_all(n int) LANGUAGE plpgsql AS $$BEGIN DELETE FROM users WHERE id <= n; END$$;
";

const FILL: &str = "
    TRUNCATE users, inbox, event, part, parent, child;
    INSERT INTO users SELECT i, 'n' FROM generate_series(1, 300) i;
    INSERT INTO part SELECT i, 'n' FROM generate_series(1, 300) i;
    INSERT INTO parent SELECT i FROM generate_series(1, 300) i;
    INSERT INTO child SELECT i, 100 FROM generate_series(1, 100) i;
    INSERT INTO child SELECT i, 150 FROM generate_series(1, 150) i;
";

const RULES: &str = "
    [table_limits]
    users = { changed = 100 }
    part = { changed = 100 }
    child = { changed = 100 }

    [[policy]]
    name = \"require-where\"
    mode = \"off\"
";

/// What counts as unchanged: number and content of every row.
const STATE: &str = "
    SELECT (SELECT count(*) || ':' || coalesce(sum(hashtext(name)), 0) FROM users) || ' ' ||
           (SELECT count(*) || ':' || coalesce(sum(hashtext(name)), 0) FROM part) || ' ' ||
           (SELECT count(*) FROM child) || ' ' || (SELECT count(*) FROM parent) || ' ' ||
           (SELECT count(*) FROM inbox) || ' ' || (SELECT count(*) FROM event)";

/// Statements that change `{n}` rows of a guarded table, each by another way.
const WAYS: &[(&str, &str)] = &[
    ("delete", "DELETE FROM users WHERE id <= {n}"),
    ("update", "UPDATE users SET name = 'x' WHERE id <= {n}"),
    (
        "insert",
        "INSERT INTO users SELECT i, 'x' FROM generate_series(1001, 1000 + {n}) i",
    ),
    (
        "upsert",
        "INSERT INTO users SELECT i, 'x' FROM generate_series(1, {n}) i ON CONFLICT (id) DO UPDATE SET name = 'x'",
    ),
    (
        "merge",
        "MERGE INTO users u USING (SELECT generate_series(1, {n}) AS i) s ON u.id = s.i WHEN MATCHED THEN DELETE",
    ),
    (
        "returning",
        "DELETE FROM users WHERE id <= {n} RETURNING id",
    ),
    (
        "delete in a CTE",
        "WITH d AS (DELETE FROM users WHERE id <= {n} RETURNING id) SELECT count(*) FROM d",
    ),
    (
        "delete in a CTE beside a harmless write",
        "WITH d AS (DELETE FROM users WHERE id <= {n}) INSERT INTO event SELECT 0",
    ),
    ("view", "DELETE FROM users_view WHERE id <= {n}"),
    (
        "update of a view",
        "UPDATE users_view SET name = 'x' WHERE id <= {n}",
    ),
    ("rule", "INSERT INTO inbox VALUES ({n})"),
    ("trigger", "INSERT INTO event VALUES ({n})"),
    ("partitions", "DELETE FROM part WHERE id <= {n}"),
    (
        "update of partitions",
        "UPDATE part SET name = 'x' WHERE id <= {n}",
    ),
    ("cascade", "DELETE FROM parent WHERE id = {n}"),
    ("function", "SELECT purge({n})"),
    ("function in SQL", "SELECT purge_sql({n})"),
    (
        "function in a condition",
        "SELECT 1 FROM parent WHERE id = 1 AND purge({n}) > 0",
    ),
    ("do", "DO $$BEGIN DELETE FROM users WHERE id <= {n}; END$$"),
    (
        "do with execute",
        "DO $$BEGIN EXECUTE 'DEL' || 'ETE FROM users WHERE id <= {n}'; END$$",
    ),
    ("call", "CALL purge_all({n})"),
    (
        "explain analyze",
        "EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) DELETE FROM users WHERE id <= {n}",
    ),
];

/// Whole scripts that change `{n}` rows (twice `{half}`), for what is no single statement.
const SCRIPTS: &[(&str, &str)] = &[
    (
        "returning, stopped by Execute, then Sync",
        "P - DELETE FROM users WHERE id <= {n} RETURNING id\nB p -\nE p 1\nS",
    ),
    (
        "returning in slices",
        "P - DELETE FROM users WHERE id <= {n} RETURNING id\nB p -\nE p 40\nE p 40\nE p\nS",
    ),
    (
        "bind value",
        "P - DELETE FROM users WHERE id <= $1\nB - - {n}\nE -\nS",
    ),
    (
        "sql-level execute",
        "Q PREPARE gone(int) AS DELETE FROM users WHERE id <= $1\n---\nQ EXECUTE gone({n})",
    ),
    (
        "sql-level execute, extended",
        "Q PREPARE gone(int) AS DELETE FROM users WHERE id <= $1\n---\nP - EXECUTE gone({n})\nB - -\nE -\nS",
    ),
    (
        "twice half in one pipeline",
        "P s DELETE FROM users WHERE id BETWEEN $1 AND $2\nB - s 1 | {half}\nE -\nB - s 151 | {half2}\nE -\nS",
    ),
    (
        "twice half in one transaction",
        "Q BEGIN\n---\nQ DELETE FROM users WHERE id <= {half}\n---\nQ DELETE FROM users WHERE id BETWEEN 151 AND {half2}\n---\nQ COMMIT",
    ),
    (
        "twice half in one transaction, extended",
        "Q BEGIN\n---\nP s DELETE FROM users WHERE id BETWEEN $1 AND $2\nB - s 1 | {half}\nE -\nS\n---\nB - s 151 | {half2}\nE -\nS\n---\nQ COMMIT",
    ),
    (
        "twice half in one string",
        "Q DELETE FROM users WHERE id <= {half}; DELETE FROM users WHERE id BETWEEN 151 AND {half2}",
    ),
    (
        "half by DELETE, half by a function",
        "Q BEGIN\n---\nQ DELETE FROM users WHERE id > 300 - {half}\n---\nQ SELECT purge({half})\n---\nQ COMMIT",
    ),
    (
        "behind a savepoint",
        "Q BEGIN\n---\nQ SAVEPOINT a\n---\nQ DELETE FROM users WHERE id <= {n}\n---\nQ COMMIT",
    ),
];

/// A database with a limit of 100 rows on its users.
pub struct Scene {
    database: Database,
    /// The gate.
    pub gate: Gate,
}

impl Scene {
    pub fn new() -> Option<Scene> {
        let database = fresh_database()?;
        database.prepare(SETUP);
        database.prepare(FILL);
        let gate = Gate::start(&database, RULES);
        Some(Scene { database, gate })
    }

    fn state(&self) -> String {
        self.database.direct().value(STATE)
    }

    /// The script ends with an error and changes nothing; the connection goes on.
    pub fn expect_refused(&self, script: &str) -> Result<(), String> {
        self.database.prepare(FILL);
        let before = self.state();
        let mut client = self.gate.connect();
        let answers = client.run(script);
        let refused = answers
            .iter()
            .any(|answer| answer.tag == b'E' && answer.code() == "54000");
        if client.run("Q ROLLBACK").is_empty() || client.value("SELECT 7") != "7" {
            return Err("the connection is not usable afterwards".to_owned());
        }
        drop(client);
        if self.state() != before {
            return Err(format!("the tables changed:\n{}", print(&answers)));
        }
        if !refused {
            return Err(format!("no error 54000:\n{}", print(&answers)));
        }
        Ok(())
    }

    /// The script succeeds and its changes are there.
    pub fn expect_allowed(&self, script: &str) -> Result<(), String> {
        self.database.prepare(FILL);
        let before = self.state();
        let mut client = self.gate.connect();
        let answers = client.run(script);
        if answers.iter().any(|answer| answer.tag == b'E') {
            return Err(format!("an error:\n{}", print(&answers)));
        }
        if answers.last().map(Answer::line) != Some("ReadyForQuery I".to_owned()) {
            return Err(format!("not idle at the end:\n{}", print(&answers)));
        }
        if self.state() == before {
            return Err(format!("nothing changed:\n{}", print(&answers)));
        }
        Ok(())
    }

    /// Over the limit is refused, exactly the limit passes.
    fn try_all(&self, scripts: impl Iterator<Item = (String, String)>) {
        let mut wrong = Vec::new();
        for (name, script) in scripts {
            let (over, exact) = (fill_in(&script, 150), fill_in(&script, 100));
            if let Err(why) = self.expect_refused(&over) {
                wrong.push(format!("== {name}, 150 rows: {why}\n   {over}"));
            }
            if let Err(why) = self.expect_allowed(&exact) {
                wrong.push(format!("== {name}, 100 rows: {why}\n   {exact}"));
            }
        }
        assert!(
            wrong.is_empty(),
            "{} wrong\n{}",
            wrong.len(),
            wrong.join("\n")
        );
    }
}

fn fill_in(script: &str, rows: u32) -> String {
    // A multiple of 50 that the second half reaches: rows 151 to 150 + half.
    let half = rows / 2;
    let script = script.replace("{n}", &rows.to_string());
    let script = script.replace("{half2}", &(150 + half).to_string());
    script.replace("{half}", &half.to_string())
}

fn print(answers: &[Answer]) -> String {
    let lines: Vec<String> = answers
        .iter()
        .filter(|a| a.tag != b'D')
        .map(Answer::line)
        .collect();
    lines.join("\n")
}

pub fn every_way(form: &str) {
    let Some(scene) = Scene::new() else { return };
    scene.try_all(
        WAYS.iter()
            .map(|(name, sql)| ((*name).to_owned(), form.replace("{sql}", sql))),
    );
}

#[test]
fn simple_query_cannot_exceed_the_limit() {
    every_way("Q {sql}");
}

#[test]
fn extended_protocol_cannot_exceed_the_limit() {
    every_way("P - {sql}\nB - -\nE -\nS");
}

#[test]
fn pipeline_cannot_exceed_the_limit() {
    every_way("P a SELECT 1\nB - a\nE -\nP - {sql}\nB - -\nE -\nB - a\nE -\nS");
}

#[test]
fn explicit_transaction_cannot_exceed_the_limit() {
    every_way("Q BEGIN\n---\nQ {sql}\n---\nQ COMMIT");
}

#[test]
fn string_with_other_statements_cannot_exceed_the_limit() {
    every_way("Q SELECT 1; {sql}; SELECT 2");
}

#[test]
fn sequences_cannot_exceed_the_limit() {
    let Some(scene) = Scene::new() else { return };
    scene.try_all(
        SCRIPTS
            .iter()
            .map(|(name, script)| ((*name).to_owned(), (*script).to_owned())),
    );
}

#[test]
fn copy_from_cannot_exceed_the_limit() {
    let Some(scene) = Scene::new() else { return };
    let lines =
        |rows: u32| -> String { (0..rows).map(|i| format!("d {}\tx\n", 2000 + i)).collect() };
    for (begin, wait) in [
        ("Q COPY users FROM STDIN\n", ""),
        ("P - COPY users FROM STDIN\nB - -\nE -\n", "S\n"),
    ] {
        let over = format!("{begin}{}c\n{wait}", lines(150));
        let exact = format!("{begin}{}c\n{wait}", lines(100));
        scene
            .expect_refused(&over)
            .unwrap_or_else(|why| panic!("150 lines: {why}"));
        scene
            .expect_allowed(&exact)
            .unwrap_or_else(|why| panic!("100 lines: {why}"));
    }
}

#[test]
fn truncate_of_a_limited_table_is_no_way_around() {
    let Some(scene) = Scene::new() else { return };
    for script in [
        "Q TRUNCATE users",
        "P - TRUNCATE users\nB - -\nE -\nS",
        "Q TRUNCATE parent CASCADE",
    ] {
        let before = scene.state();
        let answers = scene.gate.connect().run(script);
        assert!(
            answers.iter().any(|answer| answer.tag == b'E'),
            "{script}\n{}",
            print(&answers)
        );
        assert_eq!(scene.state(), before, "{script}");
    }
}

#[test]
fn a_harmless_shape_opens_no_door_for_a_harmful_one() {
    let Some(scene) = Scene::new() else { return };
    let mut client = scene.gate.connect();
    for _ in 0..1000 {
        let answers = client.run("Q DELETE FROM users WHERE 1=2");
        assert_eq!(answers[0].line(), "CommandComplete DELETE 0");
    }
    let before = scene.state();
    let answers = client.run("Q DELETE FROM users WHERE 1=1");
    assert_eq!(answers[0].code(), "54000", "{}", print(&answers));
    assert_eq!(scene.state(), before);
    scene.gate.rewrite("");
    while scene
        .gate
        .metric("portcullis_reloads_total", "result=\"ok\"")
        == 0.0
    {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    for _ in 0..1000 {
        client.run("Q DELETE FROM users WHERE 1=2");
    }
    let answers = client.run("Q DELETE FROM users WHERE 1=1");
    assert_eq!(
        answers[0].code(),
        "42501",
        "require-where: {}",
        print(&answers)
    );
    assert_eq!(scene.state(), before);
}

#[test]
fn a_refused_change_is_rolled_back_with_its_whole_transaction() {
    let Some(scene) = Scene::new() else { return };
    let before = scene.state();
    let mut client = scene.gate.connect();
    let lines = client.lines(
        "Q BEGIN\n---\nQ INSERT INTO inbox VALUES (0)\n---\nQ DELETE FROM users WHERE id <= 150\n---\nQ SELECT 1\n---\nQ COMMIT",
    );
    assert!(
        lines.iter().any(|line| line.contains("54000")),
        "{lines:#?}"
    );
    assert!(
        lines.iter().any(|line| line.contains("25P02")),
        "the transaction has failed: {lines:#?}"
    );
    assert_eq!(
        lines[lines.len() - 2..],
        ["CommandComplete ROLLBACK", "ReadyForQuery I"],
        "{lines:#?}"
    );
    assert_eq!(scene.state(), before);
}

#[test]
fn the_limit_is_exact_under_concurrent_writers() {
    let Some(database) = fresh_database() else {
        return;
    };
    database.prepare(
        "CREATE TABLE users (id int PRIMARY KEY, grp int, n int NOT NULL DEFAULT 0);
         INSERT INTO users SELECT i, CASE WHEN i <= 800 THEN (i - 1) / 100 ELSE 100 + (i - 801) / 101 END
         FROM generate_series(1, 800 + 808) i",
    );
    let rules = "[table_limits]\nusers = { changed = 100 }\n";
    let gate = Gate::start(&database, rules);
    let rounds = 25;
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let gate = &gate;
            scope.spawn(move || {
                let mut client = gate.connect();
                for round in 0..rounds {
                    let (group, allowed) = if (round + writer) % 2 == 0 {
                        (writer, true)
                    } else {
                        (100 + writer, false)
                    };
                    let sql = format!("UPDATE users SET n = n + 1 WHERE grp = {group}");
                    let script = match round % 3 {
                        0 => format!("Q {sql}"),
                        1 => format!("P - {sql}\nB - -\nE -\nS"),
                        _ => format!("Q BEGIN\n---\nQ {sql}\n---\nQ COMMIT"),
                    };
                    let answers = client.run(&script);
                    let refused = answers
                        .iter()
                        .any(|answer| answer.code() == "54000" && answer.tag == b'E');
                    assert_eq!(refused, !allowed, "{script}\n{}", print(&answers));
                }
            });
        }
    });
    let mut direct = database.direct();
    assert_eq!(
        direct.value("SELECT coalesce(sum(n), 0) FROM users WHERE grp >= 100"),
        "0"
    );
    let expected: u32 = (0..8)
        .map(|writer| {
            (0..rounds)
                .filter(|round| (round + writer) % 2 == 0)
                .count() as u32
                * 100
        })
        .sum();
    assert_eq!(
        direct.value("SELECT sum(n) FROM users WHERE grp < 100"),
        expected.to_string()
    );
}

#[test]
fn a_client_that_breaks_the_protocol_inside_a_counted_copy_is_shown_out() {
    let Some(database) = fresh_database() else {
        return;
    };
    database.prepare("CREATE TABLE w (a int)");
    let gate = Gate::start(&database, "[table_limits]\n\"*\" = { changed = 10 }\n");
    let mut client = gate.connect();
    let mut script = client.lines("Q copy w from stdin\n--- 0");
    client.send(b'Q', b"drop table w\0");
    while let Some(answer) = client.receive() {
        script.push(answer.line());
    }
    assert!(
        script.iter().any(|line| line.contains("08P01")),
        "{script:?}"
    );
    assert_eq!(gate.connect().value("select count(*) from w"), "0");
}
