//! Policies that judge on threads of their own: what they hold up, and what they cannot.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::{Asked, Brought, FaultKind, Later, Outcome, Values};
use super::support::{
    Bench, House, client, full, judge, remembered, select, shape, statement, verdict, with,
    with_manifest,
};
use crate::config::{OnFault, OpaqueMode, Runtime};
use crate::model::Statement;
use crate::model::facts::Facts;
use crate::model::refusal::sqlstate;

const LOOP: &str = "(loop br 0) i32.const 0";

/// What a worker does: it asks, and is told to wait or gets the outcome.
fn asks(
    bench: &mut Bench,
    statement: &Arc<Statement>,
    brought: &Brought,
) -> Result<Outcome, Later> {
    let set = bench.judge.current();
    let asked = Asked {
        set: &set,
        client: &bench.client,
        session: &bench.session,
        statement,
        analysis_problem: None,
        values: Values::Known(&[]),
        opaque: OpaqueMode::Refuse,
    };
    bench.judge.decide(&asked, brought)
}

#[test]
fn its_verdicts_are_remembered_like_those_of_others() {
    let mut bench = House::aside(&judge("(drop (call $relations)) call $refuse")).bench();
    let first = bench.ask(&select("1"));
    assert_eq!(
        (verdict(&first).as_str(), remembered(&first)),
        ("p/no", false)
    );
    for user in ["alice", "bob"] {
        bench.client = client(user);
        let again = bench.ask(&select(user));
        assert_eq!(
            (verdict(&again).as_str(), remembered(&again)),
            ("p/no", true)
        );
    }
    assert_eq!(bench.judge.stats().calls, 1);
}

#[test]
fn only_a_clean_instance_makes_what_is_remembered() {
    // Every second call of an instance refuses.
    let component = with(
        "(global $calls (mut i32) (i32.const 0))",
        "i32.const 1024",
        "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
         (if (i32.eqz (i32.rem_u (global.get $calls) (i32.const 2))) (then (return (call $refuse)))) i32.const 0",
    );
    let mut bench = House::aside(&component).bench();
    for _ in 0..2 {
        for number in 0..100 {
            assert_eq!(verdict(&bench.ask(&shape(number))), "permit");
        }
    }
    assert_eq!(bench.judge.stats().calls, 100);
}

#[test]
fn what_is_remembered_is_judged_again_beside_the_path() {
    // Two statements with one normalized text and different facts: what must never happen.
    let plain = select("1");
    let facts = Facts {
        kind: plain.facts.kind,
        effects: plain.facts.effects,
        traits: plain.facts.traits,
        ..Facts::empty(plain.facts.kind)
    };
    let hiding = statement(&plain.text, &plain.normalized, facts);
    let component =
        judge("(if (i32.eqz (call $relations)) (then (return (call $refuse)))) i32.const 0");
    let mut bench = House::aside(&component).bench();
    assert_eq!(verdict(&bench.ask(&plain)), "permit");
    let until = Instant::now() + Duration::from_secs(10);
    let caught = loop {
        for _ in 0..1024 {
            bench.ask(&hiding);
        }
        std::thread::sleep(Duration::from_millis(5));
        if let Some((policy, fault)) = bench.policies.take_faults().pop() {
            break (policy, fault.kind);
        }
        assert!(Instant::now() < until, "nobody looked");
    };
    assert_eq!((&*caught.0, caught.1), ("p", FaultKind::Impure));
}

#[test]
fn a_worker_never_waits_itself() {
    let mut house = House::aside(&judge(LOOP));
    house.config.policies[0].budget = Duration::from_secs(1);
    let mut bench = house.bench();
    let begun = Instant::now();
    let later = asks(&mut bench, &select("1"), &Brought::default()).unwrap_err();
    assert!(
        begun.elapsed() < Duration::from_millis(500),
        "it only handed the question over"
    );
    drop(later);
}

