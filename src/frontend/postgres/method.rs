//! What somebody has to prove: by the rules, or by its own entry.

use super::channel::Channel;
use super::{Error, TurnedAway};
use crate::config::auth::Asking;
use crate::config::{Config, Credential, Method, User};
use crate::model::UserMessage;

/// What the rules say; none: there are no rules, and the user's own method
/// decides. Needs to know nobody yet, so that those it turns away cost nothing.
pub(super) fn rule(
    config: &Config,
    channel: &Channel,
    name: &str,
    database: &str,
) -> Result<Option<Method>, Error> {
    let Some(rules) = &config.auth else {
        return Ok(None);
    };
    let asking = Asking {
        address: channel.address,
        user: name,
        database,
        encrypted: channel.encrypted,
    };
    let rule = rules.iter().find(|rule| rule.matches(asking));
    let from = channel
        .address
        .map_or("[local]".to_owned(), |address| address.to_string());
    let encryption = if channel.encrypted {
        "SSL encryption"
    } else {
        "no encryption"
    };
    // In the server's words: people and tools know them.
    let words = match rule.map(|rule| rule.method) {
        None => "no pg_hba.conf entry for host",
        Some(Method::Reject) => "pg_hba.conf rejects connection for host",
        Some(method) => return Ok(Some(method)),
    };
    let message =
        format!("{words} \"{from}\", user \"{name}\", database \"{database}\", {encryption}");
    Err(TurnedAway::new(UserMessage::fatal("28000", message))
        .because("rule")
        .into())
}

/// What has to be proven. `user` is none for names that nobody has.
pub(super) fn method(
    rule: Option<Method>,
    config: &Config,
    channel: &Channel,
    user: Option<&User>,
) -> Method {
    match rule {
        None => own(config, channel, user),
        Some(Method::Md5) => md5_or_scram(config, user),
        Some(method) => method,
    }
}

/// Without rules. Whoever cannot prove what it would have to is asked for a
/// password that nobody has, as an unknown user is.
fn own(config: &Config, channel: &Channel, user: Option<&User>) -> Method {
    match user.map(|user| user.method) {
        Some(Method::Certificate) if !channel.certified => nobody(config),
        Some(Method::Peer) if channel.system_user.is_none() => nobody(config),
        Some(Method::Md5) => md5_or_scram(config, user),
        Some(method) => method,
        None => nobody(config),
    }
}

/// What most users are asked for.
fn nobody(config: &Config) -> Method {
    let count = |method| {
        let users = config.users.iter();
        users.filter(|user| user.method == method).count()
    };
    if count(Method::Md5) > count(Method::Scram) {
        Method::Md5
    } else {
        Method::Scram
    }
}

/// MD5 cannot be spoken with a verifier: SCRAM is then, as the server does.
/// Nobody is asked what most are.
fn md5_or_scram(config: &Config, user: Option<&User>) -> Method {
    let scram = |credential: &Credential| matches!(credential, Credential::Verifier(_));
    let ask_scram = match user.map(|user| &user.credential) {
        Some(Credential::Nothing) | None => {
            let users = config.users.iter();
            users.filter(|user| scram(&user.credential)).count() * 2 > config.users.len()
        }
        Some(credential) => scram(credential),
    };
    if ask_scram {
        Method::Scram
    } else {
        Method::Md5
    }
}
