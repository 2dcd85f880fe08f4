//! The project's chores: `cargo xtask <command>`.
//!
//! Depends on nothing heavy, so that `setup` runs seconds after a clone.

mod bench;
mod demo;
mod docs;
mod drivers;
mod examples;
mod fuzz;
#[path = "../../tests/it/support/languages.rs"]
mod languages;
mod policy;
#[path = "../../tests/it/support/postgres.rs"]
mod postgres;
mod process;
mod setup;
mod test;

use std::process::ExitCode;

type Command = fn(&[String]) -> Result<(), String>;

const COMMANDS: &[(&str, Command, &str)] = &[
    ("setup", setup::run, "install what the build needs"),
    (
        "demo",
        demo::run,
        "build, start the gate on a sample database, play a scenario",
    ),
    ("test", test::run, "everything CI checks"),
    (
        "bench",
        bench::run,
        "compare with a direct connection and with other proxies",
    ),
    ("docs", docs::run, "write the generated pages of docs/"),
    ("fuzz", fuzz::run, "run the fuzz targets"),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().map_or("help", String::as_str);
    let Some((_, command, _)) = COMMANDS.iter().find(|(known, _, _)| *known == name) else {
        help();
        return if name == "help" {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(2)
        };
    };
    match command(&arguments[1..]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn help() {
    println!("cargo xtask <command>\n");
    for (name, _, what) in COMMANDS {
        println!("  {name:<12} {what}");
    }
}
