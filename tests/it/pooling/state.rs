//! What belongs to one client follows it, and reaches nobody else.

use super::Scene;

#[test]
fn settings_follow_their_client() {
    let Some(scene) = Scene::new(
        1,
        "CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE a.t AS SELECT 'from a' AS x; CREATE TABLE b.t AS SELECT 'from b' AS x",
    ) else {
        return;
    };
    let (mut one, mut two) = (scene.client(), scene.client_with("TimeZone", "Asia/Tokyo"));
    one.lines("Q SET search_path TO a, public");
    two.lines("Q SET search_path = b");
    one.lines("Q SELECT set_config('my.note', 'it''s \\ one', false)");
    one.lines("Q SET TimeZone TO 'Europe/Berlin'");
    for _ in 0..3 {
        assert_eq!(one.value("SELECT x FROM t"), "from a");
        assert_eq!(two.value("SELECT x FROM t"), "from b");
        assert_eq!(one.value("SHOW my.note"), "it's \\ one");
        assert_eq!(two.value("SELECT current_setting('my.note', true) IS NULL OR current_setting('my.note', true) = ''"), "t");
        assert_eq!(one.value("SHOW TimeZone"), "Europe/Berlin");
        assert_eq!(two.value("SHOW TimeZone"), "Asia/Tokyo");
    }
    two.lines("Q SET TimeZone TO 'UTC'");
    two.lines("Q RESET TimeZone");
    assert_eq!(one.value("SELECT 1"), "1");
    assert_eq!(
        two.value("SHOW TimeZone"),
        "Asia/Tokyo",
        "RESET returns to the start-up value"
    );
    one.lines("Q DISCARD ALL");
    assert_eq!(two.value("SELECT x FROM t"), "from b");
    assert!(one.run("Q SELECT x FROM t")[0].code() == "42P01");
}

#[test]
fn settings_go_with_their_transaction() {
    let Some(scene) = Scene::new(1, "") else {
        return;
    };
    let (mut one, mut two) = (scene.client(), scene.client());
    let before = one.value("SHOW statement_timeout");
    one.lines("Q BEGIN\n---\nQ SET statement_timeout = '7s'\n---\nQ ROLLBACK");
    two.value("SELECT 1");
    assert_eq!(one.value("SHOW statement_timeout"), before, "rolled back");
    one.lines("Q BEGIN\n---\nQ SET statement_timeout = '7s'\n---\nQ SAVEPOINT s\n---\nQ SET lock_timeout = '5s'\n---\nQ ROLLBACK TO s\n---\nQ COMMIT");
    two.value("SELECT 1");
    assert_eq!(one.value("SHOW statement_timeout"), "7s", "committed");
    assert_eq!(
        one.value("SHOW lock_timeout"),
        "0",
        "rolled back to the savepoint"
    );
    one.lines("Q SET statement_timeout = '9s'; SELECT 1/0");
    two.value("SELECT 1");
    assert_eq!(
        one.value("SHOW statement_timeout"),
        "7s",
        "the string failed"
    );
    one.lines("Q BEGIN\n---\nQ SET LOCAL statement_timeout = '1s'\n---\nQ COMMIT");
    assert_eq!(one.value("SHOW statement_timeout"), "7s", "local");
    assert_eq!(two.value("SHOW statement_timeout"), before);
    one.lines("Q BEGIN\n---\nQ SET statement_timeout = '3s'\n---\nQ SELECT 1/0\n---\nQ COMMIT");
    assert_eq!(
        one.value("SHOW statement_timeout"),
        "7s",
        "COMMIT of a failed transaction"
    );
}

#[test]
fn roles_follow_their_client() {
    let Some(scene) = Scene::new(1, "") else {
        return;
    };
    scene.database.admin().rows(
        "DO $$ BEGIN CREATE ROLE pooled_role; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
    );
    scene.database.admin().rows("GRANT pooled_role TO app");
    let (mut one, mut two) = (scene.client(), scene.client());
    one.lines("Q SET ROLE pooled_role");
    for _ in 0..2 {
        assert_eq!(one.value("SELECT current_user"), "pooled_role");
        assert_eq!(two.value("SELECT current_user"), "app");
    }
    one.lines("Q RESET ROLE");
    assert_eq!(two.value("SELECT current_user"), "app");
    assert_eq!(one.value("SELECT current_user"), "app");
}

