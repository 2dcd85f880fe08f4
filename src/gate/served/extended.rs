//! The extended protocol: Parse, Bind, Describe, Execute, Close, Sync.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::io::{AsyncRead, AsyncWrite};

use super::describe;
use super::line::{Cleared, Decided, Run, Stop, Trace, nanos, undecided};
use super::own::Own;
use super::session::Session;
use super::simple::aborted;
use super::value;
use crate::backend::rows::{Column, Type, Value};
use crate::gate::Error;
use crate::model::{Analysis, BindValue, Statement, UserMessage};
use crate::policy::{Permit, Responded};
use crate::wire::postgres::{encode, frame::client, message};

/// What a prepared statement is.
pub(super) enum Plan {
    /// Nothing.
    Empty,
    /// Carried out here.
    Own(Own, RefCell<Permit>),
    /// Answered by a policy.
    Respond(Responded),
    /// Run by the database.
    Run(RefCell<Cleared>),
}

/// A prepared statement.
pub(super) struct Prepared {
    whole: Arc<str>,
    statement: Option<Arc<Statement>>,
    plan: Plan,
}

/// A portal.
pub(super) struct Portal {
    prepared: Rc<Prepared>,
    values: Vec<BindValue>,
    decoded: Vec<Value>,
    formats: Vec<bool>,
    /// The permit its values were given, when they had to be known.
    permit: Option<Permit>,
    run: Option<Run>,
    /// All rows were sent.
    ended: bool,
}

impl Prepared {
    fn parameters(&self) -> Vec<Type> {
        match &self.plan {
            Plan::Run(cleared) => cleared.borrow().described.parameters.clone(),
            _ => Vec::new(),
        }
    }

    fn columns(&self) -> Vec<Column> {
        match &self.plan {
            Plan::Run(cleared) => cleared.borrow().described.columns.clone(),
            Plan::Own(own, _) => own.columns(),
            Plan::Respond(responded) => {
                let columns = responded
                    .response()
                    .map(|r| r.columns.as_slice())
                    .unwrap_or_default();
                let column = |(name, oid): &(Arc<str>, u32)| Column {
                    name: name.clone(),
                    kind: Type {
                        oid: *oid,
                        modifier: -1,
                    },
                    certain: true,
                };
                columns.iter().map(column).collect()
            }
            Plan::Empty => Vec::new(),
        }
    }

    /// The policies want the values before they decide.
    fn needs_values(&self) -> bool {
        matches!(&self.plan, Plan::Run(cleared) if cleared.borrow().permit.is_none())
    }

    fn may_run_in_failed_block(&self) -> bool {
        match &self.plan {
            Plan::Empty => true,
            Plan::Own(own, _) => own.ends_failure(),
            _ => false,
        }
    }
}

/// What Parse of a single statement starts from.
struct Parsed {
    analysis: Analysis,
    types: Vec<u32>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// An error in the extended protocol: everything up to Sync is skipped.
    async fn refuse(&mut self, stop: Stop, whole: &str, trace: &mut Trace) -> Result<(), Error> {
        self.say(stop, whole, trace)?;
        self.fail().await?;
        self.discard = true;
        Ok(())
    }

    async fn protocol_error(&mut self, code: &'static str, text: String) -> Result<(), Error> {
        encode::error(&mut self.outbox, &UserMessage::error(code, text));
        self.fail().await?;
        self.discard = true;
        Ok(())
    }

    pub(super) async fn on_parse(&mut self, body: &[u8]) -> Result<(), Error> {
        let parse = message::parse(body).map_err(Error::Client)?;
        let name = parse.name.to_vec();
        if !name.is_empty() && self.statements.contains_key(&name) {
            let shown = String::from_utf8_lossy(&name).into_owned();
            return self
                .protocol_error(
                    "42P05",
                    format!("prepared statement \"{shown}\" already exists"),
                )
                .await;
        }
        if self.statements.len() >= self.limits.prepared_max {
            let most = self.limits.prepared_max;
            return self
                .protocol_error(
                    "53400",
                    format!("a session may keep {most} prepared statements"),
                )
                .await;
        }
        self.forget_statement(b"").await?;
        let started = Instant::now();
        let parsed = Parsed {
            analysis: self.analyze(parse.text),
            types: parse.type_oids().collect(),
        };
        let whole = parsed.analysis.text.clone();
        let statement = parsed.analysis.statements.first().cloned();
        let mut trace = self.trace(false, &whole, statement.as_ref());
        trace.timings.analyze_ns = nanos(started);
        match self.parse(parsed, &mut trace).await {
            Ok(prepared) => {
                trace.forget();
                self.statements.insert(name, Rc::new(prepared));
                encode::frame(&mut self.outbox, b'1', |_| {});
                Ok(())
            }
            Err(stop) => self.refuse(stop, &whole, &mut trace).await,
        }
    }

