//! The golden cases, natively.

use super::Honeytoken;
use portcullis_sdk::testing::{Tester, check_cases, check_inverted, check_manifest};

const MANIFEST: &str = include_str!("../policy.toml");

#[test]
fn the_golden_cases_hold() {
    check_cases::<Honeytoken>(MANIFEST);
}

#[test]
fn the_golden_cases_notice_an_inverted_decision() {
    check_inverted::<Honeytoken>(MANIFEST);
}

#[test]
fn every_setting_and_rule_has_its_cases() {
    check_manifest(MANIFEST, 20);
}

#[test]
fn nothing_the_client_sees_names_the_trap() {
    let tester =
        Tester::<Honeytoken>::new("tables = ['secret_*']\ndisguise = false").expect("settings");
    let verdict = tester.judge("SELECT * FROM secret_keys");
    let refusal = verdict.refusal.expect("refused");
    for text in [&refusal.message, &refusal.detail, &refusal.hint] {
        assert!(
            !text.contains("secret") && !text.contains("trap") && !text.contains("honey"),
            "{text}"
        );
    }
    assert!(refusal.disguise.is_none());
}

#[test]
fn by_default_it_looks_like_a_missing_table() {
    let tester = Tester::<Honeytoken>::new("tables = ['secret_*']").expect("settings");
    let refusal = tester
        .judge("SELECT * FROM secret_keys")
        .refusal
        .expect("refused");
    let disguise = refusal.disguise.expect("disguised");
    assert_eq!(&*disguise.name, "secret_keys");
}
