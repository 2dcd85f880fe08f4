//! A swap takes effect on the next statement and disturbs nobody.
//!
//! Two rule sets alternate: one guards the table `left_trap`, the other
//! `right_trap`. At any time exactly one of two questions must be refused, so an
//! answer tells which set gave it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::answer::Answer;
use crate::support::database::fresh_database;
use crate::support::gate::Gate;
use crate::support::raw::Raw;

const SETUP: &str = "
    CREATE TABLE left_trap (a int); INSERT INTO left_trap VALUES (1);
    CREATE TABLE right_trap (a int); INSERT INTO right_trap VALUES (2);
    CREATE TABLE users (id int); INSERT INTO users SELECT generate_series(1, 10);
";

fn rules(side: u64) -> String {
    let table = if side.is_multiple_of(2) {
        "left_trap"
    } else {
        "right_trap"
    };
    format!("[[policy]]\nname = \"honeytoken\"\nsettings = {{ tables = [\"{table}\"] }}\n")
}

/// Which set is in force: even numbers are certain, odd ones stand for a swap under way.
struct Clock(AtomicU64);

impl Clock {
    fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Number of reloads that the gate reported, `ok` or `failed`.
fn reloads(gate: &Gate, result: &str) -> f64 {
    gate.metric("portcullis_reloads_total", &format!("result=\"{result}\""))
}

fn swap(gate: &Gate, clock: &Clock, side: u64) {
    let before = reloads(gate, "ok");
    clock.0.fetch_add(1, Ordering::SeqCst);
    gate.rewrite(&rules(side));
    let deadline = Instant::now() + Duration::from_secs(20);
    while reloads(gate, "ok") == before {
        assert!(
            Instant::now() < deadline,
            "the swap was not reported:\n{}",
            gate.log()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    clock.0.fetch_add(1, Ordering::SeqCst);
}

/// Asks for both tables, by one of three protocol modes; true where the answer was a refusal.
fn ask(client: &mut Raw, mode: usize, table: &str) -> bool {
    let script = match mode {
        0 => format!("Q SELECT a FROM {table}"),
        1 => format!("P - SELECT a FROM {table} WHERE a >= $1\nB - - 0\nE -\nS"),
        // Parsed once, long ago: every swap comes between Parse and Execute.
        _ => format!("B - {table} 0\nE -\nS"),
    };
    let answers = client.run(&script);
    let errors: Vec<&Answer> = answers.iter().filter(|answer| answer.tag == b'E').collect();
    for error in &errors {
        // A trap answers as if the table were not there.
        let own = error.code() == "42P01" && error.line().contains("_trap");
        assert!(own, "no error but the policy's own: {}", error.line());
    }
    assert_eq!(
        answers.last().map(Answer::line),
        Some("ReadyForQuery I".to_owned())
    );
    !errors.is_empty()
}

/// Prepares a statement for each table under names of its own, outside of the traps' guard.
fn prepare(client: &mut Raw, table: &str, clock: &Clock, forbidden: u64) -> bool {
    let now = clock.now();
    if now % 2 == 1 || (now / 2) % 2 == forbidden {
        return false;
    }
    let answers = client.run(&format!("P {table} SELECT a FROM {table} WHERE a >= $1\nS"));
    answers.iter().any(|answer| answer.tag == b'1')
}

#[test]
fn swaps_under_load_are_seen_at_once_and_break_nothing() {
    let Some(database) = fresh_database() else {
        return;
    };
    database.prepare(SETUP);
    let gate = Gate::start(&database, &rules(0));
    let clock = Clock(AtomicU64::new(0));
    let stop = AtomicBool::new(false);
    let asked = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for number in 0..16 {
            let (gate, clock, stop, asked) = (&gate, &clock, &stop, &asked);
            scope.spawn(move || client_loop(gate, number % 3, clock, stop, asked));
        }
        let started = Instant::now();
        for side in 1..=100 {
            swap(&gate, &clock, side);
            let due = started + Duration::from_millis(300) * side as u32;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        stop.store(true, Ordering::SeqCst);
    });
    let asked = asked.load(Ordering::SeqCst);
    assert!(
        asked > 1000,
        "{asked} statements ran beside a hundred swaps"
    );
    let (_, page) = gate.page("/metrics");
    let alive = page
        .lines()
        .find(|line| line.starts_with("portcullis_policy_sets_alive"));
    assert!(
        alive.is_none_or(|line| line.ends_with(" 1")),
        "old sets are gone: {alive:?}"
    );
}

fn client_loop(gate: &Gate, mode: usize, clock: &Clock, stop: &AtomicBool, asked: &AtomicU64) {
    let mut client = gate.connect();
    // Statements are prepared while their table is not guarded, as a driver did hours ago.
    let mut prepared = [mode != 2, mode != 2];
    while !stop.load(Ordering::SeqCst) {
        for (side, table) in [(0, "left_trap"), (1, "right_trap")] {
            if !prepared[side as usize] {
                prepared[side as usize] = prepare(&mut client, table, clock, side);
                continue;
            }
            let before = clock.now();
            let refused = ask(&mut client, mode, table);
            asked.fetch_add(1, Ordering::SeqCst);
            if before.is_multiple_of(2) && before == clock.now() {
                let guarded = (before / 2) % 2 == side;
                assert_eq!(
                    refused,
                    guarded,
                    "{table} in mode {mode} under set {}",
                    before / 2
                );
            }
        }
        assert_eq!(client.value("SELECT count(*) FROM users"), "10");
    }
}

#[test]
fn a_broken_file_changes_nothing_and_is_reported() {
    let Some(database) = fresh_database() else {
        return;
    };
    database.prepare(SETUP);
    let gate = Gate::start(&database, &rules(0));
    let mut client = gate.connect();
    for broken in [
        "this is not toml",
        "[[policy]]\nname = \"honeytoken\"\nsettings = { tabels = [\"x\"] }\n",
        "[[policy]]\nname = \"no-such-policy\"\n",
        "[[policy]]\nname = \"mine\"\nplugin = \"missing.wasm\"\n",
    ] {
        let before = reloads(&gate, "failed");
        gate.rewrite(broken);
        let deadline = Instant::now() + Duration::from_secs(20);
        while reloads(&gate, "failed") == before {
            assert!(
                Instant::now() < deadline,
                "{broken}: not reported\n{}",
                gate.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(
            ask(&mut client, 0, "left_trap"),
            "{broken}: the old rules still hold"
        );
        assert!(
            !ask(&mut client, 0, "right_trap"),
            "{broken}: and only they"
        );
    }
    gate.rewrite(&rules(1));
    let deadline = Instant::now() + Duration::from_secs(20);
    while !ask(&mut client, 0, "right_trap") {
        assert!(
            Instant::now() < deadline,
            "the mended file takes effect\n{}",
            gate.log()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!ask(&mut client, 0, "left_trap"));
}

#[test]
fn an_open_transaction_survives_a_swap() {
    let Some(database) = fresh_database() else {
        return;
    };
    database.prepare(SETUP);
    let gate = Gate::start(&database, &rules(0));
    let clock = Clock(AtomicU64::new(0));
    let mut client = gate.connect();
    client.run("Q BEGIN\n---\nQ INSERT INTO users VALUES (11)");
    swap(&gate, &clock, 1);
    let lines = client.lines("Q INSERT INTO users VALUES (12)\n---\nQ COMMIT");
    assert_eq!(
        lines.last().map(String::as_str),
        Some("ReadyForQuery I"),
        "{lines:#?}"
    );
    assert_eq!(client.value("SELECT count(*) FROM users"), "12");
}
