//! What is wrong with a file, where, and what to write instead.

use std::fmt::Write as _;
use std::sync::Arc;

use super::Position;

/// How much a diagnostic matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// The file cannot be used.
    Error,
    /// The file can be used; somebody should look.
    Warning,
}

/// One problem, with everything that is needed to print it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub level: Level,
    /// What is wrong, lower case, no full stop.
    pub message: String,
    /// What to write instead. Empty: nothing is known to help.
    pub hint: String,
    /// Where; none when the problem has no place in a file.
    pub place: Option<Place>,
}

/// A place in a file with its line, secrets in it already masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// File name as given.
    pub file: Arc<str>,
    /// First character.
    pub position: Position,
    /// The whole line, secrets masked.
    pub line: String,
    /// Characters before the caret in `line`.
    pub before: usize,
    /// Characters that the caret underlines, at least one.
    pub width: usize,
}

impl Diagnostic {
    /// An error without a place.
    pub fn error(message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            level: Level::Error,
            message: message.into(),
            hint: String::new(),
            place: None,
        }
    }

    /// A warning without a place.
    pub fn warning(message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            level: Level::Warning,
            ..Diagnostic::error(message)
        }
    }

    /// With a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Diagnostic {
        self.hint = hint.into();
        self
    }

    /// At a place.
    pub fn at(mut self, place: Place) -> Diagnostic {
        self.place = Some(place);
        self
    }

    /// Whether it makes the file unusable.
    pub fn is_error(&self) -> bool {
        self.level == Level::Error
    }

    /// Ready to print, ended by a line feed.
    pub fn render(&self, colour: bool) -> String {
        let paint = |code: &str, text: &str| {
            if colour {
                format!("\x1b[{code}m{text}\x1b[0m")
            } else {
                text.to_owned()
            }
        };
        let (tone, word) = match self.level {
            Level::Error => ("1;31", "error"),
            Level::Warning => ("1;33", "warning"),
        };
        let mut out = format!(
            "{}{}\n",
            paint(tone, word),
            paint("1", &format!(": {}", self.message))
        );
        let Some(place) = &self.place else {
            if !self.hint.is_empty() {
                let _ = writeln!(out, "  {}", self.hint);
            }
            return out;
        };
        let Position { line, column } = place.position;
        let gutter = line.to_string().len();
        let blank = " ".repeat(gutter);
        let _ = writeln!(
            out,
            "{blank}{} {}:{line}:{column}",
            paint("1;34", "-->"),
            place.file
        );
        let _ = writeln!(
            out,
            "{} {}",
            paint("1;34", &format!("{line} |")),
            place.line
        );
        // Tabs are repeated so that the caret stands where the eye expects it.
        let indent: String = place
            .line
            .chars()
            .take(place.before)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let caret = paint(tone, &"^".repeat(place.width));
        let hint = if self.hint.is_empty() {
            String::new()
        } else {
            format!(" {}", self.hint)
        };
        let _ = writeln!(
            out,
            "{blank} {} {indent}{caret}{}",
            paint("1;34", "|"),
            paint(tone, &hint)
        );
        out
    }
}

impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// The candidate that was most likely meant, if one is close.
pub fn nearest<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let folded = written.to_lowercase().replace('-', "_");
    candidates
        .into_iter()
        .map(|candidate| {
            (
                distance(&folded, &candidate.to_lowercase().replace('-', "_")),
                candidate,
            )
        })
        .filter(|(distance, candidate)| *distance <= candidate.len().max(written.len()) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, remove, replace, swap of neighbours) between two words.
pub(super) fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) =
        (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let cost = usize::from(a[i - 1] != b[j - 1]);
                let mut best = (rows[i - 1][j] + 1)
                    .min(rows[i][j - 1] + 1)
                    .min(rows[i - 1][j - 1] + cost);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
}
