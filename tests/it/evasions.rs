//! Ways past a limit that somebody has found: through names that come to mean
//! something else, and through code that hides. The limit must hold in every one.

use std::time::Duration;

use crate::support::database::{Database, OWNER, fresh_database};
use crate::support::gate::Gate;
use crate::support::raw::Raw;

/// `t` has twenty rows: two may be changed, five returned. `n` is not limited.
const SETUP: &str = "
    CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'secret ' || i FROM generate_series(1, 20) i;
    CREATE TABLE n (id int, v text); INSERT INTO n SELECT i, 'n' FROM generate_series(1, 3) i;
    CREATE VIEW vw AS SELECT id, v FROM n;
    CREATE SCHEMA s; CREATE VIEW s.n AS SELECT id, v FROM public.t;
    CREATE FUNCTION swap() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
        EXECUTE 'CREATE OR REPLACE VIEW vw AS SELECT id, v FROM t'; RETURN 1; END $$;
    CREATE FUNCTION shade() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
        EXECUTE 'CREATE TEMP VIEW n AS SELECT id, v FROM t'; RETURN 1; END $$;
    CREATE FUNCTION lead() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
        PERFORM set_config('search_path', 's, public', false); RETURN 1; END $$;
    CREATE TABLE fired (what text);
    CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.what = 'swap' THEN PERFORM swap(); ELSIF NEW.what = 'shade' THEN PERFORM shade();
        ELSE PERFORM lead(); END IF; RETURN NEW; END $$;
    CREATE TRIGGER fire BEFORE INSERT ON fired FOR EACH ROW EXECUTE FUNCTION fire();
    CREATE VIEW v_swap AS SELECT swap(); CREATE VIEW v_shade AS SELECT shade(); CREATE VIEW v_lead AS SELECT lead();
";

/// What is not judged here stays out of the way.
const RULES: &str = "[table_limits]\nt = { changed = 2, returned = 5 }\n\n\
    [[policy]]\nname = \"require-where\"\nmode = \"off\"\n\n[[policy]]\nname = \"plan-guard\"\nmode = \"off\"\n";

/// Time in which the gate has looked at the catalog again, on a busy machine.
const LOOK: Duration = Duration::from_millis(250);

fn scene(mode: &str) -> Option<(Database, Gate)> {
    let database = fresh_database()?;
    database.prepare(SETUP);
    let pool = format!("mode = \"{mode}\", max = 1");
    let gate = Gate::start_pooled(&database, &pool, RULES, |_| {});
    Some((database, gate))
}

