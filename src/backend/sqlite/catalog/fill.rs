//! From SQLite's schema to rows of the catalog.

mod constants;
mod keys;
mod relations;

use std::collections::HashMap;

use rusqlite::Connection;

use super::super::engine::Identity;
use super::super::error::Error;
use super::{FIRST_OID, Known, Names, tables};

const OWNER: i64 = 10;
const PG_CATALOG: i64 = 11;
const PUBLIC: i64 = 2200;
const TEMPORARY: i64 = 3300;
const INFORMATION_SCHEMA: i64 = 13000;
/// Distance between a table and the primary-key index that SQLite does not have as an object.
const KEY_OFFSET: i64 = 10_000_000;
const CONSTRAINT_OFFSET: i64 = 20_000_000;
const TEMPORARY_OFFSET: i64 = 5_000_000;

/// One table, view, index or trigger as sqlite_schema lists it.
struct Object {
    oid: i64,
    temporary: bool,
    kind: String,
    name: String,
    table: String,
    sql: String,
}

impl Object {
    fn database(&self) -> &'static str {
        if self.temporary { "temp" } else { "main" }
    }

    fn namespace(&self) -> i64 {
        if self.temporary { TEMPORARY } else { PUBLIC }
    }

    fn schema(&self) -> &'static str {
        if self.temporary { "pg_temp" } else { "public" }
    }
}

struct Filler<'c> {
    connection: &'c Connection,
    identity: &'c Identity,
    objects: Vec<Object>,
    known: Known,
    /// Key columns of tables, for foreign keys that do not name them.
    keys: HashMap<String, Vec<String>>,
    constraints: i64,
}

/// Fills every table anew.
pub(super) fn everything(
    connection: &Connection,
    names: &Names,
    identity: &Identity,
) -> Result<(), Error> {
    for (schema, list) in [
        ("pg_catalog", tables::PG_CATALOG),
        ("information_schema", tables::INFORMATION_SCHEMA),
    ] {
        for (name, _) in list {
            connection.execute(&format!("DELETE FROM {schema}.{name}"), [])?;
        }
    }
    let objects = objects(connection)?;
    let mut filler = Filler {
        connection,
        identity,
        objects: Vec::new(),
        known: Known::default(),
        keys: HashMap::new(),
        constraints: FIRST_OID + CONSTRAINT_OFFSET,
    };
    filler.constants()?;
    for object in objects
        .iter()
        .filter(|o| matches!(o.kind.as_str(), "table" | "view"))
    {
        filler
            .known
            .relations
            .insert(object.oid, object.name.clone());
        filler.relation(object, &objects)?;
        filler.columns(object)?;
    }
    for object in objects.iter().filter(|o| o.kind == "table") {
        filler.indexes(object, &objects)?;
        filler.foreign_keys(object, &objects)?;
    }
    for object in objects.iter().filter(|o| o.kind == "trigger") {
        filler.trigger(object, &objects)?;
    }
    filler.objects = objects;
    *names.lock() = filler.known;
    Ok(())
}

fn objects(connection: &Connection) -> Result<Vec<Object>, Error> {
    let mut found = Vec::new();
    for (temporary, database) in [(false, "main"), (true, "temp")] {
        let text = format!(
            "SELECT rowid, type, name, tbl_name, coalesce(sql, '') FROM {database}.sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' OR type = 'index'"
        );
        let mut statement = connection.prepare_cached(&text)?;
        let rows = statement.query_map([], |row| {
            let offset = if temporary { TEMPORARY_OFFSET } else { 0 };
            Ok(Object {
                oid: FIRST_OID + offset + row.get::<_, i64>(0)?,
                temporary,
                kind: row.get(1)?,
                name: row.get(2)?,
                table: row.get(3)?,
                sql: row.get(4)?,
            })
        })?;
        for row in rows {
            found.push(row?);
        }
    }
    Ok(found)
}

impl Filler<'_> {
    fn run(&self, text: &str, values: impl rusqlite::Params) -> Result<(), Error> {
        self.connection.prepare_cached(text)?.execute(values)?;
        Ok(())
    }
}
