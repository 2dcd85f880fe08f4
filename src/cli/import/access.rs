//! How people prove who they are: rules, and looking users up.

use std::fmt::Write as _;

use super::hba;
use super::ini::Ini;
use super::users::People;
use super::{Report, quoted};

/// `[auth_query]` and `[[auth]]`.
pub(super) fn write(
    ini: &Ini,
    people: &People,
    hba: Option<&str>,
    out: &mut String,
    report: &mut Report,
) {
    let get = |key| ini.get("pgbouncer", key);
    if let Some(user) = get("auth_user") {
        let lines = lookup(user, get("auth_query"), get("auth_dbname"), people, report);
        let _ = writeln!(out, "[auth_query]\n{}\n", lines.join("\n"));
    }
    if !people.ruled() {
        return;
    }
    match hba {
        Some(text) if get("auth_type") == Some("hba") => hba::write(text, out, report),
        _ if get("auth_type") == Some("plain") => {
            report.adapted("auth_type = plain: passwords in the clear are asked for over TLS only");
            out.push_str("[[auth]]\ntls = \"required\"\nmethod = \"password\"\n\n");
            out.push_str("[[auth]]\nmethod = \"scram-sha-256\"\n\n");
        }
        _ => {
            report.unmapped(
                "auth_type = hba",
                "there is no auth_hba_file: nobody is let in",
            );
            out.push_str("[[auth]]\nmethod = \"reject\"\n\n");
        }
    }
}

/// The lines of a table that says how users are looked up.
pub(super) fn lookup(
    user: &str,
    query: Option<&str>,
    database: Option<&str>,
    people: &People,
    report: &mut Report,
) -> Vec<String> {
    let mut lines = vec![format!("user = {}", quoted(user))];
    match people.password_of(user) {
        Some(password) if !password.starts_with("SCRAM-SHA-256$") => {
            lines.push(format!("password = {}", quoted(password)));
        }
        _ => report.unmapped(
            format!("the password of {user}, who looks users up"),
            "add `password` to auth_query if the server asks for it",
        ),
    }
    if let Some(database) = database {
        lines.push(format!("database = {}", quoted(database)));
    }
    if let Some(query) = query {
        lines.push(format!("query = {}", quoted(query)));
        report.adapted(format!(
            "auth_query runs with search_path=pg_catalog: write the schema before your own names in {query}"
        ));
    }
    lines
}
