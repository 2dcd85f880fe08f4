//! `portcullis run`: the gate.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::app::{App, AppError, Options};
use crate::config::{self, Config};
use crate::telemetry::log;

use super::terminal;

/// Serves clients as the configuration says, until a signal ends it.
///
/// SIGTERM lets in nobody new and ends when the last client has left. SIGINT
/// (Ctrl-C) ends clients when their transactions have ended; either a second
/// time, or SIGQUIT, ends everything at once. SIGHUP reads the configuration
/// again; that also happens when the file or a plugin changes. SIGUSR1 pauses,
/// SIGUSR2 resumes.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Run {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// If policies cannot be loaded, serve all the same and refuse everything
    #[arg(long)]
    start_refusing: bool,
    /// Take over the sockets of the gate that runs, once this one is ready
    #[arg(long)]
    takeover: bool,
}

pub(super) fn run(run: &Run) -> ExitCode {
    let config = match config::load(&run.config) {
        Ok(config) => config,
        Err(list) => {
            terminal::complain(&list);
            return ExitCode::from(terminal::USAGE);
        }
    };
    terminal::complain(&config.warnings);
    serve(
        config,
        Options {
            start_refusing: run.start_refusing,
            watch: true,
            takeover: run.takeover,
        },
        |_| {},
    )
}

/// Builds the gate, says that it is there, serves until told to stop.
pub(super) fn serve(config: Config, options: Options, started: impl FnOnce(&App)) -> ExitCode {
    let log = match log::install(&config.log) {
        Ok(log) => log,
        Err(error) => {
            let code = terminal::fail(&error);
            return if matches!(error, log::Error::Level(_)) {
                ExitCode::from(terminal::USAGE)
            } else {
                code
            };
        }
    };
    let dropped = log.dropped();
    let app = match App::build(config, options) {
        Ok(app) => app,
        Err(AppError::Policies(list) | AppError::Tls(list)) => {
            terminal::complain(&list);
            return ExitCode::from(terminal::USAGE);
        }
        Err(error) => return terminal::fail(&error),
    };
    app.telemetry()
        .read_gauge("portcullis_log_lines_dropped", move || {
            dropped
                .load(std::sync::atomic::Ordering::Relaxed)
                .try_into()
                .unwrap_or(i64::MAX)
        });
    started(&app);
    match app.serve_until_signal() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => terminal::fail(&error),
    }
}
