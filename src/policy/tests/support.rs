//! Small components from text, statements without a parser, and a judge to ask.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::super::subject::Values;
use super::super::version::SPARES;
use super::super::{Asked, Brought, HookAnswer, Judge, LoadError, Outcome, Policies};
use crate::config::{Config, LogConfig, Mode, OnFault, OpaqueMode, Plugin, PolicyConfig, Runtime};
use crate::model::code::{Access, Effects, Kind, Traits, Via};
use crate::model::facts::{Class, Facts, Relation, Statement};
use crate::model::{Client, Dialect, SessionFacts};

/// Imports, each with its core signature.
const IMPORTS: &[(&str, &str, &str, &str)] = &[
    (
        "$reason",
        "verdict",
        "reason",
        "(param i32 i32 i32 i32 i32 i32)",
    ),
    ("$returned", "verdict", "rows-returned-max", "(param i64)"),
    ("$alert", "verdict", "alert", "(param i32 i32 i32)"),
    ("$disguise", "verdict", "disguise", "(param i32)"),
    ("$changed", "verdict", "rows-changed-max", "(param i32 i64)"),
    ("$want_plan", "verdict", "want-plan", ""),
    ("$relations", "statement", "relations", "(result i32)"),
    ("$intern", "setup", "intern", "(param i32 i32) (result i32)"),
    ("$user", "client", "user", "(result i32)"),
    ("$role", "client", "role", "(result i32)"),
    ("$transaction", "client", "transaction", "(result i32)"),
    ("$features", "values", "features", "(result i64)"),
    ("$literal", "values", "literal", "(param i32 i32)"),
    ("$parameter", "values", "parameter", "(param i32 i32)"),
    ("$before", "clock", "before", "(param i64) (result i32)"),
    ("$column", "response", "column", "(param i32 i32 i32)"),
    ("$number", "event", "number", "(param i32) (result i64)"),
    ("$write", "log", "write", "(param i32 i32 i32)"),
    ("$measure", "plan", "measure", "(param i32) (result f64)"),
];

/// A component whose `judge` is this text. `$refuse` refuses by rule `no`.
pub(super) fn judge(body: &str) -> Vec<u8> {
    build("simple", "", "i32.const 1024", body)
}

/// Like [`judge`], with globals and functions, and a body for `configure`.
pub(super) fn with(extra: &str, configure: &str, body: &str) -> Vec<u8> {
    build("simple", extra, configure, body)
}

/// A component with all hooks; only the event hook does anything.
pub(super) fn observing(observe: &str) -> Vec<u8> {
    hooked("i32.const 0", "i32.const 0", "i32.const 0", observe)
}

/// A component with the connection and plan hooks.
pub(super) fn full(body: &str, connection: &str, plan: &str) -> Vec<u8> {
    hooked(body, connection, plan, "")
}

fn hooked(body: &str, connection: &str, plan: &str, observe: &str) -> Vec<u8> {
    let extra = format!(
        r#"(func (export "portcullis:policy/connection-hook@0.1.0#judge-connection") (result i32) {connection})
           (func (export "portcullis:policy/plan-hook@0.1.0#judge-plan") (result i32) {plan})
           (func (export "portcullis:policy/event-hook@0.1.0#observe") {observe})"#
    );
    build("full", &extra, "i32.const 1024", body)
}

fn build(world: &str, extra: &str, configure: &str, body: &str) -> Vec<u8> {
    let core = core(extra, configure, body);
    let wit = include_str!("../../../wit/policy.wit");
    encode(&core, wit, world)
}

