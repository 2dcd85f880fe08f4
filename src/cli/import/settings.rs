//! The main section: doors, limits, logging.

use std::fmt::Write as _;

use super::ini::Ini;
use super::{Report, list, quoted, seconds};

/// Settings that need nothing in their place, with the reason.
const NEEDLESS: &[(&[&str], &str)] = &[
    (
        &["logfile", "syslog", "syslog_ident", "syslog_facility"],
        "the gate logs to standard error; let the service manager keep it",
    ),
    (
        &["pidfile", "user", "service_name", "job_name", "conffile"],
        "the service manager's business",
    ),
    (
        &[
            "log_connections",
            "log_disconnections",
            "log_pooler_errors",
            "log_stats",
            "stats_period",
        ],
        "see [log] and /metrics",
    ),
    (
        &["server_reset_query", "server_reset_query_always"],
        "connections are put in order between clients by what was done on them",
    ),
    (
        &["server_check_query"],
        "an empty query is used; pool.check_after says when",
    ),
    (
        &["track_extra_parameters"],
        "all settings follow their client",
    ),
    (
        &[
            "dns_max_ttl",
            "dns_nxdomain_ttl",
            "dns_zone_check_period",
            "resolv_conf",
        ],
        "names are looked up when a connection is made",
    ),
    (
        &[
            "tcp_keepalive",
            "tcp_keepidle",
            "tcp_keepintvl",
            "tcp_keepcnt",
            "tcp_user_timeout",
            "tcp_defer_accept",
            "tcp_socket_buffer",
            "so_reuseport",
            "listen_backlog",
        ],
        "sockets have settings of their own that cannot be changed",
    ),
    (
        &[
            "pkt_buf",
            "sbuf_loopcnt",
            "max_packet_size",
            "disable_pqexec",
            "scram_iterations",
        ],
        "has no equivalent; see [limits] and [analysis] for the gate's own bounds",
    ),
    (
        &[
            "server_login_retry",
            "server_fast_close",
            "suspend_timeout",
            "cancel_wait_timeout",
            "autodb_idle_timeout",
            "application_name_add_host",
            "peer_id",
            "unix_socket_group",
        ],
        "has no equivalent",
    ),
    (
        &[
            "client_tls_protocols",
            "client_tls_ciphers",
            "client_tls13_ciphers",
            "client_tls_ecdhcurve",
            "client_tls_dheparams",
            "server_tls_protocols",
            "server_tls_ciphers",
            "server_tls13_ciphers",
        ],
        "TLS 1.2 and 1.3 with safe ciphers are spoken",
    ),
    (
        &["auth_ident_file", "auth_ldap_options"],
        "see auth, system_users and common_name of a [[user]]",
    ),
];

/// Settings that are taken over here or elsewhere.
const KNOWN: &[&str] = &[
    "listen_addr",
    "listen_port",
    "unix_socket_dir",
    "unix_socket_mode",
    "pool_mode",
    "max_client_conn",
    "default_pool_size",
    "min_pool_size",
    "reserve_pool_size",
    "reserve_pool_timeout",
    "max_db_connections",
    "max_db_client_connections",
    "max_user_connections",
    "max_user_client_connections",
    "server_round_robin",
    "ignore_startup_parameters",
    "max_prepared_statements",
    "auth_type",
    "auth_file",
    "auth_hba_file",
    "auth_user",
    "auth_query",
    "auth_dbname",
    "verbose",
    "admin_users",
    "stats_users",
    "server_check_delay",
    "server_lifetime",
    "server_idle_timeout",
    "server_connect_timeout",
    "client_login_timeout",
    "client_tls_sslmode",
    "client_tls_key_file",
    "client_tls_cert_file",
    "client_tls_ca_file",
    "server_tls_sslmode",
    "server_tls_ca_file",
    "server_tls_key_file",
    "server_tls_cert_file",
    "query_timeout",
    "query_wait_timeout",
    "query_wait_notify",
    "client_idle_timeout",
    "idle_transaction_timeout",
    "transaction_timeout",
];

/// What stands before the first table; and everything that has no equivalent.
pub(super) fn top(ini: &Ini, out: &mut String, report: &mut Report) {
    for (key, value) in ini.section("pgbouncer") {
        let reason = NEEDLESS.iter().find(|(keys, _)| keys.contains(&key));
        match reason {
            Some((_, reason)) => report.unmapped(format!("{key} = {value}"), reason),
            None if KNOWN.contains(&key) => {}
            None => report.unmapped(format!("{key} = {value}"), "unknown to this import"),
        }
    }
    for (peer, _) in ini.section("peers") {
        report.unmapped(format!("peer {peer}"), "there are no peers");
    }
    if let Some(names) = ini.get("pgbouncer", "ignore_startup_parameters") {
        let names = names
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        let _ = writeln!(out, "ignore_startup_parameters = {}\n", list(names));
    }
}

