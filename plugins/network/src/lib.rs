//! Says who may come from where, and why not.
//!
//! Asked about connections and about every statement: an application name can
//! change in between.

use portcullis_sdk::prelude::*;

#[cfg(test)]
mod tests;

/// The policy.
#[derive(Debug)]
pub struct Network {
    rules: Vec<Rule>,
    otherwise: Action,
    reason: String,
}

#[derive(Debug)]
struct Rule {
    action: Action,
    networks: Networks,
    unix: bool,
    anywhere: bool,
    users: Names,
    databases: Vec<String>,
    applications: Vec<String>,
    reason: String,
}

/// What the operator may write.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    rules: Vec<RuleSettings>,
    otherwise: Action,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleSettings {
    action: Action,
    #[serde(default)]
    networks: Vec<String>,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    databases: Vec<String>,
    #[serde(default)]
    applications: Vec<String>,
    #[serde(default)]
    reason: String,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Action {
    #[default]
    Allow,
    Deny,
}

/// Stands in a list of networks for clients on a Unix socket.
const UNIX: &str = "unix";

const HINT: &str = "Connect from a network that is permitted, or ask an operator.";

impl Policy for Network {
    type Settings = Settings;

    fn configure(settings: Settings, setup: &mut Setup) -> Result<Self, Vec<Issue>> {
        let rules = settings.rules.into_iter().enumerate();
        let rules = rules
            .map(|(index, rule)| rule.register(index, setup))
            .collect();
        Ok(Network {
            rules,
            otherwise: settings.otherwise,
            reason: settings.reason,
        })
    }

    fn judge(&self, statement: &Statement) -> Verdict {
        self.admit(&statement.client())
    }
}

impl ConnectionPolicy for Network {
    fn judge_connection(&self, client: &Client) -> Verdict {
        self.admit(client)
    }
}

impl RuleSettings {
    fn register(self, index: usize, setup: &mut Setup) -> Rule {
        let at = |key: &str| format!("/rules/{index}/{key}");
        let (unix, networks): (Vec<String>, Vec<String>) = self
            .networks
            .into_iter()
            .partition(|network| network == UNIX);
        Rule {
            action: self.action,
            anywhere: networks.is_empty() && unix.is_empty(),
            networks: setup.networks(&at("networks"), &networks),
            unix: !unix.is_empty(),
            users: setup.names(&at("users"), &self.users),
            databases: self.databases,
            applications: self.applications,
            reason: self.reason,
        }
    }
}

impl Rule {
    /// Cheap and widely shared questions first: what is not asked is no part of what is remembered.
    fn fits(&self, client: &Client) -> bool {
        self.comes_from(client)
            && (self.users.is_empty() || client.is_in(self.users))
            && fits_any(&self.databases, || client.database().text())
            && fits_any(&self.applications, || client.application().text())
    }

    fn comes_from(&self, client: &Client) -> bool {
        self.anywhere
            || client.network(self.networks).is_some()
            || (self.unix && client.address().is_empty())
    }
}

impl Network {
    fn admit(&self, client: &Client) -> Verdict {
        let rule = self.rules.iter().find(|rule| rule.fits(client));
        let (action, reason, name) = match rule {
            Some(rule) => (rule.action, &rule.reason, "denied"),
            None => (self.otherwise, &self.reason, "not-listed"),
        };
        if action == Action::Allow {
            return Verdict::pass();
        }
        let message = match reason.as_str() {
            "" => "connections from this address are not permitted here".to_owned(),
            reason => format!("connections from this address are not permitted here: {reason}"),
        };
        Verdict::refuse(name, message).hint(HINT)
    }
}

/// No pattern at all fits everything.
fn fits_any(patterns: &[String], name: impl FnOnce() -> String) -> bool {
    if patterns.is_empty() {
        return true;
    }
    let name = name();
    patterns
        .iter()
        .any(|pattern| fits(pattern.as_bytes(), name.as_bytes()))
}

/// `*` is any run of bytes, `?` one; never slower than the lengths multiplied.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut place) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while place < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, place));
                at += 1;
            }
            Some(letter) if *letter == b'?' || Some(letter) == name.get(place) => {
                at += 1;
                place += 1;
            }
            _ => match star {
                Some((before, from)) => {
                    star = Some((before, from + 1));
                    (at, place) = (before + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern
        .get(at..)
        .unwrap_or_default()
        .iter()
        .all(|rest| *rest == b'*')
}

portcullis_sdk::export!(Network, connection);
