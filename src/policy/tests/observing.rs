//! The event hook: told off the path, bounded, and harmless when it fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::event::shown;
use super::super::{Observed, Policies};
use super::support::{House, client, judge, observing, select};
use crate::config::Mode;
use crate::model::code::{EventField, Outcome};
use crate::model::{Client, Kind, Refusal, Verdict};
use crate::telemetry::{self, ProtocolName, Record, Timings};

/// Fails when the outcome is `refused`: a fault is what can be seen from outside.
const FAILS_ON_REFUSED: &str =
    "(if (i64.eq (call $number (i32.const 1)) (i64.const 1)) (then unreachable))";

fn record(client: &Client, outcome: telemetry::Outcome, act: impl FnOnce(&Record<'_>)) {
    let statement = select("1");
    let refusal = Refusal::gate("r", "42501", "m");
    let verdict = Verdict::default();
    act(&Record {
        session: 1,
        client,
        protocol: ProtocolName::Simple,
        statement: Some(&statement),
        text: &statement.text,
        outcome,
        refusal: (outcome == telemetry::Outcome::Refused).then_some(&refusal),
        verdict: Some(&verdict),
        remembered: true,
        timings: Timings::default(),
        rows_returned: 7,
        rows_changed: None,
        incident: Some("INCIDENT"),
        sqlstate: Some("42501"),
    });
}

fn tell(policies: &Policies, client: &Client, outcome: telemetry::Outcome) {
    record(client, outcome, |record| policies.observe(record));
}

/// Waits for a fault of the event hook, at most this long.
fn fault_within(policies: &Policies, wait: Duration) -> Option<String> {
    let until = Instant::now() + wait;
    loop {
        if let Some((policy, _)) = policies.take_faults().pop() {
            return Some(policy.to_string());
        }
        if Instant::now() >= until {
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_policy_is_told_what_became_of_a_statement() {
    let policies = House::of(&observing(FAILS_ON_REFUSED)).load().unwrap();
    tell(&policies, &client("alice"), telemetry::Outcome::Allowed);
    let nothing = fault_within(&policies, Duration::from_millis(200));
    assert_eq!(nothing, None, "it was allowed");
    tell(&policies, &client("alice"), telemetry::Outcome::Refused);
    let fault = fault_within(&policies, Duration::from_secs(10));
    assert_eq!(fault.as_deref(), Some("p"));
}

#[test]
fn observing_goes_on_in_monitor_mode_and_stays_in_its_scope() {
    let mut house = House::of(&observing("unreachable"));
    house.config.policies[0].mode = Mode::Monitor;
    house.config.policies[0].users = vec!["app_*".into()];
    let policies = house.load().unwrap();
    tell(&policies, &client("alice"), telemetry::Outcome::Allowed);
    let nothing = fault_within(&policies, Duration::from_millis(200));
    assert_eq!(nothing, None, "not its client");
    tell(&policies, &client("app_web"), telemetry::Outcome::Allowed);
    assert!(fault_within(&policies, Duration::from_secs(10)).is_some());
}

#[test]
fn a_swap_changes_who_is_told() {
    let house = House::of(&judge("i32.const 0"));
    let policies = house.load().unwrap();
    tell(&policies, &client("alice"), telemetry::Outcome::Allowed);
    house.replace("p", &observing("unreachable"));
    policies.reload(&house.config).unwrap();
    tell(&policies, &client("alice"), telemetry::Outcome::Allowed);
    assert!(fault_within(&policies, Duration::from_secs(10)).is_some());
    let version = Arc::downgrade(policies.current().members()[0].version());
    house.replace("p", &judge("i32.const 0"));
    policies.reload(&house.config).unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while version.upgrade().is_some() {
        assert!(Instant::now() < until, "the old version is still held");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn events_that_nobody_has_time_for_are_dropped_and_counted() {
    let mut house = House::of(&observing("(loop br 0)"));
    // Each call runs until its budget is spent.
    house.config.policies[0].budget = Duration::from_millis(200);
    let policies = house.load().unwrap();
    let begun = Instant::now();
    for _ in 0..10_000 {
        tell(&policies, &client("alice"), telemetry::Outcome::Allowed);
    }
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "the path does not wait"
    );
    assert!(policies.dropped_events() > 0);
    assert!(fault_within(&policies, Duration::from_secs(10)).is_some());
}

#[test]
fn fields_are_known_by_their_number() {
    let mut event = Observed::allowed(client("alice"), Kind::Delete);
    event.outcome = Outcome::Monitored;
    event.rows_changed = Some(12);
    event.refusal = Some(("limits".into(), "rows".into()));
    event.statement = "DELETE FROM t".into();
    let numbers = [
        (EventField::Outcome, 5),
        (EventField::Kind, 4),
        (EventField::RowsChanged, 12),
        (EventField::Remembered, 0),
        (EventField::Statement, 0),
    ];
    for (field, expected) in numbers {
        assert_eq!(event.number(field.code()), expected, "{field}");
    }
    let texts = [
        (EventField::Policy, "limits"),
        (EventField::Rule, "rows"),
        (EventField::Statement, "DELETE FROM t"),
        (EventField::Kind, ""),
    ];
    for (field, expected) in texts {
        assert_eq!(&*event.text(field.code()), expected, "{field}");
    }
    assert_eq!((event.number(9_999), &*event.text(9_999)), (0, ""));
}

#[test]
fn a_long_statement_does_not_fill_the_queue() {
    let long = "é".repeat(5_000);
    let cut = shown(&long.as_str().into());
    assert!(cut.len() <= 2_000 && cut.len() > 1_990);
    assert!(long.starts_with(&*cut));
    let short: Arc<str> = "SELECT ?".into();
    assert!(Arc::ptr_eq(&shown(&short), &short), "shared, not copied");
}

#[test]
fn every_outcome_of_the_record_has_a_number() {
    for outcome in telemetry::Outcome::ALL {
        let known = Outcome::from_name(outcome.name());
        assert_eq!(known.map(Outcome::code), Some(outcome as u32));
    }
}
