//! The golden cases, natively.

use super::RateLimit;
use portcullis_sdk::testing::{Tester, check_cases, check_inverted, check_manifest};

const MANIFEST: &str = include_str!("../policy.toml");

#[test]
fn the_golden_cases_hold() {
    check_cases::<RateLimit>(MANIFEST);
}

#[test]
fn the_golden_cases_notice_an_inverted_decision() {
    check_inverted::<RateLimit>(MANIFEST);
}

#[test]
fn every_setting_and_rule_has_its_cases() {
    check_manifest(MANIFEST, 20);
}

#[test]
fn a_bad_bucket_is_named_with_its_place() {
    for (settings, place) in [
        (
            "buckets = [{ name = 'a', burst = 0, per = '1s' }]",
            "/buckets/0/burst",
        ),
        (
            "buckets = [{ name = 'a', burst = 1, per = '1 hour' }]",
            "/buckets/0/per",
        ),
        (
            "buckets = [{ name = 'a', burst = 1, per = '0s' }]",
            "/buckets/0/per",
        ),
        (
            "buckets = [{ name = '', burst = 1, per = '1s' }]",
            "/buckets/0/name",
        ),
        (
            "buckets = [{ name = 'a', burst = 1, per = '1s', by = ['usr'] }]",
            "/buckets/0/by/0",
        ),
        (
            "buckets = [{ name = 'a', burst = 1, per = '1s', limit = 3 }]",
            "/buckets/0/limit",
        ),
    ] {
        let issues = Tester::<RateLimit>::new(settings).expect_err(settings);
        assert_eq!(issues[0].path, place, "{settings}: {issues:?}");
    }
    let twice =
        "buckets = [{ name = 'a', burst = 1, per = '1s' }, { name = 'a', burst = 2, per = '1s' }]";
    let issues = Tester::<RateLimit>::new(twice).expect_err("two of one name");
    assert_eq!(issues[0].path, "/buckets/1/name");
}
