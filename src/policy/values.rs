//! Questions about literals and bind values, answered without copying them.

use std::borrow::Cow;

use super::setup::Names;
use super::subject::View;
use crate::model::pattern::{NAME_BYTES_MAX, cut};
use crate::model::{BindValue, Literal, Statement, ValueFeatures};

/// Longer values have the feature LONG.
const LONG_BYTES: usize = 1024;

/// How far an equation is looked at to each side of its sign.
const SIDE_BYTES_MAX: usize = 64;

/// OR over all string literals and bind values.
pub(super) fn features(view: &View<'_>) -> ValueFeatures {
    let mut found = ValueFeatures::empty();
    for bytes in texts(view) {
        found |= features_of(bytes);
    }
    if crate::sql::is_spliced(view.statement) {
        found |= ValueFeatures::SPLICED;
    }
    found
}

/// The first pattern whose name stands as a whole word in a value.
pub(super) fn mentions(view: &View<'_>, names: &Names) -> Option<u32> {
    let mut best: Option<u32> = None;
    for bytes in texts(view) {
        for word in words(bytes) {
            if let Some(index) = word_matches(word, names) {
                best = Some(best.map_or(index, |best| best.min(index)));
            }
        }
    }
    best
}

/// The text form of a bind value; none for NULL.
pub(super) fn text_form(value: &BindValue) -> Option<Cow<'_, str>> {
    let bytes = value.bytes.as_deref()?;
    if !value.binary || is_text(value.type_oid) {
        return Some(String::from_utf8_lossy(bytes));
    }
    Some(Cow::Owned(
        binary_text(value.type_oid, bytes).unwrap_or_else(|| hex(bytes)),
    ))
}

/// Bytes worth looking at: numbers, dates and the like hold no words and no quotes.
fn texts<'v>(view: &View<'v>) -> impl Iterator<Item = &'v [u8]> {
    let literals = known_literals(view.statement)
        .iter()
        .filter(|l| l.string)
        .map(|l| l.value.as_bytes());
    let worth = |value: &&BindValue| !(value.binary && is_plain_binary(value.type_oid));
    let values = view
        .bind_values()
        .iter()
        .filter(worth)
        .filter_map(|value| value.bytes.as_deref());
    literals.chain(values)
}

/// Most statements hold no strings, and then nothing is read again.
fn known_literals(statement: &Statement) -> &[Literal] {
    if statement.facts.has_literals && statement.kinds.may_hold_text() {
        crate::sql::literals(statement)
    } else {
        &[]
    }
}

fn features_of(bytes: &[u8]) -> ValueFeatures {
    let mut found = ValueFeatures::empty();
    if bytes.len() > LONG_BYTES {
        found |= ValueFeatures::LONG;
    }
    let mut previous = 0;
    for &byte in bytes {
        found |= match byte {
            b'\'' | b'"' => ValueFeatures::QUOTE,
            b'(' if inside(&previous) => ValueFeatures::CALL,
            b';' => ValueFeatures::SEMICOLON,
            b'\\' => ValueFeatures::BACKSLASH,
            b'-' if previous == b'-' => ValueFeatures::COMMENT,
            b'*' if previous == b'/' => ValueFeatures::COMMENT,
            b'/' if previous == b'*' => ValueFeatures::COMMENT,
            b'\t' | b'\n' | b'\r' => ValueFeatures::empty(),
            0..=31 | 127 => ValueFeatures::CONTROL,
            128.. => ValueFeatures::NON_ASCII,
            _ => ValueFeatures::empty(),
        };
        previous = byte;
    }
    if words(bytes).any(is_keyword) {
        found |= ValueFeatures::KEYWORD;
    }
    if memchr::memchr_iter(b'=', bytes).any(|at| is_equation(bytes, at)) {
        found |= ValueFeatures::EQUATION;
    }
    found
}

/// The words on both sides of the sign are one.
fn is_equation(bytes: &[u8], sign: usize) -> bool {
    let between = |byte: &u8| matches!(byte, b' ' | b'\'' | b'"' | b'(' | b')' | b'\t' | b'\n');
    let (left, right) = (&bytes[..sign], &bytes[sign + 1..]);
    // Longer runs are no equation anybody would inject, and must cost nothing.
    let left = &left[left.len().saturating_sub(SIDE_BYTES_MAX)..];
    let right = &right[..right.len().min(SIDE_BYTES_MAX)];
    let end = left
        .iter()
        .rposition(|byte| !between(byte))
        .map_or(0, |at| at + 1);
    let start = left[..end]
        .iter()
        .rposition(|byte| !inside(byte))
        .map_or(0, |at| at + 1);
    let from = right
        .iter()
        .position(|byte| !between(byte))
        .unwrap_or(right.len());
    let length = right[from..].iter().take_while(|byte| inside(byte)).count();
    let (a, b) = (&left[start..end], &right[from..from + length]);
    !a.is_empty() && a.eq_ignore_ascii_case(b)
}

/// Part of a word.
fn inside(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 128..)
}

fn is_keyword(word: &[u8]) -> bool {
    const KEYWORDS: [&[u8]; 22] = [
        b"select",
        b"insert",
        b"update",
        b"delete",
        b"merge",
        b"truncate",
        b"drop",
        b"alter",
        b"create",
        b"grant",
        b"revoke",
        b"union",
        b"intersect",
        b"except",
        b"copy",
        b"execute",
        b"call",
        b"where",
        b"from",
        b"into",
        b"having",
        b"pg_sleep",
    ];
    KEYWORDS
        .iter()
        .any(|keyword| keyword.eq_ignore_ascii_case(word))
}

