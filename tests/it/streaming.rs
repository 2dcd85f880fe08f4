//! More data than anybody wants to hold: it passes through, however slowly the
//! other side reads, and the gate holds a few buffers of it.
//!
//! `STREAM_MB=1024 cargo test --test it streaming` sends a gigabyte each way.

use std::time::Duration;

use crate::support::database::{Database, fresh_database};
use crate::support::gate::Gate;
use crate::support::raw::Raw;

/// What the gate may grow by, in kB, whatever passes through.
const ROOM: u64 = 24 * 1024;

const MODES: [&str; 2] = ["mode = \"session\"", "mode = \"transaction\", max = 2"];
const LIMITS: [&str; 2] = [
    "",
    "[table_limits]\nwide = { returned = 100000000, changed = 100000000 }\n",
];

fn megabytes() -> usize {
    let text = std::env::var("STREAM_MB").ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(96)
}

/// A gate for each mode, with limits on and off, that has warmed up.
fn each(setup: &str, test: impl Fn(&Database, &Gate)) {
    let Some(database) = fresh_database() else {
        return;
    };
    database.prepare(setup);
    for mode in MODES {
        for limits in LIMITS {
            let gate = Gate::start_pooled(&database, mode, limits, |_| {});
            gate.connect().value("SELECT count(*) FROM wide");
            let before = gate.peak();
            test(&database, &gate);
            let grown = gate.peak().saturating_sub(before);
            println!(
                "{mode}, {} limits: grown by {grown} kB",
                if limits.is_empty() { "no" } else { "with" }
            );
            assert!(grown < ROOM, "{mode} {limits}: grown by {grown} kB");
        }
    }
}

/// Reads to ReadyForQuery, slowly at first. How many messages of this kind came, and their bytes.
fn drain(client: &mut Raw, tag: u8) -> (usize, usize) {
    let (mut count, mut bytes) = (0, 0);
    loop {
        if count < 20 {
            std::thread::sleep(Duration::from_millis(20));
        }
        let answer = client.receive().expect("an answer");
        assert_ne!(answer.tag, b'E', "{}", answer.line());
        if answer.tag == tag {
            count += 1;
            bytes += answer.body.len();
        }
        if answer.tag == b'Z' {
            return (count, bytes);
        }
    }
}

const WIDE: &str = "CREATE TABLE wide (t text); INSERT INTO wide VALUES ('x'); ANALYZE wide; \
     CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
     CREATE TRIGGER swallow BEFORE INSERT ON wide FOR EACH ROW EXECUTE FUNCTION swallow()";

#[test]
fn a_million_rows_pass_through() {
    each(WIDE, |_, gate| {
        let mut client = gate.connect();
        client.send(
            b'Q',
            b"SELECT n, wide.t FROM generate_series(1, 1000000) n, wide\0",
        );
        assert_eq!(drain(&mut client, b'D').0, 1_000_000);
        assert_eq!(client.value("SELECT 1"), "1");
    });
}

#[test]
fn copies_out_pass_through() {
    each(WIDE, |_, gate| {
        let rows = megabytes() * 128;
        let mut client = gate.connect();
        let sql =
            format!("COPY (SELECT repeat('x', 8191) FROM generate_series(1, {rows})) TO STDOUT\0");
        client.send(b'Q', sql.as_bytes());
        assert_eq!(drain(&mut client, b'd'), (rows, rows * 8192));
        assert_eq!(client.value("SELECT 1"), "1");
    });
}

#[test]
fn copies_in_pass_through() {
    each(WIDE, |_, gate| {
        let rows = megabytes() * 128;
        let mut client = gate.connect();
        client.send(b'Q', b"COPY wide FROM STDIN\0");
        assert_eq!(client.receive().unwrap().tag, b'G');
        let mut line = vec![b'y'; 8191];
        line.push(b'\n');
        let batch: Vec<u8> = (0..64)
            .flat_map(|_| crate::support::script::message(b'd', &line))
            .collect();
        for _ in 0..rows / 64 {
            client.send_bytes(&batch);
        }
        client.send(b'c', b"");
        let tag = client.receive().unwrap();
        assert!(
            tag.line().starts_with("CommandComplete COPY"),
            "{}",
            tag.line()
        );
        assert_eq!(client.receive().unwrap().tag, b'Z');
    });
}

#[test]
fn rows_of_64_megabytes_pass_through() {
    each(WIDE, |_, gate| {
        let mut client = gate.connect();
        for sql in [
            "SELECT repeat('z', 64 * 1024 * 1024) FROM wide",
            "COPY (SELECT repeat('z', 64 * 1024 * 1024) FROM wide) TO STDOUT",
        ] {
            client.send(b'Q', format!("{sql}\0").as_bytes());
            let tag = if sql.starts_with("COPY") { b'd' } else { b'D' };
            let (count, bytes) = drain(&mut client, tag);
            assert_eq!(count, 1, "{sql}");
            assert!(bytes >= 64 * 1024 * 1024, "{sql}: {bytes}");
        }
        // And one message of nearly that size on its way in; larger ones are refused.
        client.send(b'Q', b"COPY wide FROM STDIN\0");
        assert_eq!(client.receive().unwrap().tag, b'G');
        let mut line = vec![b'y'; 63 * 1024 * 1024];
        line.push(b'\n');
        client.send(b'd', &line);
        client.send(b'c', b"");
        assert!(
            client
                .receive()
                .unwrap()
                .line()
                .starts_with("CommandComplete COPY")
        );
        assert_eq!(client.receive().unwrap().tag, b'Z');
        assert_eq!(client.value("SELECT 1"), "1");
    });
}
