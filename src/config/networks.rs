//! Lists of addresses: who may come to a door, or log in under a name.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::reader::{At, Table};

/// Networks that are let in, and networks that are not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// Only these; none: everybody.
    pub allow: Vec<IpNet>,
    /// Never these, whatever `allow` says.
    pub deny: Vec<IpNet>,
}

impl Access {
    /// Whether this address may come in. A list of those who may is also kept
    /// against somebody without an address: what is not named is not let in.
    pub fn lets_in(&self, address: Option<IpAddr>) -> bool {
        match address {
            Some(address) => {
                let address = address.to_canonical();
                !contains(&self.deny, address)
                    && (self.allow.is_empty() || contains(&self.allow, address))
            }
            None => self.allow.is_empty(),
        }
    }
}

/// Whether one of the networks holds the address. An IPv4 address that was
/// mapped into IPv6 is the IPv4 address.
pub fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// Whether this is a network as the file has them.
pub fn is_network(text: &str) -> bool {
    network(text).is_ok()
}

/// `allow` and `deny` of a table.
pub(super) fn access(table: Table<'_>) -> Access {
    Access {
        allow: networks(table, "allow"),
        deny: networks(table, "deny"),
    }
}

/// A list of networks; complaints about those that are none.
pub(super) fn networks(table: Table<'_>, key: &str) -> Vec<IpNet> {
    let texts = table.texts(key);
    let read = texts.into_iter().filter_map(|text| one(table, text));
    read.collect()
}

fn one(table: Table<'_>, text: At<&str>) -> Option<IpNet> {
    match network(text.value) {
        Ok(network) => Some(network),
        Err((message, hint)) => {
            table.problems.error(text.span, message, hint);
            None
        }
    }
}

/// `10.0.0.0/8`, `2001:db8::/32`, or one address.
pub(super) fn network(text: &str) -> Result<IpNet, (String, String)> {
    let network = match (text.parse::<IpNet>(), text.parse::<IpAddr>()) {
        (Ok(network), _) => network,
        (_, Ok(address)) => IpNet::from(address),
        _ => {
            return Err((
                format!("\"{text}\" is not a network"),
                "write it as ADDRESS/BITS, for example 10.0.0.0/8 or 2001:db8::/32".to_owned(),
            ));
        }
    };
    // 10.1.2.3/8 could mean the host or the network: neither is guessed.
    if network.addr() != network.network() {
        let meant = network.trunc();
        return Err((
            format!("\"{text}\" names a host, not a network"),
            format!(
                "write {meant} for the network, or {} for the host",
                network.addr()
            ),
        ));
    }
    Ok(folded(network))
}

/// Addresses are looked up in their IPv4 form, so networks are kept in it, too.
fn folded(network: IpNet) -> IpNet {
    let IpNet::V6(six) = network else {
        return network;
    };
    match (
        six.addr().to_ipv4_mapped(),
        six.prefix_len().checked_sub(96),
    ) {
        (Some(four), Some(bits)) => Ipv4Net::new(four, bits).map_or(network, IpNet::V4),
        _ => network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| network(text).unwrap()).collect()
    }

    #[test]
    fn what_is_denied_stays_out_and_what_is_not_allowed_too() {
        let access = Access {
            allow: list(&["10.0.0.0/8", "2001:db8::/32", "::ffff:192.0.2.0/120"]),
            deny: list(&["10.6.6.6", "2001:db8:dead::/48"]),
        };
        for (address, expected) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("10.6.6.6", false),
            ("::ffff:10.6.6.6", false),
            ("11.0.0.1", false),
            ("192.0.2.9", true),
            ("192.0.3.9", false),
            ("2001:db8::1", true),
            ("2001:db8:dead::1", false),
            ("::1", false),
        ] {
            let address = Some(address.parse().unwrap());
            assert_eq!(access.lets_in(address), expected, "{address:?}");
        }
        assert!(
            !access.lets_in(None),
            "nobody without an address is on the list"
        );
        assert!(Access::default().lets_in(None));
    }

    #[test]
    fn refuses_networks_that_could_mean_two_things() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.1.2.3/8",
            "db.internal",
            "10.0.0.0/8/8",
            "all",
        ] {
            assert!(network(text).is_err(), "{text}");
        }
        let (_, hint) = network("10.1.2.3/8").unwrap_err();
        assert!(
            hint.contains("10.0.0.0/8") && hint.contains("10.1.2.3"),
            "{hint}"
        );
    }
}
