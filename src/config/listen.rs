//! `[[listen]]`: the doors.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::load::{address, unique};
use super::networks::{Access, access, networks};
use super::reader::{At, Table};
use super::values::{self, Surroundings};
use super::{DoorTls, reference, tls};

/// One door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Only `postgres` in this version.
    pub protocol: Protocol,
    /// Address; port 0 takes a free one.
    pub address: Endpoint,
    /// Encryption; none: not offered.
    pub tls: Option<DoorTls>,
    /// Who may come.
    pub gates: Gates,
}

/// Where a door is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// Address and port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix {
        /// Where.
        path: UnixAddress,
        /// Mode bits of its file: who of the system may connect.
        mode: u32,
    },
}

/// Name of a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum UnixAddress {
    /// A file.
    Path(PathBuf),
    /// A name without a file (Linux).
    Abstract(String),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(address) => address.fmt(f),
            Endpoint::Unix { path, .. } => match path {
                UnixAddress::Path(path) => write!(f, "unix:{}", path.display()),
                UnixAddress::Abstract(name) => write!(f, "unix:@{name}"),
            },
        }
    }
}

/// What stands before a door: who may come at all, and whose word is taken for
/// where somebody comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gates {
    /// Who may come.
    pub access: Access,
    /// Balancers that begin each connection with the client's address (PROXY
    /// protocol, version 2). Nobody else's word is taken.
    pub balancers: Vec<IpNet>,
}

impl Default for Listen {
    fn default() -> Self {
        Listen {
            protocol: Protocol::Postgres,
            address: Endpoint::Tcp(SocketAddr::from(([127, 0, 0, 1], 6432))),
            tls: None,
            gates: Gates::default(),
        }
    }
}

/// Wire protocol of a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// PostgreSQL, version 3.
    Postgres,
}

/// All doors.
pub(super) fn read(top: Table<'_>, surroundings: Surroundings<'_>) -> Vec<Listen> {
    if !top.table.contains_key("listen") {
        return vec![Listen::default()];
    }
    let mut seen = HashMap::new();
    let mut doors = Vec::new();
    for table in top.tables("listen", &reference::LISTEN) {
        table.choice("protocol", &[("postgres", Protocol::Postgres)]);
        let tls = tls::door(table, surroundings);
        let gates = Gates {
            access: access(table),
            balancers: balancers(table),
        };
        let Some(text) = table.needed_text("address") else {
            continue;
        };
        let Some(address) = endpoint(table, text.clone(), surroundings.folder) else {
            continue;
        };
        if !matches!(&address, Endpoint::Tcp(address) if address.port() == 0) {
            unique(&mut seen, &text, "address", table.problems);
        }
        doors.push(Listen {
            protocol: Protocol::Postgres,
            address,
            tls,
            gates,
        });
    }
    doors
}

/// The longest path of a Unix socket, with room for the name it is made under.
const PATH_BYTES_MAX: usize = 100;

fn endpoint(table: Table<'_>, text: At<&str>, folder: &Path) -> Option<Endpoint> {
    let Some(name) = text.value.strip_prefix("unix:") else {
        if let Some(mode) = table.get("socket_mode") {
            let hint = "remove it";
            let message = "only Unix sockets have mode bits";
            table.problems.error(mode.span, message, hint);
        }
        return address(table, text).map(Endpoint::Tcp);
    };
    for key in ["tls", "allow", "deny", "proxy_protocol"] {
        if let Some(found) = table.get(key) {
            let message = format!("`{key}` means nothing for a Unix socket");
            table.problems.error(found.span, message, "remove it");
        }
    }
    match unix_address(name, folder) {
        Ok(path) => Some(Endpoint::Unix {
            path,
            mode: socket_mode(table).unwrap_or(0o777),
        }),
        Err((message, hint)) => {
            table.problems.error(text.span, message, hint);
            None
        }
    }
}

/// What stands behind `unix:`: a file, or a folder and a port, which make the
/// name that libpq looks for. `@` begins a name without a file.
fn unix_address(text: &str, folder: &Path) -> Result<UnixAddress, (String, String)> {
    let (place, port) = match text.rsplit_once(':') {
        Some((place, port)) => match port.parse::<u16>() {
            Ok(port) => (place, Some(port)),
            Err(_) => (text, None),
        },
        None => (text, None),
    };
    let name = match port {
        Some(port) => format!("{}/.s.PGSQL.{port}", place.trim_end_matches('/')),
        None => place.to_owned(),
    };
    if place.is_empty() || place == "@" || name.contains('\0') {
        return Err((
            "the name of the Unix socket is missing".to_owned(),
            "write unix:/run/portcullis:6432 or unix:/run/portcullis/.s.PGSQL.6432".to_owned(),
        ));
    }
    let long = |bytes: usize| {
        (
            format!("the name of the Unix socket has {bytes} bytes"),
            format!("the system allows about {PATH_BYTES_MAX}: choose a shorter folder"),
        )
    };
    if let Some(name) = name.strip_prefix('@') {
        return if name.len() > PATH_BYTES_MAX {
            Err(long(name.len()))
        } else if cfg!(target_os = "linux") {
            Ok(UnixAddress::Abstract(name.to_owned()))
        } else {
            Err((
                "abstract names exist on Linux only".to_owned(),
                String::new(),
            ))
        };
    }
    let path = values::relative(folder, &name);
    match path.as_os_str().len() {
        bytes if bytes > PATH_BYTES_MAX => Err(long(bytes)),
        _ => Ok(UnixAddress::Path(path)),
    }
}

fn socket_mode(table: Table<'_>) -> Option<u32> {
    let text = table.text("socket_mode")?;
    let mode = u32::from_str_radix(text.value, 8).ok();
    let mode = mode.filter(|mode| *mode <= 0o777);
    if mode.is_none() {
        let message = format!("\"{}\" is not a mode", text.value);
        let hint = "write it in octal digits, for example \"0770\"";
        table.problems.error(text.span, message, hint);
    }
    mode
}

/// `listen.proxy_protocol`
fn balancers(listen: Table<'_>) -> Vec<IpNet> {
    let Some(table) = listen.table("proxy_protocol", &reference::PROXY_PROTOCOL) else {
        return Vec::new();
    };
    let from = networks(table, "from");
    if table.texts("from").is_empty() {
        table.problems.error(
            table.span(),
            "nobody is trusted to say where clients come from",
            "add `from = [\"NETWORK\"]` with the addresses of the balancers",
        );
    }
    for network in from.iter().filter(|network| network.prefix_len() == 0) {
        table.problems.warning(
            table.span(),
            format!("{network} takes everybody's word for where it comes from"),
            "name the balancers alone: whoever reaches this door chooses its own address",
        );
    }
    from
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_sockets_are_named_as_libpq_looks_for_them() {
        let read = |text| unix_address(text, Path::new("/etc/portcullis"));
        let path = |text: &str| Ok(UnixAddress::Path(PathBuf::from(text)));
        let name = |text: &str| Ok(UnixAddress::Abstract(text.to_owned()));
        assert_eq!(read("/run/p/.s.PGSQL.1"), path("/run/p/.s.PGSQL.1"));
        assert_eq!(read("/run/p:6432"), path("/run/p/.s.PGSQL.6432"));
        assert_eq!(read("/run/p/:6432"), path("/run/p/.s.PGSQL.6432"));
        assert_eq!(read("gate"), path("/etc/portcullis/gate"));
        assert_eq!(read("@gate:6432"), name("gate/.s.PGSQL.6432"));
        for wrong in ["", "@", ":6432", &"x".repeat(101), &"@x".repeat(80)] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
