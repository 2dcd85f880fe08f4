//! What loads, what does not, and what a reload changes.

use std::sync::Arc;

use super::super::Policies;
use super::support::{
    Bench, House, core, encode, full, judge, remembered, select, verdict, with, with_manifest,
};
use crate::config::{Mode, OnFault, Plugin, PolicyConfig, Position};

fn message(component: &[u8]) -> String {
    let errors = House::of(component).load().unwrap_err();
    assert_eq!(&*errors[0].policy, "p");
    errors[0].message.clone()
}

#[test]
fn says_what_is_wrong_with_a_file() {
    let core_module = core("", "i32.const 1024", "i32.const 0");
    let mut cut = judge("i32.const 0");
    cut.truncate(cut.len() / 2);
    let huge = [judge("i32.const 0"), vec![0; 9 << 20]].concat();
    let cases: &[(&[u8], &str)] = &[
        (b"", "is not WebAssembly"),
        (b"garbage, certainly not a component", "is not WebAssembly"),
        (b"\x7fELF\x02\x01\x01", "precompiled"),
        (&core_module, "core WebAssembly module, not a component"),
        (&cut, "not a valid component"),
        (&huge, "may have"),
    ];
    for (bytes, expected) in cases {
        let message = message(bytes);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn names_the_version_that_has_what_is_missing() {
    let wit = include_str!("../../../wit/policy.wit")
        .replace("portcullis:policy@0.1.0", "portcullis:policy@0.1.7")
        .replace(
            "learn: func(learned: string);",
            "learn: func(learned: string); quarantine: func();",
        );
    let text = r#"(import "portcullis:policy/verdict@0.1.7" "quarantine" (func $quarantine))"#;
    let module = wat::parse_str(format!(
        r#"(module {text} (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 8192)
        (func (export "portcullis:policy/policy@0.1.7#configure") (param i32 i32) (result i32) i32.const 1024)
        (func (export "portcullis:policy/policy@0.1.7#judge") (param i32 i64 i64) (result i32) call $quarantine i32.const 0))"#
    ));
    let message = message(&encode(&module.unwrap(), &wit, "simple"));
    assert!(
        message.contains("needs portcullis 0.1.7 or newer"),
        "{message}"
    );
    assert!(message.contains("verdict.quarantine"), "{message}");
}

#[test]
fn knows_every_function_of_the_interface() {
    let wit = include_str!("../../../wit/policy.wit");
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("policy.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some("imports")).unwrap();
    for (_, item) in &resolve.worlds[world].imports {
        let wit_parser::WorldItem::Interface { id, .. } = item else {
            continue;
        };
        let interface = &resolve.interfaces[*id];
        let name = interface.name.as_deref().unwrap_or_default();
        let known = super::super::wasm::KNOWN
            .iter()
            .find(|(known, _)| *known == name);
        let known: Vec<&str> = known
            .unwrap_or_else(|| panic!("{name}"))
            .1
            .split_whitespace()
            .collect();
        let declared: Vec<&str> = interface.functions.keys().map(String::as_str).collect();
        assert!(
            declared.iter().all(|function| known.contains(function)),
            "{name}: {declared:?} {known:?}"
        );
        assert_eq!(known.len(), declared.len(), "{name}");
    }
}

#[test]
fn refuses_a_manifest_that_lies() {
    let component = judge("call $refuse");
    let case = r#"{"sql":"SELECT 1","expect":{"decision":"pass"}}"#;
    let lying = r#"{"name":"p","version":"1","interface":"0.1","cases":[{"connection":true,"expect":{"decision":"refuse"}}]}"#;
    let text = message(&with_manifest(component.clone(), lying));
    assert!(text.contains("golden case 1"), "{text}");
    let future = format!(r#"{{"name":"p","version":"1","interface":"0.9","cases":[{case}]}}"#);
    assert!(message(&with_manifest(component.clone(), &future)).contains("0.9"));
    let greedy = r#"{"name":"p","version":"1","interface":"0.1","capabilities":["network"]}"#;
    assert!(message(&with_manifest(component.clone(), greedy)).contains("network"));
    let mut house = House::of(&with_manifest(component, greedy));
    house.config.policies[0].grants.push("network".into());
    assert!(house.load().is_ok());
}

/// `configure` answers with one issue at `/limits/3`.
fn with_issue() -> Vec<u8> {
    with(
        r#"(data (i32.const 512) "\01\00\00\00\10\02\00\00\01\00\00\00" "\00\00\00\00"
            "\40\02\00\00\09\00\00\00\50\02\00\00\07\00\00\00\60\02\00\00\0c\00\00\00")
           (data (i32.const 576) "/limits/3") (data (i32.const 592) "too big") (data (i32.const 608) "say it lower")"#,
        "i32.const 512",
        "i32.const 0",
    )
}

#[test]
fn points_at_the_setting_that_is_wrong() {
    let mut house = House::of(&with_issue());
    let place = Position {
        line: 12,
        column: 5,
    };
    house.config.policies[0].positions = vec![
        (String::new(), Position { line: 9, column: 1 }),
        ("/limits".into(), place),
    ]
    .into();
    let errors = house.load().unwrap_err();
    assert_eq!(errors[0].message, "too big");
    assert_eq!(errors[0].hint, "say it lower");
    assert_eq!(errors[0].path.as_deref(), Some("/limits/3"));
    assert_eq!(
        errors[0].position,
        Some(place),
        "the nearest place around it"
    );
}

#[test]
fn a_policy_that_fails_in_configure_does_not_load() {
    for (configure, expected) in [
        ("unreachable", "trap"),
        ("(loop br 0) i32.const 1024", "timeout"),
    ] {
        let message = message(&with("", configure, "i32.const 0"));
        assert!(
            message.contains("configure") && message.contains(expected),
            "{message}"
        );
    }
}

#[test]
fn reports_every_problem_at_once() {
    let mut house = House::of(b"garbage");
    house.add("q", b"more garbage");
    house.add("r", &judge("i32.const 0")).plugin = Plugin::BuiltIn("no-such-policy".into());
    assert_eq!(house.load().unwrap_err().len(), 3);
}

#[test]
fn a_reload_takes_effect_with_the_next_statement() {
    let house = House::of(&judge("i32.const 0"));
    let mut bench = house.bench();
    assert_eq!(verdict(&bench.ask(&select("1"))), "permit");
    house.replace("p", &judge("call $refuse"));
    let report = bench.policies.reload(&house.config).unwrap();
    assert_eq!(report.changed, ["p".into()]);
    let outcome = bench.ask(&select("1"));
    assert_eq!(
        (verdict(&outcome).as_str(), remembered(&outcome)),
        ("p/no", false)
    );
}

#[test]
fn a_broken_replacement_changes_nothing() {
    let mut house = House::of(&judge("call $refuse"));
    house.add("q", &judge("i32.const 0"));
    let mut bench = house.bench();
    let generation = bench.policies.current().generation();
    house.replace("q", b"half a fi");
    house.replace("p", &judge("i32.const 0"));
    let errors = bench.policies.reload(&house.config).unwrap_err();
    assert_eq!(&*errors[0].policy, "q");
    assert_eq!(bench.policies.current().generation(), generation);
    assert_eq!(
        verdict(&bench.ask(&select("1"))),
        "p/no",
        "not even the good half is taken"
    );
}

#[test]
fn a_reload_says_what_is_used_in_another_way() {
    type Change = fn(&mut PolicyConfig);
    let changes: [(Change, bool); 5] = [
        (|policy| policy.mode = Mode::Monitor, true),
        (|policy| policy.on_fault = OnFault::Allow, true),
        (|policy| policy.except_users = vec!["admin".into()], true),
        (|policy| policy.positions = Default::default(), false),
        (|policy| policy.settings = "{\"a\":1}".into(), false),
    ];
    for (index, (change, adjusted)) in changes.into_iter().enumerate() {
        let mut house = House::of(&judge("i32.const 0"));
        house.add("q", &judge("i32.const 0"));
        let policies = house.load().unwrap();
        change(&mut house.config.policies[0]);
        let report = policies.reload(&house.config).unwrap();
        let expected: &[Arc<str>] = if adjusted { &["p".into()] } else { &[] };
        assert_eq!(report.adjusted, expected, "change {index}");
        assert!(report.unchanged.contains(&"q".into()));
        assert_eq!(report.changed.is_empty(), index != 4, "change {index}");
        assert!(!report.reordered);
    }
}

#[test]
fn a_reload_notices_another_order() {
    let mut house = House::of(&judge("i32.const 0"));
    house.add("q", &judge("i32.const 0"));
    house.add("r", &judge("i32.const 0"));
    let policies = house.load().unwrap();
    house.config.policies.remove(1);
    assert!(!policies.reload(&house.config).unwrap().reordered, "a gap");
    house.config.policies.swap(0, 1);
    let report = policies.reload(&house.config).unwrap();
    assert!(report.reordered);
    assert_eq!(report.unchanged.len(), 2);
}

#[test]
fn unchanged_policies_keep_what_they_remember() {
    let mut house = House::of(&judge("i32.const 0"));
    let mut bench = house.bench();
    bench.ask(&select("1"));
    let report = bench.policies.reload(&house.config).unwrap();
    assert_eq!(report.unchanged, ["p".into()]);
    assert!(remembered(&bench.ask(&select("1"))), "the same chain");
    house.add("q", &judge("i32.const 0"));
    bench.policies.reload(&house.config).unwrap();
    let calls = bench.judge.stats().calls;
    bench.ask(&select("1"));
    assert_eq!(
        bench.judge.stats().calls,
        calls + 1,
        "only the new one is asked"
    );
}

#[test]
fn an_idle_worker_keeps_no_old_set_alive() {
    let house = House::of(&judge("i32.const 0"));
    let mut bench = house.bench();
    let mut idle = Bench::new(bench.policies.clone());
    idle.ask(&select("1"));
    bench.ask(&select("1"));
    let old = std::sync::Arc::downgrade(bench.policies.current().members()[0].version());
    house.replace("p", &judge("call $refuse"));
    bench.policies.reload(&house.config).unwrap();
    assert_eq!(bench.policies.sets_alive(), 1);
    assert!(old.upgrade().is_none(), "its instances are gone with it");
}

#[test]
fn a_permit_of_the_old_set_holds_no_longer() {
    let house = House::of(&judge("i32.const 0"));
    let mut bench = house.bench();
    let super::super::Outcome::Permit(permit) = bench.ask(&select("1")) else {
        panic!("must pass")
    };
    let now = std::time::SystemTime::now();
    assert!(permit.holds(&bench.judge.current(), &bench.session, now));
    bench.policies.reload(&house.config).unwrap();
    assert!(!permit.holds(&bench.judge.current(), &bench.session, now));
}

#[test]
fn a_policy_that_is_off_is_not_even_read() {
    let mut house = House::of(b"garbage");
    house.config.policies[0].mode = Mode::Off;
    assert_eq!(verdict(&house.bench().ask(&select("1"))), "permit");
}

#[test]
fn golden_cases_ask_the_hooks() {
    let component = full("i32.const 0", "call $refuse", "i32.const 0");
    let manifest = r#"{"name":"p","version":"1","interface":"0.1","cases":[{"connection":true,"expect":{"decision":"refuse","rule":"no"}}]}"#;
    let house = House::of(&with_manifest(component, manifest));
    let policies = Policies::load(&house.config).unwrap();
    let mut bench = Bench::new(policies);
    let refused = bench.connects().unwrap_err();
    assert_eq!(refused.refusal.constraint(), "p/no");
}

#[test]
fn no_old_answer_after_a_swap_was_reported() {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    let bodies = [judge("i32.const 0"), judge("call $refuse")];
    let house = House::of(&bodies[0]);
    let policies = house.load().unwrap();
    let (stop, reported) = (
        AtomicBool::new(false),
        AtomicU64::new(policies.current().generation()),
    );
    std::thread::scope(|scope| {
        let worker = || {
            let mut bench = Bench::new(policies.clone());
            while !stop.load(Ordering::SeqCst) {
                let least = reported.load(Ordering::SeqCst);
                let set = bench.judge.current();
                assert!(set.generation() >= least);
                let refused = verdict(&bench.ask(&select("1"))) == "p/no";
                // The set asked may be newer by now, but an even generation that stays refuses.
                if bench.judge.current().generation() == set.generation() {
                    assert_eq!(refused, set.generation().is_multiple_of(2));
                }
            }
            assert_eq!(bench.judge.stats().faults, 0);
        };
        let workers = [
            scope.spawn(worker),
            scope.spawn(worker),
            scope.spawn(worker),
        ];
        for round in 1..=60 {
            house.replace("p", &bodies[round % 2]);
            let report = policies.reload(&house.config).unwrap();
            reported.store(report.generation, Ordering::SeqCst);
        }
        stop.store(true, Ordering::SeqCst);
        for worker in workers {
            worker.join().unwrap();
        }
    });
    assert_eq!(policies.sets_alive(), 1);
}

#[test]
fn a_second_start_compiles_nothing() {
    let house = House::of(&judge("i32.const 0"));
    house.load().unwrap();
    let folder = house
        .config
        .state_dir
        .clone()
        .unwrap()
        .join("cache")
        .join("policies");
    let count = || walk(&folder);
    // The cache is written behind the scenes.
    for _ in 0..500 {
        if count() > 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let first = count();
    assert!(first > 0, "nothing in {}", folder.display());
    house.load().unwrap();
    assert_eq!(count(), first);
}

/// Files of compiled code; statistics beside them do not count.
fn walk(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let count = |path: std::path::PathBuf| match path.is_dir() {
        true => walk(&path),
        false => usize::from(path.extension().is_none()),
    };
    entries.map(|entry| count(entry.path())).sum()
}
