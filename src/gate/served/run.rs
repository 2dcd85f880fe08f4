//! Stages three to five: prepare, execute, verify.

use std::rc::Rc;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};

use super::describe;
use super::limits::{Rules, doomed};
use super::line::{Cleared, Stop, undecided};
use super::session::{OUTBOX_BYTES, Session};
use super::trace::{Trace, nanos};
use crate::backend::rows::{Column, Value};
use crate::backend::sqlite::{self, Done, Event, Order};
use crate::model::{Access, BindValue, UserMessage};
use crate::policy::Permit;

/// One execution, from its first row to its last.
pub(super) struct Run {
    pub cleared: Cleared,
    permit: Permit,
    values: Vec<Value>,
    /// The values as they came, for policies.
    bound: Vec<BindValue>,
    /// Columns as described to the client.
    pub columns: Vec<Column>,
    pub formats: Vec<bool>,
    /// RowDescription goes before the first row (simple protocol).
    pub announce: bool,
    /// Number of the portal on the link; 0: not begun.
    portal: u64,
    rules: Rc<Rules>,
    returned: u64,
}

impl Run {
    /// Of a whole statement in the simple protocol.
    pub(super) fn simple(cleared: Cleared, permit: Permit) -> Run {
        Run {
            announce: true,
            ..Run::new(cleared, permit, Vec::new(), Vec::new(), Vec::new())
        }
    }

    pub(super) fn new(
        cleared: Cleared,
        permit: Permit,
        values: Vec<Value>,
        bound: Vec<BindValue>,
        formats: Vec<bool>,
    ) -> Run {
        let columns = cleared.described.columns.clone();
        Run {
            cleared,
            permit,
            values,
            bound,
            columns,
            formats,
            announce: false,
            portal: 0,
            rules: Rc::default(),
            returned: 0,
        }
    }

