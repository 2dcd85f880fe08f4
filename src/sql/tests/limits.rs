//! Texts made to hurt: bounded time, no overflow, never a panic.

use std::time::{Duration, Instant};

use crate::sql::{Lexer, analyze, ast_image};

/// Far above what a debug build on a busy machine needs; a quadratic step takes minutes.
const PATIENCE: Duration = Duration::from_secs(20);

fn texts() -> Vec<(&'static str, String)> {
    let nested = |open: &str, middle: &str, close: &str, n: usize| {
        format!("{}{middle}{}", open.repeat(n), close.repeat(n))
    };
    vec![
        ("a megabyte of brackets", "(".repeat(1 << 20)),
        (
            "closed brackets",
            format!("SELECT {}", nested("(", "1", ")", 500_000)),
        ),
        (
            "square brackets",
            format!("SELECT a{}", nested("[", "1", "]", 500_000)),
        ),
        (
            "CASE in CASE",
            format!("SELECT {}1", "CASE WHEN ".repeat(100_000)),
        ),
        (
            "NOT NOT",
            format!("DELETE FROM t WHERE {}x", "NOT ".repeat(200_000)),
        ),
        ("unary minus", format!("SELECT {}1", "- ".repeat(400_000))),
        (
            "AND chain",
            format!("DELETE FROM t WHERE {}", vec!["a=1"; 110_000].join(" AND ")),
        ),
        (
            "OR chain",
            format!("DELETE FROM t WHERE {}", vec!["a=1"; 120_000].join(" OR ")),
        ),
        ("sums", format!("SELECT {}1", "1+".repeat(490_000))),
        (
            "IN list",
            format!("SELECT * FROM t WHERE id IN ({}1)", "1,".repeat(400_000)),
        ),
        (
            "many rows",
            format!("INSERT INTO t VALUES {}(1)", "(1,2),".repeat(150_000)),
        ),
        (
            "many unions",
            format!("{}SELECT 1", "SELECT 1 UNION ".repeat(60_000)),
        ),
        (
            "many CTEs",
            format!(
                "WITH {}z AS (SELECT 1) SELECT 1",
                "a AS (SELECT 1),".repeat(60_000)
            ),
        ),
        (
            "many joins",
            format!("SELECT * FROM a{}", " JOIN b ON c=d".repeat(60_000)),
        ),
        (
            "nested queries",
            format!("SELECT {}", nested("(SELECT ", "1", ")", 100_000)),
        ),
        (
            "nested FROM",
            format!(
                "SELECT * FROM {}",
                nested("(SELECT * FROM ", "t", ") x", 50_000)
            ),
        ),
        ("dollars", "$a".repeat(400_000)),
        ("quotes", "'".repeat(999_999)),
        ("comments", "/*".repeat(500_000)),
        ("casts", format!("SELECT 1{}", "::int".repeat(190_000))),
        ("words", "x ".repeat(500_000)),
        ("statements", "SELECT 1;".repeat(100_000)),
        (
            "code",
            format!("DO $${}$$", "DELETE FROM t; ".repeat(60_000)),
        ),
        (
            "branches",
            format!(
                "MERGE INTO t USING s ON a=b {}",
                "WHEN MATCHED THEN DELETE ".repeat(38_000)
            ),
        ),
        (
            "locks",
            format!("SELECT * FROM t {}", "FOR UPDATE ".repeat(90_000)),
        ),
    ]
}

#[test]
fn no_text_takes_long_or_ends_the_process() {
    for lexer in [Lexer::POSTGRES, Lexer::SQLITE] {
        for (what, text) in texts() {
            let begun = Instant::now();
            let found = analyze(&text, lexer);
            for statement in found.statements.iter().take(3) {
                let _ = (
                    statement.facts.reads(),
                    statement.facts.writes(),
                    ast_image(statement),
                );
            }
            assert!(begun.elapsed() < PATIENCE, "{what}: {:?}", begun.elapsed());
        }
    }
}

#[test]
fn a_text_over_the_limit_is_refused_as_a_whole() {
    let small = Lexer {
        text_bytes_max: 10,
        ..Lexer::POSTGRES
    };
    let found = analyze("SELECT 1, 2, 3", small);
    assert!(found.problem.is_some());
    assert!(found.statements[0].facts.is_opaque());
}

#[test]
fn what_applications_send_is_read() {
    let list = (0..10_000)
        .map(|i| i.to_string())
        .collect::<Vec<_>>()
        .join(",");
    let terms = (0..1_000)
        .map(|i| format!("id = {i}"))
        .collect::<Vec<_>>()
        .join(" OR ");
    let rows = (0..500)
        .map(|i| format!("({i}, 'x', now())"))
        .collect::<Vec<_>>()
        .join(", ");
    let brackets = format!("{}id = 1{}", "(".repeat(60), ")".repeat(60));
    for text in [
        format!("SELECT * FROM t WHERE id IN ({list})"),
        format!("SELECT * FROM t WHERE {terms}"),
        format!("INSERT INTO t (a, b, c) VALUES {rows}"),
        format!("DELETE FROM t WHERE {brackets}"),
    ] {
        let found = analyze(&text, Lexer::POSTGRES);
        assert!(!found.statements[0].facts.is_opaque(), "{}", &text[..60]);
    }
}
