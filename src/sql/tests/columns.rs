//! What is done with the columns a statement names.

use super::one;
use crate::model::ColumnUses;

const V: ColumnUses = ColumnUses::VALUE;
const C: ColumnUses = ColumnUses::CONDITION;
const W: ColumnUses = ColumnUses::WRITTEN;

/// Text, column, its uses; none: not named at all.
const CASES: &[(&str, &str, Option<ColumnUses>)] = &[
    ("SELECT email FROM users", "email", Some(V)),
    ("SELECT u.\"email\" FROM users u", "email", Some(V)),
    ("SELECT lower(email) FROM users", "email", Some(V)),
    ("SELECT id FROM users WHERE email = 'x'", "email", Some(C)),
    (
        "SELECT id FROM users WHERE id IN (SELECT email FROM users)",
        "email",
        Some(C),
    ),
    (
        "SELECT email FROM users WHERE email = 'x'",
        "email",
        Some(V.union(C)),
    ),
    ("SELECT id FROM users ORDER BY email", "email", Some(C)),
    (
        "SELECT count(*) FROM users GROUP BY email HAVING max(email) > 'x'",
        "email",
        Some(C),
    ),
    ("SELECT 1 FROM a JOIN users USING (email)", "email", Some(C)),
    (
        "SELECT 1 FROM a JOIN users u ON a.x = u.email",
        "email",
        Some(C),
    ),
    (
        "SELECT 1 FROM users LIMIT (SELECT max(email) FROM users)",
        "email",
        Some(V),
    ),
    (
        "SELECT id FROM users UNION SELECT email FROM users",
        "email",
        Some(V),
    ),
    (
        "INSERT INTO users (id, email) VALUES (1, 'x')",
        "email",
        Some(W),
    ),
    (
        "INSERT INTO users (email) VALUES ('x') RETURNING email",
        "email",
        Some(W.union(V)),
    ),
    (
        "INSERT INTO users (email) VALUES ('x') ON CONFLICT (email) DO NOTHING",
        "email",
        Some(W.union(C)),
    ),
    ("INSERT INTO log SELECT email FROM users", "email", Some(V)),
    (
        "UPDATE users SET email = 'x', id = 2 WHERE id = 1",
        "email",
        Some(W),
    ),
    (
        "UPDATE users SET id = 2, (name, email) = ('a', 'b')",
        "email",
        Some(W),
    ),
    (
        "UPDATE users SET name = email WHERE id = 1",
        "email",
        Some(V),
    ),
    (
        "UPDATE users SET name = coalesce(name, email), id = 1",
        "email",
        Some(V),
    ),
    (
        "UPDATE users SET name[(SELECT max(email) FROM users)] = 1",
        "email",
        Some(V),
    ),
    ("DELETE FROM users WHERE email = 'x'", "email", Some(C)),
    (
        "MERGE INTO users u USING s ON u.id = s.id WHEN NOT MATCHED THEN INSERT (email) VALUES (s.mail)",
        "email",
        Some(W),
    ),
    (
        "MERGE INTO users u USING s ON u.id = s.id WHEN MATCHED THEN UPDATE SET email = s.mail, name = 'x'",
        "email",
        Some(W),
    ),
    (
        "PREPARE p AS SELECT 1 FROM users WHERE email = $1",
        "email",
        Some(C),
    ),
    ("COPY users (email) TO STDOUT", "email", Some(V)),
    ("COPY users (email) FROM STDIN", "email", Some(W)),
    // All columns, in all their disguises.
    ("SELECT * FROM users", "*", Some(V)),
    ("SELECT u.* FROM users u", "*", Some(V)),
    ("TABLE users", "*", Some(V)),
    ("COPY users TO STDOUT", "*", Some(V)),
    ("COPY users FROM STDIN", "*", None),
    ("SELECT users FROM users", "*", Some(V)),
    ("SELECT u FROM users u", "*", Some(V)),
    ("SELECT u FROM users AS u", "*", Some(V)),
    ("SELECT row_to_json(u) FROM public.users u", "*", Some(V)),
    ("SELECT email(u) FROM users u", "*", Some(V)),
    ("SELECT (u).email FROM users u", "*", Some(V)),
    ("SELECT id FROM users u WHERE u IS NOT NULL", "*", Some(C)),
    ("SELECT b FROM users AS u(a, b)", "*", Some(V)),
    ("SELECT id FROM a NATURAL JOIN users", "*", Some(C)),
    ("DELETE FROM users u WHERE id = 1 RETURNING u", "*", Some(V)),
    (
        "INSERT INTO users AS u (id) VALUES (1) RETURNING u",
        "*",
        Some(V),
    ),
    (
        "UPDATE users SET id = 1 WHERE id = 2 RETURNING *",
        "*",
        Some(V),
    ),
    ("SELECT count(*) FROM users", "*", None),
    ("SELECT id AS users FROM users", "*", None),
    ("SELECT d.id FROM (SELECT id FROM users) d", "*", None),
];

#[test]
fn says_what_is_done_with_each_column() {
    for (text, column, expected) in CASES {
        let statement = one(text);
        let facts = &statement.facts;
        assert_eq!(facts.columns.len(), facts.column_uses.len(), "{text}");
        let index = facts.columns.iter().position(|name| &**name == *column);
        let uses = index.map(|index| facts.uses_of(index));
        assert_eq!(uses, *expected, "{column} in {text}");
    }
}

#[test]
fn many_columns_keep_their_uses() {
    let list: Vec<String> = (0..500).map(|n| format!("c{n}")).collect();
    let statement = one(&format!("SELECT {} FROM t WHERE c499 = 1", list.join(", ")));
    let facts = &statement.facts;
    assert_eq!(facts.columns.len(), 500);
    assert_eq!(facts.uses_of(499), V.union(C));
    assert_eq!(facts.uses_of(498), V);
}
