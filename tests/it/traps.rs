//! A trap is a table that is not there, whichever way leads to it.

use crate::refusals::{RULES, Scene, expect_usable};
use crate::support::gate::Gate;

/// Ways to the trap that do not write its name; the last column is what the client wrote.
const HIDDEN: &[(&str, &str, &str)] = &[
    (
        "a view",
        "SELECT * FROM innocent",
        "relation \"innocent\" does not exist",
    ),
    (
        "a view on a view",
        "SELECT count(*) FROM harmless",
        "relation \"harmless\" does not exist",
    ),
    (
        "a view beside a table",
        "SELECT 1 FROM users u JOIN innocent i ON true",
        "relation \"innocent\" does not exist",
    ),
    (
        "a view in a subquery",
        "SELECT id FROM users WHERE name IN (SELECT secret FROM innocent)",
        "relation \"innocent\" does not exist",
    ),
    (
        "a materialized view",
        "SELECT * FROM kept",
        "relation \"kept\" does not exist",
    ),
    (
        "a partitioned parent",
        "SELECT * FROM parts",
        "relation \"parts\" does not exist",
    ),
    (
        "a cascade",
        "DELETE FROM owners WHERE id = 1",
        "relation \"owners\" does not exist",
    ),
    (
        "a trigger",
        "INSERT INTO watched VALUES (1)",
        "relation \"watched\" does not exist",
    ),
    (
        "a rule",
        "INSERT INTO ruled VALUES (1)",
        "relation \"ruled\" does not exist",
    ),
    (
        "a function in SQL",
        "SELECT peek()",
        "permission denied for function peek",
    ),
    (
        "COPY of a view's query",
        "COPY (SELECT * FROM innocent) TO STDOUT",
        "relation \"innocent\" does not exist",
    ),
    (
        "a plan of a write",
        "EXPLAIN DELETE FROM innocent WHERE secret = 'x'",
        "relation \"innocent\" does not exist",
    ),
    (
        "a plan",
        "EXPLAIN SELECT * FROM innocent",
        "relation \"innocent\" does not exist",
    ),
    (
        "a new view",
        "CREATE VIEW another AS SELECT * FROM innocent",
        "relation \"innocent\" does not exist",
    ),
];

#[test]
fn a_trap_is_reached_by_no_way_around_its_name() {
    let Some(scene) = Scene::new() else { return };
    scene.database.prepare(
        "CREATE VIEW harmless AS SELECT * FROM innocent;
         CREATE MATERIALIZED VIEW kept AS SELECT * FROM canary_credentials;
         CREATE TABLE parts (id int, what text) PARTITION BY LIST (id);
         CREATE TABLE canary_part PARTITION OF parts FOR VALUES IN (1);
         CREATE TABLE owners (id int PRIMARY KEY);
         CREATE TABLE canary_owned (owner int REFERENCES owners ON DELETE CASCADE);
         CREATE TABLE watched (id int);
         CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN PERFORM 1 FROM canary_credentials; RETURN NEW; END $$;
         CREATE TRIGGER look AFTER INSERT ON watched FOR EACH ROW EXECUTE FUNCTION look();
         CREATE TABLE ruled (id int);
         CREATE RULE ruled AS ON INSERT TO ruled DO ALSO INSERT INTO canary_credentials VALUES ('x');
         CREATE FUNCTION peek() RETURNS text LANGUAGE sql AS 'SELECT secret FROM canary_credentials';",
    );
    let gate = Gate::start(&scene.database, RULES);
    for (way, sql, message) in HIDDEN {
        for script in [format!("Q {sql}"), format!("P - {sql}\nB - -\nE -\nS")] {
            let mut client = gate.connect();
            let answers = client.run(&script);
            let error = &answers[0];
            assert_eq!(error.tag, b'E', "{way}: {}", error.line());
            assert_eq!(error.field(b'M'), *message, "{way}: {}", error.line());
            assert!(!error.line().contains("canary"), "{way}: {}", error.line());
            expect_usable(&mut client, way);
        }
        gate.wait_for_log(&["honeytoken", "touched"]);
    }
    scene.expect_untouched("every way to the trap");
    let mut client = gate.connect();
    assert_eq!(
        client.value("SELECT name FROM users WHERE id = 1"),
        "user 1"
    );
}

#[test]
fn a_view_that_learns_of_the_trap_stops_answering_prepared_statements() {
    let Some(scene) = Scene::new() else { return };
    scene
        .database
        .prepare("CREATE VIEW window_shop AS SELECT name FROM users");
    let gate = Gate::start(&scene.database, RULES);
    let mut client = gate.connect();
    let prepared = client.lines("P s SELECT * FROM window_shop LIMIT 1\nB - s\nE -\nS");
    assert!(
        prepared.iter().any(|line| line.contains("user")),
        "{prepared:?}"
    );
    let change =
        "Q CREATE OR REPLACE VIEW window_shop AS SELECT secret AS name FROM canary_credentials";
    assert_eq!(
        client.run(change)[0].code(),
        "42P01",
        "the gate does not let it be made"
    );
    scene.database.prepare(
        "CREATE OR REPLACE VIEW window_shop AS SELECT secret AS name FROM canary_credentials",
    );
    // Made behind the gate's back: known after the next look at the catalog.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let answers = client.run("B - s\nE -\nS");
        if answers[0].tag == b'E' {
            assert_eq!(
                answers[0].field(b'M'),
                "relation \"window_shop\" does not exist"
            );
            break;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "the new view is still answered"
        );
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    expect_usable(&mut client, "after the view changed");
}