/// Every address that clients came to.
pub(super) fn doors(ini: &Ini, out: &mut String, report: &mut Report) {
    let port = ini.or("listen_port", "6432");
    let tls = tls(ini, report);
    let mut any = false;
    let addresses = ini.get("pgbouncer", "listen_addr").unwrap_or_default();
    for address in addresses
        .split(',')
        .map(str::trim)
        .filter(|it| !it.is_empty())
    {
        let address = match address {
            // One socket for both families.
            "*" => format!("[::]:{port}"),
            "localhost" => format!("127.0.0.1:{port}"),
            six if six.contains(':') => format!("[{}]:{port}", six.trim_matches(['[', ']'])),
            four if four.parse::<std::net::Ipv4Addr>().is_ok() => format!("{four}:{port}"),
            name => {
                let advice = "a listener needs a numeric address";
                report.unmapped(format!("listen_addr {name}"), advice);
                continue;
            }
        };
        any = true;
        let _ = writeln!(out, "[[listen]]\naddress = {}", quoted(&address));
        if let Some(tls) = &tls {
            let _ = writeln!(out, "tls = {tls}");
        }
        out.push('\n');
    }
    match ini.get("pgbouncer", "unix_socket_dir") {
        Some(folder) => {
            any = true;
            let address = quoted(&format!("unix:{folder}:{port}"));
            let mode = ini.or("unix_socket_mode", "0777");
            let _ = writeln!(
                out,
                "[[listen]]\naddress = {address}\nsocket_mode = {}\n",
                quoted(mode)
            );
        }
        None => report.adapted(format!(
            "PgBouncer also listens on a Unix socket by default (/tmp or /var/run/postgresql): \
             add [[listen]] with address = \"unix:FOLDER:{port}\" if somebody uses it"
        )),
    }
    if !any {
        report.adapted("no address was taken over: the gate listens on 127.0.0.1:6432");
    }
}

/// `listen.tls` as an inline table.
fn tls(ini: &Ini, report: &mut Report) -> Option<String> {
    let file = |key| ini.get("pgbouncer", key).map(quoted);
    let mode = match ini.or("client_tls_sslmode", "disable") {
        "disable" => return None,
        "allow" | "prefer" => "optional",
        _ => "required",
    };
    let (Some(certificate), Some(key)) =
        (file("client_tls_cert_file"), file("client_tls_key_file"))
    else {
        report.unmapped("client_tls_sslmode", "there is no certificate and key");
        return None;
    };
    let mut tls = format!("{{ mode = \"{mode}\", certificate = {certificate}, key = {key}");
    if let Some(ca) = file("client_tls_ca_file") {
        let verifies = ini
            .or("client_tls_sslmode", "disable")
            .starts_with("verify");
        let asked = if verifies { "required" } else { "optional" };
        let _ = write!(tls, ", client_ca = {ca}, client_certificates = \"{asked}\"");
    }
    Some(tls + " }")
}

/// Who may use the console.
fn console(ini: &Ini, out: &mut String) {
    let names = |key| {
        let text = ini.get("pgbouncer", key).unwrap_or_default();
        let names = text.split(',').map(str::trim);
        names.filter(|name| !name.is_empty()).collect::<Vec<_>>()
    };
    let (admins, stats) = (names("admin_users"), names("stats_users"));
    if admins.is_empty() && stats.is_empty() {
        return;
    }
    out.push_str("[console]\n");
    for (key, names) in [("admins", admins), ("readers", stats)] {
        if !names.is_empty() {
            let _ = writeln!(out, "{key} = {}", list(names));
        }
    }
    out.push('\n');
}

/// Bounds and logging.
pub(super) fn rest(ini: &Ini, out: &mut String, report: &mut Report) {
    let clients = ini.number("max_client_conn", 100).max(1);
    let _ = writeln!(out, "[limits]\nclients_max = {clients}");
    match seconds(ini.or("client_login_timeout", "60")) {
        Some(time) if time != "0" => {
            let _ = writeln!(out, "login_timeout = {time}");
        }
        _ => report.adapted("client_login_timeout is off: the gate's own limit of 10s holds"),
    }
    out.push('\n');
    console(ini, out);
    if ini.number("verbose", 0) > 0 {
        out.push_str("[log]\nlevel = \"debug\"\n\n");
    }
}