#[test]
fn what_it_does_wrong_is_an_ordinary_fault() {
    let grow = "(loop (if (i32.eq (memory.grow (i32.const 64)) (i32.const -1)) (then unreachable)) br 0) i32.const 0";
    for (name, body, expected) in [
        ("a trap", "unreachable", FaultKind::Trap),
        ("an endless loop", LOOP, FaultKind::Timeout),
        ("a memory bomb", grow, FaultKind::Memory),
        (
            "refuse without a reason",
            "i32.const 1",
            FaultKind::BadVerdict,
        ),
    ] {
        let mut bench = House::aside(&judge(body)).bench();
        for number in 0..2 {
            let Outcome::Refuse(refused) = bench.ask(&shape(number)) else {
                panic!("{name}: must be refused")
            };
            assert_eq!(refused.refusal.constraint(), "p/fault", "{name}");
            assert_eq!(refused.refusal.code, sqlstate::POLICY_FAULT, "{name}");
            assert_eq!(refused.faults[0].1.kind, expected, "{name}");
            assert_eq!(bench.judge.take_faults().len(), 1, "{name}: told once");
        }
        let calls = bench.judge.stats().calls;
        bench.ask(&shape(0));
        bench.ask(&shape(0));
        let Outcome::Refuse(refused) = bench.ask(&shape(0)) else {
            panic!("{name}: must stay refused")
        };
        assert_eq!(refused.faults[0].1.kind, FaultKind::Benched, "{name}");
        assert!(bench.judge.stats().calls <= calls + 2, "{name}");
    }
}

#[test]
fn one_that_loops_holds_up_no_other() {
    let mut house = House::aside(&judge(LOOP));
    house.config.policies[0].budget = Duration::from_secs(1);
    house.config.policies[0].users = vec!["mallory".into()];
    house.add("q", &judge("call $refuse")).runtime = Runtime::Interpreted;
    house.config.policies[1].except_users = vec!["mallory".into()];
    let mut bench = house.bench();
    bench.client = client("mallory");
    // More than both of its threads can do.
    let waiting: Vec<Later> = (0..6)
        .map(|number| asks(&mut bench, &shape(number), &Brought::default()).unwrap_err())
        .collect();
    std::thread::sleep(Duration::from_millis(20));
    bench.client = client("alice");
    let begun = Instant::now();
    assert_eq!(verdict(&bench.ask(&shape(0))), "q/no");
    assert!(
        begun.elapsed() < Duration::from_millis(700),
        "{:?}",
        begun.elapsed()
    );
    drop(waiting);
}

#[tokio::test]
async fn whoever_waits_too_long_is_refused_and_nobody_is_sent_home() {
    let mut house = House::aside(&judge(LOOP));
    house.config.policies[0].budget = Duration::from_millis(800);
    let mut bench = house.bench();
    // Two are judged, sixty-four wait, the rest is not even taken.
    let mut waiting = Vec::new();
    for number in 0..80 {
        let later = asks(&mut bench, &shape(number), &Brought::default()).unwrap_err();
        waiting.push((shape(number), later));
    }
    let (statement, later) = waiting.pop().unwrap();
    let (begun, mut brought) = (Instant::now(), Brought::default());
    later.wait(&mut brought).await;
    assert!(begun.elapsed() < Duration::from_millis(500), "at once");
    let Ok(Outcome::Refuse(refused)) = asks(&mut bench, &statement, &brought) else {
        panic!("it was not judged")
    };
    assert_eq!(refused.refusal.constraint(), "p/fault");
    assert_eq!(refused.faults[0].1.kind, FaultKind::Busy);

    let (statement, later) = waiting.swap_remove(40);
    let (begun, mut brought) = (Instant::now(), Brought::default());
    later.wait(&mut brought).await;
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_millis(900) && took < Duration::from_secs(3),
        "{took:?}"
    );
    let Ok(Outcome::Refuse(refused)) = asks(&mut bench, &statement, &brought) else {
        panic!("it was not judged")
    };
    assert_eq!(refused.faults[0].1.kind, FaultKind::Busy);
    // Several shapes of several sessions: what sends one home that fails.
    for user in ["bob", "carol"] {
        bench.client = client(user);
        for number in 100..104 {
            let mut brought = Brought::default();
            let later = asks(&mut bench, &shape(number), &brought).unwrap_err();
            later.wait(&mut brought).await;
            assert!(asks(&mut bench, &shape(number), &brought).is_ok());
        }
    }
    let set = bench.policies.current();
    let version = set.members()[0].version();
    assert!(version.faulted() >= 10 && version.quarantine.since().is_none());
}

