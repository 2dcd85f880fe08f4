//! The extended protocol: Describe, Execute, Close, Sync. Parse is in [`super::prepared`], Bind in [`super::portal`].

use std::cell::RefCell;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::describe;
use super::line::{Cleared, Stop};
use super::portal::Portal;
use super::prepared::Plan;
use super::run::Run;
use super::session::Session;
use super::simple::aborted;
use super::trace::Trace;
use crate::gate::Error;
use crate::model::UserMessage;
use crate::wire::postgres::{encode, frame::client, message};

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// An error in the extended protocol: everything up to Sync is skipped.
    pub(super) async fn refuse(
        &mut self,
        stop: Stop,
        whole: &str,
        trace: &mut Trace,
    ) -> Result<(), Error> {
        self.say(stop, whole, trace)?;
        self.fail().await?;
        self.discard = true;
        Ok(())
    }

    pub(super) async fn protocol_error(
        &mut self,
        code: &'static str,
        text: String,
    ) -> Result<(), Error> {
        encode::error(&mut self.outbox, &UserMessage::error(code, text));
        self.fail().await?;
        self.discard = true;
        Ok(())
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
                let permit = self.still(permit, portal).await?;
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
                Some(permit) => self.still_cleared(permit, portal).await?,
                None => self.decide_with_values(portal).await?,
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
}
