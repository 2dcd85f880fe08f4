//! The straight line for one statement: analyze, decide, prepare, execute, verify, record.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};

use super::describe;
use super::limits::{Rules, doomed};
use super::session::{OUTBOX_BYTES, Session};
use crate::backend::rows::{Column, Value};
use crate::backend::sqlite::{self, Described, Done, Event, Order, Reach};
use crate::gate::{Error, Worker};
use crate::model::facts::Class;
use crate::model::refusal::{Disguise, sqlstate};
use crate::model::{
    Access, Analysis, BindValue, Client, Facts, Kind, Problem, Refusal, Relation, Statement,
    UserFacing, UserMessage, Verdict, Via,
};
use crate::policy::missing_relation;
use crate::policy::{Asked, Outcome, Permit, PolicySet, Refused, Responded, Values};
use crate::sql::Lexer;
use crate::sql::analyze;
use crate::telemetry::{self, ProtocolName, Record, Timings};
use crate::wire::postgres::encode;

/// Why a statement goes no further.
pub(super) enum Stop {
    /// Policies, limits or the gate said no.
    Refused(Box<Refused>),
    /// The database, or the protocol, said no.
    Failed(Box<UserMessage>),
    /// The session cannot go on.
    Fatal(Error),
}

impl Stop {
    pub(super) fn failed(message: UserMessage) -> Stop {
        Stop::Failed(Box::new(message))
    }

    /// A refusal by the gate's own rules.
    fn gate(refusal: Refusal) -> Stop {
        let verdict = Verdict {
            refusal: Some(refusal.clone()),
            ..Verdict::default()
        };
        let verdict = Arc::new(verdict);
        Stop::Refused(Box::new(Refused {
            refusal,
            verdict,
            monitored: None,
            faults: Vec::new(),
            remembered: false,
        }))
    }

    /// A refusal after the verdict: a requirement did not hold.
    fn unmet(refusal: Refusal, permit: &Permit) -> Stop {
        Stop::Refused(Box::new(Refused {
            refusal,
            verdict: permit.shared_verdict().clone(),
            monitored: permit.monitored().cloned(),
            faults: Vec::new(),
            remembered: permit.remembered(),
        }))
    }
}

impl From<sqlite::Error> for Stop {
    fn from(error: sqlite::Error) -> Stop {
        match error {
            sqlite::Error::Gone => Stop::Fatal(error.into()),
            other => Stop::failed(other.user_message()),
        }
    }
}

/// What `decide` said, short of no.
pub(super) enum Decided {
    /// May run.
    Permit(Permit),
    /// A policy answers.
    Respond(Responded),
    /// The values must be known first.
    NeedsValues,
}

/// A statement that may run, prepared on the link.
#[derive(Clone)]
pub(super) struct Cleared {
    /// With everything SQLite says it touches.
    pub statement: Arc<Statement>,
    /// None while the policies wait for the values.
    pub permit: Option<Permit>,
    pub described: Arc<Described>,
    /// Its number on the link.
    pub number: u64,
}

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

/// Stage six: recorded however the statement ends, also when it is dropped half-way.
pub(super) struct Trace {
    worker: Rc<Worker>,
    client: Arc<Client>,
    session: u64,
    simple: bool,
    text: Arc<str>,
    pub statement: Option<Arc<Statement>>,
    pub verdict: Option<Arc<Verdict>>,
    monitored: Option<Arc<Verdict>>,
    pub remembered: bool,
    pub timings: Timings,
    pub rows_returned: u64,
    pub rows_changed: Option<u64>,
    written: bool,
}

impl Trace {
    /// Notes the permit under which the statement runs.
    pub(super) fn permitted(&mut self, permit: &Permit) {
        self.verdict = Some(permit.shared_verdict().clone());
        self.monitored = permit.monitored().cloned();
        self.remembered = permit.remembered();
    }

