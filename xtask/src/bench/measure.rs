//! One pgbench run, and what it cost the proxy.

use std::path::Path;
use std::process::{Command, Stdio};

use super::peers::{self, Peer};
use crate::postgres::SUPERUSER;

/// One line of the table, for all peers.
#[derive(Debug, Clone, Copy)]
pub struct Cell<'a> {
    /// pgbench's name of the built-in script.
    pub script: &'a str,
    /// What people call it.
    pub load: &'a str,
    /// pgbench's query mode.
    pub protocol: &'a str,
    /// Clients at once.
    pub clients: u32,
    /// Statements in one transaction of the script.
    pub statements: f64,
}

/// What one run showed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Run {
    /// Transactions a second.
    pub tps: f64,
    /// Mean time of one transaction.
    pub latency_ms: f64,
    /// CPU time of the proxy for one statement.
    pub cpu_us: f64,
    /// Resident memory of the proxy behind the run.
    pub memory_mib: f64,
}

/// All runs of one peer in one cell; an error where it cannot do this.
#[derive(Debug)]
pub struct Measurement {
    /// `-S prepared, 8 clients`.
    pub title: String,
    /// Name of the peer.
    pub peer: String,
    /// In the order they were made.
    pub runs: Result<Vec<Run>, String>,
}

/// Every peer once, then every peer again.
pub fn cell(
    cell: &Cell<'_>,
    rounds: usize,
    seconds: u32,
    pgbench: &Path,
    peers: &[Peer],
) -> Result<Vec<Measurement>, String> {
    let title = format!(
        "`{}` {}, {} clients",
        cell.load, cell.protocol, cell.clients
    );
    let new = |peer: &Peer| Measurement {
        title: title.clone(),
        peer: peer.name.clone(),
        runs: Ok(Vec::new()),
    };
    let mut measurements: Vec<Measurement> = peers.iter().map(new).collect();
    for _ in 0..rounds {
        for (peer, measurement) in peers.iter().zip(&mut measurements) {
            let Ok(runs) = &mut measurement.runs else {
                continue;
            };
            match peer.cannot(cell.protocol).map_or_else(
                || once(cell, seconds, pgbench, peer),
                |why| Err(why.to_owned()),
            ) {
                Ok(run) => runs.push(run),
                Err(why) => {
                    println!("{}: {title}: {why}", peer.name);
                    measurement.runs = Err(why);
                }
            }
        }
    }
    Ok(measurements)
}

/// One run.
pub fn once(cell: &Cell<'_>, seconds: u32, pgbench: &Path, peer: &Peer) -> Result<Run, String> {
    let before = peer.process.map(peers::cpu_seconds);
    let output = Command::new(pgbench)
        .args([
            "-n",
            "-b",
            cell.script,
            "-M",
            cell.protocol,
            "-T",
            &seconds.to_string(),
        ])
        .args([
            "-c",
            &cell.clients.to_string(),
            "-j",
            "2",
            "-h",
            "127.0.0.1",
            "-U",
            SUPERUSER,
        ])
        .args(["-p", &peer.port.to_string(), "postgres"])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("pgbench: {error}"))?;
    let after = peer.process.map(peers::cpu_seconds);
    let text = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    let trouble = failed
        .lines()
        .find(|line| line.contains("error") || line.contains("aborted"));
    if let (false, _) | (_, Some(_)) = (output.status.success(), trouble) {
        return Err(format!(
            "pgbench failed: {}",
            trouble
                .or(failed.lines().last())
                .unwrap_or("no reason given")
        ));
    }
    let number = |line: &str| {
        text.lines().find_map(|l| {
            l.strip_prefix(line)?
                .split([' ', '/'])
                .next()?
                .parse::<f64>()
                .ok()
        })
    };
    let transactions =
        number("number of transactions actually processed: ").ok_or("pgbench printed no count")?;
    let cpu = match (before, after) {
        (Some(before), Some(after)) => after - before,
        _ => 0.0,
    };
    Ok(Run {
        tps: number("tps = ").ok_or("pgbench printed no throughput")?,
        latency_ms: number("latency average = ").ok_or("pgbench printed no latency")?,
        cpu_us: cpu * 1e6 / (transactions * cell.statements).max(1.0),
        memory_mib: peer.process.map_or(0.0, peers::memory_mib),
    })
}

/// Sums of the gate's counters.
#[derive(Debug, Clone, Copy)]
pub struct Counters {
    remembered: f64,
    judged: f64,
    /// Calls into Wasm.
    pub wasm_calls: f64,
    /// Requirements that statements ran under.
    pub requirements: f64,
    /// Statements.
    pub statements: f64,
}

impl Counters {
    /// All verdicts.
    pub fn verdicts(&self) -> f64 {
        self.remembered + self.judged
    }

    /// Share of remembered verdicts since.
    pub fn remembered_since(&self, before: &Counters) -> f64 {
        (self.remembered - before.remembered) / (self.verdicts() - before.verdicts()).max(1.0)
    }
}

/// Reads `/metrics`.
pub fn counters(gate: &Peer) -> Result<Counters, String> {
    let page = peers::metrics(gate)?;
    let sum = |name: &str, label: &str| -> f64 {
        let lines = page
            .lines()
            .filter(|line| line.starts_with(name) && line.contains(label));
        lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    };
    Ok(Counters {
        remembered: sum("portcullis_verdicts_total", "\"remembered\""),
        judged: sum("portcullis_verdicts_total", "\"judged\""),
        wasm_calls: sum("portcullis_wasm_calls_total", ""),
        requirements: sum("portcullis_requirements_total", ""),
        statements: sum("portcullis_statements_total", ""),
    })
}
