//! Frames that say what a statement is and what it did.

use bytes::{BufMut, BytesMut};

use super::value;
use crate::backend::rows::{Column, Row, Type, Value};
use crate::backend::sqlite::Described;
use crate::model::UserMessage;
use crate::wire::postgres::encode::{cstr, frame};

/// RowDescription, or NoData when there are no columns.
pub(super) fn columns(out: &mut BytesMut, columns: &[Column], formats: &[bool]) {
    if columns.is_empty() {
        frame(out, b'n', |_| {});
        return;
    }
    frame(out, b'T', |out| {
        out.put_u16(columns.len() as u16);
        for (index, column) in columns.iter().enumerate() {
            cstr(out, column.name.as_bytes());
            out.put_u32(0);
            out.put_u16(0);
            out.put_u32(column.kind.oid);
            out.put_i16(column.kind.size());
            out.put_i32(column.kind.modifier);
            out.put_u16(u16::from(is_binary(formats, index)));
        }
    });
}

/// ParameterDescription.
pub(super) fn parameters(out: &mut BytesMut, kinds: &[Type]) {
    frame(out, b't', |out| {
        out.put_u16(kinds.len() as u16);
        kinds.iter().for_each(|kind| out.put_u32(kind.oid));
    });
}

/// Format of a column: none given means text, one holds for all.
pub(super) fn is_binary(formats: &[bool], index: usize) -> bool {
    match formats {
        [] => false,
        [one] => *one,
        all => all.get(index).copied().unwrap_or(false),
    }
}

/// DataRow. On an error nothing is written.
pub(super) fn row(
    out: &mut BytesMut,
    row: &Row,
    columns: &[Column],
    formats: &[bool],
) -> Result<(), UserMessage> {
    let start = out.len();
    let mut outcome = Ok(());
    frame(out, b'D', |out| {
        out.put_u16(row.len() as u16);
        for (index, (cell, column)) in row.iter().zip(columns).enumerate() {
            outcome = value::encode(out, cell, column.kind, is_binary(formats, index));
            if outcome.is_err() {
                return;
            }
        }
    });
    if outcome.is_err() {
        out.truncate(start);
    }
    outcome
}

/// Columns whose type the text does not tell take it from the first row.
pub(super) fn settle(columns: &[Column], first: Option<&Row>) -> Vec<Column> {
    let kind = |index: usize| match first.and_then(|row| row.get(index)) {
        Some(Value::Integer(_)) => Type::INT8,
        Some(Value::Real(_)) => Type::FLOAT8,
        Some(Value::Blob(_)) => Type::BYTEA,
        _ => Type::TEXT,
    };
    let settled = |(index, column): (usize, &Column)| match column.certain {
        true => column.clone(),
        false => Column {
            kind: kind(index),
            ..column.clone()
        },
    };
    columns.iter().enumerate().map(settled).collect()
}

/// The command tag.
pub(super) fn tag(described: &Described, text: &str, rows: u64, affected: u64) -> String {
    match described.verb.as_str() {
        "insert" | "replace" => format!("INSERT 0 {affected}"),
        "update" => format!("UPDATE {affected}"),
        "delete" => format!("DELETE {affected}"),
        "truncate" => "TRUNCATE TABLE".to_owned(),
        "with" if !described.readonly => with_tag(text, affected),
        "explain" => "EXPLAIN".to_owned(),
        "pragma" if described.columns.is_empty() => "PRAGMA".to_owned(),
        "create" | "drop" | "alter" => object_tag(text),
        "vacuum" | "analyze" | "reindex" => described.verb.to_ascii_uppercase(),
        _ => format!("SELECT {rows}"),
    }
}

fn with_tag(text: &str, affected: u64) -> String {
    let lower = text.to_ascii_lowercase();
    let verb = ["insert", "update", "delete"]
        .into_iter()
        .filter_map(|verb| Some((lower.rfind(verb)?, verb)))
        .max();
    match verb {
        Some((_, "insert")) | None => format!("INSERT 0 {affected}"),
        Some((_, verb)) => format!("{} {affected}", verb.to_ascii_uppercase()),
    }
}

/// `CREATE TABLE`, `DROP INDEX`: the verb and what it is about.
fn object_tag(text: &str) -> String {
    const SKIPPED: &[&str] = &[
        "UNIQUE",
        "TEMP",
        "TEMPORARY",
        "VIRTUAL",
        "OR",
        "REPLACE",
        "UNLOGGED",
        "GLOBAL",
        "LOCAL",
    ];
    let words: Vec<String> = text
        .split_whitespace()
        .map(str::to_ascii_uppercase)
        .collect();
    let object = words
        .iter()
        .skip(1)
        .find(|word| !SKIPPED.contains(&word.as_str()));
    format!(
        "{} {}",
        words.first().map_or("", String::as_str),
        object.map_or("", String::as_str)
    )
}
