//! The story that the demo tells, and what must come out of each step.

/// How a statement is sent.
#[derive(Debug, Clone, Copy)]
pub enum Via {
    /// Simple query.
    Simple,
    /// Prepared, with these bind values.
    Extended(&'static [&'static str]),
    /// Simple query, again and again, at most so often, until it is refused.
    Until(usize),
}

/// What must come out.
#[derive(Debug, Clone, Copy)]
pub enum Expect {
    /// Allowed: one row with this one value.
    Value(&'static str),
    /// Allowed: so many rows.
    Rows(usize),
    /// Allowed: this command tag.
    Tag(&'static str),
    /// Refused by this policy with this SQLSTATE.
    Refused(&'static str, &'static str),
}

/// One statement of the story.
#[derive(Debug)]
pub struct Step {
    /// What somebody wanted to do.
    pub story: &'static str,
    /// What they sent.
    pub sql: &'static str,
    /// How.
    pub via: Via,
    /// What must come out.
    pub expect: Expect,
}

const fn step(story: &'static str, sql: &'static str, via: Via, expect: Expect) -> Step {
    Step {
        story,
        sql,
        via,
        expect,
    }
}

/// The whole story, on one connection.
pub const STORY: &[Step] = &[
    step(
        "How many customers are there?",
        "SELECT count(*) FROM users",
        Via::Simple,
        Expect::Value("400"),
    ),
    step(
        "Look one of them up",
        "SELECT name, email, country FROM users WHERE id = 7",
        Via::Simple,
        Expect::Rows(1),
    ),
    step(
        "Change one row, with a predicate",
        "UPDATE users SET active = false WHERE id = 7",
        Via::Simple,
        Expect::Tag("UPDATE 1"),
    ),
    step(
        "Forget the WHERE",
        "DELETE FROM orders",
        Via::Simple,
        Expect::Refused("require-where", "42501"),
    ),
    step(
        "A WHERE that says nothing",
        "DELETE FROM orders WHERE 'a' = 'a'",
        Via::Simple,
        Expect::Refused("require-where", "42501"),
    ),
    step(
        "Hide the write in a common table expression",
        "WITH gone AS (DELETE FROM orders RETURNING id) SELECT count(*) FROM gone",
        Via::Simple,
        Expect::Refused("", "42501"),
    ),
    step(
        "Exactly as many rows as the limit on users allows",
        "UPDATE users SET country = 'NO' WHERE id <= 100",
        Via::Simple,
        Expect::Tag("UPDATE 100"),
    ),
    step(
        "One row more",
        "UPDATE users SET country = 'XX' WHERE id <= 101",
        Via::Simple,
        Expect::Refused("table_limits", "54000"),
    ),
    step(
        "Did any of it happen?",
        "SELECT count(*) FROM users WHERE country = 'XX'",
        Via::Simple,
        Expect::Value("0"),
    ),
    step(
        "Take the whole customer table home",
        "SELECT * FROM users",
        Via::Simple,
        Expect::Refused("table_limits", "54000"),
    ),
    step(
        "The same from a prepared statement: one order",
        "UPDATE orders SET status = 'paid' WHERE id = $1",
        Via::Extended(&["42"]),
        Expect::Tag("UPDATE 1"),
    ),
    step(
        "… and with a bind value that reaches too far",
        "UPDATE orders SET status = 'paid' WHERE id > $1",
        Via::Extended(&["0"]),
        Expect::Refused("table_limits", "54000"),
    ),
    step(
        "Touch a trap: it answers as if it were not there, and the operator is told",
        "SELECT * FROM canary_credentials",
        Via::Simple,
        Expect::Refused("", "42P01"),
    ),
    step(
        "Empty a table the quick way",
        "TRUNCATE logs",
        Via::Simple,
        Expect::Refused("", "42501"),
    ),
    step(
        "Something that cannot be read completely and may write",
        "DELETE FORM orders WHERE id = 1",
        Via::Simple,
        Expect::Refused("gate", "42501"),
    ),
    step(
        "Hammer the log table",
        "INSERT INTO logs (level, message, at) VALUES ('info', 'again', '2026-01-01 00:00:00')",
        Via::Until(200),
        Expect::Refused("rate-limit", "53400"),
    ),
    step(
        "The connection is as good as new",
        "SELECT count(*) FROM orders",
        Via::Simple,
        Expect::Value("2000"),
    ),
];
