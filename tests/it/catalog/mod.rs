//! What the catalog says a statement can reach, against a real server.
//!
//! Every case is tried twice: the reach must name what it should, and when the
//! statement really runs, no table may change that the reach does not name.

mod cases;
mod fixture;
mod limits;
mod plans;

use std::sync::Arc;
use std::time::Duration;

use portcullis::backend::postgres::catalog::{CatalogSnapshot, Reach, World};
use portcullis::model::pattern::PatternSet;
use portcullis::model::{Facts, Kind};
use portcullis::sql::{self, Lexer};

use crate::support::database::OWNER;

use cases::{HOSTILE, HOSTILE_SCHEMA, cases};
use fixture::{DELETE, Known, READ, SCHEMA, calling, dml, names, really_changes};

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
fn the_analysis_of_the_text_leads_to_the_same_reach() {
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
        let analysis = sql::analyze(case.sql, Lexer::POSTGRES);
        let [statement] = &analysis.statements[..] else {
            panic!("{}: {:?}", case.sql, analysis.problem);
        };
        let by_hand = describe(&snapshot, &snapshot.reach(&case.facts, &world));
        let found = snapshot.reach(&statement.facts, &world);
        let described = describe(&snapshot, &found);
        if by_hand != described && !case.sql.contains("id = 99") && !case.sql.contains("program") {
            let (sql, why, facts) = (case.sql, &found.opaque, &statement.facts);
            wrong.push(format!(
                "{sql}\n  by hand {by_hand}, by text {described} ({why:?})\n  {facts:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_table_changes_that_the_reach_does_not_name() {
    let Some(known) = Known::new(&format!("{SCHEMA}{HOSTILE_SCHEMA}")) else {
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
    for sql in HOSTILE {
        let analysis = sql::analyze(sql, Lexer::POSTGRES);
        let reaches: Vec<Reach> = analysis
            .statements
            .iter()
            .map(|statement| snapshot.reach(&statement.facts, &world))
            .collect();
        if analysis.problem.is_some() || reaches.iter().any(|reach| reach.opaque.is_some()) {
            continue; // Counted everywhere, or refused.
        }
        let (changed, tagged) = really_changes(&known, sql);
        let covers =
            |reach: &Reach, oid: &u32| reach.changes.contains(oid) || reach.truncates.contains(oid);
        for oid in changed.keys() {
            if !reaches.iter().any(|reach| covers(reach, oid)) {
                wrong.push(format!("{sql}\n  changes {:?}", names(&snapshot, &[*oid])));
            }
        }
        let total: u64 = changed.values().sum();
        if reaches.iter().any(|reach| reach.plain) && total != tagged {
            wrong.push(format!("{sql}\n  tag {tagged}, really {changed:?}"));
        }
        if reaches.iter().all(|reach| reach.read_only) && total > 0 {
            wrong.push(format!("{sql}\n  is no read: {changed:?}"));
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
