//! What a service manager is told, and what it is given.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::OPERATORS;
use crate::support::gate::Gate;
use crate::support::source;

const HEAD: &str = "[[database]]\nname = \"app\"\nbackend = \"sqlite::memory:\"\n\n";

/// The next state with this beginning.
fn hear(manager: &UnixDatagram, beginning: &str) -> String {
    let mut heard = [0; 500];
    for _ in 0..100 {
        let length = manager.recv(&mut heard).expect("a state in time");
        let state = String::from_utf8_lossy(&heard[..length]).into_owned();
        if state.starts_with(beginning) {
            return state;
        }
    }
    panic!("nothing that begins with {beginning}");
}

#[test]
fn the_service_manager_hears_how_far_the_gate_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    let patience = Some(Duration::from_secs(20));
    manager.set_read_timeout(patience).expect("a time limit");
    let environment = [
        ("NOTIFY_SOCKET", &*path.display().to_string()),
        ("WATCHDOG_USEC", "300000"),
    ];
    let mut gate = Gate::start_in(HEAD, OPERATORS, &environment);
    assert!(hear(&manager, "READY=1").contains(&gate.address.to_string()));
    hear(&manager, "WATCHDOG=1");
    gate.signal("HUP");
    hear(&manager, "RELOADING=1");
    hear(&manager, "READY=1");
    gate.rewrite("nonsense");
    assert!(hear(&manager, "READY=1\nSTATUS=open; ").contains("was not taken"));
    gate.signal("TERM");
    hear(&manager, "STOPPING=1");
    let status = gate.wait(Duration::from_secs(10)).expect("the gate ends");
    assert!(status.success());
}

#[test]
fn the_unit_says_what_the_gate_understands() {
    let unit = std::fs::read_to_string(source::root().join("deploy/portcullis.service"));
    let unit = unit.expect("the unit");
    for line in [
        "Type=notify",
        "KillSignal=SIGINT",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
    ] {
        assert!(unit.lines().any(|found| found == line), "{line}");
    }
}
