//! What holds for every text.

use proptest::prelude::*;

use crate::model::{Facts, Statement};
use crate::sql::{Lexer, analyze, ast_image, shape};

/// Pieces that meet in every order.
const SOUP: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "t",
    "u",
    "id",
    "name",
    "=",
    "<>",
    "<",
    "(",
    ")",
    ",",
    "1",
    "2",
    "'a'",
    "'b'",
    "AND",
    "OR",
    "NOT",
    "IN",
    "DELETE",
    "UPDATE",
    "SET",
    "INSERT",
    "INTO",
    "VALUES",
    "WITH",
    "AS",
    "RETURNING",
    "*",
    ".",
    ";",
    "UNION",
    "LIMIT",
    "ORDER BY",
    "$1",
    "::",
    "int",
    "f(",
    "EXISTS",
    "LIKE",
    "'%'",
    "CASE",
    "WHEN",
    "THEN",
    "END",
    "MERGE",
    "USING",
    "ON",
    "MATCHED",
    "CREATE",
    "TABLE",
    "DROP",
    "COPY",
    "TO",
    "STDOUT",
    "EXPLAIN",
    "ANALYZE",
    "--",
    "\n",
    "/*",
    "*/",
    "$$",
    "\"q\"",
    "-",
    "+",
    "||",
    "[",
    "]",
    "E'\\''",
    "U&\"x\"",
    "FOR",
    "DO",
    "NULL",
    "IS",
    "true",
    "BETWEEN",
    "GRANT",
    "ALTER",
    "EXECUTE",
    "PREPARE",
    "set_config(",
    "COALESCE(",
    "JOIN",
    "lower(",
    "HAVING",
];

fn soup() -> impl Strategy<Value = String> {
    let piece = proptest::sample::select(SOUP);
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.join(" "))
}

/// Plain statements with constants in every place the scanner looks at.
fn plain() -> impl Strategy<Value = String> {
    let constant =
        proptest::sample::select(&["1", "2", "-3", "'a'", "'b'", "4.5", "'%'", "x", "$1"][..]);
    let shape = proptest::sample::select(
        &[
            "SELECT * FROM t WHERE id = @ AND name = @",
            "SELECT id = @ FROM t WHERE (id = @) = (id = @)",
            "SELECT * FROM t WHERE id IN (@, @) LIMIT @",
            "DELETE FROM t WHERE id = @ OR id <> @",
            "DELETE FROM t WHERE id = @ AND x = @",
            "DELETE FROM t WHERE name LIKE @ AND @ = @",
            "UPDATE t SET a = @, b = @ WHERE id = @ RETURNING @",
            "INSERT INTO t (a, b) VALUES (@, @), (@, @)",
            "INSERT INTO t (a, b) VALUES (-@, - @), (@, a - @)",
            "UPDATE t SET a = a + @, b = b - @ WHERE id = @",
            "UPDATE t SET a = a + -@, b = b - @ * @ FROM u WHERE a + @ = a + @",
            "UPDATE t SET a = @ + @, b = (b + @), c = c + @ RETURNING a + @, a - @",
            "UPDATE t SET a = a + @::int, b = b + @ + @ WHERE a - @ = a - @ AND id = @",
            "SELECT set_config(@, @, false), f(a = @) FROM t WHERE f(a = @) = f(a = @)",
            "DELETE FROM t WHERE (id = @) IS TRUE AND x BETWEEN @ AND @",
            "DELETE FROM t WHERE CASE WHEN a = @ THEN b END = CASE WHEN a = @ THEN b END",
            "DELETE FROM t WHERE a + @ = a + @",
            "SELECT * FROM t WHERE id = @::int AND d > date @ AND id = @",
            "SELECT * FROM (SELECT * FROM u WHERE a = @) q WHERE q.b = @ ORDER BY @",
            "DELETE FROM t WHERE id IN (SELECT id FROM t WHERE a = @) AND b = @",
        ][..],
    );
    (shape, proptest::collection::vec(constant, 8)).prop_map(|(shape, constants)| {
        let mut constants = constants.into_iter().cycle();
        shape
            .split('@')
            .enumerate()
            .fold(String::new(), |mut text, (index, part)| {
                if index > 0 {
                    text.push_str(constants.next().unwrap_or("1"));
                }
                text.push_str(part);
                text
            })
    })
}

/// Facts without what placeholders stand for.
fn bare(facts: &Facts) -> String {
    format!("{facts:?}")
}

