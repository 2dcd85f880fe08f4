//! `portcullis explain`: what a statement is and what the policies say of it,
//! without any database. For people one statement at a time, for programs as
//! JSON lines.
//!
//! Deliberately not here: execution. Limits that only a database can judge are
//! shown as requirements.
//!
//! Read [`run`] first, then [`judging::Judging::judge`].

mod answer;
mod input;
mod judging;
mod text;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::Value;

use crate::config::{self, Config};
use crate::model::{Client, Dialect, SessionFacts};

use super::terminal::{self, Paint, say};
pub(in crate::cli) use answer::shown;
pub(in crate::cli) use input::{Circumstances, Question, dialect, question};
pub(in crate::cli) use judging::{Judged, Judging};

use input::Unusable;

/// Longest line of input; a longer one is answered with an error.
const LINE_BYTES_MAX: usize = 64 << 20;

/// Deep syntax trees need stack, and a main thread's size is not ours to choose.
const STACK_BYTES: usize = 256 << 20;

/// Says what a statement does and how it is judged; needs no database.
///
/// With --format json and no SQL it reads one JSON object a line from standard
/// input, {"id": …, "sql": …, "client": {…}, "params": […], "session": {…}},
/// and prints one a line.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Explain {
    /// The statement; without it, standard input is read
    #[arg(value_name = "SQL")]
    sql: Option<String>,
    /// Grammar: postgres or sqlite
    #[arg(long, value_name = "NAME", default_value = "postgres", value_parser = input::dialect)]
    dialect: Dialect,
    /// Output: text or json
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Configuration with the policies to ask; without it the default ones
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// User that sends it
    #[arg(long, value_name = "NAME", default_value = "app")]
    user: String,
    /// Database it is sent to
    #[arg(long, value_name = "NAME", default_value = "app")]
    database: String,
    /// Address it comes from
    #[arg(long, value_name = "IP", value_parser = input::address)]
    address: Option<IpAddr>,
    /// application_name of the session
    #[arg(long, value_name = "NAME", default_value = "")]
    application: String,
    /// Role of the session
    #[arg(long, value_name = "NAME", default_value = "")]
    role: String,
    /// search_path of the session; without it a name matches in every schema
    #[arg(long, value_name = "NAMES", value_parser = path)]
    search_path: Option<SearchPath>,
}

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs, one object a line.
    Json,
}

type SearchPath = Arc<[Arc<str>]>;

fn path(text: &str) -> Result<SearchPath, String> {
    Ok(input::search_path(text))
}

pub(super) fn run(explain: &Explain) -> ExitCode {
    let config = match &explain.config {
        None => Config::default(),
        Some(path) => match config::load_without_secrets(path) {
            Ok(config) => config,
            Err(list) => {
                terminal::complain(&list);
                return ExitCode::from(terminal::USAGE);
            }
        },
    };
    let policies = match crate::app::load_policies(&config) {
        Ok(policies) => policies,
        Err(list) => {
            terminal::complain(&list);
            return ExitCode::from(terminal::USAGE);
        }
    };
    let work = || {
        let judging = Judging::new(policies, config);
        answer_all(explain, judging)
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("explain".to_owned())
            .stack_size(STACK_BYTES);
        match thread
            .spawn_scoped(scope, work)
            .map(std::thread::ScopedJoinHandle::join)
        {
            Ok(Ok(Ok(()))) => ExitCode::SUCCESS,
            // A reader that has seen enough (`| head`) is no error.
            Ok(Ok(Err(error))) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                ExitCode::SUCCESS
            }
            Ok(Ok(Err(error))) | Err(error) => terminal::fail(&error),
            Ok(Err(_)) => ExitCode::FAILURE,
        }
    })
}

fn answer_all(explain: &Explain, mut judging: Judging) -> std::io::Result<()> {
    let usual = Circumstances {
        dialect: explain.dialect,
        client: Client {
            user: Arc::from(&*explain.user),
            database: Arc::from(&*explain.database),
            address: explain.address,
        },
        session: SessionFacts {
            application: Arc::from(&*explain.application),
            role: Arc::from(&*explain.role),
            search_path: explain.search_path.clone(),
            ..SessionFacts::default()
        },
    };
    if explain.sql.is_none() && explain.format == Format::Json {
        return lines(
            BufReader::with_capacity(1 << 16, std::io::stdin().lock()),
            &mut judging,
            &usual,
        );
    }
    let (sql, damaged) = match &explain.sql {
        Some(sql) => (sql.clone(), false),
        None => {
            let mut bytes = Vec::new();
            std::io::stdin()
                .lock()
                .take(LINE_BYTES_MAX as u64)
                .read_to_end(&mut bytes)?;
            let damaged = std::str::from_utf8(&bytes).is_err();
            (String::from_utf8_lossy(&bytes).into_owned(), damaged)
        }
    };
    let Circumstances {
        dialect,
        client,
        session,
    } = usual;
    let question = Question {
        id: Value::Null,
        sql,
        damaged,
        dialect,
        client,
        session,
        values: None,
    };
    let judged = judging.judge(&question);
    match explain.format {
        Format::Text => say(&text::page(&judged, &question.session, Paint::stdout())),
        Format::Json => say(&format!(
            "{}\n",
            answer::line(&question.id, &judged, &question.session)
        )),
    }
    Ok(())
}

/// One answer a line, whatever the lines hold.
fn lines(
    mut input: BufReader<impl Read>,
    judging: &mut Judging,
    usual: &Circumstances,
) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    let mut line = Vec::new();
    loop {
        // Whoever asks one line at a time waits for the answer before the next one.
        if input.buffer().is_empty() {
            out.flush()?;
        }
        line.clear();
        let read = (&mut input)
            .take(LINE_BYTES_MAX as u64 + 1)
            .read_until(b'\n', &mut line)?;
        if read == 0 {
            return out.flush();
        }
        if line.len() > LINE_BYTES_MAX {
            skip_line(&mut input)?;
            serde_json::to_writer(
                &mut out,
                &answer::error(&Value::Null, "the line is too long"),
            )?;
            out.write_all(b"\n")?;
            continue;
        }
        let line = line.trim_ascii();
        if !line.is_empty() {
            serde_json::to_writer(&mut out, &one(line, judging, usual))?;
            out.write_all(b"\n")?;
        }
    }
}

fn skip_line(input: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        let (used, done) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        input.consume(used);
        if done {
            return Ok(());
        }
    }
}

fn one(line: &[u8], judging: &mut Judging, usual: &Circumstances) -> Value {
    let question = match input::question(line, usual) {
        Ok(question) => question,
        Err(Unusable { id, error }) => return answer::error(&id, &error),
    };
    // One statement that finds a defect must not take the others with it.
    let answered = catch_unwind(AssertUnwindSafe(|| {
        let judged = judging.judge(&question);
        answer::line(&question.id, &judged, &question.session)
    }));
    answered.unwrap_or_else(|_| {
        judging.start_anew();
        answer::error(
            &question.id,
            "internal error: this statement found a defect",
        )
    })
}
