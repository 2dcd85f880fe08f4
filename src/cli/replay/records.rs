//! A file of recorded statements, cut into records. Never fails on content:
//! what is cut off or odd is counted.

use std::io::{BufRead, Read as _};

use crate::sql::Lexer;
use crate::sql::lex::lex;

/// Longest record in bytes; a longer one is odd.
const RECORD_BYTES_MAX: usize = 8 << 20;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// PostgreSQL's log_destination = csvlog
    Csvlog,
    /// PostgreSQL's jsonlog, this gate's log, input of explain
    Jsonlog,
    /// SQL text
    Sql,
}

impl Format {
    /// Guesses from the beginning.
    pub(super) fn of(beginning: &[u8]) -> Format {
        let beginning = beginning.trim_ascii_start();
        if beginning.starts_with(b"{") {
            Format::Jsonlog
        } else if begins_csv(beginning) {
            Format::Csvlog
        } else {
            Format::Sql
        }
    }
}

/// Cuts one input into records.
pub(super) struct Records<R> {
    input: R,
    format: Format,
    lexer: Lexer,
    /// A line that was read and belongs to the next record.
    ahead: Vec<u8>,
    /// Bytes read so far.
    pub(super) bytes: u64,
    /// Lines and records that could not be used.
    pub(super) odd: u64,
    /// Data of a COPY follows, up to a line `\.`.
    data: bool,
}

impl<R: BufRead> Records<R> {
    pub(super) fn new(input: R, format: Format, lexer: Lexer) -> Records<R> {
        Records {
            input,
            format,
            lexer,
            ahead: Vec::new(),
            bytes: 0,
            odd: 0,
            data: false,
        }
    }

    /// The next record; none at the end.
    pub(super) fn next(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        match self.format {
            Format::Jsonlog => self.json(),
            Format::Csvlog => self.csv(),
            Format::Sql => self.sql(),
        }
    }

    /// One line with its end; empty at the end of the file.
    fn line(&mut self) -> std::io::Result<Vec<u8>> {
        if !self.ahead.is_empty() {
            return Ok(std::mem::take(&mut self.ahead));
        }
        let mut line = Vec::new();
        let limit = RECORD_BYTES_MAX as u64;
        let read = (&mut self.input).take(limit).read_until(b'\n', &mut line)?;
        self.bytes += read as u64;
        Ok(line)
    }

    fn json(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(None);
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line));
            }
        }
    }

    /// A record ends where every quote is closed. A crashed server leaves one
    /// open, so a line that begins like a record begins one all the same.
    fn csv(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let mut record = Vec::new();
        let mut quotes = 0;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                self.odd += u64::from(!record.is_empty());
                return Ok(None);
            }
            let begins = begins_csv(&line);
            if record.is_empty() && !begins {
                self.odd += u64::from(!line.trim_ascii().is_empty());
                continue;
            }
            if (begins && !record.is_empty()) || record.len() + line.len() > RECORD_BYTES_MAX {
                self.odd += 1;
                record.clear();
                quotes = 0;
                self.ahead = if begins { line } else { Vec::new() };
                continue;
            }
            quotes += line.iter().filter(|byte| **byte == b'"').count();
            record.extend(line);
            if quotes.is_multiple_of(2) {
                return Ok(Some(record));
            }
        }
    }

    /// A text ends with a line that ends with a semicolon outside of quotes and comments.
    fn sql(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let mut text = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Some(text).filter(|text| !text.trim_ascii().is_empty()));
            }
            let shown = line.trim_ascii();
            if self.data {
                self.data = shown != b"\\.";
                continue;
            }
            if text.is_empty() && (shown.is_empty() || shown.starts_with(b"\\")) {
                // A command of psql, not of the server.
                self.odd += u64::from(!shown.is_empty());
                continue;
            }
            let ends = shown.ends_with(b";");
            if text.len() + line.len() > RECORD_BYTES_MAX {
                self.odd += 1;
                text.clear();
                continue;
            }
            text.extend(line);
            if ends && self.is_whole(&text) {
                self.data = copies_in(&text);
                return Ok(Some(text));
            }
        }
    }

    /// Nothing is open at the end. Text that is wrong in itself is somebody's statement.
    fn is_whole(&self, text: &[u8]) -> bool {
        let text = String::from_utf8_lossy(text);
        match lex(&text, self.lexer) {
            Ok(_) => true,
            Err(error) => !error.what.contains("unterminated"),
        }
    }
}

/// `COPY … FROM stdin;`, as pg_dump writes it.
fn copies_in(text: &[u8]) -> bool {
    let text = text.trim_ascii().to_ascii_lowercase();
    text.starts_with(b"copy ") && text.ends_with(b"from stdin;")
}

/// `2026-11-22 10:00:00.000 UTC,`: how every record of csvlog begins.
fn begins_csv(line: &[u8]) -> bool {
    const FORM: &[u8] = b"0000-00-00 00:00:00";
    let fits = |(byte, form): (&u8, &u8)| match form {
        b'0' => byte.is_ascii_digit(),
        other => byte == other,
    };
    line.len() > FORM.len()
        && line.iter().zip(FORM).all(fits)
        && line[FORM.len()..].iter().take(24).any(|byte| *byte == b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(format: Format, text: &str) -> (Vec<String>, u64) {
        let mut records = Records::new(text.as_bytes(), format, Lexer::POSTGRES);
        let mut found = Vec::new();
        while let Some(record) = records.next().unwrap() {
            found.push(String::from_utf8(record).unwrap().trim().to_owned());
        }
        assert_eq!(records.bytes, text.len() as u64);
        (found, records.odd)
    }

    #[test]
    fn sql_is_cut_where_the_server_would_cut_it() {
        let text = "SELECT 1;\n\\d t\nSELECT\n ';\n', $$;\n$$ /* ;\n*/ -- ;\n;\nCOPY t FROM stdin;\n1\n\\.\nSELECT 2";
        let (found, odd) = cut(Format::Sql, text);
        assert_eq!(found.len(), 5, "{found:?}");
        assert_eq!(
            (&*found[0], &*found[3], &*found[4]),
            ("SELECT 1;", "COPY t FROM stdin;", "SELECT 2")
        );
        assert_eq!(odd, 1);
    }

    #[test]
    fn a_record_that_was_cut_off_costs_only_itself() {
        let whole = "2026-11-22 10:00:00.000 UTC,\"a\",\"x\ny\"";
        let cut_off = "2026-11-22 10:00:01.000 UTC,\"a\",\"never closed";
        let text = format!("rubbish\n{whole}\n{cut_off}\n{whole}\n{cut_off}");
        let (found, odd) = cut(Format::Csvlog, &text);
        assert_eq!(found, [whole, whole]);
        assert_eq!(odd, 3);
    }

    #[test]
    fn formats_are_told_apart_by_their_beginning() {
        assert_eq!(Format::of(b"\n{\"a\":1}"), Format::Jsonlog);
        assert_eq!(
            Format::of(b"2026-11-22 10:00:00.000 UTC,\"a\""),
            Format::Csvlog
        );
        assert_eq!(Format::of(b"SELECT 1"), Format::Sql);
        assert_eq!(Format::of(b""), Format::Sql);
    }
}
