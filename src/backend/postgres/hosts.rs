//! The hosts of one database: which to try, in which order, at which addresses.
//!
//! As in libpq: hosts one after another, the addresses of each in turn, and a
//! server that does not play the part that is wanted is left again. Beyond it,
//! a host that failed is tried last for a while, the one that was right is
//! tried first, and names are looked up anew in the background: an address
//! that has gone takes its links with it, a resolver that fails takes nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::seq::SliceRandom;

use super::Error;
use crate::config::{HostName, Hosts as Named, Wanted};

/// First pause of a host that failed; doubled with each further failure.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long an answer of the resolver is believed where nobody asks it regularly.
const BELIEVED: Duration = Duration::from_secs(60);
/// Names with more addresses than this are cut.
const ADDRESSES_MAX: usize = 64;

/// See the head of this file. Shared by everybody who connects there.
#[derive(Debug)]
pub struct Hosts {
    hosts: Vec<Host>,
    wanted: Wanted,
    random: bool,
}

#[derive(Debug)]
struct Host {
    name: HostName,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// Not before, unless no other can be had.
    until: Option<Instant>,
    /// The last login there was what was wanted.
    good: bool,
    /// What the name stood for when it was looked up last; none: never.
    addresses: Option<(Instant, Vec<Arc<str>>)>,
}

/// One address to try.
#[derive(Debug, Clone)]
pub struct Spot {
    /// The host as configured; what a certificate must be for.
    pub name: Arc<str>,
    /// What to connect to: an IP address, or the directory of a Unix socket.
    pub address: Arc<str>,
    /// Port.
    pub port: u16,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HostName {
    /// Whether it needs no looking up.
    fn is_literal(&self) -> bool {
        self.name.starts_with('/') || self.name.parse::<IpAddr>().is_ok()
    }
}

impl Hosts {
    /// As configured.
    pub fn new(named: &Named) -> Arc<Hosts> {
        let host = |name: &HostName| Host {
            name: name.clone(),
            state: Mutex::default(),
        };
        Arc::new(Hosts {
            hosts: named.list.iter().map(host).collect(),
            wanted: named.wanted,
            random: named.random,
        })
    }

    /// What part the server must play.
    pub fn wanted(&self) -> Wanted {
        self.wanted
    }

    /// The numbers of the hosts, in the order in which they are tried.
    pub(super) fn order(&self) -> Vec<usize> {
        let now = Instant::now();
        let mut order: Vec<usize> = (0..self.hosts.len()).collect();
        if self.random {
            order.shuffle(&mut rand::rng());
        }
        let rank = |at: &usize| {
            let state = lock(&self.hosts[*at].state);
            let paused = state.until.is_some_and(|until| now < until);
            // Whoever wants any server in turn has no favourite.
            (paused, self.random || !state.good)
        };
        order.sort_by_key(rank);
        order
    }

    /// The addresses of a host, looked up when nobody has done so before.
    pub(super) async fn spots(&self, host: usize) -> Result<Vec<Spot>, Error> {
        let known = lock(&self.hosts[host].state).addresses.clone();
        let mut addresses = match known {
            Some((at, known)) if at.elapsed() < BELIEVED => known,
            known => match resolve(&self.hosts[host].name).await {
                Ok(found) => {
                    let answer = (Instant::now(), found.clone());
                    lock(&self.hosts[host].state).addresses = Some(answer);
                    found
                }
                // What was right a moment ago is better than nothing.
                Err(error) => known.ok_or(Error::Connect(error))?.1,
            },
        };
        if self.random {
            addresses.shuffle(&mut rand::rng());
        }
        let HostName { name, port } = self.hosts[host].name.clone();
        let spot = |address| Spot {
            name: name.clone(),
            address,
            port,
        };
        Ok(addresses.into_iter().map(spot).collect())
    }

    /// This host let us in, and is what was wanted.
    pub(super) fn note_good(&self, host: usize) {
        for (at, other) in self.hosts.iter().enumerate() {
            let mut state = lock(&other.state);
            state.good = at == host;
            if at == host {
                (state.failures, state.until) = (0, None);
            }
        }
    }

    /// This host could not be used: others first, for a while.
    pub(super) fn note_failure(&self, host: usize) {
        let mut state = lock(&self.hosts[host].state);
        let doublings = state.failures.min(10);
        state.failures = state.failures.saturating_add(1);
        state.good = false;
        let pause = PAUSE.saturating_mul(1 << doublings).min(PAUSE_MAX);
        state.until = Instant::now().checked_add(pause);
    }

    /// Whether a link to this address leads where the names lead now.
    pub fn knows(&self, address: &str) -> bool {
        self.hosts.iter().any(|host| {
            let state = lock(&host.state);
            let known = state.addresses.as_ref();
            known.is_none_or(|(_, known)| known.iter().any(|known| **known == *address))
        })
    }

