//! The golden cases, natively, and what no way around may be.

use super::ReadOnly;
use portcullis_sdk::testing::{Tester, check_cases, check_inverted, check_manifest};

const MANIFEST: &str = include_str!("../policy.toml");

#[test]
fn the_golden_cases_hold() {
    check_cases::<ReadOnly>(MANIFEST);
}

#[test]
fn the_golden_cases_notice_an_inverted_decision() {
    check_inverted::<ReadOnly>(MANIFEST);
}

#[test]
fn every_setting_and_rule_has_its_cases() {
    check_manifest(MANIFEST, 20);
}

#[test]
fn a_bad_setting_is_named_with_its_place() {
    let issues = Tester::<ReadOnly>::new("lock = true").expect_err("an issue");
    assert_eq!(issues[0].path, "/lock");
    assert_eq!(issues[0].hint, "Did you mean `locks`?");
    let issues = Tester::<ReadOnly>::new("functions = ['ok', '\"open']").expect_err("an issue");
    assert_eq!(issues[0].path, "/functions/1");
}

/// Ways to write, each in every coat a statement can wear.
#[test]
fn no_coat_hides_a_write() {
    let policy = Tester::<ReadOnly>::new("").expect("settings");
    let writes = [
        "DELETE FROM t",
        "INSERT INTO t VALUES (1)",
        "UPDATE t SET a = 1",
        "MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DELETE",
        "SELECT 1 INTO x",
        "SELECT nextval('s')",
        "SELECT setval('s', 1)",
        "SELECT lo_unlink(1)",
        "SELECT lo_put(1, 0, 'x')",
        "SELECT anything(1)",
        "SELECT public.lower('x')",
        "SELECT pg_terminate_backend(1)",
        "SELECT query_to_xml('delete from t', true, true, '')",
        "SELECT * FROM dblink('x', 'delete from t') AS d(a int)",
        "SELECT * FROM t FOR UPDATE",
        "WITH w AS (DELETE FROM t RETURNING *) SELECT * FROM w",
    ];
    for write in writes {
        let with = write
            .strip_prefix("WITH ")
            .map_or(write.to_owned(), |rest| format!("WITH {rest}"));
        for text in [
            write.to_owned(),
            format!("{with} ;"),
            format!("/* SELECT 1 */ {write} -- SELECT"),
            format!("EXPLAIN ANALYZE {write}"),
            format!("EXPLAIN (ANALYZE true, VERBOSE) {write}"),
            format!("PREPARE p AS {write}"),
            format!("SELECT 1; {write}"),
            format!("BEGIN READ ONLY; {write}; COMMIT"),
            format!("DECLARE c CURSOR FOR {write}"),
            format!("COPY ({write}) TO STDOUT"),
        ] {
            let refused = policy.judge(&text).refusal;
            assert!(refused.is_some(), "{text}");
        }
    }
}

/// What drivers, psql and reports send all day.
#[test]
fn ordinary_reading_passes() {
    let policy = Tester::<ReadOnly>::new("").expect("settings");
    for text in [
        "SELECT u.id, count(*) FROM users u JOIN orders o USING (id) GROUP BY 1 HAVING count(*) > 1 ORDER BY 2 LIMIT 5",
        "WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 9) SELECT sum(n) FROM t",
        "SELECT now(), current_user, version(), pg_backend_pid(), current_setting('work_mem')",
        "SELECT c.relname, pg_catalog.pg_get_userbyid(c.relowner), pg_catalog.pg_table_is_visible(c.oid) FROM pg_catalog.pg_class c",
        "SELECT row_to_json(u), jsonb_agg(u) FROM users u",
        "SET application_name = 'x'",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET search_path = a, b",
        "SET extra_float_digits = 3",
        "SET ROLE reader",
        "RESET ALL",
        "DISCARD ALL",
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        "COMMIT",
        "ROLLBACK TO SAVEPOINT s",
        "SHOW transaction_isolation",
        "EXPLAIN DELETE FROM t",
        "COPY users TO STDOUT",
        "DECLARE c NO SCROLL CURSOR WITH HOLD FOR SELECT 1",
        "FETCH 100 FROM c",
        "LISTEN jobs",
        "SELECT pg_advisory_lock(1)",
        "SELECT txid_current()",
    ] {
        let refused = policy.judge(text).refusal;
        assert!(refused.is_none(), "{text}: {refused:?}");
    }
}
