//! The PROXY protocol: whose word is taken for where a client comes from.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{ann, gate, is_closed_without_a_word};
use crate::support::database::fresh_database;
use crate::support::gate::Gate;
use crate::support::raw::Raw;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const TRUSTED: &str = "proxy_protocol = { from = [\"127.0.0.8/29\"] }\ndeny = [\"203.0.113.66\"]";
const BALANCER: &str = "127.0.0.9:0";

fn header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([command, family]);
    bytes.extend((body.len() as u16).to_be_bytes());
    bytes.extend(body);
    bytes
}

/// What a balancer sends for a client at this address.
fn on_behalf_of(client: &str) -> Vec<u8> {
    let ports = [0x9c, 0x40, 0x19, 0x20];
    // One extension: the unique id of the connection.
    let extension = b"\x05\0\x04abcd";
    match client.parse().expect("an address") {
        IpAddr::V4(four) => {
            let body = [&four.octets()[..], &[127, 0, 0, 1], &ports, extension].concat();
            header(0x21, 0x11, &body)
        }
        IpAddr::V6(six) => {
            let body = [&six.octets()[..], &[0; 16], &ports, extension].concat();
            header(0x21, 0x21, &body)
        }
    }
}

fn balanced(gate: &Gate, header: &[u8]) -> Raw {
    let mut client = Raw::open_from(BALANCER, gate.address);
    client.send_bytes(header);
    client
}

#[test]
fn the_address_a_balancer_brings_is_the_clients_address() {
    let Some(database) = fresh_database() else {
        return;
    };
    let user = "allow = [\"203.0.113.7\", \"2001:db8::/32\"]\n";
    let gate = gate(&database, TRUSTED, user);
    for address in ["203.0.113.7", "2001:db8::7", "::ffff:203.0.113.7"] {
        let mut client = balanced(&gate, &on_behalf_of(address))
            .start(&ann())
            .expect(address);
        assert_eq!(client.value("SELECT 1"), "1", "{address}");
    }
    let refused = balanced(&gate, &on_behalf_of("198.51.100.1")).start(&ann());
    assert_eq!(refused.err().expect("another network").code(), "28P01");
    gate.wait_for_log(&["login failed", "198.51.100.1"]);
    let denied = balanced(&gate, &on_behalf_of("203.0.113.66"));
    assert!(is_closed_without_a_word(denied), "the door's own list");
}

#[test]
fn nobody_else_can_say_where_it_comes_from() {
    let Some(database) = fresh_database() else {
        return;
    };
    let gate = gate(&database, TRUSTED, "allow = [\"203.0.113.7\"]\n");
    let mut liar = Raw::open_from("127.0.0.1:0", gate.address);
    liar.send_bytes(&on_behalf_of("203.0.113.7"));
    assert!(is_closed_without_a_word(liar), "no start-up packet");
    // Without a header it is known by its own address.
    let honest = Raw::open_from("127.0.0.1:0", gate.address).start(&ann());
    assert_eq!(honest.err().expect("not on the list").code(), "28P01");
}

#[test]
fn a_balancers_own_checks_stand_for_the_balancer() {
    let Some(database) = fresh_database() else {
        return;
    };
    let gate = gate(&database, TRUSTED, "allow = [\"127.0.0.9\"]\n");
    for own in [
        header(0x20, 0, &[]),
        header(0x20, 0x11, &[203, 0, 113, 7, 127, 0, 0, 1, 0, 1, 0, 1]),
        header(0x21, 0x31, &[0; 216]),
    ] {
        let client = balanced(&gate, &own).start(&ann());
        assert!(client.is_ok(), "{own:?}");
    }
}

#[test]
fn a_header_that_is_none_is_refused_with_a_reason_and_at_once() {
    let Some(database) = fresh_database() else {
        return;
    };
    let gate = gate(&database, TRUSTED, "");
    let long = header(0x21, 0x11, &[0; 5000]);
    for (bytes, message) in [
        (&b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"[..], "version 1"),
        (b"\0\0\0\x08\x04\xd2\x16\x2f", "does not begin"),
        (&header(0x31, 0x11, &[0; 12]), "unknown version"),
        (&header(0x21, 0x11, &[0; 4]), "impossible length"),
        (&long, "impossible length"),
    ] {
        let mut client = balanced(&gate, bytes);
        let answer = client.receive().expect("a reason");
        assert_eq!(answer.code(), "08P01", "{}", answer.line());
        assert!(answer.line().contains(message), "{}", answer.line());
    }
    assert!(
        balanced(&gate, &on_behalf_of("192.0.2.1"))
            .start(&ann())
            .is_ok()
    );
}

#[test]
fn a_header_that_drips_in_is_waited_for_no_longer_than_a_login() {
    let Some(database) = fresh_database() else {
        return;
    };
    let gate = gate(&database, TRUSTED, "[limits]\nlogin_timeout = \"1s\"\n");
    let begun = Instant::now();
    let mut client = Raw::open_from(BALANCER, gate.address);
    for byte in &on_behalf_of("192.0.2.1")[..20] {
        client.send_bytes(&[*byte]);
        if begun.elapsed() > Duration::from_millis(800) {
            break;
        }
        std::thread::sleep(Duration::from_millis(60));
    }
    assert!(is_closed_without_a_word(client));
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    gate.wait_for_log(&["connection refused", "timeout"]);
}
