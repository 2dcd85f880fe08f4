//! The three ways to stop, from the console and by signal.

use std::time::{Duration, Instant};

use super::{DATABASE, OPERATORS, Scene, eventually};
use crate::support::raw::{Login, Raw};

const A_WHILE: Duration = Duration::from_millis(400);

/// How somebody says it.
type Say = fn(&Scene);

fn console(command: &'static str) -> impl Fn(&Scene) {
    move |scene| {
        let mut ops = scene.ops();
        ops.begin(command);
        // SHUTDOWN itself is answered by the end of the connection.
        let _ = ops.has_answered(Duration::from_millis(200));
    }
}

fn is_closed(scene: &Scene) -> bool {
    std::net::TcpStream::connect(scene.gate.address).is_err()
}

fn ends(scene: &mut Scene) {
    let status = scene
        .gate
        .wait(Duration::from_secs(10))
        .expect("the gate ends");
    assert!(status.success(), "{status}");
}

#[test]
fn waiting_for_clients_lets_everybody_stay_and_nobody_in() {
    let by_signal: Say = |scene| scene.gate.signal("TERM");
    let by_console: Say = |scene| console("SHUTDOWN WAIT_FOR_CLIENTS")(scene);
    for say in [by_signal, by_console] {
        let Some(mut scene) = Scene::transaction() else {
            return;
        };
        let (mut idle, mut busy) = (scene.client(), scene.client());
        // Operators may watch; they hold nothing up.
        let mut watching = scene.ops();
        busy.run("Q BEGIN");
        say(&scene);
        eventually("nobody new comes in", || is_closed(&scene));
        std::thread::sleep(A_WHILE);
        assert_eq!(idle.value("SELECT 1"), "1", "who is here stays");
        assert!(watching.row("SHOW CLIENTS", "state", "active").is_some());
        busy.run("Q COMMIT");
        drop(busy);
        assert_eq!(idle.value("SELECT 2"), "2");
        drop(idle);
        ends(&mut scene);
    }
}

#[test]
fn waiting_for_servers_lets_transactions_end() {
    let by_signal: Say = |scene| scene.gate.signal("INT");
    let by_console: Say = |scene| console("SHUTDOWN WAIT_FOR_SERVERS")(scene);
    for say in [by_signal, by_console] {
        let Some(mut scene) = Scene::transaction() else {
            return;
        };
        let (mut idle, mut busy) = (scene.client(), scene.client());
        busy.run("Q BEGIN");
        say(&scene);
        assert_eq!(idle.receive().expect("a reason").code(), "57P01");
        assert_eq!(busy.value("SELECT 1"), "1");
        assert_eq!(busy.lines("Q COMMIT")[0], "CommandComplete COMMIT");
        assert_eq!(busy.receive().expect("a reason").code(), "57P01");
        ends(&mut scene);
    }
}

#[test]
fn an_immediate_stop_waits_for_nobody() {
    let by_signal: Say = |scene| scene.gate.signal("QUIT");
    let by_console: Say = |scene| console("SHUTDOWN")(scene);
    let by_two_signals: Say = |scene| {
        scene.gate.signal("TERM");
        eventually("the first was heard", || is_closed(scene));
        scene.gate.signal("TERM");
    };
    let by_two_others: Say = |scene| {
        scene.gate.signal("TERM");
        eventually("the first was heard", || is_closed(scene));
        scene.gate.signal("INT");
    };
    for say in [by_signal, by_console, by_two_signals, by_two_others] {
        let Some(mut scene) = Scene::transaction() else {
            return;
        };
        let mut busy = scene.client();
        busy.run("Q BEGIN");
        let begun = Instant::now();
        say(&scene);
        ends(&mut scene);
        assert!(begun.elapsed() < Duration::from_secs(8));
    }
}

#[test]
fn nobody_is_waited_for_longer_than_configured() {
    let Some(database) = crate::support::database::fresh_database() else {
        return;
    };
    let rules = format!("{OPERATORS}\n[limits]\ndrain_timeout = \"700ms\"\n");
    let pool = "mode = \"transaction\"";
    let gate = crate::support::gate::Gate::start_pooled(&database, pool, &rules, |_| {});
    let mut scene = Scene { database, gate };
    let (mut idle, mut busy) = (scene.client(), scene.client());
    busy.run("Q BEGIN");
    scene.gate.signal("TERM");
    assert!(idle.receive_within(A_WHILE).is_none(), "it may stay");
    assert_eq!(
        idle.receive().expect("a reason").code(),
        "57P01",
        "for so long"
    );
    ends(&mut scene);
}

#[test]
fn a_gate_that_stops_does_not_wait_for_a_paused_database() {
    let Some(mut scene) = Scene::transaction() else {
        return;
    };
    let mut ops = scene.ops();
    let mut waiting = Raw::login(scene.gate.address, &Login::new("app", DATABASE));
    assert_eq!(ops.says("PAUSE"), "PAUSE");
    waiting.send(b'Q', b"SELECT 1\0");
    eventually("it waits", || {
        let pool = ops.row("SHOW POOLS", "database", DATABASE);
        pool.is_some_and(|pool| pool["cl_waiting"] == "1")
    });
    scene.gate.signal("INT");
    assert_eq!(waiting.receive().expect("a reason").code(), "57P01");
    ends(&mut scene);
}
