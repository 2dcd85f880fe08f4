//! The golden cases, natively.

use super::TableLimit;
use portcullis_sdk::testing::{Tester, check_cases, check_inverted, check_manifest};

const MANIFEST: &str = include_str!("../policy.toml");

#[test]
fn the_golden_cases_hold() {
    check_cases::<TableLimit>(MANIFEST);
}

#[test]
fn the_golden_cases_notice_an_inverted_decision() {
    check_inverted::<TableLimit>(MANIFEST);
}

#[test]
fn every_setting_and_rule_has_its_cases() {
    check_manifest(MANIFEST, 20);
}

#[test]
fn a_bad_limit_is_named_with_its_place() {
    for (settings, place) in [
        ("users = -1", "/users"),
        ("users = 'many'", "/users"),
        ("users = {}", "/users"),
        ("users = { change = 5 }", "/users/change"),
        ("users = { changed = -5 }", "/users/changed"),
        ("'a/b' = {}", "/a~1b"),
    ] {
        let issues = Tester::<TableLimit>::new(settings).expect_err(settings);
        assert_eq!(issues[0].path, place, "{settings}: {issues:?}");
    }
}
