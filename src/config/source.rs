//! From byte offsets to places in a file, with secrets masked.

use std::ops::Range;
use std::sync::Arc;

use super::Position;
use super::diagnostic::{Place, distance};

/// A text with a name, to turn byte offsets into places.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Name shown to people.
    pub file: &'a str,
    /// The whole text.
    pub text: &'a str,
}

impl Source<'_> {
    /// Line and column (both 1-based, the column in characters) of a byte offset.
    pub fn position(&self, offset: usize) -> Position {
        let offset = floor(self.text, offset);
        let before = &self.text[..offset];
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        Position {
            line: before.bytes().filter(|b| *b == b'\n').count() + 1,
            column: self.text[start..offset].chars().count() + 1,
        }
    }

    /// The place of a range of bytes; what runs past the line is cut.
    pub fn place(&self, span: Range<usize>) -> Place {
        let start = floor(self.text, span.start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..]
            .find('\n')
            .map_or(self.text.len(), |at| start + at);
        let line = self.text[line_start..line_end].trim_end_matches('\r');
        let from = (start - line_start).min(line.len());
        let to = floor(self.text, span.end.max(start))
            .min(line_start + line.len())
            .max(line_start + from)
            - line_start;
        let (line, before, width) = mask(line, from, to);
        Place {
            file: Arc::from(self.file),
            position: self.position(start),
            line,
            before,
            width: width.max(1),
        }
    }

    /// The place of a position, underlined to the end of the word or string that starts there.
    pub fn place_at(&self, position: Position) -> Place {
        let line_start: usize = self
            .text
            .split_inclusive('\n')
            .take(position.line.saturating_sub(1))
            .map(str::len)
            .sum();
        let rest = &self.text[line_start..];
        let line = rest.split('\n').next().unwrap_or_default();
        let start: usize = line
            .chars()
            .take(position.column.saturating_sub(1))
            .map(char::len_utf8)
            .sum();
        let width = token_bytes(&line[start..]);
        self.place(line_start + start..line_start + start + width)
    }
}

/// The nearest character boundary at or before an offset.
fn floor(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// Bytes of the string or bare word at the start of a line's rest.
fn token_bytes(rest: &str) -> usize {
    match rest.bytes().next() {
        Some(quote @ (b'"' | b'\'')) => rest[1..]
            .bytes()
            .position(|b| b == quote)
            .map_or(rest.trim_end().len(), |at| at + 2),
        _ => rest
            .find(|c: char| c.is_whitespace() || ",=]}".contains(c))
            .unwrap_or(rest.len()),
    }
}

/// A line as it may be shown: `(text, characters before the span, characters of the span)`.
///
/// A file with a misspelt key may hold its password on the very line that is
/// quoted, so values of keys that look like secrets and passwords inside URLs
/// are replaced, whatever the parser made of them.
fn mask(line: &str, from: usize, to: usize) -> (String, usize, usize) {
    let secrets = secret_spans(line);
    let mut out = String::new();
    let (mut before, mut through) = (0, 0);
    let mut shown = 0;
    for (at, c) in line.char_indices() {
        match secrets.iter().find(|span| span.contains(&at)) {
            Some(span) if span.start == at => {
                out.push_str("***");
                shown += 3;
            }
            Some(_) => {}
            None => {
                out.push(c);
                shown += 1;
            }
        }
        if at < from {
            before = shown;
        }
        if at < to {
            through = shown;
        }
    }
    // A caret that starts inside a secret points at its first star.
    if let Some(span) = secrets
        .iter()
        .find(|span| span.start < from && span.contains(&from))
    {
        return (out, line[..span.start].chars().count(), 3);
    }
    (out, before, through.saturating_sub(before))
}

fn secret_spans(line: &str) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let bytes = line.as_bytes();
    for (at, _) in line.match_indices('=') {
        let key = line[..at].trim_end().trim_end_matches(['"', '\'']);
        let start = key
            .rfind(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))
            .map_or(0, |i| i + 1);
        // `start` may be inside a multi-byte character that is no word character.
        let key = key.get(start..).unwrap_or_default().to_lowercase();
        if !looks_secret(&key) {
            continue;
        }
        let value = at + 1 + line[at + 1..].len() - line[at + 1..].trim_start().len();
        let span = match bytes.get(value) {
            Some(quote @ (b'"' | b'\'')) => {
                let inner = value
                    + line[value..]
                        .bytes()
                        .take_while(|b| b == quote)
                        .count()
                        .max(1);
                let end = line[inner..]
                    .bytes()
                    .position(|b| b == *quote)
                    .map_or(line.len(), |i| inner + i);
                inner..end
            }
            _ => {
                value
                    ..line[value..]
                        .find([',', '}', '#', ' '])
                        .map_or(line.len(), |i| value + i)
            }
        };
        // A reference is not the secret itself, and people need to read it.
        let text = &line[span.clone()];
        if !span.is_empty() && !text.starts_with("env:") && !text.starts_with("file:") {
            spans.push(span);
        }
    }
    for (at, _) in line.match_indices("://") {
        let rest = &line[at + 3..];
        let authority = &rest[..rest.find(['/', '"', '\'']).unwrap_or(rest.len())];
        // The last `@`, because an unescaped one may stand in the password.
        if let (Some(host), Some(colon)) = (rest.rfind('@'), authority.find(':'))
            && colon + 1 < host
        {
            spans.push(at + 3 + colon + 1..at + 3 + host);
        }
    }
    spans
}