#[test]
fn an_answer_serves_only_the_question_it_was_given_to() {
    let mut bench = House::aside(&judge("(drop (call $user)) i32.const 0")).bench();
    let mut brought = Brought::default();
    let later = asks(&mut bench, &shape(1), &brought).unwrap_err();
    later.wait_here(&mut brought);
    assert!(asks(&mut bench, &shape(2), &brought).is_err(), "another");
    bench.client = client("mallory");
    assert!(asks(&mut bench, &shape(1), &brought).is_err(), "of another");
    bench.client = client("alice");
    bench.session.role = "admin".into();
    assert!(asks(&mut bench, &shape(1), &brought).is_err(), "as another");
    bench.session.role = "".into();
    bench.session.generation += 1;
    let outcome = asks(&mut bench, &shape(1), &brought).unwrap();
    assert_eq!(
        verdict(&outcome),
        "permit",
        "numbers that count mean nothing"
    );
}

#[test]
fn falls_back_to_the_last_good_version_which_is_asked_then() {
    let mut house = House::aside(&judge("call $refuse"));
    house.config.policies[0].on_fault = OnFault::LastGood;
    let mut bench = house.bench();
    assert_eq!(verdict(&bench.ask(&select("1"))), "p/no");
    house.replace("p", &judge("unreachable"));
    bench.policies.reload(&house.config).unwrap();
    for round in 0..4 {
        assert_eq!(verdict(&bench.ask(&select("1"))), "p/no", "round {round}");
    }
}

#[test]
fn its_hooks_are_waited_for_too() {
    let mut bench = House::aside(&full("i32.const 0", "call $refuse", "i32.const 0")).bench();
    let refused = bench.connects().unwrap_err();
    assert_eq!(refused.refusal.constraint(), "p/no");
    let mut bench = House::aside(&full("i32.const 0", LOOP, "i32.const 0")).bench();
    let refused = bench.connects().unwrap_err();
    assert_eq!(refused.refusal.constraint(), "p/fault");
}

#[test]
fn ordinary_policies_beside_it_are_judged_as_ever() {
    let mut house = House::aside(&judge("(drop (call $relations)) i32.const 0"));
    house.add("q", &judge("(drop (call $features)) i32.const 0"));
    house.add("r", &judge("call $refuse"));
    let mut bench = house.bench();
    bench.settle();
    let first = bench.ask(&select("1"));
    assert_eq!(
        (verdict(&first).as_str(), remembered(&first)),
        ("r/no", false)
    );
    assert_eq!(bench.judge.stats().calls, 3, "each once");
    assert!(remembered(&bench.ask(&select("2"))));
}

#[test]
fn the_runtime_is_part_of_what_a_version_is() {
    let manifest = r#"{"name":"p","version":"1","interface":"0.1","cases":[{"sql":"SELECT 1","expect":{"decision":"pass"}}]}"#;
    let mut house = House::of(&with_manifest(judge("i32.const 0"), manifest));
    let bench = house.bench();
    house.config.policies[0].runtime = Runtime::Interpreted;
    let report = bench.policies.reload(&house.config).unwrap();
    assert_eq!(report.changed, ["p".into()]);
    let report = bench.policies.reload(&house.config).unwrap();
    assert_eq!(report.unchanged, ["p".into()]);
}

#[test]
fn its_threads_end_with_it() {
    let threads = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm"));
        let names = tasks.filter_map(|task| name(task).ok());
        names.filter(|name| name.trim() == "aside-leaving").count()
    };
    let mut house = House::new();
    house.add("leaving", &judge("i32.const 0")).runtime = Runtime::Interpreted;
    let mut bench = house.bench();
    bench.ask(&shape(1));
    assert_eq!(threads(), 2);
    house.config.policies.clear();
    bench.policies.reload(&house.config).unwrap();
    bench.ask(&shape(1));
    let until = Instant::now() + Duration::from_secs(5);
    while threads() > 0 {
        assert!(Instant::now() < until, "they stay");
        std::thread::sleep(Duration::from_millis(5));
    }
}
