//! Functions of text.

use std::sync::Arc;

use regex::Regex;
use rusqlite::functions::Context;
use rusqlite::{Connection, Result};

use super::{add, failure, flags, integer, text};

/// Longest text that lpad, rpad and repeat make.
const LENGTH_MAX: usize = 10_000_000;

pub(super) fn register(connection: &Connection) -> Result<()> {
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
