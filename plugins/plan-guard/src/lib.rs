//! Refuses statements whose plan promises too much work.
//!
//! The gate asks the database for the plan and compares; this policy says what is too much.

use std::fmt;

use portcullis_sdk::prelude::*;
use serde::de::{self, Deserializer, Visitor};

#[cfg(test)]
mod tests;

/// The policy.
#[derive(Debug)]
pub struct PlanGuard {
    written: Vec<(Measure, f64)>,
    usual: Vec<(Measure, f64)>,
}

/// What the operator may write.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    max_cost: Option<Limit>,
    max_rows: Option<Limit>,
    max_sequential_rows: Option<Limit>,
    max_sequential_scans: Option<Limit>,
    max_cross_joins: Option<Limit>,
}

/// A number, or `"off"`.
#[derive(Debug, Clone, Copy)]
enum Limit {
    Off,
    At(f64),
}

/// Far above ordinary work, below what keeps a server busy for an hour.
const USUAL_COST: f64 = 1e8;
const USUAL_ROWS: f64 = 1e8;
const USUAL_SEQUENTIAL_ROWS: f64 = 5e7;

impl Policy for PlanGuard {
    type Settings = Settings;

    fn configure(settings: Settings, _setup: &mut Setup) -> Result<Self, Vec<Issue>> {
        let limits = [
            (Measure::TotalCost, settings.max_cost, Some(USUAL_COST)),
            (Measure::Rows, settings.max_rows, Some(USUAL_ROWS)),
            (
                Measure::SequentialRows,
                settings.max_sequential_rows,
                Some(USUAL_SEQUENTIAL_ROWS),
            ),
            (
                Measure::SequentialScans,
                settings.max_sequential_scans,
                None,
            ),
            (Measure::CrossJoins, settings.max_cross_joins, None),
        ];
        let mut guard = PlanGuard {
            written: Vec::new(),
            usual: Vec::new(),
        };
        for (measure, written, usual) in limits {
            match (written, usual) {
                (Some(Limit::At(limit)), _) => guard.written.push((measure, limit)),
                (None, Some(limit)) => guard.usual.push((measure, limit)),
                (Some(Limit::Off), _) | (None, None) => {}
            }
        }
        Ok(guard)
    }

    fn judge(&self, statement: &Statement) -> Verdict {
        if !has_plan(statement) {
            return Verdict::pass();
        }
        // SQLite's planner estimates nothing. A limit somebody wrote down is asked for all
        // the same, and refused as impossible; the usual ones must not stop ordinary work.
        let usual = match statement.dialect() {
            Dialect::Sqlite => &[],
            _ => self.usual.as_slice(),
        };
        let limits = self.written.iter().chain(usual);
        limits.fold(Verdict::pass(), |verdict, (measure, limit)| {
            verdict.plan_max(*measure, *limit)
        })
    }
}

/// Rows that are given need no plan, and nothing else has one.
fn has_plan(statement: &Statement) -> bool {
    let given = statement.kind() == Kind::Insert && !statement.effects().contains(Effects::READS);
    statement.traits().contains(Traits::PLANNABLE) && !statement.is_plan_only() && !given
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrOff;
        impl Visitor<'_> for NumberOrOff {
            type Value = Limit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of 0 or more, or \"off\"")
            }

            fn visit_u64<E: de::Error>(self, limit: u64) -> Result<Limit, E> {
                Ok(Limit::At(limit as f64))
            }

            fn visit_f64<E: de::Error>(self, limit: f64) -> Result<Limit, E> {
                if limit.is_finite() && limit >= 0.0 {
                    Ok(Limit::At(limit))
                } else {
                    Err(E::invalid_value(de::Unexpected::Float(limit), &self))
                }
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Limit, E> {
                match word {
                    "off" => Ok(Limit::Off),
                    _ => Err(E::invalid_value(de::Unexpected::Str(word), &self)),
                }
            }
        }
        deserializer.deserialize_any(NumberOrOff)
    }
}

portcullis_sdk::export!(PlanGuard);
