//! `[[listen]]`: the doors.

use std::collections::HashMap;
use std::net::SocketAddr;

use ipnet::IpNet;

use super::load::{address, unique};
use super::networks::{Access, access, networks};
use super::reader::Table;
use super::values::Surroundings;
use super::{DoorTls, reference, tls};

/// One door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Only `postgres` in this version.
    pub protocol: Protocol,
    /// Address; port 0 takes a free one.
    pub address: SocketAddr,
    /// Encryption; none: not offered.
    pub tls: Option<DoorTls>,
    /// Who may come.
    pub gates: Gates,
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
            address: SocketAddr::from(([127, 0, 0, 1], 6432)),
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
        let Some(address) = address(table, text.clone()) else {
            continue;
        };
        if address.port() != 0 {
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