    /// Looks the names up anew. True: an address has gone.
    pub async fn refresh(&self) -> bool {
        self.refresh_with(resolve).await
    }

    async fn refresh_with<'h, R>(&'h self, resolver: impl Fn(&'h HostName) -> R) -> bool
    where
        R: Future<Output = std::io::Result<Vec<Arc<str>>>>,
    {
        let mut gone = false;
        for host in self.hosts.iter().filter(|host| !host.name.is_literal()) {
            match resolver(&host.name).await {
                Ok(found) => {
                    let answer = (Instant::now(), found.clone());
                    let before = lock(&host.state).addresses.replace(answer);
                    let found: BTreeSet<_> = found.into_iter().collect();
                    let left = |old: &Arc<str>| !found.contains(old);
                    gone |= before.is_some_and(|(_, old)| old.iter().any(left));
                }
                // What was right a moment ago is better than nothing.
                Err(error) => {
                    tracing::warn!(host = &*host.name.name, %error, "the name cannot be looked up");
                }
            }
        }
        gone
    }
}

async fn resolve(host: &HostName) -> std::io::Result<Vec<Arc<str>>> {
    if host.is_literal() {
        return Ok(vec![host.name.clone()]);
    }
    let mut found: Vec<Arc<str>> = Vec::new();
    for address in tokio::net::lookup_host((&*host.name, host.port)).await? {
        let text: Arc<str> = address.ip().to_string().into();
        if !found.contains(&text) && found.len() < ADDRESSES_MAX {
            found.push(text);
        }
    }
    match found.is_empty() {
        true => Err(std::io::Error::other("the name has no address")),
        false => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(names: &[&str], random: bool) -> Arc<Hosts> {
        Hosts::new(&Named {
            list: names
                .iter()
                .map(|name| HostName {
                    name: Arc::from(*name),
                    port: 5432,
                })
                .collect(),
            wanted: Wanted::Any,
            random,
        })
    }

    #[test]
    fn what_failed_comes_last_and_what_was_right_first() {
        let hosts = hosts(&["10.0.0.1", "10.0.0.2", "10.0.0.3"], false);
        assert_eq!(hosts.order(), [0, 1, 2]);
        hosts.note_failure(0);
        assert_eq!(hosts.order(), [1, 2, 0]);
        hosts.note_good(2);
        assert_eq!(hosts.order(), [2, 1, 0]);
        hosts.note_good(0);
        assert_eq!(hosts.order(), [0, 1, 2]);
    }

    #[test]
    fn random_order_has_no_favourite() {
        let hosts = hosts(&["10.0.0.1", "10.0.0.2", "10.0.0.3"], true);
        hosts.note_good(2);
        let firsts: BTreeSet<usize> = (0..200).map(|_| hosts.order()[0]).collect();
        assert_eq!(firsts.len(), 3);
        hosts.note_failure(1);
        assert!((0..50).all(|_| hosts.order()[2] == 1));
    }

    #[tokio::test]
    async fn addresses_are_followed_and_kept_when_nobody_knows_better() {
        let hosts = hosts(&["db.example"], false);
        let answer = |list: &'static [&'static str]| {
            move |_: &HostName| {
                std::future::ready(Ok(list.iter().map(|a| Arc::from(*a)).collect::<Vec<_>>()))
            }
        };
        assert!(hosts.knows("10.0.0.9"), "nothing is known yet");
        assert!(!hosts.refresh_with(answer(&["10.0.0.1", "10.0.0.2"])).await);
        assert!(hosts.knows("10.0.0.1") && !hosts.knows("10.0.0.9"));
        let failing = |_: &HostName| std::future::ready(Err(std::io::Error::other("down")));
        assert!(!hosts.refresh_with(failing).await);
        assert!(hosts.knows("10.0.0.1"));
        assert!(
            !hosts
                .refresh_with(answer(&["10.0.0.2", "10.0.0.1", "10.0.0.3"]))
                .await
        );
        assert!(hosts.refresh_with(answer(&["10.0.0.3"])).await);
        assert!(!hosts.knows("10.0.0.1") && hosts.knows("10.0.0.3"));
        let spots = hosts.spots(0).await.unwrap();
        assert_eq!(&*spots[0].address, "10.0.0.3");
        assert_eq!(&*spots[0].name, "db.example");
    }

    #[tokio::test]
    async fn addresses_and_sockets_are_taken_as_they_are() {
        let hosts = hosts(&["::1", "/run/postgresql"], false);
        assert!(!hosts.refresh().await);
        for (at, wanted) in ["::1", "/run/postgresql"].iter().enumerate() {
            let spots = hosts.spots(at).await.unwrap();
            assert_eq!(&*spots[0].address, *wanted);
        }
    }
}
