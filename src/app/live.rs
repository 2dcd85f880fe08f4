//! Commands about policies: from a request on the control socket to one call,
//! and back to JSON.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::{Config, Mode, Plugin};
use crate::control::{Answer, Caller, Request};
use crate::policy::live::{Change, Line, LiveError, Override, Report};
use crate::policy::{Policies, ReloadReport};

/// What commands work on.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) config: Arc<ArcSwap<Config>>,
    pub(super) policies: Arc<Policies>,
    /// Held by whoever swaps policies: the configuration must not change meanwhile.
    pub(super) turn: Arc<Mutex<()>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// Which policy.
    policy: String,
    /// Who asks, as the caller says; the user is known from the socket.
    by: Option<String>,
    /// How long it holds.
    seconds: Option<u64>,
    /// To which mode.
    mode: Option<String>,
    /// To which version.
    to: Option<String>,
    /// Which component.
    file: Option<PathBuf>,
}

impl Live {
    /// Carries out a command; none: it is no command about policies.
    pub(super) async fn answer(&self, request: &Request, caller: &Caller) -> Option<Answer> {
        if !request.command.starts_with("policy-") {
            return None;
        }
        let (live, request, caller) = (self.clone(), request.clone(), *caller);
        // Loading compiles: not where others wait.
        let done = tokio::task::spawn_blocking(move || live.carry_out(&request, caller)).await;
        Some(done.unwrap_or_else(|_| Err("the command ended by a defect in the gate".to_owned())))
    }

    /// Ends what was to last a while only.
    pub(super) fn expire(&self) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        match self.policies.expire(&self.config.load()) {
            Ok(false) => {}
            Ok(true) => tracing::info!("a policy is back to what the file says"),
            Err(error) => tracing::error!(%error, "a policy cannot go back to what the file says"),
        }
    }

    fn carry_out(&self, request: &Request, caller: Caller) -> Answer {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let config = self.config.load_full();
        if request.command == "policy-list" {
            return Ok(self.list(&config));
        }
        let arguments: Arguments = request.arguments()?;
        let name = &*arguments.policy;
        let by = match &arguments.by {
            Some(said) => format!("{said} (uid {})", caller.user),
            None => format!("uid {}", caller.user),
        };
        let change = Change {
            by,
            lasts: arguments.seconds.map(Duration::from_secs),
        };
        let policies = &self.policies;
        let result = match &*request.command {
            "policy-mode" => {
                let mode = arguments.mode.as_deref().and_then(Mode::from_name);
                let mode = mode.ok_or("a mode is off, monitor or enforce")?;
                let done = policies.set_mode(&config, name, mode, &change);
                done.map(|report| self.done(&report))
            }
            "policy-reset" => {
                let done = policies.take_back(&config, name);
                done.map(|report| self.done(&report))
            }
            "policy-rollback" => policies
                .roll_back(&config, name, arguments.to.as_deref(), &change)
                .map(|(version, report)| {
                    let mut done = self.done(&report);
                    done["version"] = json!(version);
                    done
                }),
            "policy-shadow" => {
                let file = arguments.file.as_deref().ok_or("a component is needed")?;
                let done = policies.shadow(&config, name, file);
                done.map(|()| json!({}))
            }
            "policy-shadow-report" => self.report(name),
            "policy-shadow-end" => policies.end_shadow(name).map(|report| json!(report)),
            "policy-promote" => {
                let done = policies.promote(&config, name, &change);
                done.map(|report| self.done(&report))
            }
            "policy-release" => policies.release(&config, name).map(|()| json!({})),
            other => return Err(format!("this gate knows no command `{other}`")),
        };
        if !matches!(&*request.command, "policy-shadow-report") {
            let outcome = result.as_ref().err().map(ToString::to_string);
            let (command, by) = (&*request.command, &*change.by);
            tracing::info!(
                command,
                policy = name,
                by,
                error = outcome,
                "command about a policy"
            );
        }
        result.map_err(|error| error.to_string())
    }

    fn done(&self, report: &ReloadReport) -> Value {
        json!({
            "generation": report.generation,
            "kept": self.policies.overrides().are_kept(),
        })
    }

    fn report(&self, name: &str) -> Result<Value, LiveError> {
        let none = || LiveError::NoShadow(name.to_owned());
        let found = self.policies.shadow_report().filter(|it| *it.0 == *name);
        let (_, hash, since, report): (_, _, _, Report) = found.ok_or_else(none)?;
        let mut out = json!(report);
        out["sha256"] = json!(hash);
        out["since"] = json!(timestamp(since));
        Ok(out)
    }

    fn list(&self, config: &Config) -> Value {
        let shadow = self.policies.shadow_report();
        let line = |line: &Line| {
            let mut out = described(line);
            if let Some((name, hash, since, _)) = &shadow
                && *name == line.policy.name
            {
                out["shadow"] = json!({ "sha256": hash, "since": timestamp(*since) });
            }
            out
        };
        self.policies.lines(config).iter().map(line).collect()
    }
}

fn described(line: &Line) -> Value {
    let policy = &line.policy;
    let plugin = match &policy.plugin {
        Plugin::BuiltIn(name) => name.to_string(),
        Plugin::File(path) => path.display().to_string(),
    };
    let version = line.version.as_ref();
    let quarantined = line.quarantined.as_ref();
    json!({
        "name": &*policy.name,
        "plugin": plugin,
        "mode": line.mode.name(),
        "configured_mode": policy.mode.name(),
        "on_fault": policy.on_fault.name(),
        "version": version.map(|version| version.manifest().version.clone()),
        "sha256": version.map(|version| version.hash()),
        "judged": version.map(|version| version.judged()),
        "faulted": version.map(|version| version.faulted()),
        "impure": version.map(|version| version.is_impure()),
        "override": line.differs.as_ref().map(differs),
        "quarantined": quarantined.map(|(since, why)| {
            json!({ "since": timestamp(*since), "fault": why })
        }),
        "kept": line.kept,
    })
}

fn differs(differs: &Override) -> Value {
    let at = |seconds: u64| timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    json!({
        "mode": differs.mode.map(Mode::name),
        "sha256": differs.component,
        "by": differs.by,
        "at": at(differs.at),
        "until": differs.until.map(at),
    })
}

fn timestamp(time: SystemTime) -> Option<String> {
    let stamp = jiff::Timestamp::try_from(time).ok()?;
    let whole = stamp.round(jiff::Unit::Second).unwrap_or(stamp);
    Some(whole.to_string())
}
