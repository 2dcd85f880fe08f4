//! The first bytes of a connection, and its end.

use std::time::Duration;

use crate::support::answer::Answer;
use crate::support::database::{Database, fresh_database};
use crate::support::gate::{DATABASE, Gate};
use crate::support::raw::{Login, Raw};

const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;

fn scene() -> Option<(Database, Gate)> {
    let database = fresh_database()?;
    let gate = Gate::start(&database, "");
    Some((database, gate))
}

fn packet(words: &[u32], rest: &[u8]) -> Vec<u8> {
    let mut bytes = ((4 + 4 * words.len() + rest.len()) as u32)
        .to_be_bytes()
        .to_vec();
    bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    bytes.extend(rest);
    bytes
}

fn start_up(version: u32, parameters: &[&str]) -> Vec<u8> {
    let mut rest = Vec::new();
    for text in parameters {
        rest.extend(text.as_bytes());
        rest.push(0);
    }
    rest.push(0);
    packet(&[version], &rest)
}

/// Everything up to the first ReadyForQuery, error or the end.
fn greeting(client: &mut Raw) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let Some(answer) = client.receive() {
        let last = matches!(answer.tag, b'Z' | b'E');
        answers.push(answer);
        if last {
            break;
        }
    }
    answers
}

fn tags(answers: &[Answer]) -> String {
    answers.iter().map(|answer| answer.tag as char).collect()
}

#[test]
fn requests_for_encryption_are_answered_and_the_start_goes_on() {
    let Some((_, gate)) = scene() else { return };
    for requests in [
        &[SSL_REQUEST][..],
        &[GSSENC_REQUEST],
        &[SSL_REQUEST, GSSENC_REQUEST],
        &[GSSENC_REQUEST, SSL_REQUEST],
    ] {
        let mut client = Raw::open(gate.address);
        for request in requests {
            client.send_bytes(&packet(&[*request], &[]));
            assert_eq!(client.receive_byte(), Some(b'N'), "{requests:?}");
        }
        client.send_bytes(&start_up(196_608, &["user", "app", "database", DATABASE]));
        let answers = greeting(&mut client);
        assert_eq!(
            answers.last().map(|answer| answer.tag),
            Some(b'Z'),
            "{requests:?} {}",
            tags(&answers)
        );
    }
}

#[test]
fn newer_protocol_versions_are_negotiated_down() {
    let Some((_, gate)) = scene() else { return };
    for (version, parameters) in [
        (196_611, &["user", "app", "database", DATABASE][..]),
        (
            196_608 + 9999,
            &["user", "app", "database", DATABASE, "_pq_.grease", "1"],
        ),
        (
            196_608,
            &["user", "app", "database", DATABASE, "_pq_.unknown", "on"],
        ),
    ] {
        let mut client = Raw::open(gate.address);
        client.send_bytes(&start_up(version, parameters));
        let answers = greeting(&mut client);
        let negotiations = answers.iter().filter(|answer| answer.tag == b'v').count();
        assert_eq!(negotiations, 1, "{version}: {}", tags(&answers));
        assert_eq!(
            answers.last().map(|answer| answer.tag),
            Some(b'Z'),
            "{version}: {}",
            tags(&answers)
        );
        assert_eq!(client.value("SELECT 1"), "1");
    }
}

#[test]
fn hostile_first_bytes_end_that_connection_only() {
    let Some((_, gate)) = scene() else { return };
    let endless = start_up(196_608, &["user", "app", "x", &"y".repeat(100_000)]);
    let hostile: &[&[u8]] = &[
        b"",
        b"\0",
        b"\0\0\0\0",
        b"\0\0\0\x04",
        b"\0\0\0\x07abc",
        b"\0\0\0\x08\0\0\0\0",
        b"\xff\xff\xff\xff\0\x03\0\0",
        b"\x7f\xff\xff\xff\0\x03\0\0user\0app\0\0",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        &packet(&[196_608], b"user"),
        &packet(&[196_608], b"user\0app"),
        &packet(&[196_608], b"user\0app\0"),
        &packet(&[196_608], b"\0"),
        &packet(&[196_608], b"user\0\xff\xfe\0\0"),
        &packet(&[CANCEL_REQUEST], b""),
        &packet(&[CANCEL_REQUEST, 1], b""),
        &packet(&[CANCEL_REQUEST, 1, 2], b""),
        &endless,
    ];
    for bytes in hostile {
        let mut client = Raw::open(gate.address);
        client.send_bytes(bytes);
        let _ = client.receive_within(Duration::from_millis(20));
    }
    assert_eq!(gate.connect().value("SELECT 1"), "1", "the gate goes on");
}

