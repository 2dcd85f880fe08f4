//! The gate is invisible: PostgreSQL's answers, message by message.
//!
//! Every group runs five times. *Plain*: no requirement applies, frames are
//! relayed. *Held*: a limit that is never reached covers every table, so that
//! the gate counts every change and holds every commit. Each with a link of the
//! client's own and with links that are shared, and shared ones once
//! more over TLS; the client must not notice.

use crate::support::differential::Pair;

const SETUP: &str = "
    CREATE TABLE item (id int PRIMARY KEY, name text NOT NULL, price numeric(8,2));
    INSERT INTO item SELECT i, 'item ' || i, i * 1.5 FROM generate_series(1, 20) i;
    CREATE TABLE note (id int GENERATED ALWAYS AS IDENTITY, body text UNIQUE DEFERRABLE INITIALLY DEFERRED);
    CREATE VIEW cheap AS SELECT * FROM item WHERE price < 10;
    CREATE FUNCTION shout(t text) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE NOTICE 'shouting %', t; RETURN upper(t); END$$;
";

const PLAIN: &str = "[[policy]]\nname = \"require-where\"\nmode = \"off\"\n\n[[policy]]\nname = \"plan-guard\"\nmode = \"off\"\n";
const HELD: &str = "[table_limits]\n\"*\" = { changed = 100000 }\n\n[[policy]]\nname = \"require-where\"\nmode = \"off\"\n\n[[policy]]\nname = \"plan-guard\"\nmode = \"off\"\n";

/// Cases that a row limit or the reading of texts answers differently, on
/// purpose: `docs/status.md` says how.
const REFUSED_ON_PURPOSE: &[&str] = &["syntax"];
const REFUSED_UNDER_LIMITS: &[&str] = &[
    "create table as",
    "temporary table",
    "control inside a string",
    "bad data in a simple query, and Sync",
    "rollback inside a string",
    "string that leaves a transaction open",
    "late data behind an error",
];

/// Under a limit the gate commits with the Query, as servers up to PostgreSQL 16 do.
const COMMITTED_UNDER_LIMITS: &[&str] = &[
    "a change of code, then a setting",
    "a change of code, then a change",
    "a setting, then a counted change",
];

pub fn compare(cases: &[(&str, &str)]) {
    type Make = fn(&str, &str, &str) -> Option<Pair>;
    for (rules, mode, make) in [
        (PLAIN, "session", Pair::new as Make),
        (HELD, "session", Pair::new),
        (PLAIN, "transaction", Pair::new),
        (HELD, "transaction", Pair::new),
        (PLAIN, "transaction", Pair::encrypted),
    ] {
        let Some(pair) = make(SETUP, mode, rules) else {
            return;
        };
        eprintln!("pool mode {mode}, rules:\n{rules}");
        let held = rules == HELD;
        let later = held && !pair.a_query_ends_a_pipeline();
        let same = |name: &str| {
            !(REFUSED_ON_PURPOSE.contains(&name)
                || held && REFUSED_UNDER_LIMITS.contains(&name)
                || later && COMMITTED_UNDER_LIMITS.contains(&name))
        };
        let cases: Vec<_> = cases.iter().filter(|case| same(case.0)).copied().collect();
        pair.compare_all(&cases);
    }
}

#[test]
fn simple_queries_are_answered_as_by_the_server() {
    compare(&[
        ("one row", "Q select 1 as a, 'x' as b, null as c"),
        ("no rows", "Q select * from item where id < 0"),
        ("empty string", "Q "),
        ("only separators", "Q ;;"),
        ("only a comment", "Q -- nothing"),
        ("several statements", "Q select 1; select 2; select 3"),
        ("statement and empty one", "Q select 1;;"),
        (
            "insert, update, delete",
            "Q insert into item values (100, 'new', 1)\nQ update item set price = 2 where id = 100\nQ delete from item where id = 100",
        ),
        (
            "returning",
            "Q insert into note (body) values ('a'), ('b') returning body",
        ),
        (
            "several changes in one string",
            "Q insert into note (body) values ('c'); insert into note (body) values ('d')",
        ),
        ("a notice", "Q select shout('hello')"),
        (
            "setting a parameter that is reported",
            "Q set application_name = 'abc'\nQ set datestyle = 'German'\nQ reset datestyle",
        ),
        (
            "values of many types",
            "Q select true, 1::int2, 2::int8, 1.5::float8, 'a'::bytea, now() > '2000-01-01', '{1,2}'::int[], '{\"a\":1}'::jsonb",
        ),
        ("a long value", "Q select repeat('x', 100000)"),
        (
            "many rows",
            "Q select i, repeat('y', 100) from generate_series(1, 5000) i",
        ),
        ("a view", "Q select count(*) from cheap"),
        (
            "create table as",
            "Q create table made as select * from item where id < 5\nQ select count(*) from made\nQ drop table made",
        ),
        (
            "explain",
            "Q explain (costs off) select * from item where id = 1",
        ),
        (
            "quoted names and escapes",
            "Q select E'it\\'s' as \"Odd Name\", $$dollar$$, U&'d\\0061t'",
        ),
        (
            "show",
            "Q show server_version_num\nQ show transaction isolation level",
        ),
    ]);
}

