//! Indexes, keys and the constraints that go with them.

use rusqlite::params;

use super::{Filler, KEY_OFFSET, Object};
use crate::backend::sqlite::error::Error;

impl Filler<'_> {
    pub(super) fn indexes(&mut self, table: &Object, objects: &[Object]) -> Result<(), Error> {
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

    pub(super) fn foreign_keys(&mut self, table: &Object, objects: &[Object]) -> Result<(), Error> {
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
}
