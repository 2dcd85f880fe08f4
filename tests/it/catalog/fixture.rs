//! A database with everything that can hang on a table, its catalog, and facts by hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis::backend::postgres::catalog::{
    COUNTER_COLUMNS, Catalog, CatalogSnapshot, Counter, Pace, counter_query, parse_counter,
};
use portcullis::config::{HostName, Hosts, PostgresBackend, ServerTls};
use portcullis::model::{Access, Effects, Facts, FunctionUse, Kind, Relation, Traits, Via};

use crate::support::database::{Database, OWNER, fresh_database};
use crate::support::raw::Raw;

pub(super) const SCHEMA: &str = "
CREATE TABLE users(id int PRIMARY KEY, name text);
CREATE TABLE orders(id int PRIMARY KEY, user_id int REFERENCES users ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE items(id int PRIMARY KEY, order_id int REFERENCES orders ON DELETE SET NULL);
CREATE TABLE logs(id int, what text);
CREATE TABLE plain(id int PRIMARY KEY, v text);
CREATE TABLE checked(id int, plain_id int REFERENCES plain);
CREATE VIEW v_users AS SELECT * FROM users WHERE id > 0;
CREATE VIEW v_deep AS SELECT u.id, l.what FROM v_users u LEFT JOIN logs l ON l.id = u.id;
CREATE VIEW v_instead AS SELECT id, what FROM logs;
CREATE VIEW v_xml AS SELECT query_to_xml('delete from users returning 1', true, false, '') AS x;
CREATE TABLE audited(id int, v text);
CREATE TABLE touched(id int, v text);
CREATE TABLE ruled(id int);
CREATE TABLE events(id int, day int) PARTITION BY RANGE (day);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (100);
CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (100) TO (200);
CREATE TABLE base(id int);
CREATE TABLE derived(extra int) INHERITS (base);
CREATE TABLE tree(id int PRIMARY KEY, up int REFERENCES tree ON DELETE CASCADE);
CREATE TABLE late(id int);
CREATE FUNCTION purge() RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM users; RETURN 1; END';
CREATE FUNCTION purge_any(t text) RETURNS int LANGUAGE plpgsql AS 'BEGIN EXECUTE ''delete from '' || t; RETURN 1; END';
CREATE FUNCTION outer_purge() RETURNS int LANGUAGE sql AS 'SELECT purge()';
CREATE FUNCTION purge_row(u users) RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM users WHERE id = u.id; RETURN 1; END';
CREATE FUNCTION pure(x int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN x + 1; END';
CREATE FUNCTION peek() RETURNS SETOF text LANGUAGE sql AS 'SELECT name FROM users';
CREATE FUNCTION atomic_purge() RETURNS SETOF int LANGUAGE sql BEGIN ATOMIC DELETE FROM users RETURNING id; END;
CREATE PROCEDURE purge_all() LANGUAGE plpgsql AS 'BEGIN DELETE FROM users; END';
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO logs VALUES (1, ''x''); RETURN OLD; END';
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.v := ''t''; RETURN NEW; END';
CREATE FUNCTION instead() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM audited; RETURN OLD; END';
CREATE TRIGGER audit AFTER DELETE ON audited FOR EACH ROW EXECUTE FUNCTION audit();
CREATE TRIGGER touch BEFORE UPDATE ON touched FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER instead INSTEAD OF DELETE ON v_instead FOR EACH ROW EXECUTE FUNCTION instead();
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit();
CREATE RULE also AS ON DELETE TO ruled DO ALSO DELETE FROM logs;
CREATE TABLE defaulted(id int DEFAULT purge(), v int);
CREATE TABLE guarded(id int, v int CHECK (pure(v) > 0));
CREATE SCHEMA other;
CREATE TABLE other.plain(id int, v text);
INSERT INTO users SELECT i, 'n' FROM generate_series(1, 5) i;
INSERT INTO orders SELECT i, i FROM generate_series(1, 5) i;
INSERT INTO items SELECT i, i FROM generate_series(1, 5) i;
INSERT INTO logs SELECT i, 'n' FROM generate_series(1, 5) i;
INSERT INTO plain SELECT i, 'n' FROM generate_series(1, 5) i;
INSERT INTO audited SELECT i, 'n' FROM generate_series(1, 5) i;
INSERT INTO touched SELECT i, 'n' FROM generate_series(1, 5) i;
INSERT INTO ruled SELECT i FROM generate_series(1, 5) i;
INSERT INTO events SELECT i, i * 30 FROM generate_series(1, 5) i;
INSERT INTO base SELECT i FROM generate_series(1, 5) i;
INSERT INTO derived SELECT i, i FROM generate_series(1, 5) i;
INSERT INTO tree SELECT i, nullif(i - 1, 0) FROM generate_series(1, 5) i;
";

/// A catalog that has read the database once.
pub(super) struct Known {
    pub(super) database: Database,
    pub(super) catalog: Arc<Catalog>,
    pub(super) runtime: tokio::runtime::Runtime,
}

impl Known {
    pub(super) fn new(schema: &str) -> Option<Known> {
        let database = fresh_database()?;
        if !schema.is_empty() {
            database.prepare(schema);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let backend = PostgresBackend {
            hosts: Hosts {
                list: vec![HostName {
                    name: database.address.ip().to_string().into(),
                    port: database.address.port(),
                }],
                ..Hosts::default()
            },
            database: database.name.as_str().into(),
            user: OWNER.into(),
            password: None,
            operator: None,
            tls: ServerTls::default(),
        };
        let catalog = Catalog::new(&backend, Pace::default()).expect("a catalog");
        let known = Known {
            database,
            catalog,
            runtime,
        };
        known.refresh();
        Some(known)
    }

    pub(super) fn refresh(&self) -> Arc<CatalogSnapshot> {
        let refreshed = self.runtime.block_on(self.catalog.refresh());
        refreshed.expect("the catalog can be read");
        self.catalog.snapshot().expect("a snapshot")
    }

    pub(super) fn snapshot(&self) -> Arc<CatalogSnapshot> {
        self.catalog.snapshot().expect("a snapshot")
    }
}

/// Facts by hand, so that this chapter fails only when the catalog is wrong.
pub(super) fn facts(kind: Kind, relations: &[(&str, Access)]) -> Facts {
    let mut facts = Facts::empty(kind);
    for (name, access) in relations {
        let (name, via) = match name.strip_prefix("cte:") {
            Some(name) => (name, Via::Cte),
            None => (*name, Via::Direct),
        };
        let (schema, name) = match name.split_once('.') {
            Some((schema, name)) => (Some(Arc::from(schema)), name),
            None => (None, name),
        };
        let writes = access.intersects(Access::CHANGE);
        facts.effects |= if writes {
            Effects::WRITES
        } else {
            Effects::READS
        };
        facts.relations.push(Relation {
            schema,
            name: name.into(),
            access: *access,
            via,
        });
    }
    facts
}

pub(super) fn dml(verb: Kind, table: &str, access: Access) -> Facts {
    facts(verb, &[(table, access)])
}

pub(super) fn calling(mut facts: Facts, name: &str) -> Facts {
    facts.traits |= Traits::CALLS_FUNCTIONS;
    facts.functions.push(FunctionUse {
        schema: None,
        name: name.into(),
        harmless: false,
    });
    facts
}

pub(super) fn column(mut facts: Facts, name: &str) -> Facts {
    facts.columns.push(name.into());
    facts
}

pub(super) const READ: Access = Access::SELECT;
pub(super) const INSERT: Access = Access::INSERT;
pub(super) const UPDATE: Access = Access::UPDATE;
pub(super) const DELETE: Access = Access::DELETE;

pub(super) fn names(snapshot: &CatalogSnapshot, oids: &[u32]) -> Vec<String> {
    let name = |oid: &u32| {
        snapshot
            .relation(*oid)
            .map_or_else(|| oid.to_string(), |r| r.label().to_string())
    };
    let mut names: Vec<String> = oids.iter().map(name).collect();
    names.sort();
    names
}

/// The server's counters for every table.
pub(super) fn counters(link: &mut Raw, snapshot: &CatalogSnapshot) -> BTreeMap<u32, Counter> {
    let tables: Vec<u32> = snapshot
        .relations()
        .filter(|relation| relation.kind.is_table())
        .map(|relation| relation.oid)
        .collect();
    let rows = link.rows(&counter_query(&tables));
    let counter = |row: &Vec<Option<String>>| {
        assert_eq!(row.len(), COUNTER_COLUMNS);
        let fields: Vec<Option<&[u8]>> = row
            .iter()
            .map(|field| field.as_deref().map(str::as_bytes))
            .collect();
        parse_counter(&fields).expect("a counter")
    };
    rows.iter()
        .map(counter)
        .map(|counter| (counter.oid, counter))
        .collect()
}

/// Runs the statement in a transaction that is rolled back: the rows changed in
/// every table, and the number in the command tag.
pub(super) fn really_changes(known: &Known, sql: &str) -> (BTreeMap<u32, u64>, u64) {
    let snapshot = known.snapshot();
    let mut link = known.database.direct();
    link.rows("BEGIN");
    let before = counters(&mut link, &snapshot);
    let answers = link.run(&format!("Q {sql}"));
    let lines: Vec<String> = answers.iter().map(|answer| answer.line()).collect();
    let tag = lines
        .iter()
        .find_map(|line| line.strip_prefix("CommandComplete "));
    let tag = tag.unwrap_or_else(|| panic!("{sql}: {lines:?}"));
    let tagged = tag
        .rsplit(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    link.rows("SET CONSTRAINTS ALL IMMEDIATE");
    let after = counters(&mut link, &snapshot);
    let changed = after
        .iter()
        .map(|(oid, after)| (*oid, after.changed - before[oid].changed))
        .filter(|(_, rows)| *rows > 0)
        .collect();
    link.rows("ROLLBACK");
    (changed, tagged)
}
