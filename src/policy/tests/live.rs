//! What operators change while the gate runs.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::super::live::{Change, LiveError, Report};
use super::super::{Asked, FaultKind, Outcome, Permit, Policies, Values};
use super::support::{Bench, House, client, judge, select, shape, verdict};
use crate::config::{Mode, OnFault, OpaqueMode};
use crate::model::{Client, Statement};

fn change() -> Change {
    Change {
        by: "ann (uid 0)".to_owned(),
        lasts: None,
    }
}

/// Asks as a session whose client this is.
fn ask_as(bench: &mut Bench, client: &Client, statement: &Arc<Statement>) -> Outcome {
    let set = bench.judge.current();
    bench.judge.decide_here(&Asked {
        set: &set,
        client,
        session: &bench.session,
        statement,
        analysis_problem: None,
        values: Values::Known(&[]),
        opaque: OpaqueMode::Refuse,
    })
}

fn started(house: &House) -> Bench {
    Bench::new(Policies::start(&house.config).unwrap())
}

#[test]
fn another_mode_holds_over_restarts_until_it_is_taken_back() {
    let house = House::of(&judge("call $refuse"));
    let mut bench = started(&house);
    assert_eq!(verdict(&bench.ask(&select("1"))), "p/no");
    for mode in [Mode::Monitor, Mode::Off] {
        let policies = &bench.policies;
        policies
            .set_mode(&house.config, "p", mode, &change())
            .unwrap();
        assert_eq!(verdict(&bench.ask(&select("1"))), "permit");
        bench.policies.reload(&house.config).unwrap();
        assert_eq!(
            verdict(&bench.ask(&select("1"))),
            "permit",
            "after a reload"
        );
        bench = started(&house);
        assert_eq!(
            verdict(&bench.ask(&select("1"))),
            "permit",
            "after a restart"
        );
        let lines = bench.policies.lines(&house.config);
        assert_eq!(lines[0].mode, mode);
        assert_eq!(lines[0].policy.mode, Mode::Enforce);
        assert_eq!(lines[0].differs.as_ref().unwrap().by, "ann (uid 0)");
    }
    bench.policies.take_back(&house.config, "p").unwrap();
    assert_eq!(verdict(&bench.ask(&select("1"))), "p/no");
    assert_eq!(verdict(&started(&house).ask(&select("1"))), "p/no");
}

#[test]
fn an_override_ends_by_itself() {
    let house = House::of(&judge("call $refuse"));
    let mut bench = started(&house);
    let short = Change {
        lasts: Some(Duration::from_secs(1)),
        ..change()
    };
    let policies = bench.policies.clone();
    policies
        .set_mode(&house.config, "p", Mode::Off, &short)
        .unwrap();
    assert!(!policies.expire(&house.config).unwrap());
    assert_eq!(verdict(&bench.ask(&select("1"))), "permit");
    std::thread::sleep(Duration::from_millis(1100));
    assert!(policies.expire(&house.config).unwrap());
    assert_eq!(verdict(&bench.ask(&select("1"))), "p/no");
    assert_eq!(policies.overrides().iter(SystemTime::now()).count(), 0);
}

#[test]
fn the_version_before_judges_again_and_the_file_when_that_is_taken_back() {
    let house = House::of(&judge("call $refuse"));
    let mut bench = started(&house);
    let policies = bench.policies.clone();
    let none = policies.roll_back(&house.config, "p", None, &change());
    assert!(matches!(none, Err(LiveError::NoEarlier(_))), "{none:?}");
    house.replace("p", &judge("i32.const 0"));
    policies.reload(&house.config).unwrap();
    assert_eq!(verdict(&bench.ask(&select("1"))), "permit");
    let (entry, _) = policies
        .roll_back(&house.config, "p", None, &change())
        .unwrap();
    assert_eq!(verdict(&bench.ask(&select("1"))), "p/no");
    // A new build of the file does not undo it, and neither does a restart.
    house.replace("p", &judge("unreachable"));
    policies.reload(&house.config).unwrap();
    assert_eq!(verdict(&bench.ask(&select("1"))), "p/no");
    assert_eq!(verdict(&started(&house).ask(&select("1"))), "p/no");
    policies.take_back(&house.config, "p").unwrap();
    assert_eq!(verdict(&bench.ask(&select("1"))), "p/fault");
    let named = policies.roll_back(&house.config, "p", Some(&entry.sha256[..8]), &change());
    assert_eq!(named.unwrap().0.sha256, entry.sha256);
    assert_eq!(verdict(&bench.ask(&select("1"))), "p/no");
    let wrong = policies.roll_back(&house.config, "p", Some("zzz"), &change());
    assert!(matches!(wrong, Err(LiveError::NoSuch { .. })), "{wrong:?}");
}

