//! `auth_query`: users that the server knows and the file does not.

use std::sync::Arc;
use std::time::Duration;

use super::Secret;
use super::load::secret;
use super::reader::Table;
use super::reference::{self, Section};
use super::values::Surroundings;

/// Names as the server writes them, qualified so that no search_path matters.
/// A password whose time has run out is none.
const QUERY: &str = "SELECT rolname, CASE WHEN rolvaliduntil < pg_catalog.now() THEN NULL \
                     ELSE rolpassword END FROM pg_catalog.pg_authid \
                     WHERE rolname = $1 AND rolcanlogin";

/// How users are looked up on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthQuery {
    /// Server user that asks; none: the operator, or the URL's user.
    pub user: Option<(Arc<str>, Option<Secret>)>,
    /// Database on the server in which to ask; none: the one that the client wants.
    pub database: Option<Arc<str>>,
    /// One parameter, the name; two columns, name and password.
    pub query: Arc<str>,
    /// How long an answer is used.
    pub cache: Duration,
    /// How long asking may take.
    pub timeout: Duration,
    /// As whom the statements of such users run.
    pub act_as: ActAs,
}

/// As whom the statements of a looked-up user run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActAs {
    /// Itself: what it has proven to the gate is proven to the server.
    Itself,
    /// The URL's user.
    Server,
}

/// The top level's table.
pub(super) fn top(top: Table<'_>, surroundings: Surroundings<'_>) -> Option<AuthQuery> {
    read(top, &reference::AUTH_QUERY, surroundings)
}

/// A database's own table.
pub(super) fn of_database(table: Table<'_>, surroundings: Surroundings<'_>) -> Option<AuthQuery> {
    read(table, &reference::DATABASE_AUTH_QUERY, surroundings)
}

fn read(outer: Table<'_>, section: &Section, surroundings: Surroundings<'_>) -> Option<AuthQuery> {
    let table = outer.table("auth_query", section)?;
    let text = |key| table.text(key).map(|text| Arc::<str>::from(text.value));
    let password = secret(table, "password", surroundings);
    if password.is_some() && table.get("user").is_none() {
        let hint = "add `user = \"NAME\"`";
        table
            .problems
            .error(table.span(), "a password, and no user", hint);
    }
    if let Some(query) = table.text("query")
        && !query.value.contains("$1")
    {
        let message = "the query does not look at the name that is asked for";
        table
            .problems
            .error(query.span, message, "put `$1` in its place");
    }
    let ways = [("self", ActAs::Itself), ("server", ActAs::Server)];
    Some(AuthQuery {
        user: text("user").map(|user| (user, password)),
        database: text("database"),
        query: text("query").unwrap_or_else(|| QUERY.into()),
        cache: table.duration("cache").unwrap_or(Duration::from_secs(10)),
        timeout: table.duration("timeout").unwrap_or(Duration::from_secs(3)),
        act_as: table
            .choice("act_as", &ways)
            .map_or(ActAs::Itself, |way| way.value),
    })
}
