//! Takes every constant out of a text before it is written anywhere.
//!
//! Normalized text still holds the constants that decide what a statement is;
//! in a log they may be passwords all the same.

/// The text with `?` for strings and numbers.
pub(super) fn masked(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'\'' => match string_end(bytes, at) {
                Some(end) => end,
                None => {
                    // Whether it ends here depends on settings of the session: better to say too little.
                    out.push_str("?…");
                    return out;
                }
            },
            b'$' => dollar_end(text, at).unwrap_or(at),
            b'0'..=b'9' if !in_word(bytes, at) => {
                at + bytes[at..].iter().take_while(|b| is_number(**b)).count()
            }
            b'"' => {
                let end = at + 1 + bytes[at + 1..].iter().take_while(|b| **b != b'"').count();
                out.push_str(&text[at..(end + 1).min(text.len())]);
                at = (end + 1).min(text.len());
                continue;
            }
            _ => at,
        };
        if end > at {
            out.push('?');
            at = end;
        } else {
            let next = text[at..].chars().next().map_or(1, char::len_utf8);
            out.push_str(&text[at..at + next]);
            at += next;
        }
    }
    out
}

/// Behind the closing quote; none when that cannot be known.
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let escapes = start > 0
        && matches!(bytes[start - 1], b'e' | b'E')
        && (start < 2 || !in_word(bytes, start - 1));
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if escapes => at += 1,
            b'\\' if bytes.get(at + 1) == Some(&b'\'') => return None,
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => at += 1,
            b'\'' => return Some(at + 1),
            _ => {}
        }
        at += 1;
    }
    Some(bytes.len())
}

/// Behind a dollar-quoted string; none for a parameter.
fn dollar_end(text: &str, start: usize) -> Option<usize> {
    let rest = &text[start + 1..];
    let tag = rest.find('$')?;
    let word = |c: char| c == '_' || c.is_alphanumeric();
    if !rest[..tag].chars().all(word)
        || rest.starts_with(|c: char| c.is_ascii_digit())
        || in_word(text.as_bytes(), start)
    {
        return None;
    }
    let quote = &text[start..start + tag + 2];
    let body = start + quote.len();
    Some(
        text[body..]
            .find(quote)
            .map_or(text.len(), |end| body + end + quote.len()),
    )
}

/// Whether the byte before belongs to a word, or makes it a parameter.
fn in_word(bytes: &[u8], at: usize) -> bool {
    at > 0
        && (bytes[at - 1].is_ascii_alphanumeric() || matches!(bytes[at - 1], b'_' | b'$' | 0x80..))
}

fn is_number(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_constant_survives() {
        for (text, shown) in [
            (
                "select 'hunter2', 4111, t1.x from t1 limit 10",
                "select ?, ?, t1.x from t1 limit ?",
            ),
            ("alter role a password 'it''s'", "alter role a password ?"),
            ("select e'a\\'hunter2', 1.5e3", "select e?, ?"),
            ("select 'a\\' , 'hunter2'", "select ?…"),
            ("do $x$ hunter2 $x$", "do ?"),
            ("do $$ hunter2", "do ?"),
            ("select $1, \"o'x\" , 'hunter2'", "select $1, \"o'x\" , ?"),
            ("select 'hunter2", "select ?"),
            (
                "insert into größe values ('é', ?)",
                "insert into größe values (?, ?)",
            ),
        ] {
            assert_eq!(masked(text), shown);
        }
    }

    #[test]
    fn survives_any_text() {
        for text in [
            "$", "'", "\"", "$é$", "é$a$", "e'", "1é", "\\'", "'\\", "e'\\", "$a$é$a",
        ] {
            masked(text);
        }
    }
}
