//! Predicates that restrict nothing.

use super::one;
use crate::model::Predicate;

#[test]
fn knows_what_is_always_true() {
    for condition in [
        "1=1",
        "'a'='a'",
        "true",
        "NOT false",
        "$1",
        "$1 = 1",
        "id = id",
        "users.id = id",
        "id >= id",
        "id <= id",
        "id = 1 OR true",
        "id = 1 OR 1=1",
        "id = $1 OR $2",
        "(((1=1)))",
        "NOT (id <> id)",
        "id IS NULL OR id IS NOT NULL",
        "id IS NOT NULL OR NOT (id IS NOT NULL)",
        "id = 1 OR id <> 1",
        "id > 3 OR id <= 3",
        "EXISTS (SELECT 1)",
        "EXISTS (SELECT 1 FROM orders)",
        "EXISTS (SELECT * FROM orders WHERE total > 5)",
        "EXISTS (SELECT 1 FROM users WHERE id = 5)",
        "name LIKE '%'",
        "name ILIKE '%%'",
        "name ~ '.*'",
        "name ~ ''",
        "id IN (SELECT id FROM users)",
        "id IN (SELECT id FROM users WHERE 1=1)",
        "id = ANY (SELECT id FROM users)",
        "id = ANY (ARRAY(SELECT id FROM users))",
        "(id, name) IN (SELECT id, name FROM users)",
        "id IN (1, id)",
        "id BETWEEN id AND id",
        "id IS NOT DISTINCT FROM id",
        "(id = id) IS TRUE",
        "(id = id) = true",
        "now() > now() - interval '1' day",
        "current_user = 'bob'",
        "extract(year from now()) = 2024",
        "(SELECT count(*) FROM orders) > 0",
        "1 = 1 AND 'a' = 'a'",
        "id = id AND name = name",
    ] {
        let statement = one(&format!("DELETE FROM users WHERE {condition}"));
        assert_eq!(
            statement.facts.predicate,
            Predicate::AlwaysTrue,
            "{condition}"
        );
    }
}

#[test]
fn unknown_counts_as_real() {
    for condition in [
        "id = 1",
        "id = $1",
        "active",
        "NOT active",
        "id IS NOT NULL",
        "id = 1 AND 1 = 1",
        "name LIKE 'a%'",
        "name NOT LIKE '%'",
        "id IN (SELECT user_id FROM orders)",
        "id IN (SELECT id FROM users LIMIT 5)",
        "id NOT IN (SELECT id FROM users)",
        "level < 2 OR level >= 8",
        "id = 1 OR id = 2",
        "id = 1 OR id <> 2",
        "EXISTS (SELECT 1 FROM orders o WHERE o.user_id = users.id)",
        "EXISTS (SELECT 1 FROM orders WHERE user_id = id)",
        "created < now() - interval '1 day'",
        "CASE WHEN id = 1 OR id = 2 THEN true END",
        "coalesce(active, true)",
        "ctid = '(0,1)'",
        "id BETWEEN 1 AND 2",
        "id <> id",
        "(SELECT id) = 1",
        "id = (SELECT max(x) FROM orders)",
    ] {
        let statement = one(&format!("DELETE FROM users WHERE {condition}"));
        assert_eq!(statement.facts.predicate, Predicate::Real, "{condition}");
    }
}

#[test]
fn the_weakest_write_counts() {
    let table = [
        ("DELETE FROM users", Predicate::None),
        (
            "UPDATE a SET x = 1 FROM b WHERE b.id = 3",
            Predicate::AlwaysTrue,
        ),
        (
            "UPDATE a SET x = 1 FROM b WHERE b.id = a.id",
            Predicate::Real,
        ),
        (
            "DELETE FROM a USING b WHERE b.id = 3",
            Predicate::AlwaysTrue,
        ),
        ("DELETE FROM a x USING b WHERE b.id = x.id", Predicate::Real),
        (
            "WITH x AS (DELETE FROM a WHERE id = 1), y AS (DELETE FROM b) SELECT 1",
            Predicate::None,
        ),
        (
            "WITH x AS (DELETE FROM a WHERE id = 1) DELETE FROM b WHERE true",
            Predicate::AlwaysTrue,
        ),
        (
            "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN DELETE",
            Predicate::Real,
        ),
        (
            "MERGE INTO t USING s ON 1=1 WHEN MATCHED THEN DELETE",
            Predicate::AlwaysTrue,
        ),
        (
            "MERGE INTO t USING s ON 1=1 WHEN MATCHED AND t.x = 1 THEN DELETE",
            Predicate::Real,
        ),
        (
            "MERGE INTO t USING s ON t.id = s.id WHEN NOT MATCHED BY SOURCE THEN DELETE",
            Predicate::None,
        ),
        ("INSERT INTO t VALUES (1)", Predicate::NotApplicable),
        ("TRUNCATE t", Predicate::NotApplicable),
        ("EXPLAIN DELETE FROM users", Predicate::NotApplicable),
        ("EXPLAIN ANALYZE DELETE FROM users", Predicate::None),
        (
            "COPY (DELETE FROM users RETURNING *) TO STDOUT",
            Predicate::None,
        ),
        (
            "PREPARE p AS DELETE FROM users WHERE 1=1",
            Predicate::AlwaysTrue,
        ),
        ("UPDATE users SET a = 1 WHERE CURRENT OF c", Predicate::Real),
        ("SELECT * FROM users", Predicate::None),
        ("SELECT * FROM users WHERE id = 1", Predicate::Real),
        ("SELECT 1", Predicate::NotApplicable),
    ];
    for (text, predicate) in table {
        assert_eq!(one(text).facts.predicate, predicate, "{text}");
    }
}