#[test]
fn a_command_that_fails_changes_nothing() {
    let house = House::of(&judge("call $refuse"));
    let mut bench = started(&house);
    let policies = bench.policies.clone();
    let unknown = policies.set_mode(&house.config, "q", Mode::Off, &change());
    assert!(
        unknown
            .unwrap_err()
            .to_string()
            .contains("there is no policy `q`")
    );
    house.replace("p", b"no component");
    let broken = policies.set_mode(&house.config, "p", Mode::Monitor, &change());
    assert!(matches!(broken, Err(LiveError::Load(_))), "{broken:?}");
    assert_eq!(verdict(&bench.ask(&select("1"))), "p/no");
    assert_eq!(policies.overrides().iter(SystemTime::now()).count(), 0);
    let state = house.config.state_dir.as_ref().unwrap();
    let written = std::fs::read_to_string(state.join("overrides.json")).unwrap();
    assert_eq!(written, "{}");
}

#[test]
fn overrides_that_cannot_be_read_stop_the_start() {
    let house = House::of(&judge("call $refuse"));
    let state = house.config.state_dir.as_ref().unwrap();
    std::fs::create_dir_all(state).unwrap();
    for text in [
        "{",
        "{\"p\": {\"mode\": \"none\", \"by\": \"\", \"at\": 0}}",
        "[]",
    ] {
        std::fs::write(state.join("overrides.json"), text).unwrap();
        let errors = Policies::start(&house.config).unwrap_err();
        assert!(errors[0].message.contains("overrides.json"), "{errors:?}");
        // Looking at the configuration is about the configuration.
        assert!(Policies::load(&house.config).is_ok());
    }
    let gone = format!(
        "{{\"p\": {{\"component\": \"{}\", \"by\": \"\", \"at\": 0}}}}",
        "a".repeat(64)
    );
    std::fs::write(state.join("overrides.json"), gone).unwrap();
    let errors = Policies::start(&house.config).unwrap_err();
    assert!(errors[0].message.contains("not kept"), "{errors:?}");
}

