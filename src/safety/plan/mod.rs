//! Plans: what a statement would cost, before it runs.
//!
//! The session asks the database for a plan (EXPLAIN, never ANALYZE, in a
//! read-only transaction that is rolled back, because planning can run
//! functions), [`measures`] reads it, [`check`] compares it with what the permit
//! allows, [`PlanCache`] spares the next statement the question where that is
//! sound ([`is_reusable`]).
//!
//! Deliberately not here: the question itself. Estimates are the planner's; a
//! limit on them is a fence against accidents, the row limits are the wall.
//!
//! Read [`measures`] first, then `reuse`.

mod cache;
mod condition;
mod explain;
mod reuse;
mod sqlite;

use std::sync::Arc;

use crate::model::refusal::sqlstate;
use crate::model::{Measure, Refusal, Requirement, RequirementKind};

pub use cache::{PlanAsked, PlanCache};
pub use explain::{TableRows, measures, measures_with};
pub use reuse::{Uniqueness, is_reusable};
pub use sqlite::sqlite_scan_measures;

/// The numbers of a plan that may be bounded. None: this database does not say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlanMeasures {
    /// Total cost of the most expensive plan.
    pub total_cost: Option<f64>,
    /// Estimated rows of the plan with the most rows; for a change the rows that would be changed.
    pub rows: Option<f64>,
    /// Rows of the largest table that is read from end to end.
    pub sequential_rows: Option<f64>,
    /// The tables that are read from end to end, largest first.
    pub sequential_scans: Vec<Scan>,
    /// Joins without a condition: what is on their two sides.
    pub cross_joins: Vec<(Arc<str>, Arc<str>)>,
    /// The top node of the most expensive plan, for messages.
    pub top: Arc<str>,
    /// The plan says less than `cross_joins` being empty would mean.
    pub scans_only: bool,
}

/// A table read from end to end.
#[derive(Debug, Clone, PartialEq)]
pub struct Scan {
    /// Table.
    pub table: Arc<str>,
    /// Its rows, as far as known.
    pub rows: Option<f64>,
}

impl PlanMeasures {
    /// The number of a measure; none when this plan does not tell.
    pub fn value(&self, measure: Measure) -> Option<f64> {
        match measure {
            Measure::TotalCost => self.total_cost,
            Measure::Rows => self.rows,
            Measure::SequentialRows => self.sequential_rows,
            Measure::SequentialScans => Some(self.sequential_scans.len() as f64),
            Measure::CrossJoins if self.scans_only => None,
            Measure::CrossJoins => Some(self.cross_joins.len() as f64),
        }
    }
}

/// Whether any requirement needs a plan.
pub fn is_wanted(requirements: &[Requirement]) -> bool {
    requirements.iter().any(|requirement| {
        matches!(
            requirement.kind,
            RequirementKind::PlanMax { .. } | RequirementKind::WantPlan
        )
    })
}

/// Compares a plan with every bound on it. What the database does not say is refused, naming it.
pub fn check(measures: &PlanMeasures, requirements: &[Requirement]) -> Result<(), Refusal> {
    for requirement in requirements {
        let RequirementKind::PlanMax { measure, limit } = requirement.kind else {
            continue;
        };
        let Some(value) = measures.value(measure) else {
            return Err(refusal(
                requirement,
                measure,
                format!("the plan does not tell its {}", measure.name()),
            )
            .hint("take this limit out of the policy's settings for this database"));
        };
        // Written so that a value that is no number is refused, too.
        let fits = value <= limit;
        if !fits {
            return Err(exceeded(measures, requirement, measure, value, limit));
        }
    }
    Ok(())
}

/// The refusal when no plan could be had in time.
pub fn unavailable(requirements: &[Requirement], why: &str) -> Refusal {
    let wanted = |requirement: &&Requirement| is_wanted(std::slice::from_ref(*requirement));
    let policy = requirements.iter().find(wanted).map_or_else(
        || Arc::from("gate"),
        |requirement| Arc::clone(&requirement.policy),
    );
    Refusal {
        policy,
        ..Refusal::gate(
            "plan",
            sqlstate::PLAN_LIMIT,
            "the plan of the statement cannot be had",
        )
    }
    .detail(why)
    .hint("try again; the policy does not let the statement run without a look at its plan")
}

fn refusal(requirement: &Requirement, measure: Measure, message: String) -> Refusal {
    Refusal {
        policy: Arc::clone(&requirement.policy),
        ..Refusal::gate(measure.name(), sqlstate::PLAN_LIMIT, message)
    }
}

fn exceeded(
    measures: &PlanMeasures,
    requirement: &Requirement,
    measure: Measure,
    value: f64,
    limit: f64,
) -> Refusal {
    let (value, limit) = (number(value), number(limit));
    let top = &measures.top;
    let (message, detail, hint) = match measure {
        Measure::TotalCost => (
            format!("the plan costs {value}, the limit is {limit}"),
            format!("the most expensive node is {top}"),
            "narrow the statement with a WHERE clause that an index serves, or with a LIMIT"
                .to_owned(),
        ),
        Measure::Rows => (
            format!("the plan expects {value} rows, the limit is {limit}"),
            format!("estimated at {top}"),
            "narrow the statement with a WHERE clause or a LIMIT".to_owned(),
        ),
        Measure::SequentialRows | Measure::SequentialScans => {
            let tables: Vec<&str> = measures
                .sequential_scans
                .iter()
                .map(|scan| &*scan.table)
                .take(5)
                .collect();
            let first = tables.first().copied().unwrap_or("a table");
            let message = match measure {
                Measure::SequentialRows => {
                    format!("the plan reads all {value} rows of \"{first}\", the limit is {limit}")
                }
                _ => format!("the plan reads {value} tables from end to end, the limit is {limit}"),
            };
            (
                message,
                format!("sequential scan on {}", tables.join(", ")),
                format!(
                    "add a WHERE clause on an indexed column of \"{first}\", or an index for the one you have"
                ),
            )
        }
        Measure::CrossJoins => {
            let sides = measures.cross_joins.first();
            let (left, right) = sides.map_or(("", ""), |(left, right)| (&**left, &**right));
            (
                format!("the plan holds {value} joins without a condition, the limit is {limit}"),
                format!("every row of {left} is joined with every row of {right}"),
                "say in ON or WHERE how the tables belong together".to_owned(),
            )
        }
    };
    refusal(requirement, measure, message)
        .detail(detail)
        .hint(hint)
}

/// Without digits that mean nothing.
fn number(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 1000.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests;
