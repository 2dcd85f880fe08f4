//! The gate and the server read the same text, whatever code, transactions and
//! connections make of the settings; and names mean what they mean to the server.

use super::QUIET;
use crate::support::database::{Database, fresh_database};
use crate::support::gate::{DATABASE, Gate};
use crate::support::raw::{Login, Raw};

/// Six rows that may not be returned, behind three names.
const SETUP: &str = "
    CREATE TABLE t (s text); INSERT INTO t SELECT 'secret' FROM generate_series(1, 6);
    CREATE TABLE zz (s text); CREATE SCHEMA hidden; CREATE VIEW hidden.zz AS SELECT s FROM t;
";
/// Reads `t` if a backslash escapes, and nothing if not.
const OFF: &str = r"select 'a\' union all select s from t --'";
/// The other way round.
const ON: &str = r"select 'a\', ' union all select s from t --'";

fn scene(mode: &str) -> Option<(Database, Gate)> {
    let database = fresh_database()?;
    database.prepare(SETUP);
    let pool = format!("mode = \"{mode}\", max = 1");
    let rules = format!("[table_limits]\nt = {{ returned = 5 }}\n\n{QUIET}");
    let gate = Gate::start_pooled(&database, &pool, &rules, |_| {});
    Some((database, gate))
}

/// Plays a script; more rows of `t` than may be returned must not come.
fn holds(client: &mut Raw, script: &str) {
    let lines = client.lines(script);
    let rows = lines.iter().filter(|line| line.contains("secret")).count();
    assert!(rows <= 5, "{rows} rows came: {script}\n{lines:?}");
}

#[test]
fn text_is_read_alike_behind_code_transactions_and_connections() {
    let flip = |value: &str| {
        format!(
            "Q do $$begin perform set_config('standard_conforming_strings', '{value}', false); end$$"
        )
    };
    let scripts = [
        format!("{}\n---\nQ {OFF}", flip("off")),
        format!(
            "Q set standard_conforming_strings = off\n---\n{}\n---\nQ {ON}\n---\nQ {OFF}",
            flip("on")
        ),
        format!("Q begin\nQ set local standard_conforming_strings = off\n---\nQ commit\nQ {OFF}"),
        format!(
            "Q begin\nQ set standard_conforming_strings = off\n---\nQ select 1/0\nQ commit\nQ {OFF}"
        ),
        format!(
            "P - {ON}\nP s set standard_conforming_strings = off\nB - s\nE -\nS\n---\nB - -\nE -\nS"
        ),
        format!(
            "P n {ON}\nS\n---\nQ set standard_conforming_strings = off\n---\nQ do $$begin execute 'select 1'; end$$\n---\nB - n\nE -\nS"
        ),
    ];
    for mode in ["transaction", "session"] {
        for script in &scripts {
            let Some((_database, gate)) = scene(mode) else {
                return;
            };
            holds(&mut gate.connect(), script);
        }
    }
}

#[test]
fn text_is_read_alike_behind_a_connection_that_could_not_be_cleaned() {
    let Some(database) = fresh_database() else {
        return;
    };
    database.prepare(SETUP);
    // Taking hundreds of tables away takes longer than it may.
    let pool = "mode = \"transaction\", max = 1, clean_timeout = \"2ms\" }\n\
                timeouts = { cancel = \"2ms\"";
    let rules = format!("[table_limits]\nt = {{ returned = 5 }}\n\n{QUIET}");
    let gate = Gate::start_pooled(&database, pool, &rules, |_| {});
    let mut client = gate.connect();
    let before = client.lines("Q select pg_backend_pid()");
    client.lines(
        "Q do $$begin for i in 1..400 loop execute 'create temp table a' || i || '()'; end loop; \
         perform set_config('standard_conforming_strings', 'off', false); end$$",
    );
    holds(&mut client, &format!("Q {OFF}"));
    holds(&mut client, &format!("Q {ON}"));
    let after = client.lines("Q select pg_backend_pid()");
    assert_ne!(before, after, "the connection was to be lost");
}

#[test]
fn what_the_server_is_not_told_again_runs_on_as_it_was_read() {
    let Some((_database, gate)) = scene("session") else {
        return;
    };
    let mut client = gate.connect();
    client.lines(&format!("P n {ON}\nS"));
    client.lines("Q set standard_conforming_strings = off");
    let lines = client.lines("B - n\nE -\nS");
    assert!(!lines.iter().any(|line| line.starts_with('E')), "{lines:?}");
    assert!(
        !lines.iter().any(|line| line.contains("secret")),
        "{lines:?}"
    );
}

#[test]
fn a_statement_is_not_shared_with_who_reads_it_otherwise() {
    let Some((_database, gate)) = scene("transaction") else {
        return;
    };
    let mut off = gate.connect();
    off.lines("Q set standard_conforming_strings = off");
    off.lines(&format!("P s {ON}\nS"));
    let mut on = gate.connect();
    let lines = on.lines(&format!("P s {ON}\nB - s\nE -\nS"));
    assert!(
        !lines.iter().any(|line| line.contains("secret")),
        "{lines:?}"
    );
}

#[test]
fn names_are_looked_up_where_the_client_has_asked_for() {
    for parameter in [
        ("search_path", "hidden,public"),
        ("options", "-c search_path=hidden,public"),
    ] {
        for mode in ["transaction", "session"] {
            let Some((_database, gate)) = scene(mode) else {
                return;
            };
            let login = Login::new("app", DATABASE).parameter(parameter.0, parameter.1);
            let mut client = Raw::login(gate.address, &login);
            for _ in 0..2 {
                holds(&mut client, "Q select s from zz");
            }
        }
    }
    for script in [
        "Q create role hidden\nQ grant all on all tables in schema hidden to hidden; grant all on all tables in schema public to hidden; grant usage on schema hidden to hidden\nQ set role hidden\n---\nQ select s from zz",
        "Q begin\nQ set local role hidden\nQ commit\n---\nQ set search_path = \"$user\", public\n---\nQ select s from zz",
        "Q set search_path = pg_temp, public\n---\nQ create view zz as select s from public.t\n---\nQ select s from zz",
        "Q set search_path = pg_temp, public\n---\nQ create view zz as select s from public.t\n---\nQ set search_path = public\n---\nQ select s from zz",
    ] {
        for mode in ["transaction", "session"] {
            let Some((database, gate)) = scene(mode) else {
                return;
            };
            database.admin().lines("Q alter role app superuser");
            holds(&mut gate.connect(), script);
            database.admin().lines("Q alter role app nosuperuser");
            database
                .admin()
                .lines("Q drop owned by hidden\nQ drop role if exists hidden");
        }
    }
}

#[test]
fn a_cursor_named_to_deceive_stays_with_its_client() {
    let Some((_database, gate)) = scene("transaction") else {
        return;
    };
    let mut one = gate.connect();
    one.lines("Q declare hc cursor with hold for select 'mine' as \"without hold\"");
    let mut two = gate.connect();
    two.send(b'Q', b"fetch all from hc\0");
    let told = two.receive_within(std::time::Duration::from_millis(700));
    assert!(
        told.is_none(),
        "the only connection stays with its client: {told:?}"
    );
    assert!(
        one.lines("Q fetch all from hc")
            .iter()
            .any(|line| line.contains("mine"))
    );
}
