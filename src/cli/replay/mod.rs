//! `portcullis replay`: what a configuration would have done to recorded statements.
//!
//! One thread cuts the files into records, one worker per core reads and judges
//! them. Nothing is executed, so counts of rows and the state of rates are not
//! known: a statement under such a condition is *limited*.
//!
//! Read [`replay`] first.

mod lines;
mod records;
mod report;
mod tally;
mod worker;

use std::fs::File;
use std::io::{BufRead as _, BufReader, IsTerminal as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::config::{self, Config, Diagnostic, Plugin, PolicyConfig, Runtime};
use crate::model::{Client, Dialect, SessionFacts};
use crate::policy::trial::Trial;
use crate::sql::Lexer;

use super::explain::{self, Circumstances};
use super::terminal::{self, Paint, say};
use records::{Format, Records};
use report::Took;
use tally::Tally;
use worker::{Batch, Rules, Worker};

/// Records handed to a worker at once.
const BATCH: usize = 256;

/// Deep syntax trees need stack.
const STACK_BYTES: usize = 256 << 20;

/// Judges recorded statements: what would be allowed, refused, limited.
///
/// Files are PostgreSQL's csvlog or jsonlog, this gate's own log (JSON), lines
/// as explain reads them, or SQL text; `-` is standard input. Nothing is run.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Replay {
    /// Files of recorded statements
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The configuration; without it the default policies judge
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A candidate: a component that judges, too, enforced
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// Settings of the candidate, as TOML
    #[arg(long, value_name = "TOML", requires = "plugin", default_value = "")]
    settings: String,
    /// Say what is decided otherwise than by this configuration
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Output: text or json
    #[arg(long, value_enum, default_value_t = Output::Text)]
    format: Output,
    /// What the files hold; without it, told by their beginning
    #[arg(long, value_enum, value_name = "FORMAT")]
    input: Option<Format>,
    /// Threads; without it, one per core
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Grammar: postgres or sqlite
    #[arg(long, value_name = "NAME", default_value = "postgres", value_parser = explain::dialect)]
    dialect: Dialect,
    /// User, where the record names none
    #[arg(long, value_name = "NAME", default_value = "app")]
    user: String,
    /// Database, where the record names none
    #[arg(long, value_name = "NAME", default_value = "app")]
    database: String,
    /// Address, where the record names none
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
}

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// For programs, one object.
    Json,
}

pub(super) fn run(replay: &Replay) -> ExitCode {
    let loaded = candidate(replay).and_then(|config| {
        let rules = rules(config)?;
        let against = replay.against.as_deref().map(read).transpose()?;
        Ok((rules, against.map(self::rules).transpose()?))
    });
    let (rules, against) = match loaded {
        Ok(loaded) => loaded,
        Err(list) => {
            terminal::complain(&list);
            return ExitCode::from(terminal::USAGE);
        }
    };
    let begun = Instant::now();
    let (cores, tally) = match self::replay(replay, rules, against) {
        Ok(done) => done,
        Err(problem) => {
            terminal::complain(&[problem]);
            return ExitCode::FAILURE;
        }
    };
    let (compared, time) = (replay.against.is_some(), begun.elapsed());
    let took = Took { time, cores };
    say(&match replay.format {
        Output::Text => report::text(&tally, compared, took, Paint::stdout()),
        Output::Json => report::json(&tally, compared, took),
    });
    ExitCode::SUCCESS
}

/// CPU time of one judgement.
const CALL_BUDGET: std::time::Duration = std::time::Duration::from_millis(50);

fn read(path: &Path) -> Result<Config, Vec<Diagnostic>> {
    config::load_without_secrets(path).map(patient)
}

/// Code that was never called is cold, and all cores are busy here: what a policy
/// would say counts, not how fast it says it.
fn patient(mut config: Config) -> Config {
    for policy in &mut config.policies {
        policy.budget = policy.budget.max(CALL_BUDGET);
    }
    config
}

/// The configuration, with the candidate in it.
fn candidate(replay: &Replay) -> Result<Config, Vec<Diagnostic>> {
    let mut config = replay
        .config
        .as_deref()
        .map_or_else(|| Ok(patient(Config::default())), read)?;
    if let Some(plugin) = &replay.plugin {
        let wrong = |text: String| vec![Diagnostic::error(text)];
        let settings: serde_json::Value = toml::from_str(&replay.settings)
            .map_err(|error| wrong(format!("--settings is no TOML: {}", error.message())))?;
        let path = std::path::absolute(plugin)
            .map_err(|error| wrong(format!("{}: {error}", plugin.display())))?;
        // What is wrong with the file is said when it is loaded.
        let bytes = std::fs::read(&path).unwrap_or_default();
        let trial = Trial::new(&bytes, super::plugin::cache::folder("policies").as_deref());
        let runtime = trial.map_or_else(|_| Runtime::default(), |trial| trial.runtime());
        config.policies.push(PolicyConfig {
            plugin: Plugin::File(path),
            settings: settings.to_string().into(),
            runtime,
            budget: runtime.budget(),
            ..PolicyConfig::built_in("candidate")
        });
    }
    Ok(config)
}

