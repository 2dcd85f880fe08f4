//! `cargo xtask fuzz [target] [--seconds N]`: hostile input for what reads bytes from outside.
//!
//! Needs a nightly compiler and cargo-fuzz; installs the latter. The sanitizer
//! is off: the targets are safe Rust, what they can find are panics and hangs.

use std::process::Command;

use crate::process;

/// Target and the feature of the fuzz crate that it needs.
const TARGETS: &[(&str, Option<&str>)] = &[
    ("analyze", None),
    ("config", None),
    ("postgres_wire", Some("gate")),
];

/// Runs it.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let mut seconds = "180";
    let mut only = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--seconds" {
            seconds = rest.next().ok_or("--seconds needs a number")?;
        } else {
            only = Some(argument.as_str());
        }
    }
    if !process::is_there("cargo-fuzz") {
        process::run(process::cargo().args(["install", "cargo-fuzz", "--locked"]))?;
    }
    let chosen: Vec<_> = TARGETS
        .iter()
        .filter(|target| only.is_none_or(|name| name == target.0))
        .collect();
    if chosen.is_empty() {
        return Err(format!("there is no target `{}`", only.unwrap_or_default()));
    }
    for (target, feature) in chosen {
        println!("── {target}, {seconds} s");
        fuzz(target, *feature, seconds)?;
    }
    Ok(())
}

fn fuzz(target: &str, feature: Option<&str>, seconds: &str) -> Result<(), String> {
    let fuzz = process::root().join("fuzz");
    let corpus = fuzz.join("corpus").join(target);
    std::fs::create_dir_all(&corpus).map_err(|error| format!("{}: {error}", corpus.display()))?;
    let mut command = Command::new("rustup");
    command.args([
        "run",
        "nightly",
        "cargo",
        "fuzz",
        "run",
        "--sanitizer",
        "none",
    ]);
    if let Some(feature) = feature {
        command.args(["--features", feature]);
    }
    command
        .arg(target)
        .arg(&corpus)
        .arg(fuzz.join("seeds").join(target));
    command.args(["--", "-timeout=10", "-max_len=65536", "-rss_limit_mb=4096"]);
    command.arg(format!("-max_total_time={seconds}"));
    command
        .current_dir(process::root())
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    println!("> {}", process::show(&command));
    process::run(&mut command)
}
