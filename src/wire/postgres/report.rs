//! ErrorResponse and NoticeResponse of a server, read and amended.

use bytes::{BufMut, BytesMut};

use super::encode;

/// The fields the gate looks at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Severity, not localized where the server sends it (9.6 and newer).
    pub severity: String,
    /// SQLSTATE.
    pub code: String,
    /// Message.
    pub message: String,
    /// Detail.
    pub detail: String,
    /// Hint.
    pub hint: String,
}

impl Report {
    /// Reads the body; unknown fields are skipped, bytes that are not UTF-8 replaced.
    pub fn read(body: &[u8]) -> Report {
        let mut report = Report::default();
        for (tag, text) in fields(body) {
            let text = String::from_utf8_lossy(text).into_owned();
            match tag {
                b'V' => report.severity = text,
                b'S' if report.severity.is_empty() => report.severity = text,
                b'C' => report.code = text,
                b'M' => report.message = text,
                b'D' => report.detail = text,
                b'H' => report.hint = text,
                _ => {}
            }
        }
        report
    }

    /// Whether the server ends the connection after it.
    pub fn is_fatal(&self) -> bool {
        self.severity == "FATAL" || self.severity == "PANIC"
    }
}

/// Tag and bytes of every field.
pub fn fields(body: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = body;
    std::iter::from_fn(move || {
        let (&tag, tail) = rest.split_first()?;
        if tag == 0 {
            return None;
        }
        let end = memchr::memchr(0, tail)?;
        rest = &tail[end + 1..];
        Some((tag, &tail[..end]))
    })
}

/// Copies an ErrorResponse, its position moved left by `characters`.
///
/// Used when the server saw the client's text behind a prefix of the gate's
/// (EXPLAIN); a position inside the prefix is dropped.
pub fn copy_shifted(out: &mut BytesMut, body: &[u8], characters: usize) {
    encode::frame(out, b'E', |out| {
        for (tag, text) in fields(body) {
            if tag == b'P' {
                let position = std::str::from_utf8(text)
                    .ok()
                    .and_then(|t| t.parse::<usize>().ok());
                if let Some(position) = position
                    .and_then(|p| p.checked_sub(characters))
                    .filter(|p| *p > 0)
                {
                    out.put_u8(tag);
                    encode::cstr(out, position.to_string().as_bytes());
                }
                continue;
            }
            out.put_u8(tag);
            encode::cstr(out, text);
        }
        out.put_u8(0);
    });
}

/// Copies an ErrorResponse with other names in its texts: `name` gets what
/// stands behind each `prefix` up to the next byte that is no digit.
pub fn copy_renamed(
    out: &mut BytesMut,
    body: &[u8],
    prefix: &[u8],
    name: impl Fn(u64) -> Option<Box<[u8]>>,
) {
    encode::frame(out, b'E', |out| {
        for (tag, text) in fields(body) {
            out.put_u8(tag);
            let mut rest = text;
            while let Some(at) = memchr::memmem::find(rest, prefix) {
                let behind = at + prefix.len();
                let digits = rest[behind..].iter().take_while(|b| b.is_ascii_digit());
                let end = behind + digits.count();
                let number = std::str::from_utf8(&rest[behind..end]).ok();
                let number = number.and_then(|digits| digits.parse().ok());
                match number.and_then(&name) {
                    Some(name) => {
                        out.put_slice(&rest[..at]);
                        out.put_slice(&name);
                    }
                    None => out.put_slice(&rest[..end]),
                }
                rest = &rest[end..];
            }
            encode::cstr(out, rest);
        }
        out.put_u8(0);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_put_back() {
        let body = b"SERROR\0Mno \"portcullis_12\", no \"portcullis_7\", portcullis_own\0\0";
        let mut out = BytesMut::new();
        copy_renamed(&mut out, body, b"portcullis_", |number| {
            (number == 12).then(|| Box::from(*b"mine"))
        });
        let message = fields(&out[5..]).find(|(tag, _)| *tag == b'M').unwrap().1;
        let expected = b"no \"mine\", no \"portcullis_7\", portcullis_own";
        assert_eq!(message, expected);
    }

    #[test]
    fn reads_fields_and_shifts_the_position() {
        let body = b"SERROR\0VERROR\0C42P01\0Mno\0P20\0\0";
        let report = Report::read(body);
        assert_eq!((report.code.as_str(), report.is_fatal()), ("42P01", false));
        let mut out = BytesMut::new();
        copy_shifted(&mut out, body, 15);
        assert!(fields(&out[5..]).any(|f| f == (b'P', b"5")));
        let mut out = BytesMut::new();
        copy_shifted(&mut out, body, 20);
        assert!(!fields(&out[5..]).any(|f| f.0 == b'P'));
    }

    #[test]
    fn survives_bodies_without_terminators() {
        assert_eq!(Report::read(b"Mabc"), Report::default());
        assert_eq!(Report::read(b""), Report::default());
    }
}
