//! One record of a log becomes a statement, with who sent it and its values.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use crate::cli::explain::{Circumstances, Question, question};
use crate::model::BindValue;

use super::records::Format;

/// What a record is.
pub(super) enum Line {
    /// A statement that somebody ran.
    Statement(Box<Question>),
    /// A line about something else.
    Other,
    /// Cut off, or not what it should be.
    Odd,
}

/// Reads a record. Any bytes may come.
pub(super) fn read(format: Format, record: &[u8], usual: &Circumstances) -> Line {
    match format {
        Format::Sql => statement(usual, String::from_utf8_lossy(record).trim().into(), None),
        Format::Jsonlog => json(record, usual),
        Format::Csvlog => csv(record, usual),
    }
}

fn statement(usual: &Circumstances, sql: String, values: Option<Vec<BindValue>>) -> Line {
    Line::Statement(Box::new(Question {
        id: Value::Null,
        damaged: false,
        sql,
        dialect: usual.dialect,
        client: usual.client.clone(),
        session: usual.session.clone(),
        values,
    }))
}

/// Who ran it, as a log says. Empty: it does not.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Logged {
    user: String,
    #[serde(alias = "database")]
    dbname: String,
    #[serde(alias = "address")]
    remote_host: String,
    application_name: String,
    message: String,
    detail: String,
    /// Of this gate's own log.
    target: String,
    statement: String,
    /// Of `explain`'s input.
    sql: Option<Value>,
}

impl Logged {
    fn question(self, usual: &Circumstances, sql: String) -> Line {
        let values = values(&self.detail);
        let mut line = statement(usual, sql, values);
        let Line::Statement(question) = &mut line else {
            return line;
        };
        if !self.user.is_empty() {
            question.client.user = Arc::from(self.user);
        }
        if !self.dbname.is_empty() {
            question.client.database = Arc::from(self.dbname);
        }
        if let Some(address) = address(&self.remote_host) {
            question.client.address = Some(address);
        }
        if !self.application_name.is_empty() {
            question.session.application = Arc::from(self.application_name);
        }
        line
    }
}

fn json(record: &[u8], usual: &Circumstances) -> Line {
    let Ok(mut logged) = serde_json::from_slice::<Logged>(record) else {
        return Line::Odd;
    };
    if logged.sql.is_some() {
        return match question(record.trim_ascii(), usual) {
            Ok(question) => Line::Statement(Box::new(question)),
            Err(_) => Line::Odd,
        };
    }
    if logged.target.starts_with("portcullis") {
        // Constants are masked there; what is left is what the policies see of the shape.
        let sql = std::mem::take(&mut logged.statement);
        return match (&*logged.target, sql.is_empty()) {
            ("portcullis::statement", false) => logged.question(usual, sql),
            _ => Line::Other,
        };
    }
    match ran(&logged.message).map(str::to_owned) {
        Some(sql) => logged.question(usual, sql),
        None => Line::Other,
    }
}

/// Columns of csvlog, by place; all versions agree in these.
mod column {
    pub(super) const USER: usize = 1;
    pub(super) const DATABASE: usize = 2;
    pub(super) const FROM: usize = 4;
    pub(super) const MESSAGE: usize = 13;
    pub(super) const DETAIL: usize = 14;
    pub(super) const APPLICATION: usize = 22;
    pub(super) const LEAST: usize = 23;
}

fn csv(record: &[u8], usual: &Circumstances) -> Line {
    let text = String::from_utf8_lossy(record);
    let fields = fields(text.trim_end_matches(['\r', '\n']));
    if fields.len() < column::LEAST {
        return Line::Odd;
    }
    let field = |index: usize| fields[index].clone();
    let Some(sql) = ran(&fields[column::MESSAGE]).map(str::to_owned) else {
        return Line::Other;
    };
    let logged = Logged {
        user: field(column::USER),
        dbname: field(column::DATABASE),
        // `host:port`, or `[local]`
        remote_host: fields[column::FROM]
            .rsplit_once(':')
            .map_or_else(String::new, |(host, _)| host.to_owned()),
        application_name: field(column::APPLICATION),
        detail: field(column::DETAIL),
        ..Logged::default()
    };
    logged.question(usual, sql)
}

