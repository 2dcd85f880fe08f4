//! Code that hides, and code that is reached without being called.

use super::{Stage, scene, uses};
use crate::support::raw::Raw;

/// Every letter behind an escape.
fn hidden(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            'a'..='z' => format!("\\x{:02x}", u32::from(c)),
            '\'' => "\\'".to_owned(),
            other => other.to_string(),
        })
        .collect()
}

#[test]
fn code_that_defines_is_noticed_wherever_it_is_reached() {
    let stage = Stage::new();
    for (what, name) in [("swap", "vw"), ("shade", "n"), ("lead", "n")] {
        let ways = [
            format!("select {what}()"),
            format!("prepare p as select {what}()\nQ execute p"),
            format!("declare c cursor for select {what}()\nQ fetch c"),
            format!("insert into fired values ('{what}')"),
            format!("select * from v_{what}"),
            format!("explain analyze select {what}()"),
            format!("copy (select {what}()) to stdout"),
        ];
        for (number, way) in ways.iter().enumerate() {
            let used = &uses(name)[number % 2];
            stage.holds(&format!("Q begin\nQ {way}\nQ {used}\nQ commit"));
            if !way.starts_with("declare") {
                stage.holds(&format!("Q {way}\nQ {used}"));
            }
        }
    }
}

#[test]
fn code_does_not_hide_in_escapes_defaults_operators_or_aggregates() {
    let stage = Stage::new();
    let change = "update t set v = 'changed' where id > 0";
    let evil = format!(
        "create function evil(text) returns tsquery language plpgsql as $$begin {change}; return 'b'; end$$"
    );
    let sly = "create function sly(int) returns int language plpgsql immutable as $$begin perform evil('x'); return $1; end$$";
    let body = hidden(&format!("begin {change}; end"));
    for (define, run) in [
        (
            format!("create function f() returns int language plpgsql as $f$begin do E'{body}'; return 1; end$f$"),
            "select f()",
        ),
        (
            "create function g(a xml default query_to_xml('select sly(1)', false, false, '')) returns int language plpgsql as 'begin return 1; end'".to_owned(),
            "select g()",
        ),
        (
            "create operator === (procedure = ts_rewrite, leftarg = tsquery, rightarg = text)".to_owned(),
            "select 'a'::tsquery === 'select ''a''::tsquery, evil(''x'')'",
        ),
        (
            "create aggregate agg(text) (sfunc = ts_rewrite, stype = tsquery, initcond = 'a')".to_owned(),
            "select agg('select ''a''::tsquery, evil(''x'')')",
        ),
    ] {
        stage.holds(&format!("Q {evil}\nQ {sly}\nQ {define}\n---\nQ select pg_sleep(1.5)\n---\nQ {run}"));
    }
}

#[test]
fn what_hidden_code_leaves_does_not_reach_the_next_client() {
    let left = "select coalesce(current_setting('my.mark', true), '') || count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()";
    let hide =
        hidden("begin perform set_config('my.mark', 'x', false); perform pg_advisory_lock(1); end");
    let setups = [
        (
            format!("create function f() returns int language plpgsql as $f$begin do E'{hide}'; return 1; end$f$"),
            "select f()",
        ),
        (
            "create function g(a text default set_config('my.mark', 'x', false)) returns int language plpgsql as 'begin return 1; end'".to_owned(),
            "select g()",
        ),
        (
            "create function h(a text default pg_advisory_lock(1)::text) returns int language plpgsql as 'begin return 1; end'".to_owned(),
            "select h()",
        ),
        (
            "create operator <!> (procedure = pg_try_advisory_lock, rightarg = int8)".to_owned(),
            "select <!> 1::int8",
        ),
        (
            "create aggregate mark(text, bool) (sfunc = set_config, stype = text, initcond = 'my.mark')".to_owned(),
            "select mark('x', false)",
        ),
    ];
    for (define, run) in setups {
        let Some((_database, gate)) = scene("transaction") else {
            return;
        };
        let mut first: Raw = gate.connect();
        let made = first.lines(&format!("Q {define}\n---\nQ select pg_sleep(1.5)"));
        assert!(!made.iter().any(|line| line.starts_with('E')), "{made:#?}");
        first.lines(&format!("Q {run}"));
        assert_eq!(gate.connect().value(left), "0", "{define}");
    }
}

#[test]
fn planning_runs_code_too() {
    let stage = Stage::new();
    let real = "create function real() returns int language plpgsql as $$begin update t set v = 'changed' where id > 0; return 1; end$$";
    let sly = "create function sly() returns int language plpgsql immutable as $$begin return real(); end$$";
    let start = format!(
        "Q {real}\nQ {sly}\nQ create view vs as select sly()\n---\nQ select pg_sleep(0.3)\n---"
    );
    for run in [
        "Q explain select sly()",
        "Q explain select * from vs",
        "Q explain (costs off) select * from n where id = sly()",
        "P - select sly()\nB - -\nS",
        "P - explain select sly()\nB - -\nE -\nS",
        "Q prepare p as select sly()\nQ explain execute p",
    ] {
        stage.holds(&format!("{start}\n{run}"));
    }
}

#[test]
fn what_planning_leaves_does_not_reach_the_next_client() {
    let left =
        "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()";
    let lock = "create function lock() returns int language plpgsql immutable as $$begin perform pg_advisory_lock(1); return 1; end$$";
    let fail = "create function fail() returns int language plpgsql immutable as $$begin perform pg_advisory_lock(1); return 1 / 0; end$$";
    for run in [
        "P - select lock()\nB - -\nS",
        "P x select lock() where $1::int = 1\nB - x 1\nS",
        "P - select fail()\nB - -\nS",
        "Q select fail()",
        "Q explain select lock()",
    ] {
        let Some((_database, gate)) = scene("transaction") else {
            return;
        };
        let mut first: Raw = gate.connect();
        first.lines(&format!("Q {lock}\nQ {fail}\n---\nQ select pg_sleep(0.3)"));
        first.lines(run);
        assert_eq!(gate.connect().value(left), "0", "{run}");
    }
}

#[test]
fn rows_of_a_cursor_that_somebody_else_opened_count() {
    let stage = Stage::new();
    let fetch = "create function f(c refcursor) returns setof text language plpgsql as $$declare r record; begin loop fetch c into r; exit when not found; return next r::text; end loop; end$$";
    let start = format!("Q {fetch}\n---\nQ select pg_sleep(0.3)\n---");
    stage.holds(&format!("{start}\nQ begin\nQ declare cc cursor for select * from t\nQ select * from f('cc')\nQ commit"));
    stage.holds(&format!(
        "{start}\nP - select * from t\nB cc -\nP - select * from f('cc')\nB - -\nE -\nS"
    ));
}
