//! The tests that the documentation names exist.

use std::path::Path;

/// Whether `chapter::…::test`, or a whole chapter, stands in the suite.
fn exists(name: &str) -> bool {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let source = |module: &str| {
        let path = module.replace("::", "/");
        let files = [
            suite.join(format!("{path}.rs")),
            suite.join(path).join("mod.rs"),
        ];
        files
            .iter()
            .find_map(|file| std::fs::read_to_string(file).ok())
    };
    let test = |(module, function): (&str, &str)| {
        source(module).is_some_and(|text| text.contains(&format!("fn {function}()")))
    };
    source(name).is_some() || name.rsplit_once("::").is_some_and(test)
}

/// The names in the last column of every table of a page.
fn named(page: &str) -> Vec<String> {
    let rows = page.lines().filter(|line| line.starts_with("| "));
    rows.filter_map(|row| row.trim_end_matches(" |").rsplit('|').next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_test_that_a_case_names_is_there() {
    let page = include_str!("../../docs/cases.md");
    let names = named(page);
    assert!(names.len() > 90, "{} names were found", names.len());
    let missing: Vec<_> = names.iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "not in tests/it: {missing:#?}");
    assert!(!exists("startup::no_such_test") && !exists("no_such_chapter"));
}
