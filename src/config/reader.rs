//! Reads a parsed table key by key and collects every problem on the way.
//!
//! serde stops at the first error and knows no column; this reader goes on,
//! and knows from [`super::reference`] which keys a table may have.

use std::cell::RefCell;
use std::ops::Range;
use std::time::Duration;

use toml::de::{DeInteger, DeTable, DeValue};

use super::diagnostic::{Diagnostic, nearest};
use super::reference;
use super::source::Source;
use super::timeouts::FOREVER;
use super::values;

/// Bytes of the file.
pub(super) type Span = Range<usize>;

/// Where problems go.
pub(super) struct Problems<'a> {
    pub(super) source: Source<'a>,
    list: RefCell<Vec<Diagnostic>>,
}

impl<'a> Problems<'a> {
    pub(super) fn new(source: Source<'a>) -> Self {
        Problems {
            source,
            list: RefCell::default(),
        }
    }

    pub(super) fn error(&self, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        self.push(Diagnostic::error(message), span, hint);
    }

    pub(super) fn warning(&self, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        self.push(Diagnostic::warning(message), span, hint);
    }

    fn push(&self, diagnostic: Diagnostic, span: Span, hint: impl Into<String>) {
        self.list
            .borrow_mut()
            .push(diagnostic.hint(hint).at(self.source.place(span)));
    }

    /// All of them, in the order of the file.
    pub(super) fn into_list(self) -> Vec<Diagnostic> {
        let mut list = self.list.into_inner();
        list.sort_by_key(|d| {
            d.place
                .as_ref()
                .map(|p| (p.position.line, p.position.column))
        });
        list
    }
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// One table of the file.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    pub(super) table: &'a DeTable<'a>,
    pub(super) problems: &'a Problems<'a>,
    start: usize,
    end: usize,
}