#[test]
fn a_trap_answers_as_a_table_that_is_not_there() {
    let Some(scene) = Scene::new() else { return };
    let mut client = scene.gate.connect();
    let mut direct = scene.database.direct();
    for script in [
        "Q SELECT * FROM {}",
        "Q SELECT 1, (SELECT count(*) FROM {})",
        "P - SELECT * FROM {}\nB - -\nD P -\nE -\nS",
        "Q BEGIN\n---\nQ SELECT * FROM {}\n---\nQ SELECT 1\n---\nQ COMMIT",
    ] {
        // Both names have the same length, so that positions agree.
        let trap = client.lines(&script.replace("{}", "canary_credentials"));
        let missing = direct.lines(&script.replace("{}", "kanary_credentials"));
        let missing: Vec<String> = missing
            .iter()
            .map(|line| line.replace("kanary", "canary"))
            .collect();
        assert_eq!(trap, missing, "{script}");
    }
    let page = scene.gate.page("/metrics").1;
    assert!(
        !page.contains("canary"),
        "metric labels do not name it\n{page}"
    );
}

#[test]
fn text_is_read_as_the_server_will_read_it() {
    let Some(scene) = Scene::new() else { return };
    scene.database.prepare("CREATE SCHEMA hidden; CREATE TABLE hidden.canary_x AS SELECT 'never seen' AS secret; CREATE TABLE hidden.users AS SELECT 'never seen' AS secret");
    let hidden = r"select '\' , ' ; delete from users; --'";
    let shown = r"select '\' , secret, ' from canary_credentials --'";
    for off in [
        "SET standard_conforming_strings = off",
        "SELECT set_config('standard_conforming_strings', 'off', false)",
        "DO $$ BEGIN PERFORM set_config('standard_conforming_strings', 'off', false); END $$",
    ] {
        for script in [
            format!("Q {off}\nQ {hidden}"),
            format!("Q {off}\nQ {shown}"),
            format!("P - {off}\nB - -\nE -\nP - {shown}\nB - -\nE -\nS"),
            format!("P - {off}\nB - -\nE -\nS\nP - {hidden}\nB - -\nE -\nS"),
        ] {
            let mut client = scene.gate.connect();
            let lines = client.lines(&script);
            assert!(
                !lines.iter().any(|line| line.contains("never seen")),
                "{script}: {lines:?}"
            );
            scene.expect_untouched(&script);
        }
    }
    let gate = Gate::start(
        &scene.database,
        "[[policy]]\nname = \"honeytoken\"\nsettings = { tables = [\"hidden.users\"] }\n",
    );
    for script in [
        "Q SET search_path = hidden\nQ SELECT * FROM users",
        "Q SET search_path = hidden; SELECT * FROM users",
        "P - SET search_path = hidden\nB - -\nE -\nP - SELECT * FROM users\nB - -\nE -\nS",
        "Q BEGIN\n---\nQ SET LOCAL search_path = hidden\nQ SELECT * FROM users",
    ] {
        let lines = gate.connect().lines(script);
        assert!(
            !lines.iter().any(|line| line.contains("never seen")),
            "{script}: {lines:?}"
        );
    }
}

#[test]
fn what_dumps_tables_it_does_not_name_is_refused() {
    let Some(scene) = Scene::new() else { return };
    let mut client = scene.gate.connect();
    for sql in [
        "SELECT schema_to_xml('public', true, true, '')",
        "SELECT database_to_xml(true, true, '')",
        "SELECT table_to_xml(c.oid::regclass, true, true, '') FROM pg_class c WHERE relname LIKE 'canary%'",
        "SELECT query_to_xml('select * from ' || relname, true, true, '') FROM pg_class WHERE relname LIKE 'canary%'",
        "SELECT table_to_xml('canary_credentials', true, true, '')",
        "SELECT query_to_xml('select secret from canary_credentials', true, true, '')",
    ] {
        let lines = client.lines(&format!("Q {sql}"));
        assert!(lines[0].starts_with("ErrorResponse"), "{sql}: {lines:?}");
        assert!(
            !lines.iter().any(|line| line.contains("never seen")),
            "{sql}: {lines:?}"
        );
    }
}

#[test]
fn a_trap_is_missing_at_the_very_place_where_this_server_misses_a_table() {
    let Some(scene) = Scene::new() else { return };
    let gate = Gate::start(&scene.database, RULES);
    gate.connect().value("SELECT 1");
    // Where there is no trap at all the server speaks for itself.
    scene
        .database
        .prepare("DROP VIEW innocent; DROP TABLE canary_credentials");
    for sql in [
        "SELECT * FROM canary_credentials",
        "SELECT * FROM public.canary_credentials",
        "DELETE FROM canary_credentials WHERE secret = 'x'",
        "COPY canary_credentials TO STDOUT",
        "COPY public.canary_credentials TO STDOUT",
        "LOCK TABLE canary_credentials",
        "TRUNCATE canary_credentials",
        "DROP TABLE canary_credentials",
    ] {
        let script = format!("Q BEGIN\n---\nQ {sql}");
        let own = scene.database.direct().run(&script);
        let refused = gate.connect().run(&script);
        let says = |answers: &[crate::support::answer::Answer]| {
            let error = answers.iter().find(|answer| answer.tag == b'E');
            let error = error.unwrap_or_else(|| panic!("{sql}: no error"));
            b"SVCMPFLR".map(|field| error.field(field).to_owned())
        };
        assert_eq!(says(&refused), says(&own), "{sql}");
    }
}
