//! Booleans and arrays, which SQLite keeps as numbers and text.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Result};

use super::{add, failure, text};

pub(super) fn register(connection: &Connection) -> Result<()> {
    add(connection, "pg_bool", 1, |c| match c.get_raw(0) {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(n) => Ok(Some(n != 0)),
        ValueRef::Real(n) => Ok(Some(n != 0.0)),
        _ => match text(c, 0)?
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase()
            .as_str()
        {
            "t" | "true" | "y" | "yes" | "on" | "1" => Ok(Some(true)),
            "f" | "false" | "n" | "no" | "off" | "0" => Ok(Some(false)),
            other => Err(failure(format!(
                "invalid input syntax for type boolean: \"{other}\""
            ))),
        },
    })?;
    add(connection, "pg_array", -1, |c| {
        let all: Result<Vec<String>> = (0..c.len())
            .map(|i| Ok(text(c, i)?.map_or_else(|| "NULL".to_owned(), |t| array_element(&t))))
            .collect();
        Ok(format!("{{{}}}", all?.join(",")))
    })?;
    add(connection, "pg_array_json", 1, |c| {
        Ok(text(c, 0)?.map(|t| array_json(&t)))
    })?;
    for arguments in [2, 3] {
        add(connection, "array_to_string", arguments, |c| {
            let (Some(array), Some(by)) = (text(c, 0)?, text(c, 1)?) else {
                return Ok(None);
            };
            Ok(Some(
                array_elements(&array)
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
                    .join(&by),
            ))
        })?;
    }
    Ok(())
}

fn array_element(text: &str) -> String {
    let plain = !text.is_empty()
        && !text.eq_ignore_ascii_case("null")
        && !text.contains(['{', '}', ',', '"', '\\', ' ']);
    if plain {
        text.to_owned()
    } else {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

/// Elements of PostgreSQL's text form of an array of one dimension; none for NULL.
fn array_elements(text: &str) -> Vec<Option<String>> {
    let inner = text.trim().trim_start_matches('{').trim_end_matches('}');
    let mut elements = Vec::new();
    let mut chars = inner.chars().peekable();
    while chars.peek().is_some() {
        let mut value = String::new();
        let mut quoted = false;
        let mut inside = false;
        while let Some(c) = chars.next() {
            match c {
                '"' => {
                    quoted = true;
                    inside = !inside;
                }
                '\\' => value.extend(chars.next()),
                ',' if !inside => break,
                other => value.push(other),
            }
        }
        let null = !quoted && value.eq_ignore_ascii_case("null");
        elements.push((!null).then_some(value));
    }
    elements
}

/// An array as JSON, so that json_each can take it apart; whole numbers stay numbers.
fn array_json(text: &str) -> String {
    let json = |element: Option<String>| match element {
        None => serde_json::Value::Null,
        Some(text) => match text.parse::<i64>() {
            Ok(n) if n.to_string() == text => n.into(),
            _ => text.into(),
        },
    };
    serde_json::Value::Array(array_elements(text).into_iter().map(json).collect()).to_string()
}