/// Wraps a core module for a world of this interface text.
pub(super) fn encode(core: &[u8], wit: &str, world: &str) -> Vec<u8> {
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("policy.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    let mut module = core.to_vec();
    wit_component::embed_component_metadata(
        &mut module,
        &resolve,
        world,
        wit_component::StringEncoding::UTF8,
    )
    .unwrap();
    wit_component::ComponentEncoder::default()
        .module(&module)
        .unwrap()
        .validate(true)
        .encode()
        .unwrap()
}

/// The core module alone.
pub(super) fn core(extra: &str, configure: &str, body: &str) -> Vec<u8> {
    core_importing("", extra, configure, body)
}

/// The core module alone, with imports beyond the interface.
pub(super) fn core_importing(more: &str, extra: &str, configure: &str, body: &str) -> Vec<u8> {
    let used = |name: &str| {
        [extra, configure, body]
            .iter()
            .any(|text| text.contains(name))
            || name == "$reason"
    };
    let imports: String = IMPORTS
        .iter()
        .filter(|(id, ..)| used(id))
        .map(|(id, interface, name, signature)| {
            format!("(import \"portcullis:policy/{interface}@0.1.0\" \"{name}\" (func {id} {signature}))\n")
        })
        .collect();
    let text = format!(
        r#"(module
        {imports}
        {more}
        (memory (export "memory") 1)
        (global $next (mut i32) (i32.const 8192))
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
          (global.set $next (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
          global.get $next
          (global.set $next (i32.add (global.get $next) (local.get 3))))
        (func $refuse (result i32)
          (call $reason (i32.const 16) (i32.const 2) (i32.const 32) (i32.const 10) (i32.const 48) (i32.const 0))
          i32.const 1)
        {extra}
        (func (export "portcullis:policy/policy@0.1.0#configure") (param i32 i32) (result i32) {configure})
        (func (export "portcullis:policy/policy@0.1.0#judge") (param i32 i64 i64) (result i32) {body})
        (data (i32.const 16) "no")
        (data (i32.const 32) "it says no"))"#
    );
    wat::parse_str(text).unwrap()
}

/// Appends a manifest.
pub(super) fn with_manifest(mut component: Vec<u8>, json: &str) -> Vec<u8> {
    let name = super::super::manifest::SECTION;
    let body = [
        &[u8::try_from(name.len()).unwrap()],
        name.as_bytes(),
        json.as_bytes(),
    ]
    .concat();
    let leb = |mut n: usize| {
        let mut out = Vec::new();
        while n >= 0x80 {
            out.push((n & 0x7f) as u8 | 0x80);
            n >>= 7;
        }
        out.push(n as u8);
        out
    };
    component.push(0);
    component.extend(leb(body.len()));
    component.extend(body);
    component
}

/// A folder of plugins and the configuration that names them.
pub(super) struct House {
    folder: tempfile::TempDir,
    pub(super) config: Config,
}

impl House {
    pub(super) fn new() -> House {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path().join("state"));
        House { folder, config }
    }

    /// A house with one policy `p`.
    pub(super) fn of(component: &[u8]) -> House {
        let mut house = House::new();
        house.add("p", component);
        house
    }

    /// The same for a component that judges beside the workers.
    pub(super) fn aside(component: &[u8]) -> House {
        let mut house = House::of(component);
        house.config.policies[0].runtime = Runtime::Interpreted;
        house
    }

    pub(super) fn add(&mut self, name: &str, component: &[u8]) -> &mut PolicyConfig {
        let path = self.replace(name, component);
        self.config.policies.push(PolicyConfig {
            name: name.into(),
            plugin: Plugin::File(path),
            settings: "{}".into(),
            positions: Arc::default(),
            mode: Mode::Enforce,
            on_fault: OnFault::Refuse,
            runtime: Runtime::Ordinary,
            budget: Duration::from_millis(20),
            grants: Vec::new(),
            databases: Vec::new(),
            users: Vec::new(),
            except_users: Vec::new(),
            signed_by: Vec::new(),
        });
        self.config.policies.last_mut().unwrap()
    }

    /// Writes the component's file again.
    pub(super) fn replace(&self, name: &str, component: &[u8]) -> PathBuf {
        let path = self.folder.path().join(format!("{name}.wasm"));
        std::fs::write(&path, component).unwrap();
        path
    }

    pub(super) fn load(&self) -> Result<Arc<Policies>, Vec<LoadError>> {
        Policies::load(&self.config)
    }

    pub(super) fn bench(&self) -> Bench {
        Bench::new(self.load().unwrap())
    }
}

