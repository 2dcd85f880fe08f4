//! Lists of networks, at listeners and for users.

use super::{ann, gate, is_closed_without_a_word};
use crate::support::database::fresh_database;
use crate::support::raw::{Login, Raw};

/// A second door, on IPv6, which also takes IPv4 addresses mapped into it.
fn any_address(gate_port: u16) -> String {
    format!("[::]:{}", gate_port)
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

#[test]
fn a_door_is_closed_to_addresses_outside_its_lists_before_they_speak() {
    let Some(database) = fresh_database() else {
        return;
    };
    let lists = "allow = [\"127.0.0.0/29\", \"::1\"]\ndeny = [\"127.0.0.5\"]";
    let gate = gate(&database, lists, "");
    for (source, comes_in) in [
        ("127.0.0.1:0", true),
        ("127.0.0.4:0", true),
        ("127.0.0.5:0", false),
        ("127.0.0.9:0", false),
    ] {
        let client = Raw::open_from(source, gate.address);
        if comes_in {
            let mut client = client.start(&ann()).expect(source);
            assert_eq!(client.value("SELECT 1"), "1", "{source}");
        } else {
            // Not even a start-up packet was sent.
            assert!(is_closed_without_a_word(client), "{source}");
        }
    }
    let refused = "portcullis_connections_refused_total";
    assert_eq!(gate.metric(refused, "address"), 2.0);
    gate.wait_for_log(&["connection refused", "127.0.0.9"]);
}

#[test]
fn an_ipv4_address_that_was_mapped_into_ipv6_is_the_same_address() {
    let Some(database) = fresh_database() else {
        return;
    };
    let port = free_port();
    let second = format!(
        "[[listen]]\naddress = \"{}\"\nallow = [\"127.0.0.1\", \"::1\"]\n",
        any_address(port)
    );
    let gate = gate(&database, &format!("\n{second}"), "");
    let address = |ip: &str| format!("{ip}:{port}").parse().expect("an address");
    let mut four = Raw::login(address("127.0.0.1"), &ann());
    assert_eq!(four.value("SELECT 1"), "1");
    let mut six = Raw::login(address("[::1]"), &ann());
    assert_eq!(six.value("SELECT 1"), "1");
    let outside = Raw::open_from("127.0.0.2:0", address("127.0.0.1"));
    assert!(is_closed_without_a_word(outside));
    drop(gate);
}

#[test]
fn a_reload_changes_the_lists_for_new_connections() {
    let Some(database) = fresh_database() else {
        return;
    };
    let gate = gate(&database, "deny = [\"127.0.0.2\"]", "");
    let mut inside = Raw::open_from("127.0.0.3:0", gate.address)
        .start(&ann())
        .expect("not on the list");
    gate.edit("deny = [\"127.0.0.2\"]", "deny = [\"127.0.0.3\"]");
    gate.wait_for_log(&["reload done"]);
    let was_denied = Raw::open_from("127.0.0.2:0", gate.address);
    assert!(was_denied.start(&ann()).is_ok());
    let denied = Raw::open_from("127.0.0.3:0", gate.address);
    assert!(is_closed_without_a_word(denied));
    assert_eq!(inside.value("SELECT 'still here'"), "still here");
}

#[test]
fn a_user_outside_its_networks_looks_like_one_that_does_not_exist() {
    let Some(database) = fresh_database() else {
        return;
    };
    let rules = "allow = [\"127.0.0.2\", \"10.0.0.0/8\"]\n\n\
                 [[user]]\nname = \"open\"\nauth = \"trust\"\ndeny = [\"127.0.0.1\"]\n";
    let gate = gate(&database, "", rules);
    let from = |source: &str, login: &Login| {
        let answer = Raw::open_from(source, gate.address).start(login);
        answer.map_err(|error| error.line())
    };
    assert!(from("127.0.0.2:0", &ann()).is_ok());
    let elsewhere = from("127.0.0.1:0", &ann()).err().expect("refused");
    let nobody = Login::new("nobody", "app").password("open sesame");
    let unknown = from("127.0.0.1:0", &nobody).err().expect("refused");
    assert_eq!(unknown.replace("nobody", "ann"), elsewhere);
    // Without a password, but asked for one all the same.
    let open = Login::new("open", "app").password("x");
    let trusted = from("127.0.0.1:0", &open).err().expect("refused");
    assert_eq!(unknown.replace("nobody", "open"), trusted);
    assert!(from("127.0.0.2:0", &open).is_ok());
    gate.wait_for_log(&["login failed", "ann", "address"]);
}
