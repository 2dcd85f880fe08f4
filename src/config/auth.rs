//! `[[auth]]`: ordered rules about who proves what, as in pg_hba.conf.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::networks::{contains, network};
use super::reader::Table;
use super::reference;

/// How somebody proves to be who it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// A password, by SCRAM-SHA-256.
    Scram,
    /// A password, by MD5; by SCRAM-SHA-256 where only a verifier is known.
    Md5,
    /// A password, sent as it is. Never in the clear over a network.
    Password,
    /// A client certificate.
    Certificate,
    /// The user of the system on the other end of a Unix socket.
    Peer,
    /// Nothing; only where it is written out.
    Trust,
    /// Nothing helps.
    Reject,
}

/// Methods as they are written.
pub(super) const METHODS: [(&str, Method); 7] = [
    ("scram-sha-256", Method::Scram),
    ("md5", Method::Md5),
    ("password", Method::Password),
    ("cert", Method::Certificate),
    ("peer", Method::Peer),
    ("trust", Method::Trust),
    ("reject", Method::Reject),
];

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthRule {
    /// Where the client comes from; none: anywhere.
    origins: Option<Origins>,
    /// Patterns of users; empty: all.
    users: Vec<Arc<str>>,
    /// Patterns of databases; empty: all.
    databases: Vec<Arc<str>>,
    /// Only with encryption (true), only without (false), or either.
    encrypted: Option<bool>,
    /// What has to be proven.
    pub method: Method,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Origins {
    networks: Vec<IpNet>,
    /// Unix sockets.
    local: bool,
}

/// What a rule looks at.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// Address of the client; none on a Unix socket.
    pub address: Option<IpAddr>,
    /// Name it gives.
    pub user: &'a str,
    /// Database it wants.
    pub database: &'a str,
    /// Over TLS.
    pub encrypted: bool,
}

impl AuthRule {
    /// Whether this rule decides.
    pub fn matches(&self, asking: Asking<'_>) -> bool {
        let from = |origins: &Origins| match asking.address {
            Some(address) => contains(&origins.networks, address),
            None => origins.local,
        };
        let named = |patterns: &[Arc<str>], name: &str| {
            patterns.is_empty() || patterns.iter().any(|pattern| fits(pattern, name))
        };
        self.origins.as_ref().is_none_or(from)
            && self
                .encrypted
                .is_none_or(|wanted| wanted == asking.encrypted)
            && named(&self.users, asking.user)
            && named(&self.databases, asking.database)
    }
}

/// Names exactly as written, upper and lower case told apart; `*` stands for any
/// run of characters.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(head) else {
        return false;
    };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let tail = pieces.pop().unwrap_or_default();
    for piece in pieces {
        match name.find(piece) {
            Some(at) => name = &name[at + piece.len()..],
            None => return false,
        }
    }
    name.ends_with(tail)
}

/// All rules, in order; none: each user's own `auth` decides.
pub(super) fn read(top: Table<'_>) -> Option<Vec<AuthRule>> {
    top.get("auth")?;
    let tables = top.tables("auth", &reference::AUTH);
    Some(tables.into_iter().filter_map(rule).collect())
}

fn rule(table: Table<'_>) -> Option<AuthRule> {
    table.needed_text("method");
    let method = table.choice("method", &METHODS)?;
    let tls = [
        ("any", None),
        ("required", Some(true)),
        ("off", Some(false)),
    ];
    let encrypted = table.choice("tls", &tls).and_then(|tls| tls.value);
    let origins = origins(table);
    let only_local = origins
        .as_ref()
        .is_some_and(|origins| origins.local && origins.networks.is_empty());
    let complain = |message: &str, hint: &str| {
        let span = method.span.clone();
        table.problems.error(span, message, hint);
    };
    match method.value {
        Method::Password if encrypted != Some(true) && !only_local => complain(
            "a password would cross the network in the clear",
            "add `tls = \"required\"`, or use `scram-sha-256`",
        ),
        Method::Certificate if encrypted == Some(false) || only_local => complain(
            "there are no certificates without encryption",
            "add `tls = \"required\"`",
        ),
        Method::Peer if encrypted == Some(true) || !only_local => complain(
            "only on a Unix socket the system knows who is on the other end",
            "add `addresses = [\"local\"]`",
        ),
        _ => {}
    }
    let names = |key| {
        let texts = table.texts(key).into_iter();
        texts.map(|text| Arc::from(text.value)).collect()
    };
    Some(AuthRule {
        origins,
        users: names("users"),
        databases: names("databases"),
        encrypted,
        method: method.value,
    })
}

fn origins(table: Table<'_>) -> Option<Origins> {
    table.get("addresses")?;
    let mut origins = Origins::default();
    for text in table.texts("addresses") {
        match text.value {
            "local" => origins.local = true,
            // A mistake narrows a rule to nothing: the file is refused anyway.
            written => match network(written) {
                Ok(network) => origins.networks.push(network),
                Err((message, hint)) => table.problems.error(text.span, message, hint),
            },
        }
    }
    Some(origins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_as_written() {
        for (pattern, name, expected) in [
            ("ann", "ann", true),
            ("ann", "Ann", false),
            ("ann", "anna", false),
            ("*", "", true),
            ("app_*", "app_", true),
            ("app_*", "ap_x", false),
            ("*_ro", "app_ro", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("*é*", "café au", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_rule_decides_only_where_everything_fits() {
        let rule = AuthRule {
            origins: Some(Origins {
                networks: vec![network("10.0.0.0/8").unwrap()],
                local: true,
            }),
            users: vec!["ann".into()],
            databases: vec!["app*".into()],
            encrypted: Some(false),
            method: Method::Trust,
        };
        let asking = Asking {
            address: Some("10.1.1.1".parse().unwrap()),
            user: "ann",
            database: "app1",
            encrypted: false,
        };
        assert!(rule.matches(asking));
        assert!(rule.matches(Asking {
            address: None,
            ..asking
        }));
        for other in [
            Asking {
                address: Some("11.1.1.1".parse().unwrap()),
                ..asking
            },
            Asking {
                user: "bob",
                ..asking
            },
            Asking {
                database: "other",
                ..asking
            },
            Asking {
                encrypted: true,
                ..asking
            },
        ] {
            assert!(!rule.matches(other), "{other:?}");
        }
    }
}
