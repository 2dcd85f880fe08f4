//! Looking at the plan before a statement runs.
//!
//! EXPLAIN, never ANALYZE, on the client's own link so that its search_path,
//! role, settings and temporary tables hold; in a read-only transaction or
//! savepoint that is rolled back, because the planner can run functions.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Error;
use super::held::Verified;
use super::hooks;
use super::known::Planned;
use super::own::Answer;
use super::session::Session;
use crate::model::{BindValue, Refusal, Statement, refusal::sqlstate};
use crate::policy::Permit;
use crate::safety::plan;
use crate::wire::postgres::{message, report};

const NO_ANSWER: &str = "the plan of this statement cannot be had";
const EXPLAIN: &str = "EXPLAIN (FORMAT JSON) ";
/// Bounds on what a probe may wait for.
const TIMEOUTS: &str = "SET LOCAL statement_timeout = '2s'";
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '500ms'";
const SAVEPOINT: &str = "SAVEPOINT portcullis_own";
const READ_ONLY: &str = "SET TRANSACTION READ ONLY";
const BACK: &str = "ROLLBACK TO SAVEPOINT portcullis_own";
const RELEASE: &str = "RELEASE SAVEPOINT portcullis_own";

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Checks the plan of a statement against its permit. `bound` holds
    /// parameter types and Bind's formats and values in the extended protocol.
    pub(super) async fn check_plan(
        &mut self,
        statement: &Arc<Statement>,
        permit: &Permit,
        bound: Option<(&[u32], &[u8])>,
    ) -> Result<Verified, Error> {
        let view = self.catalog.view();
        let (role, path) = (self.facts.role.clone(), self.facts.search_path.clone());
        let values = match bound {
            Some((types, rest)) => bind_values(types, rest)?,
            None => Vec::new(),
        };
        let asked = plan::PlanAsked {
            normalized: &statement.normalized,
            role: &role,
            search_path: path.as_deref(),
            settings: self.plan_settings(),
            plan_epoch: view
                .snapshot
                .as_ref()
                .map_or(0, |snapshot| snapshot.plan_epoch()),
            literals: crate::sql::literals(statement),
            values: &values,
        };
        let worker = self.worker.clone();
        // A policy that wants to see the plan itself is shown a fresh one.
        let wanted = worker.judge.borrow().wants_plan(permit);
        let known = (!wanted)
            .then(|| worker.plans.borrow_mut().get(&asked))
            .flatten();
        let measures = match known {
            Some(measures) => measures,
            None => {
                self.note_planned(statement);
                let answer = match bound {
                    Some((types, rest)) => self.explain_bound(&statement.text, types, rest).await?,
                    None => self.explain_text(&statement.text).await?,
                };
                let answer = match answer {
                    Ok(answer) => answer,
                    Err(verdict) => return Ok(verdict),
                };
                let Some(json) = explained(&answer) else {
                    return Ok(Verified::Refused(plan::unavailable(
                        permit.requirements(),
                        NO_ANSWER,
                    )));
                };
                let measures = Arc::new(plan::measures(&json));
                if wanted {
                    let plan = hooks::plan_input(&measures, &json);
                    let judged = self.judge_plan(statement, permit, &values, plan).await;
                    if let Err(refused) = judged {
                        return Ok(Verified::Refused(refused.refusal));
                    }
                }
                let reusable = view.snapshot.as_deref().is_some_and(|snapshot| {
                    plan::is_reusable(&json, &statement.facts, &statement.normalized, snapshot)
                });
                worker
                    .plans
                    .borrow_mut()
                    .insert(&asked, measures.clone(), reusable);
                measures
            }
        };
        Ok(match plan::check(&measures, permit.requirements()) {
            Ok(()) => Verified::Good,
            Err(refusal) => Verified::Refused(refusal),
        })
    }

    /// Whether the plan is known to be good, whatever the values are: then
    /// nothing has to be asked. `bound` as in [`Session::check_plan`].
    pub(super) fn plan_is_good(
        &self,
        statement: &Statement,
        permit: &Permit,
        bound: Option<(&[u32], usize)>,
    ) -> bool {
        let (types, count) = bound.unwrap_or((&[], 0));
        let planned = Planned {
            epoch: self.pulse().plan_epoch,
            settings: self.plan_settings(),
            kinds: statement.kinds,
            count,
        };
        let (found, verdict) = (self.found(statement), permit.shared_verdict());
        if found.is_planned(verdict, &planned, types) {
            return true;
        }
        let good = self.was_good(statement, permit, types, count);
        // Not with a reading older than what the numbers were told by.
        if good
            && planned.kinds.are_known()
            && self.catalog.pulse(self.now()).plan_epoch == planned.epoch
        {
            found.note_planned(verdict, planned, types);
        }
        good
    }

    fn was_good(
        &self,
        statement: &Statement,
        permit: &Permit,
        types: &[u32],
        count: usize,
    ) -> bool {
        // A policy that wants to see the plan is the judge of it, not the numbers.
        if self.worker.judge.borrow().wants_plan(permit) {
            return false;
        }
        let values: Vec<BindValue> = (0..count)
            .map(|at| BindValue {
                type_oid: types.get(at).copied().unwrap_or(0),
                binary: false,
                bytes: None,
            })
            .collect();
        let literals = match statement.facts.has_literals {
            true => &crate::sql::literals(statement)[..],
            false => &[],
        };
        let view = self.catalog.view();
        let asked = plan::PlanAsked {
            normalized: &statement.normalized,
            role: &self.facts.role,
            search_path: self.facts.search_path.as_deref(),
            settings: self.plan_settings(),
            plan_epoch: view
                .snapshot
                .as_ref()
                .map_or(0, |snapshot| snapshot.plan_epoch()),
            literals,
            values: &values,
        };
        let known = self.worker.plans.borrow_mut().get_reusable(&asked);
        known.is_some_and(|measures| plan::check(&measures, permit.requirements()).is_ok())
    }

    /// A number for the settings that plans depend on: all sessions that never
    /// changed any share one, every other state is of its own.
    fn plan_settings(&self) -> u64 {
        if self.plain_settings && self.facts.settings.is_empty() && !self.tainted {
            0
        } else {
            (self.id + 1) << 24 | self.facts.generation & 0xff_ffff
        }
    }

    /// Before a simple Query, whose arrival costs the client its unnamed statement anyway.
    async fn explain_text(&mut self, text: &str) -> Result<Result<Answer, Verified>, Error> {
        if self.executed > 0 && !self.in_block {
            let refusal = Refusal::gate(
                "plan",
                sqlstate::NOT_SUPPORTED,
                "the plan of a query inside an unfinished pipeline cannot be looked at",
            )
            .hint("Send Sync before the query.");
            return Ok(Err(Verified::Refused(refusal)));
        }
        let probe = if self.in_block {
            format!(
                "{SAVEPOINT}; {READ_ONLY}; {TIMEOUTS}; {LOCK_TIMEOUT}; {EXPLAIN}{text}\n; {BACK}; {RELEASE}"
            )
        } else {
            format!("BEGIN READ ONLY; {TIMEOUTS}; {LOCK_TIMEOUT}; {EXPLAIN}{text}\n; ROLLBACK")
        };
        let before = probe.find(EXPLAIN).unwrap_or(0) + EXPLAIN.len();
        let was_in_block = self.in_block;
        let mut answer = self.ask_simple(&probe).await?;
        if let Some(error) = answer.error.take() {
            let back = if was_in_block {
                format!("{BACK}; {RELEASE}")
            } else {
                "ROLLBACK".to_owned()
            };
            self.ask_simple(&back).await?;
            return Ok(Err(Verified::Failed(shifted(&error, before))));
        }
        Ok(Ok(answer))
    }

    /// Inside a pipeline.
    async fn explain_bound(
        &mut self,
        text: &str,
        types: &[u32],
        values: &[u8],
    ) -> Result<Result<Answer, Verified>, Error> {
        let Some(values) = message::without_result_formats(values) else {
            return Ok(Err(Verified::Refused(Refusal::gate(
                "plan",
                sqlstate::PLAN_LIMIT,
                NO_ANSWER,
            ))));
        };
        if self.executed > 0 && !self.in_block {
            // Adopts the implicit transaction; COMMIT comes with the client's Sync.
            self.write_own("BEGIN", NO_VALUES, &[]);
            self.own_block = true;
            self.in_block = true;
        }
        let explain = format!("{EXPLAIN}{text}");
        if self.in_block {
            for text in [SAVEPOINT, READ_ONLY, TIMEOUTS, LOCK_TIMEOUT] {
                self.write_own(text, NO_VALUES, &[]);
            }
            self.write_own(&explain, &values, types);
            for text in [BACK, RELEASE] {
                self.write_own(text, NO_VALUES, &[]);
            }
        } else {
            for text in ["BEGIN READ ONLY", TIMEOUTS, LOCK_TIMEOUT] {
                self.write_own(text, NO_VALUES, &[]);
            }
            self.write_own(&explain, &values, types);
            self.write_own("ROLLBACK", NO_VALUES, &[]);
        }
        let opened = !self.in_block;
        self.settle().await?;
        let mut answer = std::mem::take(&mut self.own);
        if let Some(error) = answer.error.take() {
            // The block the probe opened is still there, failed: Sync must end it.
            self.own_block |= opened;
            return Ok(Err(Verified::Failed(shifted(&error, EXPLAIN.len()))));
        }
        Ok(Ok(answer))
    }
}

/// Bind without values, all results as text.
const NO_VALUES: &[u8] = b"\0\0\0\0\0\0";

fn explained(answer: &Answer) -> Option<serde_json::Value> {
    let text = answer
        .rows
        .iter()
        .find_map(|row| row.first()?.as_ref().filter(|v| v.starts_with(b"[")))?;
    serde_json::from_slice(text).ok()
}

/// The values of a Bind with their declared types.
fn bind_values(types: &[u32], rest: &[u8]) -> Result<Vec<BindValue>, Error> {
    let bind = message::Bind {
        portal: b"",
        statement: b"",
        rest,
    };
    let values = bind.values().map_err(Error::Client)?;
    let typed = values.into_iter().enumerate().map(|(i, value)| BindValue {
        type_oid: types.get(i).copied().unwrap_or(0),
        binary: value.binary,
        bytes: value.bytes,
    });
    Ok(typed.collect())
}

fn shifted(body: &[u8], characters: usize) -> BytesMut {
    let mut out = BytesMut::new();
    report::copy_shifted(&mut out, body, characters);
    let mut body = BytesMut::with_capacity(out.len());
    body.put_slice(&out[crate::wire::postgres::frame::HEADER..]);
    body
}
