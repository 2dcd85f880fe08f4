//! The control socket of a running gate: who is heard, and who is not.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::support::gate::Gate;

const HEAD: &str = "[[database]]\nname = \"app\"\nbackend = \"sqlite::memory:\"\n\n\
                    [[user]]\nname = \"owner\"\nauth = \"trust\"\n\n";

fn control_socket(gate: &Gate) -> PathBuf {
    gate.folder().join("run/control.sock")
}

/// Sends a line, reads all that comes.
fn say(socket: &Path, line: &str) -> String {
    let mut stream = UnixStream::connect(socket).expect("a gate listens");
    stream.write_all(line.as_bytes()).expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it is answered");
    answer
}

#[test]
fn a_gate_says_how_it_is_and_answers_nonsense_with_an_error() {
    let gate = Gate::start_with(HEAD, "");
    let socket = control_socket(&gate);
    let answer = say(&socket, "{\"version\":1,\"command\":\"state\"}\n");
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(answer["ok"], true, "{answer}");
    assert_eq!(answer["result"]["state"], "serving");
    assert_eq!(answer["result"]["pid"], gate.id());
    for (nonsense, wanted) in [
        (
            "{\"version\":1,\"command\":\"dance\"}\n",
            "knows no command `dance`",
        ),
        ("{\"version\":9,\"command\":\"state\"}\n", "version 9"),
        ("state\n", "this is no request"),
    ] {
        let answer = say(&socket, nonsense);
        assert!(answer.contains("\"ok\":false"), "{answer}");
        assert!(answer.contains(wanted), "{answer}");
    }
    let folder = std::fs::metadata(gate.folder().join("run")).expect("the folder");
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    let socket = std::fs::metadata(socket).expect("the socket");
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_folder_that_others_can_write_to_is_refused_at_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    std::fs::create_dir(&run).expect("the run folder");
    std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o777)).expect("open to all");
    let config = folder.path().join("gate.toml");
    let text = format!("run_dir = \"run\"\n\n[[listen]]\naddress = \"127.0.0.1:0\"\n\n{HEAD}");
    std::fs::write(&config, text).expect("the configuration");
    let started = std::process::Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["run", "--config"])
        .arg(&config)
        .output()
        .expect("the gate runs");
    assert!(!started.status.success());
    let said = String::from_utf8_lossy(&started.stderr);
    assert!(said.contains("let nobody else write"), "{said}");
}
