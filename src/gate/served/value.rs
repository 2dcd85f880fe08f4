//! Values between SQLite and the wire, in text and in binary.
//!
//! SQLite keeps any value in any column. In text form such a value is shown as
//! it is; in binary form one that cannot be read as the column's type is an
//! error, because the driver would read garbage.

use bytes::{BufMut, BytesMut};

use super::moment;
use super::numeric;
use crate::backend::rows::{Type, Value};
use crate::model::UserMessage;

/// Writes one value with its length.
pub fn encode(
    out: &mut BytesMut,
    value: &Value,
    kind: Type,
    binary: bool,
) -> Result<(), UserMessage> {
    if *value == Value::Null {
        out.put_i32(-1);
        return Ok(());
    }
    let at = out.len();
    out.put_i32(0);
    if binary {
        write_binary(out, value, kind).ok_or_else(|| misfit(value, kind))?;
    } else {
        write_text(out, value, kind);
    }
    let length = i32::try_from(out.len() - at - 4)
        .map_err(|_| UserMessage::error("54000", "the value is too large"))?;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn misfit(value: &Value, kind: Type) -> UserMessage {
    let held = match value {
        Value::Null => "NULL",
        Value::Integer(_) => "a whole number",
        Value::Real(_) => "a floating-point number",
        Value::Text(_) => "text",
        Value::Blob(_) => "bytes",
    };
    UserMessage::error("22P03", format!("a column of type {} holds {held} that does not fit the type", kind.name()))
        .hint("SQLite columns can hold values of any type; CAST the column in the query, or ask for text format.")
}

fn write_text(out: &mut BytesMut, value: &Value, kind: Type) {
    let text = match (value, kind.oid) {
        (Value::Integer(n), 16) => if *n != 0 { "t" } else { "f" }.to_owned(),
        (Value::Text(text), 16) => {
            boolean(text).map_or(text.clone(), |b| if b { "t" } else { "f" }.to_owned())
        }
        (Value::Integer(n), 1082 | 1114 | 1184) => moment::from_unix(*n, kind).map_or_else(
            || n.to_string(),
            |t| {
                if kind.oid == 1184 {
                    moment::with_zone(&t)
                } else {
                    t
                }
            },
        ),
        (Value::Text(text), 1184) => moment::with_zone(text),
        (Value::Integer(_) | Value::Real(_), 1700) => numeric::text(value, kind),
        (Value::Blob(bytes), 2950) if bytes.len() == 16 => uuid_text(bytes),
        (Value::Integer(n), _) => n.to_string(),
        (Value::Real(n), _) => float_text(*n),
        (Value::Text(text), _) => {
            out.put_slice(text.as_bytes());
            return;
        }
        (Value::Blob(bytes), _) => hex_text(bytes),
        (Value::Null, _) => return,
    };
    out.put_slice(text.as_bytes());
}

fn hex_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("\\x");
    for byte in bytes {
        for half in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(half)]));
        }
    }
    text
}