/// Waits until a candidate has judged so many.
fn judged(policies: &Policies, count: u64) -> Report {
    for _ in 0..2000 {
        let (_, _, _, report) = policies.shadow_report().unwrap();
        if report.judged + report.faults >= count {
            return report;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("{:?}", policies.shadow_report());
}

#[test]
fn a_candidate_sees_every_decision_and_decides_nothing_until_it_is_promoted() {
    let house = House::of(&judge("call $refuse"));
    let mut bench = started(&house);
    let policies = bench.policies.clone();
    // It lets statements without relations pass, which the other one refuses.
    let file = house.replace(
        "new",
        &judge("(if (result i32) (call $relations) (then (call $refuse)) (else (i32.const 0)))"),
    );
    for _ in 0..3 {
        bench.ask(&select("1"));
    }
    policies.shadow(&house.config, "p", &file).unwrap();
    let busy = policies.shadow(&house.config, "p", &file);
    assert!(matches!(busy, Err(LiveError::Busy(_))), "{busy:?}");
    for _ in 0..4 {
        assert_eq!(verdict(&bench.ask(&select("1"))), "p/no");
        assert_eq!(verdict(&bench.ask(&shape(1))), "p/no");
    }
    let report = judged(&policies, 8);
    assert_eq!((report.judged, report.same, report.dropped), (8, 4, 0));
    let difference = &report.differences[0];
    assert_eq!(
        (&*difference.live, &*difference.candidate),
        ("refuse no", "allow")
    );
    assert_eq!(difference.count, 4);
    assert_eq!(&*difference.examples[0], "SELECT 1 FROM users");
    policies.promote(&house.config, "p", &change()).unwrap();
    assert!(policies.shadow_report().is_none());
    assert_eq!(verdict(&bench.ask(&shape(1))), "permit");
    assert_eq!(verdict(&bench.ask(&select("1"))), "p/no");
    let mut again = started(&house);
    assert_eq!(verdict(&again.ask(&shape(1))), "permit", "after a restart");
    again.policies.take_back(&house.config, "p").unwrap();
    assert_eq!(verdict(&again.ask(&shape(1))), "p/no");
}

#[test]
fn a_permit_does_not_hold_while_a_candidate_looks() {
    let house = House::of(&judge("i32.const 0"));
    let mut bench = started(&house);
    let file = house.replace("new", &judge("unreachable"));
    let policies = bench.policies.clone();
    let permit = |bench: &mut Bench| match bench.ask(&select("1")) {
        Outcome::Permit(permit) => permit,
        other => panic!("{other:?}"),
    };
    let holds = |bench: &Bench, permit: &Permit| {
        permit.holds(&bench.policies.current(), &bench.session, SystemTime::now())
    };
    let before = permit(&mut bench);
    assert!(holds(&bench, &before));
    policies.shadow(&house.config, "p", &file).unwrap();
    assert!(!holds(&bench, &before));
    let during = permit(&mut bench);
    assert!(!holds(&bench, &during));
    let report = judged(&policies, 1);
    assert_eq!((report.judged, report.faults), (0, 1));
    assert!(report.fault.unwrap().starts_with("trap"));
    policies.end_shadow("p").unwrap();
    let after = permit(&mut bench);
    assert!(holds(&bench, &after));
}

#[test]
fn a_version_that_fails_widely_is_not_asked_until_it_is_released() {
    let mut house = House::of(&judge(
        "(if (i32.eqz (call $relations)) (then unreachable)) i32.const 0",
    ));
    house.config.policies[0].on_fault = OnFault::Refuse;
    let mut bench = started(&house);
    let policies = bench.policies.clone();
    let others = [client("alice"), client("bob")];
    assert_eq!(verdict(&bench.ask(&select("1"))), "permit");
    let ask = |bench: &mut Bench, who: usize, statement: &Arc<Statement>| {
        ask_as(bench, &others[who], statement)
    };
    for (who, number) in [(0, 1), (0, 2), (0, 3)] {
        ask(&mut bench, who, &shape(number));
    }
    assert_eq!(
        verdict(&ask(&mut bench, 0, &select("1"))),
        "permit",
        "one session is not enough"
    );
    ask(&mut bench, 1, &shape(1));
    let Outcome::Refuse(refused) = ask(&mut bench, 1, &select("1")) else {
        panic!("it is not asked any more, nor is it remembered")
    };
    assert_eq!(refused.faults[0].1.kind, FaultKind::Quarantined);
    assert_eq!(refused.refusal.code, "58000");
    let calls = bench.judge.stats().calls;
    ask(&mut bench, 0, &shape(9));
    assert_eq!(bench.judge.stats().calls, calls);
    assert!(policies.lines(&house.config)[0].quarantined.is_some());
    policies.reload(&house.config).unwrap();
    assert_eq!(
        verdict(&ask(&mut bench, 0, &select("1"))),
        "p/fault",
        "a reload changes nothing"
    );
    policies.release(&house.config, "p").unwrap();
    assert_eq!(verdict(&ask(&mut bench, 0, &select("1"))), "permit");
    assert!(matches!(
        policies.release(&house.config, "p"),
        Err(LiveError::NotQuarantined(_))
    ));
}

#[test]
fn where_failing_lets_pass_nothing_is_quarantined() {
    let mut house = House::of(&judge("unreachable"));
    house.config.policies[0].on_fault = OnFault::Allow;
    let mut bench = started(&house);
    let others = [client("alice"), client("bob")];
    for number in 0..6 {
        let outcome = ask_as(&mut bench, &others[number % 2], &shape(number));
        assert_eq!(verdict(&outcome), "permit");
    }
    assert!(bench.policies.lines(&house.config)[0].quarantined.is_none());
}
