//! The built-in policies, compiled and embedded, through the real engine.

use super::super::{Outcome, builtin};
use super::support::{Bench, House, judge, remembered, select, statement, verdict};
use crate::config::{BUILT_IN_PLUGINS, DEFAULT_POLICIES, Plugin};
use crate::model::RequirementKind;
use crate::model::code::{Access, Effects, Kind, Predicate, Traits, Via};
use crate::model::facts::{Facts, Relation};

fn bench(policies: &[(&str, &str)]) -> Bench {
    let mut house = House::new();
    for (name, settings) in policies {
        let policy = house.add(name, b"");
        policy.plugin = Plugin::BuiltIn((*name).into());
        policy.settings = (*settings).into();
    }
    let errors = match house.load() {
        Ok(policies) => return Bench::new(policies),
        Err(errors) => errors,
    };
    panic!("{errors:#?}");
}

fn write(
    kind: Kind,
    table: &str,
    access: Access,
    predicate: Predicate,
) -> std::sync::Arc<crate::model::Statement> {
    let mut facts = Facts::empty(kind);
    facts.effects = Effects::WRITES;
    facts.traits = Traits::DESTRUCTIVE;
    facts.predicate = predicate;
    facts.relations.push(Relation {
        schema: None,
        name: table.into(),
        access,
        via: Via::Direct,
    });
    let text = format!("{} {table} {}", kind.name(), predicate.name());
    statement(&text, &text, facts)
}

#[test]
fn what_the_configuration_calls_built_in_is_embedded() {
    let embedded: Vec<&str> = builtin::all().iter().map(|(name, _)| *name).collect();
    assert_eq!(embedded, BUILT_IN_PLUGINS);
    for name in DEFAULT_POLICIES {
        assert!(embedded.contains(name), "{name}");
    }
}

#[test]
fn every_built_in_policy_loads_with_its_default_settings() {
    for (name, _) in builtin::all() {
        let mut bench = bench(&[(name, "{}")]);
        assert_eq!(verdict(&bench.ask(&select("1"))), "permit", "{name}");
    }
}

#[test]
fn honeytoken_hides_its_trap_every_time() {
    let mut bench = bench(&[("honeytoken", r#"{"tables":["users"]}"#)]);
    for round in 0..2 {
        let Outcome::Refuse(refused) = bench.ask(&select("1")) else {
            panic!("must refuse")
        };
        assert_eq!(refused.refusal.disguise.unwrap().position, Some(14));
        assert_eq!(refused.verdict.alerts.len(), 1, "raised on every hit");
        assert_eq!(refused.remembered, round == 1);
    }
}

#[test]
fn require_where_refuses_delete_without_predicate() {
    let mut bench = bench(&[("require-where", "{}")]);
    let all = write(Kind::Delete, "users", Access::DELETE, Predicate::None);
    assert!(verdict(&bench.ask(&all)).starts_with("require-where/"));
    let some = write(Kind::Delete, "users", Access::DELETE, Predicate::Real);
    assert_eq!(verdict(&bench.ask(&some)), "permit");
}

#[test]
fn table_limit_bounds_rows() {
    let mut bench = bench(&[("table-limit", r#"{"users":100,"sensitive_*":10}"#)]);
    let Outcome::Permit(permit) = bench.ask(&write(
        Kind::Delete,
        "users",
        Access::DELETE,
        Predicate::Real,
    )) else {
        panic!("must pass under a limit")
    };
    let bounded = permit.requirements().iter().any(|requirement| {
        matches!(
            requirement.kind,
            RequirementKind::TableRowsMax {
                changed: Some(100),
                ..
            }
        )
    });
    assert!(bounded, "{:?}", permit.requirements());
}

#[test]
fn the_whole_chain_is_remembered_in_the_steady_state() {
    let mut bench = bench(&[
        ("honeytoken", r#"{"tables":["trap_*"]}"#),
        ("require-where", "{}"),
        ("table-limit", r#"{"users":100}"#),
        (
            "rate-limit",
            r#"{"buckets":[{"name":"all","by":["user"],"burst":1000,"per":"1s"}]}"#,
        ),
        ("plan-guard", r#"{"max_cost":1000}"#),
    ]);
    bench.ask(&select("1"));
    bench.settle();
    bench.ask(&select("1"));
    let calls = bench.judge.stats().calls;
    for number in 0..5000 {
        let outcome = bench.ask(&select(&format!("value {number}")));
        assert!(remembered(&outcome), "{number}");
    }
    assert_eq!(
        bench.judge.stats().calls,
        calls,
        "no call in the steady state"
    );
}

#[test]
fn a_setting_that_is_wrong_is_named() {
    let mut house = House::new();
    house.add("table-limit", b"").plugin = Plugin::BuiltIn("table-limit".into());
    house.config.policies[0].settings = r#"{"users":"many"}"#.into();
    let errors = house.load().unwrap_err();
    assert!(errors[0].path.is_some(), "{errors:?}");
    house.config.policies[0].settings = r#"{"a.b.c":5}"#.into();
    assert!(house.load().unwrap_err()[0].message.contains("a.b.c"));
}

#[test]
fn a_file_may_take_the_place_of_a_default_policy() {
    let mut house = House::new();
    house.add("require-where", &judge("call $refuse"));
    assert_eq!(
        verdict(&house.bench().ask(&select("1"))),
        "require-where/no"
    );
}