#[test]
fn errors_are_the_servers_own() {
    compare(&[
        ("unknown table", "Q select * from missing\nQ select 1"),
        ("unknown column", "Q select nothing from item"),
        ("syntax", "Q select from where\nQ select 1"),
        (
            "division by zero in the middle",
            "Q select 1; select 1/0; select 2",
        ),
        (
            "unique violation",
            "Q insert into item values (1, 'again', 1)\nQ select count(*) from item where id = 1",
        ),
        (
            "not null violation",
            "Q insert into item values (200, null, 1)",
        ),
        (
            "earlier statements of a string are rolled back",
            "Q insert into item values (201, 'x', 1); select 1/0\n---\nQ select count(*) from item where id = 201",
        ),
        (
            "deferred constraint at commit",
            "Q insert into note (body) values ('dup'), ('dup')\n---\nQ select count(*) from note where body = 'dup'",
        ),
        (
            "error after rows",
            "Q select 10 / (5 - i) from generate_series(1, 10) i",
        ),
        (
            "error at Parse",
            "P - select * from missing\nB - -\nE -\nS\n---\nQ select 1",
        ),
        (
            "error at Bind",
            "P s select $1::int4\nB - s abc\nE -\nS\n---\nB - s 5\nE -\nS",
        ),
        ("error at Execute", "P - select 1/$1::int4\nB - - 0\nE -\nS"),
        ("unknown statement", "B - nothere\nE -\nS\n---\nQ select 1"),
        ("unknown portal", "E nothere\nS"),
        (
            "statement name in use",
            "P s select 1\nP s select 2\nS\n---\nB - s\nE -\nS",
        ),
        (
            "too few values",
            "P - select $1::int4 + $2::int4\nB - - 1\nE -\nS",
        ),
        (
            "everything is skipped until Sync",
            "P - select nothing\nP t select 1\nB - t\nE -\nQ select 5\nS\n--- 1\nB - t\nE -\nS",
        ),
        (
            "transaction control after an error",
            "Q begin\nQ select 1/0\nQ select 1\nQ commit\nQ select 2",
        ),
    ]);
}

