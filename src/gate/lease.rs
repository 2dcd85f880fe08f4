//! Getting a link, and giving it back clean.
//!
//! A session that shares links holds one only while a transaction is going on.
//! It goes back when ReadyForQuery says idle and nothing is outstanding; what
//! the transaction may have left on it is taken away first, because the server
//! reports neither roles nor settings, locks or listens that code has set.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncRead, AsyncWrite};

use super::Error;
use super::cancel::Cancel;
use super::expected::{Expected, Own};
use super::home::Pin;
use super::session::{Mode, Session};
use super::settings::{self, Settings};
use crate::backend::postgres::login::parse_search_path;
use crate::backend::postgres::pool::Loan;
use crate::model::facts::Handle;
use crate::model::{Effects, Facts, Kind, Statement, TransactionState};
use crate::wire::postgres::encode;

/// Everything code can leave in a server session, except prepared statements.
const CLEAN: &str = "SET SESSION AUTHORIZATION DEFAULT; RESET ROLE; RESET ALL; CLOSE ALL; UNLISTEN *; \
                     SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES";

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// A link for the next message, where one is to be had at once.
    pub(super) fn has_link(&mut self) -> bool {
        if self.loan.is_none() {
            if self.presence.brake.is_held() {
                return false;
            }
            let Some(loan) = self.home.lane().and_then(|lane| lane.try_acquire()) else {
                return false;
            };
            self.attach(loan);
        }
        self.restore_settings();
        true
    }

    /// From now on this link carries the session.
    pub(super) fn attach(&mut self, loan: Loan) {
        let running: Arc<dyn Cancel> = loan.link.handle.clone();
        self.registration.attach(running);
        self.unnamed_here = false;
        self.fresh = true;
        self.link_quiet = false;
        self.worker.spares.lend(&mut self.up);
        self.worker.spares.lend(&mut self.outbox);
        self.presence.holds(loan.card().map_or(0, |card| card.id));
        let defaults = loan.link.handle.defaults;
        self.loan = Some(loan);
        if std::mem::replace(&mut self.defaults, defaults) != defaults {
            // The login's own settings were changed since other links were made.
            self.tell_what_is_left();
            self.note_wanted();
        }
    }

    /// Between transactions: the link gets the settings that the client made elsewhere.
    fn restore_settings(&mut self) {
        let idle = self.queue.is_empty() && self.executed == 0 && !self.in_block;
        if !self.home.is_shared() || !idle || self.wants.are_unsettled() {
            return;
        }
        let Some(loan) = self.loan.as_mut() else {
            return;
        };
        let applied = &loan.link.server.applied;
        if let Some(text) = settings::restore(applied, self.wants.wanted()) {
            loan.link.server.applied = self.wants.wanted().clone();
            encode::query(&mut self.up, &text);
            self.queue.push(Expected::Own(Own::Settings));
        }
    }

    /// Whether the link can go to somebody else.
    pub(super) fn may_release(&self) -> bool {
        self.home.is_shared()
            && self.loan.is_some()
            && self.pinned.is_none()
            && !self.fresh
            && self.is_at_rest()
    }

    /// Nothing is outstanding in either direction and no transaction is open.
    pub(super) fn is_at_rest(&self) -> bool {
        self.queue.is_empty()
            && self.facts.transaction == TransactionState::Idle
            && !self.in_block
            && self.executed == 0
            && self.skip == 0
            && !self.copy_in
            && !self.discard
            && !self.own_block
            && self.up.is_empty()
            && self.down.is_empty()
    }

    /// Gives the link back. False: something must be done on it first.
    pub(super) fn release(&mut self) -> bool {
        if self.dirty
            || self.dirty_names
            || self.wants.are_unsettled()
            || self.registration.release()
        {
            return false;
        }
        self.hand_back();
        self.worker.spares.collect(&mut self.up);
        self.worker.spares.collect(&mut self.down);
        true
    }

    /// Puts the link in order and gives it back, or closes it: the session goes on either way.
    pub(super) async fn tidy(&mut self) -> Result<(), Error> {
        self.pause_watch();
        let (clean, cancel) = (self.home.settings().clean_timeout, self.timeouts.cancel());
        // Nothing may be cancelled that comes from here on.
        let hit = self.registration.release();
        self.tidying = true;
        let work = async {
            if hit {
                tokio::time::timeout(cancel, self.registration.landed())
                    .await
                    .map_err(|_| crate::backend::postgres::Error::Exhausted)?;
                // What arrived late hits this, which nobody waits for.
                self.ask_simple("SELECT 1").await?;
            }
            self.settle_settings().await?;
            if self.dirty || self.dirty_names {
                self.clean().await?;
            }
            Ok(())
        };
        let done = tokio::time::timeout(clean + cancel, work).await;
        self.tidying = false;
        match done {
            Ok(Ok(())) => {}
            Ok(Err(Error::Backend(error))) => {
                tracing::debug!(%error, "server connection closed instead of reused");
                return self.go_on_without();
            }
            Ok(Err(other)) => return Err(other),
            Err(_) => {
                tracing::debug!("server connection closed: it could not be put in order in time");
                return self.go_on_without();
            }
        }
        self.hand_back();
        Ok(())
    }

    /// The link, clean as it is, goes to whoever is next.
    fn hand_back(&mut self) {
        self.presence.lets_go();
        if let (Some(loan), Some(lane)) = (self.loan.take(), self.home.lane()) {
            if let Some(card) = loan.card() {
                let prepared = loan.link.server.prepared.len();
                card.prepared.store(prepared, Ordering::Relaxed);
            }
            lane.release(loan);
        }
    }

    /// The link is lost between transactions: the session goes on with another,
    /// unless settings went with it that nobody can tell any more. A statement
    /// must not run under another role or path than its client has set.
    fn go_on_without(&mut self) -> Result<(), Error> {
        if self.dirty || self.dirty_names {
            // The next link knows nothing of what code has set on this one.
            self.tell_what_is_left();
            self.note_wanted();
            self.tainted = false;
        }
        self.drop_link();
        if self.wants.are_unsettled() {
            let why = "settings were lost with the connection to the server";
            return Err(crate::backend::postgres::Error::Protocol(why.into()).into());
        }
        Ok(())
    }

    /// Closes the link; whatever it still had to say concerns nobody.
    pub(super) fn drop_link(&mut self) {
        self.registration.release();
        self.presence.lets_go();
        if self.loan.take().is_some()
            && let Some(lane) = self.home.lane()
        {
            lane.lost();
        }
        self.queue = super::expected::Queue::default();
        self.up.clear();
        self.down.clear();
        self.skip = 0;
        self.dirty = false;
        self.dirty_names = false;
    }

    /// Asks the server what the committed changes of settings came to.
    async fn settle_settings(&mut self) -> Result<(), Error> {
        if !self.wants.are_unsettled() {
            return Ok(());
        }
        let names = self.wants.names();
        let mut values = Vec::new();
        if !names.is_empty() {
            let answer = self.ask_simple(&Settings::question(&names)).await?;
            let row = answer.rows.into_iter().next().unwrap_or_default();
            let text = |value: bytes::Bytes| Arc::from(String::from_utf8_lossy(&value));
            values = row.into_iter().map(|value| value.map(text)).collect();
        }
        let Some(loan) = self.loan.as_mut() else {
            return Ok(());
        };
        let applied = loan.link.server.applied.clone();
        loan.link.server.applied = self.wants.settle(&applied, &names, &values);
        let worker = self.worker.clone();
        self.wants.share(|settings| worker.intern(settings));
        self.note_wanted();
        Ok(())
    }

    /// What policies and names depend on, now that it is known exactly.
    pub(super) fn note_wanted(&mut self) {
        let Some(loan) = self.loan.as_ref() else {
            return;
        };
        let login = &loan.link.handle;
        let wanted = self.wants.wanted();
        // `none` is the role of the session, which need not be the login's.
        let role = match wanted.get("role") {
            Some(role) if &**role == "none" => Arc::from(""),
            Some(role) => role.clone(),
            None => login.role.clone(),
        };
        let path = match wanted.get("search_path") {
            Some(path) => {
                self.temporary |= path.contains("pg_temp");
                parse_search_path(path, &role)
            }
            // The login's was worked out for its own role.
            None if role == login.role => login.search_path.clone(),
            None => None,
        };
        if self.facts.role != role || self.facts.search_path != path {
            self.facts.role = role;
            self.facts.search_path = path;
            self.facts.generation += 1;
        }
    }

    /// Code may have changed what the client was told of: behind the cleaning it
    /// has what it asked for itself, and else what a login finds. How text is
    /// read depends on it, for the gate and for libpq's escaping.
    fn tell_what_is_left(&mut self) {
        let Some(login) = self.loan.as_ref().map(|loan| loan.link.handle.clone()) else {
            return;
        };
        let wanted = self.wants.wanted().clone();
        for (name, value) in &login.parameters {
            let own = wanted.get(name.to_ascii_lowercase().as_str());
            let value = own.unwrap_or(value).clone();
            if self.note_report(name, &value) {
                encode::parameter_status(&mut self.outbox, name, &value);
            }
        }
    }

    async fn clean(&mut self) -> Result<(), Error> {
        let mut text = CLEAN.to_owned();
        if self.dirty_names {
            text.push_str("; DEALLOCATE ALL");
        }
        let answer = self.ask_simple(&text).await?;
        if answer.error.is_some() {
            let why = "the server session cannot be put in order";
            return Err(crate::backend::postgres::Error::Protocol(why.into()).into());
        }
        if let Some(loan) = self.loan.as_mut() {
            loan.link.server.applied = Default::default();
            if self.dirty_names {
                loan.link.server.prepared.clear();
                loan.link.server.uncertain = false;
            }
        }
        self.tell_what_is_left();
        self.dirty = false;
        self.dirty_names = false;
        self.tainted = false;
        self.temporary = false;
        self.note_wanted();
        Ok(())
    }

    /// What a statement that ran means for the link it ran on. It need not have
    /// come to its end: a suspended portal has done its work, too.
    pub(super) fn note_use(&mut self, statement: &Statement) {
        if !self.home.is_shared() {
            return;
        }
        self.note_traces(statement);
        let facts = &statement.facts;
        if !self.wants.note(facts) {
            self.pinned.get_or_insert(Pin::Setting);
            self.presence.is_pinned(Pin::Setting.name());
        }
        match &facts.handle {
            Some(Handle::Deallocate(None)) => self.forget_all_on_link(),
            Some(Handle::DiscardAll) => {
                self.forget_all_on_link();
                self.pinned = None;
                self.presence.is_free();
                self.dirty = false;
                self.dirty_names = false;
            }
            _ => {}
        }
        if let Some(pin) = pin(statement)
            && self.pinned.is_none()
        {
            tracing::debug!(
                session = self.id,
                why = pin.name(),
                "link stays with its client"
            );
            self.presence.is_pinned(pin.name());
            self.pinned = Some(pin);
        }
    }

    pub(super) fn note_traces(&mut self, statement: &Statement) {
        let traces = self.traces_of(statement);
        self.dirty |= traces.state || statement.facts.is_opaque();
        self.dirty_names |= traces.names;
        if traces.names {
            // From here on nobody knows which names the server has.
            self.forget_all_on_link();
            if let Some(loan) = self.loan.as_mut() {
                loan.link.server.uncertain = true;
            }
        }
    }

    /// A statement failed: what is undone is undone, but locks of the session stay.
    pub(super) fn note_failure(&mut self, statement: &Statement) {
        if !self.home.is_shared() {
            return;
        }
        let target = self.behind(&statement.facts);
        for statement in std::iter::once(statement).chain(target.as_deref()) {
            self.note_traces(statement);
            self.dirty |= locks_session(&statement.facts);
        }
    }

    fn forget_all_on_link(&mut self) {
        if let Some(loan) = self.loan.as_mut() {
            loan.link.server.prepared.clear();
        }
    }

    /// The client has left in the middle of something: its link is closed.
    pub(super) async fn abandon_link(&mut self, busy: bool) {
        self.registration.detach().await;
        if busy {
            // What the server is doing for nobody should end with the client.
            self.cancel_link().await;
        }
        self.drop_link();
    }

    /// The client has left, and nothing is outstanding: its link goes back as
    /// clean as it came, or is closed.
    pub(super) async fn leave_link(&mut self) {
        self.registration.detach().await;
        if self.loan.is_none() {
            return;
        }
        match self.home.lane().cloned() {
            None => {
                if let Some(loan) = self.loan.take() {
                    loan.give_back().await;
                }
            }
            Some(lane) => {
                if self.pinned.is_some() {
                    let limit = self.home.settings().clean_timeout;
                    let reset = self.ask_simple("DISCARD ALL");
                    match tokio::time::timeout(limit, reset).await {
                        Ok(Ok(answer)) if answer.error.is_none() => {}
                        _ => return self.drop_link(),
                    }
                    self.pinned = None;
                    if let Some(mut loan) = self.loan.take() {
                        loan.link.server = Default::default();
                        lane.release(loan);
                    }
                } else if self.tidy().await.is_err() {
                    self.drop_link();
                }
            }
        }
    }

    /// What the byte mover stops for when the link could go.
    pub(super) fn wants_tidying(&mut self, mode: Mode) -> bool {
        mode == Mode::Serve && self.may_release() && !self.release()
    }
}

