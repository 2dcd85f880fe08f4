//! Nanoseconds of a decision: remembered, judged by a warm instance, seen for the first time.
//!
//! `cargo bench --bench decide`. The policies are the default ones, configured
//! as in the bench of the whole gate: fifty honeytokens, limits, a rate that is
//! never reached, plan-guard on.

use std::hint::black_box;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use portcullis::config::{
    Config, LogConfig, Mode, OnFault, OpaqueMode, Plugin, PolicyConfig, Runtime,
};
use portcullis::model::facts::{Class, Facts, Relation, Statement};
use portcullis::model::{
    Access, BindValue, Client, Dialect, Effects, Kind, Predicate, SessionFacts, Traits, Via,
};
use portcullis::policy::wasm::{Engine, Hook, Limits};
use portcullis::policy::{Asked, Judge, Outcome, Policies, Setup, Subject, Values, builtin};

const ROUNDS: usize = 7;

fn main() {
    let traps: Vec<String> = (0..50).map(|n| format!("\"trap_{n}_*\"")).collect();
    let settings = [
        ("honeytoken", format!("{{\"tables\":[{}]}}", traps.join(","))),
        ("require-where", "{}".to_owned()),
        ("table-limit", "{\"pgbench_*\":1000,\"app.users\":10}".to_owned()),
        (
            "rate-limit",
            "{\"buckets\":[{\"name\":\"all\",\"by\":[\"user\"],\"burst\":1000000000,\"per\":\"1s\"}]}".to_owned(),
        ),
        ("plan-guard", "{\"max_cost\":1000000}".to_owned()),
    ];
    let state = std::env::temp_dir().join(format!("portcullis-bench-{}", std::process::id()));
    let policies = match Policies::load(&config(&settings, &state)) {
        Ok(policies) => policies,
        Err(errors) => {
            for error in errors {
                eprintln!("{error} {}", error.hint);
            }
            std::process::exit(1);
        }
    };
    let mut judge = Judge::new(policies.clone());
    remembered(&mut judge);
    first_sight(&mut judge);
    for (name, settings) in &settings {
        warm(name, settings);
    }
    println!(
        "judged again beside the path: {}, faults: {:?}",
        policies.checked(),
        policies.take_faults()
    );
    let _ = std::fs::remove_dir_all(state);
}

fn remembered(judge: &mut Judge) {
    let text = statement(0, 1);
    let value = [BindValue {
        type_oid: 23,
        binary: false,
        bytes: Some("12345".into()),
    }];
    let word = [BindValue {
        type_oid: 25,
        binary: false,
        bytes: Some("a text of some words".into()),
    }];
    for (name, values) in [("number", &value[..]), ("text", &word[..])] {
        time(
            &format!("remembered, bind value is a {name}"),
            100_000,
            |_| {
                black_box(decide(judge, &text, Values::Known(values)));
            },
        );
    }
    let set = judge.current();
    let session = SessionFacts::default();
    if let Outcome::Permit(permit) = decide(judge, &text, Values::Known(&value)) {
        println!("  reads {:?}", permit.reads().classes());
        time("permit still holds (prepared statement)", 100_000, |_| {
            black_box(permit.holds(&set, &session, SystemTime::now()));
        });
    }
    let stats = judge.stats();
    println!(
        "  {} decided, {} remembered, {} calls",
        stats.decided, stats.remembered, stats.calls
    );
}

fn first_sight(judge: &mut Judge) {
    let texts: Vec<Arc<Statement>> = (1..=ROUNDS * 2_000).map(|n| statement(n, 0)).collect();
    let mut next = texts.iter();
    time("first sight, whole chain", 2_000, |_| {
        if let Some(text) = next.next() {
            black_box(decide(judge, text, Values::Known(&[])));
        }
    });
}

fn warm(name: &str, settings: &str) {
    let Some(component) = builtin::find(name) else {
        return;
    };
    let Ok(engine) = Engine::new(Runtime::Ordinary, None) else {
        return;
    };
    let Ok(program) = engine.compile(component) else {
        return;
    };
    let name: Arc<str> = name.into();
    let limits = Limits::of(Runtime::Ordinary);
    let Ok((mut instance, registry)) = program.start(&name, settings, Setup::new(), limits) else {
        return;
    };
    let subject = Arc::new(Subject::new(
        statement(0, 0),
        client(),
        SessionFacts::default(),
    ));
    time(&format!("warm judge, {name}"), 20_000, |_| {
        black_box(instance.call(Hook::Judge, subject.clone()).is_ok());
    });
    time(&format!("new configured instance, {name}"), 200, |_| {
        black_box(
            program
                .start(&name, settings, Setup::again(registry.clone()), limits)
                .is_ok(),
        );
    });
}

/// Best of some rounds.
fn time(name: &str, times: u32, mut run: impl FnMut(u32)) {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        (0..times).for_each(&mut run);
        best = best.min(begun.elapsed());
    }
    println!(
        "{name:<45} {:>9.0} ns",
        best.as_nanos() as f64 / f64::from(times)
    );
}

fn decide(judge: &mut Judge, statement: &Arc<Statement>, values: Values<'_>) -> Outcome {
    static CLIENT: OnceLock<(Client, SessionFacts)> = OnceLock::new();
    let (client, session) = CLIENT.get_or_init(|| (client(), SessionFacts::default()));
    let set = judge.current();
    judge.decide_here(&Asked {
        set: &set,
        client,
        session,
        statement,
        analysis_problem: None,
        values,
        opaque: OpaqueMode::Refuse,
    })
}

fn client() -> Client {
    Client {
        user: "app".into(),
        database: "app".into(),
        address: "10.1.2.3".parse().ok(),
    }
}

fn statement(number: usize, parameters: u16) -> Arc<Statement> {
    let text = format!("SELECT abalance, {number} FROM pgbench_accounts WHERE aid = $1");
    let mut facts = Facts::empty(Kind::Select);
    facts.effects = Effects::READS;
    facts.traits = Traits::RETURNS_ROWS | Traits::PLANNABLE;
    facts.predicate = Predicate::Real;
    facts.parameters = parameters;
    facts.columns = vec!["abalance".into(), "aid".into()];
    facts.relations.push(Relation {
        schema: None,
        name: "pgbench_accounts".into(),
        access: Access::SELECT,
        via: Via::Direct,
    });
    let class = Class {
        normalized: text.as_str().into(),
        shape: number as u64,
        dialect: Dialect::Postgres,
        facts,
        origins: Box::default(),
    };
    Arc::new(Statement::new(
        text.as_str(),
        0..text.len(),
        Arc::new(class),
    ))
}

fn config(settings: &[(&str, String)], state: &std::path::Path) -> Config {
    let policy = |(name, settings): &(&str, String)| PolicyConfig {
        name: (*name).into(),
        plugin: Plugin::BuiltIn((*name).into()),
        settings: settings.as_str().into(),
        positions: Arc::default(),
        mode: Mode::Enforce,
        on_fault: OnFault::Refuse,
        runtime: Runtime::Ordinary,
        budget: Duration::from_millis(2),
        grants: Vec::new(),
        databases: Vec::new(),
        users: Vec::new(),
        except_users: Vec::new(),
        signed_by: Vec::new(),
    };
    Config {
        listen: Vec::new(),
        policies: settings.iter().map(policy).collect(),
        log: LogConfig {
            statements: false,
            ..LogConfig::default()
        },
        workers: 1,
        state_dir: Some(state.to_path_buf()),
        ..Config::default()
    }
}
