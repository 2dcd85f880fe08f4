//! Tables, views, their columns and triggers.

use rusqlite::params;

use super::{Filler, Object};
use crate::backend::rows::Type;
use crate::backend::sqlite::error::Error;
use crate::backend::sqlite::types;

impl Filler<'_> {
    pub(super) fn relation(&mut self, object: &Object, objects: &[Object]) -> Result<(), Error> {
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

    pub(super) fn columns(&mut self, object: &Object) -> Result<(), Error> {
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

    pub(super) fn trigger(&mut self, trigger: &Object, objects: &[Object]) -> Result<(), Error> {
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
