//! A simple Query that must be held: a block of the gate's own around it.

use std::rc::Rc;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Error;
use super::expected::{Expected, Run, Statements};
use super::held::{Count, Verified, readings};
use super::line::Needs;
use super::refuse;
use super::session::Session;
use crate::model::{Refusal, Statement, TransactionState, refusal::sqlstate};
use crate::policy::Permit;
use crate::safety::limit::{CountPlan, Readings, SETTLE_QUERY};
use crate::telemetry;
use crate::wire::postgres::encode;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) async fn run_query(
        &mut self,
        frame: &[u8],
        statements: Rc<[(Arc<Statement>, Permit)]>,
        needs: &[Rc<Needs>],
        spent: (u64, u64),
    ) -> Result<(), Error> {
        for ((statement, permit), needs) in statements.iter().zip(needs) {
            if !needs.plan || self.plan_is_good(statement, permit, None) {
                continue;
            }
            match self.check_plan(statement, permit, None).await? {
                Verified::Good => {}
                Verified::Refused(refusal) => {
                    let refused = refuse::by_host(refusal, permit);
                    self.refuse_simple(&statement.text, statement, &refused);
                    return Ok(());
                }
                Verified::Failed(body) => return self.fail_query(&body).await,
            }
        }
        let mut run = Run::new(
            Statements::Many(statements.clone()),
            true,
            spent,
            self.presence.asks(self.now()),
        );
        self.set_limits(&mut run, needs);
        let counted = needs
            .iter()
            .any(|needs| !matches!(needs.limits.changed, CountPlan::Nothing));
        let returned = needs.iter().any(|needs| needs.limits.returned.is_some());
        let passes = !counted
            && !self.own_block
            && (!returned || (needs.len() == 1 && needs[0].limits.read_only && self.executed == 0));
        if passes || self.facts.transaction == TransactionState::Failed {
            self.queue.push(Expected::Query(Box::new(run)));
            self.executed += 1;
            self.up.put_slice(frame);
            return Ok(());
        }
        if let Some((statement, permit)) =
            statements.iter().find(|(s, _)| s.facts.control.is_some())
        {
            let refusal = Refusal::gate(
                "string-control",
                sqlstate::NOT_SUPPORTED,
                "a string of statements under a row limit may not control the transaction itself",
            )
            .detail(format!(
                "The string contains {}.",
                statement.facts.kind.name().to_uppercase()
            ))
            .hint("Send the statements one by one.");
            self.unwatch(&run);
            let refused = refuse::by_host(refusal, permit);
            self.refuse_simple(&statement.text, statement, &refused);
            return Ok(());
        }
        let count = Count::of(needs.iter().map(|needs| &**needs), true);
        self.hold_query(frame, run, count).await
    }

    pub(super) fn set_limits(&mut self, run: &mut Run, needs: &[Rc<Needs>]) {
        for needs in needs {
            run.limits.push_back(needs.limits.returned.clone());
        }
        if run.limits.iter().any(Option::is_some) {
            self.watched += 1;
            run.watching += 1;
        }
        if let Some(first) = run.limits.pop_front() {
            let left = first.as_ref().map(|limit| limit.limit);
            run.rows_left = match (&run.statements, left) {
                (Statements::Many(list), Some(left)) if list.len() == 1 => {
                    Some(self.rows_left_of(run, left))
                }
                (_, left) => left,
            };
            run.limit = first;
        }
    }

    /// Runs a string inside a block and lets it stand only when verified.
    pub(super) async fn hold_query(
        &mut self,
        frame: &[u8],
        mut run: Run,
        mut count: Count,
    ) -> Result<(), Error> {
        // A block that the gate opened in the pipeline ends with the string.
        let adopted = std::mem::take(&mut self.own_block);
        let own = adopted || !self.in_block;
        if !self.in_block {
            self.write_simple("BEGIN");
        }
        if let Some(query) = count.query() {
            self.write_simple(&query);
        }
        if count.query().is_some() {
            self.settle().await?;
            let answer = std::mem::take(&mut self.own);
            if let Some(body) = answer.error {
                self.unwatch(&run);
                return self.end_query(own, Verified::Failed(body), None).await;
            }
            match readings(answer) {
                Ok(readings) => count.before = readings,
                Err(verdict) => {
                    self.unwatch(&run);
                    return self.end_query(own, verdict, None).await;
                }
            }
        }
        run.hold = true;
        self.tags.clear();
        self.queue.push(Expected::Query(Box::new(run)));
        self.up.put_slice(frame);
        self.settle().await?;
        let Some(run) = self.held_run.take() else {
            return Ok(());
        };
        if run.failed {
            self.held = None;
            // The error has been relayed already.
            return self
                .end_query(own, Verified::Failed(BytesMut::new()), Some(run))
                .await;
        }
        if let Some(error) = &run.over {
            // Too many rows came before the server could be stopped.
            self.held = None;
            if own {
                self.ask_simple("ROLLBACK").await?;
                self.outbox.extend_from_slice(error);
                encode::ready(&mut self.outbox, b'I');
            } else {
                self.refuse_query(error.clone());
            }
            self.record(
                &run,
                None,
                Some(sqlstate::ROW_LIMIT),
                telemetry::Outcome::Refused,
            );
            return Ok(());
        }
        let verdict = self.verify_query(&count).await?;
        self.end_query(own, verdict, Some(run)).await
    }

    pub(super) async fn verify_query(&mut self, count: &Count) -> Result<Verified, Error> {
        if count.settle {
            let answer = self.ask_simple(SETTLE_QUERY).await?;
            if let Some(error) = answer.error {
                return Ok(Verified::Failed(error));
            }
        }
        let after = match count.query() {
            Some(query) => match readings(self.ask_simple(&query).await?) {
                Ok(readings) => readings,
                Err(verdict) => return Ok(verdict),
            },
            None => Readings::default(),
        };
        let tags = std::mem::take(&mut self.tags);
        Ok(self.book(count, &after, &tags))
    }

    /// Ends a held string: COMMIT and the tag, or the error and ROLLBACK.
    pub(super) async fn end_query(
        &mut self,
        own: bool,
        verdict: Verified,
        run: Option<Box<Run>>,
    ) -> Result<(), Error> {
        let tag = self.held.take();
        match verdict {
            Verified::Good => {
                let failed = if own {
                    self.ask_simple("COMMIT").await?.error
                } else {
                    None
                };
                match (failed, tag) {
                    (Some(error), _) => {
                        encode::frame(&mut self.outbox, b'E', |out| out.put_slice(&error))
                    }
                    (None, Some(tag)) => self.outbox.extend_from_slice(&tag),
                    (None, None) => {}
                }
                if let Some(mut run) = run {
                    for at in 0..run.at {
                        run.at = at;
                        self.record(&run, None, None, telemetry::Outcome::Allowed);
                    }
                }
            }
            Verified::Refused(refusal) => {
                let refused = run
                    .as_ref()
                    .and_then(|run| run.statements.get(run.at.saturating_sub(1)));
                let (statement, permit) = match refused {
                    Some((statement, permit)) => (Some(statement.clone()), Some(permit.clone())),
                    None => (None, None),
                };
                let incident = self.incident();
                let text = statement.as_ref().map_or("", |s| &s.text).to_owned();
                self.record_refusal(
                    &text,
                    statement.as_deref(),
                    &refusal,
                    permit.as_ref().map(Permit::verdict),
                    false,
                    true,
                    &incident,
                );
                let error = refuse::message(&refusal, &incident);
                if !own {
                    self.refuse_query(error);
                    return Ok(());
                }
                self.ask_simple("ROLLBACK").await?;
                self.outbox.extend_from_slice(&error);
            }
            Verified::Failed(body) => {
                if own {
                    self.ask_simple("ROLLBACK").await?;
                }
                if !body.is_empty() {
                    encode::frame(&mut self.outbox, b'E', |out| out.put_slice(&body));
                }
            }
        }
        encode::ready(&mut self.outbox, self.facts.transaction.byte());
        Ok(())
    }

    /// Ends a string with the server's own error, which a probe met.
    pub(super) async fn fail_query(&mut self, body: &[u8]) -> Result<(), Error> {
        let mut error = BytesMut::new();
        encode::frame(&mut error, b'E', |out| out.put_slice(body));
        self.refuse_query(Rc::new(error));
        Ok(())
    }
}