/// Databases behind gates in each mode, for one script after the other.
struct Stage(Vec<(&'static str, Database, Gate)>);

impl Stage {
    fn new() -> Stage {
        let modes = ["transaction", "session"];
        let scenes = modes.iter().filter_map(|mode| {
            let (database, gate) = scene(mode)?;
            Some((*mode, database, gate))
        });
        Stage(scenes.collect())
    }

    /// Plays a script in each mode, then looks at what came of it.
    fn play(&self, script: &str, check: impl Fn(&str, &[String], &Database) + Sync) {
        std::thread::scope(|scope| {
            for (mode, database, gate) in &self.0 {
                let check = &check;
                scope.spawn(move || {
                    let lines = gate.connect().lines(script);
                    check(mode, &lines, database);
                    again(database, gate);
                });
            }
        });
    }

    /// At most so many of `t` came, and at most so many were changed.
    fn holds(&self, script: &str) {
        self.play(script, |mode, lines, database| {
            let came = lines.iter().filter(|line| line.contains("secret")).count();
            assert!(came <= 5, "{mode}: {came} rows came\n{script}\n{lines:#?}");
            let count = "SELECT count(*) FROM t WHERE v = 'changed'";
            let changed = database.admin().value(count);
            assert!(
                changed.parse::<u32>().expect("a number") <= 2,
                "{mode}: {changed} rows changed\n{script}\n{lines:#?}"
            );
        });
    }
}

/// Everything as it was, and known to the gate.
fn again(database: &Database, gate: &Gate) {
    database.admin().lines(&format!(
        "Q drop schema public, s cascade\nQ create schema public authorization {OWNER}"
    ));
    database.prepare(SETUP);
    // What was done behind its back it finds by looking; a definition makes it look at once.
    let noted = gate.connect().lines("Q create view noted as select 1");
    assert!(
        noted.iter().any(|line| line.contains("CREATE VIEW")),
        "{noted:?}"
    );
    std::thread::sleep(LOOK);
}

/// Reading and changing what a name has come to lead to.
fn uses(name: &str) -> [String; 2] {
    [
        format!("select * from {name}"),
        format!("update {name} set v = 'changed' where id > 0"),
    ]
}

#[test]
fn a_definition_counts_for_what_follows_in_the_same_string_and_pipeline() {
    let stage = Stage::new();
    for (define, name) in [
        ("create temp view n as select * from t", "n"),
        ("create or replace view vw as select id, v from t", "vw"),
        ("alter table n rename to nx; alter table t rename to n", "n"),
        ("alter table t inherit n", "n"),
        ("select swap()", "vw"),
        ("do $$begin perform swap(); end$$", "vw"),
        ("insert into fired values ('shade')", "n"),
        ("select * from v_lead", "n"),
    ] {
        let [read, change] = uses(name);
        stage.holds(&format!("Q {define}; {read}; {change}"));
        let steps: Vec<String> = define
            .split("; ")
            .filter(|_| !define.starts_with("do"))
            .map(|step| format!("P - {step}\nB - -\nE -"))
            .collect();
        let steps = steps.join("\n");
        stage.holds(&format!("{steps}\nP - {read}\nB - -\nE -\nS"));
        stage.holds(&format!("P x {change}\n{steps}\nB - x\nE -\nS"));
        stage.holds(&format!("P x {change}\nS\n---\n{steps}\nB - x\nE -\nS"));
    }
}

#[test]
fn a_definition_counts_for_what_follows_in_the_transaction_and_behind_it() {
    let stage = Stage::new();
    for (define, name) in [
        // Behind the transaction the table has another name, and no limit.
        (
            "alter table n rename to nx\nQ alter table t rename to n",
            "n",
        ),
        ("create or replace view vw as select id, v from t", "vw"),
        ("alter table t inherit n", "n"),
        (
            "create rule r as on insert to n do also update t set v = 'changed'",
            "n",
        ),
    ] {
        for used in uses(name) {
            stage.holds(&format!("Q begin\nQ {define}\nQ {used}\nQ commit"));
            if !define.contains("rename") {
                stage.holds(&format!("Q {define}\nQ {used}"));
            }
        }
        stage.holds(&format!(
            "Q begin\nQ {define}\nQ insert into n values (1, 'x')\nQ commit"
        ));
    }
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
fn every_line_of_a_copy_is_a_row() {
    let stage = Stage::new();
    for copy in [
        "copy (select substr(v, 1, 1) from t) to stdout",
        "copy (select substr(v, 1, 1) from t) to stdout csv",
        "copy (select id from t where id < 10) to stdout",
    ] {
        for script in [format!("Q {copy}"), format!("P - {copy}\nB - -\nE -\nS")] {
            stage.play(&script, |mode, lines, _| {
                let rows = lines
                    .iter()
                    .filter(|line| line.starts_with("CopyData"))
                    .count();
                assert!(rows <= 5, "{mode}: {rows} rows\n{script}\n{lines:#?}");
                assert!(
                    lines.iter().any(|line| line.contains("54000")),
                    "{mode}\n{lines:#?}"
                );
            });
        }
    }
    // The end of a binary COPY is none.
    stage.play(
        "Q copy (select id from t where id < 6) to stdout (format binary)",
        |mode, lines, _| {
            assert!(
                lines.iter().any(|line| line.contains("COPY 5")),
                "{mode}\n{lines:#?}"
            );
        },
    );
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
fn what_was_replaced_is_not_judged_by_what_it_was() {
    let stage = Stage::new();
    let change = "update t set v = 'changed' where id > 0";
    let [read, _] = uses("vw");
    for (before, define, run) in [
        (
            "create function fb() returns int language sql as 'select 1'",
            format!(
                "create or replace function fb() returns int language plpgsql as $$begin {change}; return 1; end$$"
            ),
            "select fb()",
        ),
        (
            "create function fb() returns trigger language plpgsql as $$begin return new; end$$",
            format!(
                "create or replace function fb() returns trigger language plpgsql as $$begin {change}; return new; end$$;create trigger fb before insert on n for each row execute function fb()"
            ),
            "insert into n values (1, 'x')",
        ),
        (
            "create function fb() returns trigger language plpgsql as $$begin return new; end$$",
            format!(
                "create or replace function fb() returns trigger language plpgsql as $$begin {change}; return new; end$$;create constraint trigger fb after insert on n deferrable initially deferred for each row execute function fb()"
            ),
            "insert into n values (1, 'x')",
        ),
        (
            "select 1",
            "create or replace view vw as select id, v from t".to_owned(),
            &*read,
        ),
    ] {
        let steps: Vec<&str> = define.split(";create").collect();
        let steps: Vec<String> = std::iter::once(steps[0].to_owned())
            .chain(steps[1..].iter().map(|step| format!("create{step}")))
            .collect();
        let one_by_one = steps
            .iter()
            .map(|step| format!("Q {step}\n"))
            .collect::<String>();
        let apart = steps
            .iter()
            .map(|step| format!("Q {step}\n---\n"))
            .collect::<String>();
        let pipelined = steps
            .iter()
            .map(|step| format!("P - {step}\nB - -\nE -\n"))
            .collect::<String>();
        let start = format!("Q {before}\n---\nQ select pg_sleep(0.3)\n---");
        stage.holds(&format!("{start}\n{one_by_one}Q {run}"));
        stage.holds(&format!("{start}\n{apart}Q {run}"));
        stage.holds(&format!("{start}\nQ begin\n{one_by_one}Q {run}\nQ commit"));
        stage.holds(&format!("{start}\n{pipelined}P - {run}\nB - -\nE -\nS"));
        stage.holds(&format!("{start}\nP x {run}\nS\n---\n{apart}B - x\nE -\nS"));
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
fn links_whose_logins_found_different_settings_are_not_taken_for_the_same() {
    let Some(database) = fresh_database() else {
        return;
    };
    database.prepare(SETUP);
    let pool = "mode = \"transaction\", max = 2";
    let gate = Gate::start_pooled(&database, pool, RULES, |_| {});
    let mut holder = gate.connect();
    let name = &database.name;
    for (set, attack) in [
        (
            "standard_conforming_strings = off",
            r"select 'x\''||'' , * from t --'",
        ),
        ("search_path = s, public", "select * from n"),
    ] {
        holder.lines(&format!(
            "Q alter role {OWNER} in database {name} set {set}"
        ));
        // The old link is held, so that the next client gets a new one.
        holder.lines("Q begin");
        let mut client = gate.connect();
        let few = |lines: Vec<String>| {
            let came = lines.iter().filter(|line| line.contains("secret")).count();
            assert!(came <= 5, "{set}: {came} rows came\n{lines:#?}");
        };
        few(client.lines(&format!("Q {attack}")));
        holder.lines("Q commit");
        let mut both = [gate.connect(), gate.connect()];
        for round in 0..2 {
            both[round].lines("Q begin");
            few(both[round].lines(&format!("Q {attack}")));
        }
        drop(both);
        holder.lines(&format!(
            "Q alter role {OWNER} in database {name} reset all"
        ));
    }
}

#[test]
fn text_is_read_alike_in_a_pipeline_that_changes_how() {
    let stage = Stage::new();
    let off = r"select 'x\''||'' , * from t --'";
    let on = r"select 'a\', * from t --'";
    let step = |text: &str| format!("P - {text}\nB - -\nE -");
    let flip = "create function flip() returns int language plpgsql as $$begin perform set_config('standard_conforming_strings', 'off', false); return 1; end$$";
    for set in [
        "set standard_conforming_strings = off",
        "select set_config('standard_conforming_strings', 'off', false)",
        "select flip()",
        "do $$begin perform flip(); end$$",
    ] {
        let start = format!("Q {flip}\n---\nQ select pg_sleep(0.3)\n---");
        stage.holds(&format!("{start}\n{}\n{}\nS", step(set), step(off)));
        stage.holds(&format!("{start}\n{}\nH\n{}\nS", step(set), step(off)));
        stage.holds(&format!("{start}\n{}\nQ {off}", step(set)));
    }
    for (set, back) in [
        ("set local standard_conforming_strings = off", "commit"),
        ("set standard_conforming_strings = off", "rollback"),
        ("set standard_conforming_strings = off", "reset all"),
        (
            "set standard_conforming_strings = off",
            "reset standard_conforming_strings",
        ),
        (
            "savepoint a\nQ set standard_conforming_strings = off",
            "rollback to a",
        ),
        (
            "set standard_conforming_strings = off\nQ commit",
            "discard all",
        ),
    ] {
        stage.holds(&format!(
            "Q begin\nQ {set}\n---\n{}\n{}\nS",
            step(back),
            step(on)
        ));
    }
    // What cannot be read in two ways goes on, and so does everything behind the Sync.
    stage.play(
        &format!(
            "{}\n{}\nS\n---\nP - select 'caf\u{e9}'\nB - -\nE -\nS",
            step("set standard_conforming_strings = on"),
            step("select 'plain'")
        ),
        |mode, lines, _| {
            for expected in ["plain", "caf\u{e9}"] {
                assert!(
                    lines.iter().any(|line| line.contains(expected)),
                    "{mode}\n{lines:#?}"
                );
            }
        },
    );
}

#[test]
fn a_table_named_in_a_string_is_found_however_it_is_written() {
    let stage = Stage::new();
    for name in ["t", " t ", "T", "public . t", "\"t\"", "public.t"] {
        let run = format!(
            "select * from (select unnest(xpath('//v/text()', table_to_xml('{name}', true, false, '')))::text) x"
        );
        stage.play(&format!("Q {run}"), |mode, lines, _| {
            let came = lines.iter().filter(|line| line.contains("secret")).count();
            assert!(came <= 5, "{mode}: {came} rows came\n{run}\n{lines:#?}");
        });
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

#[test]
fn who_does_not_read_does_not_fill_the_gate() {
    let Some((_database, gate)) = scene("transaction") else {
        return;
    };
    let mut client: Raw = gate.connect();
    client.lines("Q select 1");
    let before = gate.resident();
    let close = crate::support::script::message(b'C', b"Snope\0");
    let block = close.repeat(64 * 1024 / close.len());
    let sender = std::thread::spawn(move || {
        let mut sent = 0;
        while sent < 400 << 20 && client.try_send(&block) {
            sent += block.len();
        }
        sent >> 20
    });
    std::thread::sleep(Duration::from_secs(4));
    let grown = gate.resident().saturating_sub(before);
    drop(gate);
    let sent = sender.join().expect("the client");
    assert!(grown < 40 << 10, "{grown} kB more after {sent} MB");
}
