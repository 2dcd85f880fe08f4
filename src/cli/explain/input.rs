//! One line of input: a statement, and the circumstances it should be judged under.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::model::client::BindValue;
use crate::model::{Client, Dialect, SessionFacts, TransactionState};

/// What a line asks.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Question {
    pub(in crate::cli) id: Value,
    pub(in crate::cli) sql: String,
    /// The text holds what no server encoding allows; only the rest of it is in `sql`.
    pub(in crate::cli) damaged: bool,
    pub(in crate::cli) dialect: Dialect,
    pub(in crate::cli) client: Client,
    pub(in crate::cli) session: SessionFacts,
    /// None: not given, so not known.
    pub(in crate::cli) values: Option<Vec<BindValue>>,
}

/// What holds when a line does not say otherwise.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Circumstances {
    pub(in crate::cli) dialect: Dialect,
    pub(in crate::cli) client: Client,
    pub(in crate::cli) session: SessionFacts,
}

/// Why a line cannot be answered; with its id when that much could be read.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::cli) struct Unusable {
    pub(in crate::cli) id: Value,
    pub(in crate::cli) error: String,
}

/// Reads a line. Any bytes may come.
pub(in crate::cli) fn question(line: &[u8], usual: &Circumstances) -> Result<Question, Unusable> {
    let (line, damaged) = match serde_json::from_slice::<Value>(line) {
        Ok(value) => (value, false),
        // Bytes that are no UTF-8 and halves of surrogate pairs are no JSON, but
        // they are what somebody would send to slip past: say what would happen.
        Err(error) => match serde_json::from_str(&repaired(line)) {
            Ok(value) => (value, true),
            Err(_) => {
                return Err(Unusable {
                    id: Value::Null,
                    error: format!("not a JSON object: {error}"),
                });
            }
        },
    };
    let Value::Object(fields) = line else {
        return Err(Unusable {
            id: Value::Null,
            error: "not a JSON object".to_owned(),
        });
    };
    let id = fields.get("id").cloned().unwrap_or(Value::Null);
    read(&fields, id.clone(), damaged, usual).map_err(|error| Unusable { id, error })
}

fn read(
    fields: &Map<String, Value>,
    id: Value,
    damaged: bool,
    usual: &Circumstances,
) -> Result<Question, String> {
    let sql = fields
        .get("sql")
        .ok_or("`sql` is missing")?
        .as_str()
        .ok_or("`sql` must be a string")?
        .to_owned();
    let dialect = match optional_text(fields, "dialect")? {
        Some(name) => dialect(&name)?,
        None => usual.dialect,
    };
    let mut client = usual.client.clone();
    let mut session = usual.session.clone();
    if let Some(given) = object(fields, "client")? {
        if let Some(user) = optional_text(given, "user")? {
            client.user = Arc::from(user);
        }
        if let Some(database) = optional_text(given, "database")? {
            client.database = Arc::from(database);
        }
        if let Some(address) = optional_text(given, "address")? {
            client.address = Some(self::address(&address)?);
        }
        circumstances(given, &mut session)?;
    }
    if let Some(given) = object(fields, "session")? {
        circumstances(given, &mut session)?;
    }
    let values = match fields.get("params") {
        None | Some(Value::Null) => None,
        Some(Value::Array(items)) => Some(items.iter().map(bind_value).collect()),
        Some(_) => return Err("`params` must be a list".to_owned()),
    };
    Ok(Question {
        id,
        sql,
        damaged,
        dialect,
        client,
        session,
        values,
    })
}

/// What `client` and `session` may both say of the session.
fn circumstances(given: &Map<String, Value>, session: &mut SessionFacts) -> Result<(), String> {
    if let Some(application) = optional_text(given, "application")? {
        session.application = Arc::from(application);
    }
    if let Some(role) = optional_text(given, "role")? {
        session.role = Arc::from(role);
    }
    match given.get("search_path") {
        None | Some(Value::Null) => {}
        Some(Value::String(path)) => session.search_path = Some(search_path(path)),
        Some(Value::Array(items)) => {
            let names: Option<Vec<Arc<str>>> = items
                .iter()
                .map(|item| item.as_str().map(Arc::from))
                .collect();
            session.search_path =
                Some(names.ok_or("`search_path` must be a list of names")?.into());
        }
        Some(_) => return Err("`search_path` must be a list of names".to_owned()),
    }
    match given.get("transaction") {
        None | Some(Value::Null) => {}
        Some(Value::Bool(inside)) => {
            session.transaction = if *inside {
                TransactionState::Active
            } else {
                TransactionState::Idle
            };
        }
        Some(Value::String(state)) => session.transaction = transaction(state)?,
        Some(_) => {
            return Err("`transaction` must be \"idle\", \"active\" or \"failed\"".to_owned());
        }
    }
    Ok(())
}

fn object<'a>(
    fields: &'a Map<String, Value>,
    key: &str,
) -> Result<Option<&'a Map<String, Value>>, String> {
    match fields.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(format!("`{key}` must be an object")),
    }
}

fn optional_text(fields: &Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    match fields.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("`{key}` must be a string")),
    }
}

fn bind_value(value: &Value) -> BindValue {
    let text = match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    BindValue {
        type_oid: 0,
        binary: false,
        bytes: text.map(|text| bytes::Bytes::from(text.into_bytes())),
    }
}