/// Code the gate cannot see through, what it leaves, and how another client would notice.
const TRACES: &[(&str, &str, &str)] = &[
    (
        "SELECT leave_setting()",
        "SELECT coalesce(current_setting('my.leak', true), '')",
        "",
    ),
    (
        "DO $$ BEGIN PERFORM set_config('my.leak', 'x', false); END $$",
        "SELECT coalesce(current_setting('my.leak', true), '')",
        "",
    ),
    (
        "SELECT leave_path()",
        "SHOW search_path",
        "\"$user\", public",
    ),
    ("SELECT leave_role()", "SELECT current_user", "app"),
    (
        "SELECT leave_lock()",
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
        "0",
    ),
    (
        "SELECT leave_table()",
        "SELECT to_regclass('pg_temp.leaked') IS NULL",
        "t",
    ),
    (
        "DO $$ BEGIN CREATE TEMP TABLE leaked (a int); END $$",
        "SELECT to_regclass('pg_temp.leaked') IS NULL",
        "t",
    ),
    (
        "SELECT leave_listen()",
        "SELECT count(*) FROM pg_listening_channels()",
        "0",
    ),
    (
        "INSERT INTO triggered VALUES (1)",
        "SELECT coalesce(current_setting('my.leak', true), '')",
        "",
    ),
    (
        "INSERT INTO defaulted DEFAULT VALUES",
        "SELECT coalesce(current_setting('my.leak', true), '')",
        "",
    ),
    (
        "SELECT * FROM builtin_view",
        "SELECT coalesce(current_setting('my.leak', true), '')",
        "",
    ),
    (
        "SELECT * FROM locking_view",
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
        "0",
    ),
    (
        "SELECT atomic()",
        "SELECT coalesce(current_setting('my.leak', true), '')",
        "",
    ),
    ("SELECT holds()", "SELECT count(*) FROM pg_cursors", "0"),
    (
        "SELECT * FROM viewed",
        "SELECT coalesce(current_setting('my.leak', true), '')",
        "",
    ),
];

#[test]
fn nothing_that_code_leaves_reaches_the_next_client() {
    let Some(scene) = Scene::new(
        1,
        "CREATE FUNCTION leave_setting() RETURNS text LANGUAGE sql AS $$ SELECT set_config('my.leak', 'x', false) $$;
         CREATE FUNCTION leave_path() RETURNS void LANGUAGE plpgsql AS $$ BEGIN SET search_path = pg_catalog; END $$;
         CREATE FUNCTION leave_role() RETURNS void LANGUAGE plpgsql AS $$ BEGIN SET ROLE pooled_other; END $$;
         CREATE FUNCTION leave_lock() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_lock(77); END $$;
         CREATE FUNCTION leave_table() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CREATE TEMP TABLE leaked (a int); END $$;
         CREATE FUNCTION leave_listen() RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'LISTEN leak'; END $$;
         CREATE TABLE defaulted (a text DEFAULT set_config('my.leak', 'x', false));
         CREATE VIEW builtin_view AS SELECT set_config('my.leak', 'x', false) AS x;
         CREATE VIEW locking_view AS SELECT pg_advisory_lock(77)::text AS x;
         CREATE FUNCTION atomic() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT set_config('my.leak', 'x', false); END;
         CREATE FUNCTION holds() RETURNS void LANGUAGE sql AS 'DECLARE hc CURSOR WITH HOLD FOR SELECT 1';
         CREATE TABLE triggered (a int);
         CREATE FUNCTION on_insert() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM leave_setting(); RETURN NEW; END $$;
         CREATE TRIGGER t AFTER INSERT ON triggered FOR EACH ROW EXECUTE FUNCTION on_insert();
         CREATE VIEW viewed AS SELECT leave_setting() AS x;",
    ) else {
        return;
    };
    scene.database.admin().rows(
        "DO $$ BEGIN CREATE ROLE pooled_other; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
    );
    scene.database.admin().rows("GRANT pooled_other TO app");
    let (mut one, mut two) = (scene.client(), scene.client());
    for (code, question, clean) in TRACES {
        for script in [format!("Q {code}"), format!("P - {code}\nB - -\nE -\nS")] {
            let lines = one.lines(&script);
            assert!(!lines[0].contains("Error"), "{code}: {lines:?}");
            assert_eq!(two.value(question), *clean, "after {code}");
            assert_eq!(
                two.value("SELECT pg_backend_pid()"),
                one.value("SELECT pg_backend_pid()"),
                "one link"
            );
        }
    }
}

