//! Failed logins by address: whoever guesses passwords is not asked any more.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Error, TurnedAway};
use crate::config::Limits;
use crate::model::UserMessage;

/// Addresses remembered. Beyond that the one whose time ends first is forgotten:
/// a guesser with that many addresses is not stopped by counting them.
const ADDRESSES_MAX: usize = 10_000;

/// Failed logins of late, shared by all doors.
#[derive(Debug, Default)]
pub struct Attempts {
    table: Mutex<HashMap<IpAddr, Failures>>,
    /// Keyed anew in each process: nobody finds names that look alike.
    names: std::hash::RandomState,
}

#[derive(Debug)]
struct Failures {
    /// When the first of them is forgotten, and all with it.
    until: Instant,
    /// For which names; at most as many as are let pass.
    names: Vec<u64>,
}

/// One login that is going on.
pub(super) struct Attempt<'a> {
    attempts: &'a Attempts,
    /// None on a Unix socket: who comes over one is known to the system.
    address: Option<IpAddr>,
    most: usize,
    window: Duration,
    name: u64,
}

/// A provider hands out a /64 to one customer, who may use every address of it.
fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => Ipv6Addr::from_bits(six.to_bits() >> 64 << 64).into(),
        four => four,
    }
}

impl Attempts {
    pub(super) fn attempt(
        &self,
        limits: &Limits,
        address: Option<IpAddr>,
        name: &str,
    ) -> Attempt<'_> {
        Attempt {
            attempts: self,
            address: address.map(group),
            most: limits.logins_failed_max,
            window: limits.logins_failed_window,
            name: self.names.hash_one(name),
        }
    }
}

impl Attempt<'_> {
    fn of<T>(&self, work: impl FnOnce(&mut HashMap<IpAddr, Failures>, IpAddr) -> T) -> Option<T> {
        let address = self.address.filter(|_| self.most > 0)?;
        let table = self.attempts.table.lock();
        Some(work(
            &mut table.unwrap_or_else(PoisonError::into_inner),
            address,
        ))
    }

    /// Refuses an address that has failed too often. Asked again before the
    /// verdict: whoever begins a thousand logins at once gets no more guesses.
    pub(super) fn check(&self) -> Result<(), Error> {
        let now = Instant::now();
        let left = self.of(|table, address| {
            let failures = table.get(&address)?;
            let locked = failures.until > now && failures.names.len() >= self.most;
            locked.then(|| failures.until - now)
        });
        let Some(left) = left.flatten() else {
            return Ok(());
        };
        let message = UserMessage::fatal("28000", "too many failed logins from this address")
            .hint(format!("Try again in {} seconds.", left.as_secs() + 1));
        Err(TurnedAway::new(message).because("attempts").into())
    }

    pub(super) fn failed(&self) {
        let now = Instant::now();
        self.of(|table, address| {
            if table.len() >= ADDRESSES_MAX && !table.contains_key(&address) {
                make_room(table, now);
            }
            let failures = table.entry(address).or_insert_with(|| Failures {
                until: now + self.window,
                names: Vec::new(),
            });
            if failures.until <= now {
                failures.until = now + self.window;
                failures.names.clear();
            }
            if failures.names.len() < self.most {
                failures.names.push(self.name);
            }
        });
    }

    /// Forgets the failures under this name, and no others: knowing one password
    /// must not give more guesses at another.
    pub(super) fn succeeded(&self) {
        self.of(|table, address| {
            if let Some(failures) = table.get_mut(&address) {
                failures.names.retain(|name| *name != self.name);
                if failures.names.is_empty() {
                    table.remove(&address);
                }
            }
        });
    }
}

fn make_room(table: &mut HashMap<IpAddr, Failures>, now: Instant) {
    table.retain(|_, failures| failures.until > now);
    if table.len() < ADDRESSES_MAX {
        return;
    }
    let soonest = table.iter().min_by_key(|(_, failures)| failures.until);
    if let Some(address) = soonest.map(|(address, _)| *address) {
        table.remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(most: usize, window: Duration) -> Limits {
        Limits {
            logins_failed_max: most,
            logins_failed_window: window,
            ..Limits::default()
        }
    }

    fn from(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_network_that_guesses_is_stopped_and_others_are_not() {
        let (attempts, limits) = (Attempts::default(), limits(2, Duration::from_secs(60)));
        let attempt = |address, name| attempts.attempt(&limits, address, name);
        for address in ["2001:db8::1", "2001:db8::2"] {
            attempt(from(address), "ann").failed();
        }
        assert!(attempt(from("2001:db8::ffff:3"), "bob").check().is_err());
        assert!(attempt(from("2001:db8:0:1::1"), "ann").check().is_ok());
        for address in ["192.0.2.1", "::ffff:192.0.2.1"] {
            attempt(from(address), "ann").failed();
        }
        assert!(attempt(from("192.0.2.1"), "ann").check().is_err());
        assert!(attempt(from("192.0.2.2"), "ann").check().is_ok());
        for _ in 0..9 {
            attempt(None, "ann").failed();
        }
        assert!(attempt(None, "ann").check().is_ok(), "a Unix socket");
    }

    #[test]
    fn a_success_forgives_only_its_own_name() {
        let (attempts, limits) = (Attempts::default(), limits(2, Duration::from_secs(60)));
        let attempt = |name| attempts.attempt(&limits, from("192.0.2.1"), name);
        attempt("victim").failed();
        attempt("own").failed();
        attempt("own").succeeded();
        assert!(attempt("victim").check().is_ok());
        attempt("victim").failed();
        attempt("own").succeeded();
        assert!(attempt("victim").check().is_err());
    }

    #[test]
    fn the_table_is_bounded_and_time_heals() {
        let attempts = Attempts::default();
        let long = limits(1, Duration::from_secs(60));
        for i in 0..ADDRESSES_MAX as u32 + 50 {
            let address = IpAddr::from(std::net::Ipv4Addr::from_bits(i));
            attempts.attempt(&long, Some(address), "x").failed();
        }
        assert_eq!(attempts.table.lock().unwrap().len(), ADDRESSES_MAX);
        let attempts = Attempts::default();
        let short = limits(1, Duration::from_millis(20));
        let attempt = attempts.attempt(&short, from("192.0.2.1"), "x");
        attempt.failed();
        assert!(attempt.check().is_err());
        std::thread::sleep(Duration::from_millis(30));
        assert!(attempt.check().is_ok());
        let off = limits(0, Duration::from_secs(60));
        let attempt = attempts.attempt(&off, from("192.0.2.1"), "x");
        attempt.failed();
        assert!(attempt.check().is_ok());
    }
}
