//! The golden cases, natively.

use super::Signature;
use portcullis_sdk::testing::{Tester, check_cases, check_inverted, check_manifest};

const MANIFEST: &str = include_str!("../policy.toml");

#[test]
fn the_golden_cases_hold() {
    check_cases::<Signature>(MANIFEST);
}

#[test]
fn the_golden_cases_notice_an_inverted_decision() {
    check_inverted::<Signature>(MANIFEST);
}

#[test]
fn every_setting_and_rule_has_its_cases() {
    check_manifest(MANIFEST, 20);
}

#[test]
fn a_bad_setting_is_named_with_its_place() {
    for (settings, path) in [
        ("offf = []", "/offf"),
        ("off = ['sleep', 'slep']", "/off/1"),
        ("refuse = ['x']", "/refuse/0"),
        ("exempt = ['a.b.c']", "/exempt/0"),
    ] {
        let issues = Tester::<Signature>::new(settings).expect_err(settings);
        assert_eq!(issues[0].path, path, "{settings}: {issues:?}");
    }
}

#[test]
fn the_page_lists_every_rule_in_the_order_of_the_code() {
    let listed: Vec<&str> = MANIFEST
        .split("[[rules]]\nname = \"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let known: Vec<&str> = super::RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(listed, known);
}

/// What mappers and drivers send all day raises nothing but alerts about the catalog.
#[test]
fn ordinary_statements_pass() {
    let policy = Tester::<Signature>::new("").expect("settings");
    for text in [
        "SELECT \"users\".* FROM \"users\" WHERE \"users\".\"id\" = $1 LIMIT $2",
        "SELECT 1 AS one FROM \"users\" WHERE \"users\".\"email\" = 'o''brien@example.org' LIMIT 1",
        "INSERT INTO \"posts\" (\"title\", \"body\") VALUES ('It''s -- fine; really', 'A \"quote\"') RETURNING \"id\"",
        "SELECT t.oid, t.typname FROM pg_type as t WHERE t.typname IN ('int2', 'int4')",
        "SELECT a.attname FROM pg_catalog.pg_attribute a WHERE a.attrelid = '16394' AND a.attnum > 0",
        "SELECT * FROM (SELECT 1 AS a UNION ALL SELECT 2) x WHERE 1=1",
        "UPDATE t SET body = 'SELECT * FROM t; DROP TABLE x' WHERE id = 1",
        "SELECT set_config('search_path', '', false)",
        "BEGIN; SET LOCAL statement_timeout = 100; COMMIT",
    ] {
        let refused = policy.judge(text).refusal;
        assert!(refused.is_none(), "{text}: {refused:?}");
    }
}

#[test]
fn no_value_takes_long_or_panics() {
    let hostile = [
        "' or ",
        "((((",
        "'\"`",
        "/*",
        "ß'İ--",
        ";",
        "union all ",
        "1=",
    ];
    for piece in hostile {
        let value = piece.repeat(20_000);
        let began = std::time::Instant::now();
        let _ = super::value::rule(&value);
        assert!(began.elapsed().as_millis() < 500, "{piece}");
    }
}
