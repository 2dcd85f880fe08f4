//! Commands that change something and are done at once.

use std::time::Duration;

use super::{DATABASE, OPERATORS, Scene, eventually};
use crate::support::raw::{Login, Raw};

#[test]
fn a_killed_client_is_told_and_others_stay() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let mut ops = scene.ops();
    let mut victim = scene.client_called("victim");
    let mut other = scene.client_called("other");
    victim.send(b'Q', b"SELECT pg_sleep(60)\0");
    eventually("it runs", || {
        ops.row("SHOW CLIENTS", "application_name", "victim")
            .is_some_and(|row| row["state"] == "active")
    });
    let id = ops
        .row("SHOW CLIENTS", "application_name", "victim")
        .expect("the victim")["id"]
        .clone();
    assert_eq!(ops.says(&format!("KILL_CLIENT {id}")), "KILL_CLIENT");
    let last = victim.receive().expect("a reason");
    assert_eq!((last.tag, last.code().as_str()), (b'E', "57P01"));
    assert!(victim.receive().is_none());
    assert_eq!(other.value("SELECT 1"), "1");
    eventually("its statement has ended with it", || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%' \
                   AND datname = current_database()";
        scene.database.admin().value(sql) == "0"
    });
    assert_eq!(ops.says(&format!("KILL_CLIENT {id}")), "42704");
    assert_eq!(ops.says("KILL_CLIENT everybody"), "22023");
}

#[test]
fn a_disabled_database_lets_nobody_new_in() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let (mut ops, mut inside) = (scene.ops(), scene.client());
    assert_eq!(ops.says("DISABLE app"), "DISABLE");
    let row = ops.row("SHOW DATABASES", "name", DATABASE).expect("a row");
    assert_eq!(row["disabled"], "1");
    let refused = Raw::try_login(scene.gate.address, &Login::new("app", DATABASE))
        .err()
        .expect("refused");
    assert_eq!(refused.code(), "55000");
    assert_eq!(inside.value("SELECT 1"), "1", "who is inside stays");
    assert_eq!(ops.says("ENABLE app"), "ENABLE");
    assert_eq!(scene.client().value("SELECT 1"), "1");
    assert_eq!(ops.says("DISABLE nothing"), "3D000");
    assert_eq!(ops.says("DISABLE pgbouncer"), "55000");
    assert_eq!(ops.says("DISABLE"), "42601");
}

#[test]
fn reconnecting_replaces_servers_one_after_the_other() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let (mut ops, mut busy, mut other) = (scene.ops(), scene.client(), scene.client());
    busy.run("Q BEGIN");
    let old = busy.value("SELECT pg_backend_pid()");
    let idle = other.value("SELECT pg_backend_pid()");
    assert_eq!(ops.says("RECONNECT app"), "RECONNECT");
    let row = ops.row("SHOW SERVERS", "remote_pid", &old).expect("a row");
    assert_eq!(row["close_needed"], "1");
    assert_eq!(
        busy.value("SELECT pg_backend_pid()"),
        old,
        "a transaction keeps its server"
    );
    ops.begin("WAIT_CLOSE app");
    assert!(
        !ops.has_answered(Duration::from_millis(300)),
        "one is still in use"
    );
    let fresh = other.value("SELECT pg_backend_pid()");
    assert!(fresh != idle && fresh != old, "the idle one was closed");
    busy.run("Q COMMIT");
    assert!(ops.has_answered(Duration::from_secs(10)), "all are closed");
    assert_ne!(busy.value("SELECT pg_backend_pid()"), old);
}

#[test]
fn reload_answers_with_what_is_wrong() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let mut ops = scene.ops();
    assert_eq!(ops.says("RELOAD"), "RELOAD");
    scene
        .gate
        .rewrite(&format!("{OPERATORS}\n[log]\nlevle = \"info\"\n"));
    let answers = ops.0.run("Q RELOAD");
    let error = answers
        .iter()
        .find(|answer| answer.tag == b'E')
        .expect("an error");
    assert_eq!(error.code(), "F0000");
    let detail = error.field(b'D');
    assert!(
        detail.contains("levle") && detail.contains("portcullis.toml:"),
        "{detail}"
    );
    scene.gate.rewrite(OPERATORS);
    assert_eq!(ops.says("RELOAD"), "RELOAD");
}

#[test]
fn settings_can_be_changed_while_the_gate_runs() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let mut ops = scene.ops();
    let value = |ops: &mut super::Console, key: &str| {
        let row = ops.row("SHOW CONFIG", "key", key);
        row.map(|row| (row["value"].clone(), row["changeable"].clone()))
    };
    let yes = |value: &str| Some((value.to_owned(), "yes".to_owned()));
    assert_eq!(value(&mut ops, "max_client_conn"), yes("1000"));
    assert_eq!(ops.says("SET max_client_conn = 2"), "SET max_client_conn=2");
    assert_eq!(value(&mut ops, "max_client_conn"), yes("2"));
    assert_eq!(value(&mut ops, "limits.clients_max"), yes("2"));
    let _second = scene.client();
    let refused = Raw::try_login(scene.gate.address, &Login::new("app", DATABASE))
        .err()
        .expect("refused");
    assert_eq!(refused.code(), "53300");
    assert_eq!(ops.says("SET max_client_conn = many"), "22023");
    assert_eq!(ops.says("SET workers = 3"), "55P02");
    assert_eq!(ops.says("RELOAD"), "RELOAD");
    assert_eq!(
        value(&mut ops, "max_client_conn"),
        yes("1000"),
        "the file counts again"
    );
}

#[test]
fn clients_of_a_database_that_is_gone_are_told_when_they_are_done() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let backend = scene.database.url();
    let more = format!(
        "[[database]]\nname = \"second\"\nbackend = \"{backend}\"\npool = {{ mode = \"transaction\" }}\n"
    );
    scene.gate.rewrite(&format!("{more}\n{OPERATORS}"));
    let mut ops = scene.ops();
    eventually("the second database is there", || {
        ops.row("SHOW DATABASES", "name", "second").is_some()
    });
    let login = Login::new("app", "second");
    let mut idle = Raw::login(scene.gate.address, &login);
    let mut busy = Raw::login(scene.gate.address, &login);
    let mut elsewhere = scene.client();
    busy.run("Q BEGIN");
    scene.gate.rewrite(OPERATORS);
    let farewell = idle.receive().expect("a reason");
    assert_eq!(farewell.code(), "57P01");
    assert!(
        farewell.field(b'M').contains("\"second\""),
        "{}",
        farewell.line()
    );
    assert_eq!(busy.value("SELECT 1"), "1", "a transaction may end");
    let lines = busy.lines("Q COMMIT");
    assert_eq!(lines[0], "CommandComplete COMMIT");
    assert_eq!(busy.receive().expect("a reason").code(), "57P01");
    assert_eq!(elsewhere.value("SELECT 1"), "1");
}
