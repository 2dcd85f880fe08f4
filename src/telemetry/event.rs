//! The small things that happen beside statements.

use std::net::IpAddr;

use super::shard::{Family, Shard};
use crate::model::{Client, Refusal, Severity};

/// Something that is one log line and one count.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A client is logged in.
    ConnectionOpened {
        /// Session.
        session: u64,
        /// Who.
        user: &'a str,
        /// To which database.
        database: &'a str,
        /// From where.
        address: Option<IpAddr>,
    },
    /// A client that was logged in has left.
    ConnectionClosed {
        /// Session.
        session: u64,
        /// Why, in a word: `terminated`, `vanished`, `drained`, `error`.
        reason: &'static str,
    },
    /// A connection was turned away before login.
    ConnectionRefused {
        /// From where.
        address: Option<IpAddr>,
        /// Why, in a word: `too-many`, `draining`, `address`, `protocol`, `tls`, `timeout`.
        reason: &'static str,
    },
    /// A policy refused a client that had logged in, or would have.
    ConnectionDenied {
        /// Who.
        client: &'a Client,
        /// Why.
        refusal: &'a Refusal,
        /// The id that the client was given; none: the policy is in monitor mode, and the client stays.
        incident: Option<&'a str>,
        /// It was connected already; the policies changed.
        live: bool,
    },
    /// A policy raised an alert about something that is not a statement.
    Alert {
        /// Who.
        client: &'a Client,
        /// `policy/rule`.
        rule: &'a str,
        /// How bad it is.
        severity: Severity,
    },
    /// Somebody could not prove to be who it says.
    LoginFailed {
        /// Name that was given.
        user: &'a str,
        /// Database that was asked for.
        database: &'a str,
        /// From where.
        address: Option<IpAddr>,
        /// Why, in a word: `password`, `address`, `unknown-database`, `not-allowed`, `protocol`.
        reason: &'static str,
    },
    /// A policy failed while judging.
    PolicyFault {
        /// Policy.
        policy: &'a str,
        /// What kind, in a word: `trap`, `budget`, `memory`, `bad-verdict`, `impure`.
        fault: &'static str,
        /// What is known.
        message: &'a str,
        /// The id that the client was given.
        incident: Option<&'a str>,
    },
    /// A changed configuration or plugin took effect.
    ReloadDone {
        /// Generation of the policy set that now decides.
        generation: u64,
        /// What changed, for people.
        summary: &'a str,
    },
    /// A changed configuration or plugin cannot be used; nothing changed.
    ReloadFailed {
        /// Why: all diagnostics.
        reason: &'a str,
    },
    /// A connection to a server could not be opened.
    LinkFailed {
        /// Database.
        database: &'a str,
        /// Why, for the operator.
        message: &'a str,
    },
}

impl Event<'_> {
    /// Moves the counter.
    pub(super) fn count(&self, shard: &Shard) {
        match self {
            Event::ConnectionOpened { .. } => shard.connections_opened.add(1),
            Event::ConnectionClosed { .. } => shard.connections_closed.add(1),
            Event::ConnectionRefused { reason, .. } => {
                shard.rare(Family::ConnectionsRefused, reason, "", "")
            }
            Event::ConnectionDenied {
                refusal, incident, ..
            } => {
                let family = if incident.is_some() {
                    Family::DeniedConnections
                } else {
                    Family::WouldDenyConnections
                };
                shard.rare(family, &refusal.policy, &refusal.rule, "");
            }
            Event::Alert { rule, severity, .. } => {
                let (policy, rule) = rule.split_once('/').unwrap_or((rule, ""));
                shard.rare(Family::Alerts, policy, rule, severity.name());
            }
            Event::LoginFailed { reason, .. } => shard.rare(Family::LoginsFailed, reason, "", ""),
            Event::PolicyFault { policy, fault, .. } => {
                shard.rare(Family::Faults, policy, fault, "")
            }
            Event::ReloadDone { .. } => shard.rare(Family::Reloads, "ok", "", ""),
            Event::ReloadFailed { .. } => shard.rare(Family::Reloads, "failed", "", ""),
            Event::LinkFailed { .. } => shard.rare(Family::LinksFailed, "", "", ""),
        }
    }

    /// Writes the line. Level by who must act: info nobody, warn somebody soon, error somebody now.
    pub(super) fn write(&self) {
        let shown = |address: Option<IpAddr>| address.map(tracing::field::display);
        match *self {
            Event::ConnectionOpened {
                session,
                user,
                database,
                address,
            } => {
                tracing::debug!(target: "portcullis::client", session, user, database, address = shown(address), "client connected");
            }
            Event::ConnectionClosed { session, reason } => {
                tracing::debug!(target: "portcullis::client", session, reason, "client left");
            }
            Event::ConnectionRefused { address, reason } => {
                tracing::warn!(target: "portcullis::client", address = shown(address), reason, "connection refused");
            }
            Event::ConnectionDenied {
                client,
                refusal,
                incident,
                live,
            } => {
                let (user, database) = (&*client.user, &*client.database);
                let (policy, rule) = (&*refusal.policy, &*refusal.rule);
                tracing::warn!(
                    target: "portcullis::client",
                    user, database, address = shown(client.address),
                    policy, rule, code = refusal.code, reason = &*refusal.message,
                    enforced = incident.is_some(), live, incident,
                    "connection denied"
                );
            }
            Event::Alert {
                client,
                rule,
                severity,
            } => {
                let (user, database) = (&*client.user, &*client.database);
                let (address, name) = (shown(client.address), severity.name());
                match severity {
                    Severity::Info => {
                        tracing::info!(target: "portcullis::alert", user, database, address, rule, severity = name, "alert");
                    }
                    Severity::Warning => {
                        tracing::warn!(target: "portcullis::alert", user, database, address, rule, severity = name, "alert");
                    }
                    Severity::Critical => {
                        tracing::error!(target: "portcullis::alert", user, database, address, rule, severity = name, "alert");
                    }
                }
            }
            Event::LoginFailed {
                user,
                database,
                address,
                reason,
            } => {
                let (user, database) = (super::record::shown(user), super::record::shown(database));
                tracing::warn!(target: "portcullis::client", user, database, address = shown(address), reason, "login failed");
            }
            Event::PolicyFault {
                policy,
                fault,
                message,
                incident,
            } => {
                tracing::error!(target: "portcullis::policy", policy, fault, detail = message, incident, "policy fault");
            }
            Event::ReloadDone {
                generation,
                summary,
            } => {
                tracing::info!(target: "portcullis::reload", generation, summary, "reload done");
            }
            Event::ReloadFailed { reason } => {
                tracing::error!(target: "portcullis::reload", reason, "reload failed, nothing changed");
            }
            Event::LinkFailed { database, message } => {
                tracing::error!(target: "portcullis::link", database, detail = message, "no connection to the server");
            }
        }
    }
}
