//! What the sessions of one worker have done with one database.

use std::cell::Cell;
use std::time::{Duration, Instant};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Sums since the start, in the words of PgBouncer's `SHOW STATS`.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counts {
            /// Both together.
            pub fn plus(self, other: Counts) -> Counts {
                Counts { $($name: self.$name.wrapping_add(other.$name),)* }
            }

            /// What came in since `then`.
            pub fn since(self, then: Counts) -> Counts {
                Counts { $($name: self.$name.saturating_sub(then.$name),)* }
            }
        }

        /// Counted by one worker.
        #[derive(Debug, Default)]
        pub(in crate::gate) struct Tally {
            $(pub(in crate::gate) $name: Cell<u64>,)*
        }

        impl Tally {
            pub(in crate::gate) fn counts(&self) -> Counts {
                Counts { $($name: self.$name.get(),)* }
            }
        }
    };
}

counts! {
    /// Times a link was given to a client.
    assignments,
    /// Transactions.
    transactions,
    /// Statements.
    queries,
    /// Bytes from clients.
    received,
    /// Bytes to clients.
    sent,
    /// Microseconds in transactions.
    transaction_us,
    /// Microseconds in statements.
    query_us,
    /// Microseconds waiting for a link.
    wait_us,
    /// Statements prepared by clients.
    client_parses,
    /// Statements prepared on servers.
    server_parses,
    /// Binds of prepared statements.
    binds,
}

pub(in crate::gate) fn add(count: &Cell<u64>, more: u64) {
    count.set(count.get().wrapping_add(more));
}

pub(in crate::gate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// When the statements of a transaction began and ended, from times that were
/// measured anyway.
#[derive(Debug, Default)]
pub(in crate::gate) struct Span {
    begun: Cell<Option<Instant>>,
    ended: Cell<Option<Instant>>,
}

impl Span {
    pub(in crate::gate) fn note(&self, started: Instant, took: Duration) {
        if self.begun.get().is_none() {
            self.begun.set(Some(started));
        }
        self.ended.set(started.checked_add(took));
    }

    /// Length of the transaction that has just ended.
    pub(in crate::gate) fn close(&self) -> Duration {
        match (self.begun.take(), self.ended.take()) {
            (Some(begun), Some(ended)) => ended.saturating_duration_since(begun),
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_lasts_from_its_first_statement_to_the_end_of_its_last() {
        let span = Span::default();
        let start = Instant::now();
        let second = Duration::from_secs(1);
        span.note(start, second);
        span.note(start + second * 5, second);
        assert_eq!(span.close(), second * 6);
        assert_eq!(span.close(), Duration::ZERO);
    }

    #[test]
    fn a_sum_that_went_back_counts_as_nothing() {
        let (less, more) = (
            Counts {
                queries: 1,
                ..Counts::default()
            },
            Counts {
                queries: 3,
                ..Counts::default()
            },
        );
        assert_eq!(more.since(less).queries, 2);
        assert_eq!(less.since(more).queries, 0);
        assert_eq!(less.plus(more).queries, 4);
    }
}