/// A dialect by name.
pub(in crate::cli) fn dialect(name: &str) -> Result<Dialect, String> {
    match name {
        "postgres" | "postgresql" => Ok(Dialect::Postgres),
        "sqlite" => Ok(Dialect::Sqlite),
        _ => Err("`dialect` must be \"postgres\" or \"sqlite\"".to_owned()),
    }
}

/// An address of a client.
pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    text.parse()
        .map_err(|_| format!("\"{text}\" is not an IP address"))
}

/// `a, "B", c` as a list of names.
pub(super) fn search_path(text: &str) -> Arc<[Arc<str>]> {
    text.split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(|name| {
            match name
                .strip_prefix('"')
                .and_then(|name| name.strip_suffix('"'))
            {
                Some(quoted) => Arc::from(quoted.replace("\"\"", "\"")),
                None => Arc::from(name.to_lowercase()),
            }
        })
        .collect()
}

fn transaction(state: &str) -> Result<TransactionState, String> {
    match state {
        "idle" | "none" => Ok(TransactionState::Idle),
        "active" => Ok(TransactionState::Active),
        "failed" => Ok(TransactionState::Failed),
        _ => Err("`transaction` must be \"idle\", \"active\" or \"failed\"".to_owned()),
    }
}

/// The line with what no encoding allows replaced.
fn repaired(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut out = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let taken = match surrogate(rest) {
            Some(0xD800..=0xDBFF)
                if matches!(rest.get(6..).and_then(surrogate), Some(0xDC00..=0xDFFF)) =>
            {
                out.push_str(&rest[..12]);
                12
            }
            Some(0xD800..=0xDFFF) => {
                out.push('\u{FFFD}');
                6
            }
            // The escape and the character behind it, whatever it is.
            _ => {
                let taken = rest.chars().take(2).map(char::len_utf8).sum();
                out.push_str(&rest[..taken]);
                taken
            }
        };
        rest = &rest[taken..];
    }
    out.push_str(rest);
    out
}

/// The number of a `\uXXXX` at the start.
fn surrogate(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual() -> Circumstances {
        let client = Client {
            user: "u".into(),
            database: "d".into(),
            address: None,
        };
        Circumstances {
            dialect: Dialect::Postgres,
            client,
            session: SessionFacts::default(),
        }
    }

    #[test]
    fn reads_everything_a_line_may_say() {
        let line = br#"{"id":7,"sql":"select $1","client":{"user":"ann","address":"10.0.0.1","application":"psql"},
            "params":["a",null,5,true],"session":{"search_path":["app","public"],"role":"r","transaction":"active"}}"#;
        let question = question(line, &usual()).unwrap();
        assert_eq!(
            (
                &question.id,
                &*question.client.user,
                &*question.client.database
            ),
            (&Value::from(7), "ann", "d")
        );
        assert_eq!(question.session.search_path.unwrap().len(), 2);
        assert_eq!(question.session.transaction, TransactionState::Active);
        let values: Vec<_> = question
            .values
            .unwrap()
            .into_iter()
            .map(|v| v.bytes)
            .collect();
        assert_eq!(
            values,
            [
                Some("a".into()),
                None,
                Some("5".into()),
                Some("true".into())
            ]
        );
    }

    #[test]
    fn says_why_a_line_cannot_be_used() {
        for (line, error) in [
            ("", "not a JSON object"),
            ("nonsense", "not a JSON object"),
            ("[1]", "not a JSON object"),
            ("{}", "`sql` is missing"),
            (r#"{"sql":5}"#, "`sql` must be a string"),
            (r#"{"sql":"","params":5}"#, "`params` must be a list"),
            (r#"{"sql":"","client":[]}"#, "`client` must be an object"),
            (
                r#"{"sql":"","client":{"address":"x"}}"#,
                "\"x\" is not an IP address",
            ),
            (
                r#"{"sql":"","session":{"transaction":"maybe"}}"#,
                "`transaction` must be",
            ),
            (r#"{"sql":"","dialect":"oracle"}"#, "`dialect` must be"),
        ] {
            let unusable = question(line.as_bytes(), &usual()).unwrap_err();
            assert!(
                unusable.error.starts_with(error),
                "{line}: {}",
                unusable.error
            );
        }
        assert_eq!(question(br#"{"id":"x"}"#, &usual()).unwrap_err().id, "x");
    }

    #[test]
    fn reads_damaged_text_and_says_so() {
        let mut bytes = br#"{"id":1,"sql":"select 'X'"}"#.to_vec();
        bytes[23] = 0xff;
        assert!(question(&bytes, &usual()).unwrap().damaged);
        let lone = question(
            br#"{"id":2,"sql":"select '\ud800' \\ud800 \ud83d\ude00"}"#,
            &usual(),
        )
        .unwrap();
        assert!(lone.damaged);
        assert_eq!(lone.sql, "select '\u{FFFD}' \\ud800 \u{1F600}");
        assert!(
            !question(br#"{"id":2,"sql":"\ud83d\ude00"}"#, &usual())
                .unwrap()
                .damaged
        );
    }

    #[test]
    fn splits_a_search_path() {
        let names: Vec<String> = search_path("App, \"Mixed\"\"x\" ,")
            .iter()
            .map(|n| n.to_string())
            .collect();
        assert_eq!(names, ["app", "Mixed\"x"]);
    }
}