#[test]
fn a_start_up_packet_may_come_byte_by_byte() {
    let Some((_, gate)) = scene() else { return };
    let mut client = Raw::open(gate.address);
    for byte in start_up(196_608, &["user", "app", "database", DATABASE]) {
        client.send_bytes(&[byte]);
    }
    assert_eq!(
        greeting(&mut client).last().map(|answer| answer.tag),
        Some(b'Z')
    );
}

#[test]
fn the_greeting_is_the_servers_own() {
    let Some((database, gate)) = scene() else {
        return;
    };
    let statuses = |raw: &Raw| -> Vec<String> {
        let mut lines: Vec<String> = raw
            .greeting
            .iter()
            .filter(|a| a.tag == b'S')
            .map(Answer::line)
            .collect();
        lines.sort();
        lines
    };
    let (direct, through) = (database.direct(), gate.connect());
    assert_eq!(statuses(&through), statuses(&direct));
}

#[test]
fn start_up_parameters_reach_the_server() {
    let Some((_, gate)) = scene() else { return };
    let login = Login::new("app", DATABASE)
        .parameter("application_name", "the test")
        .parameter("options", "-c work_mem=3MB --statement-timeout=7s")
        .parameter("DateStyle", "German");
    let mut client = Raw::login(gate.address, &login);
    assert_eq!(client.value("SHOW application_name"), "the test");
    assert_eq!(client.value("SHOW work_mem"), "3MB");
    assert_eq!(client.value("SHOW statement_timeout"), "7s");
    assert_eq!(client.value("SELECT date '2026-02-01'"), "01.02.2026");
    drop(client);
    let mut next = gate.connect();
    assert_eq!(
        next.value("SHOW work_mem"),
        "4MB",
        "the next client does not inherit it"
    );
    assert_eq!(next.value("SELECT date '2026-02-01'"), "2026-02-01");
}

#[test]
fn what_the_gate_does_not_offer_is_refused_clearly() {
    let Some((_, gate)) = scene() else { return };
    let refused = |login: &Login| Raw::try_login(gate.address, login).err().expect("refused");
    let base = Login::new("app", DATABASE);
    for value in ["true", "database", "1", "on"] {
        let error = refused(&base.clone().parameter("replication", value));
        assert_eq!(error.code(), "0A000", "{}", error.line());
    }
    // At the start or at the first statement, but never read with another meaning than the server's.
    match Raw::try_login(
        gate.address,
        &base.clone().parameter("client_encoding", "SJIS"),
    ) {
        Ok(mut client) => assert_eq!(
            client.run("Q SELECT 1")[0].tag,
            b'E',
            "SJIS is not ASCII-safe"
        ),
        Err(error) => assert_eq!(error.field(b'S'), "FATAL", "{}", error.line()),
    }
    let error = refused(&Login::new("app", "no such database"));
    assert_eq!(error.code(), "3D000", "{}", error.line());
    assert_eq!(error.field(b'S'), "FATAL");
}

#[test]
fn clients_prove_who_they_are() {
    let Some(database) = fresh_database() else {
        return;
    };
    database.admin().rows(
        "SET password_encryption = 'scram-sha-256'; ALTER ROLE app PASSWORD 'from the verifier'",
    );
    let verifier = database
        .admin()
        .value("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'");
    let head = format!(
        "[[database]]\nname = \"app\"\nbackend = \"{}\"\n\n\
         [[user]]\nname = \"plain\"\npassword = \"open sesame\"\n\n\
         [[user]]\nname = \"hashed\"\npassword = \"{verifier}\"\n",
        database.url()
    );
    let gate = Gate::start_with(&head, "");
    let login = |user: &str, password: &str| {
        Raw::try_login(gate.address, &Login::new(user, "app").password(password))
            .map_err(|error| error.line())
    };
    assert_eq!(
        login("plain", "open sesame")
            .expect("the right password")
            .value("SELECT 1"),
        "1"
    );
    assert_eq!(
        login("hashed", "from the verifier")
            .expect("the right password")
            .value("SELECT 1"),
        "1"
    );
    let wrong = login("plain", "wrong").err().expect("refused");
    assert!(wrong.contains("28P01"), "{wrong}");
    let unknown = login("nobody", "open sesame").err().expect("refused");
    assert_eq!(
        unknown.replace("nobody", "plain"),
        wrong,
        "an unknown user looks like a wrong password"
    );
    assert!(login("hashed", "").is_err());
}