    pub(super) fn portal(&self) -> Option<u64> {
        (self.portal != 0).then_some(self.portal)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Stages three to five. Rows go to the outbox; the command tag is the caller's to send.
    pub(super) async fn execute(
        &mut self,
        run: &mut Run,
        rows: u64,
        trace: &mut Trace,
    ) -> Result<Done, Stop> {
        let started = Instant::now();
        trace.permitted(&run.permit);
        if run.portal == 0 {
            self.prepare(run).await?;
        }
        trace.timings.prepare_ns += nanos(started);
        let started = Instant::now();
        let done = self.relay(run, rows, trace).await;
        trace.timings.execute_ns += nanos(started);
        let done = done?;
        let started = Instant::now();
        trace.rows_changed = Some(done.statement.iter().map(sqlite::Changes::total).sum());
        self.verify(run, &done).await?;
        trace.timings.verify_ns += nanos(started);
        Ok(done)
    }

    /// Stage three: everything that must hold before the first row.
    async fn prepare(&mut self, run: &mut Run) -> Result<(), Stop> {
        let Cleared {
            statement,
            described,
            ..
        } = run.cleared.clone();
        let permit = run.permit.clone();
        let unmet = |refusal| Stop::unmet(refusal, &permit);
        let rules = Rules::new(
            permit.requirements(),
            &statement.facts,
            &described.reach,
            described.readonly,
            &mut self.patterns,
        )
        .map_err(unmet)?;
        let read_only = ["transaction_read_only", "default_transaction_read_only"];
        if !described.readonly && read_only.iter().any(|name| self.settings.is_on(name)) {
            let verb = described.verb.to_ascii_uppercase();
            return Err(Stop::failed(UserMessage::error(
                "25006",
                format!("cannot execute {verb} in a read-only transaction"),
            )));
        }
        self.worker
            .rates
            .charge(
                permit.requirements(),
                &self.client,
                &self.facts,
                statement.facts.kind,
                &self.client.database,
            )
            .map_err(unmet)?;
        run.rules = Rc::new(rules);
        let rules = run.rules.clone();
        if described.verb == "vacuum" {
            // It changes no row, so no limit needs a transaction around it.
            if !self.transaction.is_idle() {
                let message =
                    UserMessage::error("25001", "VACUUM cannot run inside a transaction block");
                return Err(Stop::failed(message));
            }
        } else {
            self.ensure_begun(!described.readonly).await??;
        }
        self.bind(run).await?;
        if rules.plans() && described.verb != "explain" {
            let mut scans = Vec::new();
            for scan in self
                .link
                .scans(run.cleared.number, run.values.clone())
                .await?
            {
                let rows = match rules.scan_cap() {
                    Some(cap) => self
                        .link
                        .rows_in("public", scan.table.clone(), cap)
                        .await
                        .unwrap_or(cap),
                    None => 0,
                };
                scans.push((scan.table, rows));
            }
            rules.check_scans(&scans).map_err(unmet)?;
        }
        for touch in doomed(&described.reach, &statement.text) {
            if let Some(limit) = rules.limit_of(touch) {
                // A view has no rows of its own, and dropping it takes none away.
                let rows = self
                    .link
                    .rows_in(touch.schema, touch.name.clone(), limit.saturating_add(1))
                    .await
                    .unwrap_or(0);
                rules.check_all(touch, rows).map_err(unmet)?;
            }
        }
        Ok(())
    }

    /// Binds; when the schema has changed since the statement was prepared it is cleared anew.
    async fn bind(&mut self, run: &mut Run) -> Result<(), Stop> {
        let portal = self.number();
        for _ in 0..3 {
            match self
                .link
                .bind(portal, run.cleared.number, run.values.clone())
                .await
            {
                Err(sqlite::Error::Stale) => {}
                outcome => {
                    outcome?;
                    run.portal = portal;
                    return Ok(());
                }
            }
            let set = self.policies();
            let Cleared {
                statement,
                described,
                number,
                ..
            } = run.cleared.clone();
            let types = described.parameters.iter().map(|kind| kind.oid).collect();
            let fresh = self
                .clear(
                    &set,
                    &statement,
                    Some(run.permit.clone()),
                    types,
                    Some(&run.bound),
                )
                .await?;
            self.link.close_statement(number).await?;
            if fresh.described.columns != described.columns {
                return Err(Stop::failed(UserMessage::error(
                    "0A000",
                    "cached plan must not change result type",
                )));
            }
            run.permit = fresh.permit.clone().ok_or_else(undecided)?;
            run.cleared = fresh;
        }
        Err(Stop::failed(UserMessage::error(
            "40001",
            "the schema keeps changing",
        )))
    }

    /// Stage four: rows from the link to the client, counted on the way.
    async fn relay(&mut self, run: &mut Run, rows: u64, trace: &mut Trace) -> Result<Done, Stop> {
        let limit = run.rules.returned.clone();
        let shortest = |a: Option<std::time::Duration>, b: Option<std::time::Duration>| {
            [a, b].into_iter().flatten().min()
        };
        let order = Order {
            rows,
            timeout: shortest(
                run.rules.timeout,
                self.settings.duration("statement_timeout"),
            ),
            lock_timeout: shortest(
                run.rules.lock_timeout,
                self.settings.duration("lock_timeout"),
            ),
            exact: run.rules.counts(),
        };
        let mut events = self.link.fetch(run.portal, order).await?;
        loop {
            let event = self.attend(events.recv()).await?;
            match event {
                Some(Event::Rows(batch)) => {
                    self.announce(run, batch.first());
                    for row in &batch {
                        if let Some(limit) = limit.as_ref().filter(|l| run.returned >= l.limit) {
                            return Err(Stop::unmet(limit.refusal(), &run.permit));
                        }
                        describe::row(&mut self.outbox, row, &run.columns, &run.formats)
                            .map_err(Stop::failed)?;
                        run.returned += 1;
                        trace.rows_returned += 1;
                    }
                    if self.outbox.len() >= OUTBOX_BYTES {
                        self.flush().await?;
                    }
                }
                Some(Event::Done(done)) => {
                    self.announce(run, None);
                    return Ok(done);
                }
                Some(Event::Failed(error)) => return Err(error.into()),
                None => return Err(sqlite::Error::Gone.into()),
            }
        }
    }

    fn announce(&mut self, run: &mut Run, first: Option<&Vec<Value>>) {
        if std::mem::take(&mut run.announce) && !run.columns.is_empty() {
            run.columns = describe::settle(&run.columns, first);
            describe::columns(&mut self.outbox, &run.columns, &run.formats);
        }
    }

    /// Stage five: what the statement did is within its limits, or is taken back.
    async fn verify(&mut self, run: &Run, done: &Done) -> Result<(), Stop> {
        let (rules, cleared) = (&run.rules, &run.cleared);
        let unmet = |refusal| Stop::unmet(refusal, &run.permit);
        rules
            .check(&done.statement, &done.transaction, &cleared.described.reach)
            .map_err(unmet)?;
        let created = cleared
            .described
            .reach
            .touches
            .iter()
            .filter(|t| t.access.contains(Access::CREATE));
        for touch in created.filter(|_| rules.counts()) {
            // CREATE TABLE AS fills the new table behind the hook's back.
            if let Some(limit) = rules.limit_of(touch) {
                let rows = self
                    .link
                    .rows_in(touch.schema, touch.name.clone(), limit.saturating_add(1))
                    .await
                    .unwrap_or(0);
                let view = cleared.statement.text.to_ascii_lowercase().contains("view");
                rules
                    .check_all(touch, if view { 0 } else { rows })
                    .map_err(unmet)?;
            }
        }
        Ok(())
    }
}
