//! The commands: each changes everything it says, or nothing.

use std::path::Path;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::Entry;
use super::overrides::{Override, Overrides, seconds};
use super::shadow::Shadow;
use super::tally::Report;
use crate::config::{Config, Mode, Plugin, PolicyConfig, nearest};
use crate::policy::load::{LoadError, Policies, ReloadReport};
use crate::policy::version::Version;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// No policy has this name.
    #[error("there is no policy `{name}`{}", .meant.as_ref().map(|it| format!("; did you mean `{it}`?")).unwrap_or_default())]
    Unknown {
        /// The name.
        name: String,
        /// A name that is nearly the same.
        meant: Option<String>,
    },
    /// The policies cannot be loaded so; the ones before go on judging.
    #[error("{}", .0.iter().map(shown).collect::<Vec<_>>().join("\n"))]
    Load(Vec<LoadError>),
    /// The state folder cannot be written to.
    #[error("the state folder cannot be written to: {0}")]
    State(#[from] std::io::Error),
    /// There is no version to go back to.
    #[error("no earlier version of `{0}` is kept")]
    NoEarlier(String),
    /// No kept version is named so.
    #[error("no kept version of `{policy}` begins with {wanted}; kept are: {kept}")]
    NoSuch {
        /// The policy.
        policy: String,
        /// What was asked for.
        wanted: String,
        /// What there is.
        kept: String,
    },
    /// It has to be kept somewhere.
    #[error("without `state_dir` no component is kept: set it, and start again")]
    NoState,
    /// No candidate runs.
    #[error("no candidate runs beside `{0}`")]
    NoShadow(String),
    /// A candidate runs already.
    #[error("a candidate runs beside `{0}` already: promote it or end it first")]
    Busy(String),
    /// It was asked all the time.
    #[error("`{0}` is not in quarantine")]
    NotQuarantined(String),
}

fn shown(error: &LoadError) -> String {
    match &*error.hint {
        "" => error.to_string(),
        hint => format!("{error} ({hint})"),
    }
}

/// Who wants a change, and for how long.
#[derive(Debug, Clone)]
pub struct Change {
    /// Who.
    pub by: String,
    /// For how long; none: until it is taken back.
    pub lasts: Option<Duration>,
}

/// A policy as it runs now.
#[derive(Debug, Clone)]
pub struct Line {
    /// As configured, with its configured mode.
    pub policy: PolicyConfig,
    /// The mode that holds.
    pub mode: Mode,
    /// The version that judges; none: the policy is off.
    pub version: Option<Arc<Version>>,
    /// What differs from the file.
    pub differs: Option<Override>,
    /// Since when it is not asked, and why.
    pub quarantined: Option<(SystemTime, String)>,
    /// Versions to go back to, oldest first.
    pub kept: Vec<Entry>,
}

impl Policies {
    /// All policies of a configuration as they run now.
    pub fn lines(&self, config: &Config) -> Vec<Line> {
        let (set, now) = (self.current(), SystemTime::now());
        let overrides = self.live.overrides().clone();
        let line = |policy: &PolicyConfig| {
            let members = set.members();
            let member = members.iter().find(|it| *it.version.name() == policy.name);
            let differs = overrides.get(&policy.name, now).cloned();
            Line {
                mode: differs
                    .as_ref()
                    .and_then(|it| it.mode)
                    .unwrap_or(policy.mode),
                version: member.map(|member| member.version.clone()),
                quarantined: member.and_then(|member| member.version.quarantine.since()),
                kept: self.live.kept.of(&policy.name),
                policy: policy.clone(),
                differs,
            }
        };
        config.policies.iter().map(line).collect()
    }

    /// What differs from the file now.
    pub fn overrides(&self) -> Overrides {
        self.live.overrides().clone()
    }

    /// Another mode than the configured one.
    pub fn set_mode(
        &self,
        config: &Config,
        policy: &str,
        mode: Mode,
        change: &Change,
    ) -> Result<ReloadReport, LiveError> {
        known(config, policy)?;
        self.change(config, policy, change, |it| it.mode = Some(mode))
    }

    /// The file alone counts again.
    pub fn take_back(&self, config: &Config, policy: &str) -> Result<ReloadReport, LiveError> {
        let _one = self.one();
        let mut overrides = self.live.overrides().clone();
        if !overrides.take_back(policy) {
            known(config, policy)?;
        }
        self.use_overrides(config, overrides)
    }

    /// An earlier version judges: the one before, or one that is named by the
    /// beginning of its hash.
    pub fn roll_back(
        &self,
        config: &Config,
        policy: &str,
        to: Option<&str>,
        change: &Change,
    ) -> Result<(Entry, ReloadReport), LiveError> {
        known(config, policy)?;
        let kept = self.live.kept.of(policy);
        let found = match to {
            Some(wanted) => {
                let named = |it: &&Entry| it.sha256.starts_with(wanted) || it.version == wanted;
                kept.iter().rev().find(named).ok_or_else(|| {
                    let all: Vec<&str> = kept.iter().map(|it| &it.sha256[..12]).collect();
                    LiveError::NoSuch {
                        policy: policy.to_owned(),
                        wanted: wanted.to_owned(),
                        kept: all.join(", "),
                    }
                })
            }
            None => {
                let set = self.current();
                let judging = set
                    .members()
                    .iter()
                    .find(|it| **it.version.name() == *policy);
                let judging = judging.map(|member| member.version.hash());
                let at = kept
                    .iter()
                    .position(|it| Some(&it.sha256) == judging.as_ref());
                let before = at.unwrap_or(kept.len()).checked_sub(1);
                let none = || LiveError::NoEarlier(policy.to_owned());
                before.and_then(|at| kept.get(at)).ok_or_else(none)
            }
        };
        let found = found?.clone();
        let hash = found.sha256.clone();
        let report = self.change(config, policy, change, |it| it.component = Some(hash))?;
        Ok((found, report))
    }

