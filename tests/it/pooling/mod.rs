//! Transaction pooling: few server connections, many clients, nobody notices.

mod deaths;
mod lexing;
mod names;
mod prepared;
mod ready;
mod sizes;
mod state;

use std::time::{Duration, Instant};

use crate::support::database::{Database, fresh_database};
use crate::support::gate::{DATABASE, Gate};
use crate::support::raw::{Login, Raw};

const QUIET: &str = "[[policy]]\nname = \"require-where\"\nmode = \"off\"\n\n[[policy]]\nname = \"plan-guard\"\nmode = \"off\"\n";

/// A database behind a gate that shares so many server connections.
struct Scene {
    database: Database,
    gate: Gate,
}

impl Scene {
    fn new(max: usize, setup: &str) -> Option<Scene> {
        Scene::with(&format!("max = {max}"), setup)
    }

    fn with(pool: &str, setup: &str) -> Option<Scene> {
        let database = fresh_database()?;
        database.prepare(setup);
        let pool = format!("mode = \"transaction\", {pool}");
        let gate = Gate::start_pooled(&database, &pool, QUIET, |_| {});
        Some(Scene { database, gate })
    }

    fn client(&self) -> Raw {
        self.gate.connect()
    }

    fn client_with(&self, name: &str, value: &str) -> Raw {
        let login = Login::new("app", DATABASE).parameter(name, value);
        Raw::login(self.gate.address, &login)
    }

    /// Server connections of the gate's clients, and how many of them are in a transaction.
    fn server_connections(&self) -> (usize, usize) {
        let sql = "SELECT count(*), count(*) FILTER (WHERE state <> 'idle') FROM pg_stat_activity \
                   WHERE usename = 'app' AND datname = current_database()";
        let row = self.database.admin().rows(sql).remove(0);
        let number = |at: usize| -> usize { row[at].as_deref().unwrap_or("0").parse().unwrap() };
        (number(0), number(1))
    }

    fn cancel(&self, pid: i32, secret: i32) {
        let mut canceller = Raw::open(self.gate.address);
        let mut packet = 16u32.to_be_bytes().to_vec();
        for word in [80_877_102, pid as u32, secret as u32] {
            packet.extend(word.to_be_bytes());
        }
        canceller.send_bytes(&packet);
        let _ = canceller.receive_within(Duration::from_secs(5));
    }