    /// Writes the record.
    pub(super) fn end(
        &mut self,
        outcome: telemetry::Outcome,
        refusal: Option<&Refusal>,
        incident: Option<&str>,
        sqlstate: Option<&str>,
    ) {
        self.written = true;
        self.worker.recorder.record(&Record {
            session: self.session,
            client: &self.client,
            protocol: if self.simple {
                ProtocolName::Simple
            } else {
                ProtocolName::Extended
            },
            statement: self.statement.as_deref(),
            text: &self.text,
            outcome,
            refusal,
            verdict: self.verdict.as_deref(),
            remembered: self.remembered,
            timings: self.timings,
            rows_returned: self.rows_returned,
            rows_changed: self.rows_changed,
            incident,
            sqlstate,
        });
    }

    pub(super) fn allowed(&mut self) {
        let monitored = self.monitored.clone();
        match monitored
            .as_ref()
            .and_then(|verdict| verdict.refusal.as_ref())
        {
            Some(refusal) => self.end(telemetry::Outcome::Monitored, Some(refusal), None, None),
            None => self.end(telemetry::Outcome::Allowed, None, None, None),
        }
    }

    /// Nothing happened that is worth a record.
    pub(super) fn forget(&mut self) {
        self.written = true;
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if !self.written {
            self.end(telemetry::Outcome::Cancelled, None, None, None);
        }
    }
}

