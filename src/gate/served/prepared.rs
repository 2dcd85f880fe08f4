//! Prepared statements: Parse, and what it leaves behind.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};

use super::line::{Cleared, Decided, Stop, undecided};
use super::own::Own;
use super::session::Session;
use super::simple::aborted;
use super::trace::{Trace, nanos};
use crate::backend::rows::{Column, Type};
use crate::gate::Error;
use crate::model::{Analysis, Statement, UserMessage};
use crate::policy::{Permit, Responded};
use crate::wire::postgres::{encode, message};

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
    pub(super) whole: Arc<str>,
    pub(super) statement: Option<Arc<Statement>>,
    pub(super) plan: Plan,
}

impl Prepared {
    pub(super) fn parameters(&self) -> Vec<Type> {
        match &self.plan {
            Plan::Run(cleared) => cleared.borrow().described.parameters.clone(),
            _ => Vec::new(),
        }
    }

    pub(super) fn columns(&self) -> Vec<Column> {
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
    pub(super) fn needs_values(&self) -> bool {
        matches!(&self.plan, Plan::Run(cleared) if cleared.borrow().permit.is_none())
    }

    pub(super) fn may_run_in_failed_block(&self) -> bool {
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
        let decided = self
            .decide(&set, analysis.problem.as_ref(), &statement, None)
            .await;
        trace.timings.decide_ns = nanos(started);
        let own = Own::read(&statement.text);
        let decided = match decided {
            Ok(decided) => decided,
            Err(stop) => return Err(self.spelled(&statement, stop).await),
        };
        let permit = match decided {
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
