//! The command line: arguments in, words and an exit code out.
//!
//! Exit codes: 0, all is well; 1, something failed; 64, the configuration or
//! the arguments are wrong (2 when clap says so).
//!
//! Deliberately not here: anything another program would want to call.
//!
//! Read [`main`] first.

mod check;
mod demo;
mod explain;
mod import;
mod init;
mod live;
mod plugin;
mod policies;
mod refusals;
mod replay;
mod run;
mod terminal;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A programmable gate in front of a database.
///
/// Portcullis reads every statement, asks sandboxed policies whether it may run
/// and under which conditions, and enforces those conditions itself.
#[derive(Debug, Parser)]
#[command(
    name = "portcullis",
    version,
    propagate_version = true,
    verbatim_doc_comment
)]
#[command(after_help = "Start here:\n  \
    portcullis demo                                  try it on a sample database\n  \
    portcullis init --backend postgres://me@host/db  write a first configuration\n  \
    portcullis explain \"delete from users\"           see what a statement is")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Init),
    Run(run::Run),
    Check(check::Check),
    Import(import::Import),
    Explain(explain::Explain),
    Replay(replay::Replay),
    Demo(demo::Demo),
    Refusals(refusals::Refusals),
    Policies(policies::Policies),
    Plugin(plugin::Plugin),
}

/// Runs the program.
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Init(arguments) => init::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Import(arguments) => import::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Refusals(arguments) => refusals::run(&arguments),
        Command::Policies(arguments) => policies::run(&arguments),
        Command::Plugin(arguments) => plugin::run(&arguments),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn arguments_are_consistent() {
        super::Arguments::command().debug_assert();
    }

    #[test]
    fn help_fits_an_ordinary_terminal() {
        let mut command = super::Arguments::command();
        command.build();
        let mut pages = vec![command.render_long_help().to_string()];
        pages.extend(
            command
                .get_subcommands_mut()
                .map(|command| command.render_long_help().to_string()),
        );
        for line in pages.iter().flat_map(|page| page.lines()) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
