//! PAUSE, RESUME, KILL and SUSPEND: nothing moves, and nothing is lost.

use std::time::{Duration, Instant};

use super::{Console, DATABASE, OPERATORS, Scene, eventually};
use crate::support::raw::{Login, Raw};

const A_WHILE: Duration = Duration::from_millis(400);

fn servers(scene: &Scene) -> String {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND datname = current_database()";
    scene.database.admin().value(sql)
}

#[test]
fn a_paused_database_lets_transactions_end_and_keeps_clients_waiting() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let (mut ops, mut busy, mut waiting) = (scene.ops(), scene.client(), scene.client());
    scene.database.prepare("CREATE TABLE t (n int)");
    busy.run("Q BEGIN");
    busy.run("Q INSERT INTO t VALUES (1)");
    ops.begin("PAUSE app");
    assert!(!ops.has_answered(A_WHILE), "a transaction is open");
    waiting.send(b'Q', b"INSERT INTO t VALUES (2)\0");
    assert_eq!(busy.value("SELECT count(*) FROM t"), "1");
    assert_eq!(busy.lines("Q COMMIT")[0], "CommandComplete COMMIT");
    assert!(
        ops.has_answered(Duration::from_secs(10)),
        "all servers are closed"
    );
    assert_eq!(servers(&scene), "0");
    // Others may still connect.
    let mut late = scene.client();
    late.send(b'Q', b"SELECT 'late'\0");
    assert!(waiting.receive_within(A_WHILE).is_none(), "it waits");
    assert!(late.receive_within(Duration::ZERO).is_none(), "it waits");
    let mut second = scene.ops();
    let row = second
        .row("SHOW DATABASES", "name", DATABASE)
        .expect("a row");
    assert_eq!(row["paused"], "1");
    let pool = second
        .row("SHOW POOLS", "database", DATABASE)
        .expect("a pool");
    assert_eq!(pool["cl_waiting"], "2");
    assert_eq!(second.says("RESUME app"), "RESUME");
    assert_eq!(
        waiting.receive().expect("an answer").line(),
        "CommandComplete INSERT 0 1"
    );
    assert_eq!(late.receive().expect("an answer").tag, b'T');
    assert_eq!(scene.database.admin().value("SELECT count(*) FROM t"), "2");
}

#[test]
fn a_pause_outlasts_the_wait_for_a_server_and_a_reload() {
    let Some(scene) = Scene::new("mode = \"transaction\", max = 5, wait_timeout = \"300ms\"")
    else {
        return;
    };
    let (mut ops, mut client) = (scene.ops(), scene.client());
    assert_eq!(ops.says("PAUSE"), "PAUSE");
    client.send(b'Q', b"SELECT 1\0");
    assert!(client.receive_within(A_WHILE * 2).is_none(), "it waits");
    scene
        .gate
        .rewrite(&format!("{OPERATORS}\n[log]\nlevel = \"debug\"\n"));
    assert_eq!(ops.says("RELOAD"), "RELOAD");
    assert!(client.receive_within(A_WHILE).is_none(), "still");
    let state = ops.row("SHOW STATE", "key", "paused").expect("a row");
    assert_eq!(state["value"], "yes");
    assert_eq!(ops.says("PAUSE"), "55000");
    assert_eq!(ops.says("RESUME"), "RESUME");
    assert_eq!(client.receive().expect("an answer").tag, b'T');
    assert_eq!(ops.says("RESUME"), "55000");
}

#[test]
fn who_waits_for_a_paused_database_can_cancel_and_leave() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let (mut ops, mut simple, mut extended) = (scene.ops(), scene.client(), scene.client());
    let leaving = scene.client_called("leaving");
    assert_eq!(ops.says("PAUSE app"), "PAUSE");
    simple.send(b'Q', b"SELECT 1\0");
    let mut leaving = leaving;
    leaving.send(b'Q', b"SELECT 1\0");
    let parse = crate::support::script::message(b'P', b"\0SELECT 1\0\0\0");
    extended.send_bytes(&parse);
    eventually("all wait", || {
        let pool = ops.row("SHOW POOLS", "database", DATABASE).expect("a pool");
        pool["cl_waiting"] == "3"
    });
    for client in [&mut simple, &mut extended] {
        let key = client.cancel_key;
        scene.cancel(key);
        let error = client.receive().expect("an answer");
        assert_eq!((error.tag, error.code().as_str()), (b'E', "57014"));
    }
    assert_eq!(
        simple.receive().expect("the end of it").line(),
        "ReadyForQuery I"
    );
    extended.send(b'S', b"");
    assert_eq!(
        extended.receive().expect("the end of it").line(),
        "ReadyForQuery I"
    );
    drop(leaving);
    eventually("nobody waits", || {
        let clients = ops.rows("SHOW CLIENTS");
        clients.iter().all(|row| row["state"] != "waiting")
            && clients
                .iter()
                .all(|row| row["application_name"] != "leaving")
    });
    assert_eq!(ops.says("RESUME app"), "RESUME");
    assert_eq!(simple.value("SELECT 2"), "2", "both go on");
    assert_eq!(extended.value("SELECT 3"), "3");
}

