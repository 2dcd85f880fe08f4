//! Connections that are ready, and those that only look so.

use std::time::{Duration, Instant};

use super::{QUIET, Scene};
use crate::support::database::fresh_database;
use crate::support::gate::{DATABASE, Gate};
use crate::support::proxy::Proxy;
use crate::support::raw::Raw;

fn wait_for(scene: &Scene, wanted: usize) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while scene.server_connections().0 != wanted {
        let found = scene.server_connections().0;
        assert!(
            Instant::now() < deadline,
            "{found} connections instead of {wanted}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn some_are_ready_before_anybody_asks() {
    let Some(scene) = Scene::with("max = 5, min = 2, idle_timeout = \"1s\"", "") else {
        return;
    };
    wait_for(&scene, 2);
    let pids = "SELECT string_agg(pid::text, ',') FROM pg_stat_activity WHERE usename = 'app' \
                AND datname = current_database()";
    let ready = scene.database.admin().value(pids);
    let mut client = scene.client();
    let pid = client.value("SELECT pg_backend_pid()");
    assert!(
        ready.split(',').any(|known| known == pid),
        "{pid} is none of {ready}"
    );
    drop(client);
    // More are made for clients, and closed when nobody uses them; these stay.
    let mut clients: Vec<Raw> = (0..4).map(|_| scene.client()).collect();
    for client in &mut clients {
        client.run("Q BEGIN");
    }
    assert!(scene.server_connections().0 >= 4);
    drop(clients);
    wait_for(&scene, 2);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(scene.server_connections().0, 2);
    // What the server ends is made anew.
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app' \
               AND datname = current_database()";
    assert_eq!(scene.database.admin().value(end), "2");
    wait_for(&scene, 2);
    assert_eq!(scene.client().value("SELECT 1"), "1");
}

#[test]
fn what_nobody_uses_is_closed() {
    for mode in ["idle_timeout = \"1s\"", "lifetime = \"1s\""] {
        let Some(scene) = Scene::with(&format!("max = 3, {mode}"), "") else {
            return;
        };
        let mut clients: Vec<Raw> = (0..3).map(|_| scene.client()).collect();
        for client in &mut clients {
            client.run("Q BEGIN");
        }
        std::thread::sleep(Duration::from_millis(1500));
        for client in &mut clients {
            assert_eq!(client.run("Q COMMIT")[0].line(), "CommandComplete COMMIT");
        }
        wait_for(&scene, 0);
        assert_eq!(clients[0].value("SELECT 1"), "1");
    }
}

#[test]
fn one_that_is_dead_without_a_word_is_noticed_before_somebody_gets_it() {
    for mode in ["session", "transaction"] {
        let Some(database) = fresh_database() else {
            return;
        };
        let proxy = Proxy::to(database.address);
        let head = format!(
            "workers = 1\n[[database]]\nname = \"{DATABASE}\"\nbackend = \"postgres://app@{}/{}\"\n\
             pool = {{ mode = \"{mode}\", max = 2, check_after = \"1s\", clean_timeout = \"500ms\" }}\n\n\
             [[user]]\nname = \"app\"\nauth = \"trust\"\n\n",
            proxy.address, database.name
        );
        let gate = Gate::start_with(&head, QUIET);
        let pid = gate.connect().value("SELECT pg_backend_pid()");
        std::thread::sleep(Duration::from_millis(3500));
        let same = gate.connect().value("SELECT pg_backend_pid()");
        assert_eq!(same, pid, "{mode}: one that works is used again");
        std::thread::sleep(Duration::from_millis(3500));
        proxy.freeze_old();
        let since = Instant::now();
        let other = gate.connect().value("SELECT pg_backend_pid()");
        assert_ne!(other, pid, "{mode}");
        assert!(
            since.elapsed() < Duration::from_secs(4),
            "{:?}",
            since.elapsed()
        );
    }
}

#[test]
fn they_are_taken_in_turn_where_that_is_wanted() {
    for (order, distinct) in [("", 1), (", round_robin = true", 3)] {
        let Some(database) = fresh_database() else {
            return;
        };
        let head = format!(
            "workers = 1\n[[database]]\nname = \"{DATABASE}\"\nbackend = \"{}\"\n\
             pool = {{ mode = \"transaction\", max = 3{order} }}\n\n[[user]]\nname = \"app\"\nauth = \"trust\"\n\n",
            database.url()
        );
        let gate = Gate::start_with(&head, QUIET);
        let mut clients: Vec<Raw> = (0..3).map(|_| gate.connect()).collect();
        for script in ["Q BEGIN", "Q COMMIT"] {
            for client in &mut clients {
                client.run(script);
            }
        }
        let mut pids: Vec<String> = (0..6)
            .map(|_| clients[0].value("SELECT pg_backend_pid()"))
            .collect();
        pids.sort();
        pids.dedup();
        assert_eq!(pids.len(), distinct, "{order}");
    }
}

#[test]
fn a_reload_to_another_server_lets_transactions_finish_and_nobody_else_in() {
    let (Some(first), Some(second)) = (fresh_database(), fresh_database()) else {
        return;
    };
    let gate = Gate::start_pooled(&first, "mode = \"transaction\", max = 2", QUIET, |_| {});
    let mut open = gate.connect();
    open.run("Q BEGIN");
    let mut idle = gate.connect();
    idle.value("SELECT 1");
    gate.edit(
        &format!("/{}\"", first.name),
        &format!("/{}\"", second.name),
    );
    gate.wait_for_log(&["reload"]);
    assert_eq!(
        gate.connect().value("SELECT current_database()"),
        second.name
    );
    assert_eq!(open.value("SELECT current_database()"), first.name);
    open.run("Q COMMIT");
    drop((open, idle));
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND datname = '{}'",
        first.name
    );
    let deadline = Instant::now() + Duration::from_secs(10);
    while second.admin().value(&sql) != "0" {
        assert!(
            Instant::now() < deadline,
            "connections to the old server are left"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}