    async fn parse(&mut self, parsed: Parsed, trace: &mut Trace) -> Result<Prepared, Stop> {
        let Parsed { analysis, types } = parsed;
        let whole = analysis.text.clone();
        let Some(statement) = analysis.statements.first().cloned() else {
            return Ok(Prepared {
                whole,
                statement: None,
                plan: Plan::Empty,
            });
        };
        if analysis.statements.len() > 1 && analysis.problem.is_none() {
            return Err(Stop::failed(UserMessage::error(
                "42601",
                "cannot insert multiple commands into a prepared statement",
            )));
        }
        let started = Instant::now();
        let set = self.policies();
        let decided = self.decide(&set, analysis.problem.as_ref(), &statement, None);
        trace.timings.decide_ns = nanos(started);
        let own = Own::read(&statement.text);
        let permit = match decided? {
            Decided::Permit(permit) => Some(permit),
            // At Bind they are asked again, with the values.
            Decided::NeedsValues => None,
            Decided::Respond(responded) => {
                return Ok(Prepared {
                    whole,
                    statement: Some(statement),
                    plan: Plan::Respond(responded),
                });
            }
        };
        if self.transaction.is_failed() && !own.as_ref().is_some_and(Own::ends_failure) {
            return Err(Stop::failed(aborted()));
        }
        let plan = match own {
            Some(own) => Plan::Own(own, RefCell::new(permit.ok_or_else(undecided)?)),
            None => Plan::Run(RefCell::new(
                self.clear(&set, &statement, permit, types, None).await?,
            )),
        };
        Ok(Prepared {
            whole,
            statement: Some(statement),
            plan,
        })
    }

    pub(super) async fn on_bind(&mut self, body: &[u8]) -> Result<(), Error> {
        let bind = message::bind(body).map_err(Error::Client)?;
        let Some(prepared) = self.statements.get(bind.statement).cloned() else {
            let shown = String::from_utf8_lossy(bind.statement).into_owned();
            let text = if shown.is_empty() {
                "unnamed prepared statement does not exist".to_owned()
            } else {
                format!("prepared statement \"{shown}\" does not exist")
            };
            return self.protocol_error("26000", text).await;
        };
        let name = bind.portal.to_vec();
        if !name.is_empty() && self.portals.contains_key(&name) {
            let shown = String::from_utf8_lossy(&name).into_owned();
            return self
                .protocol_error("42P03", format!("portal \"{shown}\" already exists"))
                .await;
        }
        if self.portals.len() >= self.limits.prepared_max {
            let most = self.limits.prepared_max;
            return self
                .protocol_error("53400", format!("a session may keep {most} portals"))
                .await;
        }
        self.forget_portal(&name).await?;
        let values = bind.values().map_err(Error::Client)?;
        let formats = bind.result_formats().map_err(Error::Client)?;
        let mut trace = self.trace(false, &prepared.whole, prepared.statement.as_ref());
        let whole = prepared.whole.clone();
        match self.bind_values(prepared, values, formats, &mut trace) {
            Ok(portal) => {
                trace.forget();
                self.portals.insert(name, portal);
                encode::frame(&mut self.outbox, b'2', |_| {});
                Ok(())
            }
            Err(stop) => self.refuse(stop, &whole, &mut trace).await,
        }
    }

    fn bind_values(
        &mut self,
        prepared: Rc<Prepared>,
        values: Vec<message::Value>,
        formats: Vec<bool>,
        trace: &mut Trace,
    ) -> Result<Portal, Stop> {
        if self.transaction.is_failed() && !prepared.may_run_in_failed_block() {
            return Err(Stop::failed(aborted()));
        }
        let kinds = prepared.parameters();
        if values.len() != kinds.len() {
            let text = format!(
                "bind message supplies {} parameters, but prepared statement requires {}",
                values.len(),
                kinds.len()
            );
            return Err(Stop::failed(UserMessage::error("08P01", text)));
        }
        let columns = prepared.columns().len();
        if formats.len() > 1 && formats.len() != columns {
            let text = format!(
                "bind message has {} result formats but query has {columns} columns",
                formats.len()
            );
            return Err(Stop::failed(UserMessage::error("08P01", text)));
        }
        let decoded: Result<Vec<Value>, UserMessage> = values
            .iter()
            .zip(&kinds)
            .map(|(v, kind)| value::decode(v.bytes.as_deref(), *kind, v.binary))
            .collect();
        let decoded = decoded?;
        let values: Vec<BindValue> = values
            .into_iter()
            .zip(&kinds)
            .map(|(v, kind)| BindValue {
                type_oid: kind.oid,
                binary: v.binary,
                bytes: v.bytes,
            })
            .collect();
        let mut portal = Portal {
            prepared,
            values,
            decoded,
            formats,
            permit: None,
            run: None,
            ended: false,
        };
        if portal.prepared.needs_values() {
            let started = Instant::now();
            portal.permit = Some(self.decide_with_values(&portal)?);
            trace.timings.decide_ns = nanos(started);
        }
        Ok(portal)
    }