/// What ties the session to the link it ran this statement on.
pub(super) fn pin(statement: &Statement) -> Option<Pin> {
    let facts = &statement.facts;
    match facts.kind {
        Kind::Notify if statement.normalized.starts_with("listen") => Some(Pin::Listen),
        Kind::Prepare => Some(Pin::Prepared),
        Kind::Load => Some(Pin::Library),
        Kind::Declare if holds(&statement.normalized) => Some(Pin::HoldCursor),
        _ if makes_temporary(facts) || names_temporary(statement) => Some(Pin::Temporary),
        _ if locks_session(facts) => Some(Pin::AdvisoryLock),
        _ if facts.functions.iter().any(|f| &*f.name == "setseed") => Some(Pin::Setting),
        _ => None,
    }
}

/// Advisory locks that outlive their transaction, whether it commits or not.
fn locks_session(facts: &Facts) -> bool {
    facts.functions.iter().any(|function| {
        matches!(
            &*function.name,
            "pg_advisory_lock"
                | "pg_advisory_lock_shared"
                | "pg_try_advisory_lock"
                | "pg_try_advisory_lock_shared"
        )
    })
}

pub(super) fn holds(normalized: &str) -> bool {
    // A name may contain anything: better a link that stays too long.
    normalized.contains("hold")
}

/// What stands in pg_temp, or comes to stand there because the path leads there first.
fn names_temporary(statement: &Statement) -> bool {
    let facts = &statement.facts;
    let temp = |setting: &crate::model::Setting| {
        let value = setting.value.as_deref().unwrap_or("");
        &*setting.name == "search_path" && value.to_ascii_lowercase().contains("pg_temp")
    };
    facts.settings.iter().any(temp)
        || (facts.effects.contains(Effects::SCHEMA) && statement.normalized.contains("pg_temp"))
}

/// CREATE TEMPORARY …, SELECT … INTO TEMPORARY, CREATE in pg_temp.
fn makes_temporary(facts: &Facts) -> bool {
    let session = facts.effects.contains(Effects::SCHEMA | Effects::SESSION);
    let temp = |schema: &str| schema == "pg_temp" || schema.starts_with("pg_temp_");
    session
        || (facts.effects.contains(Effects::SCHEMA)
            && facts
                .relations
                .iter()
                .any(|r| r.schema.as_deref().is_some_and(temp)))
}
