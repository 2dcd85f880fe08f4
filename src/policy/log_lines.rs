//! What policies log: no part of a verdict, and never a flood.

use std::time::{Duration, Instant};

use super::ask::Judged;
use super::version::Version;

/// Lines per second and thread; more are left out.
const LINES_MAX: u32 = 100;

/// Writes the lines of one thread's calls.
pub(super) struct LogLines {
    since: Instant,
    lines: u32,
}

impl LogLines {
    pub(super) fn new() -> LogLines {
        LogLines {
            since: Instant::now(),
            lines: 0,
        }
    }

    /// Writes what a call logged, as far as the second has room for it.
    pub(super) fn write(&mut self, version: &Version, judged: &Judged) {
        for (level, text) in &judged.logs {
            if self.since.elapsed() >= Duration::from_secs(1) {
                (self.since, self.lines) = (Instant::now(), 0);
            }
            self.lines += 1;
            if self.lines > LINES_MAX {
                return;
            }
            line(version.name(), *level, text);
        }
    }
}

/// Levels of the interface: 1 error, 2 warning, 3 information, anything else for the author.
fn line(policy: &str, level: u32, text: &str) {
    match level {
        1 => tracing::error!(target: "policy", policy, "{text}"),
        2 => tracing::warn!(target: "policy", policy, "{text}"),
        3 => tracing::info!(target: "policy", policy, "{text}"),
        _ => tracing::debug!(target: "policy", policy, "{text}"),
    }
}