    /// Decides with everything known: at Bind when the policies ask for it, at
    /// Execute when what was decided no longer holds.
    fn decide_with_values(&self, portal: &Portal) -> Result<Permit, Stop> {
        let statement = match &portal.prepared.plan {
            Plan::Run(cleared) => cleared.borrow().statement.clone(),
            _ => match &portal.prepared.statement {
                Some(statement) => statement.clone(),
                None => {
                    return Err(Stop::failed(UserMessage::error(
                        "XX000",
                        "there is nothing to decide",
                    )));
                }
            },
        };
        let set = self.policies();
        match self.decide(&set, None, &statement, Some(&portal.values))? {
            Decided::Permit(permit) => Ok(permit),
            Decided::Respond(_) => Err(Stop::failed(UserMessage::error(
                "0A000",
                "a policy answers this statement now; prepare it again",
            ))),
            Decided::NeedsValues => Err(undecided()),
        }
    }

    pub(super) async fn on_describe(&mut self, body: &[u8]) -> Result<(), Error> {
        let target = message::target(client::DESCRIBE, body).map_err(Error::Client)?;
        if target.portal {
            let Some(portal) = self.portals.get(target.name) else {
                return self.no_portal(target.name).await;
            };
            describe::columns(
                &mut self.outbox,
                &portal.prepared.columns(),
                &portal.formats,
            );
            return Ok(());
        }
        let Some(prepared) = self.statements.get(target.name).cloned() else {
            let shown = String::from_utf8_lossy(target.name).into_owned();
            return self
                .protocol_error(
                    "26000",
                    format!("prepared statement \"{shown}\" does not exist"),
                )
                .await;
        };
        describe::parameters(&mut self.outbox, &prepared.parameters());
        describe::columns(&mut self.outbox, &prepared.columns(), &[]);
        Ok(())
    }

    async fn no_portal(&mut self, name: &[u8]) -> Result<(), Error> {
        let shown = String::from_utf8_lossy(name).into_owned();
        self.protocol_error("34000", format!("portal \"{shown}\" does not exist"))
            .await
    }

    pub(super) async fn on_execute(&mut self, body: &[u8]) -> Result<(), Error> {
        let execute = message::execute(body).map_err(Error::Client)?;
        let rows = u64::try_from(execute.rows_max).unwrap_or(0);
        let Some(mut portal) = self.portals.remove(execute.portal) else {
            return self.no_portal(execute.portal).await;
        };
        let mut trace = self.trace(
            false,
            &portal.prepared.whole,
            portal.prepared.statement.as_ref(),
        );
        let whole = portal.prepared.whole.clone();
        match self.run_portal(&mut portal, rows, &mut trace).await {
            Ok(()) => {
                trace.allowed();
                let keep = self.transaction.is_open()
                    || self.transaction.in_block()
                    || portal.run.is_none();
                if keep {
                    self.portals.insert(execute.portal.to_vec(), portal);
                }
                Ok(())
            }
            Err(stop) => {
                if let Some(number) = portal.run.as_ref().and_then(Run::portal) {
                    self.link.close_portal(number).await?;
                }
                self.refuse(stop, &whole, &mut trace).await
            }
        }
    }