pub(super) fn nanos(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) fn trace(
        &self,
        simple: bool,
        text: &Arc<str>,
        statement: Option<&Arc<Statement>>,
    ) -> Trace {
        Trace {
            worker: self.worker.clone(),
            client: self.client.clone(),
            session: self.id,
            simple,
            text: text.clone(),
            statement: statement.cloned(),
            verdict: None,
            monitored: None,
            remembered: false,
            timings: Timings::default(),
            rows_returned: 0,
            rows_changed: None,
            written: false,
        }
    }

    /// Stage one. Clients write PostgreSQL, the database reads SQLite: a text is
    /// read as SQLite first, and as PostgreSQL where that fails. What it really
    /// touches is asked of SQLite in [`Session::clear`].
    pub(super) fn analyze(&self, bytes: &[u8]) -> Analysis {
        let text_bytes_max = self.worker.config.load().analysis.text_bytes_max;
        let Ok(text) = std::str::from_utf8(bytes) else {
            let problem = Problem::Encoding("the text is not valid UTF-8".into());
            let text = String::from_utf8_lossy(bytes);
            return Analysis {
                problem: Some(problem),
                ..analyze(
                    &text,
                    Lexer {
                        text_bytes_max,
                        ..Lexer::SQLITE
                    },
                )
            };
        };
        let opaque =
            |a: &Analysis| a.problem.is_some() || a.statements.iter().any(|s| s.facts.is_opaque());
        let first = analyze(
            text,
            Lexer {
                text_bytes_max,
                ..Lexer::SQLITE
            },
        );
        if !opaque(&first) {
            return first;
        }
        let second = analyze(
            text,
            Lexer {
                text_bytes_max,
                ..Lexer::POSTGRES
            },
        );
        if opaque(&second) {
            first
        } else {
            Analysis {
                statements: second.statements.iter().map(as_sqlite).collect(),
                ..second
            }
        }
    }

    pub(super) fn policies(&self) -> Arc<PolicySet> {
        self.worker.judge.borrow_mut().current()
    }

    /// Stage two.
    pub(super) fn decide(
        &self,
        set: &Arc<PolicySet>,
        problem: Option<&Problem>,
        statement: &Arc<Statement>,
        values: Option<&[BindValue]>,
    ) -> Result<Decided, Stop> {
        let asked = Asked {
            set,
            client: &self.client,
            session: &self.facts,
            statement,
            analysis_problem: problem,
            values: values.map_or(Values::Unknown, Values::Known),
            opaque: self.worker.config.load().analysis.opaque,
        };
        match self.worker.decide(&asked) {
            Outcome::Permit(permit) => Ok(Decided::Permit(permit)),
            Outcome::Refuse(refused) => Err(Stop::Refused(Box::new(refused))),
            Outcome::Respond(responded) => Ok(Decided::Respond(responded)),
            Outcome::NeedsValues => Ok(Decided::NeedsValues),
        }
    }

    /// Prepares a permitted statement on the link, and decides once more when
    /// SQLite says that it touches more than its text shows.
    pub(super) async fn clear(
        &mut self,
        set: &Arc<PolicySet>,
        statement: &Arc<Statement>,
        permit: Option<Permit>,
        types: Vec<u32>,
        values: Option<&[BindValue]>,
    ) -> Result<Cleared, Stop> {
        let number = self.number();
        let described = self
            .link
            .prepare(number, statement.text.clone(), types)
            .await?;
        let mut cleared = Cleared {
            statement: statement.clone(),
            permit,
            described,
            number,
        };
        if let Some(wider) = widened(statement, &cleared.described.reach) {
            cleared.statement = Arc::new(wider);
            match self.decide(set, None, &cleared.statement, values) {
                Ok(Decided::Permit(permit)) => cleared.permit = cleared.permit.map(|_| permit),
                Ok(Decided::NeedsValues) => cleared.permit = None,
                Ok(Decided::Respond(_)) => return Err(self.abandon(number, hidden_answer()).await),
                Err(stop) => {
                    self.link.close_statement(number).await?;
                    return Err(stop);
                }
            }
        }
        if !cleared.described.readonly && !may_write(&statement.facts) {
            let refusal = Refusal::gate(
                "hidden-write",
                sqlstate::REFUSED,
                "statement changes data in a way that its text does not show",
            );
            return Err(self.abandon(number, refusal).await);
        }
        Ok(cleared)
    }

    async fn abandon(&mut self, number: u64, refusal: Refusal) -> Stop {
        if let Err(error) = self.link.close_statement(number).await {
            return error.into();
        }
        Stop::gate(refusal)
    }

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

    /// Tells the client why a statement goes no further, and records it.
    pub(super) fn say(&mut self, stop: Stop, whole: &str, trace: &mut Trace) -> Result<(), Error> {
        match stop {
            Stop::Fatal(error) => return Err(error),
            Stop::Failed(message) => {
                match trace
                    .statement
                    .as_deref()
                    .and_then(|statement| missing(&message, statement))
                {
                    Some(missing) => self.say_missing(&missing, whole),
                    None => encode::error(&mut self.outbox, &message),
                }
                let outcome = if message.code == "57014" {
                    telemetry::Outcome::Cancelled
                } else {
                    telemetry::Outcome::Failed
                };
                trace.end(outcome, None, None, Some(message.code));
            }
            Stop::Refused(refused) => {
                let incident = self.worker.recorder.incident();
                let refusal = &refused.refusal;
                match &refusal.disguise {
                    // Nothing may tell it from the answer for a table that is not there.
                    Some(missing) => self.say_missing(missing, whole),
                    None => {
                        let mut message = refusal.user_message();
                        if !message.detail.is_empty() {
                            message.detail.push(' ');
                        }
                        message.detail.push_str(&format!("Incident {incident}."));
                        encode::error(&mut self.outbox, &message);
                    }
                }
                trace.verdict = Some(refused.verdict.clone());
                trace.remembered = refused.remembered;
                trace.end(
                    telemetry::Outcome::Refused,
                    Some(refusal),
                    Some(&incident),
                    Some(refusal.code),
                );
            }
        }
        Ok(())
    }

    /// The one answer for a relation that is not there, and for one that must look so.
    fn say_missing(&mut self, missing: &Disguise, whole: &str) {
        let before = missing.position.and_then(|at| whole.get(..at));
        let position = before.map_or(0, |before| before.chars().count() + 1);
        encode::undefined_relation(
            &mut self.outbox,
            missing.noun,
            &missing.name,
            (position > 0).then_some(position),
        );
    }

    /// Notices of the policies, for the client.
    pub(super) fn notices(&mut self, permit: &Permit) {
        for notice in &permit.verdict().notices {
            let mut message = UserMessage {
                severity: "NOTICE",
                ..UserMessage::error("00000", notice.text.to_string())
            };
            message.constraint = notice.rule.to_string();
            encode::notice(&mut self.outbox, &message);
        }
    }
}

