//! `portcullis import`: PgBouncer's configuration as ours.
//!
//! Everything that has an equivalent is written out, also where it was left at
//! PgBouncer's default and ours is another one. Everything else is told, with
//! what to do about it: a setting that silently means nothing is worse than one
//! that is missing.
//!
//! Read [`run`] first, then [`translate`].

mod access;
mod databases;
mod hba;
mod ini;
mod settings;
mod users;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use self::ini::Ini;
use super::terminal::{self, Paint, say};
use crate::config::{self, Diagnostic};

/// Writes a configuration that does what a PgBouncer did.
///
/// What could not be taken over is told on standard error.
#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// PgBouncer's configuration
    #[arg(value_name = "PGBOUNCER.INI")]
    ini: PathBuf,
    /// Its users; default: the file that auth_file names
    #[arg(value_name = "USERLIST.TXT")]
    userlist: Option<PathBuf>,
    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What is told beside the result.
#[derive(Debug, Default)]
struct Report {
    adapted: Vec<String>,
    unmapped: Vec<String>,
}

impl Report {
    /// Taken over, but it means something slightly different.
    fn adapted(&mut self, text: impl Into<String>) {
        self.adapted.push(text.into());
    }

    /// Not taken over.
    fn unmapped(&mut self, what: impl std::fmt::Display, why: &str) {
        self.unmapped.push(format!("{what}: {why}"));
    }
}

pub(super) fn run(import: &Import) -> ExitCode {
    match import_files(import) {
        Ok(code) => code,
        Err(problem) => {
            terminal::complain(&[Diagnostic::error(problem)]);
            ExitCode::from(terminal::USAGE)
        }
    }
}

fn import_files(import: &Import) -> Result<ExitCode, String> {
    let ini = Ini::read(&import.ini)?;
    let named = ini
        .get("pgbouncer", "auth_file")
        .map(|file| beside(&import.ini, file));
    let mut report = Report::default();
    let userlist = match (&import.userlist, named) {
        (Some(path), _) => ini::userlist(&ini::text(path)?)?,
        (None, Some(path)) => match ini::text(&path) {
            Ok(text) => ini::userlist(&text)?,
            Err(why) => {
                report.unmapped("auth_file", &format!("{why}; name the file behind the ini"));
                Vec::new()
            }
        },
        (None, None) => Vec::new(),
    };
    let hba = ini
        .get("pgbouncer", "auth_hba_file")
        .map(|file| beside(&import.ini, file));
    let hba = hba.map(|path| ini::text(&path)).transpose()?;
    let toml = translate(&ini, &userlist, hba.as_deref(), &mut report);
    write(import, &toml).map_err(|error| format!("cannot write: {error}"))?;
    tell(&report);
    // What is written here must be right; where it is not, somebody has to know.
    let name = import.out.as_deref().unwrap_or(Path::new("imported.toml"));
    let checked = config::parse(&toml, &name.display().to_string(), &|name| {
        std::env::var(name).ok()
    });
    match checked {
        Ok(config) => {
            terminal::complain(&config.warnings);
            Ok(ExitCode::SUCCESS)
        }
        Err(list) => {
            terminal::complain(&list);
            Ok(ExitCode::from(terminal::USAGE))
        }
    }
}

/// PgBouncer looks from its working folder, which is unknown; the folder of the
/// file is the better guess.
fn beside(ini: &Path, file: &str) -> PathBuf {
    match ini.parent() {
        Some(folder) if !Path::new(file).is_file() => folder.join(file),
        _ => PathBuf::from(file),
    }
}

fn write(import: &Import, toml: &str) -> std::io::Result<()> {
    let Some(path) = &import.out else {
        say(toml);
        return Ok(());
    };
    // It may hold passwords.
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)?.write_all(toml.as_bytes())
}

fn tell(report: &Report) {
    let paint = Paint::stderr();
    let mut text = String::new();
    for (heading, list) in [
        ("Taken over with a difference:", &report.adapted),
        ("Not taken over:", &report.unmapped),
    ] {
        if list.is_empty() {
            continue;
        }
        let _ = writeln!(text, "{}", paint.bold(heading));
        for line in list {
            let _ = writeln!(text, "  {line}");
        }
    }
    eprint!("{text}");
}

/// The whole file.
fn translate(
    ini: &Ini,
    userlist: &[(String, String)],
    hba: Option<&str>,
    report: &mut Report,
) -> String {
    let mut out = String::from("# Imported from PgBouncer.\n\n");
    settings::top(ini, &mut out, report);
    settings::doors(ini, &mut out, report);
    settings::rest(ini, &mut out, report);
    let people = users::People::read(ini, userlist);
    databases::write(ini, &people, &mut out, report);
    users::write(ini, &people, &mut out, report);
    access::write(ini, &people, hba, &mut out, report);
    out
}

/// A string as TOML has it.
fn quoted(text: &str) -> String {
    // JSON's escapes are TOML's, one character excepted.
    serde_json::Value::from(text)
        .to_string()
        .replace('\u{7f}', "\\u007f")
}

/// A list of strings.
fn list<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> String {
    let quoted: Vec<String> = texts
        .into_iter()
        .map(|text| quoted(text.as_ref()))
        .collect();
    format!("[{}]", quoted.join(", "))
}

/// Seconds, which may have a fraction; 0 is off in both.
fn seconds(text: &str) -> Option<String> {
    let number: f64 = text.trim().parse().ok()?;
    match number {
        n if n <= 0.0 => Some("0".to_owned()),
        n if n.fract() == 0.0 => Some(quoted(&format!("{n}s"))),
        n => Some(quoted(&format!("{}ms", (n * 1000.0).round()))),
    }
}
