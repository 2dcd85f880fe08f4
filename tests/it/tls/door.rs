//! The door: who is encrypted, who is turned away, and how they are told.

use std::io::Read;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Scene, USERS, ann, app, scene};
use crate::support::database::fresh_database;
use crate::support::raw::{Binding, Raw};
use crate::support::wire::Encryption;

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

fn encrypted(scene: &Scene) -> Raw {
    Raw::open_encrypted(scene.gate.address, &scene.encryption()).expect("a handshake")
}

#[test]
fn an_optional_door_serves_clients_with_and_without_encryption() {
    let Some(database) = fresh_database() else {
        return;
    };
    let scene = scene(&database, ", mode = \"optional\"", USERS);
    let mut plain = Raw::login(scene.gate.address, &ann());
    assert_eq!(plain.value("SELECT 'in the clear'"), "in the clear");
    let mut client = encrypted(&scene).start(&ann()).expect("a login");
    assert_eq!(client.value("SELECT 'in private'"), "in private");
}

#[test]
fn a_required_door_turns_plain_clients_away_and_says_how_to_come_in() {
    let Some(database) = fresh_database() else {
        return;
    };
    let scene = scene(&database, "", USERS);
    let refused = Raw::try_login(scene.gate.address, &app()).err();
    let refused = refused.expect("plain clients are turned away");
    assert_eq!(refused.code(), "28000", "{}", refused.line());
    assert_eq!(refused.field(b'S'), "FATAL");
    assert!(
        refused.field(b'H').contains("sslmode"),
        "{}",
        refused.line()
    );
    let mut client = encrypted(&scene).start(&app()).expect("a login");
    assert_eq!(client.value("SELECT 1"), "1");
}

#[test]
fn a_door_that_is_switched_off_says_no_and_serves_on() {
    let Some(database) = fresh_database() else {
        return;
    };
    let scene = scene(&database, ", mode = \"off\"", USERS);
    let mut client = Raw::open(scene.gate.address);
    client.send_bytes(&SSL_REQUEST);
    assert_eq!(client.receive_byte(), Some(b'N'));
    let mut client = client.start(&app()).expect("a login");
    assert_eq!(client.value("SELECT 1"), "1");
}

#[test]
fn psql_verifies_the_gate_and_binds_its_password_to_the_certificate() {
    let Some(database) = fresh_database() else {
        return;
    };
    if Command::new("psql").arg("--version").output().is_err() {
        return;
    }
    let scene = scene(&database, "", USERS);
    let psql = |options: &str| {
        let root = scene.path().join("ca.crt");
        let output = Command::new("psql")
            .args(["-X", "-At", "-c", "SELECT 'it works'"])
            .arg(format!(
                "host=127.0.0.1 port={} user=ann dbname=app sslrootcert={} {options}",
                scene.gate.address.port(),
                root.display()
            ))
            .env("PGPASSWORD", "open sesame")
            .output()
            .expect("psql runs");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.stdout == b"it works\n", errors)
    };
    for options in [
        "sslmode=prefer",
        "sslmode=require",
        "sslmode=verify-ca",
        "sslmode=verify-full",
        "sslmode=verify-full channel_binding=require",
        "sslmode=require ssl_max_protocol_version=TLSv1.2 channel_binding=require",
        "sslmode=require channel_binding=disable",
    ] {
        let (works, errors) = psql(options);
        assert!(works, "{options}: {errors}");
    }
    let (works, errors) = psql("sslmode=disable");
    assert!(!works && errors.contains("must be encrypted"), "{errors}");
    let (works, errors) = psql("sslmode=verify-full host=localhost");
    assert!(!works && errors.contains("certificate"), "{errors}");
}

