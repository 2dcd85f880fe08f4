//! Policies that fail, in every way they can.

use super::super::subject::Values;
use super::super::{FaultKind, Outcome};
use super::support::{Bench, House, judge, remembered, select, shape, statement, verdict};
use crate::config::OnFault;
use crate::model::Kind;
use crate::model::facts::Facts;
use crate::model::refusal::sqlstate;

fn fault_of(component: &[u8]) -> (FaultKind, Bench) {
    let mut bench = House::of(component).bench();
    match bench.ask(&select("1")) {
        Outcome::Refuse(refused) => {
            assert_eq!(refused.refusal.code, sqlstate::POLICY_FAULT);
            assert_eq!(
                &*refused.refusal.policy, "p",
                "the refusal names the policy"
            );
            assert!(!refused.remembered);
            (refused.faults[0].1.kind, bench)
        }
        other => panic!("expected a fault, got {}", verdict(&other)),
    }
}

#[test]
fn refuses_when_a_policy_fails() {
    let cases: &[(&str, &str, FaultKind)] = &[
        ("a trap", "unreachable", FaultKind::Trap),
        (
            "an endless loop",
            "(loop br 0) i32.const 0",
            FaultKind::Timeout,
        ),
        (
            "a memory bomb",
            "(loop (if (i32.eq (memory.grow (i32.const 64)) (i32.const -1)) (then unreachable)) br 0) i32.const 0",
            FaultKind::Memory,
        ),
        (
            "a wild access",
            "(i32.load (i32.const 0x7fffffff))",
            FaultKind::Trap,
        ),
        (
            "refuse without a reason",
            "i32.const 1",
            FaultKind::BadVerdict,
        ),
        (
            "respond without a column",
            "i32.const 2",
            FaultKind::BadVerdict,
        ),
        (
            "a relation that is not there",
            "(call $changed (i32.const 5) (i64.const 1)) i32.const 0",
            FaultKind::BadVerdict,
        ),
        (
            "a verdict without end",
            "(loop (call $alert (i32.const 16) (i32.const 2) (i32.const 0)) br 0) i32.const 0",
            FaultKind::BadVerdict,
        ),
        (
            "setup while judging",
            "(drop (call $intern (i32.const 16) (i32.const 2))) i32.const 0",
            FaultKind::Call,
        ),
        (
            "a plan that is not there",
            "(drop (call $measure (i32.const 1))) i32.const 0",
            FaultKind::Call,
        ),
        (
            "a rule that is no rule",
            "(call $reason (i32.const 32) (i32.const 9) (i32.const 32) (i32.const 9) (i32.const 32) (i32.const 0)) i32.const 1",
            FaultKind::BadVerdict,
        ),
        ("endless recursion", "(call $deep)", FaultKind::Trap),
    ];
    for (name, body, expected) in cases {
        let extra = if body.contains("$deep") {
            "(func $deep (result i32) (i32.add (call $deep) (i32.const 1)))"
        } else {
            ""
        };
        let component = super::support::with(extra, "i32.const 1024", body);
        let (kind, mut bench) = fault_of(&component);
        assert_eq!(kind, *expected, "{name}");
        assert_eq!(
            verdict(&bench.ask(&shape(1))),
            "p/fault",
            "{name}: fails for every shape"
        );
    }
}

#[test]
fn recovers_after_a_fault() {
    // Fails for statements without relations only.
    let component = judge("(if (i32.eqz (call $relations)) (then unreachable)) i32.const 0");
    let mut bench = House::of(&component).bench();
    assert_eq!(verdict(&bench.ask(&shape(1))), "p/fault");
    assert_eq!(verdict(&bench.ask(&select("1"))), "permit");
    assert_eq!(verdict(&bench.ask(&shape(2))), "p/fault");
    assert_eq!(verdict(&bench.ask(&select("1"))), "permit");
}

