//! What is remembered, for whom, and what never is.

use std::time::{Duration, SystemTime};

use super::super::subject::Values;
use super::super::{FaultKind, Outcome};
use super::support::{
    Bench, House, client, judge, remembered, select, shape, statement, verdict, with,
};
use crate::model::code::{Kind, Traits};
use crate::model::facts::Facts;
use crate::model::{BindValue, TransactionState};

#[test]
fn a_policy_that_reads_only_the_shape_is_asked_once_for_all() {
    let mut bench = House::of(&judge("(drop (call $relations)) i32.const 0")).bench();
    assert!(!remembered(&bench.ask(&select("1"))));
    for user in ["alice", "bob", "carol"] {
        bench.client = client(user);
        assert!(
            remembered(&bench.ask(&select(user))),
            "{user} with another literal"
        );
    }
    assert_eq!(bench.judge.stats().calls, 1);
}

#[test]
fn a_policy_that_reads_the_user_is_asked_once_for_each() {
    let mut bench = House::of(&judge("(drop (call $user)) i32.const 0")).bench();
    for user in ["alice", "bob"] {
        bench.client = client(user);
        assert!(
            !remembered(&bench.ask(&select("1"))),
            "{user} the first time"
        );
        assert!(remembered(&bench.ask(&select("2"))), "{user} again");
    }
}

#[test]
fn session_state_that_was_read_is_compared() {
    let mut bench = House::of(&judge(
        "(if (call $transaction) (then (return (call $refuse)))) i32.const 0",
    ))
    .bench();
    assert_eq!(verdict(&bench.ask(&select("1"))), "permit");
    bench.session.transaction = TransactionState::Active;
    assert_eq!(verdict(&bench.ask(&select("1"))), "p/no");
    bench.session.transaction = TransactionState::Idle;
    let again = bench.ask(&select("1"));
    assert_eq!(
        (verdict(&again).as_str(), remembered(&again)),
        ("permit", true)
    );
}

#[test]
fn traits_are_always_part_of_the_key() {
    let mut bench = House::of(&judge(
        "(if (i64.eqz (local.get 2)) (then (return (call $refuse)))) i32.const 0",
    ))
    .bench();
    let with_traits = |traits| {
        let facts = Facts {
            traits,
            ..Facts::empty(Kind::Select)
        };
        statement("SELECT 1", "SELECT ?", facts)
    };
    assert_eq!(verdict(&bench.ask(&with_traits(Traits::empty()))), "p/no");
    assert_eq!(
        verdict(&bench.ask(&with_traits(Traits::IN_STRING))),
        "permit"
    );
}

#[test]
fn the_answer_about_values_is_the_key_not_the_values() {
    // Refuses values with any feature.
    let mut bench = House::of(&judge(
        "(if (i64.ne (call $features) (i64.const 0)) (then (return (call $refuse)))) i32.const 0",
    ))
    .bench();
    assert_eq!(verdict(&bench.ask(&select("harmless"))), "permit");
    let other = bench.ask(&select("also harmless"));
    assert_eq!(
        (verdict(&other).as_str(), remembered(&other)),
        ("permit", true)
    );
    bench.settle();
    assert_eq!(verdict(&bench.ask(&select("it's"))), "p/no");
    let other = bench.ask(&select("o'clock"));
    assert_eq!(
        (verdict(&other).as_str(), remembered(&other)),
        ("p/no", true)
    );
}

#[test]
fn a_policy_that_reads_a_literal_is_always_asked() {
    let mut bench = House::of(&judge(
        "(call $literal (i32.const 0) (i32.const 2048)) i32.const 0",
    ))
    .bench();
    for _ in 0..5 {
        let outcome = bench.ask(&select("1"));
        assert_eq!(
            (verdict(&outcome).as_str(), remembered(&outcome)),
            ("permit", false)
        );
    }
}

/// Refuses every second call of one instance.
fn alternating(read: &str) -> Vec<u8> {
    with(
        "(global $calls (mut i32) (i32.const 0))",
        "i32.const 1024",
        &format!(
            "{read} (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
             (if (i32.eqz (i32.rem_u (global.get $calls) (i32.const 2))) (then (return (call $refuse)))) i32.const 0"
        ),
    )
}

#[test]
fn hidden_memory_never_reaches_a_remembered_verdict() {
    let mut bench = House::of(&alternating("")).bench();
    for number in 0..200 {
        bench.settle();
        let outcome = bench.ask(&shape(number));
        assert_eq!(verdict(&outcome), "permit", "judged by a clean instance");
    }
    for number in 0..200 {
        let outcome = bench.ask(&shape(number));
        assert_eq!(
            (verdict(&outcome).as_str(), remembered(&outcome)),
            ("permit", true)
        );
    }
}

#[test]
fn a_verdict_of_the_warm_instance_is_not_remembered() {
    let mut bench = House::of(&alternating("")).bench();
    // Faster than clean instances can be made: some are judged warm, and those are not kept.
    for number in 0..500 {
        let first = bench.ask(&shape(number));
        let second = bench.ask(&shape(number));
        if remembered(&second) {
            assert_eq!(verdict(&first), verdict(&second));
            assert_eq!(verdict(&second), "permit");
        }
    }
}

#[test]
fn the_last_literal_does_not_leak_into_another_statement() {
    // Refuses when the literal of the call before was read by the same instance.
    let component = with(
        "(global $seen (mut i32) (i32.const 0))",
        "i32.const 1024",
        "(if (i32.eqz (call $relations)) (then (return (if (result i32) (global.get $seen) (then (call $refuse)) (else (i32.const 0))))))
         (call $literal (i32.const 0) (i32.const 2048)) (global.set $seen (i32.const 1)) i32.const 0",
    );
    let mut bench = House::of(&component).bench();
    for number in 0..50 {
        bench.ask(&select("secret"));
        bench.settle();
        assert_eq!(verdict(&bench.ask(&shape(number))), "permit");
    }
}

