//! Versions of the protocol, and start-up packets that want to cost something.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use super::{ann, gate, is_closed_without_a_word};
use crate::support::certificates::{Authority, write};
use crate::support::database::{Database, fresh_database};
use crate::support::gate::{DATABASE, Gate};
use crate::support::raw::{Login, Raw};

fn scene() -> Option<(Database, Gate)> {
    let database = fresh_database()?;
    let gate = gate(&database, "", "");
    Some((database, gate))
}

fn cancel(address: SocketAddr, pid: i32, secret: &[u8]) {
    let mut packet = (12 + secret.len() as u32).to_be_bytes().to_vec();
    packet.extend(80_877_102_u32.to_be_bytes());
    packet.extend(pid.to_be_bytes());
    packet.extend(secret);
    let mut canceller = Raw::open(address);
    canceller.send_bytes(&packet);
    assert!(is_closed_without_a_word(canceller));
}

#[test]
fn clients_of_protocol_3_2_get_long_keys_and_older_ones_four_bytes() {
    let Some((_, gate)) = scene() else { return };
    for (minor, bytes, negotiated) in [
        (0, 4, None),
        (1, 4, None),
        (2, 32, None),
        (3, 32, Some(0x0003_0002)),
        (9999, 32, Some(0x0003_0002)),
    ] {
        let client = Raw::login(gate.address, &ann().minor(minor));
        assert_eq!(client.cancel_secret.len(), bytes, "3.{minor}");
        let answers = client.greeting.iter().filter(|answer| answer.tag == b'v');
        let versions: Vec<i32> = answers.map(|answer| answer.int32(0)).collect();
        assert_eq!(
            versions,
            negotiated.into_iter().collect::<Vec<_>>(),
            "3.{minor}"
        );
    }
}

#[test]
fn unknown_options_are_named_once_with_the_version_that_is_spoken() {
    let Some((_, gate)) = scene() else { return };
    for (minor, spoken) in [(0, 0x0003_0000), (2, 0x0003_0002), (9999, 0x0003_0002)] {
        let grease = ann()
            .minor(minor)
            .parameter("_pq_.test_protocol_negotiation", "")
            .parameter("_pq_.other", "1");
        let mut client = Raw::login(gate.address, &grease);
        let answers: Vec<_> = client.greeting.iter().filter(|a| a.tag == b'v').collect();
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].int32(0), spoken, "3.{minor}");
        assert_eq!(answers[0].int32(4), 2);
        assert_eq!(
            &answers[0].body[8..],
            b"_pq_.test_protocol_negotiation\0_pq_.other\0"
        );
        assert_eq!(client.value("SELECT 1"), "1");
    }
}

#[test]
fn a_long_key_cancels_and_no_part_of_it_does() {
    let Some((_, gate)) = scene() else { return };
    let mut client = Raw::login(gate.address, &ann().minor(2));
    let (pid, secret) = (client.cancel_key.0, client.cancel_secret.clone());
    client.send(b'Q', b"SELECT pg_sleep(30)\0");
    std::thread::sleep(Duration::from_millis(300));
    let mut wrong = secret.clone();
    wrong[31] ^= 1;
    let longer = [&secret[..], &[0]].concat();
    for part in [&secret[..4], &secret[..31], &wrong, &longer] {
        cancel(gate.address, pid, part);
    }
    assert!(client.receive_within(Duration::from_millis(300)).is_none());
    cancel(gate.address, pid, &secret);
    let mut answer = client.receive().expect("an answer");
    while answer.tag != b'E' {
        answer = client.receive().expect("an error");
    }
    assert_eq!(answer.code(), "57014", "{}", answer.line());
}

