//! Portals: Bind, and whether what was decided still holds.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Instant, SystemTime};

use tokio::io::{AsyncRead, AsyncWrite};

use super::line::{Decided, Stop, undecided};
use super::prepared::{Plan, Prepared};
use super::run::Run;
use super::session::Session;
use super::simple::aborted;
use super::trace::{Trace, nanos};
use super::value;
use crate::backend::rows::Value;
use crate::gate::Error;
use crate::model::{BindValue, UserMessage};
use crate::policy::Permit;
use crate::wire::postgres::{encode, message};

/// A portal.
pub(super) struct Portal {
    pub(super) prepared: Rc<Prepared>,
    pub(super) values: Vec<BindValue>,
    pub(super) decoded: Vec<Value>,
    pub(super) formats: Vec<bool>,
    /// The permit its values were given, when they had to be known.
    pub(super) permit: Option<Permit>,
    pub(super) run: Option<Run>,
    /// All rows were sent.
    pub(super) ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
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
        match self
            .bind_values(prepared, values, formats, &mut trace)
            .await
        {
            Ok(portal) => {
                trace.forget();
                self.portals.insert(name, portal);
                encode::frame(&mut self.outbox, b'2', |_| {});
                Ok(())
            }
            Err(stop) => self.refuse(stop, &whole, &mut trace).await,
        }
    }

    pub(super) async fn bind_values(
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
            portal.permit = Some(self.decide_with_values(&portal).await?);
            trace.timings.decide_ns = nanos(started);
        }
        Ok(portal)
    }

    /// Decides with everything known: at Bind when the policies ask for it, at
    /// Execute when what was decided no longer holds.
    pub(super) async fn decide_with_values(&self, portal: &Portal) -> Result<Permit, Stop> {
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
        match self
            .decide(&set, None, &statement, Some(&portal.values))
            .await?
        {
            Decided::Permit(permit) => Ok(permit),
            Decided::Respond(_) => Err(Stop::failed(UserMessage::error(
                "0A000",
                "a policy answers this statement now; prepare it again",
            ))),
            Decided::NeedsValues => Err(undecided()),
        }
    }

    /// The permit of a statement carried out here, decided again when it no longer holds.
    pub(super) async fn still(
        &self,
        permit: &RefCell<Permit>,
        portal: &Portal,
    ) -> Result<Permit, Stop> {
        let before = permit.borrow().clone();
        let now = self.still_cleared(&before, portal).await?;
        permit.replace(now.clone());
        Ok(now)
    }

    pub(super) async fn still_cleared(
        &self,
        permit: &Permit,
        portal: &Portal,
    ) -> Result<Permit, Stop> {
        if permit.holds(&self.policies(), &self.facts, SystemTime::now()) {
            return Ok(permit.clone());
        }
        self.decide_with_values(portal).await
    }

    /// Closes a portal, if there is one.
    pub(super) async fn forget_portal(&mut self, name: &[u8]) -> Result<(), Error> {
        let portal = self.portals.remove(name);
        if let Some(number) = portal.and_then(|p| p.run).as_ref().and_then(Run::portal) {
            self.link.close_portal(number).await?;
        }
        Ok(())
    }
}