#[test]
fn in_session_mode_a_pause_waits_for_clients_to_leave() {
    let Some(scene) = Scene::session() else {
        return;
    };
    let (mut ops, mut inside) = (scene.ops(), scene.client());
    inside.value("SELECT 1");
    ops.begin("PAUSE app");
    assert!(!ops.has_answered(A_WHILE), "a client holds its server");
    assert_eq!(inside.value("SELECT 2"), "2", "and may use it");
    let address = scene.gate.address;
    let newcomer = std::thread::spawn(move || {
        Raw::login(address, &Login::new("app", DATABASE)).value("SELECT 'new'")
    });
    drop(inside);
    assert!(ops.has_answered(Duration::from_secs(10)), "it has left");
    assert!(!newcomer.is_finished(), "it waits for RESUME");
    let _ = ops.0.receive();
    assert_eq!(ops.says("RESUME app"), "RESUME");
    assert_eq!(newcomer.join().expect("served"), "new");
}

#[test]
fn cancelling_a_pause_takes_it_back() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let (mut ops, mut busy) = (scene.ops(), scene.client());
    busy.run("Q BEGIN");
    ops.begin("PAUSE");
    assert!(!ops.has_answered(A_WHILE));
    scene.cancel(ops.0.cancel_key);
    let error = ops.0.receive().expect("an answer");
    assert_eq!(error.code(), "57014");
    let mut other = scene.client();
    assert_eq!(other.value("SELECT 1"), "1");
    busy.run("Q COMMIT");
}

#[test]
fn kill_ends_everybody_at_once_and_holds_the_database() {
    for scene in [Scene::transaction(), Scene::session()] {
        let Some(scene) = scene else { return };
        let (mut ops, mut busy, mut idle) = (scene.ops(), scene.client(), scene.client());
        busy.run("Q BEGIN");
        assert_eq!(ops.says("KILL app"), "KILL");
        for client in [&mut busy, &mut idle] {
            let last = client.receive().expect("a reason");
            assert_eq!(last.code(), "57P01");
            assert!(client.receive().is_none());
        }
        eventually("no server is left", || servers(&scene) == "0");
        let address = scene.gate.address;
        let waiting = std::thread::spawn(move || {
            Raw::login(address, &Login::new("app", DATABASE)).value("SELECT 'back'")
        });
        std::thread::sleep(A_WHILE);
        assert!(!waiting.is_finished(), "it waits");
        assert_eq!(ops.says("RESUME app"), "RESUME");
        assert_eq!(waiting.join().expect("served"), "back");
    }
}

#[test]
fn while_everything_is_suspended_nothing_new_begins() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let (mut ops, mut client, mut inside) = (scene.ops(), scene.client(), scene.client());
    inside.run("Q BEGIN");
    client.send(b'Q', b"SELECT pg_sleep(0.5), 'done'\0");
    std::thread::sleep(Duration::from_millis(100));
    let begun = Instant::now();
    assert_eq!(ops.says("SUSPEND"), "SUSPEND");
    assert!(
        begun.elapsed() > Duration::from_millis(200),
        "what runs may end"
    );
    assert_eq!(client.receive().expect("rows").tag, b'T');
    inside.send(b'Q', b"COMMIT\0");
    assert!(inside.receive_within(A_WHILE).is_none(), "nobody listens");
    assert_eq!(ops.says("PAUSE"), "55000");
    assert_eq!(ops.says("RESUME"), "RESUME");
    assert_eq!(
        inside.receive().expect("an answer").line(),
        "CommandComplete COMMIT"
    );
}

#[test]
fn signals_pause_and_resume() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let (mut ops, mut client) = (scene.ops(), scene.client());
    let paused = |ops: &mut Console| {
        let row = ops.row("SHOW STATE", "key", "paused").expect("a row");
        row["value"] == "yes"
    };
    scene.gate.signal("USR1");
    eventually("it is paused", || paused(&mut ops));
    client.send(b'Q', b"SELECT 1\0");
    assert!(client.receive_within(A_WHILE).is_none(), "it waits");
    scene.gate.signal("USR2");
    assert_eq!(client.receive().expect("an answer").tag, b'T');
    assert!(!paused(&mut ops));
}

#[test]
fn names_that_are_not_there_are_errors() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let mut ops = scene.ops();
    for command in ["PAUSE", "RESUME", "KILL", "RECONNECT", "WAIT_CLOSE"] {
        assert_eq!(
            ops.says(&format!("{command} nothing")),
            "3D000",
            "{command}"
        );
        assert_eq!(
            ops.says(&format!("{command} pgbouncer")),
            "55000",
            "{command}"
        );
    }
    assert_eq!(ops.says("RESUME app"), "55000", "it is not paused");
}
