//! What names and strings stand for, once quotes and escapes are resolved.

use std::borrow::Cow;

use crate::model::Dialect;

use super::{Form, NAME_BYTES_MAX, Tok, Token};

/// Folds a bare word as the server does: ASCII to lower case, cut at 63 bytes.
pub fn fold_word(word: &str) -> String {
    let mut folded = word.to_ascii_lowercase();
    cut(&mut folded);
    folded
}

fn cut(name: &mut String) {
    if name.len() > NAME_BYTES_MAX {
        let mut end = NAME_BYTES_MAX;
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
    }
}

/// The name a token stands for. SQLite compares names without case, quoted or not,
/// and does not cut them.
pub fn name_of(token: &Token, source: &str, dialect: Dialect) -> String {
    let text = token.text(source);
    let mut name = match (token.kind, token.form) {
        (Tok::Quoted | Tok::String, _) => text_of(token, source).into_owned(),
        _ => text.to_ascii_lowercase(),
    };
    if dialect == Dialect::Sqlite {
        name.make_ascii_lowercase();
    } else {
        cut(&mut name);
    }
    name
}

/// The value of a string or quoted name without quotes and with escapes
/// resolved; every other token as written.
pub fn text_of<'a>(token: &Token, source: &'a str) -> Cow<'a, str> {
    let text = token.text(source);
    let quote = match (token.kind, token.form) {
        (Tok::String, Form::Dollar) => return Cow::Borrowed(dollar_body(text)),
        (Tok::String, _) => '\'',
        (Tok::Quoted, Form::Backtick) => '`',
        (Tok::Quoted, Form::Bracket) => {
            return Cow::Borrowed(
                text.strip_prefix('[')
                    .and_then(|t| t.strip_suffix(']'))
                    .unwrap_or(text),
            );
        }
        (Tok::Quoted, _) => '"',
        _ => return Cow::Borrowed(text),
    };
    let (body, tail) = body(text, quote);
    match token.form {
        Form::Unicode => Cow::Owned(unicode(body, quote, tail)),
        Form::Escape => Cow::Owned(escapes(body)),
        _ if body.contains(quote) => Cow::Owned(doubled(body, quote)),
        _ => Cow::Borrowed(body),
    }
}

fn dollar_body(text: &str) -> &str {
    let tag = text
        .get(1..)
        .and_then(|rest| rest.find('$'))
        .map_or(0, |at| at + 2);
    text.len()
        .checked_sub(tag)
        .and_then(|end| text.get(tag..end))
        .unwrap_or("")
}

/// Between the first and the last quote of the string; a UESCAPE character behind it.
fn body(text: &str, quote: char) -> (&str, char) {
    let start = text.find(quote).map_or(0, |at| at + 1);
    let (text, escape) = match text.as_bytes() {
        [.., b'\'', escape, b'\''] if *escape < 0x80 && has_uescape(text) => {
            let cut = text.len() - 3;
            let head = text[..cut].trim_end();
            (
                &head[..head.len().saturating_sub("uescape".len())],
                *escape as char,
            )
        }
        _ => (text, '\\'),
    };
    let end = text.rfind(quote).unwrap_or(start);
    (text.get(start..end).unwrap_or(""), escape)
}

fn has_uescape(text: &str) -> bool {
    let head = text[..text.len() - 3].trim_end_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
    head.len() >= 7
        && head.as_bytes()[head.len() - 7..].eq_ignore_ascii_case(b"uescape")
        && matches!(text.as_bytes(), [b'u' | b'U', b'&', ..])
}

/// A doubled quote is one; a single one ends a part that is continued on a later line.
fn doubled(body: &str, quote: char) -> String {
    let mut out = String::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest.find(quote) {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(quote) {
            out.push(quote);
            rest = after;
        } else {
            rest = rest.find(quote).map_or("", |next| &rest[next + 1..]);
        }
    }
    out.push_str(rest);
    out
}

fn unicode(body: &str, quote: char, escape: char) -> String {
    let plain = if body.contains(quote) {
        doubled(body, quote)
    } else {
        body.to_owned()
    };
    let mut out = String::with_capacity(plain.len());
    let mut rest = plain.as_str();
    let mut high: Option<u32> = None;
    while let Some(at) = rest.find(escape) {
        out.push_str(&rest[..at]);
        rest = &rest[at + escape.len_utf8()..];
        if let Some(after) = rest.strip_prefix(escape) {
            out.push(escape);
            rest = after;
            continue;
        }
        let (from, digits) = if rest.starts_with('+') {
            (1, 6)
        } else {
            (0, 4)
        };
        let Some(code) = rest
            .get(from..from + digits)
            .and_then(|hex| u32::from_str_radix(hex, 16).ok())
        else {
            out.push(escape);
            continue;
        };
        rest = &rest[from + digits..];
        push_code(&mut out, &mut high, code);
    }
    out.push_str(rest);
    out
}

/// Surrogate pairs may be written as two escapes.
fn push_code(out: &mut String, high: &mut Option<u32>, code: u32) {
    match (high.take(), code) {
        (_, 0xd800..=0xdbff) => *high = Some(code),
        (Some(first), 0xdc00..=0xdfff) => {
            let joined = 0x10000 + ((first - 0xd800) << 10) + (code - 0xdc00);
            out.push(char::from_u32(joined).unwrap_or('\u{fffd}'));
        }
        _ => out.push(char::from_u32(code).unwrap_or('\u{fffd}')),
    }
}

/// `E'…'`: the escapes of C, octal, hexadecimal, and Unicode.
fn escapes(body: &str) -> String {
    let mut out = Vec::with_capacity(body.len());
    let mut high = None;
    let bytes = body.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'\'' if bytes.get(at) == Some(&b'\'') => {
                out.push(b'\'');
                at += 1;
            }
            // The end of a part that is continued on a later line.
            b'\'' => {
                at = bytes[at..]
                    .iter()
                    .position(|b| *b == b'\'')
                    .map_or(bytes.len(), |next| at + next + 1)
            }
            b'\\' => at = one_escape(bytes, at, &mut out, &mut high),
            _ => out.push(byte),
        }
    }
    String::from_utf8(out)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn one_escape(bytes: &[u8], at: usize, out: &mut Vec<u8>, high: &mut Option<u32>) -> usize {
    let Some(&kind) = bytes.get(at) else {
        return at;
    };
    let number = |from: usize, most: usize, radix: u32| {
        let digits = bytes[from..]
            .iter()
            .take(most)
            .take_while(|b| (**b as char).is_digit(radix))
            .count();
        let text = std::str::from_utf8(&bytes[from..from + digits]).unwrap_or("");
        (u32::from_str_radix(text, radix).ok(), from + digits)
    };
    match kind {
        b'b' => out.push(8),
        b'f' => out.push(12),
        b'n' => out.push(b'\n'),
        b'r' => out.push(b'\r'),
        b't' => out.push(b'\t'),
        b'v' => out.push(11),
        b'0'..=b'7' => {
            let (code, next) = number(at, 3, 8);
            out.push(code.unwrap_or(0) as u8);
            return next;
        }
        b'x' => {
            let (code, next) = number(at + 1, 2, 16);
            match code {
                Some(code) => out.push(code as u8),
                None => out.push(b'x'),
            }
            return next;
        }
        b'u' | b'U' => {
            let (code, next) = number(at + 1, if kind == b'u' { 4 } else { 8 }, 16);
            let mut text = String::new();
            if let Some(code) = code {
                push_code(&mut text, high, code);
            }
            out.extend_from_slice(text.as_bytes());
            return next;
        }
        other => out.push(other),
    }
    at + 1
}
