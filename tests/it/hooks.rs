//! Policies that are asked about connections and plans, and told of statements.
//!
//! A connection is refused after login and before the session, with the
//! policy's own words, and a live one ends when a new policy does not want it.

use std::time::{Duration, Instant};

use crate::support::answer::Answer;
use crate::support::component::{connection_policy, event_policy, plan_policy, policy};
use crate::support::database::{OWNER, fresh_database};
use crate::support::gate::{DATABASE, Gate};
use crate::support::raw::{Login, Raw};

/// Refuses who calls itself `bad`.
const NO_BAD: &str = "(if (call $is_bad) (then (return (call $refuse)))) i32.const 0";
const EVERYBODY: &str = "i32.const 0";
const NOBODY: &str = "call $refuse";

const RULES: &str = "[[policy]]\nname = \"mine\"\nplugin = \"./mine.wasm\"\n";

fn on_postgres(component: &[u8], rules: &str) -> Option<Gate> {
    let database = fresh_database()?;
    Some(Gate::start_prepared(&database, rules, |folder| {
        std::fs::write(folder.join("mine.wasm"), component).expect("the policy");
    }))
}

fn on_sqlite(component: &[u8], rules: &str) -> Gate {
    let head = format!(
        "[[database]]\nname = \"{DATABASE}\"\nbackend = \"sqlite::memory:\"\n\n[[user]]\nname = \"{OWNER}\"\nauth = \"trust\"\n\n"
    );
    Gate::start_with_files(&head, rules, |folder| {
        std::fs::write(folder.join("mine.wasm"), component).expect("the policy");
    })
}

/// On SQLite always, on PostgreSQL where there is a server; and once more with
/// the policy on threads of its own.
fn gates(component: &[u8], rules: &str) -> Vec<Gate> {
    let plugin = "plugin = \"./mine.wasm\"\n";
    let aside = rules.replace(plugin, &format!("{plugin}runtime = \"interpreted\"\n"));
    let mut gates = Vec::new();
    for rules in [rules, &aside] {
        gates.push(on_sqlite(component, rules));
        gates.extend(on_postgres(component, rules));
    }
    gates
}

fn login(gate: &Gate, application: &str) -> Result<Raw, Answer> {
    let login = Login::new(OWNER, DATABASE).parameter("application_name", application);
    Raw::try_login(gate.address, &login)
}

fn replace(gate: &Gate, component: &[u8]) {
    let draft = gate.folder().join("draft");
    std::fs::write(&draft, component).expect("a draft");
    std::fs::rename(&draft, gate.folder().join("mine.wasm")).expect("the new file");
}

fn denied(gate: &Gate) -> f64 {
    let labels = "policy=\"mine\",rule=\"no\"";
    gate.metric("portcullis_connections_denied_total", labels)
}

#[test]
fn a_refused_connection_is_told_why_and_counted() {
    for gate in gates(&connection_policy(NO_BAD), RULES) {
        let Err(error) = login(&gate, "bad") else {
            panic!("`bad` may not connect")
        };
        assert_eq!(error.field(b'S'), "FATAL");
        assert_eq!(error.code(), "42501");
        assert_eq!(error.field(b'M'), "it says no");
        assert_eq!(error.field(b'n'), "mine/no");
        let detail = error.field(b'D');
        let incident = detail
            .strip_prefix("Incident ")
            .and_then(|rest| rest.strip_suffix('.'))
            .unwrap_or_else(|| panic!("no incident in {detail:?}"));
        gate.wait_for_log(&["connection denied", incident]);
        assert_eq!(denied(&gate), 1.0);

        let mut good = login(&gate, "good").expect("everybody else may");
        assert_eq!(good.value("SELECT 1"), "1");
        assert_eq!(denied(&gate), 1.0);
    }
}

#[test]
fn a_monitored_refusal_lets_the_client_in_and_is_counted() {
    let rules = format!("{RULES}mode = \"monitor\"\n");
    for gate in gates(&connection_policy(NOBODY), &rules) {
        let mut client = login(&gate, "bad").expect("nothing is enforced");
        assert_eq!(client.value("SELECT 1"), "1");
        assert_eq!(
            gate.metric("portcullis_would_deny_connections_total", "rule=\"no\""),
            1.0
        );
        assert_eq!(denied(&gate), 0.0);
    }
}

#[test]
fn a_hook_that_fails_refuses_unless_the_operator_said_otherwise() {
    let broken = connection_policy("unreachable");
    for gate in gates(&broken, RULES) {
        let Err(error) = login(&gate, "x") else {
            panic!("a fault refuses")
        };
        assert_eq!(
            (error.code(), error.field(b'n')),
            ("58000".into(), "mine/fault".into())
        );
    }
    let rules = format!("{RULES}on_fault = \"allow\"\n");
    for gate in gates(&broken, &rules) {
        login(&gate, "x").expect("faults are allowed here");
        let faults = gate.metric("portcullis_policy_faults_total", "policy=\"mine\"");
        assert_eq!(faults, 1.0, "allowed, but counted");
    }
}