#[test]
fn one_forgetful_policy_costs_only_itself() {
    let mut house = House::new();
    house.add("shape", &judge("(drop (call $relations)) i32.const 0"));
    house.add(
        "literal",
        &judge("(call $literal (i32.const 0) (i32.const 2048)) i32.const 0"),
    );
    let mut bench = house.bench();
    bench.ask(&select("1"));
    let before = bench.judge.stats().calls;
    for _ in 0..10 {
        assert_eq!(verdict(&bench.ask(&select("1"))), "permit");
    }
    assert_eq!(bench.judge.stats().calls, before + 10);
}

#[test]
fn a_clock_that_was_read_ends_the_memory_at_its_edge() {
    let edge = SystemTime::now() + Duration::from_millis(300);
    let ms = edge
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_millis();
    let body =
        format!("(if (call $before (i64.const {ms})) (then (return (call $refuse)))) i32.const 0");
    let mut bench = House::of(&judge(&body)).bench();
    assert_eq!(verdict(&bench.ask(&select("1"))), "p/no");
    let again = bench.ask(&select("1"));
    assert_eq!(
        (verdict(&again).as_str(), remembered(&again)),
        ("p/no", true)
    );
    std::thread::sleep(Duration::from_millis(320));
    assert_eq!(verdict(&bench.ask(&select("1"))), "permit");
}

#[test]
fn values_that_are_missing_at_parse_are_asked_for() {
    let facts = Facts {
        parameters: 1,
        ..Facts::empty(Kind::Select)
    };
    let prepared = statement("SELECT $1", "SELECT $1", facts);
    let mut bench = House::of(&judge(
        "(if (i64.ne (call $features) (i64.const 0)) (then (return (call $refuse)))) i32.const 0",
    ))
    .bench();
    assert_eq!(
        verdict(&bench.ask_with(&prepared, Values::Unknown)),
        "needs values"
    );
    // Only a clean instance makes a verdict that is remembered.
    bench.settle();
    let value = |text: &'static str| BindValue {
        type_oid: 25,
        binary: false,
        bytes: Some(text.into()),
    };
    assert_eq!(
        verdict(&bench.ask_with(&prepared, Values::Known(&[value("fine")]))),
        "permit"
    );
    assert_eq!(
        verdict(&bench.ask_with(&prepared, Values::Known(&[value("it's")]))),
        "p/no"
    );
    assert_eq!(
        verdict(&bench.ask_with(&prepared, Values::Unknown)),
        "needs values"
    );
    assert!(remembered(
        &bench.ask_with(&prepared, Values::Known(&[value("too")]))
    ));
}

#[test]
fn a_refusal_without_values_stands_at_parse() {
    let facts = Facts {
        parameters: 1,
        ..Facts::empty(Kind::Select)
    };
    let prepared = statement("SELECT $1", "SELECT $1", facts);
    let mut house = House::new();
    house.add("values", &judge("(drop (call $features)) i32.const 0"));
    house.add("shape", &judge("call $refuse"));
    assert_eq!(
        verdict(&house.bench().ask_with(&prepared, Values::Unknown)),
        "shape/no"
    );
}

#[test]
fn a_permit_holds_until_something_it_read_changes() {
    let now = SystemTime::now();
    let mut bench = House::of(&judge("(drop (call $role)) i32.const 0")).bench();
    let Outcome::Permit(permit) = bench.ask(&select("1")) else {
        panic!("must pass")
    };
    let set = bench.judge.current();
    assert!(permit.holds(&set, &bench.session, now));
    bench.session.generation += 1;
    assert!(
        !permit.holds(&set, &bench.session, now),
        "the role may have changed"
    );

    let mut bench = House::of(&judge("i32.const 0")).bench();
    let Outcome::Permit(permit) = bench.ask(&select("1")) else {
        panic!("must pass")
    };
    bench.session.generation += 1;
    assert!(
        permit.holds(&bench.judge.current(), &bench.session, now),
        "session state was not read"
    );

    let mut bench = House::of(&judge("(drop (call $features)) i32.const 0")).bench();
    let Outcome::Permit(permit) = bench.ask(&select("1")) else {
        panic!("must pass")
    };
    assert!(
        !permit.holds(&bench.judge.current(), &bench.session, now),
        "values were read"
    );
}

#[test]
fn catches_a_shape_that_hides_a_fact() {
    // Two statements with one normalized text and different facts: what must never happen,
    // so that a remembered verdict is wrong. Judging hits again finds it.
    let plain = select("1");
    let facts = Facts {
        kind: plain.facts.kind,
        effects: plain.facts.effects,
        traits: plain.facts.traits,
        ..Facts::empty(Kind::Select)
    };
    let liar = statement(&plain.text, &plain.normalized, facts);
    let mut bench = House::of(&judge(
        "(if (i32.eqz (call $relations)) (then (return (call $refuse)))) i32.const 0",
    ))
    .bench();
    assert_eq!(verdict(&bench.ask(&plain)), "permit");
    for _ in 0..2100 {
        bench.ask(&liar);
    }
    let caught = wait_for(&bench);
    assert_eq!(caught, FaultKind::Impure);
    assert_eq!(verdict(&bench.ask(&liar)), "p/no", "its memo is off");
    assert!(!remembered(&bench.ask(&liar)));
}

fn wait_for(bench: &Bench) -> FaultKind {
    for _ in 0..2000 {
        if let Some((_, fault)) = bench.policies.take_faults().pop() {
            return fault.kind;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("nothing was caught");
}