#[test]
fn an_old_protocol_gets_a_refusal_that_its_client_can_read() {
    let Some((database, gate)) = scene() else {
        return;
    };
    let answer = |address: SocketAddr, version: u32| {
        let mut stream = TcpStream::connect(address).expect("a connection");
        let mut packet = 296_u32.to_be_bytes().to_vec();
        packet.extend(version.to_be_bytes());
        packet.resize(296, 0);
        stream.write_all(&packet).expect("sent");
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let ours = answer(gate.address, 0x0002_0000);
    assert_eq!(
        ours,
        "EFATAL:  unsupported frontend protocol 2.0: server supports 3.0 to 3.2\n\0"
    );
    let theirs = answer(database.address, 0x0002_0000);
    assert_eq!(
        ours.replace("3.2\n", "3.0\n"),
        theirs.replace("3.2\n", "3.0\n")
    );
    let newer = answer(gate.address, 0x0004_0000);
    assert!(
        newer.contains("C0A000") && newer.contains("protocol 4.0"),
        "{newer}"
    );
}

/// Resident memory of a process in kB.
fn memory(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .expect("VmRSS");
    line.split_whitespace()
        .nth(1)
        .and_then(|kb| kb.parse().ok())
        .expect("a number")
}

#[test]
fn hostile_start_up_packets_cost_bounded_memory_and_time() {
    let Some(database) = fresh_database() else {
        return;
    };
    let gate = gate(
        &database,
        "",
        "[limits]\nlogin_timeout = \"2s\"\nclients_max = 400\n",
    );
    let before = memory(gate.id());
    let begun = Instant::now();
    // Each promises the longest packet there is, sends most of it, and waits.
    let mut part = 10_000_u32.to_be_bytes().to_vec();
    part.extend(196_608_u32.to_be_bytes());
    part.resize(9_990, b'x');
    let clients: Vec<Raw> = (0..300)
        .map(|_| {
            let mut client = Raw::open(gate.address);
            client.send_bytes(&part);
            client
        })
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    let grown = memory(gate.id()).saturating_sub(before);
    assert!(grown < 64_000, "{grown} kB for 300 clients");
    // Nobody waits for ever, and nobody else waits at all.
    assert_eq!(Raw::login(gate.address, &ann()).value("SELECT 1"), "1");
    for client in clients {
        assert!(is_closed_without_a_word(client));
    }
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn thousands_of_parameters_are_read_and_answered() {
    let Some((_, gate)) = scene() else { return };
    // A packet full of the shortest parameters; the last of equal names counts.
    let mut login = Login::new("nobody", DATABASE).password("open sesame");
    for _ in 0..2_400 {
        login = login.parameter("a", "b");
    }
    let refused = Raw::try_login(gate.address, &login).err().expect("refused");
    assert_eq!(refused.code(), "28P01");
    let last = login.parameter("user", "ann");
    let answer = Raw::try_login(gate.address, &last)
        .err()
        .expect("no such setting");
    assert_eq!(answer.code(), "42704", "{}", answer.line());
}

/// A Python whose psycopg brings a libpq that speaks 3.2; none: nothing to try.
fn python(script: &str) -> Option<(bool, String)> {
    let prelude = "import sys\ntry:\n import psycopg\nexcept ImportError:\n sys.exit(77)\n\
                   if psycopg.pq.version() < 180000: sys.exit(77)\n";
    let output = Command::new("python3")
        .args(["-c", &format!("{prelude}{script}")])
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.code() != Some(77)).then_some((output.status.success(), said))
}

#[test]
fn libpq_speaks_3_2_over_direct_tls_and_cancels_with_its_long_key() {
    let Some(database) = fresh_database() else {
        return;
    };
    let authority = Authority::new("authority of libpq");
    let folder = tempfile::tempdir().expect("a folder");
    authority
        .issue("gate", &["127.0.0.1"])
        .write(folder.path(), "gate");
    write(folder.path(), "ca.crt", &authority.pem());
    let shown = folder.path().display();
    let tls = format!("tls = {{ certificate = \"{shown}/gate.crt\", key = \"{shown}/gate.key\" }}");
    let gate = gate(&database, &tls, "");
    let script = format!(
        "import threading, time
for options in ('max_protocol_version=3.2', 'max_protocol_version=3.2 sslnegotiation=direct', 'max_protocol_version=latest', ''):
    c = psycopg.connect('host=127.0.0.1 port={} user=ann password=\\'open sesame\\' dbname={DATABASE} '
        'sslmode=verify-full channel_binding=require sslrootcert={shown}/ca.crt ' + options, autocommit=True)
    version = c.pgconn.full_protocol_version
    assert version == (30002 if options else 30000), version
    threading.Timer(0.5, c.cancel_safe).start()
    begun = time.time()
    try:
        c.execute('select pg_sleep(20)')
        raise SystemExit('it was not cancelled')
    except psycopg.errors.QueryCanceled:
        pass
    assert time.time() - begun < 10
    assert c.execute('select 1').fetchone() == (1,)
print('done')",
        gate.address.port()
    );
    if let Some((works, said)) = python(&script) {
        assert!(works && said.contains("done"), "{said}");
    }
}
