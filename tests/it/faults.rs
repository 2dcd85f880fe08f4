//! A policy that fails refuses, and failing is not forever.
//!
//! Each kind of misbehaviour is written into the file of a running gate's
//! policy. Statements are refused with the SQLSTATE of a fault, never let
//! through, never answered late; a good file makes them pass again.

use std::time::{Duration, Instant};

use crate::support::component::policy;
use crate::support::database::fresh_database;
use crate::support::gate::Gate;
use crate::support::raw::Raw;

const GOOD: &str = "i32.const 0";
const REFUSES: &str = "(call $refuse)";

/// What it does, and its `judge`.
const BAD: &[(&str, &str)] = &[
    ("traps", "unreachable"),
    ("loops without end", "(loop br 0) i32.const 0"),
    (
        "eats memory",
        "(loop (if (i32.eq (memory.grow (i32.const 64)) (i32.const -1)) (then unreachable)) br 0) i32.const 0",
    ),
    ("reads wild memory", "(i32.load (i32.const 0x7fffffff))"),
    ("refuses without a reason", "i32.const 1"),
    ("answers with a number nobody knows", "i32.const 77"),
];

struct Scene {
    gate: Gate,
}

impl Scene {
    /// A gate whose only policy of its own is the file `mine.wasm`.
    fn new(judge: &str) -> Option<Scene> {
        let database = fresh_database()?;
        let gate = Gate::start_prepared(&database, &rules(0), |folder| {
            std::fs::write(folder.join("mine.wasm"), policy(judge)).expect("the policy");
        });
        Some(Scene { gate })
    }

    /// Replaces the policy's file as a build tool does, and waits until statements are answered by it.
    fn replace(&self, component: &[u8]) {
        let draft = self.gate.folder().join("draft");
        std::fs::write(&draft, component).expect("a draft");
        std::fs::rename(&draft, self.gate.folder().join("mine.wasm")).expect("the new file");
    }
}

fn rules(round: usize) -> String {
    format!("# round {round}\n[[policy]]\nname = \"mine\"\nplugin = \"./mine.wasm\"\n")
}

/// Error code of a statement of a shape of its own, or `00000`.
fn ask(client: &mut Raw, shape: usize) -> String {
    let answers = client.run(&format!("Q SELECT 1 AS shape_{shape}"));
    let error = answers.iter().find(|answer| answer.tag == b'E');
    error.map_or_else(|| "00000".to_owned(), |error| error.code())
}

fn wait_for(client: &mut Raw, shapes: &mut usize, wanted: &str, why: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        *shapes += 1;
        let got = ask(client, *shapes);
        if got == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{why}: {got}, not {wanted}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

#[test]
fn every_misbehaviour_refuses_and_a_good_file_recovers() {
    for (what, judge) in BAD {
        // At the start there is no version to fall back to.
        let Some(scene) = Scene::new(judge) else {
            return;
        };
        let mut client = scene.gate.connect();
        let mut shapes = 0;
        for _ in 0..5 {
            shapes += 1;
            let started = Instant::now();
            assert_eq!(ask(&mut client, shapes), "58000", "a policy that {what}");
            let took = started.elapsed();
            assert!(
                took < Duration::from_secs(3),
                "a policy that {what} was waited for: {took:?}"
            );
        }
        scene.replace(&policy(GOOD));
        wait_for(
            &mut client,
            &mut shapes,
            "00000",
            &format!("good again after one that {what}"),
        );
    }
}

#[test]
fn a_file_that_is_no_policy_leaves_the_old_one() {
    let Some(scene) = Scene::new(REFUSES) else {
        return;
    };
    let mut client = scene.gate.connect();
    assert_eq!(ask(&mut client, 0), "42501");
    let failed = || {
        scene
            .gate
            .metric("portcullis_reloads_total", "result=\"failed\"")
    };
    for garbage in [
        &b""[..],
        b"garbage",
        b"\0asm\x01\0\0\0",
        &policy(GOOD)[..200],
    ] {
        let before = failed();
        scene.replace(garbage);
        let deadline = Instant::now() + Duration::from_secs(20);
        while failed() == before {
            assert!(
                Instant::now() < deadline,
                "not reported\n{}",
                scene.gate.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(ask(&mut client, 1), "42501", "the old version still judges");
    }
    scene.replace(&policy(GOOD));
    let mut shapes = 10;
    wait_for(&mut client, &mut shapes, "00000", "a good file is taken");
}

#[test]
fn one_faulting_policy_does_not_stop_other_clients() {
    let Some(scene) = Scene::new(GOOD) else {
        return;
    };
    let mut first = scene.gate.connect();
    let mut second = scene.gate.connect();
    assert_eq!(ask(&mut first, 1), "00000");
    scene.replace(&policy("(loop br 0) i32.const 0"));
    let mut shapes = 100;
    wait_for(&mut first, &mut shapes, "58000", "the loop is in");
    for shape in 0..3 {
        assert_eq!(ask(&mut second, 200 + shape), "58000");
    }
    scene.replace(&policy(GOOD));
    wait_for(&mut second, &mut shapes, "00000", "good again");
    assert_eq!(ask(&mut first, 300), "00000");
}

#[test]
fn faults_may_be_let_through_only_where_it_is_written_and_are_counted() {
    let Some(database) = fresh_database() else {
        return;
    };
    let rules = format!("{}on_fault = \"allow\"\n", rules(0));
    let gate = Gate::start_prepared(&database, &rules, |folder| {
        std::fs::write(folder.join("mine.wasm"), policy("unreachable")).expect("the policy");
    });
    let faults = || gate.metric("portcullis_policy_faults_total", "policy=\"mine\"");
    let mut client = gate.connect();
    for shape in 1..4 {
        let before = faults();
        assert_eq!(ask(&mut client, shape), "00000");
        assert_eq!(faults(), before + 1.0, "every fault is counted once");
    }
    let mode = rules.replace("allow\"\n", "allow\"\nmode = \"monitor\"\n");
    gate.rewrite(&mode);
    gate.wait_for_log(&["reload done", "adjusted: mine"]);
    let before = faults();
    assert_eq!(ask(&mut client, 9), "00000");
    assert_eq!(faults(), before + 1.0, "in monitor mode, too");
}
