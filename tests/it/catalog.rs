//! What the catalog says a statement can reach, against a real server.
//!
//! Every case is tried twice: the reach must name what it should, and when the
//! statement really runs, no table may change that the reach does not name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portcullis::backend::postgres::catalog::{
    COUNTER_COLUMNS, Catalog, CatalogSnapshot, Counter, Pace, Reach, World, counter_query,
    parse_counter,
};
use portcullis::config::PostgresBackend;
use portcullis::model::pattern::PatternSet;
use portcullis::model::{Access, Effects, Facts, FunctionUse, Kind, Relation, Traits, Via};

use crate::support::database::{Database, OWNER, fresh_database};
use crate::support::raw::Raw;

const SCHEMA: &str = "
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
struct Known {
    database: Database,
    catalog: Arc<Catalog>,
    runtime: tokio::runtime::Runtime,
}

impl Known {
    fn new(schema: &str) -> Option<Known> {
        let database = fresh_database()?;
        if !schema.is_empty() {
            database.prepare(schema);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let backend = PostgresBackend {
            host: database.address.ip().to_string().into(),
            port: database.address.port(),
            database: database.name.as_str().into(),
            user: OWNER.into(),
            password: None,
            operator: None,
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

    fn refresh(&self) -> Arc<CatalogSnapshot> {
        let refreshed = self.runtime.block_on(self.catalog.refresh());
        refreshed.expect("the catalog can be read");
        self.catalog.snapshot().expect("a snapshot")
    }

    fn snapshot(&self) -> Arc<CatalogSnapshot> {
        self.catalog.snapshot().expect("a snapshot")
    }
}

/// Facts by hand, so that this chapter fails only when the catalog is wrong.
fn facts(kind: Kind, relations: &[(&str, Access)]) -> Facts {
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

fn calling(mut facts: Facts, name: &str) -> Facts {
    facts.traits |= Traits::CALLS_FUNCTIONS;
    facts.functions.push(FunctionUse {
        schema: None,
        name: name.into(),
        harmless: false,
    });
    facts
}

fn column(mut facts: Facts, name: &str) -> Facts {
    facts.columns.push(name.into());
    facts
}

const READ: Access = Access::SELECT;
const INSERT: Access = Access::INSERT;
const UPDATE: Access = Access::UPDATE;
const DELETE: Access = Access::DELETE;

fn names(snapshot: &CatalogSnapshot, oids: &[u32]) -> Vec<String> {
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
fn counters(link: &mut Raw, snapshot: &CatalogSnapshot) -> BTreeMap<u32, Counter> {
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
fn really_changes(known: &Known, sql: &str) -> (BTreeMap<u32, u64>, u64) {
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

struct Case {
    sql: &'static str,
    facts: Facts,
    /// Tables that change, `plain` in front when the tag is exact, `opaque` when there is no bound.
    expect: &'static str,
}

fn case(sql: &'static str, facts: Facts, expect: &'static str) -> Case {
    Case { sql, facts, expect }
}

fn dml(verb: Kind, table: &str, access: Access) -> Facts {
    facts(verb, &[(table, access)])
}

fn cases() -> Vec<Case> {
    let delete = |table: &str| dml(Kind::Delete, table, DELETE | READ);
    let update = |table: &str| dml(Kind::Update, table, UPDATE | READ);
    let insert = |table: &str| dml(Kind::Insert, table, INSERT);
    let select = |table: &str| dml(Kind::Select, table, READ);
    vec![
        case("delete from plain where id = 99", delete("plain"), "opaque"),
        case(
            "delete from checked",
            delete("public.checked"),
            "plain checked",
        ),
        case(
            "update plain set v = 'x'",
            update("public.plain"),
            "plain plain",
        ),
        case(
            "insert into plain select i, 'x' from generate_series(10, 20) i on conflict (id) do update set v = 'y'",
            dml(Kind::Insert, "public.plain", INSERT | UPDATE),
            "plain plain",
        ),
        case(
            "copy plain from program 'true'",
            delete("public.plain"),
            "plain plain",
        ),
        case("delete from users", delete("users"), "items orders users"),
        case(
            "update users set name = 'x'",
            update("users"),
            "orders users",
        ),
        case(
            "insert into users values (100, 'x')",
            insert("users"),
            "plain users",
        ),
        case("delete from orders", delete("orders"), "items orders"),
        case("delete from tree where id = 1", delete("tree"), "tree"),
        case(
            "delete from v_users",
            delete("v_users"),
            "items orders users v_users",
        ),
        case(
            "delete from v_instead",
            delete("v_instead"),
            "audited logs v_instead",
        ),
        case("delete from audited", delete("audited"), "audited logs"),
        case(
            "insert into audited values (1, 'x')",
            insert("audited"),
            "audited",
        ),
        case("update touched set v = 'x'", update("touched"), "touched"),
        case("delete from ruled", delete("ruled"), "logs ruled"),
        case(
            "delete from events",
            delete("events"),
            "plain events events_1 events_2",
        ),
        case(
            "update events set day = day + 40",
            update("events"),
            "plain events events_1 events_2",
        ),
        case("delete from events_1", delete("events_1"), "plain events_1"),
        case("delete from base", delete("base"), "plain base derived"),
        case(
            "delete from only base",
            delete("base"),
            "plain base derived",
        ),
        case("insert into late values (1)", insert("late"), "late logs"),
        case(
            "insert into defaulted(v) values (1)",
            insert("defaulted"),
            "defaulted items orders users",
        ),
        case(
            "insert into guarded values (1, 1)",
            insert("guarded"),
            "plain guarded",
        ),
        case(
            "with gone as (delete from users returning 1) select * from gone",
            facts(Kind::Select, &[("cte:users", DELETE | READ)]),
            "items orders users",
        ),
        case(
            "with gone as (delete from logs returning 1) delete from checked",
            facts(
                Kind::Delete,
                &[("cte:logs", DELETE | READ), ("checked", DELETE | READ)],
            ),
            "checked logs",
        ),
        case(
            "select purge()",
            calling(Facts::empty(Kind::Select), "purge"),
            "items orders users",
        ),
        case(
            "select outer_purge()",
            calling(Facts::empty(Kind::Select), "outer_purge"),
            "items orders users",
        ),
        case(
            "select purge_any('logs')",
            calling(Facts::empty(Kind::Select), "purge_any"),
            "opaque",
        ),
        case(
            "select * from atomic_purge()",
            calling(Facts::empty(Kind::Select), "atomic_purge"),
            "items orders users",
        ),
        case(
            "select u.purge_row from users u",
            column(select("users"), "purge_row"),
            "items orders users",
        ),
        case(
            "select pure(1)",
            calling(Facts::empty(Kind::Select), "pure"),
            "",
        ),
        case(
            "select peek()",
            calling(Facts::empty(Kind::Select), "peek"),
            "",
        ),
        case(
            "update plain set v = pure(1)",
            calling(update("public.plain"), "pure"),
            "plain plain",
        ),
        case(
            "update plain set v = purge()",
            calling(update("public.plain"), "purge"),
            "items orders plain users",
        ),
        case(
            "call purge_all()",
            calling(Facts::empty(Kind::Call), "purge_all"),
            "items orders users",
        ),
        case(
            "do 'begin delete from users; end'",
            Facts::empty(Kind::Do),
            "opaque",
        ),
        case(
            "select query_to_xml('delete from users returning 1', true, false, '')",
            calling(Facts::empty(Kind::Select), "query_to_xml"),
            "opaque",
        ),
        case("select * from v_xml", select("v_xml"), "opaque"),
        case(
            "explain analyze delete from logs",
            facts(Kind::Explain, &[("logs", DELETE | READ)]),
            "logs",
        ),
        case("select * from v_deep", select("v_deep"), ""),
        case("select relname from pg_class", select("pg_class"), ""),
        case(
            "alter table touched alter v type varchar(9)",
            dml(Kind::Alter, "touched", Access::ALTER),
            "opaque",
        ),
        case("begin", Facts::empty(Kind::Begin), ""),
    ]
}

fn describe(snapshot: &CatalogSnapshot, reach: &Reach) -> String {
    if reach.opaque.is_some() {
        return "opaque".to_owned();
    }
    let mut words = names(snapshot, &reach.changes);
    if reach.plain {
        words.insert(0, "plain".to_owned());
    }
    words.join(" ")
}

#[test]
fn names_everything_a_statement_can_change() {
    let Some(known) = Known::new(SCHEMA) else {
        return;
    };
    let snapshot = known.snapshot();
    let path = [Arc::from("$user"), Arc::from("public")];
    let world = World {
        search_path: Some(&path),
        role: OWNER,
        ..World::default()
    };
    let mut wrong = Vec::new();
    for case in cases() {
        let unknown_path = case.expect == "opaque" && case.sql.contains("id = 99");
        let world = if unknown_path {
            World {
                temp_objects: true,
                ..world
            }
        } else {
            world
        };
        let reach = snapshot.reach(&case.facts, &world);
        let found = describe(&snapshot, &reach);
        if found != case.expect {
            wrong.push(format!(
                "{}\n  found {found:?} ({:?}), expected {:?}",
                case.sql, reach.opaque, case.expect
            ));
        }
        if case.sql.starts_with("copy ")
            || case.sql.starts_with("select query_to_xml")
            || case.sql.contains("v_xml")
        {
            continue; // Needs other rights, or fails by itself.
        }
        let (changed, tagged) = really_changes(&known, case.sql);
        for oid in changed.keys() {
            if reach.opaque.is_none() && !reach.changes.contains(oid) {
                wrong.push(format!(
                    "{}\n  really changes {:?}",
                    case.sql,
                    names(&snapshot, &[*oid])
                ));
            }
        }
        let moves = case.sql.starts_with("update events");
        if reach.plain && !moves && changed.values().sum::<u64>() != tagged {
            wrong.push(format!("{}\n  tag {tagged}, really {changed:?}", case.sql));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn reads_reach_through_views_and_functions() {
    let Some(known) = Known::new(SCHEMA) else {
        return;
    };
    let snapshot = known.snapshot();
    let world = World {
        role: OWNER,
        ..World::default()
    };
    let reads = |facts: &Facts| names(&snapshot, &snapshot.reach(facts, &world).reads).join(" ");
    assert_eq!(
        reads(&dml(Kind::Select, "v_deep", READ)),
        "logs users v_deep v_users"
    );
    assert_eq!(reads(&calling(Facts::empty(Kind::Select), "peek")), "users");
    assert_eq!(
        reads(&dml(Kind::Select, "events", READ)),
        "events events_1 events_2"
    );
    assert_eq!(
        reads(&dml(Kind::Select, "plain", READ)),
        "other.plain plain",
        "any schema when the path is unknown"
    );
    let read_only = |facts: &Facts| snapshot.reach(facts, &world).read_only;
    assert!(read_only(&dml(Kind::Select, "v_deep", READ)));
    assert!(!read_only(&calling(
        dml(Kind::Select, "users", READ),
        "nextval"
    )));
    assert!(!read_only(&dml(Kind::Delete, "logs", DELETE)));
}

#[test]
fn what_runs_without_being_named_counts_for_every_statement() {
    let schema = "
        CREATE TABLE users(id int); CREATE TABLE quiet(id int);
        CREATE FUNCTION purge(text) RETURNS bool LANGUAGE plpgsql AS 'BEGIN DELETE FROM users; RETURN true; END';
        CREATE DOMAIN evil AS text CHECK (purge(VALUE));";
    let Some(known) = Known::new(schema) else {
        return;
    };
    let snapshot = known.snapshot();
    let reach = snapshot.reach(&dml(Kind::Select, "quiet", READ), &World::default());
    assert_eq!(names(&snapshot, &reach.changes), ["users"]);
    let (changed, _) = really_changes(&known, "select 'x'::evil");
    assert_eq!(changed.len(), 0, "an empty table: {changed:?}");
}

#[test]
fn the_epoch_moves_with_definitions_and_only_with_them() {
    let Some(known) = Known::new(SCHEMA) else {
        return;
    };
    let mut link = known.database.direct();
    let mut epoch = known.snapshot().epoch();
    let quiet = [
        "INSERT INTO plain VALUES (1000, 'x')",
        "CREATE TEMP TABLE scratch(id int PRIMARY KEY, v text DEFAULT 'x' CHECK (v <> ''))",
        "VACUUM plain",
        "ANALYZE plain",
    ];
    for sql in quiet {
        link.rows(sql);
        assert_eq!(known.refresh().epoch(), epoch, "{sql}");
    }
    let moving = [
        "CREATE TABLE added(id int)",
        "ALTER TABLE added ADD COLUMN v text",
        "ALTER TABLE added RENAME TO renamed",
        "CREATE TRIGGER touch BEFORE UPDATE ON renamed FOR EACH ROW EXECUTE FUNCTION touch()",
        "ALTER TABLE renamed DISABLE TRIGGER touch",
        "CREATE OR REPLACE FUNCTION pure(x int) RETURNS int LANGUAGE sql AS 'SELECT 2'",
        "ALTER TABLE checked DROP CONSTRAINT checked_plain_id_fkey",
        "ALTER TABLE checked ADD FOREIGN KEY (plain_id) REFERENCES plain ON DELETE CASCADE",
        "CREATE POLICY p ON renamed USING (id > 0)",
        "CREATE RULE r AS ON INSERT TO renamed DO NOTHING",
        "CREATE TABLE events_3 PARTITION OF events FOR VALUES FROM (200) TO (300)",
        "ALTER TABLE events DETACH PARTITION events_3",
        "CREATE UNIQUE INDEX ON renamed(id)",
        "ALTER TABLE renamed ALTER v SET DEFAULT 'x'",
        "DROP TABLE renamed",
        "CREATE DOMAIN d AS int CHECK (VALUE > 0)",
        "ALTER SCHEMA other RENAME TO another",
    ];
    for sql in moving {
        link.rows(sql);
        let moved = known.refresh().epoch();
        assert!(moved > epoch, "{sql}");
        epoch = moved;
    }
}

#[test]
fn statistics_move_the_plan_epoch() {
    let Some(known) = Known::new(SCHEMA) else {
        return;
    };
    let before = known.snapshot().plan_epoch();
    let mut link = known.database.direct();
    link.rows("INSERT INTO plain SELECT i, 'x' FROM generate_series(2000, 5000) i");
    link.rows("ANALYZE plain");
    let snapshot = known.refresh();
    assert!(snapshot.plan_epoch() > before);
    let plain = snapshot
        .relations()
        .find(|r| &*r.label() == "plain")
        .expect("plain");
    assert_eq!(plain.rows, Some(3006.0));
}

#[test]
fn a_definition_that_went_by_makes_the_view_stale_until_it_is_read() {
    let Some(known) = Known::new(SCHEMA) else {
        return;
    };
    assert!(!known.catalog.view().stale);
    known.catalog.note_ddl();
    assert!(known.catalog.view().stale);
    known.database.prepare("CREATE TABLE brand_new(id int)");
    let keeper = Arc::clone(&known.catalog).run();
    let view = known.runtime.block_on(async {
        tokio::select! {
            () = keeper => unreachable!("the keeper runs for ever"),
            view = known.catalog.fresh(Duration::from_secs(20)) => view,
        }
    });
    assert!(!view.stale);
    let snapshot = view.snapshot.expect("a snapshot");
    assert!(
        snapshot
            .relations()
            .any(|relation| &*relation.name == "brand_new")
    );
}

#[test]
fn a_lock_held_by_a_definition_does_not_stop_the_reading() {
    let Some(known) = Known::new(SCHEMA) else {
        return;
    };
    let mut link = known.database.direct();
    link.rows("BEGIN");
    link.rows("ALTER TABLE users ADD COLUMN waiting int; ALTER VIEW v_users RENAME TO v_hidden");
    link.rows("LOCK TABLE logs, plain, audited, events IN ACCESS EXCLUSIVE MODE");
    let mut other = known.database.direct();
    other.rows("CREATE TABLE beside(id int)");
    let snapshot = known.refresh();
    assert!(
        snapshot
            .relations()
            .any(|relation| &*relation.name == "beside")
    );
    link.rows("ROLLBACK");
}

#[test]
fn patterns_match_tables_with_their_partitions() {
    let Some(known) = Known::new(SCHEMA) else {
        return;
    };
    let snapshot = known.snapshot();
    let patterns = PatternSet::new(["users", "event*", "events_2", "other.*"]).expect("patterns");
    let matching: Vec<String> = snapshot
        .matching(&patterns)
        .iter()
        .map(|m| {
            format!(
                "{} {} [{}]",
                m.pattern,
                m.label,
                names(&snapshot, &m.members).join(" ")
            )
        })
        .collect();
    let expected = [
        "1 events [events events_1 events_2]",
        "2 events_2 [events_2]",
        "3 other.plain [other.plain]",
        "0 users [users]",
    ];
    assert_eq!(matching, expected);
}
