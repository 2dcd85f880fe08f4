//! The corpus.

use expect_test::{ExpectFile, expect_file};

use super::summary;
use crate::sql::{Lexer, analyze};

fn check(texts: &str, lexer: Lexer, expected: ExpectFile) {
    let mut out = String::new();
    for line in texts.lines().filter(|line| !line.trim().is_empty()) {
        out.push_str(line);
        out.push('\n');
        out.push_str(&summary(&analyze(&line.replace("\\n", "\n"), lexer)));
    }
    expected.assert_eq(&out);
}

#[test]
fn reads_ordinary_statements() {
    check(
        include_str!("golden/ordinary.sql"),
        Lexer::POSTGRES,
        expect_file!["golden/ordinary.txt"],
    );
}

#[test]
fn reads_utility_statements() {
    check(
        include_str!("golden/utility.sql"),
        Lexer::POSTGRES,
        expect_file!["golden/utility.txt"],
    );
}

#[test]
fn finds_what_hostile_statements_hide() {
    check(
        include_str!("golden/hostile.sql"),
        Lexer::POSTGRES,
        expect_file!["golden/hostile.txt"],
    );
}

#[test]
fn reads_sqlite() {
    check(
        include_str!("golden/sqlite.sql"),
        Lexer::SQLITE,
        expect_file!["golden/sqlite.txt"],
    );
}

#[test]
fn ordinary_sql_is_never_opaque() {
    for text in include_str!("golden/ordinary.sql")
        .lines()
        .chain(include_str!("golden/utility.sql").lines())
    {
        let found = analyze(&text.replace("\\n", "\n"), Lexer::POSTGRES);
        for statement in &found.statements {
            assert!(
                !statement.facts.is_opaque(),
                "{text}: {:?}",
                statement.facts.problems
            );
        }
    }
}
