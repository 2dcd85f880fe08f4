//! `check --connect`: whether the servers let the gate do what it is configured to.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::backends::target;
use super::directories::asker;
use crate::backend::postgres::Error;
use crate::backend::postgres::directory::ask_once;
use crate::backend::postgres::login::Target;
use crate::backend::postgres::rights::{Rights, examine};
use crate::config::{Backend, Config, Database, Diagnostic, PostgresBackend, Secret};

/// As whom to go to a server, and why.
struct Visitor {
    user: Arc<str>,
    password: Option<Secret>,
    role: Option<Arc<str>>,
    /// What this login is for, as people say it.
    what: String,
    /// Reads the catalog.
    operator: bool,
    /// Only its client can prove who it is.
    proven: bool,
}

/// Goes to every server as everybody the configuration names. Blocks.
pub fn check_servers(config: &Config) -> Vec<Diagnostic> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(visit_all(config)),
        Err(error) => vec![Diagnostic::error(format!("cannot start a thread: {error}"))],
    }
}

async fn visit_all(config: &Config) -> Vec<Diagnostic> {
    let mut list = Vec::new();
    for database in &config.databases {
        let Backend::Postgres(postgres) = &database.backend else {
            continue;
        };
        let target = match target(postgres, database) {
            Ok(target) => target,
            Err(error) => {
                list.push(Diagnostic::error(format!(
                    "database `{}`: {error}",
                    database.name
                )));
                continue;
            }
        };
        for visitor in visitors(config, database, postgres) {
            list.extend(visit(database, &target, &visitor).await);
        }
        list.extend(look_up(database).await);
    }
    list
}

/// Everybody that goes to this server.
fn visitors(config: &Config, database: &Database, postgres: &PostgresBackend) -> Vec<Visitor> {
    let own = (postgres.user.clone(), postgres.password.clone());
    let mut visitors = vec![Visitor {
        user: own.0.clone(),
        password: own.1.clone(),
        role: None,
        what: "the URL's user".to_owned(),
        operator: postgres.operator.is_none(),
        proven: false,
    }];
    if let Some((user, password)) = &postgres.operator {
        visitors.push(Visitor {
            user: user.clone(),
            password: password.clone(),
            role: None,
            what: "the operator".to_owned(),
            operator: true,
            proven: false,
        });
    }
    let mut seen = BTreeSet::new();
    for user in &config.users {
        let may =
            user.databases.is_empty() || user.databases.iter().any(|name| database.is_called(name));
        if !may || (user.server.is_none() && user.set_role.is_none()) {
            continue;
        }
        let (server, password) = user.server.clone().unwrap_or_else(|| own.clone());
        if seen.insert((server.clone(), user.set_role.clone())) {
            visitors.push(Visitor {
                user: server,
                password,
                role: user.set_role.clone(),
                what: format!("the server user of `{}`", user.name),
                operator: false,
                proven: user.proof.is_some(),
            });
        }
    }
    visitors
}

async fn visit(database: &Database, target: &Target, visitor: &Visitor) -> Vec<Diagnostic> {
    let target = Target {
        user: visitor.user.clone(),
        password: visitor.password.clone(),
        ..target.clone()
    };
    let who = format!(
        "database `{}`: `{}` ({})",
        database.name, visitor.user, visitor.what
    );
    match examine(&target, None).await {
        Ok(rights) => {
            let mut list = judge(&who, visitor, &rights);
            if let Some(role) = &visitor.role
                && let Err(error) = examine(&target, Some(role)).await
            {
                let message = format!("{who} cannot take the role `{role}`: {}", words(&error));
                let hint = format!("GRANT \"{role}\" TO \"{}\";", visitor.user);
                list.push(Diagnostic::error(message).hint(hint));
            }
            list
        }
        // Nobody has proven anything yet.
        Err(Error::Authentication(_)) if visitor.proven => Vec::new(),
        Err(error) => {
            let message = format!("{who} cannot log in: {}", words(&error));
            vec![Diagnostic::error(message)]
        }
    }
}

fn judge(who: &str, visitor: &Visitor, rights: &Rights) -> Vec<Diagnostic> {
    let mut list = Vec::new();
    if visitor.operator && !rights.unreadable.is_empty() {
        let message = format!("{who} cannot read {}", rights.unreadable.join(", "));
        let hint =
            "the catalog is read from there: without it row limits and traps refuse everything";
        list.push(Diagnostic::error(message).hint(hint));
    }
    if !rights.track_counts {
        let message = format!("{who} has track_counts off");
        let hint = "rows changed by triggers, rules and functions cannot be counted: limits on them refuse the statement";
        list.push(Diagnostic::warning(message).hint(hint));
    }
    list
}

/// Whether users can be looked up: the asker looks for itself.
async fn look_up(database: &Database) -> Option<Diagnostic> {
    let settings = database.auth_query.as_ref()?;
    let target = match asker(database, settings) {
        Ok(target) => target?,
        Err(error) => return Some(Diagnostic::error(error.to_string())),
    };
    let name = target.user.clone();
    let error = ask_once(target, settings, &name).await.err()?;
    let message = format!(
        "database `{}`: `{name}` cannot look users up: {}",
        database.name,
        words(&error)
    );
    let hint = "the default query reads pg_authid, which superusers may: give the user a function that does";
    Some(Diagnostic::error(message).hint(hint))
}

/// An error with what caused it.
fn words(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
