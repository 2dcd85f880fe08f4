//! The golden cases, natively.

use super::Network;
use portcullis_sdk::testing::{Tester, check_cases, check_inverted, check_manifest};

const MANIFEST: &str = include_str!("../policy.toml");

#[test]
fn the_golden_cases_hold() {
    check_cases::<Network>(MANIFEST);
}

#[test]
fn the_golden_cases_notice_an_inverted_decision() {
    check_inverted::<Network>(MANIFEST);
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
            "rules = [{ action = 'allow' }, { action = 'reject' }]",
            "/rules/1/action",
        ),
        (
            "rules = [{ action = 'deny', networks = ['unix', '10.0.0.0/8', '10.0.0.0/99'] }]",
            "/rules/0/networks/1",
        ),
        (
            "rules = [{ action = 'deny', users = ['\"open'] }]",
            "/rules/0/users/0",
        ),
        ("otherwise = 'maybe'", "/otherwise"),
    ] {
        let issues = Tester::<Network>::new(settings).expect_err(settings);
        assert_eq!(issues[0].path, path, "{settings}: {issues:?}");
    }
}

#[test]
fn patterns_match_whole_names() {
    for (pattern, name, expected) in [
        ("psql", "psql", true),
        ("psql", "psql2", false),
        ("*", "", true),
        ("?", "", false),
        ("a*c*e", "abcde", true),
        ("a*c*e", "abcdf", false),
        ("*.corp", "x.y.corp", true),
        ("a?c", "abc", true),
        ("", "", true),
        ("", "x", false),
        ("*a", "aaaaaaaaaaaaaaaaaaaaaab", false),
    ] {
        assert_eq!(
            super::fits(pattern.as_bytes(), name.as_bytes()),
            expected,
            "{pattern} {name}"
        );
    }
}

#[test]
fn a_unix_socket_is_a_network_of_its_own() {
    let rules = "otherwise = 'deny'\nrules = [{ action = 'allow', networks = ['unix'] }]";
    let policy = Tester::<Network>::new(rules).expect("settings");
    assert!(
        policy.connect().refusal.is_none(),
        "the tester has no address"
    );
    let from = policy.address(std::net::Ipv4Addr::LOCALHOST.into());
    assert!(from.connect().refusal.is_some());
}
