//! From SQLite's schema to rows of the catalog.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::super::engine::Identity;
use super::super::error::Error;
use super::super::types;
use super::{FIRST_OID, Known, Names, tables};
use crate::backend::rows::Type;

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

    fn constants(&self) -> Result<(), Error> {
        let (user, database) = (&self.identity.user, &self.identity.database);
        for (oid, name) in [
            (PG_CATALOG, "pg_catalog"),
            (PUBLIC, "public"),
            (TEMPORARY, "pg_temp_1"),
            (INFORMATION_SCHEMA, "information_schema"),
        ] {
            self.run(
                "INSERT INTO pg_catalog.pg_namespace VALUES (?1, ?2, ?3, NULL)",
                params![oid, name, OWNER],
            )?;
            self.run(
                "INSERT INTO information_schema.schemata VALUES (?1, ?2, ?3)",
                params![database, name, user],
            )?;
        }
        for (kind, size, name) in Type::ALL {
            let category = match kind.oid {
                16 => "B",
                _ if kind.is_number() => "N",
                1082..=1184 => "D",
                1186 => "T",
                18 | 19 | 25 | 1042 | 1043 => "S",
                _ => "U",
            };
            self.run(
                "INSERT INTO pg_catalog.pg_type VALUES (?1, ?2, 11, 10, ?3, ?4, 'b', ?5, 0, 1, ',', 0, 0, 0, ?2 || 'in', 0, 0, -1, 0, 0, NULL)",
                params![kind.oid, name, size, *size > 0 && *size <= 8, category],
            )?;
        }
        self.run(
            "INSERT INTO pg_catalog.pg_am VALUES (2, 'heap', 't'), (403, 'btree', 'i')",
            [],
        )?;
        self.run("INSERT INTO pg_catalog.pg_database VALUES (1, ?1, 10, 6, 'c', 0, 1, -1, 1663, 'C.UTF-8', 'C.UTF-8', NULL, NULL)", [database])?;
        self.run(
            "INSERT INTO pg_catalog.pg_roles VALUES (10, ?1, 0, 1, 0, 0, 1, 0, -1, NULL, 0)",
            [user],
        )?;
        self.run(
            "INSERT INTO pg_catalog.pg_user VALUES (?1, 10, 0, 0)",
            [user],
        )?;
        self.run("INSERT INTO pg_catalog.pg_collation VALUES (100, 'default', 11, 10), (950, 'C', 11, 10)", [])?;
        self.run(
            "INSERT INTO pg_catalog.pg_tablespace VALUES (1663, 'pg_default', 10, NULL, NULL)",
            [],
        )
    }

    fn relation(&mut self, object: &Object, objects: &[Object]) -> Result<(), Error> {
        let view = object.kind == "view";
        let of_table = |kind: &str| {
            objects
                .iter()
                .any(|o| o.kind == kind && o.table == object.name)
        };
        let (indexed, triggered) = (!view && of_table("index"), of_table("trigger"));
        let kind = if view { "v" } else { "r" };
        let persistence = if object.temporary { "t" } else { "p" };
        // psql asks for foreign keys only where relhastriggers is set.
        self.run(
            "INSERT INTO pg_catalog.pg_class (oid, relname, relnamespace, reltype, reloftype, relowner, relam, relfilenode, \
             reltablespace, relpages, reltuples, reltoastrelid, relhasindex, relisshared, relpersistence, relkind, relnatts, \
             relchecks, relhasrules, relhastriggers, relhassubclass, relrowsecurity, relforcerowsecurity, relispopulated, \
             relreplident, relispartition) VALUES (?1, ?2, ?3, 0, 0, 10, ?4, ?1, 0, 0, -1, 0, ?5, 0, ?6, ?7, 0, 0, ?8, ?9, 0, 0, 0, 1, 'd', 0)",
            params![object.oid, object.name, object.namespace(), if view { 0 } else { 2 }, indexed || !view, persistence, kind, view, triggered || !view],
        )?;
        let (schema, user, database) = (
            object.schema(),
            &self.identity.user,
            &self.identity.database,
        );
        let table_type = if view { "VIEW" } else { "BASE TABLE" };
        self.run(
            "INSERT INTO information_schema.tables VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                database,
                schema,
                object.name,
                table_type,
                if view { "NO" } else { "YES" }
            ],
        )?;
        if view {
            let body = view_body(&object.sql).to_owned();
            self.run(
                "INSERT INTO pg_catalog.pg_views VALUES (?1, ?2, ?3, ?4)",
                params![schema, object.name, user, body],
            )?;
            self.run(
                "INSERT INTO information_schema.views VALUES (?1, ?2, ?3, ?4)",
                params![database, schema, object.name, body],
            )?;
            self.known.definitions.insert(object.oid, body);
        } else {
            self.run(
                "INSERT INTO pg_catalog.pg_tables VALUES (?1, ?2, ?3, NULL, ?4, 0, ?5, 0)",
                params![schema, object.name, user, indexed, triggered],
            )?;
        }
        Ok(())
    }

    fn columns(&mut self, object: &Object) -> Result<(), Error> {
        let mut statement = self.connection.prepare_cached(
            "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?1, ?2) WHERE hidden <> 1 ORDER BY cid",
        )?;
        let mut rows = statement.query(params![object.name, object.database()])?;
        let (mut number, mut key) = (0i64, Vec::new());
        while let Some(row) = rows.next()? {
            number += 1;
            let (name, declared): (String, String) = (row.get(0)?, row.get(1)?);
            let (not_null, default): (bool, Option<String>) = (row.get(2)?, row.get(3)?);
            let (position, hidden): (i64, i64) = (row.get(4)?, row.get(5)?);
            if position > 0 {
                key.push((position, name.clone()));
            }
            self.column(
                object,
                number,
                &name,
                types::declared(&declared),
                not_null || position > 0,
                default,
                hidden > 1,
            )?;
        }
        key.sort();
        self.keys.insert(
            object.name.to_ascii_lowercase(),
            key.into_iter().map(|(_, n)| n).collect(),
        );
        self.run(
            "UPDATE pg_catalog.pg_class SET relnatts = ?2 WHERE oid = ?1",
            params![object.oid, number],
        )
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the columns of one row, used once"
    )]
    fn column(
        &self,
        object: &Object,
        number: i64,
        name: &str,
        kind: Type,
        not_null: bool,
        default: Option<String>,
        generated: bool,
    ) -> Result<(), Error> {
        let has_default = default.is_some();
        self.run(
            "INSERT INTO pg_catalog.pg_attribute VALUES (?1, ?2, ?3, -1, ?4, ?5, 0, ?6, ?7, 'p', ?8, ?9, '', ?10, 0, 1, 0, 0, '', NULL, NULL, NULL)",
            params![object.oid, name, kind.oid, kind.size(), number, kind.modifier, kind.size() > 0, not_null, has_default, if generated { "s" } else { "" }],
        )?;
        if let Some(text) = &default {
            self.run(
                "INSERT INTO pg_catalog.pg_attrdef VALUES (?1, ?2, ?3, ?4)",
                params![object.oid * 1000 + number, object.oid, number, text],
            )?;
        }
        let length = matches!(kind.oid, 1042 | 1043)
            .then(|| kind.modifier - 4)
            .filter(|n| *n > 0);
        self.run(
            "INSERT INTO information_schema.columns VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, NULL, NULL, NULL, 'pg_catalog', ?10, 'NO', ?11)",
            params![
                self.identity.database, object.schema(), object.name, name, number, default, if not_null { "NO" } else { "YES" },
                types::display(kind.with(-1)), length, kind.name(), if generated { "ALWAYS" } else { "NEVER" }
            ],
        )
    }

    fn indexes(&mut self, table: &Object, objects: &[Object]) -> Result<(), Error> {
        let key = self
            .keys
            .get(&table.name.to_ascii_lowercase())
            .cloned()
            .unwrap_or_default();
        let mut keyed = key.is_empty();
        let mut statement = self.connection.prepare_cached("SELECT name, \"unique\", origin, partial FROM pragma_index_list(?1, ?2) ORDER BY seq DESC")?;
        let rows: Vec<(String, bool, String)> = statement
            .query_map(params![table.name, table.database()], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        for (name, unique, origin) in rows {
            let Some(object) = objects
                .iter()
                .find(|o| o.kind == "index" && o.name == name && o.temporary == table.temporary)
            else {
                continue;
            };
            let columns = self.index_columns(&name, table)?;
            let shown = match origin.as_str() {
                "pk" => format!("{}_pkey", table.name),
                "u" => format!("{}_{}_key", table.name, columns.join("_")),
                _ => name,
            };
            keyed |= origin == "pk";
            self.index(table, object.oid, &shown, &columns, unique, &origin)?;
        }
        if !keyed {
            // The rowid is the key: there is no index object, but psql shows keys as indexes.
            self.index(
                table,
                table.oid + KEY_OFFSET,
                &format!("{}_pkey", table.name),
                &key,
                true,
                "pk",
            )?;
        }
        Ok(())
    }

    fn index_columns(&self, index: &str, table: &Object) -> Result<Vec<String>, Error> {
        let mut statement = self.connection.prepare_cached(
            "SELECT coalesce(name, '(expression)') FROM pragma_index_info(?1, ?2) ORDER BY seqno",
        )?;
        let rows = statement.query_map(params![index, table.database()], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn index(
        &mut self,
        table: &Object,
        oid: i64,
        name: &str,
        columns: &[String],
        unique: bool,
        origin: &str,
    ) -> Result<(), Error> {
        let list = columns.join(", ");
        let word = if unique { "UNIQUE INDEX" } else { "INDEX" };
        let definition = format!(
            "CREATE {word} {name} ON {}.{} USING btree ({list})",
            table.schema(),
            table.name
        );
        self.run(
            "INSERT INTO pg_catalog.pg_class (oid, relname, relnamespace, reltype, reloftype, relowner, relam, relfilenode, reltablespace, relpages, reltuples, \
             reltoastrelid, relhasindex, relisshared, relpersistence, relkind, relnatts, relchecks, relhasrules, relhastriggers, relhassubclass, relrowsecurity, \
             relforcerowsecurity, relispopulated, relreplident, relispartition) \
             VALUES (?1, ?2, ?3, 0, 0, 10, 403, ?1, 0, 0, 0, 0, 0, 0, 'p', 'i', ?4, 0, 0, 0, 0, 0, 0, 1, 'n', 0)",
            params![oid, name, table.namespace(), columns.len() as i64],
        )?;
        let primary = origin == "pk";
        let numbers = self.numbers(table.oid, columns)?;
        self.run(
            "INSERT INTO pg_catalog.pg_index VALUES (?1, ?2, ?3, ?3, ?4, ?5, 0, 1, 0, 1, 1, 1, 0, ?6, '', NULL, NULL)",
            params![oid, table.oid, columns.len() as i64, unique, primary, numbers.join(" ")],
        )?;
        self.run(
            "INSERT INTO pg_catalog.pg_indexes VALUES (?1, ?2, ?3, NULL, ?4)",
            params![table.schema(), table.name, name, definition],
        )?;
        self.known.relations.insert(oid, name.to_owned());
        self.known.definitions.insert(oid, definition);
        match origin {
            "pk" => self.key_constraint(table, oid, name, columns, "p", "PRIMARY KEY"),
            "u" => self.key_constraint(table, oid, name, columns, "u", "UNIQUE"),
            _ => Ok(()),
        }
    }

    fn numbers(&self, table: i64, columns: &[String]) -> Result<Vec<String>, Error> {
        let mut statement = self.connection.prepare_cached("SELECT attnum FROM pg_catalog.pg_attribute WHERE attrelid = ?1 AND lower(attname) = lower(?2)")?;
        let number = |column: &String| {
            statement
                .query_row(params![table, column], |row| row.get::<_, i64>(0))
                .unwrap_or(0)
                .to_string()
        };
        Ok(columns.iter().map(number).collect())
    }

    fn key_constraint(
        &mut self,
        table: &Object,
        index: i64,
        name: &str,
        columns: &[String],
        kind: &str,
        words: &str,
    ) -> Result<(), Error> {
        let definition = format!("{words} ({})", columns.join(", "));
        self.constraint(table, name, kind, index, None, columns, &[], definition)?;
        self.information(table, name, words, columns)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the columns of one row, used twice"
    )]
    fn constraint(
        &mut self,
        table: &Object,
        name: &str,
        kind: &str,
        index: i64,
        other: Option<i64>,
        columns: &[String],
        others: &[String],
        definition: String,
    ) -> Result<(), Error> {
        self.constraints += 1;
        let keys = format!("{{{}}}", self.numbers(table.oid, columns)?.join(","));
        let other_keys = match other {
            Some(oid) => Some(format!("{{{}}}", self.numbers(oid, others)?.join(","))),
            None => None,
        };
        self.run(
            "INSERT INTO pg_catalog.pg_constraint VALUES (?1, ?2, ?3, ?4, 0, 0, 1, ?5, 0, ?6, 0, ?7, 'a', 'a', 's', ?8, ?9, NULL)",
            params![self.constraints, name, table.namespace(), kind, table.oid, index, other.unwrap_or(0), keys, other_keys],
        )?;
        self.known.definitions.insert(self.constraints, definition);
        Ok(())
    }

    fn information(
        &self,
        table: &Object,
        name: &str,
        kind: &str,
        columns: &[String],
    ) -> Result<(), Error> {
        let (database, schema) = (&self.identity.database, table.schema());
        self.run(
            "INSERT INTO information_schema.table_constraints VALUES (?1, ?2, ?3, ?1, ?2, ?4, ?5, 'NO', 'NO')",
            params![database, schema, name, table.name, kind],
        )?;
        for (position, column) in columns.iter().enumerate() {
            self.run(
                "INSERT INTO information_schema.key_column_usage VALUES (?1, ?2, ?3, ?1, ?2, ?4, ?5, ?6, NULL)",
                params![database, schema, name, table.name, column, position as i64 + 1],
            )?;
        }
        Ok(())
    }

    fn foreign_keys(&mut self, table: &Object, objects: &[Object]) -> Result<(), Error> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, \"table\", \"from\", \"to\", on_update, on_delete FROM pragma_foreign_key_list(?1, ?2) ORDER BY id DESC, seq",
        )?;
        type Part = (i64, String, String, Option<String>, String, String);
        let parts: Vec<Part> = statement
            .query_map(params![table.name, table.database()], |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get(4)?,
                    row.get(5)?,
                ))
            })?
            .collect::<rusqlite::Result<_>>()?;
        for group in parts.chunk_by(|a, b| a.0 == b.0) {
            let Some((_, target, _, _, on_update, on_delete)) = group.first() else {
                continue;
            };
            let columns: Vec<String> = group.iter().map(|p| p.2.clone()).collect();
            let named: Option<Vec<String>> = group.iter().map(|p| p.3.clone()).collect();
            let others = named
                .or_else(|| self.keys.get(&target.to_ascii_lowercase()).cloned())
                .unwrap_or_default();
            let mut definition = format!(
                "FOREIGN KEY ({}) REFERENCES {target}({})",
                columns.join(", "),
                others.join(", ")
            );
            for (word, action) in [("UPDATE", on_update), ("DELETE", on_delete)] {
                if action != "NO ACTION" {
                    definition.push_str(&format!(" ON {word} {action}"));
                }
            }
            let name = format!("{}_{}_fkey", table.name, columns.join("_"));
            let other = objects
                .iter()
                .find(|o| o.kind == "table" && o.name.eq_ignore_ascii_case(target))
                .map(|o| o.oid);
            self.constraint(table, &name, "f", 0, other, &columns, &others, definition)?;
            self.information(table, &name, "FOREIGN KEY", &columns)?;
            for column in &others {
                self.run(
                    "INSERT INTO information_schema.constraint_column_usage VALUES (?1, ?2, ?3, ?4, ?1, ?2, ?5)",
                    params![self.identity.database, table.schema(), target, column, name],
                )?;
            }
        }
        Ok(())
    }

    fn trigger(&mut self, trigger: &Object, objects: &[Object]) -> Result<(), Error> {
        let Some(table) = objects
            .iter()
            .find(|o| o.name == trigger.table && o.kind != "trigger")
        else {
            return Ok(());
        };
        self.run(
            "INSERT INTO pg_catalog.pg_trigger VALUES (?1, ?2, 0, ?3, 0, 0, 'O', 0, 0)",
            params![trigger.oid, table.oid, trigger.name],
        )?;
        self.known.definitions.insert(
            trigger.oid,
            trigger.sql.split_whitespace().collect::<Vec<_>>().join(" "),
        );
        Ok(())
    }
}

/// What follows AS in `CREATE VIEW name AS …`.
fn view_body(sql: &str) -> &str {
    let lower = sql.to_ascii_lowercase();
    let at = [" as ", " as\n", "\nas ", "\nas\n"]
        .iter()
        .filter_map(|word| lower.find(word))
        .min();
    at.map_or(sql, |at| sql[at + 4..].trim_start())
}