#[test]
fn direct_tls_is_served_with_its_protocol_name_and_refused_without() {
    let Some(database) = fresh_database() else {
        return;
    };
    let scene = scene(&database, "", USERS);
    let direct = |alpn: bool| {
        Raw::open(scene.gate.address)
            .encrypt(&Encryption::new(&scene.authority, None, alpn))
            .expect("a handshake")
    };
    let mut client = direct(true).start(&ann()).expect("a login");
    assert_eq!(client.value("SELECT 1"), "1");
    let refused = direct(false).receive().expect("a reason");
    assert_eq!(refused.code(), "08P01", "{}", refused.line());
    assert!(refused.line().contains("ALPN"), "{}", refused.line());
}

#[test]
fn nobody_encrypts_twice() {
    let Some(database) = fresh_database() else {
        return;
    };
    let scene = scene(&database, "", USERS);
    let mut client = encrypted(&scene);
    client.send_bytes(&SSL_REQUEST);
    let answer = client.receive_within(Duration::from_secs(5));
    assert!(matches!(answer, Some(None)), "the connection ends");
}

#[test]
fn bytes_smuggled_behind_the_request_are_refused() {
    let Some(database) = fresh_database() else {
        return;
    };
    let scene = scene(&database, ", mode = \"optional\"", USERS);
    for code in [0x2f, 0x30] {
        let mut client = Raw::open(scene.gate.address);
        let mut bytes = SSL_REQUEST;
        bytes[7] = code;
        let smuggled = b"\0\0\0\x12\0\x03\0\0user\0app\0\0";
        client.send_bytes(&[&bytes[..], smuggled].concat());
        let refused = client.receive().expect("a reason");
        assert_eq!(refused.code(), "08P01", "{}", refused.line());
        assert_eq!(refused.field(b'S'), "FATAL");
        assert!(client.receive().is_none(), "the connection ends");
    }
}

#[test]
fn noise_where_a_handshake_should_be_ends_that_connection_only() {
    let Some(database) = fresh_database() else {
        return;
    };
    let scene = scene(&database, "", USERS);
    let noise: &[&[u8]] = &[
        b"\0\0\0\x12\0\x03\0\0user\0app\0\0",
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\0\x04\x01\xff\xff\xff",
        b"\x15\x03\x01\0\x02\x02\x28",
        &[0x16; 8_000],
    ];
    for bytes in noise {
        for asked in [true, false] {
            let mut client = Raw::open(scene.gate.address);
            if asked {
                client.send_bytes(&SSL_REQUEST);
                assert_eq!(client.receive_byte(), Some(b'S'));
            }
            client.send_bytes(bytes);
            let _ = client.receive_within(Duration::from_millis(20));
        }
    }
    // And where the start-up should be, inside.
    for bytes in [
        &b"\0\0\0\x04"[..],
        b"\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut client = encrypted(&scene);
        client.send_bytes(bytes);
        let ended = client.receive_within(Duration::from_secs(5));
        assert!(matches!(ended, Some(None)), "{bytes:?}");
    }
    let mut client = encrypted(&scene).start(&app()).expect("a login");
    assert_eq!(client.value("SELECT 1"), "1");
}

#[test]
fn a_login_bound_to_another_certificate_is_refused() {
    let Some(database) = fresh_database() else {
        return;
    };
    let scene = scene(&database, "", USERS);
    let login = |binding: Binding| {
        encrypted(&scene)
            .start(&ann().binding(binding))
            .map(|mut client| client.value("SELECT 1"))
            .map_err(|answer| answer.line())
    };
    assert_eq!(
        login(Binding::To(scene.own.end_point())),
        Ok("1".to_owned())
    );
    assert_eq!(login(Binding::Unable), Ok("1".to_owned()));
    let other = scene.authority.issue("somebody in between", &["127.0.0.1"]);
    let refused = login(Binding::To(other.end_point())).expect_err("another certificate");
    assert!(refused.contains("28P01"), "{refused}");
    let refused = login(Binding::NotOffered).expect_err("somebody took the offer out");
    assert!(refused.contains("28000"), "{refused}");
    assert!(refused.contains("channel binding"), "{refused}");
}