    fn wait_until_idle(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.server_connections().1 > 0 {
            assert!(Instant::now() < deadline, "a server connection stays busy");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn many_clients_share_few_server_connections() {
    let Some(scene) = Scene::new(2, "CREATE TABLE t (n int)") else {
        return;
    };
    std::thread::scope(|scope| {
        for client in 0..20 {
            let scene = &scene;
            scope.spawn(move || {
                let mut raw = scene.client();
                for round in 0..20 {
                    let wanted = (client * 100 + round).to_string();
                    assert_eq!(raw.value(&format!("SELECT {wanted}")), wanted);
                    let lines = raw.lines(&format!(
                        "Q BEGIN\n---\nQ INSERT INTO t VALUES ({wanted})\n---\nQ COMMIT"
                    ));
                    assert_eq!(lines.last().map(String::as_str), Some("ReadyForQuery I"));
                }
            });
        }
        for _ in 0..20 {
            assert!(
                scene.server_connections().0 <= 2,
                "{:?}",
                scene.server_connections()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    assert_eq!(
        scene.database.direct().value("SELECT count(*) FROM t"),
        "400"
    );
}

#[test]
fn who_waits_too_long_is_told_so() {
    let Some(scene) = Scene::with("max = 1, wait_timeout = \"300ms\"", "") else {
        return;
    };
    let (mut first, mut second) = (scene.client(), scene.client());
    first.value("SELECT 1");
    first.lines("Q BEGIN");
    let answers = second.run("Q SELECT 1");
    assert_eq!(answers[0].code(), "53300", "{}", answers[0].line());
    first.lines("Q COMMIT");
    assert_eq!(scene.client().value("SELECT 1"), "1");
}

#[test]
fn who_waits_gets_the_link_in_order_on_every_worker() {
    let Some(scene) = Scene::new(
        1,
        "CREATE TABLE seen (at int GENERATED ALWAYS AS IDENTITY, who int)",
    ) else {
        return;
    };
    let mut holder = scene.client();
    holder.lines("Q BEGIN");
    let mut waiting: Vec<Raw> = Vec::new();
    for who in 0..6 {
        let mut raw = scene.client();
        let text = format!("Q INSERT INTO seen (who) VALUES ({who})");
        raw.send_bytes(&crate::support::script::sections(&text)[0].bytes);
        waiting.push(raw);
        // Long enough for the gate to have read it, also on a busy machine.
        std::thread::sleep(Duration::from_millis(200));
    }
    holder.lines("Q COMMIT");
    for raw in &mut waiting {
        let answer = raw.receive().expect("an answer");
        assert_eq!(answer.line(), "CommandComplete INSERT 0 1");
    }
    let order = scene
        .database
        .direct()
        .value("SELECT string_agg(who::text, '' ORDER BY at) FROM seen");
    assert_eq!(order, "012345");
}

#[test]
fn a_cancel_stops_only_the_statement_of_its_own_client() {
    let Some(scene) = Scene::new(1, "") else {
        return;
    };
    let mut victim = scene.client();
    let (pid, secret) = victim.cancel_key;
    assert_eq!(victim.value("SELECT 1"), "1");
    // The victim is idle: its cancel must not reach whoever has the link now.
    let mut other = scene.client();
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| other.lines("Q SELECT 'slept' FROM pg_sleep(1)"));
        std::thread::sleep(Duration::from_millis(200));
        for _ in 0..5 {
            scene.cancel(pid, secret);
        }
        let lines = sleeper.join().expect("the sleeper");
        assert!(lines.iter().any(|line| line.contains("slept")), "{lines:?}");
    });
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| victim.lines("Q SELECT pg_sleep(20)"));
        std::thread::sleep(Duration::from_millis(300));
        scene.cancel(pid, secret);
        let lines = sleeper.join().expect("the victim");
        assert!(lines.iter().any(|line| line.contains("57014")), "{lines:?}");
    });
    assert_eq!(scene.client().value("SELECT 'clean'"), "clean");
}

#[test]
fn statement_pooling_refuses_transactions() {
    let Some(database) = fresh_database() else {
        return;
    };
    let pool = "mode = \"statement\", max = 1";
    let gate = Gate::start_pooled(&database, pool, QUIET, |_| {});
    let mut raw = gate.connect();
    assert_eq!(raw.run("Q BEGIN")[0].code(), "0A000");
    assert_eq!(raw.value("SELECT 1"), "1");
    assert_eq!(raw.run("P - BEGIN\nB - -\nE -\nS")[2].code(), "0A000");
    assert_eq!(gate.connect().value("SELECT 2"), "2");
}

#[test]
fn a_user_may_have_a_mode_of_its_own() {
    let Some(database) = fresh_database() else {
        return;
    };
    let user = |name: &str, mode: &str| {
        format!("[[user]]\nname = \"{name}\"\nauth = \"trust\"\npool = {{ mode = \"{mode}\" }}\n\n")
    };
    let head = format!(
        "[[database]]\nname = \"{DATABASE}\"\nbackend = \"{}\"\npool = {{ mode = \"transaction\", max = 2 }}\n\n{}{}{}",
        database.url(),
        user("app", "transaction"),
        user("keeper", "session"),
        user("single", "statement"),
    );
    let gate = Gate::start_with(&head, QUIET);
    let login = |name| Raw::login(gate.address, &Login::new(name, DATABASE));
    let (mut keeper, mut single) = (login("keeper"), login("single"));
    assert_eq!(single.run("Q BEGIN")[0].code(), "0A000");
    let mut first = login("app");
    for _ in 0..3 {
        // The second connection goes from hand to hand, the first one stays.
        let pid = keeper.value("SELECT pg_backend_pid()");
        assert_eq!(pid, keeper.value("SELECT pg_backend_pid()"));
        assert_ne!(pid, first.value("SELECT pg_backend_pid()"));
        assert_eq!(
            first.value("SELECT pg_backend_pid()"),
            single.value("SELECT pg_backend_pid()")
        );
    }
}
