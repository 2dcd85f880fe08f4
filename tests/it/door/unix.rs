//! Unix sockets: their files, and who is on the other end.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{ann, gate};
use crate::support::database::{Database, fresh_database};
use crate::support::gate::{DATABASE, Gate};
use crate::support::raw::{Login, Raw};
use crate::support::wire::Wire;

/// The system's user that runs the tests.
fn me() -> String {
    let output = Command::new("id").arg("-un").output().expect("id runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A gate with a second door, a socket in this folder.
fn on_a_socket(database: &Database, folder: &Path, more: &str, users: &str) -> Gate {
    let door = format!(
        "\n[[listen]]\naddress = \"unix:{}:6432\"\n{more}",
        folder.display()
    );
    gate(database, &door, users)
}

fn socket(folder: &Path) -> std::path::PathBuf {
    folder.join(".s.PGSQL.6432")
}

#[test]
fn clients_come_in_over_a_unix_socket_too() {
    let Some(database) = fresh_database() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let gate = on_a_socket(&database, folder.path(), "socket_mode = \"0750\"", "");
    let path = socket(folder.path());
    let mode = std::fs::metadata(&path).expect("the socket").permissions();
    assert_eq!(mode.mode() & 0o777, 0o750);
    let mut client = Raw::open_unix(&path).start(&ann()).expect("a login");
    assert_eq!(client.value("SELECT 'hello'"), "hello");
    // No encryption there: there is nobody in between.
    let mut asking = Raw::open_unix(&path);
    asking.send_bytes(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
    assert_eq!(asking.receive_byte(), Some(b'N'));
    assert!(asking.start(&ann()).is_ok());
    let wrong = Raw::open_unix(&path).start(&ann().password("wrong"));
    assert_eq!(wrong.err().expect("refused").code(), "28P01");
    if let Ok(output) = Command::new("psql")
        .args(["-X", "-At", "-c", "SELECT 'psql finds it'"])
        .arg(format!(
            "host={} port=6432 user=ann dbname={DATABASE}",
            folder.path().display()
        ))
        .env("PGPASSWORD", "open sesame")
        .output()
    {
        assert_eq!(String::from_utf8_lossy(&output.stdout), "psql finds it\n");
    }
    drop(gate);
}

#[test]
fn a_cancel_request_reaches_its_statement_over_a_unix_socket() {
    let Some(database) = fresh_database() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let _gate = on_a_socket(&database, folder.path(), "", "");
    let path = socket(folder.path());
    let mut client = Raw::open_unix(&path).start(&ann()).expect("a login");
    client.send(b'Q', b"SELECT pg_sleep(30)\0");
    std::thread::sleep(Duration::from_millis(300));
    let (pid, secret) = client.cancel_key;
    let words = [16, 80_877_102, pid as u32, secret as u32];
    let packet: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    let mut canceller = Raw::open_unix(&path);
    canceller.send_bytes(&packet);
    assert!(matches!(
        canceller.receive_within(Duration::from_secs(5)),
        Some(None)
    ));
    let answer = client.receive().expect("an answer");
    let answer = if answer.tag == b'T' {
        client.receive().expect("an error")
    } else {
        answer
    };
    assert_eq!(answer.code(), "57014", "{}", answer.line());
}

#[test]
fn a_peer_is_who_the_system_says() {
    let Some(database) = fresh_database() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let me = me();
    let users = format!(
        "\n[[user]]\nname = \"{me}\"\nauth = \"peer\"\n\n\
         [[user]]\nname = \"mapped\"\nauth = \"peer\"\nsystem_users = [\"somebody\", \"{me}\"]\n\n\
         [[user]]\nname = \"other\"\nauth = \"peer\"\n\n\
         [[user]]\nname = \"remapped\"\nauth = \"peer\"\nsystem_users = [\"somebody\"]\n"
    );
    let gate = on_a_socket(&database, folder.path(), "", &users);
    let path = socket(folder.path());
    let login = |user: &str| Login::new(user, DATABASE).password("x");
    for user in [&*me, "mapped"] {
        let mut client = Raw::open_unix(&path).start(&login(user)).expect(user);
        assert_eq!(client.value("SELECT 1"), "1");
    }
    for user in ["other", "remapped"] {
        let refused = Raw::open_unix(&path).start(&login(user)).err().expect(user);
        assert_eq!(refused.code(), "28000", "{}", refused.line());
        assert_eq!(
            refused.field(b'M'),
            format!("Peer authentication failed for user \"{user}\"")
        );
    }
    // From the network nobody can be a peer, and is not told that it could have been.
    for user in [&*me, "mapped", "nobody at all"] {
        let refused = Raw::try_login(gate.address, &login(user))
            .err()
            .expect(user);
        assert_eq!(refused.code(), "28P01", "{}", refused.line());
    }
}

#[test]
fn a_stale_socket_is_replaced_a_living_one_is_not_and_the_own_one_is_removed() {
    let Some(database) = fresh_database() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = socket(folder.path());
    // As a killed process leaves it.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    let mut first = on_a_socket(&database, folder.path(), "", "");
    assert!(Raw::open_unix(&path).start(&ann()).is_ok());
    let rival = first.folder().join("rival.toml");
    let text = std::fs::read_to_string(first.config_path()).expect("the configuration");
    let text = text.replace(&first.address.to_string(), "127.0.0.1:0");
    let text = text.replace(&first.admin.to_string(), "127.0.0.1:0");
    std::fs::write(&rival, text).expect("another configuration");
    let second = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["run", "--config"])
        .arg(&rival)
        .output()
        .expect("the gate runs");
    let errors = String::from_utf8_lossy(&second.stderr);
    assert!(errors.contains("another process listens"), "{errors}");
    assert!(!second.status.success());
    assert!(
        Raw::open_unix(&path).start(&ann()).is_ok(),
        "the first one goes on"
    );
    let stopped = Command::new("kill").arg(first.id().to_string()).status();
    assert!(stopped.expect("kill runs").success());
    assert!(first.wait(Duration::from_secs(20)).is_some());
    assert!(!path.exists(), "the file went with the gate");
}

#[cfg(target_os = "linux")]
#[test]
fn an_abstract_name_has_no_file() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixStream};
    let Some(database) = fresh_database() else {
        return;
    };
    let name = format!("portcullis-test-{}", std::process::id());
    let door = format!("\n[[listen]]\naddress = \"unix:@{name}:6432\"\n");
    let _gate = gate(&database, &door, "");
    let name = format!("{name}/.s.PGSQL.6432");
    let address = SocketAddr::from_abstract_name(name).expect("a name");
    let stream = UnixStream::connect_addr(&address).expect("a connection");
    let mut client = Raw::speak(Wire::Unix(stream))
        .start(&ann())
        .expect("a login");
    assert_eq!(client.value("SELECT 1"), "1");
}

#[test]
fn a_list_of_networks_lets_nobody_in_who_has_no_address() {
    let Some(database) = fresh_database() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let gate = on_a_socket(&database, folder.path(), "", "allow = [\"127.0.0.0/8\"]\n");
    let path = socket(folder.path());
    let refused = Raw::open_unix(&path).start(&ann()).err().expect("refused");
    assert_eq!(refused.code(), "28P01");
    assert!(Raw::try_login(gate.address, &ann()).is_ok());
}
