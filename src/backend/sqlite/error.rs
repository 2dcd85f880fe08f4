//! What SQLite says, with the nearest SQLSTATE and PostgreSQL's words.

use crate::model::{ErrorKind, Side, UserFacing, UserMessage};

use super::token::Unreadable;

/// Why the database did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The statement failed.
    #[error("{}: {}", .0.code, .0.message)]
    Statement(Box<UserMessage>),
    /// The text cannot be read in one way only.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The schema is not the one the statement was prepared under.
    #[error("the schema has changed since the statement was prepared")]
    Stale,
    /// All connections are taken.
    #[error("all {0} connections to the database are taken")]
    Exhausted(usize),
    /// The file cannot be opened.
    #[error("cannot open database: {0}")]
    Open(String),
    /// The thread of the connection has ended.
    #[error("the connection to the database is gone")]
    Gone,
}

impl Error {
    /// An error in the client's statement.
    pub fn statement(code: &'static str, message: impl Into<String>) -> Error {
        Error::Statement(Box::new(UserMessage::error(code, message)))
    }

    /// SQLSTATE.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Statement(message) => message.code,
            Error::Unreadable(_) => "42601",
            Error::Stale => "0A000",
            Error::Exhausted(_) => "53300",
            Error::Open(_) => "58030",
            Error::Gone => "XX000",
        }
    }

    /// A relation is missing: the name as the client wrote it.
    pub fn missing_relation(name: &str) -> Error {
        Error::statement("42P01", format!("relation \"{name}\" does not exist"))
    }
}

impl UserFacing for Error {
    fn user_message(&self) -> UserMessage {
        match self {
            Error::Statement(message) => (**message).clone(),
            Error::Exhausted(_) => UserMessage::fatal("53300", "sorry, too many clients already"),
            Error::Open(_) => UserMessage::fatal("58030", "the database cannot be opened"),
            other => UserMessage::error(other.code(), other.to_string()),
        }
    }

    fn kind(&self) -> ErrorKind {
        match self.code() {
            "57014" => ErrorKind::Timeout,
            "53300" => ErrorKind::Limit,
            "42601" => ErrorKind::Unparsable,
            _ => ErrorKind::Database,
        }
    }

    fn side(&self) -> Side {
        match self {
            Error::Statement(_) | Error::Unreadable(_) => Side::Client,
            _ => Side::Database,
        }
    }

