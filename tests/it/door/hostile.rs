//! Answers that no client gives, and names at their limits.

use std::time::Duration;

use super::{ann, gate};
use crate::support::database::{Database, OWNER, fresh_database};
use crate::support::gate::{DATABASE, Gate};
use crate::support::raw::{Login, Raw};

/// A connection that has said who it is and was asked for a proof.
fn asked(gate: &Gate, user: &str) -> Raw {
    let mut client = Raw::open(gate.address);
    let body = format!("user\0{user}\0database\0{DATABASE}\0\0");
    let mut packet = (body.len() as u32 + 8).to_be_bytes().to_vec();
    packet.extend(196_608_u32.to_be_bytes());
    packet.extend(body.as_bytes());
    client.send_bytes(&packet);
    assert_eq!(client.receive().expect("a question").tag, b'R');
    client
}

fn initial(mechanism: &str, length: i32, message: &[u8]) -> Vec<u8> {
    let mut body = mechanism.as_bytes().to_vec();
    body.push(0);
    body.extend(length.to_be_bytes());
    body.extend(message);
    body
}

#[test]
fn messages_that_are_no_proof_end_that_connection_only() {
    let Some(database) = fresh_database() else {
        return;
    };
    let gate = gate(&database, "", "[limits]\nlogins_failed_max = 0\n");
    let first = b"n,,n=,r=abcdefgh";
    let fits = first.len() as i32;
    let long = [&b"n,,n=,r="[..], &[b'x'; 4000]].concat();
    let messages: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"SCRAM-SHA-256".to_vec(),
        initial("SCRAM-SHA-256", -1, b""),
        initial("SCRAM-SHA-256", i32::MIN, first),
        initial("SCRAM-SHA-256", i32::MAX, first),
        initial("SCRAM-SHA-256", fits + 1, first),
        initial("SCRAM-SHA-256", fits - 1, first),
        initial("SCRAM-SHA-256-PLUS", fits, first),
        initial("SCRAM-SHA-1", fits, first),
        initial("", fits, first),
        initial("SCRAM-SHA-256", long.len() as i32, &long),
        initial("SCRAM-SHA-256", 4, b"\xff\xfe\xfd\xfc"),
        initial("SCRAM-SHA-256", 14, b"n,a=x,n=,r=abc"),
        initial("SCRAM-SHA-256", 9, b"n,,m=x,r="),
    ];
    for message in &messages {
        let mut client = asked(&gate, "ann");
        client.send(b'p', message);
        let answer = client
            .receive_within(Duration::from_secs(5))
            .expect("in time");
        assert!(
            answer.is_none_or(|answer| answer.tag == b'E'),
            "{message:?}"
        );
    }
    // The last message, in which the proof stands.
    let finals: &[&[u8]] = &[
        b"",
        b"c=biws,r=abcdefgh",
        b"c=biws,r=abcdefgh,p=",
        b"c=biws,r=abcdefgh,p=!!!!",
        b"c=biws,r=abcdefgh,p=AAAA",
        b"p=AAAA,r=,c=",
        b"\xff\xff\xff",
    ];
    for last in finals {
        let mut client = asked(&gate, "ann");
        client.send(b'p', &initial("SCRAM-SHA-256", fits, first));
        assert_eq!(client.receive().expect("a challenge").int32(0), 11);
        client.send(b'p', last);
        let answer = client
            .receive_within(Duration::from_secs(5))
            .expect("in time");
        assert!(answer.is_none_or(|answer| answer.tag == b'E'), "{last:?}");
    }
    for bytes in [
        &b"Q\0\0\0\x0dSELECT 1\0"[..],
        b"p\xff\xff\xff\xff",
        b"p\x7f\xff\xff\xff",
        b"X\0\0\0\x04",
    ] {
        let mut client = asked(&gate, "ann");
        client.send_bytes(bytes);
        let answer = client
            .receive_within(Duration::from_secs(5))
            .expect("in time");
        assert!(answer.is_none_or(|answer| answer.tag == b'E'), "{bytes:?}");
    }
    assert_eq!(Raw::login(gate.address, &ann()).value("SELECT 1"), "1");
}

#[test]
fn a_long_password_is_one_and_a_longer_one_is_none() {
    let Some(database) = fresh_database() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let long = "é".repeat(30_000);
    std::fs::write(folder.path().join("password"), &long).expect("written");
    let head = format!(
        "\n[[listen]]\naddress = \"unix:{0}:6432\"\n\n[[database]]\nname = \"{DATABASE}\"\nbackend = \"{1}\"\n\n\
         [[user]]\nname = \"ann\"\npassword = \"file:{0}/password\"\n\n\
         [[auth]]\naddresses = [\"local\"]\nmethod = \"password\"\n\n[[auth]]\nmethod = \"scram-sha-256\"\n",
        folder.path().display(),
        database.url()
    );
    let gate = Gate::start_with(&head, "");
    let socket = folder.path().join(".s.PGSQL.6432");
    let login = |password: &str| {
        let login = Login::new("ann", DATABASE).password(password);
        Raw::open_unix(&socket)
            .start(&login)
            .map(|_| ())
            .map_err(|error| error.code().to_owned())
    };
    assert_eq!(login(&long), Ok(()));
    assert_eq!(login(&long[2..]), Err("28P01".to_owned()));
    assert_eq!(login(""), Err("28P01".to_owned()));
    let mut client = Raw::open_unix(&socket);
    let packet = b"user\0ann\0database\0app\0\0";
    let mut bytes = (packet.len() as u32 + 8).to_be_bytes().to_vec();
    bytes.extend(196_608_u32.to_be_bytes());
    bytes.extend(packet);
    client.send_bytes(&bytes);
    assert_eq!(client.receive().expect("a question").int32(0), 3);
    client.send_bytes(b"p\0\x10\0\0");
    let answer = client
        .receive_within(Duration::from_secs(5))
        .expect("in time");
    assert!(
        answer.is_none_or(|answer| answer.tag == b'E'),
        "a megabyte is not waited for"
    );
    drop(gate);
}

/// A gate whose database has the name of its user.
fn namesake(database: &Database) -> Gate {
    let head = format!(
        "[[database]]\nname = \"{OWNER}\"\nbackend = \"{}\"\n\n\
         [[user]]\nname = \"{OWNER}\"\nauth = \"trust\"\n",
        database.url()
    );
    Gate::start_with(&head, "")
}

#[test]
fn empty_names_and_values_mean_what_they_mean_to_the_server() {
    let Some(database) = fresh_database() else {
        return;
    };
    let gate = namesake(&database);
    let mut without = Login::new(OWNER, OWNER);
    without.database = None;
    for login in [
        without,
        Login::new(OWNER, ""),
        Login::new(OWNER, OWNER).parameter("options", ""),
        Login::new(OWNER, OWNER).parameter("application_name", ""),
    ] {
        let mut client = Raw::login(gate.address, &login);
        assert_eq!(client.value("SELECT current_database()"), database.name);
        assert_eq!(client.value("SHOW application_name"), "");
    }
    let nobody = Raw::try_login(gate.address, &Login::new("", OWNER));
    let refused = nobody.err().expect("refused");
    assert_eq!(refused.code(), "28000");
    let message = "no PostgreSQL user name specified in startup packet";
    assert_eq!(refused.field(b'M'), message);
    let long = "x".repeat(5000);
    let refused = Raw::try_login(gate.address, &Login::new(OWNER, &long));
    assert_eq!(refused.err().expect("refused").code(), "3D000");
}
