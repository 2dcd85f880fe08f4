//! From one entry of the configuration to a policy that is ready to judge.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::builtin;
use super::cases::Case;
use super::load::{LoadError, resolve};
use super::manifest::Manifest;
use super::set::{Member, PolicySet, Scope};
use super::setup::Setup;
use super::signature;
use super::trial;
use super::version::{Identity, Version};
use super::wasm::{Engines, Issue, Limits, Program, StartError};
use crate::config::{Mode, OnFault, Plugin, PolicyConfig, Position, Runtime};
use crate::model::pattern::PatternSet;

/// Time all golden cases of one plugin may take together.
const CASES_BUDGET: Duration = Duration::from_secs(10);

/// A component, compiled once however many policies use it.
type Compiled = (Program, Arc<Manifest>);

/// The same bytes are another program on another engine.
type Known = ([u8; 32], Runtime);

/// Loads the policies of one configuration.
pub(super) struct Loader<'l> {
    engines: &'l Engines,
    before: &'l PolicySet,
    versions: &'l AtomicU64,
    compiled: HashMap<Known, Compiled>,
    loaded: Vec<Loaded>,
}

/// A component that was loaded for a policy.
pub(super) struct Loaded {
    pub(super) name: Arc<str>,
    /// As its manifest says.
    pub(super) version: String,
    pub(super) bytes: Vec<u8>,
}

impl<'l> Loader<'l> {
    pub(super) fn new(
        engines: &'l Engines,
        before: &'l PolicySet,
        versions: &'l AtomicU64,
    ) -> Loader<'l> {
        Loader {
            engines,
            before,
            versions,
            compiled: HashMap::new(),
            loaded: Vec::new(),
        }
    }

    /// All of them; or every problem of every one.
    pub(super) fn load(
        &mut self,
        policies: &[PolicyConfig],
        config: Option<&Path>,
    ) -> Result<Vec<Arc<Member>>, Vec<LoadError>> {
        let mut members = Vec::new();
        let mut errors = Vec::new();
        for policy in policies.iter().filter(|policy| policy.mode != Mode::Off) {
            match self.member(policy, config) {
                Ok(member) => members.push(Arc::new(member)),
                Err(found) => errors.extend(found),
            }
        }
        if errors.is_empty() {
            Ok(members)
        } else {
            Err(errors)
        }
    }

    /// The components of what was loaded.
    pub(super) fn take_loaded(&mut self) -> Vec<Loaded> {
        std::mem::take(&mut self.loaded)
    }

    /// One of them.
    pub(super) fn member(
        &mut self,
        policy: &PolicyConfig,
        config: Option<&Path>,
    ) -> Result<Member, Vec<LoadError>> {
        let scope = scope(policy).map_err(|message| vec![error(policy, message, "")])?;
        let bytes =
            read(policy, config).map_err(|(message, hint)| vec![error(policy, message, &hint)])?;
        if !policy.signed_by.is_empty() {
            signature::require(&bytes, &policy.signed_by).map_err(|why| {
                let hint = "sign it with a trusted key: `portcullis plugin sign`";
                vec![error(policy, why.to_string(), hint)]
            })?;
        }
        let identity = Identity {
            name: policy.name.clone(),
            hash: Sha256::digest(&bytes).into(),
            settings: policy.settings.clone(),
            grants: policy.grants.clone(),
            limits: Limits {
                budget: policy.budget,
                ..Limits::of(policy.runtime)
            },
            runtime: policy.runtime,
        };
        let old = self
            .before
            .members()
            .iter()
            .find(|old| old.version.identity().name == identity.name);
        let (version, last_good) = match old {
            Some(old) if *old.version.identity() == identity => {
                (old.version.clone(), old.last_good.clone())
            }
            _ => {
                let last = old
                    .filter(|_| policy.on_fault == OnFault::LastGood)
                    .map(|old| old.version.clone());
                (Arc::new(self.version(policy, identity, &bytes)?), last)
            }
        };
        self.loaded.push(Loaded {
            name: policy.name.clone(),
            version: version.manifest.version.clone(),
            bytes,
        });
        Ok(Member {
            version,
            mode: policy.mode,
            on_fault: policy.on_fault,
            scope,
            last_good,
        })
    }

    fn version(
        &mut self,
        policy: &PolicyConfig,
        identity: Identity,
        bytes: &[u8],
    ) -> Result<Version, Vec<LoadError>> {
        let (program, manifest) = self.compile(policy, &identity, bytes)?;
        let missing: Vec<&str> = manifest
            .capabilities
            .iter()
            .map(|c| &**c)
            .filter(|c| !granted(policy, c))
            .collect();
        if !missing.is_empty() {
            let text = format!(
                "wants capabilities that are not granted: {}",
                missing.join(", ")
            );
            return Err(vec![error(
                policy,
                text,
                "add them to `grants` if you trust it with them",
            )]);
        }
        let started = program.start(
            &identity.name,
            &identity.settings,
            Setup::new(),
            identity.limits,
        );
        let (instance, registry) = started.map_err(|failed| match failed {
            StartError::Issues(issues) => issues
                .into_iter()
                .map(|issue| issue_error(policy, issue))
                .collect(),
            StartError::Fault(fault) => {
                vec![error(policy, format!("fails in configure: {fault}"), "")]
            }
        })?;
        let id = self.versions.fetch_add(1, Ordering::Relaxed);
        Version::new(id, identity, program, manifest, instance, registry).map_err(|why| {
            vec![error(
                policy,
                format!("its threads do not start: {why}"),
                "",
            )]
        })
    }

    /// Compiles, reads the manifest and runs the golden cases; once per component.
    fn compile(
        &mut self,
        policy: &PolicyConfig,
        identity: &Identity,
        bytes: &[u8],
    ) -> Result<Compiled, Vec<LoadError>> {
        if let Some(known) = self.compiled.get(&(identity.hash, identity.runtime)) {
            return Ok(known.clone());
        }
        let known = self.before.members().iter().find(|old| {
            let old = old.version.identity();
            (old.hash, old.runtime) == (identity.hash, identity.runtime)
        });
        let compiled = match known {
            Some(known) => (
                known.version.program().clone(),
                known.version.manifest.clone(),
            ),
            None => {
                let engine = self.engines.of(identity.runtime);
                let engine = engine.map_err(|why| vec![error(policy, why, "")])?;
                let program = engine
                    .compile(bytes)
                    .map_err(|why| vec![error(policy, why.message, &why.hint)])?;
                let manifest = Manifest::find(bytes).map_err(|why| {
                    vec![error(
                        policy,
                        format!("has a bad manifest: {why}"),
                        "build it again",
                    )]
                })?;
                let manifest = Arc::new(manifest.unwrap_or_default());
                run_cases(&program, &manifest).map_err(|why| {
                    let hint =
                        "the component does not do what its own manifest says; do not use it";
                    vec![error(policy, why, hint)]
                })?;
                (program, manifest)
            }
        };
        self.compiled
            .insert((identity.hash, identity.runtime), compiled.clone());
        Ok(compiled)
    }
}

