//! Operators change the policies of a running gate by commands.

use std::process::{Command, Output};

use crate::support::component::policy;
use crate::support::gate::{DATABASE, Gate};

const HEAD: &str = "state_dir = \"state\"\n\n[[database]]\nname = \"app\"\nbackend = \"sqlite::memory:\"\n\n\
                    [[user]]\nname = \"app\"\nauth = \"trust\"\n\n";
const RULES: &str = "[[policy]]\nname = \"p\"\nplugin = \"p.wasm\"\n\n[defaults]\nmode = \"off\"\n";

fn scene() -> Gate {
    assert_eq!(DATABASE, "app");
    Gate::start_with_files(HEAD, RULES, |folder| {
        let refusing = policy("call $refuse");
        std::fs::write(folder.join("p.wasm"), refusing).expect("the policy");
        std::fs::write(folder.join("new.wasm"), policy("i32.const 0")).expect("the candidate");
    })
}

fn plugin(gate: &Gate, arguments: &[&str]) -> Output {
    let run = gate.folder().join("run");
    Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .arg("plugin")
        .args(arguments)
        .arg("--run-dir")
        .arg(run)
        .output()
        .expect("the program runs")
}

/// What it printed.
fn says(gate: &Gate, arguments: &[&str]) -> String {
    let output = plugin(gate, arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}{error}");
    assert!(
        said.lines().all(|line| line.chars().count() <= 80),
        "{said}"
    );
    said
}

/// What it complained about.
fn complains(gate: &Gate, arguments: &[&str]) -> String {
    let output = plugin(gate, arguments);
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn is_refused(gate: &Gate) -> bool {
    let lines = gate.connect().lines("Q SELECT 1");
    lines.iter().any(|line| line.contains("p/no"))
}

#[test]
fn a_mode_is_changed_shown_and_taken_back() {
    let gate = scene();
    let mut before = gate.connect();
    assert!(is_refused(&gate));
    assert!(says(&gate, &["mode", "p", "monitor", "--for", "1h"]).contains("done"));
    assert!(!is_refused(&gate));
    // Who was there already is judged by it, too.
    assert_eq!(before.value("SELECT 1"), "1");
    let status = says(&gate, &["status"]);
    assert!(
        status.contains("monitor") && status.contains("uid "),
        "{status}"
    );
    let next = gate.follow();
    assert!(!is_refused(&next), "it holds in the gate that follows");
    says(&next, &["reset", "p"]);
    assert!(is_refused(&next));
    let complaint = complains(&next, &["mode", "q", "off"]);
    assert!(complaint.contains("there is no policy `q`"), "{complaint}");
}

#[test]
fn an_override_ends_by_itself_while_the_gate_runs() {
    let gate = scene();
    says(&gate, &["mode", "p", "off", "--for", "1s"]);
    assert!(!is_refused(&gate));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !is_refused(&gate) {
        assert!(std::time::Instant::now() < deadline, "it does not end");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn a_candidate_is_compared_promoted_and_rolled_back() {
    let gate = scene();
    let candidate = gate.folder().join("new.wasm");
    let candidate = candidate.to_str().expect("a path");
    says(&gate, &["shadow", "p", candidate]);
    for _ in 0..3 {
        assert!(is_refused(&gate), "the candidate decides nothing");
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let report = loop {
        let report = says(&gate, &["shadow", "p"]);
        if report.starts_with("3 decisions, 0 the same, 3 different") {
            break report;
        }
        assert!(std::time::Instant::now() < deadline, "{report}");
    };
    assert!(
        report.contains("now    refuse no") && report.contains("then   allow"),
        "{report}"
    );
    says(&gate, &["promote", "p"]);
    assert!(!is_refused(&gate));
    assert!(says(&gate, &["rollback", "p"]).contains("judges"));
    assert!(is_refused(&gate));
    let complaint = complains(&gate, &["rollback", "p"]);
    assert!(complaint.contains("no earlier version"), "{complaint}");
    let complaint = complains(&gate, &["shadow", "p"]);
    assert!(complaint.contains("no candidate runs"), "{complaint}");
}

#[test]
fn quarantine_is_listed_and_released() {
    let gate = scene();
    assert!(says(&gate, &["quarantine", "list"]).contains("no policy is in quarantine"));
    let trapping = policy("unreachable");
    std::fs::write(gate.folder().join("p.wasm"), trapping).expect("a worse policy");
    gate.wait_for_log(&["reload done"]);
    let (mut one, mut two) = (gate.connect(), gate.connect());
    for client in [&mut one, &mut two] {
        client.lines("Q SELECT 1, a FROM b\nQ SELECT 2, a, c FROM b\nQ SELECT 3, a, c, d FROM b");
    }
    let listed = says(&gate, &["quarantine", "list"]);
    assert!(listed.contains("trap"), "{listed}");
    says(&gate, &["quarantine", "release", "p"]);
    let complaint = complains(&gate, &["quarantine", "release", "p"]);
    assert!(complaint.contains("not in quarantine"), "{complaint}");
}