    async fn run_portal(
        &mut self,
        portal: &mut Portal,
        rows: u64,
        trace: &mut Trace,
    ) -> Result<(), Stop> {
        let prepared = portal.prepared.clone();
        if self.transaction.is_failed() && !prepared.may_run_in_failed_block() {
            return Err(Stop::failed(aborted()));
        }
        match &prepared.plan {
            Plan::Empty => encode::frame(&mut self.outbox, b'I', |_| {}),
            Plan::Respond(responded) => {
                if let Some(response) = responded.response() {
                    self.respond_rows(response);
                }
            }
            Plan::Own(own, permit) => {
                let permit = self.still(permit, portal)?;
                self.notices(&permit);
                trace.permitted(&permit);
                if let Some(statement) = &prepared.statement {
                    self.charge(&permit, statement)?;
                }
                let rows = self.own_rows(own)?;
                self.own_data(&rows, &own.columns(), &portal.formats)?;
                let tag = self.run_own(own).await?;
                encode::command_complete(&mut self.outbox, &tag);
            }
            Plan::Run(cleared) => self.run_rows(cleared, portal, rows, trace).await?,
        }
        Ok(())
    }

    async fn run_rows(
        &mut self,
        cleared: &RefCell<Cleared>,
        portal: &mut Portal,
        rows: u64,
        trace: &mut Trace,
    ) -> Result<(), Stop> {
        if portal.ended {
            let tag = describe::tag(&cleared.borrow().described, &portal.prepared.whole, 0, 0);
            encode::command_complete(&mut self.outbox, &tag);
            return Ok(());
        }
        if portal.run.is_none() {
            let now = cleared.borrow().clone();
            let permit = match portal.permit.as_ref().or(now.permit.as_ref()) {
                Some(permit) => self.still_cleared(permit, portal)?,
                None => self.decide_with_values(portal)?,
            };
            self.notices(&permit);
            let (values, bound) = (portal.decoded.clone(), portal.values.clone());
            portal.run = Some(Run::new(now, permit, values, bound, portal.formats.clone()));
        }
        let Some(run) = portal.run.as_mut() else {
            return Ok(());
        };
        let outcome = self.execute(run, rows, trace).await;
        // Clearing anew gave the statement another number.
        let latest = run.cleared.clone();
        if latest.number != cleared.borrow().number {
            let permit = cleared.borrow().permit.clone();
            *cleared.borrow_mut() = Cleared { permit, ..latest };
        }
        let done = outcome?;
        if done.suspended {
            encode::frame(&mut self.outbox, b's', |_| {});
        } else {
            portal.ended = true;
            let tag = describe::tag(
                &run.cleared.described,
                &portal.prepared.whole,
                done.rows,
                done.affected,
            );
            encode::command_complete(&mut self.outbox, &tag);
        }
        if run.cleared.described.verb == "vacuum" && !self.transaction.in_block() {
            self.rollback().await?;
        }
        Ok(())
    }

    /// The permit of a statement carried out here, decided again when it no longer holds.
    fn still(&self, permit: &RefCell<Permit>, portal: &Portal) -> Result<Permit, Stop> {
        let now = self.still_cleared(&permit.borrow(), portal)?;
        permit.replace(now.clone());
        Ok(now)
    }

    fn still_cleared(&self, permit: &Permit, portal: &Portal) -> Result<Permit, Stop> {
        if permit.holds(&self.policies(), &self.facts, SystemTime::now()) {
            return Ok(permit.clone());
        }
        self.decide_with_values(portal)
    }

    pub(super) async fn on_close(&mut self, body: &[u8]) -> Result<(), Error> {
        let target = message::target(client::CLOSE, body).map_err(Error::Client)?;
        if target.portal {
            self.forget_portal(target.name).await?;
        } else {
            self.forget_statement(target.name).await?;
        }
        encode::frame(&mut self.outbox, b'3', |_| {});
        Ok(())
    }

    pub(super) async fn on_sync(&mut self) -> Result<(), Error> {
        self.discard = false;
        if !self.transaction.in_block()
            && let Err(error) = self.commit().await?
        {
            let text: Arc<str> = "".into();
            let mut trace = self.trace(false, &text, None);
            self.say(error.into(), "", &mut trace)?;
        }
        self.ready();
        self.flush().await
    }

    /// Closes a portal, if there is one.
    pub(super) async fn forget_portal(&mut self, name: &[u8]) -> Result<(), Error> {
        let portal = self.portals.remove(name);
        if let Some(number) = portal.and_then(|p| p.run).as_ref().and_then(Run::portal) {
            self.link.close_portal(number).await?;
        }
        Ok(())
    }

    /// Forgets a prepared statement, if there is one.
    pub(super) async fn forget_statement(&mut self, name: &[u8]) -> Result<(), Error> {
        if let Some(Plan::Run(cleared)) = self.statements.remove(name).as_deref().map(|p| &p.plan) {
            // A portal of it that has not begun prepares it anew.
            let number = cleared.borrow().number;
            self.link.close_statement(number).await?;
        }
        Ok(())
    }
}
