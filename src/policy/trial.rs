//! One component on its own: what the author's tools ask it.
//!
//! Deliberately not here: the chain, the memo and the modes. A tool that wants
//! those loads [`super::Policies`] like the gate.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::ask::Judged;
use super::cases::{Asks, Case};
use super::fault::Fault;
use super::manifest::Manifest;
use super::read::Reads;
use super::setup::Setup;
use super::wasm::{Engine, Hook, Instance, Issue, Limits, Program, Refused, StartError};
use crate::config::Runtime;
use crate::model::Verdict;

/// CPU time of a call in a trial, as a multiple of the ordinary one: code that
/// was never called is cold.
const PATIENCE: u32 = 25;
/// And the most of it.
const CALL_MAX: Duration = Duration::from_millis(500);

/// A compiled component with what it says of itself.
#[derive(Debug)]
pub struct Trial {
    program: Program,
    manifest: Manifest,
}

/// What a component answered.
#[derive(Debug)]
pub struct Tried {
    /// The verdict of all statements, folded.
    pub verdict: Verdict,
    /// What it depended on.
    pub reads: Reads,
    /// Lines it wrote, with their level.
    pub logs: Vec<(u32, String)>,
}

impl Trial {
    /// Compiles a component, on the engine it needs; compiled code is kept in `cache`.
    pub fn new(bytes: &[u8], cache: Option<&Path>) -> Result<Trial, Refused> {
        let refused = |message: String, hint: &str| Refused {
            message,
            hint: hint.to_owned(),
            interpreted: false,
        };
        let on = |runtime| {
            let engine = Engine::new(runtime, cache).map_err(|why| refused(why, ""))?;
            engine.compile(bytes)
        };
        let program = match on(Runtime::Ordinary) {
            Err(why) if why.interpreted => on(Runtime::Interpreted)?,
            other => other?,
        };
        let manifest = Manifest::find(bytes)
            .map_err(|why| refused(format!("has a bad manifest: {why}"), "build it again"))?;
        Ok(Trial {
            program,
            manifest: manifest.unwrap_or_default(),
        })
    }

    /// Which engine it needs.
    pub fn runtime(&self) -> Runtime {
        self.program.runtime()
    }

    /// What the component says about itself; empty where it says nothing.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// An instance with these settings, never asked before.
    pub fn instance(&self, settings: &str) -> Result<Instance, StartError> {
        start(&self.program, &self.manifest.name, settings)
    }

    /// Asks a fresh instance for each statement of the case.
    pub fn judge(&self, case: &Case) -> Result<Tried, String> {
        let (mut reads, mut logs) = (Reads::default(), Vec::new());
        let verdict = case.verdict(|asks, subject| {
            let judged = call(&self.program, &self.manifest.name, case, asks, subject)?;
            reads.join(&judged.reads);
            logs.extend(judged.logs.iter().cloned());
            Ok(judged)
        })?;
        Ok(Tried {
            verdict,
            reads,
            logs,
        })
    }
}

fn start(program: &Program, name: &Arc<str>, settings: &str) -> Result<Instance, StartError> {
    let usual = Limits::of(program.runtime());
    let limits = Limits {
        budget: (usual.budget * PATIENCE).min(CALL_MAX),
        ..usual
    };
    let (instance, _) = program.start(name, settings, Setup::new(), limits)?;
    Ok(instance)
}

/// Runs one question of a case on its own fresh instance, configured as the case says.
pub(super) fn call(
    program: &Program,
    name: &Arc<str>,
    case: &Case,
    asks: Asks,
    subject: super::Subject,
) -> Result<Judged, Fault> {
    let mut instance = start(program, name, &case.settings()).map_err(start_fault)?;
    let hook = match asks {
        Asks::Statement => Hook::Judge,
        Asks::Connection => Hook::Connection,
        Asks::Plan => Hook::Plan,
    };
    instance.call(hook, Arc::new(subject))
}

fn start_fault(failed: StartError) -> Fault {
    match failed {
        StartError::Fault(fault) => fault,
        StartError::Issues(issues) => Fault::call(format!(
            "the settings are not accepted: {}",
            complaints(&issues)
        )),
    }
}

/// What `configure` had to say, on one line.
pub fn complaints(issues: &[Issue]) -> String {
    let text: Vec<&str> = issues.iter().map(|issue| &*issue.message).collect();
    text.join("; ")
}