#[test]
fn the_extended_protocol_is_relayed_message_by_message() {
    compare(&[
        (
            "unnamed",
            "P - select $1::int4 + 1\nB - - 41\nD P -\nE -\nS",
        ),
        (
            "named, twice",
            "P s select $1::text\nD S s\nB - s a\nE -\nB - s b\nE -\nS\n---\nB - s c\nE -\nS",
        ),
        (
            "binary values and results",
            "P - select $1::int4 * 2, 'x'::text\nBb - - x00000015\nD P -\nE -\nS",
        ),
        (
            "null value",
            "P - select $1::text is null\nB - - NULL\nE -\nS",
        ),
        (
            "declared types",
            "P -:23,25 select $1, $2\nD S -\nB - - 1 | b\nE -\nS",
        ),
        (
            "describe of a statement without rows",
            "P - update item set price = 1 where id = $1\nD S -\nB - - 1\nD P -\nE -\nS",
        ),
        ("empty query", "P - \nB - -\nD P -\nE -\nS"),
        (
            "portal in slices",
            "P - select i from generate_series(1, 7) i\nB p -\nE p 3\nE p 3\nE p 3\nE p 3\nS",
        ),
        (
            "portal ends with the transaction",
            "P - select 1\nB p -\nS\n---\nE p\nS",
        ),
        (
            "portal kept in a transaction",
            "Q begin\n---\nP - select i from generate_series(1, 4) i\nB p -\nE p 2\nS\n---\nE p\nS\n---\nQ commit",
        ),
        (
            "close",
            "P s select 1\nC S s\nB - s\nE -\nS\n---\nC S never\nC P never\nS",
        ),
        (
            "flush",
            "P - select 1\nH\n---\nB - -\nD P -\nH\n---\nE -\nH\n---\nS",
        ),
        (
            "changes with returning",
            "P - insert into note (body) values ($1) returning body\nB - - r1\nE -\nB - - r2\nE -\nS\n---\nQ select count(*) from note where body like 'r_'",
        ),
        (
            "returning stopped by a row limit",
            "P - insert into note (body) select 'q' || i from generate_series(1, 5) i returning body\nB p -\nE p 2\nS\n---\nQ select count(*) from note where body like 'q_'",
        ),
        (
            "same portal executed after it ended",
            "P - update item set price = 3 where id = 3\nB p -\nE p\nE p\nS",
        ),
        (
            "unnamed statement replaced",
            "P - select 1\nP - select 2\nB - -\nE -\nS",
        ),
        (
            "simple query drops the unnamed statement",
            "P - select 1\nS\n---\nQ select 2\n---\nB - -\nE -\nS",
        ),
        (
            "sql-level prepare",
            "Q prepare q(int) as select $1 + 1\nQ execute q(4)\nQ deallocate q\nQ execute q(5)",
        ),
        (
            "two portals interleaved",
            "P - select i from generate_series(1, 4) i\nB a -\nB b -\nE a 1\nE b 2\nE a 1\nE b\nE a\nS",
        ),
    ]);
}

#[test]
fn pipelines_commit_and_fail_as_on_the_server() {
    compare(&[
        (
            "two inserts, one Sync",
            "P i insert into note (body) values ($1)\nB - i p1\nE -\nB - i p2\nE -\nS\n---\nQ select count(*) from note where body in ('p1', 'p2')",
        ),
        (
            "an insert, then an error, one Sync",
            "P i insert into note (body) values ($1)\nB - i p3\nE -\nP - select 1/0\nB - -\nE -\nS\n---\nQ select count(*) from note where body = 'p3'",
        ),
        (
            "one Sync each",
            "P i insert into note (body) values ($1)\nB - i p4\nE -\nS\nP - select 1/0\nB - -\nE -\nS\nB - i p5\nE -\nS\n---\nQ select count(*) from note where body in ('p4', 'p5')",
        ),
        (
            "queries in one write",
            "Q select 1\nQ insert into note (body) values ('w1')\nQ select 2\nQ select 1/0\nQ select 3",
        ),
        (
            "a Query behind an unsynced pipeline",
            "P - select 1\nB - -\nE -\nQ select 2\nS",
        ),
        (
            "begin and commit inside",
            "P - begin\nB - -\nE -\nP - insert into note (body) values ('b1')\nB - -\nE -\nP - commit\nB - -\nE -\nS\n---\nQ select count(*) from note where body = 'b1'",
        ),
        (
            "begin left open",
            "P - begin\nB - -\nE -\nS\n---\nP - insert into note (body) values ('b2')\nB - -\nE -\nS\n---\nQ rollback\n---\nQ select count(*) from note where body = 'b2'",
        ),
        ("many small ones", &many_small()),
        ("several Syncs in a row", "S\nS\nS"),
        (
            "deferred violation at Sync",
            "P - insert into note (body) values ('z'), ('z')\nB - -\nE -\nS\n---\nQ select count(*) from note where body = 'z'",
        ),
    ]);
}

fn many_small() -> String {
    let one = "P - select $1::int4\nB - - 7\nD P -\nE -\nS\n";
    one.repeat(200)
}