fn config(state: PathBuf) -> Config {
    Config {
        listen: Vec::new(),
        policies: Vec::new(),
        log: LogConfig {
            statements: false,
            ..LogConfig::default()
        },
        workers: 1,
        state_dir: Some(state),
        ..Config::default()
    }
}

/// A judge, and whom it judges.
pub(super) struct Bench {
    pub(super) policies: Arc<Policies>,
    pub(super) judge: Judge,
    pub(super) client: Client,
    pub(super) session: SessionFacts,
}

impl Bench {
    pub(super) fn new(policies: Arc<Policies>) -> Bench {
        let judge = Judge::new(policies.clone());
        let client = client("alice");
        Bench {
            policies,
            judge,
            client,
            session: SessionFacts::default(),
        }
    }

    pub(super) fn ask(&mut self, statement: &Arc<Statement>) -> Outcome {
        self.ask_with(statement, Values::Known(&[]))
    }

    pub(super) fn ask_with(&mut self, statement: &Arc<Statement>, values: Values<'_>) -> Outcome {
        let set = self.judge.current();
        self.judge.decide_here(&Asked {
            set: &set,
            client: &self.client,
            session: &self.session,
            statement,
            analysis_problem: None,
            values,
            opaque: OpaqueMode::Refuse,
        })
    }

    /// May this client connect?
    pub(super) fn connects(&mut self) -> HookAnswer {
        let set = self.judge.current();
        let mut brought = Brought::default();
        loop {
            match self
                .judge
                .judge_connection(&set, &self.client, &self.session, &brought)
            {
                Ok(answer) => return answer,
                Err(later) => later.wait_here(&mut brought),
            }
        }
    }

    /// Waits until there is a clean instance.
    pub(super) fn settle(&self) {
        let set = self.policies.current();
        for _ in 0..2000 {
            if set
                .members()
                .iter()
                .all(|member| member.version.missing() < SPARES)
            {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("no clean instances after two seconds");
    }
}

pub(super) fn client(user: &str) -> Client {
    Client {
        user: user.into(),
        database: "app".into(),
        address: "127.0.0.1".parse().ok(),
    }
}

/// `SELECT … FROM users WHERE id = <literal>`, as the analysis would describe it.
pub(super) fn select(literal: &str) -> Arc<Statement> {
    let mut facts = Facts::empty(Kind::Select);
    facts.effects = Effects::READS;
    facts.traits = Traits::RETURNS_ROWS;
    facts.has_literals = true;
    facts.relations.push(Relation {
        schema: None,
        name: "users".into(),
        access: Access::SELECT,
        via: Via::Direct,
    });
    statement(
        &format!(
            "SELECT * FROM users WHERE id = '{}'",
            literal.replace('\'', "''")
        ),
        "SELECT * FROM users WHERE id = ?",
        facts,
    )
}

/// A statement of its own shape.
pub(super) fn shape(number: usize) -> Arc<Statement> {
    let text = format!("SELECT {number} FROM users");
    statement(&text, &text, Facts::empty(Kind::Select))
}

pub(super) fn statement(text: &str, normalized: &str, facts: Facts) -> Arc<Statement> {
    use std::hash::{BuildHasher, BuildHasherDefault};
    let hasher: BuildHasherDefault<rustc_hash::FxHasher> = BuildHasherDefault::default();
    let class = Class {
        normalized: normalized.into(),
        shape: hasher.hash_one(normalized),
        dialect: Dialect::Postgres,
        facts,
        origins: Box::default(),
    };
    Arc::new(Statement::new(text, 0..text.len(), Arc::new(class)))
}

/// `policy/rule` of a refusal, or what else came out.
pub(super) fn verdict(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Permit(_) => "permit".into(),
        Outcome::Refuse(refused) => refused.refusal.constraint(),
        Outcome::Respond(_) => "respond".into(),
        Outcome::NeedsValues => "needs values".into(),
    }
}

pub(super) fn remembered(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Permit(permit) => permit.remembered(),
        Outcome::Refuse(refused) => refused.remembered,
        Outcome::Respond(responded) => responded.remembered,
        Outcome::NeedsValues => false,
    }
}