/// SQLite's word for a missing table, as the place in the text where the name stands.
fn missing(message: &UserMessage, statement: &Statement) -> Option<Disguise> {
    let name = message
        .message
        .strip_prefix("relation \"")?
        .strip_suffix("\" does not exist")?;
    let plain = name.rsplit('.').next().unwrap_or(name);
    let written = statement
        .facts
        .relations
        .iter()
        .find(|r| r.name.eq_ignore_ascii_case(plain));
    let name = written.map_or_else(|| plain.to_owned(), |relation| relation.qualified());
    (message.code == "42P01").then(|| missing_relation(statement, &name))
}

/// Policies that know every value must come to a decision.
pub(super) fn undecided() -> Stop {
    Stop::failed(UserMessage::error(
        sqlstate::POLICY_FAULT,
        "the policies could not decide about this statement",
    ))
}

fn hidden_answer() -> Refusal {
    Refusal::gate(
        "respond",
        sqlstate::NOT_SUPPORTED,
        "a policy answers for a table that the text does not name",
    )
}

fn may_write(facts: &Facts) -> bool {
    use crate::model::Effects;
    facts.is_opaque()
        || facts
            .effects
            .intersects(Effects::WRITES | Effects::SCHEMA | Effects::SESSION | Effects::CODE)
        || matches!(facts.kind, Kind::Maintain | Kind::Other)
}

/// A statement that was read by PostgreSQL's grammar and is run by SQLite: policies
/// are told of the database, and its verdicts are not those of the same text elsewhere.
fn as_sqlite(statement: &Arc<Statement>) -> Arc<Statement> {
    use crate::model::Dialect;
    let class = Class {
        normalized: format!("{}\u{1f}postgres", statement.normalized).into(),
        shape: statement.shape.rotate_left(1),
        dialect: Dialect::Sqlite,
        facts: statement.facts.clone(),
        origins: Box::default(),
    };
    Arc::new(statement.reclassed(Arc::new(class)))
}

/// Table-valued functions and SQLite's own bookkeeping: nothing a policy names.
fn is_machinery(name: &str) -> bool {
    name.starts_with("json_")
        || name.starts_with("jsonb_")
        || name.starts_with("pragma_")
        || matches!(name, "sqlite_sequence" | "sqlite_stat1" | "sqlite_stat4")
}

/// The statement with the relations that only SQLite knows it touches; none when the text shows them all.
fn widened(statement: &Statement, reach: &Reach) -> Option<Statement> {
    let mut more = Vec::new();
    for touch in &reach.touches {
        let schema_table = reach.schema && touch.name.starts_with("sqlite_");
        if schema_table || is_machinery(&touch.name) || touch.access == Access::OTHER {
            continue;
        }
        let wanted = touch.access - Access::SELECT - Access::OTHER;
        let known = statement.facts.relations.iter().any(|r| {
            let schema = r
                .schema
                .as_deref()
                .is_none_or(|s| s == touch.schema || s == "main" || s == "temp");
            let whole = r.access.intersects(
                Access::DROP | Access::TRUNCATE | Access::CREATE | Access::ALTER | Access::POSSIBLE,
            );
            schema
                && r.name.eq_ignore_ascii_case(&touch.name)
                && (whole || r.access.contains(wanted))
        });
        if !known {
            let relation = Relation {
                schema: Some(Arc::from(touch.schema)),
                name: Arc::from(touch.name.as_str()),
                access: touch.access,
                via: Via::Catalog,
            };
            // SQLite does not say which of several names leads there: any written one will do.
            let written = |r: &Relation| r.via != Via::Catalog;
            let origin = statement.facts.relations.iter().position(written);
            let origin = origin.and_then(|origin| u32::try_from(origin).ok());
            more.push((relation, origin));
        }
    }
    if more.is_empty() {
        return None;
    }
    Some(statement.reclassed(Arc::new(statement.class.widened(more))))
}
