//! `[[user]]`: who may log in, and how they prove who they are.

use std::collections::HashMap;
use std::sync::Arc;

use super::load::{secret, unique};
use super::networks::{self, Access};
use super::reader::{At, Table};
use super::values::{self, Surroundings};
use super::{
    ActAs, Database, Endpoint, Listen, Method, ProofSlot, Secret, Timeouts, UserPool, WILDCARD,
    auth, pool, reference, timeouts, tls,
};

/// A user that may log in.
#[derive(Debug, Clone)]
pub struct User {
    /// Name.
    pub name: Arc<str>,
    /// What its password is checked with.
    pub credential: Credential,
    /// How the user proves to be who it says, where no rule decides.
    pub method: Method,
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
    /// What is different from the pool of the database.
    pub pool: UserPool,
    /// Timeouts that are different from those of the database.
    pub timeouts: Timeouts,
    /// Where what it proves is kept, for logging in to the server; none: the
    /// server user's own password does.
    pub proof: Option<Arc<ProofSlot>>,
}

impl User {
    /// Somebody whom the server knows under this name, with what it keeps of the
    /// password.
    pub fn looked_up(
        name: &str,
        credential: Credential,
        act_as: ActAs,
        proof: Arc<ProofSlot>,
    ) -> User {
        let own = act_as == ActAs::Itself;
        User {
            name: name.into(),
            method: match credential {
                Credential::Md5(_) => Method::Md5,
                _ => Method::Scram,
            },
            credential,
            databases: Vec::new(),
            server: own.then(|| (name.into(), None)),
            set_role: None,
            common_name: None,
            access: Access::default(),
            system_users: Vec::new(),
            pool: UserPool::default(),
            timeouts: Timeouts::default(),
            proof: own.then_some(proof),
        }
    }

    /// Whether a user of the system may log in under this name.
    pub fn is_system_user(&self, name: &str) -> bool {
        match &*self.system_users {
            [] => *self.name == *name,
            listed => listed.iter().any(|known| **known == *name),
        }
    }
}

impl Credential {
    /// From what a server keeps: a verifier, a hash, or the password itself.
    /// None: damaged.
    pub fn stored(text: String) -> Option<Credential> {
        values::credential(text).ok()
    }
}

/// What is known of a user's password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// Nothing: no password is right.
    Nothing,
    /// The password.
    Password(Secret),
    /// A SCRAM-SHA-256 verifier as in pg_authid.
    Verifier(Secret),
    /// `md5` and the hash of password and name, as in pg_authid.
    Md5(Secret),
}