fn words(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split(|byte| !inside(byte))
        .filter(|word| !word.is_empty())
}

/// Matches a word as written and folded, without allocating.
fn word_matches(word: &[u8], names: &Names) -> Option<u32> {
    let letters = word
        .iter()
        .any(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | 128..));
    if !letters && !names.digits {
        return None;
    }
    let word = cut(std::str::from_utf8(word).ok()?);
    let mut buffer = [0; NAME_BYTES_MAX];
    let folded = buffer.get_mut(..word.len())?;
    folded.copy_from_slice(word.as_bytes());
    folded.make_ascii_lowercase();
    let folded = std::str::from_utf8(folded).ok()?;
    let bare = names.relations.first_named(folded);
    if folded == word {
        bare
    } else {
        [bare, names.relations.first_named(word)]
            .into_iter()
            .flatten()
            .min()
    }
}

/// text, varchar, bpchar, name, json, xml, char, unknown, and what the client left to the server.
fn is_text(oid: u32) -> bool {
    matches!(oid, 0 | 25 | 1043 | 1042 | 19 | 114 | 142 | 18 | 705)
}

/// Types whose binary form is a number of fixed size.
fn is_plain_binary(oid: u32) -> bool {
    matches!(
        oid,
        16 | 20 | 21 | 23 | 26 | 700 | 701 | 1082 | 1083 | 1114 | 1184 | 1186 | 1266 | 1700 | 2950
    )
}

fn binary_text(oid: u32, bytes: &[u8]) -> Option<String> {
    Some(match oid {
        16 => if bytes == [1] { "t" } else { "f" }.to_owned(),
        20 => i64::from_be_bytes(bytes.try_into().ok()?).to_string(),
        21 => i16::from_be_bytes(bytes.try_into().ok()?).to_string(),
        23 => i32::from_be_bytes(bytes.try_into().ok()?).to_string(),
        26 => u32::from_be_bytes(bytes.try_into().ok()?).to_string(),
        700 => f32::from_be_bytes(bytes.try_into().ok()?).to_string(),
        701 => f64::from_be_bytes(bytes.try_into().ok()?).to_string(),
        3802 => String::from_utf8(bytes.get(1..)?.to_vec()).ok()?,
        2950 if bytes.len() == 16 => uuid(bytes),
        _ => return None,
    })
}

fn uuid(bytes: &[u8]) -> String {
    let hex = hex(bytes);
    let at = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!(
        "{}-{}-{}-{}-{}",
        at(2, 10),
        at(10, 14),
        at(14, 18),
        at(18, 22),
        at(22, 34)
    )
}

/// As bytea is written.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::from("\\x"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(type_oid: u32, binary: bool, bytes: &'static [u8]) -> BindValue {
        BindValue {
            type_oid,
            binary,
            bytes: Some(bytes::Bytes::from_static(bytes)),
        }
    }

    #[test]
    fn names_what_is_in_a_value() {
        let cases: &[(&[u8], ValueFeatures)] = &[
            (b"plain", ValueFeatures::empty()),
            (b"O'Brien", ValueFeatures::QUOTE),
            (b"a--b", ValueFeatures::COMMENT),
            (b"a-b", ValueFeatures::empty()),
            (b"/*", ValueFeatures::COMMENT),
            (
                b"1; DROP",
                ValueFeatures::SEMICOLON.union(ValueFeatures::KEYWORD),
            ),
            (b"dropped", ValueFeatures::empty()),
            (b"or 1=1", ValueFeatures::EQUATION),
            (b"x = X", ValueFeatures::EQUATION),
            (b"a=b&c=d", ValueFeatures::empty()),
            (b"abc=", ValueFeatures::empty()),
            (
                b"'a'='a",
                ValueFeatures::EQUATION.union(ValueFeatures::QUOTE),
            ),
            (b"f(1)", ValueFeatures::CALL),
            (b"f (1)", ValueFeatures::empty()),
            (b"a\0", ValueFeatures::CONTROL),
            (b"a\tb\n", ValueFeatures::empty()),
            (b"c:\\x", ValueFeatures::BACKSLASH),
            ("ä".as_bytes(), ValueFeatures::NON_ASCII),
            (&[b'x'; 1025], ValueFeatures::LONG),
        ];
        for (bytes, expected) in cases {
            assert_eq!(
                features_of(bytes),
                *expected,
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    #[test]
    fn writes_binary_values_as_the_server_does() {
        assert_eq!(
            text_form(&value(23, true, &[255, 255, 255, 254])).as_deref(),
            Some("-2")
        );
        assert_eq!(text_form(&value(25, true, b"x")).as_deref(), Some("x"));
        assert_eq!(text_form(&value(16, true, &[1])).as_deref(), Some("t"));
        assert_eq!(
            text_form(&value(17, true, &[1, 171])).as_deref(),
            Some("\\x01ab")
        );
        assert_eq!(
            text_form(&value(3802, true, b"\x01{}")).as_deref(),
            Some("{}")
        );
        assert_eq!(
            text_form(&value(23, true, &[1])).as_deref(),
            Some("\\x01"),
            "a wrong length is shown, not trusted"
        );
        let id = value(
            2950,
            true,
            b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef",
        );
        assert_eq!(
            text_form(&id).as_deref(),
            Some("01234567-89ab-cdef-0123-456789abcdef")
        );
    }
}