/// The shortest text that reads back as the same number, in PostgreSQL's form.
pub fn float_text(n: f64) -> String {
    if n.is_nan() {
        return "NaN".into();
    }
    if n.is_infinite() {
        return if n > 0.0 {
            "Infinity".into()
        } else {
            "-Infinity".into()
        };
    }
    let scientific = format!("{n:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..15).contains(&exponent) {
        return format!("{n}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "on" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn write_binary(out: &mut BytesMut, value: &Value, kind: Type) -> Option<()> {
    match kind.oid {
        16 => out.put_u8(u8::from(match value {
            Value::Integer(n) => *n != 0,
            Value::Text(text) => boolean(text)?,
            _ => return None,
        })),
        20 => out.put_i64(whole(value)?),
        21 => out.put_i16(whole(value)?.try_into().ok()?),
        23 => out.put_i32(whole(value)?.try_into().ok()?),
        26 | 2205 => out.put_u32(whole(value)?.try_into().ok()?),
        700 => out.put_f32(real(value)? as f32),
        701 => out.put_f64(real(value)?),
        1082 => out.put_i32(moment::days(&moment_text(value, kind)?)?),
        1083 => out.put_i64(moment::time_micros(&moment_text(value, kind)?)?),
        1114 | 1184 => out.put_i64(moment::micros(&moment_text(value, kind)?)?),
        1700 => numeric::write_binary(out, &numeric::text(value, kind))?,
        2950 => out.put_slice(&match value {
            Value::Blob(bytes) => <[u8; 16]>::try_from(bytes.as_slice()).ok()?,
            Value::Text(text) => uuid_bytes(text)?,
            _ => return None,
        }),
        3802 => {
            out.put_u8(1);
            write_text(out, value, Type::TEXT);
        }
        17 => match value {
            Value::Blob(bytes) => out.put_slice(bytes),
            Value::Text(text) => out.put_slice(text.as_bytes()),
            _ => return None,
        },
        1186 => return None,
        _ => write_text(out, value, Type::TEXT),
    }
    Some(())
}

fn moment_text(value: &Value, kind: Type) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Integer(n) => moment::from_unix(*n, kind),
        _ => None,
    }
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(n) => Some(*n),
        Value::Real(n) if n.fract() == 0.0 && n.abs() < 9.0e15 => Some(*n as i64),
        Value::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn real(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(n) => Some(*n as f64),
        Value::Real(n) => Some(*n),
        Value::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn uuid_text(bytes: &[u8]) -> String {
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

fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let hex: Vec<u8> = text
        .bytes()
        .filter(|b| !matches!(b, b'-' | b'{' | b'}'))
        .collect();
    let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    let mut bytes = [0u8; 16];
    if hex.len() != 32 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Reads a bind value of a known type.
pub fn decode(bytes: Option<&[u8]>, kind: Type, binary: bool) -> Result<Value, UserMessage> {
    let Some(bytes) = bytes else {
        return Ok(Value::Null);
    };
    if binary {
        return read_binary(bytes, kind).ok_or_else(|| {
            UserMessage::error(
                "22P03",
                format!("incorrect binary data format for type {}", kind.name()),
            )
        });
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|_| UserMessage::error("22021", "invalid byte sequence for encoding \"UTF8\""))?;
    read_text(text, kind).ok_or_else(|| {
        UserMessage::error(
            "22P02",
            format!(
                "invalid input syntax for type {}: \"{text}\"",
                types_name(kind)
            ),
        )
    })
}

fn types_name(kind: Type) -> String {
    crate::backend::sqlite::types::display(kind.with(-1))
}

fn read_text(text: &str, kind: Type) -> Option<Value> {
    let trimmed = text.trim();
    Some(match kind.oid {
        16 => Value::Integer(i64::from(boolean(text)?)),
        20 | 21 | 23 | 26 => Value::Integer(trimmed.parse().ok()?),
        700 | 701 => Value::Real(match trimmed.to_ascii_lowercase().as_str() {
            "nan" => return None,
            "infinity" | "inf" => f64::INFINITY,
            "-infinity" | "-inf" => f64::NEG_INFINITY,
            plain => plain.parse().ok()?,
        }),
        1700 => numeric::value(trimmed)?,
        17 => Value::Blob(bytea(text)?),
        1082 => Value::Text(moment::date_text(trimmed)?),
        1114 | 1184 => Value::Text(moment::stored(trimmed, kind)?),
        2950 => Value::Text(uuid_text(&uuid_bytes(trimmed)?)),
        _ => Value::Text(text.to_owned()),
    })
}

fn bytea(text: &str) -> Option<Vec<u8>> {
    let Some(hex) = text.strip_prefix("\\x") else {
        return escaped_bytea(text);
    };
    let digits: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    digits
        .chunks_exact(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect()
}

/// The older form: backslash and three octal digits.
fn escaped_bytea(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        match (first, tail) {
            (b'\\', [b'\\', more @ ..]) => {
                bytes.push(b'\\');
                rest = more;
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', more @ ..]) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = more;
            }
            (b'\\', _) => return None,
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    Some(bytes)
}

fn read_binary(bytes: &[u8], kind: Type) -> Option<Value> {
    Some(match kind.oid {
        16 => Value::Integer(i64::from(*bytes.first().filter(|_| bytes.len() == 1)? != 0)),
        20 => Value::Integer(i64::from_be_bytes(bytes.try_into().ok()?)),
        21 => Value::Integer(i16::from_be_bytes(bytes.try_into().ok()?).into()),
        23 => Value::Integer(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        26 => Value::Integer(u32::from_be_bytes(bytes.try_into().ok()?).into()),
        700 => Value::Real(f32::from_be_bytes(bytes.try_into().ok()?).into()),
        701 => Value::Real(f64::from_be_bytes(bytes.try_into().ok()?)),
        1082 => Value::Text(moment::from_days(i32::from_be_bytes(
            bytes.try_into().ok()?,
        ))?),
        1083 => Value::Text(moment::from_time_micros(i64::from_be_bytes(
            bytes.try_into().ok()?,
        ))?),
        1114 | 1184 => Value::Text(moment::from_micros(
            i64::from_be_bytes(bytes.try_into().ok()?),
            kind,
        )?),
        1700 => numeric::value(&numeric::read_binary(bytes)?)?,
        2950 => Value::Text(uuid_text(bytes.get(..16).filter(|_| bytes.len() == 16)?)),
        17 => Value::Blob(bytes.to_vec()),
        3802 => Value::Text(
            std::str::from_utf8(bytes.strip_prefix(b"\x01")?)
                .ok()?
                .to_owned(),
        ),
        1186 => return None,
        _ => Value::Text(std::str::from_utf8(bytes).ok()?.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &Value, kind: Type, binary: bool) -> Vec<u8> {
        let mut out = BytesMut::new();
        encode(&mut out, value, kind, binary).unwrap();
        out[4..].to_vec()
    }

    #[test]
    fn what_is_written_in_binary_reads_back() {
        let text = |t: &str| Value::Text(t.to_owned());
        let cases = [
            (Value::Integer(1), Type::BOOL),
            (Value::Integer(-7), Type::INT2),
            (Value::Integer(70000), Type::INT4),
            (Value::Integer(1 << 40), Type::INT8),
            (Value::Real(1.5), Type::FLOAT8),
            (Value::Real(-0.25), Type::FLOAT4),
            (text("2024-02-29"), Type::DATE),
            (text("2024-02-29 13:14:15.5"), Type::TIMESTAMP),
            (text("1999-12-31 23:59:59+00:00"), Type::TIMESTAMPTZ),
            (text("13:14:15"), Type::TIME),
            (Value::Real(1234.56), Type::NUMERIC),
            (Value::Integer(-100_000_000), Type::NUMERIC),
            (text("0b1f2c3d-0000-4000-8000-0123456789ab"), Type::UUID),
            (text("{\"a\": 1}"), Type::JSONB),
            (Value::Blob(vec![0, 255]), Type::BYTEA),
            (text("x"), Type::TEXT),
        ];
        for (value, kind) in cases {
            let bytes = written(&value, kind, true);
            assert_eq!(decode(Some(&bytes), kind, true).unwrap(), value, "{kind:?}");
        }
    }

    #[test]
    fn writes_text_as_postgresql_does() {
        let cases = [
            (Value::Integer(0), Type::BOOL, "f"),
            (Value::Blob(vec![1, 0xab]), Type::BYTEA, "\\x01ab"),
            (Value::Real(0.1), Type::FLOAT8, "0.1"),
            (Value::Real(1e21), Type::FLOAT8, "1e+21"),
            (Value::Real(100000.0), Type::FLOAT8, "100000"),
            (Value::Real(1e-7), Type::FLOAT8, "1e-07"),
            (
                Value::Real(12.5),
                Type::NUMERIC.with((10 << 16 | 2) + 4),
                "12.50",
            ),
            (
                Value::Integer(3),
                Type::NUMERIC.with((10 << 16 | 2) + 4),
                "3.00",
            ),
            (
                Value::Text("2024-01-01 00:00:00".into()),
                Type::TIMESTAMPTZ,
                "2024-01-01 00:00:00+00",
            ),
            (Value::Integer(0), Type::TIMESTAMP, "1970-01-01 00:00:00"),
            (Value::Text("odd".into()), Type::INT8, "odd"),
        ];
        for (value, kind, expected) in cases {
            assert_eq!(
                String::from_utf8(written(&value, kind, false)).unwrap(),
                expected
            );
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let mut out = BytesMut::new();
        assert_eq!(
            encode(&mut out, &Value::Text("x".into()), Type::INT8, true)
                .unwrap_err()
                .code,
            "22P03"
        );
        for (text, kind) in [
            ("x", Type::INT4),
            ("maybe", Type::BOOL),
            ("2024-13-01", Type::DATE),
            ("\\xabc", Type::BYTEA),
            ("1e", Type::NUMERIC),
        ] {
            assert_eq!(
                decode(Some(text.as_bytes()), kind, false).unwrap_err().code,
                "22P02",
                "{text}"
            );
        }
        for kind in [
            Type::INT4,
            Type::FLOAT8,
            Type::UUID,
            Type::NUMERIC,
            Type::TIMESTAMP,
            Type::BOOL,
            Type::JSONB,
        ] {
            assert_eq!(
                decode(Some(b"abc"), kind, true).unwrap_err().code,
                "22P03",
                "{kind:?}"
            );
        }
    }
}