    /// Runs a candidate beside the policy of that name, or beside none.
    pub fn shadow(&self, config: &Config, policy: &str, file: &Path) -> Result<(), LiveError> {
        let _one = self.one();
        if let Some(shadow) = self.live.shadows.running() {
            return Err(LiveError::Busy(shadow.policy.name.to_string()));
        }
        let configured = config.policies.iter().find(|it| *it.name == *policy);
        let candidate = PolicyConfig {
            name: policy.into(),
            plugin: Plugin::File(file.to_path_buf()),
            mode: Mode::Monitor,
            ..configured
                .cloned()
                .unwrap_or_else(|| PolicyConfig::built_in(policy))
        };
        let (member, bytes) = self.candidate(&candidate).map_err(LiveError::Load)?;
        let shadow = Shadow::start(candidate, member.version, member.scope, bytes)?;
        self.live.shadows.start(shadow);
        // What was permitted before is decided once more, so that it is seen.
        self.swap_again();
        Ok(())
    }

    /// How the candidate compares so far, and beside which policy, since when.
    pub fn shadow_report(&self) -> Option<(Arc<str>, String, SystemTime, Report)> {
        let shadow = self.live.shadows.running()?;
        let hash = shadow.version.hash();
        Some((
            shadow.policy.name.clone(),
            hash,
            shadow.since,
            shadow.report(),
        ))
    }

    /// The candidate goes.
    pub fn end_shadow(&self, policy: &str) -> Result<Report, LiveError> {
        let _one = self.one();
        self.shadow_of(policy)?;
        let none = || LiveError::NoShadow(policy.to_owned());
        let shadow = self.live.shadows.stop().ok_or_else(none)?;
        self.swap_again();
        Ok(shadow.report())
    }

    /// The candidate judges from now on.
    pub fn promote(
        &self,
        config: &Config,
        policy: &str,
        change: &Change,
    ) -> Result<ReloadReport, LiveError> {
        let shadow = self.shadow_of(policy)?;
        known(config, policy)?;
        if config.state_dir.is_none() {
            return Err(LiveError::NoState);
        }
        let version = &shadow.version.manifest().version;
        let now = SystemTime::now();
        let hash = self.live.kept.note(policy, version, &shadow.bytes, now)?;
        let report = self.change(config, policy, change, |it| it.component = Some(hash))?;
        self.live.shadows.stop();
        Ok(report)
    }

    /// A version that was not asked any more is asked again.
    pub fn release(&self, config: &Config, policy: &str) -> Result<(), LiveError> {
        known(config, policy)?;
        let set = self.current();
        let member = set
            .members()
            .iter()
            .find(|it| **it.version.name() == *policy);
        if !member.is_some_and(|member| member.version.quarantine.release()) {
            return Err(LiveError::NotQuarantined(policy.to_owned()));
        }
        self.forget_remembered();
        Ok(())
    }

    /// Ends overrides whose time has come. True: there were any.
    pub fn expire(&self, config: &Config) -> Result<bool, LiveError> {
        let now = SystemTime::now();
        if !self.live.overrides().are_due(now) {
            return Ok(false);
        }
        let _one = self.one();
        let mut overrides = self.live.overrides().clone();
        overrides.sweep(now);
        self.use_overrides(config, overrides)?;
        Ok(true)
    }

    fn shadow_of(&self, policy: &str) -> Result<Arc<Shadow>, LiveError> {
        let shadow = self.live.shadows.running();
        let shadow = shadow.filter(|shadow| *shadow.policy.name == *policy);
        shadow.ok_or_else(|| LiveError::NoShadow(policy.to_owned()))
    }

    fn change(
        &self,
        config: &Config,
        policy: &str,
        change: &Change,
        what: impl FnOnce(&mut Override),
    ) -> Result<ReloadReport, LiveError> {
        let _one = self.one();
        let now = SystemTime::now();
        let mut overrides = self.live.overrides().clone();
        let mut new = overrides.get(policy, now).cloned().unwrap_or_default();
        what(&mut new);
        new.by = change.by.clone();
        new.at = seconds(now);
        new.until = change.lasts.map(|lasts| seconds(now + lasts));
        overrides.set(policy, new);
        self.use_overrides(config, overrides)
    }

    /// Written first: whatever happens then, what judges is what is written.
    fn use_overrides(&self, config: &Config, new: Overrides) -> Result<ReloadReport, LiveError> {
        let old = self.live.overrides().clone();
        new.write()?;
        *self.live.overrides() = new;
        match self.reload_alone(config) {
            Ok(report) => Ok(report),
            Err(errors) => {
                let written = old.write();
                *self.live.overrides() = old;
                written?;
                Err(LiveError::Load(errors))
            }
        }
    }

    fn one(&self) -> MutexGuard<'_, ()> {
        self.reloading
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn known(config: &Config, name: &str) -> Result<(), LiveError> {
    if config.policies.iter().any(|policy| *policy.name == *name) {
        return Ok(());
    }
    let names = config.policies.iter().map(|policy| &*policy.name);
    Err(LiveError::Unknown {
        name: name.to_owned(),
        meant: nearest(name, names).map(str::to_owned),
    })
}
