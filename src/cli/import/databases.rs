//! `[databases]`: servers, pools, time limits.

use std::fmt::Write as _;

use super::ini::{Ini, pairs};
use super::users::People;
use super::{Report, quoted, seconds};

/// One entry of the section.
struct Entry<'a> {
    name: &'a str,
    pairs: Vec<(String, String)>,
}

impl Entry<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let found = self.pairs.iter().find(|(known, _)| known == key)?;
        Some(&found.1)
    }

    fn number(&self, key: &str, default: usize) -> usize {
        self.get(key)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    }
}

/// `[[database]]` for every entry.
pub(super) fn write(ini: &Ini, people: &People, out: &mut String, report: &mut Report) {
    for (name, text) in ini.section("databases") {
        let entry = Entry {
            name,
            pairs: pairs(text),
        };
        let _ = writeln!(out, "[[database]]\nname = {}", quoted(name));
        backend(&entry, people, out, report);
        tls(ini, out);
        pool(ini, &entry, people, out, report);
        timeouts(ini, out);
        if let Some(query) = entry.get("connect_query") {
            let _ = writeln!(out, "connect_query = {}", quoted(query));
        }
        own_lookup(ini, &entry, people, out, report);
        out.push('\n');
        left(&entry, report);
    }
}

fn backend(entry: &Entry<'_>, people: &People, out: &mut String, report: &mut Report) {
    let hosts = entry.get("host").unwrap_or("/var/run/postgresql");
    if entry.get("host").is_none() {
        report.adapted(format!(
            "{}: no host is named; the server's Unix socket is looked for in {hosts}",
            entry.name
        ));
    }
    let ports: Vec<&str> = entry.get("port").unwrap_or("5432").split(',').collect();
    let database = entry.get("dbname").unwrap_or(match entry.name {
        "*" => "postgres",
        name => name,
    });
    let somebody = || people.list.first().map(|(name, _)| &**name);
    let user = entry
        .get("user")
        .or(people.auth_user.as_deref())
        .or_else(somebody);
    let user = user.unwrap_or("postgres");
    let hosts: Vec<&str> = hosts.split(',').map(str::trim).collect();
    let place = |(at, host): (usize, &&str)| {
        // One port is for all of them.
        let port = ports
            .get(at)
            .or(ports.first())
            .map_or("5432", |port| port.trim());
        match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false if host.starts_with('/') => format!("{}:{port}", escaped(host)),
            false => format!("{host}:{port}"),
        }
    };
    let places: Vec<String> = hosts.iter().enumerate().map(place).collect();
    let mut url = format!(
        "postgres://{}@{}/{}",
        escaped(user),
        places.join(","),
        escaped(database)
    );
    // Turn by turn there, by lot here: both spread the load.
    if hosts.len() > 1 && entry.get("load_balance_hosts") != Some("disable") {
        url.push_str("?load_balance_hosts=random");
    }
    let _ = writeln!(out, "backend = {}", quoted(&url));
    let known = people.password_of(user);
    if let Some(password) = entry.get("password").or(known) {
        if password.starts_with("SCRAM-SHA-256$") {
            let what = format!("{}: the password of {user}", entry.name);
            report.unmapped(
                what,
                "a SCRAM verifier cannot log in; add `password = \"…\"`",
            );
        } else {
            let _ = writeln!(out, "password = {}", quoted(password));
        }
    }
    if entry.get("user").is_some() && people.themselves {
        report.adapted(format!(
            "{}: everybody was {user} there; users now have a server user of their own, which goes \
             first: take `server` away from those that shall be {user}",
            entry.name
        ));
    }
}

/// Percent signs for everything that could end a part of a URL.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                out.push(char::from(byte));
            }
            other => {
                let _ = write!(out, "%{other:02X}");
            }
        }
    }
    out
}

fn tls(ini: &Ini, out: &mut String) {
    let Some(mode) = ini.get("pgbouncer", "server_tls_sslmode") else {
        return;
    };
    let mut tls = format!("{{ mode = {}", quoted(mode));
    for (theirs, ours) in [
        ("server_tls_ca_file", "ca"),
        ("server_tls_cert_file", "certificate"),
        ("server_tls_key_file", "key"),
    ] {
        if let Some(file) = ini.get("pgbouncer", theirs) {
            let _ = write!(tls, ", {ours} = {}", quoted(file));
        }
    }
    let _ = writeln!(out, "tls = {tls} }}");
}