/// Runs every golden case on its own fresh instance, configured as the case says.
fn run_cases(program: &Program, manifest: &Manifest) -> Result<(), String> {
    let begun = Instant::now();
    for (index, case) in manifest.cases.iter().enumerate() {
        if begun.elapsed() > CASES_BUDGET {
            return Err(format!(
                "its golden cases take longer than {} s",
                CASES_BUDGET.as_secs()
            ));
        }
        run_case(program, manifest, case).map_err(|why| {
            format!(
                "golden case {} (`{}`) fails: {why}",
                index + 1,
                case.title()
            )
        })?;
    }
    Ok(())
}

fn run_case(program: &Program, manifest: &Manifest, case: &Case) -> Result<(), String> {
    case.run(|asks, subject| trial::call(program, &manifest.name, case, asks, subject))
}

/// What every policy may have without being granted it: it sees only what is asked of it.
fn granted(policy: &PolicyConfig, capability: &str) -> bool {
    const ORDINARY: [&str; 12] = [
        "setup",
        "statement",
        "client",
        "values",
        "clock",
        "counters",
        "ast",
        "log",
        "verdict",
        "response",
        "plan",
        "event",
    ];
    ORDINARY.contains(&capability) || policy.grants.iter().any(|grant| **grant == *capability)
}

fn read(policy: &PolicyConfig, config: Option<&Path>) -> Result<Vec<u8>, (String, String)> {
    match &policy.plugin {
        Plugin::BuiltIn(name) => builtin::find(name).map(<[u8]>::to_vec).ok_or_else(|| {
            let known: Vec<&str> = builtin::all().iter().map(|(name, _)| *name).collect();
            (
                format!("there is no built-in plugin `{name}`"),
                format!("built in are: {}", known.join(", ")),
            )
        }),
        Plugin::File(path) => {
            let path = resolve(path, config);
            let read = std::fs::read(&path);
            read.map_err(|error| {
                (
                    format!("{}: {error}", path.display()),
                    "check the path of the plugin".to_owned(),
                )
            })
        }
    }
}

fn scope(policy: &PolicyConfig) -> Result<Scope, String> {
    let set = |patterns: &[Arc<str>]| {
        if patterns.is_empty() {
            Ok(None)
        } else {
            PatternSet::plain(patterns).map(Some)
        }
    };
    Ok(Scope {
        databases: set(&policy.databases)?,
        users: set(&policy.users)?,
        except_users: set(&policy.except_users)?,
    })
}

fn error(policy: &PolicyConfig, message: String, hint: &str) -> LoadError {
    LoadError {
        policy: policy.name.clone(),
        message,
        hint: hint.to_owned(),
        path: None,
        position: position(policy, ""),
    }
}

fn issue_error(policy: &PolicyConfig, issue: Issue) -> LoadError {
    LoadError {
        policy: policy.name.clone(),
        message: issue.message,
        hint: issue.hint,
        position: position(policy, &issue.path),
        path: Some(issue.path),
    }
}

/// Where the value stands in the file, or the nearest thing around it.
fn position(policy: &PolicyConfig, pointer: &str) -> Option<Position> {
    let mut pointer = pointer;
    loop {
        if let Some((_, position)) = policy.positions.iter().find(|(known, _)| known == pointer) {
            return Some(*position);
        }
        pointer = &pointer[..pointer.rfind('/')?];
    }
}
