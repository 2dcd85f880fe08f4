//! Token boundaries as the server sees them.

use super::one;
use crate::model::Dialect;
use crate::sql::lex::{Tok, lex, text_of};
use crate::sql::{Lexer, analyze};

fn tokens(text: &str, lexer: Lexer) -> Vec<String> {
    lex(text, lexer)
        .expect(text)
        .iter()
        .map(|token| token.text(text).to_owned())
        .collect()
}

#[test]
fn cuts_like_the_server() {
    let table: &[(&str, &[&str])] = &[
        ("a=-1", &["a", "=", "-", "1"]),
        ("a*-1", &["a", "*", "-", "1"]),
        ("a@-1", &["a", "@-", "1"]),
        ("a--b", &["a"]),
        ("a+--b\nc", &["a", "+", "c"]),
        ("a<--b\rc", &["a", "<", "c"]),
        ("a*/*x*/b", &["a", "*", "b"]),
        ("/*a/*b*/c*/d", &["d"]),
        ("1..2", &["1", "..", "2"]),
        ("1.5.2", &["1.5", ".2"]),
        ("1e5 1e 1.e-3", &["1e5", "1", "e", "1.e-3"]),
        ("1FROM", &["1", "FROM"]),
        ("$1x $12", &["$1", "x", "$12"]),
        ("a$b$c", &["a$b$c"]),
        ("$a$ x $b$ $a$", &["$a$ x $b$ $a$"]),
        ("$$a$$$$b$$", &["$$a$$", "$$b$$"]),
        ("E'a\\'b' 'c\\'", &["E'a\\'b'", "'c\\'"]),
        ("'a''b'", &["'a''b'"]),
        ("'a'\n'b'", &["'a'\n'b'"]),
        ("'a' 'b'", &["'a'", "'b'"]),
        ("'a' -- x\n 'b'", &["'a' -- x\n 'b'"]),
        ("'a' /* x\n */ 'b'", &["'a'", "'b'"]),
        (
            "U&\"d!0061t\" UESCAPE '!' x",
            &["U&\"d!0061t\" UESCAPE '!'", "x"],
        ),
        ("u&b", &["u", "&", "b"]),
        ("a\u{a0}b \u{3000}c", &["a\u{a0}b", "\u{3000}c"]),
        ("a\u{b}b\u{c}c", &["a", "b", "c"]),
        (
            "a::b:=c=>d:e",
            &["a", "::", "b", ":=", "c", "=>", "d", ":", "e"],
        ),
        ("a!=-1", &["a", "!=-", "1"]),
        ("x'1F' b'01' n'a'", &["x'1F'", "b'01'", "n'a'"]),
        ("0x1F 1_000", &["0x1F", "1_000"]),
        (
            "a<>b >= c || d ->> e #>> f",
            &["a", "<>", "b", ">=", "c", "||", "d", "->>", "e", "#>>", "f"],
        ),
    ];
    for (text, expected) in table {
        assert_eq!(tokens(text, Lexer::POSTGRES), *expected, "{text}");
    }
}

#[test]
fn refuses_what_the_server_cannot_cut() {
    for text in [
        "'a",
        "\"a",
        "$$a",
        "$a$ $b$",
        "/* a",
        "/* /* */",
        "E'a\\'",
        "\"\"",
        "a $ b",
        "U&'a' UESCAPE 'x1'",
        "\\",
    ] {
        assert!(lex(text, Lexer::POSTGRES).is_err(), "{text}");
        assert!(analyze(text, Lexer::POSTGRES).problem.is_some(), "{text}");
    }
    assert!(analyze("SELECT '\0'", Lexer::POSTGRES).problem.is_some());
}

#[test]
fn a_backslash_is_an_escape_when_the_session_says_so() {
    let escaping = Lexer {
        standard_strings: false,
        ..Lexer::POSTGRES
    };
    let text = r"SELECT '\'; DELETE FROM users; --'";
    assert_eq!(analyze(text, Lexer::POSTGRES).statements.len(), 2);
    assert_eq!(analyze(text, escaping).statements.len(), 1);
    let text = r"SELECT 'a\\'; DELETE FROM users";
    assert_eq!(analyze(text, escaping).statements.len(), 2);
}

#[test]
fn resolves_what_strings_stand_for() {
    let table = [
        ("'a''b'", "a'b"),
        ("'a'\n'b'", "ab"),
        (r"E'\x41\101\u0041\t\''", "AAA\t'"),
        ("U&'d\\0061t\\+000061'", "data"),
        ("U&'d!0061t' UESCAPE '!'", "dat"),
        ("$x$a'b$x$", "a'b"),
        ("U&'\\D83D\\DE00'", "\u{1f600}"),
    ];
    for (text, value) in table {
        let cut = lex(text, Lexer::POSTGRES).expect(text);
        assert_eq!(cut[0].kind, Tok::String);
        assert_eq!(text_of(&cut[0], text), value, "{text}");
    }
}

#[test]
fn names_fold_and_are_cut() {
    let long = "é".repeat(40);
    let text = format!("SELECT * FROM Users, \"Users\", {long}, \"{long}\", U&\"\\0055sers\"");
    let cut = "é".repeat(31);
    assert_eq!(one(&text).facts.reads(), ["users", "Users", &*cut]);
    let found = analyze("SELECT * FROM \"Users\", [USERS]", Lexer::SQLITE);
    assert_eq!(found.statements[0].dialect, Dialect::Sqlite);
    assert_eq!(found.statements[0].facts.reads(), ["users"]);
}
