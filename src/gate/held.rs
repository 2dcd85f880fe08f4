//! The slow way: what must happen around a permitted statement.
//!
//! Whatever would commit is held until the rows it changed have been counted.
//! In a pipeline that is the client's next message (Sync above all): nothing is
//! taken from the client while a statement is held. A simple Query goes behind
//! a BEGIN of the gate's own, and its last command tag waits for COMMIT.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Error;
use super::client::Job;
use super::expected::{Expected, Run, Statements};
use super::line::Needs;
use super::names::Portal;
use super::own::Answer;
use super::refuse;
use super::session::Session;
use crate::backend::postgres::catalog::{Oid, counter_query, parse_counter};
use crate::model::{Kind, Refusal, Statement, TransactionState, refusal::sqlstate};
use crate::policy::{Permit, Refused};
use crate::safety::limit::{CountPlan, Counting, Group, Readings, SETTLE_QUERY};
use crate::telemetry;
use crate::wire::postgres::encode;
use crate::wire::postgres::frame::HEADER;
use crate::wire::postgres::message;

/// Why a held statement may not stand.
pub(super) enum Verified {
    /// It may.
    Good,
    /// It may not.
    Refused(Refusal),
    /// The server itself objects, in these words.
    Failed(BytesMut),
}

/// What is counted around one request, by tag or by counters.
#[derive(Default)]
pub(super) struct Count {
    /// Groups whose rows each statement's tag gives, by statement.
    tags: Vec<(usize, Arc<[Group]>)>,
    /// Groups counted by the server.
    groups: Vec<Group>,
    oids: BTreeSet<Oid>,
    settle: bool,
    before: Readings,
}

