//! Load, validate, compile everything, one swap; else nothing changes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;

use crate::admin::Readiness;
use crate::app::backends::Databases;
use crate::app::directories::Directories;
use crate::app::doors::{self, Doors};
use crate::app::policies::{self, diagnostics};
use crate::app::status::Board;
use crate::config::{self, Config, Diagnostic, Endpoint, Protocol};
use crate::gate::roster::{Ending, Mailbox, Order, Whom};
use crate::policy::{Policies, ReloadReport};
use crate::telemetry::{Event, Recorder, Telemetry};

/// What a reload works on.
pub(in crate::app) struct Reloading {
    pub(in crate::app) config: Arc<ArcSwap<Config>>,
    pub(in crate::app) policies: Arc<Policies>,
    pub(in crate::app) board: Arc<Board>,
    pub(in crate::app) telemetry: Telemetry,
    pub(in crate::app) databases: Arc<Databases>,
    pub(in crate::app) doors: Arc<Doors>,
    pub(in crate::app) directories: Arc<Directories>,
    pub(in crate::app) readiness: Arc<Readiness>,
    /// The ways to all workers.
    pub(in crate::app) workers: Arc<[Mailbox]>,
    /// Where work goes on behind a reload.
    pub(in crate::app) side: Handle,
    /// Held while the configuration and the policies of it are swapped.
    pub(in crate::app) turn: Arc<Mutex<()>>,
}

impl Reloading {
    /// One attempt. Returns the files to watch from now on.
    pub(in crate::app) fn attempt(&self, recorder: &Recorder) -> Vec<PathBuf> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.config.load_full();
        let Some(path) = current.path.as_deref() else {
            return files(&current);
        };
        let mut config = match config::load(path) {
            Ok(config) => config,
            Err(list) => {
                self.failed(recorder, &list);
                return files(&current);
            }
        };
        config.keep_proofs(&current);
        match self.swap(&config) {
            Ok(report) => self.done(recorder, &current, config, &report),
            Err(list) => {
                self.failed(recorder, &list);
                // The plugin that is wrong now may be put right without the configuration changing.
                let mut watched = files(&current);
                watched.extend(files(&config));
                watched.sort();
                watched.dedup();
                watched
            }
        }
    }

    /// Everything that can fail comes before anything that changes.
    fn swap(&self, config: &Config) -> Result<ReloadReport, Vec<Diagnostic>> {
        let nothing = |what: &str| {
            Err(vec![Diagnostic::error(format!(
                "no {what} is configured any more"
            ))])
        };
        if config.databases.is_empty() {
            return nothing("database");
        }
        if !config.knows_users() {
            return nothing("user");
        }
        let problems = doors::check_tls(config);
        if !problems.is_empty() {
            return Err(problems);
        }
        let doors = self.doors.prepare(config)?;
        let databases = self
            .databases
            .prepare(config)
            .map_err(|error| vec![chain(&error)])?;
        let directories = self
            .directories
            .prepare(config)
            .map_err(|error| vec![chain(&error)])?;
        let report = self
            .policies
            .reload(config)
            .map_err(|errors| diagnostics(&errors, config))?;
        self.databases.swap(databases);
        self.doors.swap(doors);
        self.directories.swap(directories);
        Ok(report)
    }

    fn done(
        &self,
        recorder: &Recorder,
        old: &Config,
        new: Config,
        report: &ReloadReport,
    ) -> Vec<PathBuf> {
        let expiring = doors::expiring(&new, SystemTime::now());
        for warning in new.warnings.iter().chain(&expiring) {
            tracing::warn!(target: "portcullis::reload", "{}", warning.message);
        }
        if needs_restart(old, &new) {
            tracing::warn!(
                target: "portcullis::reload",
                "changes to listen, admin, workers, limits, state_dir and run_dir take effect at the next start"
            );
        }
        self.telemetry.log_statements(new.log.statements);
        let new = Arc::new(new);
        self.config.store(new.clone());
        self.say_goodbye(old, &new);
        self.readiness.refusing(false);
        self.board.reloaded(None);
        recorder.emit(&Event::ReloadDone {
            generation: report.generation,
            summary: &summary(report),
        });
        files(&new)
    }

    /// Clients of databases that are gone leave when nothing is going on, and
    /// after some time in any case.
    fn say_goodbye(&self, old: &Config, new: &Config) {
        let still = |name: &Arc<str>| new.databases.iter().any(|database| database.name == *name);
        let names = old.databases.iter().map(|database| database.name.clone());
        let gone: Vec<Arc<str>> = names.filter(|name| !still(name)).collect();
        if gone.is_empty() {
            return;
        }
        let (workers, patience) = (self.workers.clone(), new.limits.drain_timeout);
        self.side.spawn(async move {
            for how in [Ending::Removed, Ending::RemovedNow] {
                for worker in &*workers {
                    let whom = Whom::Databases(gone.clone());
                    let _ = worker.ask(|answer| Order::End { whom, how, answer }).await;
                }
                tokio::time::sleep(patience).await;
            }
        });
    }

    fn failed(&self, recorder: &Recorder, list: &[Diagnostic]) {
        let reason: String = list.iter().map(Diagnostic::to_string).collect();
        self.board.reloaded(Some(reason.clone()));
        recorder.emit(&Event::ReloadFailed {
            reason: reason.trim_end(),
        });
    }
}

/// An error with its causes in one line.
fn chain(error: &dyn std::error::Error) -> Diagnostic {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    Diagnostic::error(text)
}

fn needs_restart(old: &Config, new: &Config) -> bool {
    fn doors(config: &Config) -> Vec<(Protocol, &Endpoint)> {
        let doors = config.listen.iter();
        doors.map(|door| (door.protocol, &door.address)).collect()
    }
    doors(old) != doors(new)
        || old.admin != new.admin
        || old.workers != new.workers
        || old.limits != new.limits
        || old.state_dir != new.state_dir
        || old.run_dir != new.run_dir
}

/// Files that a change of must be noticed.
pub(in crate::app) fn files(config: &Config) -> Vec<PathBuf> {
    let mut files = policies::files(config);
    files.extend(doors::files(config));
    files
}

fn summary(report: &ReloadReport) -> String {
    let lists = [
        ("added", &report.added),
        ("changed", &report.changed),
        ("adjusted", &report.adjusted),
        ("removed", &report.removed),
    ];
    let mut parts: Vec<String> = lists
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("{what}: {}", names.join(", ")))
        .collect();
    if report.reordered {
        parts.push("order changed".to_owned());
    }
    if parts.is_empty() {
        "policies unchanged".to_owned()
    } else {
        parts.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_names_every_kind_of_change() {
        assert_eq!(summary(&ReloadReport::default()), "policies unchanged");
        let report = ReloadReport {
            changed: vec!["a".into(), "b".into()],
            adjusted: vec!["c".into()],
            unchanged: vec!["d".into()],
            reordered: true,
            ..ReloadReport::default()
        };
        assert_eq!(
            summary(&report),
            "changed: a, b; adjusted: c; order changed"
        );
    }
}
