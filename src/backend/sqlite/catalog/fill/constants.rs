//! What is the same in every database: schemas, types, the one user.

use rusqlite::params;

use super::{Filler, INFORMATION_SCHEMA, OWNER, PG_CATALOG, PUBLIC, TEMPORARY};
use crate::backend::rows::Type;
use crate::backend::sqlite::error::Error;

impl Filler<'_> {
    pub(super) fn constants(&self) -> Result<(), Error> {
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
}
