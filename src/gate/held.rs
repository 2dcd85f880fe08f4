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
use crate::model::{Kind, Refusal, Statement, refusal::sqlstate};
use crate::policy::Permit;
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
    pub(super) settle: bool,
    pub(super) before: Readings,
}

impl Count {
    /// For these statements in order. Tags are trusted only where every
    /// statement's can be: counting some rows twice would be as wrong as missing some.
    pub(super) fn of<'a>(needs: impl Iterator<Item = &'a Needs>, tags_come: bool) -> Count {
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

    pub(super) fn query(&self) -> Option<String> {
        if self.oids.is_empty() {
            return None;
        }
        Some(counter_query(
            &self.oids.iter().copied().collect::<Vec<_>>(),
        ))
    }
}

impl Job {
    /// An Execute that only its tag counts can go right behind what was sent:
    /// if something in front of it fails, the server skips it.
    fn follows_at_once(&self) -> bool {
        match self {
            Job::Execute {
                statement,
                needs,
                rows_max,
                portal,
                ..
            } => {
                matches!(needs.limits.changed, CountPlan::Tag(_))
                    && *rows_max <= 0
                    && !portal.started.get()
                    && needs.limits.returned.is_none()
                    && !matches!(statement.facts.kind, Kind::Do | Kind::Call)
            }
            _ => false,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Carries out one request that the byte mover could not pass.
    pub(super) async fn do_job(&mut self, job: Job) -> Result<(), Error> {
        if !job.follows_at_once() {
            self.settle().await?;
        }
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
        if needs.plan && !portal.planned.get() {
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
        self.up.put_slice(frame);
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
            self.presence.asks(self.now()),
        );
        run.hold = true;
        if let Some(limit) = &needs.limits.returned {
            let left = self.rows_left(portal, &run, limit.limit);
            self.watch(&mut run, left, limit);
            run.portal = Some(portal.clone());
        }
        self.queue.push(Expected::Execute(Box::new(run)));
        self.executed += 1;
        self.up.put_slice(frame);
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
    pub(super) async fn count_before(
        &mut self,
        count: &mut Count,
    ) -> Result<Option<Verified>, Error> {
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
    pub(super) async fn count_after(
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

    pub(super) fn book(
        &mut self,
        count: &Count,
        after: &Readings,
        tags: &[Option<u64>],
    ) -> Verified {
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
            encode::sync(&mut self.up);
            self.queue.push(Expected::Own(super::expected::Own::Ready));
            self.settle().await?;
            self.ask_simple("ROLLBACK").await?;
            encode::ready(&mut self.outbox, self.facts.transaction.byte());
            return Ok(());
        }
        if !self.in_block {
            // The client ended the transaction itself.
            self.queue.push(Expected::Sync);
            encode::sync(&mut self.up);
            return Ok(());
        }
        let answer = self.ask("COMMIT").await?;
        if let Some(error) = answer.error {
            encode::frame(&mut self.outbox, b'E', |out| out.put_slice(&error));
        }
        self.discard = false;
        self.queue.push(Expected::Sync);
        encode::sync(&mut self.up);
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
pub(super) fn readings(answer: Answer) -> Result<Readings, Verified> {
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