fn facts_of(statement: &Statement) -> String {
    // A handle holds a whole statement, literals included.
    let mut facts = statement.facts.clone();
    facts.handle = None;
    bare(&facts)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn never_panics_on_any_text(text in ".{0,200}") {
        for lexer in [Lexer::POSTGRES, Lexer::SQLITE, Lexer { standard_strings: false, ..Lexer::POSTGRES }] {
            let _ = analyze(&text, lexer);
            let _ = shape::scan(&text, lexer, &mut String::new());
        }
    }

    #[test]
    fn never_panics_on_token_soup(text in soup()) {
        for lexer in [Lexer::POSTGRES, Lexer::SQLITE] {
            let found = analyze(&text, lexer);
            for statement in &found.statements {
                let image = ast_image(statement);
                prop_assert_eq!(image.nodes.len() % 8, 0);
                let span = statement.span.clone();
                prop_assert_eq!(text.get(span), Some(&*statement.text));
            }
        }
    }

    #[test]
    fn equal_normalized_text_means_equal_facts(one in plain(), other in plain()) {
        let (one, other) = (analyze(&one, Lexer::POSTGRES), analyze(&other, Lexer::POSTGRES));
        let (one, other) = (&one.statements[0], &other.statements[0]);
        if one.normalized == other.normalized {
            prop_assert_eq!(facts_of(one), facts_of(other));
        }
    }

    #[test]
    fn equal_shape_means_equal_facts(one in plain(), other in plain()) {
        let (mut first, mut second) = (String::new(), String::new());
        if shape::scan(&one, Lexer::POSTGRES, &mut first).is_some()
            && shape::scan(&other, Lexer::POSTGRES, &mut second).is_some()
            && first == second
        {
            let (one, other) = (analyze(&one, Lexer::POSTGRES), analyze(&other, Lexer::POSTGRES));
            prop_assert_eq!(facts_of(&one.statements[0]), facts_of(&other.statements[0]));
        }
    }

    #[test]
    fn equal_normalized_soup_means_equal_facts(text in soup()) {
        // The same soup with other constants.
        let other = text.replace("'a'", "'zz'").replace('1', "77").replace("$77", "$1");
        let (one, other) = (analyze(&text, Lexer::POSTGRES), analyze(&other, Lexer::POSTGRES));
        for (one, other) in one.statements.iter().zip(&other.statements) {
            if one.normalized == other.normalized {
                prop_assert_eq!(facts_of(one), facts_of(other));
            }
        }
    }
}

#[test]
fn the_scanner_masks_what_applications_repeat() {
    let same = [
        (
            "SELECT abalance FROM pgbench_accounts WHERE aid = 1;",
            "SELECT abalance FROM pgbench_accounts WHERE aid = 99;",
        ),
        (
            "UPDATE t SET a = 1, b = 'x' WHERE id = 5",
            "UPDATE t SET a = 2, b = 'it''s' WHERE id = 6",
        ),
        (
            "INSERT INTO t (a, b) VALUES (1, 'x'), (2, 'y')",
            "INSERT INTO t (a, b) VALUES (3, 'z'), (4, 'w')",
        ),
        (
            "UPDATE t SET a = a + 5, b = b - 7 WHERE id = 1",
            "UPDATE t SET a = a + 6, b = b - 8 WHERE id = 2",
        ),
        (
            "UPDATE pgbench_accounts SET abalance = abalance + -12 WHERE aid = 5;",
            "UPDATE pgbench_accounts SET abalance = abalance + -999 WHERE aid = 6;",
        ),
        (
            "INSERT INTO h (a, b, c, d) VALUES (1, 2, -3, CURRENT_TIMESTAMP);",
            "INSERT INTO h (a, b, c, d) VALUES (4, 5, -6, CURRENT_TIMESTAMP);",
        ),
        (
            "SELECT * FROM t WHERE id IN (1, 2)",
            "SELECT * FROM t WHERE id IN (3, 4)",
        ),
        (
            "SELECT * FROM t WHERE a > -1 AND b <= 2.5",
            "SELECT * FROM t WHERE a > -2 AND b <= 7",
        ),
    ];
    for (one, other) in same {
        let (mut first, mut second) = (String::new(), String::new());
        assert!(
            shape::scan(one, Lexer::POSTGRES, &mut first).is_some(),
            "{one}"
        );
        assert!(
            shape::scan(other, Lexer::POSTGRES, &mut second).is_some(),
            "{other}"
        );
        assert_eq!(first, second);
        let (one, other) = (
            analyze(one, Lexer::POSTGRES),
            analyze(other, Lexer::POSTGRES),
        );
        assert_eq!(one.statements[0].normalized, other.statements[0].normalized);
    }
}

#[test]
fn the_scanner_steps_aside() {
    for text in [
        "SELECT 1; DELETE FROM t",
        "SELECT 1 -- x",
        "SELECT /* x */ 1",
        "SELECT E'a'",
        "SELECT $$a$$",
        "DELETE FROM t WHERE a = 1 OR b = 2",
        "EXPLAIN SELECT 1",
        "SELECT 'a",
        "SELECT (1",
        "SELECT 'a'\n'b'",
        "SET x = 1",
    ] {
        assert!(
            shape::scan(text, Lexer::POSTGRES, &mut String::new()).is_none(),
            "{text}"
        );
    }
    for (one, other) in [
        ("SELECT * FROM t LIMIT 1", "SELECT * FROM t LIMIT 2"),
        ("DELETE FROM t WHERE 1=1", "DELETE FROM t WHERE 1=2"),
        (
            "UPDATE t SET a = 1 WHERE a + 1 = a + 1",
            "UPDATE t SET a = 1 WHERE a + 1 = a + 2",
        ),
        (
            "DELETE FROM t WHERE a LIKE '%'",
            "DELETE FROM t WHERE a LIKE 'x'",
        ),
        ("SELECT f('a')", "SELECT f('b')"),
    ] {
        let (mut first, mut second) = (String::new(), String::new());
        let both = shape::scan(one, Lexer::POSTGRES, &mut first).is_some()
            && shape::scan(other, Lexer::POSTGRES, &mut second).is_some();
        assert!(!both || first != second, "{one}");
        let (one, other) = (
            analyze(one, Lexer::POSTGRES),
            analyze(other, Lexer::POSTGRES),
        );
        assert_ne!(one.statements[0].normalized, other.statements[0].normalized);
    }
}
