//! Policies that judge beside the workers, whatever they are written in: what a
//! session does while it waits for one.

use std::time::{Duration, Instant};

use crate::support::answer::Answer;
use crate::support::component::{importing, policy};
use crate::support::database::{OWNER, fresh_database};
use crate::support::gate::{DATABASE, Gate};

const RULES: &str =
    "[[policy]]\nname = \"mine\"\nplugin = \"./mine.wasm\"\nruntime = \"interpreted\"\n";

/// Refuses what changes the schema.
const NO_SCHEMA: &str = "(if (i64.ne (i64.and (local.get 1) (i64.const 4)) (i64.const 0)) (then (return (call $refuse)))) i32.const 0";

/// On SQLite always, on PostgreSQL where there is a server.
fn gates(component: &[u8], rules: &str) -> Vec<Gate> {
    let head = format!(
        "workers = 1\n[[database]]\nname = \"{DATABASE}\"\nbackend = \"sqlite::memory:\"\n\n[[user]]\nname = \"{OWNER}\"\nauth = \"trust\"\n\n"
    );
    let put = |folder: &std::path::Path| {
        std::fs::write(folder.join("mine.wasm"), component).expect("the policy");
    };
    let mut gates = vec![Gate::start_with_files(&head, rules, put)];
    if let Some(database) = fresh_database() {
        gates.push(Gate::start_prepared(&database, rules, put));
    }
    gates
}

/// The tags of all answers, and who refused.
fn said(answers: &[Answer]) -> (String, Vec<String>) {
    let tags = answers.iter().map(|answer| char::from(answer.tag));
    let errors = answers.iter().filter(|answer| answer.tag == b'E');
    (
        tags.collect(),
        errors.map(|error| error.field(b'n')).collect(),
    )
}

#[test]
fn a_pipeline_goes_on_where_it_waited() {
    for gate in gates(&policy(NO_SCHEMA), RULES) {
        let mut client = gate.connect();
        let (tags, refused) =
            said(&client.run("P a SELECT 1 AS a\nB - a\nE -\nP b SELECT 2 AS b\nB - b\nE -\nS"));
        assert_eq!((&*tags, refused.len()), ("12DC12DCZ", 0));
        let (tags, refused) = said(&client.run(
            "P c SELECT 1 AS c\nB - c\nE -\nP d DROP TABLE t\nB - d\nE -\nP e SELECT 2 AS e\nB - e\nE -\nS",
        ));
        assert_eq!((&*tags, &*refused), ("12DCEZ", &["mine/no".to_owned()][..]));
        let (tags, _) = said(&client.run("P f SELECT 3 AS f\nB - f\nE -\nS"));
        assert_eq!(tags, "12DCZ", "the session goes on");
    }
}

#[test]
fn values_are_waited_for_at_bind() {
    let imports = r#"(import "portcullis:policy/values@0.1.0" "parameters" (func $parameters (result i32)))
        (import "portcullis:policy/values@0.1.0" "parameter" (func $parameter (param i32 i32)))"#;
    // Refuses a first value of three bytes; at Parse there is none yet, and none is said to be -1.
    let judge = "(if (i32.eqz (call $parameters)) (then (return (i32.const 0))))
        (call $parameter (i32.const 0) (i32.const 2048))
        (if (i32.eq (i32.load (i32.const 2056)) (i32.const 3)) (then (return (call $refuse)))) i32.const 0";
    for gate in gates(&importing(imports, judge), RULES) {
        let mut client = gate.connect();
        let pipeline = "P s:25 SELECT $1\nB - s fine\nE -\nB - s bad\nE -\nB - s well\nE -\nS";
        let (tags, refused) = said(&client.run(pipeline));
        assert_eq!((&*tags, &*refused), ("12DCEZ", &["mine/no".to_owned()][..]));
        for _ in 0..3 {
            let (tags, refused) = said(&client.run("B - s good\nE -\nB - s bad\nE -\nS"));
            assert_eq!((&*tags, refused.len()), ("2DCEZ", 1));
        }
    }
}

#[test]
fn a_string_is_judged_as_a_whole_and_has_an_end() {
    let string = |count: usize, last: &str| {
        let each = (0..count).map(|number| format!("SELECT 1 AS n{number};"));
        format!("Q {}{last}", each.collect::<String>())
    };
    for gate in gates(&policy(NO_SCHEMA), RULES) {
        let mut client = gate.connect();
        let (tags, refused) = said(&client.run(&string(60, "DROP TABLE t")));
        assert_eq!((&*tags, &*refused), ("EZ", &["mine/no".to_owned()][..]));
        let (tags, _) = said(&client.run(&string(60, "")));
        assert_eq!(tags.matches('C').count(), 60);
        // PostgreSQL's sessions look at the message once for each; SQLite's wait on the spot.
        let begun = Instant::now();
        let (tags, refused) = said(&client.run(&string(400, "SELECT 'last'")));
        match &refused[..] {
            [] => assert_eq!(tags.matches('C').count(), 401),
            refused => assert_eq!(refused, ["gate/unasked"]),
        }
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert_eq!(client.value("SELECT 5"), "5");
    }
}

#[test]
fn whoever_speaks_on_or_leaves_while_it_waits_is_heard() {
    let rules = format!("{RULES}budget = \"1s\"\n");
    // It loops over what changes the schema.
    let judge = NO_SCHEMA.replace("(return (call $refuse))", "(loop br 0)");
    for gate in gates(&policy(&judge), &rules) {
        let mut leaving = gate.connect();
        let mut client = gate.connect();
        leaving.send(b'Q', b"DROP TABLE t\0");
        std::thread::sleep(Duration::from_millis(50));
        drop(leaving);
        // What follows in the same write is answered in its turn.
        let script = "Q SELECT 1 AS d\nQ DROP TABLE u\nQ SELECT 2 AS e";
        let (tags, refused) = said(&client.run(script));
        assert_eq!(
            (&*tags, &*refused),
            ("TDCZEZTDCZ", &["mine/fault".to_owned()][..])
        );
        let until = Instant::now() + Duration::from_secs(3);
        while gate.metric("portcullis_clients", "") > 1.0 {
            assert!(Instant::now() < until, "it left, and is still there");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
