//! One statement that takes too long.

use std::time::{Duration, Instant};

use super::{Scene, expect_end, timed_out};
use crate::support::database::fresh_database;
use crate::support::proxy::Proxy;

const MODES: [&str; 2] = ["mode = \"session\"", "mode = \"transaction\", max = 2"];
const HALF_A_SECOND: &str = "query = \"500ms\"";

#[test]
fn a_statement_is_cancelled_and_its_client_goes_on() {
    for mode in MODES {
        let Some(scene) = Scene::new(mode, HALF_A_SECOND, "CREATE TABLE t (n int)") else {
            return;
        };
        let mut client = scene.client();
        for script in [
            "Q SELECT pg_sleep(30)",
            "Q INSERT INTO t VALUES (1); SELECT pg_sleep(30); INSERT INTO t VALUES (2)",
            "P - SELECT pg_sleep(30)\nB - -\nE -\nS",
            "P a INSERT INTO t VALUES (3)\nB - a\nE -\nP - SELECT pg_sleep(30)\nB - -\nE -\nB - a\nE -\nS",
        ] {
            let since = Instant::now();
            let answers = client.run(script);
            let took = since.elapsed();
            assert!(timed_out(&answers), "{mode}: {script}: {answers:?}");
            assert_eq!(
                answers.last().map(|a| a.line()).as_deref(),
                Some("ReadyForQuery I")
            );
            assert!(took > Duration::from_millis(500), "{took:?}");
            assert!(took < Duration::from_secs(5), "{took:?}");
            assert_eq!(client.value("SELECT 'usable'"), "usable");
        }
        assert_eq!(
            client.value("SELECT count(*) FROM t"),
            "0",
            "all were rolled back"
        );
        scene.wait_until_idle();
    }
}

#[test]
fn a_transaction_fails_with_its_statement() {
    let Some(scene) = Scene::new(MODES[1], HALF_A_SECOND, "CREATE TABLE t (n int)") else {
        return;
    };
    let mut client = scene.client();
    let answers =
        client.run("Q BEGIN\n---\nQ INSERT INTO t VALUES (1)\n---\nQ SELECT pg_sleep(30)");
    assert!(timed_out(&answers));
    assert_eq!(answers.last().unwrap().line(), "ReadyForQuery E");
    assert_eq!(client.run("Q SELECT 1")[0].code(), "25P02");
    client.run("Q ROLLBACK");
    assert_eq!(client.value("SELECT count(*) FROM t"), "0");
}

#[test]
fn many_short_statements_are_not_one_long_one() {
    for mode in MODES {
        let Some(scene) = Scene::new(mode, HALF_A_SECOND, "") else {
            return;
        };
        let mut client = scene.client();
        for script in [
            "P s SELECT pg_sleep(0.3)\nB - s\nE -\nS\nB - s\nE -\nS\nB - s\nE -\nS\nC S s\nS",
            "P s SELECT pg_sleep(0.3)\nB - s\nE -\nH\n---\nB - s\nE -\nH\n---\nB - s\nE -\nC S s\nS",
            "Q SELECT pg_sleep(0.3)\nQ SELECT pg_sleep(0.3)\nQ SELECT pg_sleep(0.3)",
        ] {
            let answers = client.run(script);
            assert!(
                !answers.iter().any(|a| a.tag == b'E'),
                "{script}: {answers:?}"
            );
        }
    }
}

#[test]
fn nothing_fires_when_no_statement_runs() {
    for mode in MODES {
        let Some(scene) = Scene::new(mode, HALF_A_SECOND, "") else {
            return;
        };
        let mut client = scene.client();
        let pause = || std::thread::sleep(Duration::from_millis(1500));
        pause();
        assert_eq!(client.value("SELECT 1"), "1");
        client.run("Q BEGIN");
        pause();
        client.run("Q COMMIT");
        // Prepared, and not yet asked for an answer.
        client.send_bytes(&crate::support::script::sections("P - SELECT 2")[0].bytes);
        pause();
        let lines = client.lines("B - -\nE -\nS");
        assert_eq!(
            lines,
            [
                "ParseComplete",
                "BindComplete",
                "DataRow 2",
                "CommandComplete SELECT 1",
                "ReadyForQuery I"
            ]
        );
        // Executed, and not yet asked for an answer.
        client.send_bytes(&crate::support::script::sections("P - SELECT 3\nB - -\nE -")[0].bytes);
        pause();
        let lines = client.lines("S");
        assert_eq!(lines[2], "DataRow 3", "{lines:?}");
        assert_eq!(lines.last().unwrap(), "ReadyForQuery I");
    }
}