/// The connection's end, with the error before it.
fn end_of(client: &mut Raw) -> Answer {
    let error = client.receive().expect("a word before the end");
    assert_eq!(error.tag, b'E', "{}", error.line());
    assert!(client.receive().is_none(), "the connection ends");
    error
}

#[test]
fn an_idle_connection_ends_when_a_new_policy_does_not_want_it() {
    for gate in gates(&connection_policy(EVERYBODY), RULES) {
        let mut bad = login(&gate, "bad").expect("not yet refused");
        let mut good = login(&gate, "good").expect("welcome");
        replace(&gate, &connection_policy(NO_BAD));
        // It says nothing; the gate speaks first.
        let error = end_of(&mut bad);
        assert_eq!(
            (error.field(b'S'), error.code()),
            ("FATAL".into(), "42501".into())
        );
        assert_eq!(good.value("SELECT 1"), "1");
        gate.wait_for_log(&["connection denied", "live=true"]);
        assert_eq!(denied(&gate), 1.0);
    }
}

#[test]
fn a_transaction_is_finished_before_its_connection_ends() {
    for gate in gates(&connection_policy(EVERYBODY), RULES) {
        let mut client = login(&gate, "bad").expect("not yet refused");
        client.rows("CREATE TABLE t (n INTEGER)");
        client.rows("BEGIN");
        replace(&gate, &connection_policy(NOBODY));
        let deadline = Instant::now() + Duration::from_secs(20);
        while login(&gate, "other").is_ok() {
            assert!(Instant::now() < deadline, "the new policy never came");
            std::thread::sleep(Duration::from_millis(20));
        }
        client.rows("INSERT INTO t VALUES (1)");
        assert_eq!(client.value("SELECT count(*) FROM t"), "1");
        client.rows("COMMIT");
        assert_eq!(end_of(&mut client).code(), "42501");
    }
}

#[test]
fn a_policy_judges_the_plan_it_wanted() {
    let cheap = "(if (f64.gt (call $measure (i32.const 1)) (f64.const 1000)) (then (return (call $refuse)))) i32.const 0";
    let Some(gate) = on_postgres(&plan_policy(cheap), RULES) else {
        return;
    };
    let mut client = gate.connect();
    assert_eq!(client.value("SELECT 1"), "1");
    let dear = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b";
    for script in [format!("Q {dear}"), format!("P - {dear}\nB - -\nE -\nS")] {
        let answers = client.run(&script);
        let error = answers.iter().find(|answer| answer.tag == b'E');
        let error = error.unwrap_or_else(|| panic!("{script} passed"));
        assert_eq!(
            (error.code(), error.field(b'n')),
            ("42501".into(), "mine/no".into())
        );
    }
    assert_eq!(client.value("SELECT 2"), "2");
}

#[test]
fn a_plan_that_is_known_is_shown_to_the_policy_all_the_same() {
    let Some(database) = fresh_database() else {
        return;
    };
    database.prepare("CREATE TABLE t (n INTEGER)");
    let gate = Gate::start_prepared(&database, RULES, |folder| {
        let component = plan_policy(EVERYBODY);
        std::fs::write(folder.join("mine.wasm"), component).expect("the policy");
    });
    let mut client = gate.connect();
    let ways = [
        "Q SELECT count(*) FROM t",
        "P - SELECT count(*) FROM t\nB - -\nE -\nS",
        "B - s\nE -\nS",
    ];
    client.run("P s SELECT count(*) FROM t\nS");
    let codes = |client: &mut Raw| -> Vec<String> {
        let answers = ways.map(|way| client.run(way));
        let errors = answers.iter().flatten().filter(|answer| answer.tag == b'E');
        errors.map(Answer::code).collect()
    };
    for _ in 0..2 {
        assert!(codes(&mut client).is_empty(), "everybody may");
    }
    replace(&gate, &plan_policy(NOBODY));
    gate.wait_for_log(&["reload done", "changed: mine"]);
    assert_eq!(codes(&mut client), ["42501"; 3]);
}

#[test]
fn a_policy_without_hooks_is_asked_about_no_connection() {
    let gate = on_sqlite(&policy(NOBODY), RULES);
    let mut client = login(&gate, "bad").expect("only statements are refused");
    let answers = client.run("Q SELECT 1");
    assert!(answers.iter().any(|answer| answer.tag == b'E'));
}

#[test]
fn a_policy_is_told_of_a_refused_statement_after_it_was_answered() {
    let fails = "(if (i64.eq (call $number (i32.const 1)) (i64.const 1)) (then unreachable))";
    for gate in gates(&event_policy(fails), RULES) {
        let faults = || gate.metric("portcullis_policy_faults_total", "policy=\"mine\"");
        let mut client = gate.connect();
        client.rows("CREATE TABLE t (n INTEGER)");
        assert_eq!(client.value("SELECT count(*) FROM t"), "0");
        assert_eq!(faults(), 0.0, "nothing was refused");
        let answers = client.run("Q DELETE FROM t");
        assert!(answers.iter().any(|answer| answer.tag == b'E'));
        assert_eq!(client.value("SELECT count(*) FROM t"), "0");
        let deadline = Instant::now() + Duration::from_secs(20);
        while faults() == 0.0 {
            assert!(Instant::now() < deadline, "the policy was not told");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
