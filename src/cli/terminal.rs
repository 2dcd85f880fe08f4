//! How the program speaks: colours only on a terminal, problems on standard error.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use crate::config::Diagnostic;

/// The command line or the configuration is wrong (`EX_USAGE`).
pub(super) const USAGE: u8 = 64;

/// Colours for one stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint(bool);

impl Paint {
    /// For standard output.
    pub(super) fn stdout() -> Paint {
        Paint(std::io::stdout().is_terminal() && wanted())
    }

    /// For standard error.
    pub(super) fn stderr() -> Paint {
        Paint(std::io::stderr().is_terminal() && wanted())
    }

    /// Never any.
    #[cfg(test)]
    pub(super) fn plain() -> Paint {
        Paint(false)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    pub(super) fn good(self, text: &str) -> String {
        self.with("1;32", text)
    }

    pub(super) fn bad(self, text: &str) -> String {
        self.with("1;31", text)
    }

    pub(super) fn odd(self, text: &str) -> String {
        self.with("1;33", text)
    }
}

/// https://no-color.org, and terminals that cannot.
fn wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Prints diagnostics to standard error; true when one of them is an error.
pub(super) fn complain(list: &[Diagnostic]) -> bool {
    let Paint(colour) = Paint::stderr();
    let mut out = std::io::stderr().lock();
    for diagnostic in list {
        let _ = write!(out, "{}", diagnostic.render(colour));
    }
    list.iter().any(Diagnostic::is_error)
}

/// Prints an error with its causes.
pub(super) fn fail(error: &dyn std::error::Error) -> ExitCode {
    let paint = Paint::stderr();
    let mut out = std::io::stderr().lock();
    let _ = writeln!(out, "{}: {error}", paint.bad("error"));
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = writeln!(out, "  because: {error}");
        cause = error.source();
    }
    ExitCode::FAILURE
}

/// Prints text to standard output. A reader that has gone away (`| head`) is no error.
pub(super) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// Width that tables keep to.
const WIDTH: usize = 80;

/// Narrowest column that text is folded into; below it goes under its row.
const NARROW: usize = 24;

/// Rows under a heading, each column as wide as it needs. What would not fit in
/// 80 columns is folded in the last one.
pub(super) fn table(head: &[&str], rows: &[Vec<String>], paint: Paint) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (cell, width) in cells.zip(&widths) {
            let pad = width - cell.chars().count().min(*width);
            line.push_str(cell);
            line.push_str(&" ".repeat(pad + 2));
        }
        line.trim_end().to_owned()
    };
    let before: usize = widths.iter().rev().skip(1).map(|width| width + 2).sum();
    let indent = if before + NARROW <= WIDTH { before } else { 4 };
    let mut out = paint.bold(&line(&mut head.iter().copied()));
    out.push('\n');
    for row in rows {
        let whole = line(&mut row.iter().map(String::as_str));
        if whole.chars().count() <= WIDTH {
            out.push_str(&whole);
            out.push('\n');
            continue;
        }
        let (last, rest) = row
            .split_last()
            .map_or(("", &row[..]), |(last, rest)| (last.as_str(), rest));
        let mut lines = fold(last, WIDTH - indent).into_iter();
        let mut first = line(&mut rest.iter().map(String::as_str));
        if indent == before {
            let pad = indent.saturating_sub(first.chars().count());
            first.push_str(&" ".repeat(pad));
            first.push_str(&lines.next().unwrap_or_default());
        }
        out.push_str(first.trim_end());
        out.push('\n');
        for more in lines {
            out.push_str(&" ".repeat(indent));
            out.push_str(&more);
            out.push('\n');
        }
    }
    out
}

/// Lines of at most so many characters, broken at spaces where there are any.
fn fold(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let length = word.chars().count();
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + length <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => {
                let letters: Vec<char> = word.chars().collect();
                let pieces = letters.chunks(width.max(1));
                lines.extend(pieces.map(|piece| piece.iter().collect::<String>()));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_keep_to_eighty_columns() {
        let note = "set by somebody with a name until 2026-11-23T03:54:36Z; in quarantine";
        let row =
            |name: &str, note: &str| vec![name.to_owned(), "monitor".to_owned(), note.to_owned()];
        let rows = [
            row("short", "fine"),
            row("a-policy-with-a-name-of-its-own", note),
            row("unbroken", &"x".repeat(100)),
        ];
        let narrow = [row(&"n".repeat(60), note)];
        for rows in [&rows[..], &narrow[..]] {
            let shown = table(&["POLICY", "MODE", ""], rows, Paint::plain());
            for line in shown.lines() {
                assert!(line.chars().count() <= 80, "{shown}");
            }
            let flat: String = shown.split_whitespace().collect();
            for row in rows {
                for cell in row {
                    let cell: String = cell.split_whitespace().collect();
                    assert!(flat.contains(&cell), "{cell} is missing from\n{shown}");
                }
            }
        }
    }
}
