//! Settings of a policy: TOML → JSON text, and where each value stands.

use serde_json::{Map, Number, Value};
use toml::de::{DeTable, DeValue};

use super::Position;
use super::reader::{Problems, Span, integer_value};

/// Settings as JSON with the place of every value (RFC 6901 pointers).
pub(super) struct Settings {
    pub(super) json: Value,
    pub(super) positions: Vec<(String, Position)>,
}

/// Settings below `prefix`; `span` is where the table itself stands.
pub(super) fn settings(
    table: &DeTable<'_>,
    span: Span,
    prefix: &str,
    problems: &Problems<'_>,
) -> Settings {
    let mut reading = Reading {
        problems,
        lines: line_starts(problems.source.text),
        positions: Vec::new(),
    };
    let json = reading.table(table, span, prefix.to_owned());
    Settings {
        json,
        positions: reading.positions,
    }
}

/// No settings; a complaint about one that is missing points at `span`.
pub(super) fn empty(span: Span, problems: &Problems<'_>) -> Settings {
    let position = problems.source.position(span.start);
    Settings {
        json: Value::Object(Map::new()),
        positions: vec![(String::new(), position)],
    }
}

/// One token of a JSON pointer.
pub(super) fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0)
        .chain(text.match_indices('\n').map(|(at, _)| at + 1))
        .collect()
}

struct Reading<'a> {
    problems: &'a Problems<'a>,
    /// Thousands of values must not each count lines from the top.
    lines: Vec<usize>,
    positions: Vec<(String, Position)>,
}

impl Reading<'_> {
    fn position(&self, offset: usize) -> Position {
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = self
            .lines
            .get(line.saturating_sub(1))
            .copied()
            .unwrap_or_default();
        let column = self
            .problems
            .source
            .text
            .get(start..offset)
            .map_or(0, |text| text.chars().count());
        Position {
            line,
            column: column + 1,
        }
    }

    // The parser bounds nesting, so this recursion is bounded too.
    fn table(&mut self, table: &DeTable<'_>, span: Span, pointer: String) -> Value {
        let position = self.position(span.start);
        self.positions.push((pointer.clone(), position));
        let mut entries: Vec<_> = table.iter().collect();
        // The parser sorts by name, but the order of the file means something:
        // of two patterns that are equally specific the earlier one wins.
        entries.sort_by_key(|(key, _)| key.span().start);
        let mut map = Map::new();
        for (key, value) in entries {
            let name: &str = key.get_ref();
            let value = self.value(
                value.get_ref(),
                value.span(),
                format!("{pointer}/{}", escape(name)),
            );
            map.insert(name.to_owned(), value);
        }
        Value::Object(map)
    }

    fn value(&mut self, value: &DeValue<'_>, span: Span, pointer: String) -> Value {
        if let DeValue::Table(table) = value {
            return self.table(table, span, pointer);
        }
        let position = self.position(span.start);
        self.positions.push((pointer.clone(), position));
        match value {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Boolean(flag) => Value::Bool(*flag),
            DeValue::Datetime(datetime) => Value::String(datetime.to_string()),
            DeValue::Integer(integer) => match integer_value(integer) {
                Some(number) => Value::Number(number.into()),
                None => self.unusable(span, "the number is too large"),
            },
            DeValue::Float(float) => match float.as_str().parse().ok().and_then(Number::from_f64) {
                Some(number) => Value::Number(number),
                None => self.unusable(span, "settings cannot hold this number"),
            },
            DeValue::Array(items) => {
                let items = items.iter().enumerate();
                Value::Array(
                    items
                        .map(|(i, item)| {
                            self.value(item.get_ref(), item.span(), format!("{pointer}/{i}"))
                        })
                        .collect(),
                )
            }
            DeValue::Table(_) => Value::Null,
        }
    }

    fn unusable(&self, span: Span, message: &str) -> Value {
        self.problems.error(span, message, "");
        Value::Null
    }
}
