//! The golden cases, natively.

use super::ColumnGuard;
use portcullis_sdk::testing::{Tester, check_cases, check_inverted, check_manifest};

const MANIFEST: &str = include_str!("../policy.toml");

#[test]
fn the_golden_cases_hold() {
    check_cases::<ColumnGuard>(MANIFEST);
}

#[test]
fn the_golden_cases_notice_an_inverted_decision() {
    check_inverted::<ColumnGuard>(MANIFEST);
}

#[test]
fn every_setting_and_rule_has_its_cases() {
    check_manifest(MANIFEST, 20);
}

#[test]
fn a_bad_setting_is_named_with_its_place() {
    for (settings, path) in [
        ("column = ['users.email']", "/column"),
        ("columns = ['users.email', 'email']", "/columns/1"),
        ("columns = ['users.email', '\"users.email\"']", "/columns/1"),
        ("columns = ['users.email', 'a.b.c.d']", "/columns/1"),
        ("columns = ['users.e*']\naction = 'mask'", "/columns/0"),
        ("action = 'hide'", "/action"),
        ("columns = ['users.email']\nusers = ['\"open']", "/users/0"),
    ] {
        let issues = Tester::<ColumnGuard>::new(settings).expect_err(settings);
        assert_eq!(issues[0].path, path, "{settings}: {issues:?}");
    }
}

/// Every way to a column's values that a text can show.
#[test]
fn no_spelling_reads_the_column() {
    let policy = Tester::<ColumnGuard>::new("columns = ['hr.people.salary']").expect("settings");
    for text in [
        "SELECT salary FROM hr.people",
        "SELECT p.SALARY FROM hr.people p",
        "SELECT \"salary\" FROM \"hr\".\"people\"",
        "SELECT U&\"s\\0061lary\" FROM hr.people",
        "SELECT * FROM hr.people",
        "TABLE hr.people",
        "SELECT p FROM hr.people p",
        "SELECT people FROM hr.people",
        "SELECT row_to_json(p), 1 FROM hr.people AS p",
        "SELECT to_jsonb(people)->>'salary' FROM hr.people",
        "SELECT salary(p) FROM hr.people p",
        "SELECT (p).salary FROM hr.people p",
        "SELECT c FROM hr.people AS p(a, b, c)",
        "SELECT * FROM (SELECT salary AS s FROM hr.people) x",
        "WITH x AS (TABLE hr.people) SELECT 1 FROM x",
        "SELECT id FROM a UNION ALL SELECT salary FROM hr.people",
        "SELECT id FROM hr.people WHERE salary > 5",
        "SELECT id FROM hr.people ORDER BY salary",
        "SELECT count(*) FROM hr.people GROUP BY salary",
        "SELECT id FROM guesses JOIN hr.people USING (salary)",
        "SELECT id FROM guesses NATURAL JOIN hr.people",
        "SELECT id FROM guesses g JOIN hr.people p ON p.salary = g.n",
        "SELECT id, rank() OVER (ORDER BY salary) FROM hr.people",
        "SELECT id, rank() OVER w FROM hr.people WINDOW w AS (ORDER BY salary)",
        "SELECT max(salary) FILTER (WHERE id = 1) FROM hr.people",
        "UPDATE hr.people SET name = salary::text WHERE id = 1 RETURNING name",
        "UPDATE hr.people SET id = 1 WHERE id = 1 RETURNING *",
        "DELETE FROM hr.people p WHERE id = 1 RETURNING p",
        "INSERT INTO leak SELECT salary FROM hr.people",
        "INSERT INTO hr.people AS p (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET name = p.salary",
        "COPY hr.people TO STDOUT",
        "COPY hr.people (id, salary) TO STDOUT",
        "COPY (SELECT salary FROM hr.people) TO STDOUT",
        "CREATE TABLE leak AS SELECT * FROM hr.people",
        "CREATE VIEW leak AS SELECT salary AS s FROM hr.people",
        "DECLARE c CURSOR FOR SELECT * FROM hr.people",
        "PREPARE p AS SELECT salary FROM hr.people",
        "EXPLAIN ANALYZE SELECT salary FROM hr.people",
        "EXPLAIN SELECT 1 FROM hr.people WHERE salary > 5",
        "ALTER TABLE hr.people RENAME COLUMN salary TO s",
        "SELECT most_common_vals FROM pg_stats",
        "FROB hr.people",
    ] {
        assert!(policy.judge(text).refusal.is_some(), "{text}");
    }
    for text in [
        "SELECT id, name FROM hr.people WHERE id = 1 ORDER BY name",
        "SELECT count(*) FROM hr.people",
        "SELECT salary FROM other.people",
        "SELECT salary FROM offers",
        "UPDATE hr.people SET salary = 5 WHERE id = 1",
        "INSERT INTO hr.people (id, salary) VALUES (1, 5) RETURNING id",
        "DELETE FROM hr.people WHERE id = 1",
        "COPY hr.people FROM STDIN",
        "COPY hr.people (id, name) TO STDOUT",
        "EXPLAIN SELECT * FROM hr.people",
        "SELECT 'salary' FROM hr.people",
    ] {
        let refused = policy.judge(text).refusal;
        assert!(refused.is_none(), "{text}: {refused:?}");
    }
}
