//! Transactions and clients that take too long.

use std::time::{Duration, Instant};

use super::{Scene, expect_end};
use crate::support::raw::Raw;

const MODES: [&str; 2] = ["mode = \"session\"", "mode = \"transaction\", max = 2"];
const HALF: Duration = Duration::from_millis(500);

fn lock(client: &mut Raw) {
    let answers = client.run("Q BEGIN\n---\nQ UPDATE t SET n = n + 1");
    assert_eq!(answers.last().unwrap().line(), "ReadyForQuery T");
}

/// The lock is free again, and the change is gone.
fn is_undone(scene: &Scene) {
    let since = Instant::now();
    let mut other = scene.patient();
    assert_eq!(other.value("UPDATE t SET n = n RETURNING n"), "0");
    assert!(
        since.elapsed() < Duration::from_secs(3),
        "{:?}",
        since.elapsed()
    );
}

#[test]
fn who_sleeps_in_a_transaction_loses_it() {
    for mode in MODES {
        let setup = "CREATE TABLE t (n int); INSERT INTO t VALUES (0)";
        let Some(scene) = Scene::new(mode, "idle_transaction = \"500ms\"", setup) else {
            return;
        };
        let mut sleeper = scene.client();
        // Outside a transaction there is no such limit.
        std::thread::sleep(Duration::from_millis(1200));
        lock(&mut sleeper);
        let since = Instant::now();
        expect_end(&mut sleeper, since, "25P03", HALF);
        is_undone(&scene);
        // A transaction that has failed holds its connection, too.
        let mut failed = scene.client();
        failed.run("Q BEGIN\n---\nQ SELECT 1/0");
        let since = Instant::now();
        expect_end(&mut failed, since, "25P03", HALF);
        // Whoever works is not idle, and neither is whoever waits for the server.
        let mut busy = scene.client();
        lock(&mut busy);
        for _ in 0..6 {
            std::thread::sleep(Duration::from_millis(200));
            busy.value("SELECT 1");
        }
        assert_eq!(busy.value("SELECT 'slept' FROM pg_sleep(1.2)"), "slept");
        assert_eq!(busy.run("Q COMMIT")[0].line(), "CommandComplete COMMIT");
    }
}

#[test]
fn a_pipeline_without_an_end_is_an_open_transaction() {
    let Some(scene) = Scene::new(
        MODES[1],
        "idle_transaction = \"500ms\", transaction = \"2s\"",
        "CREATE TABLE t (n int); INSERT INTO t VALUES (0)",
    ) else {
        return;
    };
    let mut client = scene.client();
    let lines = client.lines("P - UPDATE t SET n = 7\nB - -\nE -\nH");
    assert_eq!(lines.last().unwrap(), "CommandComplete UPDATE 1");
    let since = Instant::now();
    expect_end(&mut client, since, "25P03", HALF);
    is_undone(&scene);
}

#[test]
fn a_transaction_that_takes_too_long_is_rolled_back() {
    for mode in MODES {
        let setup = "CREATE TABLE t (n int); INSERT INTO t VALUES (0)";
        let Some(scene) = Scene::new(mode, "transaction = \"1s\"", setup) else {
            return;
        };
        let second = Duration::from_secs(1);
        // Open and idle.
        let mut idle = scene.client();
        std::thread::sleep(Duration::from_millis(1500));
        let since = Instant::now();
        lock(&mut idle);
        expect_end(&mut idle, since, "25P04", second);
        is_undone(&scene);
        // Busy with many short statements.
        let mut busy = scene.client();
        let since = Instant::now();
        lock(&mut busy);
        let last = loop {
            busy.send(b'Q', b"SELECT 1\0");
            let answer = busy.receive().expect("an answer");
            if answer.tag == b'E' {
                break answer;
            }
            while busy.receive().is_some_and(|a| a.tag != b'Z') {}
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(last.code(), "25P04");
        assert!(since.elapsed() > second);
        is_undone(&scene);
        // One long statement outside a block: it is stopped on the server, too.
        let mut long = scene.client();
        let since = Instant::now();
        long.send(b'Q', b"UPDATE t SET n = 5 FROM pg_sleep(30)\0");
        expect_end(&mut long, since, "25P04", second);
        is_undone(&scene);
        scene.wait_until_idle();
        // Many short transactions are not one long one.
        let mut client = scene.client();
        for _ in 0..30 {
            client.value("SELECT 1");
            client.run("Q BEGIN\n---\nQ COMMIT");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn who_says_nothing_at_all_is_sent_home() {
    for mode in MODES {
        let Some(scene) = Scene::new(mode, "client_idle = \"500ms\"", "") else {
            return;
        };
        let mut client = scene.client();
        for _ in 0..6 {
            std::thread::sleep(Duration::from_millis(200));
            assert_eq!(client.value("SELECT 1"), "1");
        }
        // A transaction has a limit of its own, and so has a statement.
        client.run("Q BEGIN");
        std::thread::sleep(Duration::from_millis(1200));
        client.run("Q COMMIT");
        client.value("SELECT pg_sleep(1.2)");
        let since = Instant::now();
        expect_end(&mut client, since, "57P05", HALF);
        let mut patient = scene.patient();
        std::thread::sleep(Duration::from_millis(1200));
        assert_eq!(patient.value("SELECT 2"), "2");
    }
}
