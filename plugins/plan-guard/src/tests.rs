//! The golden cases, natively.

use super::PlanGuard;
use portcullis_sdk::testing::{Tester, check_cases, check_inverted, check_manifest};

const MANIFEST: &str = include_str!("../policy.toml");

#[test]
fn the_golden_cases_hold() {
    check_cases::<PlanGuard>(MANIFEST);
}

#[test]
fn the_golden_cases_notice_an_inverted_decision() {
    check_inverted::<PlanGuard>(MANIFEST);
}

#[test]
fn every_setting_and_rule_has_its_cases() {
    check_manifest(MANIFEST, 20);
}

#[test]
fn a_bad_limit_is_named_with_its_place() {
    for settings in ["max_cost = -1", "max_cost = 'none'", "max_cost = true"] {
        let issues = Tester::<PlanGuard>::new(settings).expect_err(settings);
        assert_eq!(issues[0].path, "/max_cost", "{settings}: {issues:?}");
    }
}
