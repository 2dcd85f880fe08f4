//! The golden cases, natively.

use super::Schedule;
use portcullis_sdk::testing::{Tester, check_cases, check_inverted, check_manifest};

const MANIFEST: &str = include_str!("../policy.toml");

#[test]
fn the_golden_cases_hold() {
    check_cases::<Schedule>(MANIFEST);
}

#[test]
fn the_golden_cases_notice_an_inverted_decision() {
    check_inverted::<Schedule>(MANIFEST);
}

#[test]
fn every_setting_and_rule_has_its_cases() {
    check_manifest(MANIFEST, 20);
}

#[test]
fn a_bad_setting_is_named_with_its_place() {
    for (settings, path) in [
        ("rule = []", "/rule"),
        (
            "rules = [{ action = 'allow', windows = [] }]",
            "/rules/0/windows",
        ),
        (
            "rules = [{ action = 'allow', windows = ['08:00-18:00', 'Mon'] }]",
            "/rules/0/windows/1",
        ),
        (
            "rules = [{ action = 'allow', windows = ['08:00-18:00 Nowhere/Town'] }]",
            "/rules/0/windows/0",
        ),
        (
            "rules = [{ action = 'allow', windows = ['08:00-18:00'], classes = ['ddl'] }]",
            "/rules/0/classes/0",
        ),
        (
            "rules = [{ action = 'allow', windows = ['08:00-18:00'], tables = ['a.b.c'] }]",
            "/rules/0/tables/0",
        ),
    ] {
        let issues = Tester::<Schedule>::new(settings).expect_err(settings);
        assert_eq!(issues[0].path, path, "{settings}: {issues:?}");
    }
}

#[test]
fn a_refusal_says_when_the_window_opens() {
    // Open never, or always: whatever the time is.
    let policy = Tester::<Schedule>::new(
        "rules = [{ action = 'refuse', windows = ['00:00-24:00'], reason = 'moving house' }]",
    );
    let refused = policy
        .expect("settings")
        .judge("SELECT 1")
        .refusal
        .expect("refused");
    assert!(refused.message.ends_with(": moving house"), "{refused:?}");
    let hint = &*refused.hint;
    assert!(
        hint.starts_with("The window closes at 20") && hint.contains(" UTC; "),
        "{hint}"
    );
}