#[test]
fn what_lives_in_a_server_session_keeps_its_link() {
    let Some(scene) = Scene::new(3, "") else {
        return;
    };
    let pins = [
        (
            "CREATE TEMP TABLE mine AS SELECT 42 AS x",
            "SELECT x FROM mine",
            "42",
        ),
        (
            "SELECT pg_advisory_lock(9)",
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
            "1",
        ),
        ("PREPARE q AS SELECT 'prepared'", "EXECUTE q", "prepared"),
        (
            "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 'held'; COMMIT",
            "FETCH c",
            "held",
        ),
    ];
    for (make, look, wanted) in pins {
        let (mut one, mut two) = (scene.client(), scene.client());
        let lines = one.lines(&format!("Q {make}"));
        assert!(
            !lines.iter().any(|line| line.contains("Error")),
            "{make}: {lines:?}"
        );
        let pid = one.value("SELECT pg_backend_pid()");
        for _ in 0..5 {
            assert_ne!(
                two.value("SELECT pg_backend_pid()"),
                pid,
                "{make}: the link is kept"
            );
        }
        assert_eq!(one.value(look), wanted, "{make}");
        one.lines("X");
        drop(one);
        std::thread::sleep(std::time::Duration::from_millis(200));
        let mut after = scene.client();
        assert_eq!(
            after.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"),
            "0",
            "{make}"
        );
        assert_eq!(
            after.value("SELECT count(*) FROM pg_prepared_statements WHERE name = 'q'"),
            "0",
            "{make}"
        );
    }
}

#[test]
fn notifications_reach_who_listens() {
    let Some(scene) = Scene::new(2, "") else {
        return;
    };
    let (mut listener, mut sender) = (scene.client(), scene.client());
    listener.lines("Q LISTEN news");
    sender.lines("Q NOTIFY news, 'hello'");
    let answer = listener.receive().expect("a notification");
    assert_eq!(answer.tag, b'A', "{}", answer.line());
    assert!(sender.is_silent(), "nobody else hears it");
}

#[test]
fn what_a_name_hides_is_noticed_all_the_same() {
    let Some(scene) = Scene::new(
        1,
        "CREATE TABLE users (id int, v int); INSERT INTO users SELECT i, 0 FROM generate_series(1, 50) i",
    ) else {
        return;
    };
    // Parse takes any statement; SQL's EXECUTE would run it behind the gate's back.
    let mut one = scene.client();
    for utility in [
        "commit",
        "savepoint a",
        "set search_path = pg_catalog",
        "listen x",
        "create temp table leaked (a int)",
        "discard all",
    ] {
        let answers = one.run(&format!(
            "P p {utility}\nS\n---\nQ EXECUTE p\n---\nC S p\nS"
        ));
        let error = answers.iter().find(|answer| answer.tag == b'E');
        let error = error.unwrap_or_else(|| panic!("{utility} was executed"));
        assert_eq!(error.field(b'n'), "gate/execute-utility", "{utility}");
    }
    // Functions that change the session, behind names and in portals that stop half-way.
    let ways = [
        "P p select set_config('my.leak', 'x', false)\nS\n---\nQ EXECUTE p\n---\nC S p\nS",
        "P p select set_config('my.leak', 'x', false), generate_series(1, 9)\nB - p\nE - 1\nS\n---\nC S p\nS",
        "Q SELECT query_to_xml('select set_config(''my.leak'', ''x'', false)', true, true, '')",
        "P p select pg_advisory_lock(5)\nS\n---\nQ EXECUTE p\n---\nC S p\nS",
        "P - select pg_advisory_lock(6), generate_series(1, 9)\nB - -\nE - 1\nS",
        "Q SELECT pg_advisory_lock(7), 1/0",
        "Q DO $$ BEGIN PERFORM pg_advisory_lock(8); RAISE 'no'; END $$",
    ];
    drop(one);
    for way in ways {
        let mut one = scene.client();
        one.lines(way);
        drop(one);
        let mut two = scene.client();
        assert_eq!(
            two.value("SELECT coalesce(current_setting('my.leak', true), '')"),
            "",
            "{way}"
        );
        assert_eq!(
            two.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"),
            "0",
            "{way}"
        );
    }
    let mut one = scene.client();
    one.lines("Q UPDATE pg_settings SET setting = 'pg_catalog' WHERE name = 'search_path'");
    drop(one);
    assert_eq!(
        scene.client().value("SHOW search_path"),
        "\"$user\", public"
    );
}

