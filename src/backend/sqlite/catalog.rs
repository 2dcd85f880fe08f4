//! PostgreSQL's system catalog, as far as psql and drivers ask for it.
//!
//! Two databases in memory are attached under the names `pg_catalog` and
//! `information_schema` and filled from SQLite's schema whenever a statement
//! names them and the schema has changed. What was filled is noted in the same
//! database, so a rollback of the client's takes both back.
//!
//! Deliberately not here: sizes, statistics, rights. Tables for them exist and
//! are empty, or say what is true of every object.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, params};

use super::engine::Identity;
use super::error::Error;
use super::types;
use crate::backend::rows::Type;

mod fill;
mod tables;

/// First OID given to an object of the database.
const FIRST_OID: i64 = 16384;

/// Names and definitions by OID, for the functions that print them.
#[derive(Clone, Default)]
pub(super) struct Names(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    relations: HashMap<i64, String>,
    definitions: HashMap<i64, String>,
}

impl Names {
    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Name of a relation.
    pub fn relation(&self, oid: i64) -> Option<String> {
        self.lock().relations.get(&oid).cloned()
    }

    /// OID of a relation, by a name that may be qualified and quoted.
    pub fn oid(&self, name: &str) -> Option<i64> {
        let plain = name.rsplit('.').next().unwrap_or(name);
        let wanted = match plain.strip_prefix('"').and_then(|n| n.strip_suffix('"')) {
            Some(quoted) => quoted.replace("\"\"", "\""),
            None => plain.to_ascii_lowercase(),
        };
        self.lock()
            .relations
            .iter()
            .find(|(_, n)| n.eq_ignore_ascii_case(&wanted))
            .map(|(oid, _)| *oid)
    }

    /// Text that made an index, a constraint, a view or a trigger.
    pub fn definition(&self, oid: i64) -> Option<String> {
        self.lock().definitions.get(&oid).cloned()
    }
}

/// Attaches the two empty schemas.
pub(super) fn attach(connection: &Connection) -> Result<(), Error> {
    connection.execute_batch(
        "ATTACH ':memory:' AS pg_catalog; ATTACH ':memory:' AS information_schema;",
    )?;
    for (schema, list) in [
        ("pg_catalog", tables::PG_CATALOG),
        ("information_schema", tables::INFORMATION_SCHEMA),
    ] {
        for (name, columns) in list {
            connection.execute_batch(&format!("CREATE TABLE {schema}.{name} ({columns})"))?;
        }
    }
    Ok(())
}

/// Brings the catalog up to date with the schema versions given.
pub(super) fn fill(
    connection: &Connection,
    versions: (i64, i64),
    names: &Names,
    identity: &Identity,
) -> Result<(), Error> {
    let filled = connection
        .prepare_cached("SELECT 1 FROM pg_catalog.portcullis_filled WHERE main = ?1 AND temp = ?2")?
        .exists(params![versions.0, versions.1])?;
    if filled {
        return Ok(());
    }
    connection.execute_batch("SAVEPOINT portcullis_fill")?;
    let outcome = fill::everything(connection, names, identity).and_then(|()| {
        connection.execute("DELETE FROM pg_catalog.portcullis_filled", [])?;
        connection.execute(
            "INSERT INTO pg_catalog.portcullis_filled VALUES (?1, ?2)",
            params![versions.0, versions.1],
        )?;
        Ok(())
    });
    let end = if outcome.is_ok() {
        "RELEASE portcullis_fill"
    } else {
        "ROLLBACK TO portcullis_fill; RELEASE portcullis_fill"
    };
    connection.execute_batch(end)?;
    outcome
}

/// Columns of a table or view: lower-case name and type; those without a declared type are left out.
pub(super) fn columns(connection: &Connection, table: &str) -> Result<Vec<(String, Type)>, Error> {
    let mut statement = connection
        .prepare_cached("SELECT name, type FROM pragma_table_xinfo(?1) WHERE hidden <> 1")?;
    let rows = statement.query_map([table], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
    })?;
    let mut found = Vec::new();
    for row in rows {
        let (name, declared) = row?;
        if !declared.is_empty() {
            found.push((name.to_ascii_lowercase(), types::declared(&declared)));
        }
    }
    Ok(found)
}
