//! The hosts in a backend URL, and which of them are wanted.

use std::sync::Arc;

use super::PostgresBackend;

/// The servers of one database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    /// In the order in which they are tried; never empty in a checked configuration.
    pub list: Vec<HostName>,
    /// What part the server must play.
    pub wanted: Wanted,
    /// In random order instead.
    pub random: bool,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName {
    /// Host name, address, or directory of a Unix socket (starts with `/`).
    pub name: Arc<str>,
    /// Port.
    pub port: u16,
}

/// What part a server must play, as libpq's `target_session_attrs`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Any.
    #[default]
    Any,
    /// Sessions can write.
    ReadWrite,
    /// Sessions cannot.
    ReadOnly,
    /// No hot standby.
    Primary,
    /// A hot standby.
    Standby,
    /// A hot standby; any if there is none.
    PreferStandby,
}

impl Wanted {
    /// As written in the URL.
    pub fn name(self) -> &'static str {
        match self {
            Wanted::Any => "any",
            Wanted::ReadWrite => "read-write",
            Wanted::ReadOnly => "read-only",
            Wanted::Primary => "primary",
            Wanted::Standby => "standby",
            Wanted::PreferStandby => "prefer-standby",
        }
    }

    fn read(text: &str) -> Option<Wanted> {
        let all = [
            Wanted::Any,
            Wanted::ReadWrite,
            Wanted::ReadOnly,
            Wanted::Primary,
            Wanted::Standby,
            Wanted::PreferStandby,
        ];
        all.into_iter().find(|wanted| wanted.name() == text)
    }

    /// Whether it is about who can write.
    pub fn writes(self) -> bool {
        matches!(self, Wanted::ReadWrite | Wanted::Primary)
    }
}

impl PostgresBackend {
    /// The first host.
    pub fn host(&self) -> &str {
        self.hosts.list.first().map_or("", |host| &host.name)
    }

    /// The port of the first host.
    pub fn port(&self) -> u16 {
        self.hosts.list.first().map_or(5432, |host| host.port)
    }
}

/// What of a URL names hosts.
#[derive(Default)]
pub(super) struct Writing<'u> {
    /// Between `@` and `/`.
    pub(super) place: &'u str,
    /// `host=`, decoded.
    pub(super) host: Option<String>,
    /// `port=`, decoded.
    pub(super) port: Option<String>,
    /// `target_session_attrs=`, decoded.
    pub(super) wanted: Option<String>,
    /// `load_balance_hosts=`, decoded.
    pub(super) balance: Option<String>,
}

impl Writing<'_> {
    /// All hosts with their ports.
    pub(super) fn read(
        &self,
        decode: impl Fn(&str) -> Result<String, String>,
    ) -> Result<Hosts, String> {
        let mut list = Vec::new();
        for part in self.place.split(',') {
            let (name, port) = name_and_port(part)?;
            list.push((decode(name)?, port));
        }
        if let Some(hosts) = &self.host {
            let ports: Vec<Option<u16>> = list.iter().map(|(_, port)| *port).collect();
            let names = hosts.split(',').enumerate();
            list = names
                .map(|(at, name)| (name.to_owned(), ports.get(at).copied().flatten()))
                .collect();
        }
        if let Some(ports) = &self.port {
            let ports: Vec<&str> = ports.split(',').collect();
            if ports.len() != 1 && ports.len() != list.len() {
                return Err("the backend URL has another number of ports than of hosts".to_owned());
            }
            for (at, (_, port)) in list.iter_mut().enumerate() {
                *port = port_number(ports[at % ports.len()])?;
            }
        }
        let host = |(name, port): (String, Option<u16>)| match name.is_empty() {
            true => Err("the backend URL names no host".to_owned()),
            false => Ok(HostName {
                name: name.into(),
                port: port.unwrap_or(5432),
            }),
        };
        Ok(Hosts {
            list: list.into_iter().map(host).collect::<Result<_, _>>()?,
            wanted: match &self.wanted {
                None => Wanted::Any,
                Some(text) => Wanted::read(text).ok_or(
                    "target_session_attrs is any, read-write, read-only, primary, standby or prefer-standby",
                )?,
            },
            random: match self.balance.as_deref() {
                None | Some("disable") => false,
                Some("random") => true,
                Some(_) => return Err("load_balance_hosts is disable or random".to_owned()),
            },
        })
    }
}

fn name_and_port(place: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest
                .split_once(']')
                .ok_or("the host's bracket is not closed")?;
            (host, rest.strip_prefix(':').unwrap_or_default())
        }
        None => place.rsplit_once(':').unwrap_or((place, "")),
    };
    Ok((host, port_number(port)?))
}

fn port_number(text: &str) -> Result<Option<u16>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let port = text.parse().ok().filter(|port| *port != 0);
    port.map(Some)
        .ok_or_else(|| "the port of the backend URL is not a port number".to_owned())
}