#[test]
fn a_handshake_that_does_not_end_is_given_up() {
    let Some(database) = fresh_database() else {
        return;
    };
    let rules = format!("{USERS}[limits]\nlogin_timeout = \"1s\"\n");
    let scene = scene(&database, "", &rules);
    for first in [&SSL_REQUEST[..], b"\x16\x03\x01\x02\0\x01\0\x01\xfc"] {
        let begun = Instant::now();
        let mut client = std::net::TcpStream::connect(scene.gate.address).expect("a connection");
        std::io::Write::write_all(&mut client, first).expect("the first bytes");
        client
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a time limit");
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).expect("the gate hangs up");
        assert!(begun.elapsed() < Duration::from_secs(8), "{first:?}");
    }
    let mut client = encrypted(&scene).start(&app()).expect("a login");
    assert_eq!(client.value("SELECT 1"), "1");
}

#[test]
fn much_data_passes_in_both_directions() {
    let Some(database) = fresh_database() else {
        return;
    };
    let scene = scene(&database, "", USERS);
    let mut client = encrypted(&scene).start(&app()).expect("a login");
    let rows = client.rows("SELECT i, repeat('x', 2000) FROM generate_series(1, 5000) AS s(i)");
    assert_eq!(rows.len(), 5000);
    assert!(rows[4999][1].as_ref().is_some_and(|x| x.len() == 2000));
    client.rows("CREATE TEMPORARY TABLE t (a text)");
    client.send(b'Q', b"COPY t FROM STDIN\0");
    let line = [vec![b'y'; 50_000], b"\n".to_vec()].concat();
    for _ in 0..200 {
        client.send(b'd', &line);
    }
    client.send(b'c', b"");
    while client.receive().expect("an answer").tag != b'Z' {}
    assert_eq!(client.value("SELECT sum(length(a)) FROM t"), "10000000");
}

#[test]
fn a_cancel_request_may_come_encrypted() {
    let Some(database) = fresh_database() else {
        return;
    };
    let scene = scene(&database, "", USERS);
    let mut client = encrypted(&scene).start(&app()).expect("a login");
    let (pid, secret) = client.cancel_key;
    client.send(b'Q', b"SELECT pg_sleep(30)\0");
    std::thread::sleep(Duration::from_millis(300));
    let mut canceller = encrypted(&scene);
    let words = [16, 80_877_102, pid as u32, secret as u32];
    canceller.send_bytes(&words.map(u32::to_be_bytes).concat());
    let _ = canceller.receive_within(Duration::from_secs(5));
    let error = loop {
        let answer = client.receive().expect("an answer");
        if answer.tag == b'E' {
            break answer;
        }
    };
    assert_eq!(error.code(), "57014", "{}", error.line());
}

#[test]
fn a_new_certificate_is_shown_to_new_clients_while_old_ones_stay() {
    let Some(database) = fresh_database() else {
        return;
    };
    let scene = scene(&database, "", USERS);
    let login = |hash: Vec<u8>| encrypted(&scene).start(&ann().binding(Binding::To(hash)));
    let mut old = login(scene.own.end_point()).expect("a login");
    old.rows("BEGIN");
    let fresh = scene.authority.issue("gate, renewed", &["127.0.0.1"]);
    fresh.write(scene.path(), "gate");
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut new = loop {
        match login(fresh.end_point()) {
            Ok(client) => break client,
            Err(answer) => assert!(Instant::now() < deadline, "{}", answer.line()),
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(new.value("SELECT 1"), "1");
    assert_eq!(old.value("SELECT 2"), "2");
    old.rows("COMMIT");
    // A key that does not fit changes nothing.
    let other = scene.authority.issue("gate, damaged", &["127.0.0.1"]);
    std::fs::write(scene.path().join("gate.key"), &other.key).expect("the key");
    scene.gate.wait_for_log(&["private key does not belong"]);
    assert!(login(fresh.end_point()).is_ok());
}
