//! Logging in to a server that does not answer: later each time, one at a time.
//!
//! When a server is gone every waiting client would try at once, and once more
//! when it comes back. After a failure the next attempt waits, longer with each
//! further one, and as long as there are failures only one is made at a time.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::super::link::Link;
use super::Error;

/// Pause behind the first failure; doubled with each further one.
const FIRST: Duration = Duration::from_millis(50);
/// Longest pause.
const LONGEST: Duration = Duration::from_secs(2);

/// How the last attempts went.
#[derive(Debug, Default)]
pub(super) struct Pace {
    failures: Mutex<Failures>,
    /// Held by the one that tries while there are failures.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Failures {
    count: u32,
    last: Option<Instant>,
}

impl Failures {
    /// When the next attempt may be made.
    fn until(self) -> Option<Instant> {
        let doublings = self.count.checked_sub(1)?.min(10);
        let pause = FIRST.saturating_mul(1 << doublings).min(LONGEST);
        self.last?.checked_add(pause)
    }
}

impl Pace {
    /// Makes one attempt when its time has come.
    pub(super) async fn attempt(
        &self,
        login: impl Future<Output = Result<Link, Error>>,
    ) -> Result<Link, Error> {
        if self.known().count == 0 {
            return self.note(login.await);
        }
        let _turn = self.turn.lock().await;
        // Whoever was before has changed it; a success lets all through at once.
        if let Some(until) = self.known().until() {
            tokio::time::sleep_until(until.into()).await;
        }
        self.note(login.await)
    }

    fn known(&self) -> Failures {
        *self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, result: Result<Link, Error>) -> Result<Link, Error> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match &result {
            // A server that says no is there.
            Ok(_) | Err(Error::Refused(_) | Error::Authentication(_)) => {
                *failures = Failures::default();
            }
            Err(_) => {
                failures.count = failures.count.saturating_add(1);
                failures.last = Some(Instant::now());
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let now = Instant::now();
        let pause = |count| {
            let failures = Failures {
                count,
                last: Some(now),
            };
            failures.until().map(|until| until - now)
        };
        assert_eq!(pause(0), None);
        assert_eq!(pause(1), Some(FIRST));
        assert_eq!(pause(3), Some(FIRST * 4));
        assert_eq!(pause(30), Some(LONGEST));
    }
}