fn pool(ini: &Ini, entry: &Entry<'_>, people: &People, out: &mut String, report: &mut Report) {
    let name = entry.name;
    let mode = entry
        .get("pool_mode")
        .unwrap_or(ini.or("pool_mode", "session"));
    let each = entry
        .number("pool_size", ini.number("default_pool_size", 20))
        .max(1);
    let bound = entry.number("max_db_connections", ini.number("max_db_connections", 0));
    let users = match entry.get("user") {
        Some(_) => 1,
        None => people.list.len().max(1),
    };
    let mut max = each * users;
    if entry.get("user").is_none() && people.auth_user.is_some() {
        max = each * 10.max(users);
        report.adapted(format!(
            "{name}: a pool of {each} for each user became one of {max} for all, with at most {each} each"
        ));
    }
    if bound > 0 {
        max = max.min(bound);
    }
    let mut lines = vec![
        format!("mode = {}", quoted(mode)),
        format!("max = {max}"),
        format!("user_max = {}", each.min(max)),
    ];
    let min = entry
        .number("min_pool_size", ini.number("min_pool_size", 0))
        .min(max);
    match (min, mode) {
        (0, _) => {}
        (_, "session") => {
            let what = format!("{name}: min_pool_size = {min}");
            report.unmapped(what, "in session mode connections are not made ready");
        }
        _ => lines.push(format!("min = {min}")),
    }
    let reserve = entry.number("reserve_pool_size", ini.number("reserve_pool_size", 0));
    if reserve > 0 {
        lines.push(format!("reserve = {reserve}"));
    }
    let clients = ini.number("max_db_client_connections", 0);
    let clients = entry.number("max_db_client_connections", clients);
    if clients > 0 {
        lines.push(format!("clients_max = {clients}"));
    }
    let lifetime = entry
        .get("server_lifetime")
        .unwrap_or(ini.or("server_lifetime", "3600"));
    for (ours, value) in [
        ("reserve_timeout", ini.or("reserve_pool_timeout", "5")),
        ("wait_timeout", ini.or("query_wait_timeout", "120")),
        ("wait_notice", ini.or("query_wait_notify", "5")),
        ("connect_timeout", ini.or("server_connect_timeout", "15")),
        ("idle_timeout", ini.or("server_idle_timeout", "600")),
        ("lifetime", lifetime),
        ("check_after", ini.or("server_check_delay", "30")),
    ] {
        match seconds(value) {
            Some(time) => lines.push(format!("{ours} = {time}")),
            None => report.unmapped(format!("{ours} {value}"), "not a number of seconds"),
        }
    }
    if ini.number("server_round_robin", 0) > 0 {
        lines.push("round_robin = true".to_owned());
    }
    match ini.number("max_prepared_statements", 200) {
        0 => report
            .adapted("max_prepared_statements = 0: the gate always follows prepared statements"),
        most => lines.push(format!("prepared_max = {most}")),
    }
    let _ = writeln!(out, "pool = {{ {} }}", lines.join(", "));
}

fn timeouts(ini: &Ini, out: &mut String) {
    let mut lines = Vec::new();
    for (ours, theirs) in [
        ("query", "query_timeout"),
        ("transaction", "transaction_timeout"),
        ("idle_transaction", "idle_transaction_timeout"),
        ("client_idle", "client_idle_timeout"),
    ] {
        let time = ini.get("pgbouncer", theirs).and_then(seconds);
        if let Some(time) = time.filter(|time| time != "0") {
            lines.push(format!("{ours} = {time}"));
        }
    }
    if !lines.is_empty() {
        let _ = writeln!(out, "timeouts = {{ {} }}", lines.join(", "));
    }
}

/// A database that looks users up in its own way.
fn own_lookup(
    ini: &Ini,
    entry: &Entry<'_>,
    people: &People,
    out: &mut String,
    report: &mut Report,
) {
    let own = |key| entry.get(key).or(ini.get("pgbouncer", key));
    let special = ["auth_user", "auth_query", "auth_dbname"]
        .iter()
        .any(|key| entry.get(key).is_some());
    if let (Some(user), true) = (own("auth_user"), special) {
        let lines =
            super::access::lookup(user, own("auth_query"), own("auth_dbname"), people, report);
        let _ = writeln!(out, "auth_query = {{ {} }}", lines.join(", "));
    }
}

/// What is left of an entry.
fn left(entry: &Entry<'_>, report: &mut Report) {
    const KNOWN: &[&str] = &[
        "host",
        "port",
        "dbname",
        "user",
        "password",
        "pool_mode",
        "pool_size",
        "min_pool_size",
        "reserve_pool_size",
        "max_db_connections",
        "max_db_client_connections",
        "server_lifetime",
        "connect_query",
        "auth_user",
        "auth_query",
        "auth_dbname",
        "load_balance_hosts",
    ];
    for (key, value) in &entry.pairs {
        let why = match &**key {
            known if KNOWN.contains(&known) => continue,
            "client_encoding" | "datestyle" | "timezone" => {
                "use ALTER DATABASE … SET, which holds for every connection"
            }
            _ => "no equivalent",
        };
        report.unmapped(format!("{}: {key} = {value}", entry.name), why);
    }
}
