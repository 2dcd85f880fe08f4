//! PostgreSQL functions that SQLite does not have.
//!
//! All of them are harmless: none writes, none leaves the process, and each is
//! marked so that views may use it.

use std::sync::Arc;

use regex::Regex;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Result};

use super::catalog::Names;
use super::engine::Identity;
use super::types;
use crate::backend::rows::Type;

/// The version that clients are told.
pub const SERVER_VERSION: &str =
    concat!("15.0 (Portcullis SQLite ", env!("CARGO_PKG_VERSION"), ")");

/// Longest text that lpad, rpad and repeat make.
const LENGTH_MAX: usize = 10_000_000;

fn flags() -> FunctionFlags {
    FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS
}

/// Registers all of them.
pub(super) fn register(connection: &Connection, identity: &Identity, names: &Names) -> Result<()> {
    constants(connection, identity)?;
    catalog(connection, identity, names)?;
    texts(connection)?;
    values(connection)
}

fn add<T, F>(connection: &Connection, name: &str, arguments: i32, function: F) -> Result<()>
where
    F: Fn(&Context<'_>) -> Result<T> + Send + std::panic::UnwindSafe + 'static,
    T: rusqlite::functions::SqlFnOutput,
{
    connection.create_scalar_function(
        name,
        arguments,
        flags() | FunctionFlags::SQLITE_DETERMINISTIC,
        function,
    )
}

fn constants(connection: &Connection, identity: &Identity) -> Result<()> {
    let version = format!(
        "PostgreSQL {SERVER_VERSION}, SQLite {}",
        rusqlite::version()
    );
    let answers: [(&[&str], String); 4] = [
        (&["version"], version),
        (
            &["current_user", "session_user", "current_role", "user"],
            identity.user.clone(),
        ),
        (
            &["current_database", "current_catalog"],
            identity.database.clone(),
        ),
        (&["current_schema"], "public".to_owned()),
    ];
    for (list, answer) in answers {
        for name in list {
            let answer = answer.clone();
            add(connection, name, 0, move |_| Ok(answer.clone()))?;
        }
    }
    let pid = identity.pid;
    add(connection, "pg_backend_pid", 0, move |_| Ok(pid))?;
    add(connection, "current_schemas", 1, |_| {
        Ok("{pg_catalog,public}")
    })?;
    for name in ["pg_is_in_recovery", "txid_current"] {
        add(connection, name, 0, |_| Ok(0))?;
    }
    for name in [
        "now",
        "transaction_timestamp",
        "statement_timestamp",
        "clock_timestamp",
    ] {
        // Not deterministic: every statement has a time of its own.
        connection.create_scalar_function(name, 0, flags(), |_| {
            Ok(jiff::Timestamp::now()
                .strftime("%Y-%m-%d %H:%M:%S%.6f+00:00")
                .to_string())
        })?;
    }
    Ok(())
}

fn catalog(connection: &Connection, identity: &Identity, names: &Names) -> Result<()> {
    let user = identity.user.clone();
    add(connection, "pg_get_userbyid", 1, move |_| Ok(user.clone()))?;
    add(connection, "pg_encoding_to_char", 1, |_| Ok("UTF8"))?;
    add(connection, "format_type", 2, |c| {
        let Some(oid) = integer(c, 0) else {
            return Ok(None);
        };
        let kind = Type::from_oid(oid as u32).with(integer(c, 1).unwrap_or(-1) as i32);
        Ok(Some(types::display(kind)))
    })?;
    for (name, arguments) in [
        ("pg_table_is_visible", 1),
        ("pg_type_is_visible", 1),
        ("pg_function_is_visible", 1),
        ("has_table_privilege", 2),
        ("has_table_privilege", 3),
        ("has_schema_privilege", 2),
        ("has_schema_privilege", 3),
        ("has_database_privilege", 2),
        ("has_column_privilege", 3),
        ("pg_relation_is_publishable", 1),
    ] {
        add(connection, name, arguments, |_| Ok(true))?;
    }
    for (name, arguments) in [
        ("obj_description", 2),
        ("obj_description", 1),
        ("col_description", 2),
        ("shobj_description", 2),
        ("pg_partition_ancestors", 1),
        ("pg_get_function_result", 1),
        ("pg_get_function_arguments", 1),
        ("pg_get_function_identity_arguments", 1),
        ("pg_get_ruledef", 2),
    ] {
        add(connection, name, arguments, |_| Ok(None::<String>))?;
    }
    for name in [
        "pg_table_size",
        "pg_relation_size",
        "pg_total_relation_size",
        "pg_indexes_size",
    ] {
        add(connection, name, 1, |_| Ok(0))?;
    }
    add(connection, "pg_size_pretty", 1, |c| {
        Ok(integer(c, 0).map(|n| format!("{n} bytes")))
    })?;
    for arguments in [2, 3] {
        add(connection, "pg_get_expr", arguments, |c| {
            Ok(Value::from(c.get_raw(0)))
        })?;
    }
    definitions(connection, names)
}

fn definitions(connection: &Connection, names: &Names) -> Result<()> {
    for (name, arguments) in [
        ("pg_get_indexdef", 1),
        ("pg_get_indexdef", 3),
        ("pg_get_constraintdef", 1),
        ("pg_get_constraintdef", 2),
        ("pg_get_viewdef", 1),
        ("pg_get_viewdef", 2),
        ("pg_get_triggerdef", 1),
        ("pg_get_triggerdef", 2),
    ] {
        let names = Unwinding(names.clone());
        connection.create_scalar_function(name, arguments, flags(), move |c| {
            let names = &names;
            Ok(integer(c, 0).and_then(|oid| names.0.definition(oid)))
        })?;
    }
    let known = Unwinding(names.clone());
    connection.create_scalar_function("pg_regclass", 1, flags(), move |c| {
        let known = &known;
        let name = text(c, 0)?;
        let Some(name) = name else { return Ok(None) };
        match name.parse::<i64>().ok().or_else(|| known.0.oid(&name)) {
            Some(oid) => Ok(Some(oid)),
            None => Err(failure(format!("relation \"{name}\" does not exist"))),
        }
    })?;
    let known = Unwinding(names.clone());
    connection.create_scalar_function("to_regclass", 1, flags(), move |c| {
        let known = &known;
        Ok(text(c, 0)?.and_then(|name| known.0.oid(&name)))
    })?;
    let known = Unwinding(names.clone());
    connection.create_scalar_function("pg_regclass_name", 1, flags(), move |c| {
        let known = &known;
        Ok(match integer(c, 0) {
            Some(oid) => Some(known.0.relation(oid).unwrap_or_else(|| oid.to_string())),
            None => text(c, 0)?,
        })
    })?;
    add(connection, "pg_regtype_name", 1, |c| {
        Ok(match integer(c, 0) {
            Some(0) => Some("-".to_owned()),
            Some(oid) => Some(types::display(Type::from_oid(oid as u32))),
            None => text(c, 0)?,
        })
    })?;
    add(connection, "pg_regnamespace_name", 1, |c| {
        Ok(match integer(c, 0) {
            Some(11) => Some("pg_catalog".to_owned()),
            Some(2200) => Some("public".to_owned()),
            _ => text(c, 0)?,
        })
    })?;
    add(connection, "pg_regproc_name", 1, |c| text(c, 0))
}

/// The map behind a mutex stays whole when a function panics.
struct Unwinding(Names);
impl std::panic::UnwindSafe for Unwinding {}
impl std::panic::RefUnwindSafe for Unwinding {}

fn texts(connection: &Connection) -> Result<()> {
    add(connection, "regexp", 2, |c| {
        let Some(subject) = text(c, 1)? else {
            return Ok(None);
        };
        let pattern: Arc<Regex> = c.get_or_create_aux(
            0,
            |value| -> std::result::Result<_, Box<dyn std::error::Error + Send + Sync>> {
                Ok(regex::RegexBuilder::new(value.as_str()?)
                    .size_limit(1 << 20)
                    .build()?)
            },
        )?;
        Ok(Some(pattern.is_match(&subject)))
    })?;
    add(connection, "left", 2, |c| {
        slice(c, |all, n| all.iter().take(count(n, all.len())).collect())
    })?;
    add(connection, "right", 2, |c| {
        slice(c, |all, n| {
            all[all.len() - count(n, all.len())..].iter().collect()
        })
    })?;
    add(connection, "reverse", 1, |c| {
        Ok(text(c, 0)?.map(|t| t.chars().rev().collect::<String>()))
    })?;
    add(connection, "initcap", 1, |c| {
        Ok(text(c, 0)?.map(|t| initcap(&t)))
    })?;
    add(connection, "char_length", 1, |c| {
        Ok(text(c, 0)?.map(|t| t.chars().count() as i64))
    })?;
    add(connection, "strpos", 2, |c| {
        let (Some(all), Some(part)) = (text(c, 0)?, text(c, 1)?) else {
            return Ok(None);
        };
        Ok(Some(
            all.find(&part)
                .map_or(0, |at| all[..at].chars().count() as i64 + 1),
        ))
    })?;
    add(connection, "starts_with", 2, |c| {
        let (Some(all), Some(part)) = (text(c, 0)?, text(c, 1)?) else {
            return Ok(None);
        };
        Ok(Some(all.starts_with(&part)))
    })?;
    add(connection, "split_part", 3, |c| {
        let (Some(all), Some(by), Some(n)) = (text(c, 0)?, text(c, 1)?, integer(c, 2)) else {
            return Ok(None);
        };
        Ok(Some(
            all.split(by.as_str())
                .nth(usize::try_from(n - 1).unwrap_or(usize::MAX))
                .unwrap_or("")
                .to_owned(),
        ))
    })?;
    add(connection, "repeat", 2, |c| {
        let (Some(all), Some(n)) = (text(c, 0)?, integer(c, 1)) else {
            return Ok(None);
        };
        let times = usize::try_from(n).unwrap_or(0);
        if all.len().saturating_mul(times) > LENGTH_MAX {
            return Err(failure("requested length too large".into()));
        }
        Ok(Some(all.repeat(times)))
    })?;
    add(connection, "md5", 1, |c| {
        use md5::Digest;
        Ok(text(c, 0)?.map(|t| {
            md5::Md5::digest(t.as_bytes())
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect::<String>()
        }))
    })?;
    connection.create_scalar_function("gen_random_uuid", 0, flags(), |_| Ok(random_uuid()))
}

fn values(connection: &Connection) -> Result<()> {
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
    for name in ["pg_extract", "date_part"] {
        add(connection, name, 2, |c| {
            let (Some(field), Some(moment)) = (text(c, 0)?, text(c, 1)?) else {
                return Ok(None);
            };
            field_of(&field.to_ascii_lowercase(), &moment).map(Some)
        })?;
    }
    add(connection, "pg_date", 1, |c| match text(c, 0)? {
        Some(text) => moment(&text).map(|at| Some(at.date().to_string())),
        None => Ok(None),
    })?;
    add(connection, "date_trunc", 2, |c| {
        let (Some(field), Some(moment)) = (text(c, 0)?, text(c, 1)?) else {
            return Ok(None);
        };
        truncated(&field.to_ascii_lowercase(), &moment).map(Some)
    })
}

fn failure(message: String) -> rusqlite::Error {
    rusqlite::Error::UserFunctionError(message.into())
}

fn integer(context: &Context<'_>, index: usize) -> Option<i64> {
    match context.get_raw(index) {
        ValueRef::Integer(n) => Some(n),
        ValueRef::Text(text) => std::str::from_utf8(text).ok()?.trim().parse().ok(),
        _ => None,
    }
}

fn text(context: &Context<'_>, index: usize) -> Result<Option<String>> {
    Ok(match context.get_raw(index) {
        ValueRef::Null => None,
        ValueRef::Integer(n) => Some(n.to_string()),
        ValueRef::Real(n) => Some(n.to_string()),
        ValueRef::Text(text) | ValueRef::Blob(text) => {
            Some(String::from_utf8_lossy(text).into_owned())
        }
    })
}

fn slice(context: &Context<'_>, cut: fn(&[char], i64) -> String) -> Result<Option<String>> {
    let (Some(all), Some(n)) = (text(context, 0)?, integer(context, 1)) else {
        return Ok(None);
    };
    Ok(Some(cut(&all.chars().collect::<Vec<_>>(), n)))
}

/// PostgreSQL counts from the other end when the number is negative.
fn count(n: i64, length: usize) -> usize {
    if n >= 0 {
        (n as usize).min(length)
    } else {
        length.saturating_sub(n.unsigned_abs() as usize)
    }
}

fn initcap(text: &str) -> String {
    let mut start = true;
    let change = |c: char| {
        let first = std::mem::replace(&mut start, !c.is_alphanumeric());
        if first {
            c.to_uppercase().collect::<String>()
        } else {
            c.to_lowercase().collect()
        }
    };
    text.chars().map(change).collect()
}

fn random_uuid() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
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
pub fn array_elements(text: &str) -> Vec<Option<String>> {
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

fn moment(text: &str) -> Result<jiff::civil::DateTime> {
    let plain = text.trim().trim_end_matches('Z');
    let plain = plain
        .strip_suffix("+00:00")
        .or_else(|| plain.strip_suffix("+00"))
        .unwrap_or(plain);
    plain.parse().map_err(|_| {
        failure(format!(
            "invalid input syntax for type timestamp: \"{text}\""
        ))
    })
}

fn field_of(field: &str, text: &str) -> Result<f64> {
    let at = moment(text)?;
    let seconds = f64::from(at.second()) + f64::from(at.subsec_nanosecond()) / 1e9;
    Ok(match field {
        "year" => f64::from(at.year()),
        "month" => f64::from(at.month()),
        "day" => f64::from(at.day()),
        "hour" => f64::from(at.hour()),
        "minute" => f64::from(at.minute()),
        "second" => seconds,
        "dow" => f64::from(at.weekday().to_sunday_zero_offset()),
        "isodow" => f64::from(at.weekday().to_monday_one_offset()),
        "doy" => f64::from(at.day_of_year()),
        "quarter" => f64::from((at.month() + 2) / 3),
        "week" => f64::from(at.date().iso_week_date().week()),
        "epoch" => {
            let zoned = at
                .to_zoned(jiff::tz::TimeZone::UTC)
                .map_err(|e| failure(e.to_string()))?;
            zoned.timestamp().as_microsecond() as f64 / 1e6
        }
        other => return Err(failure(format!("unit \"{other}\" is not supported"))),
    })
}

fn truncated(field: &str, text: &str) -> Result<String> {
    let at = moment(text)?;
    let day = at.date();
    let midnight = day.at(0, 0, 0, 0);
    let cut = match field {
        "year" => day.first_of_year().at(0, 0, 0, 0),
        "month" => day.first_of_month().at(0, 0, 0, 0),
        "day" => midnight,
        "hour" => day.at(at.hour(), 0, 0, 0),
        "minute" => day.at(at.hour(), at.minute(), 0, 0),
        "second" => day.at(at.hour(), at.minute(), at.second(), 0),
        other => return Err(failure(format!("unit \"{other}\" is not supported"))),
    };
    Ok(cut.strftime("%Y-%m-%d %H:%M:%S").to_string())
}