#[test]
fn a_user_may_have_other_limits() {
    let Some(scene) = Scene::new(MODES[1], HALF_A_SECOND, "") else {
        return;
    };
    assert!(timed_out(&scene.client().run("Q SELECT pg_sleep(30)")));
    assert_eq!(
        scene.patient().value("SELECT 'slept' FROM pg_sleep(1.5)"),
        "slept"
    );
}

#[test]
fn a_stalled_copy_ends() {
    for mode in MODES {
        let Some(scene) = Scene::new(mode, HALF_A_SECOND, "CREATE TABLE t (a text)") else {
            return;
        };
        let mut client = scene.client();
        client.send(b'Q', b"COPY t FROM STDIN\0");
        assert_eq!(client.receive().unwrap().tag, b'G');
        client.send(b'd', b"one row\n");
        let answer = client.receive().expect("the end of the COPY");
        assert!(
            timed_out(std::slice::from_ref(&answer)),
            "{}",
            answer.line()
        );
        assert_eq!(client.receive().unwrap().line(), "ReadyForQuery I");
        // What was under way behind it concerns nobody.
        client.send(b'd', b"late\n");
        client.send(b'c', b"");
        assert_eq!(client.value("SELECT count(*) FROM t"), "0");
        scene.wait_until_idle();
    }
}

#[test]
fn a_held_statement_is_cancelled_too() {
    let Some(database) = fresh_database() else {
        return;
    };
    database.prepare(
        "CREATE TABLE t (n int); \
         CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN PERFORM pg_sleep(30); RETURN NEW; END'; \
         CREATE TRIGGER slow BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION slow()",
    );
    let pool = format!("{} }}\ntimeouts = {{ {HALF_A_SECOND}", MODES[1]);
    let rules = "[table_limits]\nt = 10\n";
    let gate = crate::support::gate::Gate::start_pooled(&database, &pool, rules, |_| {});
    let mut client = gate.connect();
    for script in [
        "Q INSERT INTO t VALUES (1)",
        "P - INSERT INTO t VALUES (1)\nB - -\nE -\nS",
    ] {
        let answers = client.run(script);
        assert!(timed_out(&answers), "{script}: {answers:?}");
        assert_eq!(answers.last().unwrap().line(), "ReadyForQuery I");
        assert_eq!(client.value("SELECT count(*) FROM t"), "0");
    }
}

#[test]
fn a_server_that_does_not_stop_is_given_up() {
    for mode in MODES {
        let Some(database) = fresh_database() else {
            return;
        };
        let proxy = Proxy::to(database.address);
        let backend = format!("postgres://app@{}/{}", proxy.address, database.name);
        let limits = "query = \"300ms\", cancel = \"500ms\"";
        let pool = format!("{mode}, connect_timeout = \"1s\"");
        let scene = Scene::with(database, &backend, &pool, limits);
        let mut client = scene.client();
        assert_eq!(client.value("SELECT 1"), "1");
        proxy.freeze();
        let since = Instant::now();
        client.send(b'Q', b"SELECT 2\0");
        expect_end(&mut client, since, "57014", Duration::from_millis(800));
        proxy.thaw();
        proxy.cut();
        assert_eq!(
            scene.client().value("SELECT 3"),
            "3",
            "another connection was made"
        );
    }
}

#[test]
fn a_client_that_leaves_takes_its_statement_along() {
    for mode in MODES {
        let Some(scene) = Scene::new(mode, "", "") else {
            return;
        };
        for farewell in [&b""[..], b"X\0\0\0\x04"] {
            let mut client = scene.client();
            client.send(b'Q', b"SELECT pg_sleep(60)\0");
            std::thread::sleep(Duration::from_millis(300));
            assert_eq!(scene.busy(), 1);
            client.send_bytes(farewell);
            drop(client);
            scene.wait_until_idle();
        }
    }
}