#[test]
fn code_that_forgets_prepared_statements_confuses_nobody() {
    let Some(scene) = Scene::new(1, "") else {
        return;
    };
    let (mut one, mut two) = (scene.client(), scene.client());
    for client in [&mut one, &mut two] {
        client.lines("P s select 'still there'\nS");
    }
    for code in [
        "DO $$ BEGIN EXECUTE 'deallocate all'; END $$",
        "BEGIN\n---\nQ DO $$ BEGIN EXECUTE 'deallocate all'; END $$\n---\nB - s\nE -\nS\n---\nQ COMMIT",
        "DO $$ BEGIN EXECUTE 'prepare x as select 1'; END $$",
    ] {
        one.lines(&format!("Q {code}"));
        for client in [&mut one, &mut two] {
            let lines = client.lines("B - s\nE -\nS");
            assert!(
                lines.iter().any(|line| line.contains("still there")),
                "{code}: {lines:?}"
            );
        }
    }
    assert_eq!(
        two.value("SELECT count(*) FROM pg_prepared_statements WHERE name = 'x'"),
        "0"
    );
}

#[test]
fn what_the_gate_resets_behind_code_is_not_told_to_the_client() {
    let Some(scene) = Scene::new(1, "") else {
        return;
    };
    let mut one = scene.client();
    one.lines("Q set standard_conforming_strings = off");
    one.lines("Q set intervalstyle = 'iso_8601'");
    // Code that leaves traces: the link is cleaned behind it.
    let told = one.lines("Q do $$begin perform set_config('work_mem', '5MB', false); end$$");
    let told: Vec<_> = told
        .iter()
        .chain(&one.lines("Q select 1"))
        .cloned()
        .collect();
    assert!(
        !told.iter().any(|line| line.starts_with("ParameterStatus")),
        "{told:?}"
    );
    assert!(one.is_silent(), "nothing is said while nothing is asked");
    // And the client still has what it set.
    assert_eq!(one.value("show standard_conforming_strings"), "off");
    assert_eq!(one.value("show intervalstyle"), "iso_8601");
}

#[test]
fn a_role_that_reset_all_leaves_does_not_reach_the_next_client() {
    let Some(scene) = Scene::new(1, "") else {
        return;
    };
    scene
        .database
        .admin()
        .lines("Q CREATE ROLE left_behind; GRANT left_behind TO app");
    for script in [
        "Q set role left_behind\nQ reset all",
        "Q set role left_behind; reset all",
        "Q begin\nQ set role left_behind\nQ reset all\nQ commit",
        "P - set role left_behind\nB - -\nE -\nS\n---\nP - reset all\nB - -\nE -\nS",
        "Q select set_config('role', 'left_behind', false)\nQ reset all",
    ] {
        let mut one = scene.client();
        one.lines(script);
        assert_eq!(one.value("select current_user"), "left_behind", "{script}");
        let mut next = scene.client();
        assert_eq!(next.value("select current_user"), "app", "{script}");
        // While the first is still there, and when it has gone.
        assert_eq!(one.value("select current_user"), "left_behind", "{script}");
        drop(one);
        assert_eq!(next.value("select current_user"), "app", "{script}");
        assert_eq!(
            scene.client().value("select current_user"),
            "app",
            "{script}"
        );
    }
    scene.database.admin().lines("Q DROP ROLE left_behind");
}
