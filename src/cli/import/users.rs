//! Who may log in: the list of users, and what is special about some.

use std::fmt::Write as _;

use super::ini::{Ini, pairs};
use super::{Report, quoted, seconds};

/// The users, and how they were asked.
pub(super) struct People {
    pub(super) list: Vec<(String, String)>,
    /// The user that looks others up.
    pub(super) auth_user: Option<String>,
    /// Some database goes to its server as whoever logs in.
    pub(super) themselves: bool,
    auth_type: String,
}

impl People {
    pub(super) fn read(ini: &Ini, userlist: &[(String, String)]) -> People {
        let forced = |(_, text): (&str, &str)| pairs(text).iter().any(|(key, _)| key == "user");
        People {
            list: userlist.to_vec(),
            auth_user: ini.get("pgbouncer", "auth_user").map(str::to_owned),
            themselves: ini.section("databases").any(|database| !forced(database)),
            auth_type: ini.or("auth_type", "md5").to_owned(),
        }
    }

    /// What the list says about a user.
    pub(super) fn password_of(&self, name: &str) -> Option<&str> {
        let found = self.list.iter().find(|(known, _)| known == name);
        found
            .map(|(_, password)| &**password)
            .filter(|password| !password.is_empty())
    }

    /// Whether rules from a file decide.
    pub(super) fn ruled(&self) -> bool {
        matches!(&*self.auth_type, "hba" | "plain")
    }
}

fn is_secret(password: &str) -> bool {
    password.starts_with("SCRAM-SHA-256$") || is_md5(password)
}

fn is_md5(password: &str) -> bool {
    password.len() == 35 && password.starts_with("md5")
}

/// `[[user]]` for everybody on the list.
pub(super) fn write(ini: &Ini, people: &People, out: &mut String, report: &mut Report) {
    for (name, password) in &people.list {
        let Some(proof) = proof(people, name, password, report) else {
            continue;
        };
        let _ = writeln!(out, "[[user]]\nname = {}\n{proof}", quoted(name));
        if people.themselves {
            // What the client proves is passed on; a password in the clear is known anyway.
            let known = (!password.is_empty() && !is_secret(password))
                .then(|| format!(", password = {}", quoted(password)));
            let known = known.unwrap_or_default();
            let _ = writeln!(out, "server = {{ user = {}{known} }}", quoted(name));
        }
        special(ini, name, out, report);
        out.push('\n');
    }
    for (name, _) in ini.section("users") {
        if !people.list.iter().any(|(known, _)| known == name) {
            let why = "the list of users does not have it, so there is nothing to attach this to";
            report.unmapped(format!("[users] {name}"), why);
        }
    }
}

/// The lines that say how the user logs in.
fn proof(people: &People, name: &str, password: &str, report: &mut Report) -> Option<String> {
    let line = (!password.is_empty()).then(|| format!("password = {}", quoted(password)));
    match (&*people.auth_type, line) {
        ("trust", _) => Some("auth = \"trust\"".to_owned()),
        ("any", _) => {
            let why = "a gate that lets everybody in under any name does not know whom it serves";
            report.unmapped(format!("auth_type = any for {name}"), why);
            Some("auth = \"trust\"".to_owned())
        }
        ("cert", _) => Some("auth = \"cert\"".to_owned()),
        ("hba" | "plain", line) => Some(line.unwrap_or_default()),
        ("md5", Some(line)) if !is_secret(password) => Some(format!("{line}\nauth = \"md5\"")),
        ("scram-sha-256", Some(_)) if is_md5(password) => {
            let why = "SCRAM cannot be spoken with an MD5 hash; give the password or a verifier";
            report.unmapped(format!("user {name}"), why);
            None
        }
        ("md5" | "scram-sha-256", Some(line)) => Some(line),
        (_, None) => {
            report.unmapped(format!("user {name}"), "it has no password");
            None
        }
        (other, Some(line)) => {
            let what = format!("auth_type = {other} for {name}");
            report.unmapped(what, "its password is asked for by SCRAM instead");
            Some(line)
        }
    }
}

/// `[users]`: what is different for one.
fn special(ini: &Ini, name: &str, out: &mut String, report: &mut Report) {
    let (mut pool, mut timeouts) = (Vec::new(), Vec::new());
    let own = ini.get("users", name).map(pairs).unwrap_or_default();
    for (key, value) in &own {
        let time = seconds(value).unwrap_or_else(|| "0".to_owned());
        match (&**key, value.parse::<usize>()) {
            ("pool_mode", _) => pool.push(format!("mode = {}", quoted(value))),
            ("pool_size" | "max_user_connections", Ok(most)) if most > 0 => {
                pool.retain(|line| !line.starts_with("max = "));
                pool.push(format!("max = {most}"));
            }
            ("max_user_client_connections", Ok(most)) if most > 0 => {
                pool.push(format!("clients_max = {most}"));
            }
            (_, Ok(0)) => {}
            ("query_timeout", _) => timeouts.push(format!("query = {time}")),
            ("transaction_timeout", _) => timeouts.push(format!("transaction = {time}")),
            ("idle_transaction_timeout", _) => {
                timeouts.push(format!("idle_transaction = {time}"));
            }
            ("client_idle_timeout", _) => timeouts.push(format!("client_idle = {time}")),
            _ => report.unmapped(format!("[users] {name}: {key} = {value}"), "no equivalent"),
        }
    }
    let everybody = ini.number("max_user_client_connections", 0);
    if everybody > 0 && !pool.iter().any(|line| line.starts_with("clients_max")) {
        pool.push(format!("clients_max = {everybody}"));
    }
    if own.iter().any(|(key, _)| key == "max_user_connections") {
        report.adapted(format!(
            "max_user_connections of {name} holds in each database, not over all of them"
        ));
    }
    for (key, lines) in [("pool", pool), ("timeouts", timeouts)] {
        if !lines.is_empty() {
            let _ = writeln!(out, "{key} = {{ {} }}", lines.join(", "));
        }
    }
}