/// All users.
pub(super) fn read(
    top: Table<'_>,
    surroundings: Surroundings<'_>,
    databases: &[Arc<Database>],
    doors: &[Listen],
    ruled: bool,
) -> Vec<Arc<User>> {
    let mut seen = HashMap::new();
    let mut users = Vec::new();
    for table in top.tables("user", &reference::USER) {
        let name = table.needed_text("name");
        if let Some(name) = &name {
            unique(&mut seen, name, "user", table.problems);
        }
        let proof = proof(table, surroundings, ruled);
        let method = proof.as_ref().map(|(method, _)| *method);
        let allowed = table.texts("databases");
        for database in &allowed {
            // Judged only when the databases themselves were read.
            if !databases.is_empty()
                && !databases
                    .iter()
                    .any(|known| known.is_called(database.value) || &*known.name == WILDCARD)
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
        let certified = common_name.is_some() || method == Some(Method::Certificate);
        if certified && !doors.iter().any(tls::asks_for_certificates) {
            table.problems.warning(
                table.span(),
                "the user needs a client certificate, and no door asks for one",
                "add `client_ca = \"PATH\"` to the `tls` of a [[listen]]",
            );
        }
        if method == Some(Method::Peer)
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
        let (Some(name), Some((method, credential))) = (name, proof) else {
            continue;
        };
        // Without a password for the server, what the client proves has to do.
        let proof = matches!(&server, Some((_, None)))
            && matches!(credential, Credential::Verifier(_) | Credential::Md5(_));
        let proof = proof.then(Arc::<ProofSlot>::default);
        let databases = allowed
            .iter()
            .map(|database| Arc::from(database.value))
            .collect();
        users.push(Arc::new(User {
            name: Arc::from(name.value),
            credential,
            method,
            databases,
            server,
            set_role,
            common_name,
            access: networks::access(table),
            system_users,
            pool: pool::read_user(table),
            timeouts: timeouts::read(table, &reference::USER_TIMEOUTS),
            proof,
        }));
    }
    users
}

/// How the user proves who it is, and what its password is checked with.
fn proof(
    table: Table<'_>,
    surroundings: Surroundings<'_>,
    ruled: bool,
) -> Option<(Method, Credential)> {
    let written = table.choice("auth", &OWN_METHODS);
    if let (Some(auth), true) = (&written, ruled) {
        let message = "the method stands in the rules, [[auth]], which would not look at this one";
        let hint = "remove it, and write a rule for this user";
        table.problems.error(auth.span.clone(), message, hint);
    }
    let Some(text) = table.text("password") else {
        if table.table.contains_key("password") {
            return None;
        }
        return without_password(table, written.map(|auth| auth.value), ruled);
    };
    let credential = password(table, &text, surroundings)?;
    let natural = match credential {
        Credential::Md5(_) => Method::Md5,
        _ => Method::Scram,
    };
    let Some(At {
        value: method,
        span,
    }) = written
    else {
        return Some((natural, credential));
    };
    let complaint = match (method, natural) {
        (Method::Scram, Method::Md5) => Some((
            "SCRAM cannot be spoken with an MD5 hash".to_owned(),
            "write `auth = \"md5\"`, or give the password or a SCRAM verifier",
        )),
        (Method::Scram | Method::Md5, _) => None,
        (other, _) => Some((
            format!(
                "the user has a password, but `auth = \"{}\"` does not ask for it",
                name_of(other)
            ),
            "remove one of the two",
        )),
    };
    match complaint {
        None => Some((method, credential)),
        Some((message, hint)) => {
            table.problems.error(span, message, hint);
            None
        }
    }
}

/// Methods that a user can have of its own.
const OWN_METHODS: [(&str, Method); 5] = [
    ("scram-sha-256", Method::Scram),
    ("md5", Method::Md5),
    ("trust", Method::Trust),
    ("cert", Method::Certificate),
    ("peer", Method::Peer),
];

fn name_of(method: Method) -> &'static str {
    let found = auth::METHODS.iter().find(|(_, known)| *known == method);
    found.map_or("", |(name, _)| name)
}

fn without_password(
    table: Table<'_>,
    method: Option<Method>,
    ruled: bool,
) -> Option<(Method, Credential)> {
    match method {
        Some(method @ (Method::Trust | Method::Certificate | Method::Peer)) => {
            Some((method, Credential::Nothing))
        }
        // A rule may ask for a certificate; where it asks for a password, none is right.
        None if ruled => Some((Method::Scram, Credential::Nothing)),
        _ => {
            let hint = "add `password = \"env:NAME\"`, or `auth = \"trust\"` to let everybody in under this name";
            let message = "the user has no password";
            table.problems.error(table.span(), message, hint);
            None
        }
    }
}

fn password(
    table: Table<'_>,
    text: &At<&str>,
    surroundings: Surroundings<'_>,
) -> Option<Credential> {
    let complain = |(message, hint): (String, String)| {
        table.problems.error(text.span.clone(), message, hint);
    };
    let Some(value) = surroundings.resolve(text.value).map_err(complain).ok()? else {
        return Some(Credential::Password(Secret::new("")));
    };
    if value.is_empty() {
        complain((
            "the password is empty".to_owned(),
            "set one, or write `auth = \"trust\"` to let everybody in under this name".to_owned(),
        ));
        return None;
    }
    values::credential(value).map_err(complain).ok()
}
