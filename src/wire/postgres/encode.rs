//! Messages the gate writes itself.

use bytes::{BufMut, BytesMut};

use super::places::Places;
use crate::model::UserMessage;

/// Writes a frame whose body is written by `body`.
pub fn frame(out: &mut BytesMut, tag: u8, body: impl FnOnce(&mut BytesMut)) {
    out.put_u8(tag);
    length_prefixed(out, body);
}

/// Writes a length that counts itself, then the body.
pub fn length_prefixed(out: &mut BytesMut, body: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    out.put_i32(0);
    body(out);
    let length = i32::try_from(out.len() - at).unwrap_or(i32::MAX);
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// Writes bytes up to a zero byte in them, then the terminator.
pub fn cstr(out: &mut BytesMut, text: &[u8]) {
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    out.put_slice(&text[..end]);
    out.put_u8(0);
}

/// Query.
pub fn query(out: &mut BytesMut, text: &str) {
    frame(out, b'Q', |out| cstr(out, text.as_bytes()));
}

/// Parse with parameter types.
pub fn parse(out: &mut BytesMut, name: &[u8], text: &[u8], types: &[u32]) {
    frame(out, b'P', |out| {
        cstr(out, name);
        cstr(out, text);
        out.put_u16(types.len() as u16);
        for oid in types {
            out.put_u32(*oid);
        }
    });
}

/// Bind without values, all results as text.
pub fn bind_plain(out: &mut BytesMut, portal: &[u8], statement: &[u8]) {
    bind_rest(out, portal, statement, b"\0\0\0\0\0\0");
}

/// Bind with formats and values copied from another Bind.
pub fn bind_rest(out: &mut BytesMut, portal: &[u8], statement: &[u8], rest: &[u8]) {
    frame(out, b'B', |out| {
        cstr(out, portal);
        cstr(out, statement);
        out.put_slice(rest);
    });
}

/// Execute.
pub fn execute(out: &mut BytesMut, portal: &[u8], rows_max: i32) {
    frame(out, b'E', |out| {
        cstr(out, portal);
        out.put_i32(rows_max);
    });
}

/// Close of a statement (`S`) or portal (`P`).
pub fn close(out: &mut BytesMut, kind: u8, name: &[u8]) {
    frame(out, b'C', |out| {
        out.put_u8(kind);
        cstr(out, name);
    });
}

/// Describe of a statement (`S`) or portal (`P`).
pub fn describe(out: &mut BytesMut, kind: u8, name: &[u8]) {
    frame(out, b'D', |out| {
        out.put_u8(kind);
        cstr(out, name);
    });
}

/// Sync.
pub fn sync(out: &mut BytesMut) {
    out.put_slice(b"S\0\0\0\x04");
}

/// Flush.
pub fn flush(out: &mut BytesMut) {
    out.put_slice(b"H\0\0\0\x04");
}

/// CopyFail.
pub fn copy_fail(out: &mut BytesMut, why: &str) {
    frame(out, b'f', |out| cstr(out, why.as_bytes()));
}

/// Terminate.
pub fn terminate(out: &mut BytesMut) {
    out.put_slice(b"X\0\0\0\x04");
}

/// ReadyForQuery.
pub fn ready(out: &mut BytesMut, status: u8) {
    out.put_slice(&[b'Z', 0, 0, 0, 5, status]);
}

/// ParameterStatus.
pub fn parameter_status(out: &mut BytesMut, name: &str, value: &str) {
    frame(out, b'S', |out| {
        cstr(out, name.as_bytes());
        cstr(out, value.as_bytes());
    });
}

/// BackendKeyData.
pub fn key_data(out: &mut BytesMut, pid: i32, secret: &[u8]) {
    frame(out, b'K', |out| {
        out.put_i32(pid);
        out.put_slice(secret);
    });
}

/// CommandComplete.
pub fn command_complete(out: &mut BytesMut, tag: &str) {
    frame(out, b'C', |out| cstr(out, tag.as_bytes()));
}

/// ErrorResponse.
pub fn error(out: &mut BytesMut, message: &UserMessage) {
    frame(out, b'E', |out| fields(out, message));
}

/// NoticeResponse.
pub fn notice(out: &mut BytesMut, message: &UserMessage) {
    frame(out, b'N', |out| fields(out, message));
}

/// The fields of PostgreSQL documentation 55.8; empty ones are left out.
fn fields(out: &mut BytesMut, message: &UserMessage) {
    for (tag, text) in [
        (b'S', message.severity),
        (b'V', message.severity),
        (b'C', message.code),
        (b'M', message.message.as_str()),
        (b'D', message.detail.as_str()),
        (b'H', message.hint.as_str()),
        (b'n', message.constraint.as_str()),
    ] {
        if !text.is_empty() {
            out.put_u8(tag);
            cstr(out, text.as_bytes());
        }
    }
    out.put_u8(0);
}

/// ErrorResponse as the server writes it for a relation that is not there
/// position, file, line and routine included.
/// `position` counts characters from 1; none where the server gives none.
pub fn undefined_relation(
    out: &mut BytesMut,
    places: &Places,
    noun: &str,
    name: &str,
    position: Option<usize>,
) {
    let denied = noun == "function";
    let message = if denied {
        format!("permission denied for function {name}")
    } else {
        format!("{noun} \"{name}\" does not exist")
    };
    let position = position.map(|position| position.to_string());
    let qualified = usize::from(name.contains('.'));
    let place = match position {
        _ if denied => &places.denied,
        Some(_) => &places.query[qualified],
        None if noun == "table" => &places.drop,
        None => &places.utility[qualified],
    };
    frame(out, b'E', |out| {
        for (tag, text) in [
            (b'S', "ERROR"),
            (b'V', "ERROR"),
            (b'C', if denied { "42501" } else { "42P01" }),
            (b'M', message.as_str()),
            (b'P', position.as_deref().unwrap_or_default()),
            (b'F', &*place.file),
            (b'L', &*place.line),
            (b'R', &*place.routine),
        ] {
            if !text.is_empty() {
                out.put_u8(tag);
                cstr(out, text.as_bytes());
            }
        }
        out.put_u8(0);
    });
}

/// RowDescription of text columns.
pub fn row_description(out: &mut BytesMut, columns: &[(&str, u32)]) {
    frame(out, b'T', |out| {
        out.put_u16(columns.len() as u16);
        for (name, type_oid) in columns {
            cstr(out, name.as_bytes());
            out.put_u32(0);
            out.put_u16(0);
            out.put_u32(*type_oid);
            out.put_i16(-1);
            out.put_i32(-1);
            out.put_u16(0);
        }
    });
}

/// DataRow of text values.
pub fn data_row<'a>(out: &mut BytesMut, values: impl ExactSizeIterator<Item = Option<&'a [u8]>>) {
    frame(out, b'D', |out| {
        out.put_u16(values.len() as u16);
        for value in values {
            match value {
                Some(bytes) => {
                    out.put_i32(bytes.len() as i32);
                    out.put_slice(bytes);
                }
                None => out.put_i32(-1),
            }
        }
    });
}
