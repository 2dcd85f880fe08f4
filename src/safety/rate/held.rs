//! The cells a session has charged before, found again without the table.

use std::sync::Arc;
use std::time::Instant;

use super::cell::{Cell, Quota};
use super::key::{Asked, Class};
use super::{Rates, no_room, refusal};
use crate::model::{Client, Kind, Refusal, Requirement, RequirementKind, SessionFacts, Verdict};

/// Verdicts whose cells a session keeps.
const KEPT_MAX: usize = 4;

/// What one session has charged before. A cell that is held here is not
/// forgotten by the table, so that both always mean the same one.
#[derive(Default)]
pub struct Held(Vec<Charged>);

struct Charged {
    verdict: Arc<Verdict>,
    /// The application's name may be part of a key.
    session: u64,
    class: Class,
    /// With the index of the requirement each stands for.
    cells: Box<[(Arc<Cell>, Quota, usize)]>,
}

impl Rates {
    /// As [`Rates::charge`], for a session that keeps what it found.
    pub fn charge_held(
        &self,
        held: &mut Held,
        verdict: &Arc<Verdict>,
        client: &Client,
        session: &SessionFacts,
        kind: Kind,
        now: Instant,
    ) -> Result<(), Refusal> {
        let now = now.saturating_duration_since(self.start).as_nanos();
        let now = u64::try_from(now).unwrap_or(u64::MAX / 2);
        let class = Class::of(kind);
        let same = |charged: &Charged| {
            Arc::ptr_eq(&charged.verdict, verdict)
                && charged.session == session.generation
                && charged.class == class
        };
        let at = match held.0.iter().position(same) {
            Some(at) => at,
            None => {
                let asked = Asked {
                    client,
                    session,
                    kind,
                    database: &client.database,
                };
                let cells = self.cells(&verdict.requirements, &asked, now)?;
                if held.0.len() >= KEPT_MAX {
                    held.0.remove(0);
                }
                held.0.push(Charged {
                    verdict: verdict.clone(),
                    session: session.generation,
                    class,
                    cells: cells.into(),
                });
                held.0.len() - 1
            }
        };
        match held.0.get(at) {
            Some(charged) => charge(&verdict.requirements, &charged.cells, now),
            None => Ok(()),
        }
    }

    /// The cell of each rate among the requirements.
    pub(super) fn cells(
        &self,
        requirements: &[Requirement],
        asked: &Asked<'_>,
        now: u64,
    ) -> Result<Vec<(Arc<Cell>, Quota, usize)>, Refusal> {
        let mut cells = Vec::new();
        for (index, requirement) in requirements.iter().enumerate() {
            let RequirementKind::Rate {
                bucket,
                by,
                burst,
                period_ms,
            } = &requirement.kind
            else {
                continue;
            };
            let key = asked.key(&requirement.policy, bucket, *by);
            let Some(cell) = self.cell(&key, now) else {
                return Err(no_room(requirement));
            };
            cells.push((cell, Quota::new(*burst, *period_ms), index));
        }
        Ok(cells)
    }
}

/// Charges every cell, or none.
pub(super) fn charge(
    requirements: &[Requirement],
    cells: &[(Arc<Cell>, Quota, usize)],
    now: u64,
) -> Result<(), Refusal> {
    let refused = |index: usize, wait: u64| match requirements.get(index) {
        Some(requirement) => refusal(requirement, wait),
        None => Refusal::gate(
            "rate",
            crate::model::refusal::sqlstate::RATE,
            "rate limit exceeded",
        ),
    };
    for (cell, quota, index) in cells {
        cell.adopt(*quota, now);
        // A single one finds out by charging.
        if cells.len() > 1
            && let Some(wait) = cell.peek(*quota, now)
        {
            return Err(refused(*index, wait));
        }
    }
    for (at, (cell, quota, index)) in cells.iter().enumerate() {
        let Err(wait) = cell.charge(*quota, now) else {
            continue;
        };
        // Somebody was quicker between the check and the charge.
        for (cell, quota, _) in cells.iter().take(at) {
            cell.refund(*quota);
        }
        return Err(refused(*index, wait));
    }
    Ok(())
}
