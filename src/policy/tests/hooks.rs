//! The connection and plan hooks: who is asked, and what the answers are worth.

use super::super::subject::PlanInput;
use super::super::{Asked, Brought, Outcome, Passed, Refused, Values};
use super::support::{Bench, House, client, full, judge, select};
use crate::config::{Mode, OnFault, OpaqueMode};
use crate::model::Measure;
use crate::model::refusal::sqlstate;

const PASS: &str = "i32.const 0";
const REFUSE: &str = "call $refuse";

fn connects(bench: &mut Bench) -> Result<Passed, Box<Refused>> {
    bench.connects()
}

fn connection(hook: &str) -> Vec<u8> {
    full(PASS, hook, PASS)
}

#[test]
fn one_refusal_is_enough_and_every_refusal_is_kept() {
    let mut house = House::of(&connection(PASS));
    house.add("q", &connection(REFUSE));
    house.add("r", &connection(REFUSE));
    let refused = connects(&mut house.bench()).unwrap_err();
    assert_eq!(refused.refusal.constraint(), "q/no");
    assert_eq!(refused.refusal.code, sqlstate::REFUSED);
    assert_eq!(refused.verdict.also_refused[0].constraint(), "r/no");
}

#[test]
fn policies_without_the_hook_are_not_called() {
    let mut bench = House::of(&judge(REFUSE)).bench();
    assert!(connects(&mut bench).is_ok());
    assert_eq!(bench.judge.stats().calls, 0);
}

#[test]
fn a_monitored_connection_hook_is_asked_and_only_noted() {
    let mut house = House::of(&connection(REFUSE));
    house.config.policies[0].mode = Mode::Monitor;
    let passed = connects(&mut house.bench()).unwrap();
    let monitored = passed.monitored.unwrap();
    assert_eq!(monitored.refusal.as_ref().unwrap().constraint(), "p/no");
    assert!(passed.verdict.refusal.is_none());
}

#[test]
fn a_scope_holds_for_connections_too() {
    let mut house = House::of(&connection(REFUSE));
    house.config.policies[0].except_users = vec!["admin".into()];
    let mut bench = house.bench();
    assert!(connects(&mut bench).is_err());
    bench.client = client("admin");
    assert!(connects(&mut bench).is_ok());
}

#[test]
fn a_hook_that_fails_counts_as_its_configuration_says() {
    let mut house = House::of(&connection("unreachable"));
    let refused = connects(&mut house.bench()).unwrap_err();
    assert_eq!(refused.refusal.constraint(), "p/fault");
    assert_eq!(refused.refusal.code, sqlstate::POLICY_FAULT);
    assert!(refused.refusal.message.contains("the connection was not"));
    assert_eq!(refused.faults.len(), 1);

    house.config.policies[0].on_fault = OnFault::Allow;
    let mut bench = house.bench();
    let passed = connects(&mut bench).unwrap();
    assert_eq!(&*passed.faults[0].0, "p", "allowed, but not forgotten");
    assert_eq!(bench.policies.current().members()[0].version().faulted(), 1);
}

#[test]
fn the_last_good_version_answers_for_one_that_fails() {
    let mut house = House::of(&connection(REFUSE));
    house.config.policies[0].on_fault = OnFault::LastGood;
    let mut bench = house.bench();
    house.replace("p", &connection("unreachable"));
    bench.policies.reload(&house.config).unwrap();
    let refused = connects(&mut bench).unwrap_err();
    assert_eq!(refused.refusal.constraint(), "p/no");
    assert_eq!(refused.faults.len(), 1);
}

#[test]
fn a_condition_on_a_connection_is_a_fault_and_not_a_promise() {
    let hook = "(call $returned (i64.const 5)) i32.const 0";
    let refused = connects(&mut House::of(&connection(hook)).bench()).unwrap_err();
    assert_eq!(refused.refusal.constraint(), "p/fault");
    assert!(refused.faults[0].1.message.contains("rows-returned-max"));
}

#[test]
fn a_swap_is_noticed_by_those_who_wait_and_changes_the_answer() {
    let house = House::of(&connection(PASS));
    let mut bench = house.bench();
    let swaps = bench.judge.swaps();
    assert!(connects(&mut bench).is_ok());
    assert!(!swaps.has_changed().unwrap());
    house.replace("p", &connection(REFUSE));
    bench.policies.reload(&house.config).unwrap();
    assert!(swaps.has_changed().unwrap());
    assert!(connects(&mut bench).is_err());
}

/// What comes of a plan of this cost, for a statement whose policy wanted it.
fn plan(house: &House, cost: f64) -> Result<Passed, Box<Refused>> {
    let mut bench = house.bench();
    let text = select("1");
    let Outcome::Permit(permit) = bench.ask(&text) else {
        panic!("the statement itself must pass")
    };
    assert!(bench.judge.wants_plan(&permit));
    let set = bench.judge.current();
    let asked = Asked {
        set: &set,
        client: &bench.client,
        session: &bench.session,
        statement: &text,
        analysis_problem: None,
        values: Values::Known(&[]),
        opaque: OpaqueMode::Refuse,
    };
    let plan = PlanInput {
        measures: vec![(Measure::TotalCost, cost)],
        json: "{}".into(),
    };
    bench
        .judge
        .judge_plan(&asked, &permit, &plan.into(), &Brought::default())
        .expect("nobody is waited for")
}

const WANTS: &str = "call $want_plan i32.const 0";

#[test]
fn a_plan_is_judged_by_its_measures() {
    let hook = "(if (f64.gt (call $measure (i32.const 1)) (f64.const 100)) (then (return (call $refuse)))) i32.const 0";
    let house = House::of(&full(WANTS, PASS, hook));
    assert!(plan(&house, 100.0).is_ok());
    assert_eq!(
        plan(&house, 101.0).unwrap_err().refusal.constraint(),
        "p/no"
    );
}

#[test]
fn who_wants_a_plan_and_cannot_judge_it_has_failed() {
    let house = House::of(&judge(WANTS));
    let refused = plan(&house, 1.0).unwrap_err();
    assert_eq!(refused.refusal.constraint(), "p/fault");
    assert!(refused.refusal.message.contains("the plan was not judged"));
}

#[test]
fn a_permit_without_the_wish_wants_no_plan() {
    let mut bench = House::of(&full(PASS, PASS, REFUSE)).bench();
    let Outcome::Permit(permit) = bench.ask(&select("1")) else {
        panic!("must pass")
    };
    assert!(!bench.judge.wants_plan(&permit));
}
