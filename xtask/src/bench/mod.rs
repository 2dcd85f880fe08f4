//! `cargo xtask bench`: what the gate costs, side by side with its peers, in one run.
//!
//! pgbench drives PostgreSQL directly and through each proxy. Runs are
//! interleaved (every peer once, then every peer again), so that a noisy minute
//! hits all of them; the median is shown with the spread. What is missing is
//! printed, never left out in silence. The gate runs with all default policies
//! enforcing; the run fails when its own counters say that the memo did not work.
//!
//! `--seconds N` (length of a run, 5), `--rounds N` (3), `--clients 8,32`,
//! `--write` (puts the result into docs/performance.md).

mod measure;
mod peers;
mod table;

use std::process::{Command, Stdio};

use crate::postgres::{Postgres, SUPERUSER};
use crate::process;
use measure::{Cell, Measurement};
use peers::Peer;

/// The pgbench database; scale 10 is a million accounts.
const SCALE: &str = "10";

/// What pgbench runs: its flag, its name, statements in one transaction.
const LOADS: &[(&str, &str, f64)] = &[
    ("select-only", "-S", 1.0),
    ("simple-update", "-N", 5.0),
    ("tpcb-like", "TPC-B", 7.0),
];
const PROTOCOLS: &[&str] = &["simple", "extended", "prepared"];

/// What was asked for on the command line.
struct Plan {
    seconds: u32,
    rounds: usize,
    clients: Vec<u32>,
    write: bool,
}

/// Runs it.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let plan = Plan::read(arguments)?;
    println!("── building the gate for release");
    let program = build()?;
    println!("── a PostgreSQL server of its own, pgbench scale {SCALE}");
    let server = Postgres::start()?;
    let pgbench = fill(&server)?;
    let (peers, missing) = peers::start(&program, &server)?;
    for line in &missing {
        println!("missing: {line}");
    }
    let measurements = measure_all(&plan, &pgbench, &peers)?;
    let mut text = table::print(&measurements, &peers, &missing, &plan_line(&plan));
    let (counters, healthy) = gate_counters(&plan, &pgbench, &peers)?;
    text.push_str(&counters);
    println!("\n{text}");
    if plan.write {
        table::write(&text)?;
    }
    healthy
}

impl Plan {
    fn read(arguments: &[String]) -> Result<Plan, String> {
        let mut plan = Plan {
            seconds: 5,
            rounds: 3,
            clients: vec![8, 32],
            write: false,
        };
        let mut rest = arguments.iter();
        while let Some(flag) = rest.next() {
            if flag == "--write" {
                plan.write = true;
                continue;
            }
            let value = rest.next().ok_or_else(|| format!("{flag} needs a value"))?;
            let wrong = |_| format!("{flag} {value}: not a number");
            match flag.as_str() {
                "--seconds" => plan.seconds = value.parse().map_err(wrong)?,
                "--rounds" => plan.rounds = value.parse().map_err(wrong)?,
                "--clients" => {
                    let numbers: Result<_, _> = value.split(',').map(str::parse).collect();
                    plan.clients = numbers.map_err(wrong)?;
                }
                _ => {
                    return Err(format!(
                        "{flag} is not known; see the head of xtask/src/bench/mod.rs"
                    ));
                }
            }
        }
        Ok(plan)
    }
}

fn plan_line(plan: &Plan) -> String {
    format!(
        "Medians of {} interleaved runs of {} s each; scale {SCALE}; {} cores run the database, pgbench and the proxy together.",
        plan.rounds,
        plan.seconds,
        std::thread::available_parallelism().map_or(0, usize::from),
    )
}

fn build() -> Result<std::path::PathBuf, String> {
    let mut command = process::cargo();
    command.args([
        "build",
        "--release",
        "--package",
        "portcullis",
        "--bin",
        "portcullis",
    ]);
    process::build(&mut command)
}

/// Fills the database; returns where pgbench is.
fn fill(server: &Postgres) -> Result<std::path::PathBuf, String> {
    let pgbench = server.binaries.join("pgbench");
    let pgbench = if pgbench.is_file() {
        pgbench
    } else {
        "pgbench".into()
    };
    let mut command = Command::new(&pgbench);
    command.args(["-i", "-q", "-s", SCALE, "-h", "127.0.0.1", "-U", SUPERUSER]);
    command.args(["-p", &server.port.to_string(), "postgres"]);
    command.stderr(Stdio::null());
    process::run(&mut command)?;
    Ok(pgbench)
}

fn measure_all(
    plan: &Plan,
    pgbench: &std::path::Path,
    peers: &[Peer],
) -> Result<Vec<Measurement>, String> {
    let mut measurements = Vec::new();
    for (script, load, statements) in LOADS {
        for protocol in PROTOCOLS {
            for &clients in &plan.clients {
                let cell = Cell {
                    script,
                    load,
                    protocol,
                    clients,
                    statements: *statements,
                };
                println!("── {load} {protocol}, {clients} clients");
                measurements.extend(measure::cell(
                    &cell,
                    plan.rounds,
                    plan.seconds,
                    pgbench,
                    peers,
                )?);
            }
        }
    }
    Ok(measurements)
}

/// A run of its own in which the gate's counters are read before and after.
fn gate_counters(
    plan: &Plan,
    pgbench: &std::path::Path,
    peers: &[Peer],
) -> Result<(String, Result<(), String>), String> {
    let Some(gate) = peers.iter().find(|peer| peer.admin.is_some()) else {
        return Err("the gate is not among the peers".to_owned());
    };
    let cell = Cell {
        script: "select-only",
        load: "-S",
        protocol: "prepared",
        clients: 8,
        statements: 1.0,
    };
    let simple = Cell {
        protocol: "simple",
        ..cell
    };
    measure::once(&simple, 1, pgbench, gate)?; // every shape has been met
    let before = measure::counters(gate)?;
    measure::once(&simple, plan.seconds, pgbench, gate)?;
    let after = measure::counters(gate)?;
    let ratio = after.remembered_since(&before);
    let wasm = after.wasm_calls - before.wasm_calls;
    let required = (after.requirements - before.requirements)
        / (after.statements - before.statements).max(1.0);
    let text = format!(
        "\nThe gate's own counters in a run of `-S`: {:.3} % remembered verdicts, {wasm:.0} Wasm calls, \
         {required:.2} requirements enforced per statement.\n",
        ratio * 100.0,
    );
    // A remembered verdict is judged again now and then, off the path, to find policies that hide state.
    let checks = (after.verdicts() - before.verdicts()) / 500.0 + 50.0;
    let healthy = if ratio < 0.999 {
        Err(format!(
            "only {:.3} % of the verdicts were remembered; 99.9 % must be",
            ratio * 100.0
        ))
    } else if wasm > checks * 5.0 {
        Err(format!("{wasm:.0} Wasm calls in the steady state"))
    } else if required <= 0.0 {
        Err("no requirement was enforced: the configuration of the bench is wrong".to_owned())
    } else {
        Ok(())
    };
    Ok((text, healthy))
}
