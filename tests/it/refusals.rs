//! A refused statement has no effect, and the connection goes on.
//!
//! Every refusal comes in every form: alone, in a transaction, in a string of
//! several statements, in the extended protocol, in a pipeline. After each, the
//! client and the server must have the same idea of the transaction; the
//! server's idea is read from its own `pg_stat_activity`.

use crate::support::answer::Answer;
use crate::support::database::{Database, fresh_database};
use crate::support::gate::Gate;
use crate::support::raw::Raw;

const SETUP: &str = "
    CREATE TABLE users (id int PRIMARY KEY, name text);
    INSERT INTO users SELECT i, 'user ' || i FROM generate_series(1, 50) i;
    CREATE TABLE audit (what text);
    CREATE TABLE canary_credentials (secret text);
    INSERT INTO canary_credentials VALUES ('never seen');
    CREATE VIEW innocent AS SELECT secret FROM canary_credentials;
";

/// The trap's policy.
pub const RULES: &str = "
    [[policy]]
    name = \"honeytoken\"
    settings = { tables = [\"canary_*\"] }
";

/// A statement, its SQLSTATE and the policy that refuses it.
const REFUSED: &[(&str, &str, &str)] = &[
    ("DELETE FROM users", "42501", "require-where"),
    ("UPDATE users SET name = 'x'", "42501", "require-where"),
    ("DELETE FROM users WHERE 1=1", "42501", "require-where"),
    ("DELETE FROM users WHERE id = id", "42501", "require-where"),
    (
        "UPDATE users SET name = 'x' WHERE id > 5 OR true",
        "42501",
        "require-where",
    ),
    (
        "WITH gone AS (DELETE FROM users RETURNING id) SELECT count(*) FROM gone",
        "42501",
        "require-where",
    ),
    (
        "/* DELETE */ DELETE /* FROM logs WHERE id = 1 */ FROM users -- WHERE id = 1",
        "42501",
        "require-where",
    ),
    (
        "EXPLAIN ANALYZE DELETE FROM users",
        "42501",
        "require-where",
    ),
    (
        "COPY (DELETE FROM users RETURNING id) TO STDOUT",
        "42501",
        "require-where",
    ),
    ("TRUNCATE users", "42501", "require-where"),
    ("SELECT * FROM canary_credentials", "42P01", "honeytoken"),
    (
        "SELECT * FROM public.\"canary_credentials\"",
        "42P01",
        "honeytoken",
    ),
    (
        "SELECT id FROM users WHERE EXISTS (SELECT 1 FROM Canary_Credentials)",
        "42P01",
        "honeytoken",
    ),
    (
        "INSERT INTO audit SELECT secret FROM canary_credentials",
        "42P01",
        "honeytoken",
    ),
    ("DROP TABLE canary_credentials", "42P01", "honeytoken"),
    (
        "CREATE RULE r AS ON INSERT TO audit DO ALSO DELETE FROM users",
        "42501",
        "require-where",
    ),
    (
        "DO $$ BEGIN DELETE FROM users; END $$",
        "42501",
        "require-where",
    ),
    (
        "DO $$ BEGIN EXECUTE 'UPDATE users SET name = 1 WHERE true'; END $$",
        "42501",
        "require-where",
    ),
    (
        "CREATE FUNCTION gone() RETURNS void LANGUAGE sql AS 'DELETE FROM users'",
        "42501",
        "require-where",
    ),
    (
        "CREATE FUNCTION gone() RETURNS void LANGUAGE sql BEGIN ATOMIC DELETE FROM users; END",
        "42501",
        "require-where",
    ),
];

/// A database with a trap in it, and a gate in front.
pub struct Scene {
    /// The database.
    pub database: Database,
    /// The gate.
    pub gate: Gate,
}

impl Scene {
    /// None: no servers here.
    pub fn new() -> Option<Scene> {
        let database = fresh_database()?;
        database.prepare(SETUP);
        let gate = Gate::start(&database, RULES);
        Some(Scene { database, gate })
    }

    /// State of the only server connection that belongs to a client of the gate.
    fn server_states(&self) -> Vec<String> {
        let sql = "SELECT state FROM pg_stat_activity WHERE usename = 'app' AND datname = current_database()";
        let rows = self.database.admin().rows(sql);
        rows.into_iter()
            .filter_map(|mut row| row.remove(0))
            .collect()
    }

    /// The state reaches pg_stat_activity a moment after ReadyForQuery.
    fn expect_server_state(&self, wanted: &str, why: &str) {
        for _ in 0..100 {
            if self.server_states().iter().any(|state| state == wanted) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!(
            "{why}: the server is {:?}, not {wanted}",
            self.server_states()
        );
    }

    /// What the tables hold: nothing but what SETUP put there.
    pub fn expect_untouched(&self, why: &str) {
        let mut direct = self.database.direct();
        let sql = "SELECT (SELECT count(*) FROM users WHERE name = 'user ' || id) || '/' || \
                   (SELECT count(*) FROM audit) || '/' || (SELECT count(*) FROM canary_credentials)";
        assert_eq!(direct.value(sql), "50/0/1", "{why}");
    }
}

/// Exactly one error with this code, then ReadyForQuery with this state.
fn expect_refused(answers: &[Answer], code: &str, policy: &str, state: &str, why: &str) {
    let lines: Vec<String> = answers.iter().map(Answer::line).collect();
    let errors: Vec<&Answer> = answers.iter().filter(|answer| answer.tag == b'E').collect();
    assert_eq!(errors.len(), 1, "{why}: one error\n{}", lines.join("\n"));
    let error = errors[0];
    assert_eq!(error.code(), code, "{why}\n{}", lines.join("\n"));
    if policy == "honeytoken" {
        // Disguised: what the server says of a table that is not there, and not a word more.
        assert_eq!(
            format!(
                "{}{}{}",
                error.field(b'n'),
                error.field(b'D'),
                error.field(b'H')
            ),
            "",
            "{why}"
        );
    } else {
        let constraint = error.field(b'n');
        assert!(
            constraint.starts_with(&format!("{policy}/")),
            "{why}: constraint is {constraint:?}"
        );
        let detail = error.field(b'D');
        assert!(
            detail.contains("Incident "),
            "{why}: DETAIL names the incident\n{}",
            error.line()
        );
        assert!(
            !error.field(b'H').is_empty(),
            "{why}: a HINT says what to do\n{}",
            error.line()
        );
    }
    assert_eq!(
        lines.last().map(String::as_str),
        Some(format!("ReadyForQuery {state}").as_str()),
        "{why}"
    );
}

/// The connection goes on as if nothing had happened.
pub fn expect_usable(client: &mut Raw, why: &str) {
    assert_eq!(client.value("SELECT 'still here'"), "still here", "{why}");
    assert!(client.is_silent(), "{why}: nothing is left over");
}

/// Plays one form of every refused statement on its own connection.
fn in_every_case(form: impl Fn(&str) -> String, state: &str) {
    let Some(scene) = Scene::new() else { return };
    for (sql, code, policy) in REFUSED {
        let mut client = scene.gate.connect();
        let script = form(sql);
        let answers = client.run(&script);
        expect_refused(&answers, code, policy, state, &script);
        if state == "E" {
            scene.expect_server_state("idle in transaction (aborted)", &script);
            let after = client.lines("Q SELECT 1\nQ COMMIT");
            assert!(after[0].contains("25P02"), "{script}: {after:?}");
            assert_eq!(
                after[2..],
                ["CommandComplete ROLLBACK", "ReadyForQuery I"],
                "{script}"
            );
        }
        expect_usable(&mut client, &script);
        scene.expect_untouched(&script);
        drop(client);
    }
}

#[test]
fn refuses_a_simple_query() {
    in_every_case(|sql| format!("Q {sql}"), "I");
}

#[test]
fn refuses_a_string_before_any_of_it_runs() {
    in_every_case(
        |sql| format!("Q INSERT INTO audit VALUES ('before'); {sql}\n"),
        "I",
    );
}

#[test]
fn refuses_a_string_that_begins_with_the_offender() {
    let Some(scene) = Scene::new() else { return };
    let mut client = scene.gate.connect();
    let script = "Q DELETE FROM users; INSERT INTO audit VALUES ('after')";
    expect_refused(&client.run(script), "42501", "require-where", "I", script);
    scene.expect_untouched(script);
}

#[test]
fn refuses_the_extended_protocol_at_parse() {
    let Some(scene) = Scene::new() else { return };
    for (sql, code, policy) in REFUSED {
        let mut client = scene.gate.connect();
        let script = format!("P - {sql}\nB - -\nD P -\nE -\nS");
        let answers = client.run(&script);
        expect_refused(&answers, code, policy, "I", &script);
        assert_eq!(
            answers[0].tag, b'E',
            "{script}: refused at Parse, nothing is described"
        );
        expect_usable(&mut client, &script);
        scene.expect_untouched(&script);
    }
}

#[test]
fn refuses_inside_a_transaction_and_the_server_knows() {
    in_every_case(
        |sql| {
            format!("Q BEGIN\n---\nQ INSERT INTO audit VALUES ('same transaction')\n---\nQ {sql}")
        },
        "E",
    );
}

#[test]
fn refuses_the_extended_protocol_inside_a_transaction() {
    in_every_case(
        |sql| {
            format!(
                "Q BEGIN\n---\nP - INSERT INTO audit VALUES ('same')\nB - -\nE -\nS\n---\nP - {sql}\nB - -\nE -\nS"
            )
        },
        "E",
    );
}

#[test]
fn refuses_in_a_pipeline_and_rolls_back_what_stood_before() {
    let form = |sql: &str| {
        format!(
            "P i INSERT INTO audit VALUES ('before')\nB - i\nE -\nP - {sql}\nB - -\nE -\n\
             P j INSERT INTO audit VALUES ('after')\nB - j\nE -\nS"
        )
    };
    in_every_case(form, "I");
}

#[test]
fn goes_on_with_the_next_sync_of_a_pipeline() {
    let Some(scene) = Scene::new() else { return };
    let mut client = scene.gate.connect();
    let lines = client.lines(
        "P - DELETE FROM users\nB - -\nE -\nS\nP - SELECT 1\nB - -\nE -\nS\nP - TRUNCATE users\nB - -\nE -\nS\nQ SELECT 2",
    );
    let kinds: Vec<&str> = lines
        .iter()
        .map(|line| line.split(' ').next().unwrap_or(""))
        .collect();
    let expected = [
        "ErrorResponse",
        "ReadyForQuery",
        "ParseComplete",
        "BindComplete",
        "DataRow",
        "CommandComplete",
        "ReadyForQuery",
        "ErrorResponse",
        "ReadyForQuery",
        "RowDescription",
        "DataRow",
        "CommandComplete",
        "ReadyForQuery",
    ];
    assert_eq!(kinds, expected, "{}", lines.join("\n"));
    scene.expect_untouched("three refused pipelines");
}

#[test]
fn refuses_sql_level_prepare() {
    let Some(scene) = Scene::new() else { return };
    let mut client = scene.gate.connect();
    let script = "Q PREPARE gone AS DELETE FROM users";
    expect_refused(&client.run(script), "42501", "require-where", "I", script);
    let lines = client.lines("Q EXECUTE gone");
    assert!(
        lines[0].contains("ErrorResponse"),
        "there is nothing to execute: {lines:?}"
    );
    scene.expect_untouched(script);
}

#[test]
fn refuses_text_that_cannot_be_tokenized() {
    let Some(scene) = Scene::new() else { return };
    for sql in [
        "SELECT 'never ends",
        "SELECT $tag$ never ends",
        "SELECT /* never ends",
        "SELECT \"never ends",
    ] {
        let mut client = scene.gate.connect();
        let simple = client.run(&format!("Q {sql}"));
        assert_eq!(simple[0].code(), "42601", "{sql}");
        let extended = client.run(&format!("P - {sql}\nB - -\nE -\nS"));
        assert_eq!(extended[0].code(), "42601", "{sql}");
        expect_usable(&mut client, sql);
    }
}

#[test]
fn refuses_function_calls_of_the_old_protocol() {
    let Some(scene) = Scene::new() else { return };
    let mut client = scene.gate.connect();
    let answers = client.run("F 1598"); // pg_catalog.random()
    assert_eq!(answers[0].code(), "0A000", "{}", answers[0].line());
    assert_eq!(answers[1].line(), "ReadyForQuery I");
    expect_usable(&mut client, "FunctionCall");
}

#[test]
fn every_refusal_is_recorded() {
    let Some(scene) = Scene::new() else { return };
    let mut client = scene.gate.connect();
    let answers = client.run("Q DELETE FROM users");
    let detail = answers[0].field(b'D');
    let incident = detail
        .rsplit("Incident ")
        .next()
        .unwrap_or_default()
        .trim_end_matches('.')
        .to_owned();
    assert!(!incident.is_empty(), "{detail}");
    scene.gate.wait_for_log(&[&incident, "require-where"]);
}
