//! PostgreSQL functions that SQLite does not have.
//!
//! All of them are harmless: none writes, none leaves the process, and each is
//! marked so that views may use it.

mod catalog;
mod moment;
mod text;
mod value;

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Result};

use super::catalog::Names;
use super::engine::Identity;

/// The version that clients are told.
pub const SERVER_VERSION: &str =
    concat!("15.0 (Portcullis SQLite ", env!("CARGO_PKG_VERSION"), ")");

fn flags() -> FunctionFlags {
    FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS
}

/// Registers all of them.
pub(super) fn register(connection: &Connection, identity: &Identity, names: &Names) -> Result<()> {
    constants(connection, identity)?;
    catalog::register(connection, identity, names)?;
    text::register(connection)?;
    value::register(connection)?;
    moment::register(connection)
}

fn add<T, F>(connection: &Connection, name: &str, arguments: i32, function: F) -> Result<()>
where
    F: Fn(&Context<'_>) -> Result<T> + Send + std::panic::UnwindSafe + 'static,
    T: rusqlite::functions::SqlFnOutput,
{
    connection.create_scalar_function(
        name,
        arguments,
        flags() | FunctionFlags::SQLITE_DETERMINISTIC,
        function,
    )
}

fn constants(connection: &Connection, identity: &Identity) -> Result<()> {
    let version = format!(
        "PostgreSQL {SERVER_VERSION}, SQLite {}",
        rusqlite::version()
    );
    let answers: [(&[&str], String); 4] = [
        (&["version"], version),
        (
            &["current_user", "session_user", "current_role", "user"],
            identity.user.clone(),
        ),
        (
            &["current_database", "current_catalog"],
            identity.database.clone(),
        ),
        (&["current_schema"], "public".to_owned()),
    ];
    for (list, answer) in answers {
        for name in list {
            let answer = answer.clone();
            add(connection, name, 0, move |_| Ok(answer.clone()))?;
        }
    }
    let pid = identity.pid;
    add(connection, "pg_backend_pid", 0, move |_| Ok(pid))?;
    add(connection, "current_schemas", 1, |_| {
        Ok("{pg_catalog,public}")
    })?;
    for name in ["pg_is_in_recovery", "txid_current"] {
        add(connection, name, 0, |_| Ok(0))?;
    }
    for name in [
        "now",
        "transaction_timestamp",
        "statement_timestamp",
        "clock_timestamp",
    ] {
        // Not deterministic: every statement has a time of its own.
        connection.create_scalar_function(name, 0, flags(), |_| {
            Ok(jiff::Timestamp::now()
                .strftime("%Y-%m-%d %H:%M:%S%.6f+00:00")
                .to_string())
        })?;
    }
    Ok(())
}

fn failure(message: String) -> rusqlite::Error {
    rusqlite::Error::UserFunctionError(message.into())
}

fn integer(context: &Context<'_>, index: usize) -> Option<i64> {
    match context.get_raw(index) {
        ValueRef::Integer(n) => Some(n),
        ValueRef::Text(text) => std::str::from_utf8(text).ok()?.trim().parse().ok(),
        _ => None,
    }
}

fn text(context: &Context<'_>, index: usize) -> Result<Option<String>> {
    Ok(match context.get_raw(index) {
        ValueRef::Null => None,
        ValueRef::Integer(n) => Some(n.to_string()),
        ValueRef::Real(n) => Some(n.to_string()),
        ValueRef::Text(text) | ValueRef::Blob(text) => {
            Some(String::from_utf8_lossy(text).into_owned())
        }
    })
}
