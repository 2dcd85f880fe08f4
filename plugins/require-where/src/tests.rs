//! The golden cases, natively.

use super::RequireWhere;
use portcullis_sdk::testing::{Tester, check_cases, check_inverted, check_manifest};

const MANIFEST: &str = include_str!("../policy.toml");

#[test]
fn the_golden_cases_hold() {
    check_cases::<RequireWhere>(MANIFEST);
}

#[test]
fn the_golden_cases_notice_an_inverted_decision() {
    check_inverted::<RequireWhere>(MANIFEST);
}

#[test]
fn every_setting_and_rule_has_its_cases() {
    check_manifest(MANIFEST, 20);
}

#[test]
fn a_bad_setting_is_named_with_its_place() {
    let issues = Tester::<RequireWhere>::new("trunctae = true").expect_err("an issue");
    assert_eq!(issues[0].path, "/trunctae");
    assert_eq!(issues[0].hint, "Did you mean `truncate`?");
    let issues = Tester::<RequireWhere>::new("exempt = ['ok', '\"open']").expect_err("an issue");
    assert_eq!(issues[0].path, "/exempt/1");
}
