//! Where a CTE name hides a table.

use super::one;

#[test]
fn a_name_hides_a_table_only_where_the_server_says_so() {
    let table: &[(&str, &[&str])] = &[
        ("WITH t AS (SELECT * FROM t) SELECT * FROM t", &["t"]),
        ("WITH RECURSIVE t AS (SELECT * FROM t) SELECT * FROM t", &[]),
        (
            "WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a",
            &["b"],
        ),
        (
            "WITH RECURSIVE a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a",
            &[],
        ),
        (
            "WITH a AS (SELECT 1), b AS (SELECT * FROM a) SELECT * FROM b",
            &[],
        ),
        ("WITH a AS (SELECT 1) SELECT * FROM public.a", &["public.a"]),
        ("WITH a AS (SELECT 1) SELECT * FROM \"A\"", &["A"]),
        ("WITH \"A\" AS (SELECT 1) SELECT * FROM a", &["a"]),
        ("WITH A AS (SELECT 1) SELECT * FROM \"a\"", &[]),
        (
            "SELECT * FROM (WITH a AS (SELECT 1) SELECT * FROM a) x, a",
            &["a"],
        ),
        (
            "WITH a AS (SELECT 1) SELECT (SELECT x FROM a), EXISTS (SELECT 1 FROM a)",
            &[],
        ),
        (
            "WITH a AS (SELECT 1) SELECT * FROM (WITH a AS (SELECT * FROM a) SELECT * FROM a) x",
            &[],
        ),
        ("WITH a AS (SELECT 1) INSERT INTO a SELECT * FROM a", &[]),
        (
            "INSERT INTO t WITH x AS (SELECT * FROM y) SELECT * FROM x",
            &["y"],
        ),
        (
            "(WITH a AS (SELECT 1) SELECT * FROM a) UNION SELECT * FROM a",
            &["a"],
        ),
        ("WITH a AS (SELECT 1) SELECT 1 UNION SELECT x FROM a", &[]),
    ];
    for (text, reads) in table {
        assert_eq!(one(text).facts.reads(), *reads, "{text}");
    }
}

#[test]
fn a_target_is_never_a_cte() {
    for text in [
        "WITH users AS (SELECT 1) DELETE FROM users",
        "WITH users AS (SELECT 1) UPDATE users SET a = 1",
        "WITH users AS (SELECT 1) INSERT INTO users VALUES (1)",
        "WITH users AS (SELECT 1) MERGE INTO users USING users s ON users.id = s.id WHEN MATCHED THEN DELETE",
    ] {
        assert_eq!(one(text).facts.writes(), ["users"], "{text}");
    }
}