/// Fields between commas; a quote inside quotes is written twice.
fn fields(record: &str) -> Vec<String> {
    let mut fields = Vec::with_capacity(26);
    let (mut field, mut quoted) = (String::new(), false);
    let mut rest = record.char_indices().peekable();
    while let Some((_, c)) = rest.next() {
        match c {
            '"' if quoted && rest.peek().is_some_and(|(_, next)| *next == '"') => {
                rest.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    fields.push(field);
    fields
}

/// The text of a message of `log_statement` or `log_min_duration_statement`.
/// Parse and bind have lines of their own there; what counts is that it ran.
fn ran(message: &str) -> Option<&str> {
    let rest = match message.strip_prefix("duration: ") {
        Some(timed) => timed.split_once(" ms  ")?.1,
        None => message,
    };
    if let Some(sql) = rest.strip_prefix("statement: ") {
        return Some(sql);
    }
    let named = rest.strip_prefix("execute ")?;
    // More rows of a portal that was counted already.
    if named.starts_with("fetch from ") {
        return None;
    }
    Some(named.split_once(": ")?.1)
}

/// A socket has no address, and a name is none.
fn address(host: &str) -> Option<IpAddr> {
    host.parse().ok()
}

/// `parameters: $1 = '…', $2 = NULL`; none where there are none.
fn values(detail: &str) -> Option<Vec<BindValue>> {
    let list = detail
        .strip_prefix("parameters: ")
        .or_else(|| detail.strip_prefix("Parameters: "))?;
    let mut values = Vec::new();
    let mut rest = list;
    while let Some((_, after)) = rest.split_once(" = ") {
        let (value, left) = value(after)?;
        values.push(BindValue {
            type_oid: 0,
            binary: false,
            bytes: value.map(bytes::Bytes::from),
        });
        rest = left;
    }
    Some(values)
}

/// One value and what follows it. Cut off: none.
fn value(text: &str) -> Option<(Option<String>, &str)> {
    if let Some(rest) = text.strip_prefix("NULL") {
        return Some((None, rest));
    }
    let inner = text.strip_prefix('\'')?;
    let mut value = String::new();
    let mut rest = inner;
    loop {
        let (part, after) = rest.split_once('\'')?;
        value.push_str(part);
        match after.strip_prefix('\'') {
            Some(more) => {
                value.push('\'');
                rest = more;
            }
            // The server shortens long values and says so.
            None => return Some((Some(value), after.strip_prefix("...").unwrap_or(after))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_ran_in_the_messages_of_a_server() {
        for (message, sql) in [
            ("statement: SELECT 1", Some("SELECT 1")),
            ("duration: 0.123 ms  statement: SELECT 1", Some("SELECT 1")),
            ("execute <unnamed>: SELECT $1", Some("SELECT $1")),
            ("execute s/p: SELECT $1", Some("SELECT $1")),
            (
                "duration: 0.1 ms  execute s: SELECT ': '",
                Some("SELECT ': '"),
            ),
            ("duration: 0.1 ms  parse s: SELECT 1", None),
            ("duration: 0.1 ms  bind s: SELECT 1", None),
            ("duration: 0.1 ms", None),
            ("execute fetch from s/p: SELECT 1", None),
            ("connection received: host=1.2.3.4", None),
            ("execute", None),
            ("", None),
        ] {
            assert_eq!(ran(message), sql, "{message}");
        }
    }

    #[test]
    fn reads_bind_values_with_quotes_and_nothing() {
        let read = |detail: &str| -> Option<Vec<Option<String>>> {
            let text = |value: BindValue| {
                let bytes = value.bytes?;
                Some(String::from_utf8_lossy(&bytes).into_owned())
            };
            Some(values(detail)?.into_iter().map(text).collect())
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            read("parameters: $1 = 'it''s', $2 = NULL, $3 = ' = '"),
            Some(vec![some("it's"), None, some(" = ")])
        );
        assert_eq!(read("Parameters: $1 = 'a'..."), Some(vec![some("a")]));
        assert_eq!(read("parameters: $1 = 'cut"), None);
        assert_eq!(read(""), None);
        assert_eq!(read("Key (id)=(1) exists"), None);
    }

    #[test]
    fn fields_may_hold_commas_quotes_and_lines() {
        assert_eq!(
            fields("a,\"b,\"\"c\"\"\nd\",,e"),
            ["a", "b,\"c\"\nd", "", "e"]
        );
    }
}
