//! `portcullis check`: everything that is wrong with a file, at once.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use crate::config::{self, Config, Diagnostic, Mode};

use super::terminal::{self, Paint, say};

/// Reads a configuration and says everything that is wrong with it.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// The configuration
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Do not look up passwords in the environment and in files
    #[arg(long)]
    no_secrets: bool,
    /// Ask the servers, too: logins, roles, rights on the catalog
    #[arg(long, conflicts_with = "no_secrets")]
    connect: bool,
}

pub(super) fn run(check: &Check) -> ExitCode {
    let loaded = match check.no_secrets {
        true => config::load_without_secrets(&check.file),
        false => config::load(&check.file),
    };
    let config = match loaded {
        Ok(config) => config,
        Err(list) => {
            terminal::complain(&list);
            return ExitCode::from(terminal::USAGE);
        }
    };
    let mut list = config.warnings.clone();
    list.extend(policy_problems(&config));
    if !check.no_secrets {
        list.extend(crate::app::check_tls(&config));
        list.extend(crate::app::expiring(&config, SystemTime::now()));
    }
    list.extend(missing(&config));
    if check.connect && !list.iter().any(Diagnostic::is_error) {
        list.extend(crate::app::check_servers(&config));
    }
    if terminal::complain(&list) {
        return ExitCode::from(terminal::USAGE);
    }
    let counted =
        |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    let enforced = config
        .policies
        .iter()
        .filter(|policy| policy.mode == Mode::Enforce)
        .count();
    let paint = Paint::stdout();
    say(&format!(
        "{} {}: {}, {}, {} of {} enforced\n",
        paint.good("ok"),
        check.file.display(),
        counted(config.databases.len(), "database", "databases"),
        counted(config.users.len(), "user", "users"),
        enforced,
        counted(config.policies.len(), "policy", "policies"),
    ));
    ExitCode::SUCCESS
}

/// What the policies themselves say about their settings.
pub(super) fn policy_problems(config: &Config) -> Vec<Diagnostic> {
    crate::app::check_policies(config)
}

/// A file that can be used, but with which nobody could do anything.
fn missing(config: &Config) -> Vec<Diagnostic> {
    let mut list = Vec::new();
    if config.databases.is_empty() {
        list.push(
            Diagnostic::warning("no database is configured")
                .hint("add [[database]] with name and backend"),
        );
    }
    if !config.knows_users() {
        list.push(
            Diagnostic::warning("no user is configured")
                .hint("add [[user]] with name and password"),
        );
    }
    list
}
