//! The pattern language, case by case.

use super::*;

/// Pattern, schema, name, search path, whether it matches.
type Case = (
    &'static str,
    Option<&'static str>,
    &'static str,
    Option<&'static [&'static str]>,
    bool,
);

fn path(schemas: &[&str]) -> Vec<Arc<str>> {
    schemas.iter().map(|schema| Arc::from(*schema)).collect()
}

#[test]
fn matches_as_the_documentation_says() {
    let cases: &[Case] = &[
        ("users", None, "users", None, true),
        ("Users", None, "users", None, true),
        ("\"Users\"", None, "users", None, false),
        ("\"Users\"", None, "Users", None, true),
        ("\"a\"\"b\"", None, "a\"b", None, true),
        ("\"a*\"", None, "ab", None, false),
        ("\"a*\"", None, "a*", None, true),
        ("users", Some("app"), "users", None, true),
        ("app.users", Some("app"), "users", None, true),
        ("app.users", Some("other"), "users", None, false),
        ("app.users", None, "users", None, true),
        ("app.users", None, "users", Some(&["app", "public"]), true),
        ("app.users", None, "users", Some(&["public"]), false),
        (
            "pg_catalog.pg_auth*",
            None,
            "pg_authid",
            Some(&["public"]),
            true,
        ),
        ("sensitive_*", None, "sensitive_", None, true),
        ("sensitive_*", None, "sensitive_data", None, true),
        ("sensitive_*", None, "insensitive_data", None, false),
        ("*_log", None, "audit_log", None, true),
        ("*_log", None, "_log", None, true),
        ("*_log", None, "log", None, false),
        ("a*b*c", None, "aXbYbZc", None, true),
        ("a*b*c", None, "abc", None, true),
        ("a*b*c", None, "acb", None, false),
        ("a*a", None, "a", None, false),
        ("t?", None, "t1", None, true),
        ("t?", None, "t", None, false),
        ("t?", None, "tä", None, true),
        ("?*?", None, "a", None, false),
        ("?*?", None, "ab", None, true),
        ("*", None, "anything", None, true),
        ("app.*", Some("app"), "x", None, true),
        ("app.*", Some("b"), "x", None, false),
        ("a*.t", Some("app"), "t", None, true),
    ];
    for (pattern, schema, name, search_path, expected) in cases {
        let set = PatternSet::new([pattern]).unwrap();
        let search_path = search_path.map(path);
        let found = set.best(*schema, name, search_path.as_deref()).is_some();
        assert_eq!(
            found, *expected,
            "{pattern} on {schema:?}.{name} in {search_path:?}"
        );
    }
}

proptest::proptest! {
    #[test]
    fn finds_exactly_what_some_pattern_matches(
        patterns in proptest::collection::vec("[ab?*]{1,4}", 0..4),
        name in "[abc]{0,4}",
    ) {
        let set = PatternSet::new(&patterns).unwrap();
        let expected = patterns.iter().any(|pattern| Part::bare(pattern).matches(&name));
        proptest::prop_assert_eq!(set.best(None, &name, None).is_some(), expected);
        proptest::prop_assert_eq!(set.first_named(&name).is_some(), expected);
    }
}

#[test]
fn most_specific_pattern_wins() {
    let cases: &[(&[&str], &str, u32)] = &[
        (&["*", "users"], "users", 1),
        (&["us*", "user*"], "users", 1),
        (&["*s", "*rs"], "users", 0),
        (&["users", "app.users"], "users", 1),
        (&["u?ers", "u*"], "users", 0),
        (&["app.*", "users"], "users", 1),
    ];
    for (patterns, name, expected) in cases {
        let set = PatternSet::new(*patterns).unwrap();
        assert_eq!(
            set.best(Some("app"), name, None),
            Some(*expected),
            "{patterns:?}"
        );
    }
}

#[test]
fn rejects_what_cannot_name_anything() {
    for pattern in [
        "", " ", "a.b.c", ".a", "a.", "\"a", "\"a\"b", "a b", "a\"b", "\"\"",
    ] {
        let error = PatternSet::new([pattern]).unwrap_err();
        assert!(error.starts_with("pattern `"), "{error}");
    }
    assert!(PatternSet::new(["x".repeat(300)]).is_err());
}

#[test]
fn cuts_long_names_like_the_server() {
    let long = "x".repeat(80);
    let set = PatternSet::new([&long]).unwrap();
    assert_eq!(set.best(None, &long[..63], None), Some(0));
    assert_eq!(fold(&format!("{}ä", "x".repeat(62))).len(), 62);
}

#[test]
fn plain_patterns_take_dots_as_they_are() {
    let set = PatternSet::plain(["alice@corp.example", "svc.*"]).unwrap();
    assert_eq!(set.best(None, "alice@corp.example", None), Some(0));
    assert_eq!(set.best(None, "svc.batch", None), Some(1));
}

#[test]
fn stays_fast_on_hostile_patterns() {
    let pattern = "*a".repeat(100);
    let name = format!("{}b", "a".repeat(62));
    let set = PatternSet::new([pattern]).unwrap();
    let start = std::time::Instant::now();
    for _ in 0..1000 {
        assert_eq!(set.best(None, &name, None), None);
    }
    assert!(start.elapsed().as_secs() < 2);
}