#[test]
fn asks_no_third_time_about_a_shape_that_faulted_twice() {
    let mut bench = House::of(&judge("unreachable")).bench();
    for _ in 0..2 {
        bench.ask(&shape(1));
    }
    let calls = bench.judge.stats().calls;
    let Outcome::Refuse(refused) = bench.ask(&shape(1)) else {
        panic!("must stay refused")
    };
    assert_eq!(refused.faults[0].1.kind, FaultKind::Benched);
    assert_eq!(bench.judge.stats().calls, calls);
    bench.ask(&shape(2));
    assert_eq!(
        bench.judge.stats().calls,
        calls + 1,
        "other shapes are still asked about"
    );
}

#[test]
fn lets_pass_what_the_operator_lets_pass() {
    let mut house = House::of(&judge("unreachable"));
    house.config.policies[0].on_fault = OnFault::Allow;
    let mut bench = house.bench();
    let Outcome::Permit(permit) = bench.ask(&select("1")) else {
        panic!("on_fault is allow")
    };
    assert_eq!(permit.faults().len(), 1);
    assert!(!permit.remembered());
    let second = bench.ask(&select("1"));
    assert!(!remembered(&second), "faults are never remembered");
}

#[test]
fn falls_back_to_the_last_good_version() {
    let mut house = House::of(&judge("call $refuse"));
    house.config.policies[0].on_fault = OnFault::LastGood;
    let mut bench = house.bench();
    assert_eq!(verdict(&bench.ask(&select("1"))), "p/no");
    house.replace("p", &judge("unreachable"));
    bench.policies.reload(&house.config).unwrap();
    assert_eq!(
        verdict(&bench.ask(&select("1"))),
        "p/no",
        "the version before judges"
    );

    let mut house = House::of(&judge("unreachable"));
    house.config.policies[0].on_fault = OnFault::LastGood;
    assert_eq!(
        verdict(&house.bench().ask(&select("1"))),
        "p/fault",
        "without an earlier version: refuse"
    );
}

#[test]
fn a_client_cannot_make_a_policy_fail_by_binding_too_little() {
    let facts = Facts {
        parameters: 2,
        ..Facts::empty(Kind::Select)
    };
    let prepared = statement("SELECT $1, $2", "SELECT $1, $2", facts);
    let mut bench = House::of(&judge(
        "(call $parameter (i32.const 1) (i32.const 2048)) i32.const 0",
    ))
    .bench();
    assert_eq!(
        verdict(&bench.ask_with(&prepared, Values::Known(&[]))),
        "permit"
    );
    assert_eq!(bench.judge.stats().faults, 0);
}

#[test]
fn a_fault_is_told_once_whatever_becomes_of_the_statement() {
    let mut house = House::of(&judge("unreachable"));
    house.config.policies[0].on_fault = OnFault::Allow;
    house.add("q", &judge("(drop (call $features)) i32.const 0"));
    house.add(
        "r",
        &judge("(call $column (i32.const 16) (i32.const 2) (i32.const 25)) i32.const 2"),
    );
    let mut bench = house.bench();
    let mut prepared = Facts::empty(Kind::Select);
    prepared.parameters = 1;
    let prepared = statement("SELECT $1", "SELECT $1", prepared);
    for (statement, values, expected) in [
        (&prepared, Values::Unknown, "needs values"),
        (&select("1"), Values::Known(&[]), "respond"),
    ] {
        assert_eq!(verdict(&bench.ask_with(statement, values)), expected);
        let faults = bench.judge.take_faults();
        assert_eq!(faults.len(), 1, "{expected}");
        assert_eq!((&*faults[0].0, faults[0].1.kind), ("p", FaultKind::Trap));
        assert!(bench.judge.take_faults().is_empty(), "told once");
    }
}

#[test]
fn an_innocent_policy_survives_a_busy_machine() {
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut bench = House::of(&judge(
        "(if (i64.ne (call $features) (i64.const 0)) (then unreachable)) i32.const 0",
    ))
    .bench();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    std::hint::spin_loop()
                }
            });
        }
        let until = std::time::Instant::now() + std::time::Duration::from_secs(2);
        let mut number = 0;
        while std::time::Instant::now() < until {
            number += 1;
            assert_eq!(verdict(&bench.ask(&shape(number))), "permit");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(bench.judge.stats().faults, 0);
}
