//! Waiting for the server: for a connection to it, and for a client to log in.

use std::time::{Duration, Instant};

use super::{Scene, expect_end};
use crate::support::database::{OWNER, fresh_database};
use crate::support::gate::{DATABASE, Gate};
use crate::support::proxy::Proxy;
use crate::support::raw::{Login, Raw};

#[test]
fn who_waits_is_told_first_and_sent_away_then() {
    let pool = "mode = \"transaction\", max = 1, wait_notice = \"300ms\", wait_timeout = \"1s\"";
    // Waiting is not idling.
    let Some(scene) = Scene::new(pool, "client_idle = \"600ms\"", "") else {
        return;
    };
    let mut holder = scene.patient();
    holder.run("Q BEGIN");
    let mut waiter = scene.client();
    let since = Instant::now();
    waiter.send(b'Q', b"SELECT 1\0");
    let notice = waiter.receive().expect("a notice");
    assert_eq!(notice.tag, b'N', "{}", notice.line());
    assert!(
        notice.line().contains("waiting for a server connection"),
        "{}",
        notice.line()
    );
    assert!(
        since.elapsed() < Duration::from_millis(900),
        "{:?}",
        since.elapsed()
    );
    expect_end(&mut waiter, since, "53300", Duration::from_secs(1));
    // A user's own patience.
    let mut patient = scene.patient();
    patient.send(b'Q', b"SELECT 'at last'\0");
    std::thread::sleep(Duration::from_millis(1500));
    holder.run("Q COMMIT");
    let answers: Vec<String> = (0..3).map(|_| patient.receive().unwrap().line()).collect();
    assert_eq!(answers[1], "DataRow at last", "{answers:?}");
}

#[test]
fn a_notice_comes_before_the_answer_of_a_statement_that_waited() {
    let pool = "mode = \"transaction\", max = 1, wait_notice = \"200ms\"";
    let Some(scene) = Scene::new(pool, "", "") else {
        return;
    };
    let mut holder = scene.client();
    holder.run("Q BEGIN");
    let mut waiter = scene.client();
    waiter.send(b'Q', b"SELECT 'mine'\0");
    std::thread::sleep(Duration::from_millis(600));
    holder.run("Q COMMIT");
    let tags: Vec<u8> = (0..5).map(|_| waiter.receive().unwrap().tag).collect();
    assert_eq!(tags, b"NTDCZ");
}

#[test]
fn sessions_that_keep_their_connection_wait_at_login() {
    let pool = "mode = \"session\", max = 1, wait_notice = \"200ms\", wait_timeout = \"700ms\"";
    let Some(scene) = Scene::new(pool, "", "") else {
        return;
    };
    let _holder = scene.client();
    let mut waiter = Raw::open(scene.gate.address);
    let since = Instant::now();
    waiter.send_bytes(&startup(OWNER));
    assert_eq!(waiter.receive().unwrap().line(), "Authentication 0");
    assert_eq!(waiter.receive().unwrap().tag, b'N');
    expect_end(&mut waiter, since, "53300", Duration::from_millis(700));
}

#[test]
fn a_server_that_does_not_answer_is_not_waited_for() {
    let Some(database) = fresh_database() else {
        return;
    };
    let proxy = Proxy::to(database.address);
    let backend = format!("postgres://app@{}/{}", proxy.address, database.name);
    for mode in ["session", "transaction"] {
        proxy.freeze();
        let pool = format!("mode = \"{mode}\", connect_timeout = \"500ms\"");
        let scene = Scene::with(database.clone(), &backend, &pool, "");
        let since = Instant::now();
        let login = Login::new(OWNER, DATABASE);
        let refused = Raw::try_login(scene.gate.address, &login)
            .err()
            .expect("no server");
        assert_eq!(refused.code(), "08006", "{}", refused.line());
        assert!(refused.line().contains("FATAL"));
        assert!(since.elapsed() >= Duration::from_millis(500));
        assert!(
            since.elapsed() < Duration::from_secs(4),
            "{:?}",
            since.elapsed()
        );
        proxy.thaw();
        let deadline = Instant::now() + Duration::from_secs(15);
        while Raw::try_login(scene.gate.address, &login).is_err() {
            assert!(Instant::now() < deadline, "it does not recover");
        }
    }
}

#[test]
fn who_does_not_finish_logging_in_is_told_why() {
    let Some(database) = fresh_database() else {
        return;
    };
    let head = format!(
        "[limits]\nlogin_timeout = \"500ms\"\n\n[[database]]\nname = \"{DATABASE}\"\nbackend = \"{}\"\n\n\
         [[user]]\nname = \"ann\"\npassword = \"secret\"\n\n",
        database.url()
    );
    let gate = Gate::start_with(&head, "");
    let since = Instant::now();
    let mut silent = Raw::open(gate.address);
    assert!(silent.receive().is_none(), "who says nothing hears nothing");
    assert!(since.elapsed() >= Duration::from_millis(500));
    let since = Instant::now();
    let mut slow = Raw::open(gate.address);
    slow.send_bytes(&startup("ann"));
    assert_eq!(slow.receive().unwrap().line(), "Authentication 10");
    let answer = slow.receive().expect("a reason");
    assert_eq!(answer.code(), "57014", "{}", answer.line());
    assert!(since.elapsed() >= Duration::from_millis(500));
    assert!(slow.receive().is_none());
    let login = Login::new("ann", DATABASE).password("secret");
    Raw::login(gate.address, &login);
}

/// A start-up packet.
fn startup(user: &str) -> Vec<u8> {
    let mut body = 196_608_u32.to_be_bytes().to_vec();
    body.extend(format!("user\0{user}\0database\0{DATABASE}\0\0").as_bytes());
    let mut packet = (body.len() as u32 + 4).to_be_bytes().to_vec();
    packet.extend(body);
    packet
}