fn looks_secret(key: &str) -> bool {
    ["pass", "pwd", "secret", "token"]
        .iter()
        .any(|word| key.contains(word))
        || distance(key, "password") <= 3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::diagnostic::{Diagnostic, nearest};

    fn shown(text: &str, span: Range<usize>) -> String {
        let place = Source {
            file: "f.toml",
            text,
        }
        .place(span);
        Diagnostic::error("wrong")
            .hint("do better")
            .at(place)
            .to_string()
    }

    #[test]
    fn points_at_the_first_and_the_last_line() {
        let text = "ab = 1\ncd = 2";
        assert_eq!(
            shown(text, 0..2),
            "error: wrong\n --> f.toml:1:1\n1 | ab = 1\n  | ^^ do better\n"
        );
        assert_eq!(
            shown(text, 12..13),
            "error: wrong\n --> f.toml:2:6\n2 | cd = 2\n  |      ^ do better\n"
        );
        assert_eq!(
            shown(text, 13..13),
            "error: wrong\n --> f.toml:2:7\n2 | cd = 2\n  |       ^ do better\n"
        );
    }

    #[test]
    fn counts_characters_and_not_bytes() {
        let text = "größe = \"é\" # x\n";
        let at = text.find('"').unwrap();
        assert_eq!(
            shown(text, at..at + 4),
            "error: wrong\n --> f.toml:1:9\n1 | größe = \"é\" # x\n  |         ^^^ do better\n"
        );
    }

    #[test]
    fn leaves_carriage_returns_out() {
        let text = "a = 1\r\nb = 22\r\n";
        assert_eq!(
            shown(text, 11..13),
            "error: wrong\n --> f.toml:2:5\n2 | b = 22\n  |     ^^ do better\n"
        );
        assert_eq!(
            shown(text, 11..15),
            "error: wrong\n --> f.toml:2:5\n2 | b = 22\n  |     ^^ do better\n"
        );
    }

    #[test]
    fn survives_any_offset() {
        for text in ["", "\n", "é", "a\r\n\r\n", "p = \"ä", "password=é"] {
            for start in 0..text.len() + 3 {
                for end in 0..text.len() + 3 {
                    shown(text, start..end);
                }
            }
            for line in 0..4 {
                for column in 0..12 {
                    Source { file: "f", text }.place_at(Position { line, column });
                }
            }
        }
    }

    #[test]
    fn never_quotes_a_secret() {
        for line in [
            "password = \"hunter2\"",
            "pasword='hunter2'",
            "server = { user = \"a\", passwd = \"hunter2\", x = 1 }",
            "password = \"hunter2",
            "password = hunter2 # comment",
            "\"password\" = \"\"\"hunter2",
            "backend = \"postgres://app:hunter2@db/app\"",
            "backend = \"postgres://app:hunter2@x/@db/app",
            "backend = \"postgres://app:hunter2/x@db/app\"",
        ] {
            for at in 0..line.len() {
                let shown = shown(line, at..line.len());
                assert!(!shown.contains("hunter2"), "{shown}");
            }
        }
        assert!(shown("password = \"env:APP\"", 0..3).contains("env:APP"));
    }

    #[test]
    fn puts_the_caret_right_behind_a_masked_secret() {
        let line = "s = { password = \"hunter2\", x = 1 }";
        let at = line.find("x =").unwrap();
        assert_eq!(
            shown(line, at..at + 1),
            "error: wrong\n --> f.toml:1:29\n1 | s = { password = \"***\", x = 1 }\n  |                         ^ do better\n"
        );
    }

    #[test]
    fn suggests_what_was_meant() {
        let keys = ["max", "mode", "wait_timeout", "password"];
        assert_eq!(nearest("pasword", keys), Some("password"));
        assert_eq!(nearest("wait-timeout", keys), Some("wait_timeout"));
        assert_eq!(nearest("mdoe", keys), Some("mode"));
        assert_eq!(nearest("colour", keys), None);
    }
}
