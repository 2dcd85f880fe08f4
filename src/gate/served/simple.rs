//! The simple protocol: one string, several statements, one implicit transaction.

use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};

use super::describe;
use super::line::{Decided, Stop, undecided};
use super::own::Own;
use super::run::Run;
use super::session::Session;
use super::trace::{Trace, nanos};
use crate::backend::rows::Value;
use crate::gate::Error;
use crate::model::refusal::sqlstate;
use crate::model::{Refusal, Response, Statement, UserFacing, UserMessage};
use crate::policy::{Permit, PolicySet};
use crate::wire::postgres::{encode, message};

/// A statement of the string, decided.
struct Next {
    statement: Arc<Statement>,
    decided: Decided,
    decide_ns: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) async fn on_query(&mut self, body: &[u8]) -> Result<(), Error> {
        let bytes = message::query(body).map_err(Error::Client)?;
        // The unnamed statement and portal end with a simple Query (PostgreSQL documentation, 55.2.3).
        self.forget_statement(b"").await?;
        self.forget_portal(b"").await?;
        let started = Instant::now();
        let analysis = self.analyze(bytes);
        let analyze_ns = nanos(started);
        let whole = analysis.text.clone();
        if analysis.statements.is_empty() && analysis.problem.is_none() {
            encode::frame(&mut self.outbox, b'I', |_| {});
            self.ready();
            return Ok(());
        }
        // The whole string is decided before any of it runs.
        let set = self.policies();
        let mut list = Vec::with_capacity(analysis.statements.len());
        for statement in &analysis.statements {
            let started = Instant::now();
            let problem = analysis.problem.as_ref();
            match self.decide(&set, problem, statement, Some(&[])).await {
                Ok(decided) => list.push(Next {
                    statement: statement.clone(),
                    decided,
                    decide_ns: nanos(started),
                }),
                Err(stop) => {
                    let mut trace = self.trace(true, &statement.text, Some(statement));
                    trace.timings.analyze_ns = analyze_ns;
                    trace.timings.decide_ns = nanos(started);
                    let stop = self.spelled(statement, stop).await;
                    return self.give_up(stop, &whole, &mut trace).await;
                }
            }
        }
        let count = list.len();
        for (index, next) in list.into_iter().enumerate() {
            let mut trace = self.trace(true, &next.statement.text, Some(&next.statement));
            trace.timings.analyze_ns = if index == 0 { analyze_ns } else { 0 };
            trace.timings.decide_ns = next.decide_ns;
            if let Err(stop) = self.one(&set, next, index + 1 == count, &mut trace).await {
                return self.give_up(stop, &whole, &mut trace).await;
            }
            trace.allowed();
        }
        self.ready();
        Ok(())
    }

    /// An error ends the string: what it did is undone, a block becomes failed.
    async fn give_up(&mut self, stop: Stop, whole: &str, trace: &mut Trace) -> Result<(), Error> {
        self.say(stop, whole, trace)?;
        self.fail().await?;
        self.ready();
        Ok(())
    }

    async fn one(
        &mut self,
        set: &Arc<PolicySet>,
        next: Next,
        last: bool,
        trace: &mut Trace,
    ) -> Result<(), Stop> {
        let own = Own::read(&next.statement.text);
        if self.transaction.is_failed() && !own.as_ref().is_some_and(Own::ends_failure) {
            return Err(Stop::failed(aborted()));
        }
        let permit = match next.decided {
            Decided::Permit(permit) => permit,
            Decided::Respond(responded) => return self.respond(responded.response()),
            Decided::NeedsValues => return Err(undecided()),
        };
        self.notices(&permit);
        trace.permitted(&permit);
        if let Some(own) = own {
            return self.one_of_own(&own, &permit, &next.statement, last).await;
        }
        let cleared = self
            .clear(set, &next.statement, Some(permit), Vec::new(), Some(&[]))
            .await?;
        let permit = cleared.permit.clone().ok_or_else(undecided)?;
        let text = next.statement.text.clone();
        let mut run = Run::simple(cleared, permit);
        let outcome = self.execute(&mut run, 0, trace).await;
        if let Some(portal) = run.portal() {
            self.link.close_portal(portal).await?;
        }
        self.link.close_statement(run.cleared.number).await?;
        let done = outcome?;
        if last && !self.transaction.in_block() {
            // The tag says that it is done, so it waits for the commit.
            self.commit().await??;
        }
        let tag = describe::tag(&run.cleared.described, &text, done.rows, done.affected);
        encode::command_complete(&mut self.outbox, &tag);
        Ok(())
    }

    async fn one_of_own(
        &mut self,
        own: &Own,
        permit: &Permit,
        statement: &Statement,
        last: bool,
    ) -> Result<(), Stop> {
        self.charge(permit, statement)?;
        let rows = self.own_rows(own)?;
        let columns = own.columns();
        if !columns.is_empty() {
            describe::columns(&mut self.outbox, &columns, &[]);
            self.own_data(&rows, &columns, &[])?;
        }
        let tag = self.run_own(own).await?;
        if last && !self.transaction.in_block() && self.transaction.is_open() {
            self.commit().await??;
        }
        encode::command_complete(&mut self.outbox, &tag);
        Ok(())
    }

    /// Rows of SHOW as text.
    pub(super) fn own_data(
        &mut self,
        rows: &[Vec<String>],
        columns: &[crate::backend::rows::Column],
        formats: &[bool],
    ) -> Result<(), Stop> {
        for row in rows {
            let row = row.iter().map(|text| Value::Text(text.clone())).collect();
            describe::row(&mut self.outbox, &row, columns, formats)?;
        }
        Ok(())
    }

    /// Rates hold for statements of the session, too.
    pub(super) fn charge(&self, permit: &Permit, statement: &Statement) -> Result<(), Stop> {
        let charged = self.worker.rates.charge(
            permit.requirements(),
            &self.client,
            &self.facts,
            statement.facts.kind,
            &self.client.database,
        );
        charged.map_err(|refusal| Stop::failed(refusal.user_message()))
    }

    /// The rows a policy answers with.
    pub(super) fn respond(&mut self, response: Option<&Response>) -> Result<(), Stop> {
        let response = response.ok_or_else(no_response)?;
        let columns: Vec<(&str, u32)> = response
            .columns
            .iter()
            .map(|(name, oid)| (&**name, *oid))
            .collect();
        encode::row_description(&mut self.outbox, &columns);
        self.respond_rows(response);
        Ok(())
    }

    pub(super) fn respond_rows(&mut self, response: &Response) {
        for row in &response.rows {
            encode::data_row(
                &mut self.outbox,
                row.iter().map(|v| v.as_deref().map(str::as_bytes)),
            );
        }
        encode::command_complete(&mut self.outbox, &format!("SELECT {}", response.rows.len()));
    }

    pub(super) async fn on_function_call(&mut self) {
        let refusal = Refusal::gate(
            "function-call",
            sqlstate::NOT_SUPPORTED,
            "FunctionCall is not supported through the gate",
        )
        .hint("Call the function in a SELECT.");
        encode::error(&mut self.outbox, &refusal.user_message());
        self.ready();
    }
}

fn no_response() -> Stop {
    Stop::failed(UserMessage::error(
        sqlstate::POLICY_FAULT,
        "a policy answered without rows",
    ))
}

/// In a failed block nothing runs.
pub(super) fn aborted() -> UserMessage {
    UserMessage::error(
        "25P02",
        "current transaction is aborted, commands ignored until end of transaction block",
    )
}