impl<'a> Table<'a> {
    /// Opens a table and reports the keys that its section does not have.
    pub(super) fn open(
        table: &'a DeTable<'a>,
        span: Span,
        section: &reference::Section,
        problems: &'a Problems<'a>,
    ) -> Table<'a> {
        for key in table.keys() {
            let name: &str = key.get_ref();
            if !section.has(name) {
                let hint = match nearest(name, section.names()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!(
                        "known keys: {}",
                        section.names().collect::<Vec<_>>().join(", ")
                    ),
                };
                let place = if section.path.is_empty() {
                    String::new()
                } else {
                    format!(" in `{}`", section.path)
                };
                problems.error(key.span(), format!("unknown key `{name}`{place}"), hint);
            }
        }
        Table {
            table,
            problems,
            start: span.start,
            end: span.end,
        }
    }

    /// Where the table stands (its header, or its braces).
    pub(super) fn span(&self) -> Span {
        self.start..self.end
    }

    pub(super) fn get(&self, key: &str) -> Option<At<&'a DeValue<'a>>> {
        let value = self.table.get(key)?;
        Some(At {
            value: value.get_ref(),
            span: value.span(),
        })
    }

    fn wrong_type(&self, key: &str, found: &At<&DeValue<'_>>, wanted: &str) {
        let message = format!("`{key}` must be {wanted}, not {}", type_name(found.value));
        self.problems.error(found.span.clone(), message, "");
    }

    /// A string.
    pub(super) fn text(&self, key: &str) -> Option<At<&'a str>> {
        let found = self.get(key)?;
        match found.value {
            DeValue::String(text) => Some(At {
                value: text.as_ref(),
                span: found.span,
            }),
            _ => {
                self.wrong_type(key, &found, "a string");
                None
            }
        }
    }

    /// A string that is needed and not empty.
    pub(super) fn needed_text(&self, key: &str) -> Option<At<&'a str>> {
        if !self.table.contains_key(key) {
            self.problems.error(
                self.span(),
                format!("`{key}` is missing"),
                format!("add `{key} = \"…\"`"),
            );
            return None;
        }
        let text = self.text(key)?;
        if text.value.is_empty() {
            self.problems
                .error(text.span, format!("`{key}` is empty"), "");
            return None;
        }
        Some(text)
    }

    /// A list of strings; empty when absent.
    pub(super) fn texts(&self, key: &str) -> Vec<At<&'a str>> {
        let Some(found) = self.get(key) else {
            return Vec::new();
        };
        let DeValue::Array(items) = found.value else {
            self.wrong_type(key, &found, "a list of strings");
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(text) => texts.push(At {
                    value: text.as_ref(),
                    span: item.span(),
                }),
                other => {
                    let found = At {
                        value: other,
                        span: item.span(),
                    };
                    self.wrong_type(key, &found, "a list of strings");
                }
            }
        }
        texts
    }

    /// A whole number within bounds; sizes may carry a unit (`"16 MiB"`).
    pub(super) fn number(&self, key: &str, bounds: std::ops::RangeInclusive<u64>) -> Option<usize> {
        let found = self.get(key)?;
        let number = match found.value {
            DeValue::Integer(integer) => integer_value(integer).and_then(|n| u64::try_from(n).ok()),
            DeValue::String(text) if key.contains("bytes") => values::size(text),
            _ => {
                let wanted = if key.contains("bytes") {
                    "a number of bytes or a size like \"16MiB\""
                } else {
                    "a whole number"
                };
                self.wrong_type(key, &found, wanted);
                return None;
            }
        };
        match number {
            Some(number) if bounds.contains(&number) => usize::try_from(number).ok(),
            _ => {
                let message = format!(
                    "`{key}` must be between {} and {}",
                    bounds.start(),
                    bounds.end()
                );
                self.problems.error(found.span, message, "");
                None
            }
        }
    }

    /// A duration like `"250ms"`.
    pub(super) fn duration(&self, key: &str) -> Option<Duration> {
        let found = self.get(key)?;
        let DeValue::String(text) = found.value else {
            self.wrong_type(key, &found, "a duration like \"250ms\" or \"5s\"");
            return None;
        };
        match values::duration(text) {
            Ok(duration) => Some(duration),
            Err(why) => {
                self.problems.error(
                    found.span,
                    format!("`{key}`: {why}"),
                    "write it like \"250ms\", \"5s\" or \"2m\"",
                );
                None
            }
        }
    }

    /// A duration, or `0` for one that never ends.
    pub(super) fn timeout(&self, key: &str) -> Option<Duration> {
        let found = self.get(key)?;
        let off = match found.value {
            DeValue::Integer(number) => integer_value(number) == Some(0),
            DeValue::String(text) => {
                let text: &str = text.trim();
                text.trim_end_matches(char::is_alphabetic).trim_end() == "0"
            }
            _ => false,
        };
        if off {
            return Some(FOREVER);
        }
        self.duration(key)
    }

    /// True or false.
    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        let found = self.get(key)?;
        match found.value {
            DeValue::Boolean(flag) => Some(*flag),
            _ => {
                self.wrong_type(key, &found, "true or false");
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Option<At<T>> {
        let text = self.text(key)?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text.value) {
            return Some(At {
                value: *value,
                span: text.span,
            });
        }
        let names: Vec<String> = choices
            .iter()
            .map(|(name, _)| format!("\"{name}\""))
            .collect();
        let hint = match nearest(text.value, choices.iter().map(|(name, _)| *name)) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => String::new(),
        };
        self.problems.error(
            text.span,
            format!("`{key}` must be {}", names.join(" or ")),
            hint,
        );
        None
    }

    /// A table inside this one.
    pub(super) fn table(&self, key: &str, section: &reference::Section) -> Option<Table<'a>> {
        let found = self.get(key)?;
        match found.value {
            DeValue::Table(table) => Some(Table::open(table, found.span, section, self.problems)),
            _ => {
                self.wrong_type(key, &found, &format!("a table, written [{key}]"));
                None
            }
        }
    }

    /// A list of tables; empty when absent.
    pub(super) fn tables(&self, key: &str, section: &reference::Section) -> Vec<Table<'a>> {
        let Some(found) = self.get(key) else {
            return Vec::new();
        };
        let wanted = format!("a list of tables, each written [[{key}]]");
        let DeValue::Array(items) = found.value else {
            self.wrong_type(key, &found, &wanted);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::Table(table) => {
                    tables.push(Table::open(table, item.span(), section, self.problems))
                }
                other => self.wrong_type(
                    key,
                    &At {
                        value: other,
                        span: item.span(),
                    },
                    &wanted,
                ),
            }
        }
        tables
    }
}

/// The value of an integer in any base TOML allows.
pub(super) fn integer_value(integer: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
