//! The result as a table for people, and its place in the documentation.

use std::fmt::Write as _;

use super::measure::{Measurement, Run};
use super::peers::Peer;
use crate::process;

const PAGE: &str = "docs/performance.md";
const BEGIN: &str = "<!-- bench: written by `cargo xtask bench --write` -->";
const END: &str = "<!-- bench: end -->";

/// One block for each cell: peers below each other.
pub fn print(
    measurements: &[Measurement],
    peers: &[Peer],
    missing: &[String],
    plan: &str,
) -> String {
    let mut text = format!("{plan}\n\n");
    for line in missing {
        let _ = writeln!(text, "Missing: {line}.\n");
    }
    for block in measurements.chunks(peers.len().max(1)) {
        let Some(first) = block.first() else { continue };
        let _ = writeln!(
            text,
            "| {} | tps (spread) | latency ms | proxy CPU µs per statement (spread) | memory MiB |",
            first.title
        );
        let _ = writeln!(text, "|---|---:|---:|---:|---:|");
        for measurement in block {
            let _ = writeln!(text, "{}", line(measurement));
        }
        text.push('\n');
    }
    text
}

fn line(measurement: &Measurement) -> String {
    let runs = match &measurement.runs {
        Ok(runs) => runs,
        Err(why) => return format!("| {} | {why} | | | |", measurement.peer),
    };
    let tps = Spread::of(runs, |run| run.tps);
    let cpu = Spread::of(runs, |run| run.cpu_us);
    let latency = Spread::of(runs, |run| run.latency_ms).median;
    let memory = Spread::of(runs, |run| run.memory_mib).median;
    if cpu.median == 0.0 {
        return format!(
            "| {} | {} | {latency:.3} | | |",
            measurement.peer,
            tps.show(0)
        );
    }
    format!(
        "| {} | {} | {latency:.3} | {} | {memory:.0} |",
        measurement.peer,
        tps.show(0),
        cpu.show(1)
    )
}

struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(runs: &[Run], value: impl Fn(&Run) -> f64) -> Spread {
        let mut values: Vec<f64> = runs.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(0.0);
        Spread {
            least: at(0),
            median: at(values.len() / 2),
            most: at(values.len().saturating_sub(1)),
        }
    }

    fn show(&self, digits: usize) -> String {
        format!(
            "{:.digits$} ({:.digits$} to {:.digits$})",
            self.median, self.least, self.most
        )
    }
}

/// Replaces what stands between the marks of the page.
pub fn write(text: &str) -> Result<(), String> {
    let path = process::root().join(PAGE);
    let wrong = |error: std::io::Error| format!("{PAGE}: {error}");
    let page = std::fs::read_to_string(&path).map_err(wrong)?;
    let (head, rest) = page
        .split_once(BEGIN)
        .ok_or_else(|| format!("{PAGE} has no line {BEGIN}"))?;
    let (_, tail) = rest
        .split_once(END)
        .ok_or_else(|| format!("{PAGE} has no line {END}"))?;
    std::fs::write(
        &path,
        format!("{head}{BEGIN}\n\n{}\n\n{END}{tail}", text.trim()),
    )
    .map_err(wrong)
}