    fn may_retry(&self) -> bool {
        matches!(self.code(), "40001" | "55P03" | "53300")
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Error {
        use rusqlite::Error as E;
        match error {
            E::SqliteFailure(failure, message) => from_code(
                failure.extended_code,
                message.unwrap_or_else(|| failure.to_string()),
            ),
            E::SqlInputError { error, msg, .. } => from_code(error.extended_code, msg),
            E::InvalidParameterName(name) => {
                Error::statement("42P02", format!("there is no parameter {name}"))
            }
            E::NulError(_) => {
                Error::statement("22021", "invalid byte sequence for encoding \"UTF8\": 0x00")
            }
            E::Utf8Error(_) => {
                Error::statement("22021", "invalid byte sequence for encoding \"UTF8\"")
            }
            E::UserFunctionError(error) => Error::statement("22023", error.to_string()),
            other => Error::statement("XX000", format!("internal error: {other}")),
        }
    }
}

/// Extended result codes of <https://www.sqlite.org/rescode.html>.
fn from_code(code: i32, text: String) -> Error {
    match code {
        2067 | 1555 | 2579 => unique(&text),
        1299 => not_null(&text),
        787 => Error::statement("23503", "foreign key constraint is violated"),
        275 => named(&text, "23514", "new row violates check constraint"),
        1811 => Error::statement("P0001", text),
        3091 => Error::statement("42804", text),
        517 => Error::statement(
            "40001",
            "could not serialize access due to concurrent update",
        ),
        _ => from_primary(code & 0xff, text),
    }
}

fn from_primary(code: i32, text: String) -> Error {
    match code {
        1 => from_words(text),
        4 => Error::statement("57014", text),
        5 | 6 => Error::statement("55P03", "the database is locked by another transaction"),
        7 => Error::statement("53200", "out of memory"),
        8 => Error::statement("25006", "cannot write: the database is read-only"),
        9 => Error::statement("57014", "canceling statement due to user request"),
        10 | 14 => Error::statement("58030", "could not access the database file"),
        11 | 26 => Error::statement("XX001", "the database file is damaged"),
        13 => Error::statement("53100", "no space left for the database"),
        18 => Error::statement("54000", "string or blob is too large"),
        19 => Error::statement("23000", text),
        20 => Error::statement("22P02", "the value does not have the type of the column"),
        23 => Error::statement(
            "42501",
            "permission denied: statements cannot do this through the gate",
        ),
        25 => Error::statement("08P01", "parameter number is out of range"),
        _ => Error::statement("XX000", text),
    }
}

fn unique(text: &str) -> Error {
    let columns = text.rsplit(": ").next().unwrap_or_default();
    let table = columns.split('.').next().unwrap_or_default();
    let names: Vec<&str> = columns
        .split(", ")
        .filter_map(|c| c.split('.').nth(1))
        .collect();
    let constraint = format!("{table}_{}_key", names.join("_"));
    let mut message = UserMessage::error(
        "23505",
        format!("duplicate key value violates unique constraint \"{constraint}\""),
    )
    .detail(format!("Key ({}) already exists.", names.join(", ")));
    message.constraint = constraint;
    Error::Statement(Box::new(message))
}

fn not_null(text: &str) -> Error {
    let place = text.rsplit(": ").next().unwrap_or_default();
    let (table, column) = place.split_once('.').unwrap_or(("", place));
    Error::statement(
        "23502",
        format!(
            "null value in column \"{column}\" of relation \"{table}\" violates not-null constraint"
        ),
    )
}

fn named(text: &str, code: &'static str, words: &str) -> Error {
    let name = text.rsplit(": ").next().unwrap_or_default();
    let mut message = UserMessage::error(code, format!("{words} \"{name}\""));
    message.constraint = name.to_owned();
    Error::Statement(Box::new(message))
}

/// Errors that SQLite tells apart only by their words.
fn from_words(text: String) -> Error {
    let after = |prefix: &str| text.strip_prefix(prefix).map(str::to_owned);
    if let Some(name) = after("no such table: ").or_else(|| after("no such view: ")) {
        return Error::missing_relation(&name);
    }
    if let Some(name) = after("no such column: ") {
        return Error::statement("42703", format!("column \"{name}\" does not exist"));
    }
    if let Some(name) =
        after("no such function: ").or_else(|| after("wrong number of arguments to function "))
    {
        return Error::statement(
            "42883",
            format!("function {} does not exist", name.trim_end_matches("()")),
        );
    }
    if let Some(name) = after("no such savepoint: ") {
        return Error::statement("3B001", format!("savepoint \"{name}\" does not exist"));
    }
    if let Some(rest) = after("near \"") {
        let word = rest.strip_suffix("\": syntax error").unwrap_or(&rest);
        return Error::statement("42601", format!("syntax error at or near \"{word}\""));
    }
    let code = WORDS
        .iter()
        .find(|(words, _)| text.contains(words))
        .map_or("42000", |(_, code)| code);
    Error::statement(code, text)
}

const WORDS: &[(&str, &str)] = &[
    ("incomplete input", "42601"),
    ("unrecognized token", "42601"),
    ("already exists", "42P07"),
    ("ambiguous column name", "42702"),
    ("has no column named", "42703"),
    ("values for", "42601"),
    ("columns but", "42601"),
    ("do not have the same number", "42601"),
    ("no such index", "42704"),
    ("no such trigger", "42704"),
    ("no such collation", "42704"),
    ("no such module", "42704"),
    ("unknown database", "3F000"),
    ("foreign key mismatch", "42830"),
    ("misuse of", "42803"),
    ("integer overflow", "22003"),
    ("malformed JSON", "22P02"),
    ("cannot modify", "42809"),
    ("may not be", "42809"),
    ("duplicate column name", "42701"),
    ("too large", "54001"),
    ("too many", "54001"),
    ("stack overflow", "54001"),
    ("cannot commit", "25001"),
    ("within a transaction", "25001"),
    ("no transaction is active", "25P01"),
    ("not authorized", "42501"),
    ("prohibited", "42501"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_nearest_sqlstate() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        connection
            .execute_batch("create table t (id integer primary key, a text unique, b text not null, c int check (c > 0), d int references t(id)); insert into t values (1, 'a', 'b', 1, null)")
            .unwrap();
        let cases = [
            ("insert into t values (1, 'x', 'y', 1, null)", "23505"),
            ("insert into t values (2, 'a', 'y', 1, null)", "23505"),
            ("insert into t values (2, 'z', null, 1, null)", "23502"),
            ("insert into t values (2, 'z', 'y', 0, null)", "23514"),
            ("insert into t values (2, 'z', 'y', 1, 9)", "23503"),
            ("select * from missing", "42P01"),
            ("select missing from t", "42703"),
            ("select missing(1)", "42883"),
            ("selec 1", "42601"),
            ("select (", "42601"),
            ("create table t (a)", "42P07"),
            ("insert into t (nope) values (1)", "42703"),
            ("insert into t values (1)", "42601"),
            ("rollback to x", "3B001"),
            ("select abs(-9223372036854775808)", "22003"),
        ];
        for (text, code) in cases {
            let error: Error = match connection
                .prepare(text)
                .and_then(|mut s| s.raw_query().next().map(|_| ()))
            {
                Ok(()) => panic!("{text} succeeded"),
                Err(error) => error.into(),
            };
            assert_eq!(error.code(), code, "{text}: {error}");
        }
    }
}
