//! What one policy has done, over all workers.

use super::shard::Family;
use super::{Telemetry, lock};

/// Sums since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PolicyCounts {
    /// Statements it refused.
    pub refused: u64,
    /// Statements it would have refused, in monitor mode.
    pub would_refuse: u64,
    /// Alerts it raised.
    pub alerts: u64,
    /// Times it failed.
    pub faults: u64,
}

impl Telemetry {
    /// What the policy with this name has done.
    pub fn of_policy(&self, name: &str) -> PolicyCounts {
        let mut sums = PolicyCounts::default();
        for shard in lock(&self.inner.shards).iter() {
            for ((family, policy, ..), count) in shard.rare_counts() {
                if *policy != *name {
                    continue;
                }
                match family {
                    Family::Refusals => sums.refused += count,
                    Family::WouldRefuse => sums.would_refuse += count,
                    Family::Alerts => sums.alerts += count,
                    Family::Faults => sums.faults += count,
                    _ => {}
                }
            }
        }
        sums
    }
}
