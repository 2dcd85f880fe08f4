//! Short names for things that went wrong: told to the client, found in the log.

use std::sync::atomic::{AtomicU64, Ordering};

/// Crockford's alphabet: no I, L, O, U, so an id survives being read aloud.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const BITS: u64 = 40;
const MASK: u64 = (1 << BITS) - 1;

/// Makes ids that do not repeat within a process and start anywhere.
pub(super) struct Incidents {
    next: AtomicU64,
    step: u64,
}

impl Incidents {
    pub(super) fn new() -> Incidents {
        // An odd step walks through all 2^40 values before one comes twice;
        // random, so that ids of two runs do not look alike.
        Incidents {
            next: AtomicU64::new(rand::random()),
            step: rand::random::<u64>() | 1,
        }
    }

    /// Eight characters.
    pub(super) fn next(&self) -> String {
        let mut value = self.next.fetch_add(self.step, Ordering::Relaxed) & MASK;
        // Mixes high bits into low ones; both steps can be undone, so nothing collides.
        value ^= value >> 21;
        value = value.wrapping_mul(0x9E_37_79_B9_7F) & MASK;
        (0..8)
            .rev()
            .map(|i| char::from(ALPHABET[(value >> (i * 5)) as usize & 31]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_and_do_not_repeat() {
        let incidents = Incidents::new();
        let ids: std::collections::HashSet<String> =
            (0..100_000).map(|_| incidents.next()).collect();
        assert_eq!(ids.len(), 100_000);
        assert!(ids.iter().all(|id| id.len() == 8));
    }
}
