//! A takeover that fails: the gate that serves goes on as if nothing had been.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::gate::{DATABASE, Gate};
use crate::support::postgres::unprivileged_user;
use crate::support::raw::{Login, Raw};

const HEAD: &str = "[[database]]\nname = \"app\"\nbackend = \"sqlite::memory:\"\n\n\
                    [[user]]\nname = \"app\"\nauth = \"trust\"\n\n\
                    [[listen]]\naddress = \"unix:door\"\n\n";

fn gate() -> Gate {
    Gate::start_with(HEAD, "")
}

/// It serves on all its doors.
fn serves(gate: &Gate) {
    let login = Login::new("app", DATABASE);
    let door = gate.folder().join("door");
    for client in [Raw::open(gate.address), Raw::open_unix(&door)] {
        let mut client = client.start(&login).expect("a login");
        assert_eq!(client.value("SELECT 42"), "42");
        client.send(b'X', b"");
    }
    assert_eq!(gate.page("/readyz").0, 200);
}

fn control(gate: &Gate) -> PathBuf {
    gate.folder().join("run/control.sock")
}

const TAKEOVER: &[u8] = b"{\"version\":1,\"command\":\"takeover\"}\n";

/// Begins a takeover, as far as the offer.
fn begin(gate: &Gate) -> (BufReader<UnixStream>, String) {
    let mut stream = UnixStream::connect(control(gate)).expect("a gate listens");
    stream.write_all(TAKEOVER).expect("it is sent");
    let mut stream = BufReader::new(stream);
    let mut offer = String::new();
    stream.read_line(&mut offer).expect("an offer");
    (stream, offer)
}

#[test]
fn a_new_gate_that_cannot_start_leaves_the_old_one_serving() {
    let occupied = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = occupied.local_addr().expect("its address");
    let mut old = gate();
    let policy = "[[policy]]\nname = \"mine\"\nplugin = \"not-there.wasm\"\n";
    let port = format!("[[listen]]\naddress = \"{}\"\n", address);
    for (rules, wanted) in [
        // It never asks.
        ("colour = 2\n", "unknown key"),
        (policy, "not-there.wasm"),
        // It has the sockets already, and cannot open one more.
        (&*port, "cannot listen on"),
    ] {
        // The old one must not read it: it is about the new one alone.
        old.rewrite(rules);
        let mut new = old.try_follow();
        let ended = new.wait(Duration::from_secs(30)).expect("it ends");
        assert!(!ended.success());
        assert!(new.log().contains(wanted), "{}", new.log());
        serves(&old);
    }
    old.wait_for_log(&["the new gate does not take over"]);
    // Its door is its own again: the file goes with it.
    old.rewrite("");
    old.signal("TERM");
    assert!(old.wait(Duration::from_secs(10)).is_some());
    assert!(!old.folder().join("door").exists());
    // And now there is nobody to take over from.
    let mut new = old.try_follow();
    let ended = new.wait(Duration::from_secs(30)).expect("it ends");
    assert!(!ended.success());
    assert!(new.log().contains("no gate answers on"), "{}", new.log());
}

#[test]
fn who_dies_half_way_or_says_nonsense_has_taken_nothing() {
    let mut old = gate();
    for words in ["", "{\"ready\"", "{\"ready\":true}\n", "nonsense\n", "[]\n"] {
        let (mut stream, offer) = begin(&old);
        assert!(offer.contains("\"role\":\"door\""), "{offer}");
        // One at a time: a second one is told so and changes nothing.
        let (_, second) = begin(&old);
        assert!(second.contains("taking over right now"), "{second}");
        stream.get_mut().write_all(words.as_bytes()).expect("sent");
        stream
            .get_mut()
            .shutdown(std::net::Shutdown::Write)
            .expect("gone");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.contains("\"ok\":false"), "{words}: {answer}");
        serves(&old);
    }
    // The way is free for one that means it.
    let new = old.follow();
    assert!(old.wait(Duration::from_secs(10)).is_some());
    serves(&new);
}

/// Says a line as another user of the system, and returns what came back.
fn as_a_stranger(socket: &Path, line: &str) -> String {
    const PROGRAM: &str = "use Socket; $SIG{PIPE} = q(IGNORE); socket(S, PF_UNIX, SOCK_STREAM, 0) or die $!; \
        connect(S, pack_sockaddr_un($ARGV[0])) or die \"connect: $!\"; \
        syswrite(S, $ARGV[1]); while (sysread(S, $b, 4096)) { print $b }";
    let mut command = match unprivileged_user().expect("a user without rights") {
        Some((user, group)) => {
            let mut command = Command::new("perl");
            command.uid(user).gid(group);
            command
        }
        None => {
            let mut command = Command::new("sudo");
            command.args(["-n", "-u", "nobody", "perl"]);
            command
        }
    };
    let output = command
        .args(["-e", PROGRAM])
        .arg(socket)
        .arg(line)
        .output()
        .expect("another user can be played");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_stranger_gets_nothing_and_holds_up_nobody() {
    let old = gate();
    let socket = std::fs::canonicalize(control(&old)).expect("the socket");
    // As if somebody had opened all the doors on the way.
    let open = |path: &Path, mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, mode).expect("mode bits");
    };
    open(old.folder(), 0o755);
    open(&old.folder().join("run"), 0o755);
    open(&socket, 0o777);
    let takeover = std::str::from_utf8(TAKEOVER).expect("text");
    for line in [takeover, "{\"version\":1,\"command\":\"state\"}\n", "x"] {
        assert_eq!(as_a_stranger(&socket, line), "");
    }
    old.wait_for_log(&["a stranger came to the control socket"]);
    // Nor does a crowd that says nothing, or never stops.
    let mut silent: Vec<UnixStream> = (0..100)
        .filter_map(|_| UnixStream::connect(&socket).ok())
        .collect();
    for stream in &mut silent {
        let _ = stream.write_all(&[b'x'; 1000]);
    }
    serves(&old);
    let begun = Instant::now();
    let new = old.follow();
    assert!(begun.elapsed() < Duration::from_secs(20));
    serves(&new);
}