#[test]
fn transactions_keep_their_state() {
    compare(&[
        (
            "commit",
            "Q begin\nQ insert into note (body) values ('t1')\nQ commit\nQ select count(*) from note where body = 't1'",
        ),
        (
            "rollback",
            "Q begin\nQ insert into note (body) values ('t2')\nQ rollback\nQ select count(*) from note where body = 't2'",
        ),
        (
            "commit of a failed one",
            "Q begin\nQ insert into note (body) values ('t3')\nQ select 1/0\nQ commit\nQ select count(*) from note where body = 't3'",
        ),
        (
            "savepoints",
            "Q begin\nQ insert into note (body) values ('s1')\nQ savepoint a\nQ select 1/0\nQ rollback to a\nQ insert into note (body) values ('s2')\nQ commit\nQ select count(*) from note where body in ('s1', 's2')",
        ),
        ("begin twice", "Q begin\nQ begin\nQ commit\nQ commit"),
        (
            "control inside a string",
            "Q begin; insert into note (body) values ('c1'); commit; select 1\nQ select count(*) from note where body = 'c1'",
        ),
        (
            "rollback inside a string",
            "Q insert into note (body) values ('c2'); rollback; select 1\nQ select count(*) from note where body = 'c2'",
        ),
        (
            "string that leaves a transaction open",
            "Q begin; insert into note (body) values ('c3')\nQ rollback\nQ select count(*) from note where body = 'c3'",
        ),
        (
            "and chain",
            "Q begin\nQ insert into note (body) values ('h1')\nQ commit and chain\nQ insert into note (body) values ('h2')\nQ rollback\nQ select count(*) from note where body in ('h1','h2')",
        ),
        (
            "two-phase",
            "Q begin\nQ insert into note (body) values ('g1')\nQ prepare transaction 'pair'\nQ rollback prepared 'pair'\nQ select count(*) from note where body = 'g1'",
        ),
        (
            "read only",
            "Q begin read only\nQ insert into note (body) values ('ro')\nQ rollback",
        ),
        (
            "deferred violation at commit",
            "Q begin\nQ insert into note (body) values ('dd'), ('dd')\nQ commit\nQ select count(*) from note where body = 'dd'",
        ),
        (
            "isolation",
            "Q begin isolation level serializable\nQ select count(*) from item\nQ commit",
        ),
    ]);
}

#[test]
fn copy_passes_in_both_directions() {
    compare(&[
        (
            "out",
            "Q copy (select id, name from item where id < 4 order by id) to stdout",
        ),
        (
            "in",
            "Q copy note (body) from stdin\nd k1\nd k2\nc\n---\nQ select count(*) from note where body in ('k1', 'k2')",
        ),
        ("in, nothing", "Q copy note (body) from stdin\nc"),
        (
            "in, given up",
            "Q copy note (body) from stdin\nd k3\nf changed my mind\n---\nQ select count(*) from note where body = 'k3'",
        ),
        (
            "in, bad line",
            "Q copy item from stdin\nd not-a-number\nc\n---\nQ select 1",
        ),
        (
            "in, between other statements",
            "Q select 1; copy note (body) from stdin; select 2\nd k4\nc",
        ),
        (
            "extended, Sync behind the data",
            "P - copy note (body) from stdin\nB - -\nE -\nd k5\nc\nS\n---\nQ select count(*) from note where body = 'k5'",
        ),
        (
            "extended, out",
            "P - copy (select 1) to stdout\nB - -\nE -\nS",
        ),
        (
            "in a transaction",
            "Q begin\nQ copy note (body) from stdin\nd k6\nc\n---\nQ rollback\nQ select count(*) from note where body = 'k6'",
        ),
        (
            "late data behind an error",
            "Q copy missing from stdin\nd x\nd y\nc\n---\nQ select 1",
        ),
        (
            "csv with header",
            "Q copy (select id, name from item where id < 3 order by id) to stdout (format csv, header)",
        ),
    ]);
}

#[test]
fn cursors_and_session_state_belong_to_the_client() {
    compare(&[
        (
            "cursor",
            "Q begin\nQ declare c cursor for select i from generate_series(1, 5) i\nQ fetch 2 from c\nQ move 1 in c\nQ fetch all from c\nQ close c\nQ commit",
        ),
        (
            "cursor with hold",
            "Q declare h cursor with hold for select id from item where id < 4 order by id\nQ fetch 2 from h\nQ close h",
        ),
        (
            "settings",
            "Q set search_path = pg_catalog\nQ show search_path\nQ reset search_path\nQ show search_path",
        ),
        (
            "local setting",
            "Q begin\nQ set local work_mem = '1MB'\nQ show work_mem\nQ commit\nQ show work_mem",
        ),
        (
            "temporary table",
            "Q create temp table mine (a int)\nQ insert into mine values (1), (2)\nQ select count(*) from mine\nQ drop table mine",
        ),
        (
            "listen and notify",
            "Q listen ch\nQ notify ch, 'payload'\nQ unlisten ch",
        ),
        (
            "advisory lock",
            "Q select pg_advisory_lock(42)\nQ select pg_advisory_unlock(42)",
        ),
        ("discard", "Q discard all\nQ select 1"),
    ]);
}
