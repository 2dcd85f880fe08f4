//! pg_hba.conf as `[[auth]]` rules.
//!
//! The first line that fits decides, so a line that cannot be taken over must
//! not simply go: what it would have decided would fall to a line behind it.
//! Such a line becomes a rejection of everybody it could have been about.

use std::fmt::Write as _;

use super::{Report, list};

/// One rule for each line.
pub(super) fn write(text: &str, out: &mut String, report: &mut Report) {
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let what = format!("auth_hba_file, line {}: {line}", number + 1);
        let Some(rule) = Rule::read(&words) else {
            report.unmapped(
                what,
                "it was not understood: everybody is rejected from here on",
            );
            out.push_str("[[auth]]\nmethod = \"reject\"\n\n");
            return;
        };
        if let Some(why) = rule.write(out) {
            report.unmapped(what, why);
        }
    }
}

struct Rule<'a> {
    kind: &'a str,
    databases: Vec<&'a str>,
    users: Vec<&'a str>,
    address: Option<String>,
    method: &'a str,
}

impl<'a> Rule<'a> {
    fn read(words: &[&'a str]) -> Option<Rule<'a>> {
        let [kind, databases, users, rest @ ..] = words else {
            return None;
        };
        let names = |text: &'a str| text.split(',').map(|name| name.trim_matches('"')).collect();
        let (address, method) = match (*kind, rest) {
            ("local", [method, ..]) => (None, method),
            ("host" | "hostssl" | "hostnossl", [address, mask, method, ..])
                if mask.parse::<std::net::IpAddr>().is_ok() =>
            {
                (Some(masked(address, mask)?), method)
            }
            ("host" | "hostssl" | "hostnossl", [address, method, ..]) => {
                (Some((*address).to_owned()), method)
            }
            _ => return None,
        };
        Some(Rule {
            kind,
            databases: names(databases),
            users: names(users),
            address,
            method,
        })
    }

    /// Writes the rule; says what of it could not be taken over.
    fn write(&self, out: &mut String) -> Option<&'static str> {
        let mut why = None;
        let mut narrow = |reason| why = Some(reason);
        let strange = |name: &&str| {
            name.starts_with(['+', '@', '/'])
                || matches!(*name, "sameuser" | "samerole" | "replication")
        };
        let mut method = match self.method {
            "scram-sha-256" | "md5" | "password" | "cert" | "peer" | "trust" | "reject" => {
                self.method
            }
            _ => {
                narrow("the method is not supported: whom it was about is rejected");
                "reject"
            }
        };
        let (mut users, mut databases) = (self.users.clone(), self.databases.clone());
        for names in [&mut users, &mut databases] {
            if names.iter().any(strange) {
                narrow(
                    "groups, files and patterns are not supported: everybody it could be about is rejected",
                );
                method = "reject";
                names.clear();
            }
            if names.contains(&"all") {
                names.clear();
            }
        }
        let addresses = match self.address.as_deref() {
            None => vec!["local"],
            Some("all") => vec!["0.0.0.0/0", "::/0"],
            Some(network) if crate::config::networks::is_network(network) => vec![network],
            Some(_) => {
                narrow(
                    "only numeric networks are supported: everybody it could be about is rejected",
                );
                method = "reject";
                vec!["0.0.0.0/0", "::/0"]
            }
        };
        let tls = match (self.kind, method) {
            ("hostssl", _) => Some("required"),
            ("hostnossl", "password" | "cert") => {
                narrow("the method needs encryption: whom it was about is rejected");
                method = "reject";
                Some("off")
            }
            ("hostnossl", _) => Some("off"),
            ("host", "password" | "cert") => {
                narrow("taken over for encrypted connections only");
                Some("required")
            }
            _ => None,
        };
        let _ = writeln!(out, "[[auth]]\naddresses = {}", list(addresses));
        for (key, names) in [("users", users), ("databases", databases)] {
            if !names.is_empty() {
                let _ = writeln!(out, "{key} = {}", list(names));
            }
        }
        if let Some(tls) = tls {
            let _ = writeln!(out, "tls = \"{tls}\"");
        }
        let _ = writeln!(out, "method = \"{method}\"\n");
        why
    }
}

/// An address with a mask of its own as a network.
fn masked(address: &str, mask: &str) -> Option<String> {
    let (address, mask) = (address.parse().ok()?, mask.parse().ok()?);
    let network = ipnet::IpNet::with_netmask(address, mask).ok()?;
    Some(network.trunc().to_string())
}