#[test]
fn the_gate_logs_in_at_the_server_in_every_way() {
    let Some(database) = fresh_database() else {
        return;
    };
    for (user, method) in crate::support::postgres::LOGINS {
        let head = format!(
            "[[database]]\nname = \"app\"\nbackend = \"postgres://{user}@{}/{}\"\npassword = \"secret of {user}\"\n\n\
             [[user]]\nname = \"app\"\nauth = \"trust\"\n",
            database.address, database.name
        );
        let gate = Gate::start_with(&head, "");
        assert_eq!(
            gate.connect().value("SELECT current_user"),
            *user,
            "{method}"
        );
    }
}

#[test]
fn a_cancel_reaches_the_statement_it_is_meant_for() {
    let Some((_, gate)) = scene() else { return };
    let mut client = gate.connect();
    let (pid, secret) = client.cancel_key;
    client.send(b'Q', b"SELECT pg_sleep(30)\0");
    std::thread::sleep(Duration::from_millis(300));
    let cancel = |pid: i32, secret: i32| {
        let mut canceller = Raw::open(gate.address);
        canceller.send_bytes(&packet(&[CANCEL_REQUEST, pid as u32, secret as u32], &[]));
        let _ = canceller.receive_within(Duration::from_secs(5));
    };
    cancel(pid, secret.wrapping_add(1));
    cancel(pid.wrapping_add(1), secret);
    assert!(
        client.receive_within(Duration::from_millis(300)).is_none(),
        "a wrong key cancels nothing"
    );
    cancel(pid, secret);
    let answers = greeting(&mut client);
    let error = answers
        .iter()
        .find(|answer| answer.tag == b'E')
        .expect("an error");
    assert_eq!(error.code(), "57014", "{}", error.line());
    assert_eq!(
        client.receive().map(|answer| answer.line()),
        Some("ReadyForQuery I".to_owned())
    );
    cancel(pid, secret);
    assert_eq!(
        client.value("SELECT 'a late cancel hits nothing'"),
        "a late cancel hits nothing"
    );
}

#[test]
fn a_vanished_client_leaves_nothing_behind() {
    let Some((database, gate)) = scene() else {
        return;
    };
    database.prepare("CREATE TABLE t (a int)");
    for unfinished in [
        "Q BEGIN; INSERT INTO t VALUES (1)",
        "P - INSERT INTO t VALUES (2)\nB - -\nE -\nH",
        "Q COPY t FROM STDIN\n--- 0",
        "Q BEGIN\n---\nQ LOCK TABLE t IN ACCESS EXCLUSIVE MODE",
    ] {
        let mut client = gate.connect();
        if unfinished.contains("COPY") {
            client.send(b'Q', b"COPY t FROM STDIN\0");
            client.send(b'd', b"3\n");
        } else {
            client.run(unfinished);
        }
        drop(client);
        let mut next = gate.connect();
        assert_eq!(next.value("SELECT count(*) FROM t"), "0", "{unfinished}");
        assert!(
            next.is_silent(),
            "{unfinished}: no byte of it reaches the next client"
        );
    }
    let mut direct = database.admin();
    let busy = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND state <> 'idle'";
    for _ in 0..100 {
        if direct.value(busy) == "0" {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!(
        "a server connection is still busy: {:?}",
        direct.rows("SELECT state, query FROM pg_stat_activity")
    );
}

#[test]
fn messages_nobody_knows_end_the_connection_with_a_reason() {
    let Some((_, gate)) = scene() else { return };
    for tag in [b'z', b'!', 0xff] {
        let mut client = gate.connect();
        client.send(tag, b"whatever");
        let answer = client.receive();
        assert!(
            answer.is_none_or(|answer| answer.tag == b'E' && answer.code() == "08P01"),
            "{tag}"
        );
    }
    let mut client = gate.connect();
    client.send_bytes(b"Q\xff\xff\xff\xffboom");
    let _ = client.receive_within(Duration::from_secs(5));
    assert_eq!(gate.connect().value("SELECT 1"), "1");
}
