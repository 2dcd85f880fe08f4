//! Limits how many rows of a table one statement may return and one
//! transaction may change, by whatever way it gets there.
//!
//! The policy only says which limits there are; the gate counts, where counting
//! is exact. TRUNCATE and DROP have no rows to count and are refused.

use std::fmt;

use portcullis_sdk::prelude::*;
use serde::de::{self, Deserializer, MapAccess, Visitor};

#[cfg(test)]
mod tests;

/// The policy.
#[derive(Debug)]
pub struct TableLimit {
    tables: Names,
    limits: Vec<Limit>,
}

/// Patterns and their limits, in the order of the file.
#[derive(Debug)]
pub struct Settings(Vec<(String, Limit)>);

/// Rows; none: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit {
    changed: Option<u64>,
    returned: Option<u64>,
}

impl Policy for TableLimit {
    type Settings = Settings;

    fn configure(settings: Settings, setup: &mut Setup) -> Result<Self, Vec<Issue>> {
        let (patterns, limits): (Vec<String>, Vec<Limit>) = settings.0.into_iter().unzip();
        for (pattern, limit) in patterns.iter().zip(&limits) {
            if limit.changed.is_none() && limit.returned.is_none() {
                let place = format!("/{}", pattern.replace('~', "~0").replace('/', "~1"));
                setup.issue(
                    Issue::new(place, "limits nothing")
                        .hint("Write a number, or a table with `changed`, `returned` or both."),
                );
            }
        }
        Ok(TableLimit {
            tables: setup.name_keys("", &patterns),
            limits,
        })
    }

    fn judge(&self, statement: &Statement) -> Verdict {
        if self.tables.is_empty() || statement.is_plan_only() || !can_reach_tables(statement) {
            return Verdict::pass();
        }
        if let Some((table, rows)) = self.limited(statement, Kind::Truncate, Access::TRUNCATE) {
            let message = format!("TRUNCATE of {table} is not permitted: {}", at_most(rows));
            return Verdict::refuse("truncate", message).hint(
                "Delete the rows you mean with a WHERE clause, in portions within the limit.",
            );
        }
        if let Some((table, rows)) = self.limited(statement, Kind::Drop, Access::DROP) {
            let message = format!("DROP of {table} is not permitted: {}", at_most(rows));
            return Verdict::refuse("drop", message)
                .hint("Ask an operator to drop the table, or to take its limit away first.");
        }
        // All limits, whatever the text names: a view, a trigger or a cascade may lead
        // to any table. The gate knows the catalog and keeps those that apply.
        let limits = self.limits.iter().enumerate();
        limits.fold(Verdict::pass(), |verdict, (index, limit)| {
            verdict.table_rows_max(self.tables, index, limit.changed, limit.returned)
        })
    }
}

impl TableLimit {
    /// A table with a limit on changes that the statement empties or drops. The
    /// text of an opaque statement of that kind proves only names.
    fn limited(&self, statement: &Statement, kind: Kind, access: Access) -> Option<(String, u64)> {
        let access = if statement.kind() == kind {
            Access::ANY
        } else {
            access
        };
        statement.find_all(self.tables, access).find_map(|table| {
            let rows = self.limits.get(table.pattern(self.tables)?)?.changed?;
            Some((table.qualified(), rows))
        })
    }
}

fn at_most(rows: u64) -> String {
    let noun = if rows == 1 { "row" } else { "rows" };
    format!("at most {rows} {noun} of it may be changed at once")
}

/// Control of transaction and session reaches no table; nor does PREPARE, whose
/// EXECUTE is judged on its own.
fn can_reach_tables(statement: &Statement) -> bool {
    let harmless = Effects::TRANSACTION | Effects::SESSION;
    if statement.is_opaque() {
        return !statement.traits().contains(Traits::HARMLESS);
    }
    statement.kind() != Kind::Prepare && !harmless.contains(statement.effects())
}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Settings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of name patterns and limits")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Settings, A::Error> {
                let mut limits = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    limits.push(entry);
                }
                Ok(Settings(limits))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Separate {
            changed: Option<u64>,
            returned: Option<u64>,
        }
        struct NumberOrTable;
        impl<'de> Visitor<'de> for NumberOrTable {
            type Value = Limit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of rows or { changed = …, returned = … }")
            }

            fn visit_u64<E: de::Error>(self, rows: u64) -> Result<Limit, E> {
                Ok(Limit {
                    changed: Some(rows),
                    returned: Some(rows),
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Limit, A::Error> {
                let limit = Separate::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(Limit {
                    changed: limit.changed,
                    returned: limit.returned,
                })
            }
        }
        deserializer.deserialize_any(NumberOrTable)
    }
}

portcullis_sdk::export!(TableLimit);
