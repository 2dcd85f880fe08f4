//! When a version is not asked any more: it failed on several shapes, for
//! several sessions, within a minute.
//!
//! One statement that makes a policy fail must not be enough: whoever found one
//! would choose which policies judge. A quarantined version is not asked, and
//! counts as one that fails on everything, until it is released or replaced.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::fault::{Fault, FaultKind};

/// Faults further apart have nothing to do with each other.
const WINDOW: Duration = Duration::from_secs(60);
/// Different shapes it takes.
const SHAPES: usize = 3;
/// Different sessions it takes.
const SESSIONS: usize = 2;
/// Faults that are remembered: enough to see both numbers.
const FAULTS_MAX: usize = 64;

/// Where a fault happened: the shape, and the session by any number of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) shape: u64,
    pub(super) session: usize,
}

/// The recent faults of a version, and what came of them.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    holds: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    recent: Vec<(Instant, Place)>,
    since: Option<(std::time::SystemTime, String)>,
}

impl Quarantine {
    /// Notes a fault; true when it is the one too many.
    pub(super) fn note(&self, fault: &Fault, place: Place, now: Instant) -> bool {
        let nobody = [FaultKind::Benched, FaultKind::Quarantined, FaultKind::Busy];
        if nobody.contains(&fault.kind) {
            // Nobody was asked. Who sends more than a policy can judge must not be
            // able to have it sent home.
            return false;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.since.is_some() {
            return false;
        }
        let recent = &mut state.recent;
        recent.retain(|(at, known)| now.duration_since(*at) < WINDOW && *known != place);
        if recent.len() < FAULTS_MAX {
            recent.push((now, place));
        }
        let count = |one: fn(&Place) -> u64| {
            let mut all: Vec<u64> = recent.iter().map(|(_, place)| one(place)).collect();
            all.sort_unstable();
            all.dedup();
            all.len()
        };
        let enough =
            count(|place| place.shape) >= SHAPES && count(|place| place.session as u64) >= SESSIONS;
        if enough {
            self.holds.store(true, Ordering::Relaxed);
            state.since = Some((std::time::SystemTime::now(), fault.to_string()));
            state.recent.clear();
        }
        enough
    }

    /// Whether it is not to be asked.
    pub(super) fn holds(&self) -> bool {
        self.holds.load(Ordering::Relaxed)
    }

    /// Since when, and the fault that was one too many.
    pub(super) fn since(&self) -> Option<(std::time::SystemTime, String)> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.since.clone()
    }

    /// It is asked again. False: it was asked all the time.
    pub(super) fn release(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.holds.store(false, Ordering::Relaxed);
        state.since.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_several_shapes_and_several_sessions_within_a_minute() {
        let start = Instant::now();
        let cases: [(&str, &[(u64, u64, usize)], bool); 6] = [
            (
                "one statement, however often",
                &[(0, 1, 1), (1, 1, 1), (2, 1, 1), (3, 1, 1)],
                false,
            ),
            (
                "many shapes of one session",
                &[(0, 1, 1), (1, 2, 1), (2, 3, 1), (3, 4, 1)],
                false,
            ),
            (
                "one shape of many sessions",
                &[(0, 1, 1), (1, 1, 2), (2, 1, 3), (3, 1, 4)],
                false,
            ),
            (
                "three shapes of two sessions",
                &[(0, 1, 1), (1, 2, 2), (2, 3, 1)],
                true,
            ),
            ("too far apart", &[(0, 1, 1), (1, 2, 2), (61, 3, 1)], false),
            (
                "the last three in a minute",
                &[(0, 1, 1), (50, 2, 2), (55, 3, 1), (61, 4, 1)],
                true,
            ),
        ];
        for (title, faults, expected) in cases {
            let quarantine = Quarantine::default();
            let mut came = false;
            for (second, shape, session) in faults {
                let place = Place {
                    shape: *shape,
                    session: *session,
                };
                let fault = Fault::new(FaultKind::Trap, "x");
                came |= quarantine.note(&fault, place, start + Duration::from_secs(*second));
            }
            assert_eq!(came, expected, "{title}");
            assert_eq!(quarantine.since().is_some(), expected, "{title}");
            assert_eq!(quarantine.release(), expected, "{title}");
            assert!(quarantine.since().is_none());
        }
    }
}
