//! TLS and address lists of the doors: built from the configuration, replaced by
//! a reload while connections go on.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;

use crate::backend::postgres::dial::encryption;
use crate::config::tls::Origin;
use crate::config::{self, Backend, Config, Diagnostic, Endpoint, Gates, Source, networks};
use crate::net::accept::Admit;
use crate::net::tls;
use crate::net::tls::certificate::expires;
use crate::telemetry::{Event, Telemetry};

/// Days before a certificate runs out from which on that is told.
const SOON: u64 = 14;

const DAY: u64 = 86_400;

/// What every door speaks at this moment, in the order of the listeners.
#[derive(Debug, Default)]
pub struct Doors(Vec<Door>);

#[derive(Debug)]
struct Door {
    /// As configured: a reload knows the door by it.
    address: Endpoint,
    now: ArcSwap<Entrance>,
}

/// What a door asks of those who come, at this moment.
#[derive(Debug, Default)]
pub struct Entrance {
    /// Encryption; none: not offered.
    pub tls: Option<Arc<tls::Server>>,
    /// Who may come.
    pub gates: Arc<Gates>,
}

impl Doors {
    /// One for each listener.
    pub(super) fn open(config: &Config) -> Result<Doors, Vec<Diagnostic>> {
        let doors = Doors(
            config
                .listen
                .iter()
                .map(|door| Door {
                    address: door.address.clone(),
                    now: ArcSwap::default(),
                })
                .collect(),
        );
        doors.swap(doors.prepare(config)?);
        Ok(doors)
    }

    /// The listener with this number.
    pub(super) fn entrance(&self, door: usize) -> Option<Arc<Entrance>> {
        Some(self.0.get(door)?.now.load_full())
    }

    /// Builds anew. Changes nothing yet.
    pub(super) fn prepare(&self, config: &Config) -> Result<Prepared, Vec<Diagnostic>> {
        let (built, problems) = build(config);
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut built: Vec<_> = built.into_iter().map(Some).collect();
        let take = |door: &Door| {
            // Two listeners on port 0 have the same address: first come, first served.
            let same = |fresh: &&mut Option<(Endpoint, _)>| {
                fresh.as_ref().is_some_and(|fresh| fresh.0 == door.address)
            };
            let found = built.iter_mut().find(same)?.take();
            found.map(|(_, entrance)| Arc::new(entrance))
        };
        Ok(Prepared(self.0.iter().map(take).collect()))
    }

    /// Takes over what was prepared; new connections see it. A listener that is
    /// no longer configured stays as it is until the next start.
    pub(super) fn swap(&self, prepared: Prepared) {
        for (door, fresh) in self.0.iter().zip(prepared.0) {
            if let Some(fresh) = fresh {
                door.now.store(fresh);
            }
        }
    }
}

/// Entrances that are built but not in use.
pub(super) struct Prepared(Vec<Option<Arc<Entrance>>>);

type Built = Vec<(Endpoint, Entrance)>;

/// Looks at addresses before a byte is read. A balancer is let in: what counts
/// is whom it brings.
pub(super) fn admit(doors: &Arc<Doors>, telemetry: &Telemetry) -> Admit {
    let (doors, recorder) = (doors.clone(), telemetry.recorder());
    Box::new(move |number, peer: IpAddr| {
        let Some(entrance) = doors.entrance(number) else {
            return false;
        };
        let gates = &entrance.gates;
        let admitted =
            networks::contains(&gates.balancers, peer) || gates.access.lets_in(Some(peer));
        if !admitted {
            recorder.emit(&Event::ConnectionRefused {
                address: Some(peer),
                reason: "address",
            });
        }
        admitted
    })
}

fn build(config: &Config) -> (Built, Vec<Diagnostic>) {
    let (mut built, mut problems) = (Vec::new(), Vec::new());
    for door in &config.listen {
        let tls = match &door.tls {
            None => None,
            Some(tls) => match tls::Server::new(tls) {
                Ok(server) => server.map(Arc::new),
                Err(error) => {
                    problems.push(diagnostic(&error, &tls.origin, config));
                    None
                }
            },
        };
        let gates = Arc::new(door.gates.clone());
        built.push((door.address.clone(), Entrance { tls, gates }));
    }
    (built, problems)
}

/// Everything that is wrong with certificates and keys, at doors and towards servers.
pub fn check_tls(config: &Config) -> Vec<Diagnostic> {
    let (_, mut problems) = build(config);
    for database in &config.databases {
        if let Backend::Postgres(postgres) = &database.backend
            && let Err(error) = encryption(postgres)
        {
            problems.push(diagnostic(&error, &postgres.tls.origin, config));
        }
    }
    problems
}

/// Certificates that the gate shows and that have run out, or soon will.
pub fn expiring(config: &Config, now: SystemTime) -> Vec<Diagnostic> {
    let doors = config.listen.iter().filter_map(|door| {
        let tls = door.tls.as_ref()?;
        Some((tls.identity.as_ref()?, &tls.origin))
    });
    let servers = config.databases.iter().filter_map(|database| {
        let Backend::Postgres(postgres) = &database.backend else {
            return None;
        };
        Some((postgres.tls.identity.as_ref()?, &postgres.tls.origin))
    });
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut warnings = Vec::new();
    for (identity, origin) in doors.chain(servers) {
        let until = identity.chain.first().and_then(|own| expires(own));
        let left = until.map(|until| until.checked_sub(now).map(|left| left / DAY));
        let message = match left {
            Some(None) => "the certificate has expired".to_owned(),
            Some(Some(days)) if days < SOON => format!("the certificate expires in {days} days"),
            _ => continue,
        };
        let hint = "renew it: whoever verifies it refuses to connect; a new file is read at once";
        warnings.push(at(Diagnostic::warning(message).hint(hint), origin, config));
    }
    warnings
}

fn diagnostic(error: &tls::Error, origin: &Origin, config: &Config) -> Diagnostic {
    let hint = match error {
        tls::Error::KeyMismatch => "name the key that the certificate was made with",
        tls::Error::Identity(_) => {
            "the file must begin with the certificate, and the key be RSA, ECDSA or Ed25519"
        }
        _ => "",
    };
    at(
        Diagnostic::error(error.to_string()).hint(hint),
        origin,
        config,
    )
}

fn at(found: Diagnostic, origin: &Origin, config: &Config) -> Diagnostic {
    let Some(path) = config.path.as_deref() else {
        return found;
    };
    match config::read(path) {
        Ok(text) => {
            let file = path.display().to_string();
            let source = Source {
                file: &file,
                text: &text,
            };
            found.at(source.place_at(origin.position))
        }
        Err(_) => found,
    }
}

/// Files with certificates and keys.
pub(super) fn files(config: &Config) -> impl Iterator<Item = PathBuf> + '_ {
    let doors = config.listen.iter().filter_map(|door| door.tls.as_ref());
    let servers = config
        .databases
        .iter()
        .filter_map(|database| match &database.backend {
            Backend::Postgres(postgres) => Some(&postgres.tls.origin),
            Backend::Sqlite { .. } => None,
        });
    doors
        .map(|tls| &tls.origin)
        .chain(servers)
        .flat_map(|origin| origin.files.iter().cloned())
}
