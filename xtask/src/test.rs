//! `cargo xtask test`: everything CI checks, in the order in which it fails fastest.
//!
//! All parts name the same packages (`--workspace`), so that every crate is
//! compiled with one set of features, once for the lints and once for the tests.
//! `cargo xtask test PART…` runs some parts only; `--list` names them.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::{drivers, examples, postgres, process, setup};

/// One part: a name, what it proves, how to run it.
struct Part {
    name: &'static str,
    what: &'static str,
    run: fn() -> Result<(), String>,
}

const PARTS: &[Part] = &[
    Part {
        name: "setup",
        what: "what the tests need is installed",
        run: install,
    },
    Part {
        name: "format",
        what: "rustfmt has nothing to say",
        run: format,
    },
    Part {
        name: "lints",
        what: "clippy has nothing to say, on all targets",
        run: lints,
    },
    Part {
        name: "small-build",
        what: "what policy authors link compiles alone",
        run: small_build,
    },
    Part {
        name: "compile",
        what: "the gate, its policies and all tests compile",
        run: compile,
    },
    Part {
        name: "unit",
        what: "unit tests, golden cases natively",
        run: unit,
    },
    Part {
        name: "docs",
        what: "examples in the documentation work",
        run: docs,
    },
    Part {
        name: "golden",
        what: "the default policies as components: loading one runs its golden cases",
        run: golden,
    },
    Part {
        name: "examples",
        what: "the example policies: natively, and as components in the gate",
        run: examples::run,
    },
    Part {
        name: "integration",
        what: "the gate in front of real databases",
        run: integration,
    },
    Part {
        name: "newest",
        what: "the groups with most of the protocol in them, in front of PostgreSQL 18",
        run: newest,
    },
];

/// Groups of the suite that run once more in front of the newest server.
const NEWEST: &[&str] = &[
    "builtins",
    "differential",
    "harness",
    "refusals",
    "limits",
    "pooling",
    "drivers",
    "tls",
];

/// Runs it.
pub fn run(arguments: &[String]) -> Result<(), String> {
    if arguments.iter().any(|argument| argument == "--list") {
        for part in PARTS {
            println!("{:<12} {}", part.name, part.what);
        }
        return Ok(());
    }
    let chosen = choose(arguments)?;
    let mut times: Vec<(&str, Duration)> = Vec::new();
    let mut outcome = Ok(());
    for (number, part) in chosen.iter().enumerate() {
        println!(
            "\n── {} of {}: {} ({})",
            number + 1,
            chosen.len(),
            part.name,
            part.what
        );
        let started = Instant::now();
        let result = (part.run)();
        times.push((part.name, started.elapsed()));
        if let Err(why) = result {
            outcome = Err(format!(
                "{why}\nrun this part alone with: cargo xtask test {}",
                part.name
            ));
            break;
        }
    }
    print_times(&times);
    outcome
}

fn choose(names: &[String]) -> Result<Vec<&'static Part>, String> {
    if names.is_empty() {
        return Ok(PARTS.iter().collect());
    }
    let find = |name: &String| {
        let part = PARTS.iter().find(|part| part.name == name);
        part.ok_or_else(|| {
            format!("there is no part `{name}`; `cargo xtask test --list` names them")
        })
    };
    names.iter().map(find).collect()
}

fn print_times(times: &[(&str, Duration)]) {
    println!("\n{:<12} {:>8}", "part", "seconds");
    for (name, time) in times {
        println!("{name:<12} {:>8.1}", time.as_secs_f64());
    }
    let total: Duration = times.iter().map(|(_, time)| *time).sum();
    println!("{:<12} {:>8.1}\n", "all", total.as_secs_f64());
}

fn install() -> Result<(), String> {
    setup::run(&[])?;
    if let Some(folder) = postgres::find_binaries() {
        println!("PostgreSQL server binaries in {}", folder.display());
    } else {
        setup::apt(&["postgresql"])?;
        postgres::find_binaries()
            .ok_or("the package postgresql is installed, but there is no initdb")?;
    }
    if !process::is_there("psql") {
        setup::apt(&["postgresql-client"])?;
    }
    Ok(())
}

fn cargo(arguments: &[&str]) -> Result<(), String> {
    let mut command = process::cargo();
    command.args(arguments);
    announce(&command);
    process::run(&mut command)
}

/// Tests with servers: here a missing one is a failure, not a skipped test.
fn test(arguments: &[&str]) -> Result<(), String> {
    let mut command = process::cargo();
    command
        .args(["test", "--workspace"])
        .args(arguments)
        .env("REQUIRE_SERVERS", "1");
    announce(&command);
    process::run(&mut command)
}

fn announce(command: &Command) {
    println!("> {}", process::show(command));
}

fn format() -> Result<(), String> {
    cargo(&["fmt", "--all", "--", "--check"])
}

fn lints() -> Result<(), String> {
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ])
}

fn small_build() -> Result<(), String> {
    cargo(&[
        "check",
        "--package",
        "portcullis",
        "--lib",
        "--no-default-features",
    ])
}

fn compile() -> Result<(), String> {
    test(&["--no-run", "--lib", "--bins", "--tests"])
}

fn unit() -> Result<(), String> {
    test(&["--lib", "--bins", "--test", "hooks"])
}

fn docs() -> Result<(), String> {
    test(&["--doc"])
}

fn golden() -> Result<(), String> {
    test(&["--lib", "policy::tests::defaults"])
}

fn integration() -> Result<(), String> {
    test(&["--test", "it"])
}

fn newest() -> Result<(), String> {
    let server = drivers::server().ok_or("there is no PostgreSQL 18: run `cargo xtask setup`")?;
    println!("PostgreSQL server binaries in {}", server.display());
    let mut command = process::cargo();
    command
        .args(["test", "--workspace", "--test", "it", "--"])
        .args(NEWEST)
        .env("REQUIRE_SERVERS", "1")
        .env(postgres::BINARIES, server);
    announce(&command);
    process::run(&mut command)
}