impl Count {
    /// For these statements in order. Tags are trusted only where every
    /// statement's can be: counting some rows twice would be as wrong as missing some.
    fn of<'a>(needs: impl Iterator<Item = &'a Needs>, tags_come: bool) -> Count {
        let mut count = Count::default();
        let mut countings: Vec<Counting> = Vec::new();
        for (at, needs) in needs.enumerate() {
            match &needs.limits.changed {
                CountPlan::Nothing | CountPlan::Refuse(_) => {}
                CountPlan::Tag(groups) => count.tags.push((at, groups.clone())),
                CountPlan::Counters(counting) => countings.push(counting.clone()),
            }
        }
        if countings.is_empty() && tags_come {
            return count;
        }
        for (_, groups) in std::mem::take(&mut count.tags) {
            countings.push(Counting {
                oids: Arc::from([]),
                groups,
                settle: false,
            });
        }
        for counting in countings {
            count.settle |= counting.settle;
            for group in counting.groups.iter() {
                count.oids.extend(group.oids.iter().copied());
                if !count.groups.contains(group) {
                    count.groups.push(group.clone());
                }
            }
        }
        count
    }

    fn query(&self) -> Option<String> {
        if self.oids.is_empty() {
            return None;
        }
        Some(counter_query(
            &self.oids.iter().copied().collect::<Vec<_>>(),
        ))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Carries out one request that the byte mover could not pass.
    pub(super) async fn do_job(&mut self, job: Job) -> Result<(), Error> {
        self.settle().await?;
        if self.discard && !matches!(job, Job::Sync) {
            // An earlier request of the pipeline failed; the server would skip this one.
            return Ok(());
        }
        match job {
            Job::Query {
                frame,
                statements,
                needs,
                spent,
            } => self.run_query(&frame, statements, &needs, spent).await,
            Job::Execute {
                frame,
                portal,
                statement,
                permit,
                needs,
                rows_max,
            } => {
                self.run_execute(&frame, &portal, statement, permit, &needs, rows_max)
                    .await
            }
            Job::Bind {
                frame,
                name,
                portal,
                permit,
                needs,
            } => self.run_bind(&frame, name, portal, &permit, &needs).await,
            Job::Sync => self.close_block().await,
        }
    }

    async fn run_bind(
        &mut self,
        frame: &[u8],
        name: Box<[u8]>,
        portal: Rc<Portal>,
        permit: &Permit,
        needs: &Needs,
    ) -> Result<(), Error> {
        let Some(statement) = portal.prepared.statement.clone() else {
            return Ok(());
        };
        if needs.plan {
            let types = portal.prepared.types.clone();
            let values = portal.values.clone().unwrap_or_default();
            match self
                .check_plan(&statement, permit, Some((&types, &values)))
                .await?
            {
                Verified::Good => portal.planned.set(true),
                verdict => return self.deny_pipelined(&statement, permit, verdict),
            }
        }
        if self.discard {
            return Ok(());
        }
        let mut count = Count::of(std::iter::once(needs), false);
        if let Some(failed) = self.count_before(&mut count).await? {
            return self.deny_pipelined(&statement, permit, failed);
        }
        self.push_bind(name, portal);
        self.loan.link.outbox.put_slice(frame);
        self.executed += 1;
        if count.oids.is_empty() {
            return Ok(());
        }
        self.settle().await?;
        if self.discard {
            return Ok(());
        }
        match self.count_after(&count, &[]).await? {
            Verified::Good => Ok(()),
            verdict => self.deny_pipelined(&statement, permit, verdict),
        }
    }

    async fn run_execute(
        &mut self,
        frame: &[u8],
        portal: &Rc<Portal>,
        statement: Arc<Statement>,
        permit: Permit,
        needs: &Needs,
        rows_max: i32,
    ) -> Result<(), Error> {
        let first = !portal.started.replace(true);
        let mut count = Count::of(std::iter::once(needs), rows_max <= 0 && first);
        if matches!(statement.facts.kind, Kind::Do | Kind::Call) && !self.in_block {
            // Outside a block a procedure may commit on its own.
            self.ask("BEGIN").await?;
            self.own_block = true;
            self.in_block = true;
        }
        if let Some(failed) = self.count_before(&mut count).await? {
            return self.deny_pipelined(&statement, &permit, failed);
        }
        let spent = portal.prepared.spent.take();
        let mut run = Run::new(
            Statements::One(statement.clone(), permit.clone()),
            false,
            spent,
        );
        run.hold = true;
        if let Some(limit) = &needs.limits.returned {
            let left = self.rows_left(portal, &run, limit.limit);
            self.watch(&mut run, left, &limit.refusal());
            run.portal = Some(portal.clone());
        }
        self.queue.push(Expected::Execute(Box::new(run)));
        self.executed += 1;
        self.loan.link.outbox.put_slice(frame);
        self.settle().await?;
        let (Some(tag), Some(run)) = (self.held.take(), self.held_run.take()) else {
            // The server refused it, or a row limit was exceeded: the client knows.
            return Ok(());
        };
        let rows = message::tag_rows(&tag[HEADER..]);
        match self.count_after(&count, &[rows]).await? {
            Verified::Good => {
                self.outbox.extend_from_slice(&tag);
                self.record(&run, rows, None, telemetry::Outcome::Allowed);
                Ok(())
            }
            verdict => self.deny_pipelined(&statement, &permit, verdict),
        }
    }

    /// Ends a pipeline's request with a refusal, or with the server's own error.
    fn deny_pipelined(
        &mut self,
        statement: &Statement,
        permit: &Permit,
        verdict: Verified,
    ) -> Result<(), Error> {
        match verdict {
            Verified::Good => {}
            Verified::Refused(refusal) if self.discard => {
                // The server skips already: nothing can make it fail once more.
                let incident = self.incident();
                self.record_refusal(
                    &statement.text,
                    Some(statement),
                    &refusal,
                    Some(permit.verdict()),
                    false,
                    false,
                    &incident,
                );
                let error = refuse::message(&refusal, &incident);
                self.outbox.extend_from_slice(&error);
            }
            Verified::Refused(refusal) => {
                self.refuse_extended(Some(statement), &refuse::by_host(refusal, permit))
            }
            Verified::Failed(body) => {
                encode::frame(&mut self.outbox, b'E', |out| out.put_slice(&body));
            }
        }
        Ok(())
    }

    /// Reads the counters before a statement.
    async fn count_before(&mut self, count: &mut Count) -> Result<Option<Verified>, Error> {
        let Some(query) = count.query() else {
            return Ok(None);
        };
        let answer = self.ask(&query).await?;
        match readings(answer) {
            Ok(readings) => {
                count.before = readings;
                Ok(None)
            }
            Err(verdict) => Ok(Some(verdict)),
        }
    }

    /// Verifies what a held statement did.
    async fn count_after(
        &mut self,
        count: &Count,
        tags: &[Option<u64>],
    ) -> Result<Verified, Error> {
        if count.settle {
            let answer = self.ask(SETTLE_QUERY).await?;
            if let Some(error) = answer.error {
                return Ok(Verified::Failed(error));
            }
        }
        let after = match count.query() {
            Some(query) => match readings(self.ask(&query).await?) {
                Ok(readings) => readings,
                Err(verdict) => return Ok(verdict),
            },
            None => Readings::default(),
        };
        Ok(self.book(count, &after, tags))
    }

    fn book(&mut self, count: &Count, after: &Readings, tags: &[Option<u64>]) -> Verified {
        for (at, groups) in &count.tags {
            let rows = tags.get(*at).copied().flatten().unwrap_or(0);
            for group in groups.iter() {
                if let Err(refusal) = self.ledger.add(group, rows) {
                    return Verified::Refused(refusal);
                }
            }
        }
        match self.ledger.settle(&count.groups, &count.before, after) {
            Ok(()) => Verified::Good,
            Err(refusal) => Verified::Refused(refusal),
        }
    }

    /// The client's Sync while a block of the gate's own is open: COMMIT first.
    async fn close_block(&mut self) -> Result<(), Error> {
        self.own_block = false;
        if self.discard {
            // Failed: Sync ends the skipping, ROLLBACK the block.
            self.discard = false;
            encode::sync(&mut self.loan.link.outbox);
            self.queue.push(Expected::Own(super::expected::Own::Ready));
            self.settle().await?;
            self.ask_simple("ROLLBACK").await?;
            encode::ready(&mut self.outbox, self.facts.transaction.byte());
            return Ok(());
        }
        if !self.in_block {
            // The client ended the transaction itself.
            self.queue.push(Expected::Sync);
            encode::sync(&mut self.loan.link.outbox);
            return Ok(());
        }
        let answer = self.ask("COMMIT").await?;
        if let Some(error) = answer.error {
            encode::frame(&mut self.outbox, b'E', |out| out.put_slice(&error));
        }
        self.discard = false;
        self.queue.push(Expected::Sync);
        encode::sync(&mut self.loan.link.outbox);
        Ok(())
    }

    async fn run_query(
        &mut self,
        frame: &[u8],
        statements: Rc<[(Arc<Statement>, Permit)]>,
        needs: &[Rc<Needs>],
        spent: (u64, u64),
    ) -> Result<(), Error> {
        for ((statement, permit), needs) in statements.iter().zip(needs) {
            if !needs.plan {
                continue;
            }
            match self.check_plan(statement, permit, None).await? {
                Verified::Good => {}
                Verified::Refused(refusal) => {
                    let refused = refuse::by_host(refusal, permit);
                    self.deny_query(statement, &refused);
                    return Ok(());
                }
                Verified::Failed(body) => return self.fail_query(&body).await,
            }
        }
        let mut run = Run::new(Statements::Many(statements.clone()), true, spent);
        self.set_limits(&mut run, needs);
        let counted = needs
            .iter()
            .any(|needs| !matches!(needs.limits.changed, CountPlan::Nothing));
        let returned = needs.iter().any(|needs| needs.limits.returned.is_some());
        let passes = !counted
            && (!returned || (needs.len() == 1 && needs[0].limits.read_only && self.executed == 0));
        if passes || self.facts.transaction == TransactionState::Failed {
            self.queue.push(Expected::Query(Box::new(run)));
            self.executed += 1;
            self.loan.link.outbox.put_slice(frame);
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
            self.deny_query(statement, &refuse::by_host(refusal, permit));
            return Ok(());
        }
        let count = Count::of(needs.iter().map(|needs| &**needs), true);
        self.hold_query(frame, run, count).await
    }

    fn set_limits(&mut self, run: &mut Run, needs: &[Rc<Needs>]) {
        for needs in needs {
            let limit = needs.limits.returned.as_ref().map(|limit| {
                let incident = self.incident();
                (limit.limit, refuse::message(&limit.refusal(), &incident))
            });
            run.limits.push_back(limit);
        }
        if run.limits.iter().any(Option::is_some) {
            self.watched += 1;
        }
        if let Some(first) = run.limits.pop_front() {
            let left = first.as_ref().map(|(rows, _)| *rows);
            run.rows_left = match (&run.statements, left) {
                (Statements::Many(list), Some(left)) if list.len() == 1 => {
                    Some(self.rows_left_of(run, left))
                }
                (_, left) => left,
            };
            run.refusal = first.map(|(_, refusal)| refusal);
        }
    }

    /// Runs a string inside a block and lets it stand only when verified.
    async fn hold_query(
        &mut self,
        frame: &[u8],
        mut run: Run,
        mut count: Count,
    ) -> Result<(), Error> {
        let own = !self.in_block;
        if own {
            self.write_simple("BEGIN");
        }
        if let Some(query) = count.query() {
            self.write_simple(&query);
        }
        self.settle().await?;
        let answer = std::mem::take(&mut self.own);
        if let Some(body) = answer.error {
            return self.end_query(own, Verified::Failed(body), None).await;
        }
        if count.query().is_some() {
            match readings(answer) {
                Ok(readings) => count.before = readings,
                Err(verdict) => return self.end_query(own, verdict, None).await,
            }
        }
        run.hold = true;
        self.tags.clear();
        self.queue.push(Expected::Query(Box::new(run)));
        self.loan.link.outbox.put_slice(frame);
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

    async fn verify_query(&mut self, count: &Count) -> Result<Verified, Error> {
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
    async fn end_query(
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

    fn deny_query(&mut self, statement: &Statement, refused: &Refused) {
        let incident = self.incident();
        self.record_refusal(
            &statement.text,
            Some(statement),
            &refused.refusal,
            Some(&refused.verdict),
            refused.remembered,
            true,
            &incident,
        );
        self.refuse_query(refuse::message(&refused.refusal, &incident));
    }

    /// Ends a string with the server's own error, which a probe met.
    async fn fail_query(&mut self, body: &[u8]) -> Result<(), Error> {
        let mut error = BytesMut::new();
        encode::frame(&mut error, b'E', |out| out.put_slice(body));
        self.refuse_query(Rc::new(error));
        Ok(())
    }

    /// A row beyond the limit came: the server must stop, then the answer follows.
    pub(super) async fn stop_statement(&mut self) -> Result<(), Error> {
        self.cancel_link().await;
        Ok(())
    }

    /// Rows a portal or cursor may still return: its slices add up.
    pub(super) fn rows_left(&self, portal: &Portal, run: &Run, limit: u64) -> u64 {
        match portal.rows_left.get() {
            Some(left) => left.min(limit),
            None => self.rows_left_of(run, limit),
        }
    }

    pub(super) fn rows_left_of(&self, run: &Run, limit: u64) -> u64 {
        let cursor =
            run.statements
                .get(0)
                .and_then(|(statement, _)| match &statement.facts.handle {
                    Some(crate::model::facts::Handle::Fetch(name, _)) => self.names.cursor(name),
                    _ => None,
                });
        limit.saturating_sub(cursor.map_or(0, |cursor| cursor.rows.get()))
    }
}

/// Counters out of an answer; a server that cannot count is a refusal.
fn readings(answer: Answer) -> Result<Readings, Verified> {
    if let Some(error) = answer.error {
        return Err(Verified::Failed(error));
    }
    let rows = answer.rows.len();
    let counters: Vec<_> = answer
        .rows
        .iter()
        .filter_map(|row| {
            let fields: Vec<Option<&[u8]>> = row.iter().map(|v| v.as_deref()).collect();
            parse_counter(&fields)
        })
        .collect();
    if counters.len() == rows {
        Ok(Readings::new(counters))
    } else {
        Err(Verified::Refused(Refusal::gate(
            "uncounted",
            sqlstate::ROW_LIMIT,
            "the rows this statement changes cannot be counted",
        )))
    }
}
