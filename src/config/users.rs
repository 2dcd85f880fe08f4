//! `[[user]]`: who may log in, and how they prove who they are.

use std::collections::HashMap;
use std::sync::Arc;

use super::load::{secret, unique};
use super::networks::{self, Access};
use super::reader::{At, Table};
use super::values::{self, Surroundings};
use super::{Database, Endpoint, Listen, Secret, reference, tls};

/// A user that may log in.
#[derive(Debug, Clone)]
pub struct User {
    /// Name.
    pub name: Arc<str>,
    /// How the user proves to be who it says.
    pub credential: Credential,
    /// Databases it may use; empty: all.
    pub databases: Vec<Arc<str>>,
    /// Server user its statements run as, with password; none: the backend's.
    pub server: Option<(Arc<str>, Option<Secret>)>,
    /// Role set on the connection before the client gets it.
    pub set_role: Option<Arc<str>>,
    /// Common name of the certificate the user must show, whatever else it has to prove.
    pub common_name: Option<Arc<str>>,
    /// Where it may come from.
    pub access: Access,
    /// Users of the system that may log in under this name over a Unix socket
    /// with `peer`; empty: the one of the same name.
    pub system_users: Vec<Arc<str>>,
}

impl User {
    /// Whether a user of the system may log in under this name.
    pub fn is_system_user(&self, name: &str) -> bool {
        match &*self.system_users {
            [] => *self.name == *name,
            listed => listed.iter().any(|known| **known == *name),
        }
    }
}

/// How a user proves to be who it says.
#[derive(Debug, Clone)]
pub enum Credential {
    /// No proof; only when written out as `auth = "trust"`.
    Trust,
    /// A password; SCRAM-SHA-256 is spoken.
    Password(Secret),
    /// A SCRAM-SHA-256 verifier as in pg_authid.
    Verifier(Secret),
    /// The certificate alone.
    Certificate,
    /// The user of the system on the other end of a Unix socket.
    Peer,
}

/// All users.
pub(super) fn read(
    top: Table<'_>,
    surroundings: Surroundings<'_>,
    databases: &[Arc<Database>],
    doors: &[Listen],
) -> Vec<Arc<User>> {
    let mut seen = HashMap::new();
    let mut users = Vec::new();
    for table in top.tables("user", &reference::USER) {
        let name = table.needed_text("name");
        if let Some(name) = &name {
            unique(&mut seen, name, "user", table.problems);
        }
        let credential = credential(table, surroundings);
        let allowed = table.texts("databases");
        for database in &allowed {
            // Judged only when the databases themselves were read.
            if !databases.is_empty()
                && !databases.iter().any(|known| &*known.name == database.value)
            {
                let near =
                    super::nearest(database.value, databases.iter().map(|known| &*known.name));
                let hint = near
                    .map(|name| format!("did you mean \"{name}\"?"))
                    .unwrap_or_default();
                table.problems.error(
                    database.span.clone(),
                    format!("there is no database `{}`", database.value),
                    hint,
                );
            }
        }
        let server = table.table("server", &reference::SERVER);
        let password = server.and_then(|server| secret(server, "password", surroundings));
        let text = |key| {
            server
                .and_then(|server: Table<'_>| server.text(key))
                .map(|text| Arc::from(text.value))
        };
        let (server, set_role) = (text("user").map(|user| (user, password)), text("set_role"));
        let common_name = table.text("common_name").map(|name| Arc::from(name.value));
        let certified =
            common_name.is_some() || matches!(credential, Some(Credential::Certificate));
        if certified && !doors.iter().any(tls::asks_for_certificates) {
            table.problems.warning(
                table.span(),
                "the user needs a client certificate, and no door asks for one",
                "add `client_ca = \"PATH\"` to the `tls` of a [[listen]]",
            );
        }
        if matches!(credential, Some(Credential::Peer))
            && !doors
                .iter()
                .any(|door| matches!(door.address, Endpoint::Unix { .. }))
        {
            table.problems.warning(
                table.span(),
                "the user comes over a Unix socket, and there is none",
                "add a [[listen]] with `address = \"unix:FOLDER:PORT\"`",
            );
        }
        let system_users = table.texts("system_users").into_iter();
        let system_users = system_users.map(|name| Arc::from(name.value)).collect();
        let (Some(name), Some(credential)) = (name, credential) else {
            continue;
        };
        let databases = allowed
            .iter()
            .map(|database| Arc::from(database.value))
            .collect();
        users.push(Arc::new(User {
            name: Arc::from(name.value),
            credential,
            databases,
            server,
            set_role,
            common_name,
            access: networks::access(table),
            system_users,
        }));
    }
    users
}

fn credential(table: Table<'_>, surroundings: Surroundings<'_>) -> Option<Credential> {
    let methods = [
        ("scram-sha-256", None),
        ("trust", Some(Credential::Trust)),
        ("cert", Some(Credential::Certificate)),
        ("peer", Some(Credential::Peer)),
    ];
    let names: Vec<(&str, usize)> = methods.iter().map(|(name, _)| *name).zip(0..).collect();
    let auth = table.choice("auth", &names).map(|auth| At {
        value: methods[auth.value].clone(),
        span: auth.span,
    });
    let auth = auth.and_then(|auth| Some((auth.value.0, auth.value.1?, auth.span)));
    let password = table.text("password");
    match (auth, password) {
        (Some((_, credential, _)), None) => Some(credential),
        (Some((method, _, span)), Some(_)) => {
            let message =
                format!("the user has a password, but `auth = \"{method}\"` does not ask for it");
            table.problems.error(span, message, "remove one of the two");
            None
        }
        (_, None) if table.table.contains_key("password") => None,
        (_, None) => {
            let hint = "add `password = \"env:NAME\"`, or `auth = \"trust\"` to let everybody in under this name";
            table
                .problems
                .error(table.span(), "the user has no password", hint);
            None
        }
        (_, Some(text)) => {
            let complain = |(message, hint): (String, String)| {
                table.problems.error(text.span.clone(), message, hint)
            };
            let Some(value) = surroundings.resolve(text.value).map_err(complain).ok()? else {
                return Some(Credential::Password(Secret::new("")));
            };
            if value.is_empty() {
                let message = "the password is empty".to_owned();
                complain((
                    message,
                    "set one, or write `auth = \"trust\"` to let everybody in under this name"
                        .to_owned(),
                ));
                return None;
            }
            values::credential(value).map_err(complain).ok()
        }
    }
}