fn rules(config: Config) -> Result<Rules, Vec<Diagnostic>> {
    let policies = crate::app::load_policies(&config)?;
    Ok(Rules { policies, config })
}

/// Reads all files and judges what is in them.
fn replay(
    replay: &Replay,
    rules: Rules,
    against: Option<Rules>,
) -> Result<(usize, Tally), Diagnostic> {
    let there = std::thread::available_parallelism().map_or(1, usize::from);
    let cores = replay.threads.unwrap_or(there).clamp(1, 256);
    let usual = Circumstances {
        dialect: replay.dialect,
        client: Client {
            user: Arc::from(&*replay.user),
            database: Arc::from(&*replay.database),
            address: replay.address,
        },
        session: SessionFacts::default(),
    };
    let lexer = Lexer {
        dialect: replay.dialect,
        ..Lexer::POSTGRES
    };
    let (batches, waiting) = sync_channel::<Batch>(cores * 4);
    let waiting = Mutex::new(waiting);
    std::thread::scope(|scope| {
        let mut workers = Vec::new();
        for _ in 0..cores {
            let (rules, against) = (rules.clone(), against.clone());
            let (usual, waiting) = (usual.clone(), &waiting);
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            let worker = thread
                .name("replay".to_owned())
                .spawn_scoped(scope, move || {
                    let mut worker = Worker::new(rules, against, usual);
                    while let Some(batch) = next(waiting) {
                        worker.work(&batch);
                    }
                    worker.tally
                })
                .map_err(|error| Diagnostic::error(format!("no thread: {error}")));
            workers.push(worker);
        }
        let cut = cut(replay, lexer, batches);
        let mut tally = Tally::default();
        for worker in workers {
            match worker?.join() {
                Ok(part) => tally.join(part),
                Err(_) => return Err(Diagnostic::error("a worker found a defect of the gate")),
            }
        }
        tally.odd += cut?;
        Ok((cores, tally))
    })
}

fn next(waiting: &Mutex<Receiver<Batch>>) -> Option<Batch> {
    let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    waiting.recv().ok()
}

/// Cuts all files into batches; how many lines were odd.
fn cut(replay: &Replay, lexer: Lexer, batches: SyncSender<Batch>) -> Result<u64, Diagnostic> {
    let bar = progress(&replay.files);
    let (mut place, mut odd) = (0, 0);
    for path in &replay.files {
        let wrong =
            |error: std::io::Error| Diagnostic::error(format!("{}: {error}", path.display()));
        let input: Box<dyn std::io::Read> = if path.as_os_str() == "-" {
            Box::new(std::io::stdin().lock())
        } else {
            Box::new(File::open(path).map_err(wrong)?)
        };
        let mut input = BufReader::with_capacity(1 << 18, input);
        let format = match replay.input {
            Some(format) => format,
            None => Format::of(input.fill_buf().map_err(wrong)?),
        };
        let mut records = Records::new(input, format, lexer);
        let mut seen = 0;
        loop {
            let mut batch = Vec::with_capacity(BATCH);
            while batch.len() < BATCH {
                match records.next().map_err(wrong)? {
                    Some(record) => batch.push(record),
                    None => break,
                }
            }
            bar.inc(records.bytes - seen);
            seen = records.bytes;
            let (first, number) = (place, batch.len());
            place += number as u64;
            let batch = Batch {
                first,
                format,
                records: batch,
            };
            // The workers are gone only when every one of them failed.
            if number == 0 || batches.send(batch).is_err() {
                break;
            }
        }
        odd += records.odd;
    }
    bar.finish_and_clear();
    Ok(odd)
}

/// On standard error, and only where somebody looks.
fn progress(files: &[PathBuf]) -> ProgressBar {
    let sizes = files
        .iter()
        .map(|file| file.metadata().map_or(0, |it| it.len()));
    let bar = ProgressBar::new(sizes.sum());
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let form = "{bar:40} {bytes}/{total_bytes} {eta} left";
    bar.set_style(
        ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar
}
