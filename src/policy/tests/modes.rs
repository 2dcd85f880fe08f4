//! Modes, scopes, and the gate's own rules.

use std::sync::Arc;

use super::super::subject::PlanInput;
use super::super::{Asked, Brought, Outcome, Values};
use super::support::{House, client, full, judge, remembered, select, statement, verdict};
use crate::config::{Mode, OpaqueMode};
use crate::model::code::{Access, Kind, Traits, Via};
use crate::model::facts::{Facts, Relation};
use crate::model::refusal::sqlstate;
use crate::model::{Measure, Problem};

#[test]
fn monitored_policies_enforce_nothing_and_are_noted() {
    let mut house = House::of(&judge("call $refuse"));
    house.config.policies[0].mode = Mode::Monitor;
    house.add("q", &judge("(call $returned (i64.const 5)) i32.const 0"));
    let mut bench = house.bench();
    for round in 0..2 {
        let Outcome::Permit(permit) = bench.ask(&select("1")) else {
            panic!("monitor refuses nothing")
        };
        assert_eq!(permit.remembered(), round == 1);
        assert_eq!(permit.requirements().len(), 1);
        let monitored = permit.monitored().unwrap();
        assert_eq!(monitored.refusal.as_ref().unwrap().constraint(), "p/no");
    }
}

#[test]
fn a_scope_is_resolved_by_user_and_database() {
    let mut house = House::of(&judge("call $refuse"));
    house.config.policies[0].users = vec!["app_*".into()];
    house.config.policies[0].except_users = vec!["app_admin".into()];
    house.config.policies[0].databases = vec!["app".into()];
    let mut bench = house.bench();
    for (user, expected) in [
        ("app_web", "p/no"),
        ("alice", "permit"),
        ("app_admin", "permit"),
        ("app_web", "p/no"),
    ] {
        bench.client = client(user);
        assert_eq!(verdict(&bench.ask(&select("1"))), expected, "{user}");
    }
    bench.client.database = "other".into();
    assert_eq!(verdict(&bench.ask(&select("1"))), "permit");
}

#[test]
fn the_first_refusal_is_shown_and_all_are_recorded() {
    let mut house = House::new();
    house.add("b", &judge("call $refuse"));
    house.add("a", &judge("call $refuse"));
    let Outcome::Refuse(refused) = house.bench().ask(&select("1")) else {
        panic!("both refuse")
    };
    assert_eq!(refused.refusal.constraint(), "b/no");
    assert_eq!(refused.verdict.also_refused[0].constraint(), "a/no");
}

#[test]
fn the_gate_refuses_what_cannot_be_read_before_any_policy() {
    let mut bench = House::of(&judge("unreachable")).bench();
    let set = bench.judge.current();
    let problem = Problem::Untokenizable("open quote".into());
    let text = select("1");
    let asked = Asked {
        set: &set,
        client: &bench.client,
        session: &bench.session,
        statement: &text,
        analysis_problem: Some(&problem),
        values: Values::Unknown,
        opaque: OpaqueMode::Judge,
    };
    let Outcome::Refuse(refused) = bench.judge.decide_here(&asked) else {
        panic!("unreadable")
    };
    assert_eq!(
        (refused.refusal.code, &*refused.refusal.detail),
        (sqlstate::UNREADABLE, "open quote")
    );
}

#[test]
fn opaque_statements_are_refused_unless_harmless_or_judged() {
    let house = House::of(&judge("i32.const 0"));
    let mut bench = house.bench();
    let cases = [
        (Traits::OPAQUE, OpaqueMode::Refuse, "gate/opaque"),
        (
            Traits::OPAQUE | Traits::HARMLESS,
            OpaqueMode::Refuse,
            "permit",
        ),
        (
            Traits::OPAQUE | Traits::HARMLESS | Traits::UNEXPLAINED_WRITE,
            OpaqueMode::Refuse,
            "gate/opaque",
        ),
        (Traits::OPAQUE, OpaqueMode::Judge, "permit"),
    ];
    for (traits, opaque, expected) in cases {
        let facts = Facts {
            traits,
            ..Facts::empty(Kind::Other)
        };
        let text = statement("WHATEVER", "WHATEVER", facts);
        let set = bench.judge.current();
        let asked = Asked {
            set: &set,
            client: &bench.client,
            session: &bench.session,
            statement: &text,
            analysis_problem: None,
            values: Values::Unknown,
            opaque,
        };
        assert_eq!(
            verdict(&bench.judge.decide_here(&asked)),
            expected,
            "{traits:?} {opaque:?}"
        );
    }
}

#[test]
fn a_remembered_disguise_points_into_the_text_at_hand() {
    let body = "(call $disguise (i32.const 1)) call $refuse";
    let mut bench = House::of(&judge(body)).bench();
    let text = |text: &str| {
        let mut facts = Facts::empty(Kind::Select);
        facts.relations.push(Relation {
            schema: None,
            name: "trap".into(),
            access: Access::SELECT,
            via: Via::Direct,
        });
        statement(text, "SELECT * FROM trap WHERE id = ?", facts)
    };
    for (sql, position) in [
        ("SELECT * FROM trap WHERE id = 1", 14),
        ("SELECT * /* x */ FROM trap WHERE id = 2", 22),
    ] {
        let outcome = bench.ask(&text(sql));
        let Outcome::Refuse(refused) = outcome else {
            panic!("must refuse")
        };
        let hidden = refused.refusal.disguise.unwrap();
        assert_eq!(
            (&*hidden.name, hidden.noun, hidden.position),
            ("trap", "relation", Some(position))
        );
        assert_eq!(refused.remembered, position == 22);
    }
}

#[test]
fn the_plan_is_handed_to_the_policy_that_wanted_it() {
    let plan_hook = "(if (f64.gt (call $measure (i32.const 1)) (f64.const 100)) (then (return (call $refuse)))) i32.const 0";
    let mut house = House::of(&full(
        "call $want_plan i32.const 0",
        "i32.const 0",
        plan_hook,
    ));
    house.add("q", &full("i32.const 0", "i32.const 0", "call $refuse"));
    let mut bench = house.bench();
    let text = select("1");
    let Outcome::Permit(permit) = bench.ask(&text) else {
        panic!("must pass")
    };
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
    let plan = |cost| PlanInput {
        measures: vec![(Measure::TotalCost, cost)],
        json: "{}".into(),
    };
    let mut judge = |cost| {
        let plan = Arc::new(plan(cost));
        let answer = bench
            .judge
            .judge_plan(&asked, &permit, &plan, &Brought::default());
        answer.expect("nobody is waited for")
    };
    assert!(judge(10.0).is_ok(), "q did not ask for it");
    let refused = judge(1000.0).unwrap_err();
    assert_eq!(refused.refusal.constraint(), "p/no");
    let again = bench.ask(&text);
    assert!(remembered(&again), "the wish for a plan is remembered");
}
