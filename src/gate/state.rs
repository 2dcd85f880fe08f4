//! What the gate knows of the server's session: settings, transaction, names.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::expected::Run;
use super::session::Session;
use crate::backend::postgres::login::parse_search_path;
use crate::model::facts::{Control, Handle};
use crate::model::{Effects, Facts, Kind, Statement, TransactionState};

/// Encodings in which a byte of a character can be an ASCII byte: a quote that
/// the server sees inside a character would end a string for the gate.
const UNSAFE_ENCODINGS: [&str; 7] = [
    "SJIS",
    "BIG5",
    "GBK",
    "UHC",
    "JOHAB",
    "GB18030",
    "SHIFT_JIS_2004",
];

/// How long a statement waits for the catalog to be read.
const PATIENCE: Duration = Duration::from_millis(500);
/// Where that was in vain, nobody waits again so soon.
const IMPATIENT: Duration = Duration::from_secs(2);

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// A value the server reported. False: the client has been told it already.
    pub(super) fn note_report(&mut self, name: &str, value: &str) -> bool {
        match self.reported.iter_mut().find(|(known, _)| &**known == name) {
            Some((_, known)) if **known == *value => return !self.home.is_shared(),
            Some((_, known)) => *known = value.into(),
            None => self.reported.push((name.into(), value.into())),
        }
        self.note_setting(name, value);
        true
    }

    /// A value the server reported.
    pub(super) fn note_setting(&mut self, name: &str, value: &str) {
        match name {
            "application_name" => {
                self.facts.application = value.into();
                self.presence.calls_itself(&self.facts.application);
            }
            "standard_conforming_strings" => self.facts.standard_strings = value == "on",
            "client_encoding" => {
                self.unsafe_encoding = UNSAFE_ENCODINGS.contains(&value);
                self.single_byte = !value.eq_ignore_ascii_case("UTF8") && !value.starts_with("EUC");
            }
            "search_path" => self.facts.search_path = parse_search_path(value, &self.facts.role),
            _ => return,
        }
        self.facts.generation += 1;
    }

    /// ReadyForQuery: the truth about the transaction.
    pub(super) fn note_ready(&mut self, status: u8) {
        self.facts.transaction = TransactionState::from_byte(status);
        // PostgreSQL 17 and later leave the implicit transaction of a pipeline open behind
        // a Query, and trip over it behind the Sync (XX000): that is nobody else's.
        self.dirty |= status == b'T' && !self.in_block;
        self.in_block = self.facts.transaction != TransactionState::Idle;
        self.progress.statements = self.progress.statements.wrapping_add(1);
        self.executed = 0;
        self.stopped = None;
        self.fresh = false;
        self.unsure = false;
        if self.in_block {
            return;
        }
        self.reading_moved = false;
        self.progress.transactions = self.progress.transactions.wrapping_add(1);
        self.presence.transaction_ended();
        self.presence.prepared.set(self.names.n_prepared());
        self.end_role(self.failed);
        self.wants.end(!self.failed);
        self.failed = false;
        self.ledger.end();
        self.names.end_transaction(self.queue.done());
        self.settings_changed = false;
        if std::mem::take(&mut self.role_unsure) {
            self.facts.role = Arc::from("");
            self.facts.search_path = None;
            self.facts.generation += 1;
            if self.home.is_shared() {
                self.note_wanted();
            }
        }
        if std::mem::take(&mut self.ddl) {
            self.catalog.note_ddl();
        }
        if std::mem::take(&mut self.coded) {
            self.ticket = self.catalog.note_code();
        }
    }

    /// Whether definitions changed in this transaction, which the catalog cannot see yet.
    pub(super) fn ddl_pending(&self) -> bool {
        self.ddl || self.coded
    }

    /// A statement of a run is done.
    pub(super) fn after_statement(&mut self, run: &Run, complete: bool) {
        self.progress.statements = self.progress.statements.wrapping_add(1);
        let Some((statement, _)) = run.statements.get(run.at) else {
            return;
        };
        if self.found(statement).plain {
            return;
        }
        let statement = statement.clone();
        let facts = &statement.facts;
        // EXECUTE and FETCH do what the statement behind the name does.
        let target = self.behind(facts);
        if self.home.is_shared() {
            self.note_use(&statement);
            if let Some(target) = &target {
                self.note_use(target);
            }
        }
        if let Some(target) = &target {
            self.note_settings(&target.facts);
        }
        // What is behind a view, a trigger or a name counts as much as what is written.
        for statement in std::iter::once(&statement).chain(&target) {
            self.note_definitions(statement);
        }
        let plain = Effects::READS | Effects::WRITES;
        if plain.contains(facts.effects)
            && facts.control.is_none()
            && facts.handle.is_none()
            && facts.settings.is_empty()
        {
            return;
        }
        if let Some(Handle::Fetch(name, _)) = &facts.handle
            && let Some(cursor) = self.names.cursor(name)
        {
            cursor.rows.set(cursor.rows.get() + run.rows);
        }
        self.note_settings(facts);
        if !complete {
            return;
        }
        self.note_control(facts);
        if matches!(facts.handle, Some(Handle::DiscardAll)) {
            self.note_discard();
        }
        self.note_handle(&statement);
    }

    /// A role that was set in a transaction that is undone is unknown afterwards.
    fn end_role(&mut self, undone: bool) {
        let moved = std::mem::take(&mut self.role_moved);
        self.role_unsure |= moved && undone;
    }

    fn note_control(&mut self, facts: &Facts) {
        match &facts.control {
            None | Some(Control::FinishPrepared) => {}
            Some(Control::Begin) => self.in_block = true,
            Some(Control::Commit(chain) | Control::Rollback(chain)) => {
                let rolled_back = matches!(facts.control, Some(Control::Rollback(_)));
                if rolled_back {
                    self.forget_settings();
                }
                self.end_role(rolled_back || self.failed);
                self.wants.end(!rolled_back && !self.failed);
                self.failed = false;
                self.in_block = *chain;
                self.progress.transactions = self.progress.transactions.wrapping_add(1);
                self.ledger.end();
                self.names.end_transaction(self.queue.done());
            }
            Some(Control::PrepareTransaction) => {
                self.in_block = false;
                self.ledger.end();
            }
            Some(Control::Savepoint(name)) => {
                self.ledger.savepoint(name.clone());
                self.wants.savepoint(name);
            }
            Some(Control::Release(name)) => self.ledger.release(name),
            Some(Control::RollbackTo(name)) => {
                self.ledger.rollback_to(name);
                self.role_unsure |= self.role_moved;
                self.wants.rollback_to(name);
                self.failed = false;
                self.forget_settings();
            }
        }
    }

    fn note_settings(&mut self, facts: &Facts) {
        self.plain_settings &= facts.settings.is_empty();
        for setting in &facts.settings {
            match &*setting.name {
                "search_path" => {
                    let value = setting.value.as_deref().unwrap_or("");
                    self.temporary |= value.to_ascii_lowercase().contains("pg_temp");
                    // A local value ends with the transaction: from then on it is unknown.
                    self.facts.search_path = match (&setting.value, setting.local) {
                        (Some(value), false) => parse_search_path(value, &self.facts.role),
                        _ => None,
                    };
                }
                // RESET ALL, or a name that code has put together: any of them.
                "*" => {
                    let login = self.loan.as_ref().map(|loan| &loan.link.handle);
                    let back = login
                        .filter(|login| facts.kind == Kind::Reset && login.role == self.facts.role);
                    self.facts.search_path = back.and_then(|login| login.search_path.clone());
                    self.facts.settings.clear();
                }
                "role" | "session_authorization" => {
                    // `none` is the role of the session, which the gate may not know.
                    let role = setting.value.clone().filter(|role| &**role != "none");
                    self.facts.role = role.unwrap_or_else(|| Arc::from(""));
                    self.facts.search_path = None;
                    self.role_moved = true;
                    self.role_unsure |= setting.local;
                }
                name => {
                    let value = setting.value.clone().unwrap_or_else(|| Arc::from(""));
                    match self
                        .facts
                        .settings
                        .iter_mut()
                        .find(|(known, _)| &**known == name)
                    {
                        Some((_, old)) => *old = value,
                        None => self.facts.settings.push((setting.name.clone(), value)),
                    }
                }
            }
            self.facts.generation += 1;
            self.settings_changed = true;
        }
    }

    /// After a rollback nobody told what the settings are again.
    fn forget_settings(&mut self) {
        if self.settings_changed {
            self.facts.search_path = None;
            self.facts.settings.clear();
            self.facts.generation += 1;
        }
    }

    /// DISCARD ALL: the session is as it was at login.
    fn note_discard(&mut self) {
        if let Some(loan) = &self.loan {
            self.facts.search_path = loan.link.handle.search_path.clone();
            self.facts.role = loan.link.handle.role.clone();
        }
        self.facts.settings.clear();
        self.facts.generation += 1;
        self.temporary = false;
    }

    pub(super) fn note_handle(&mut self, statement: &Arc<Statement>) {
        match &statement.facts.handle {
            Some(Handle::Prepare(name, inner)) => self.note_prepare(name, inner.clone()),
            Some(Handle::Deallocate(Some(name))) => {
                self.names.set_prepared(name.as_bytes().into(), None);
            }
            Some(Handle::Deallocate(None)) => self.names.forget_prepared(),
            Some(Handle::Declare(name, inner)) => {
                self.names.set_cursor(name.clone(), inner.clone())
            }
            Some(Handle::Close(name)) => self.names.close_cursor(name.as_deref()),
            Some(Handle::DiscardAll) => self.names.forget_all(),
            Some(Handle::Execute(_) | Handle::Fetch(..)) | None => {}
        }
    }

    /// SQL's PREPARE shares one name space with Parse.
    fn note_prepare(&mut self, name: &Arc<str>, inner: Arc<Statement>) {
        use std::cell::{Cell, RefCell};
        let analysis = crate::model::Analysis {
            text: inner.text.clone(),
            statements: vec![inner.clone()],
            problem: None,
        };
        let prepared = super::names::Prepared {
            analysis: Arc::new(analysis),
            statement: Some(inner),
            permit: RefCell::new(None),
            types: Box::default(),
            epoch: Cell::new(self.names_epoch),
            lexing: self.lexing(),
            shared: None,
            spent: Cell::new((0, 0)),
        };
        self.names
            .set_prepared(name.as_bytes().into(), Some(std::rc::Rc::new(prepared)));
    }

    /// A statement has run, or a part of it.
    fn note_definitions(&mut self, statement: &Statement) {
        let facts = &statement.facts;
        if matches!(facts.handle, Some(Handle::Prepare(..))) {
            // Nothing has run.
            return;
        }
        if facts
            .effects
            .intersects(Effects::SCHEMA | Effects::PRIVILEGE)
        {
            // TEMP is not a fact of its own; a created object may be one.
            let temporary = facts.kind == Kind::Create && facts.effects.contains(Effects::SESSION);
            self.temporary |= temporary;
            self.ddl = true;
            self.catalog.note_ddl();
        }
        self.note_code(statement);
        self.note_reading(facts);
    }

    /// Code has run, or will, if only while the statement is planned.
    pub(super) fn note_code(&mut self, statement: &Statement) {
        let traces = self.traces_of(statement);
        let unseen = traces.names || statement.facts.is_opaque();
        if !(unseen || traces.state) {
            return;
        }
        // It may have changed settings or made temporary objects; what nobody can
        // see through may have defined anything, and prepared statements.
        self.coded |= unseen;
        self.unsure = true;
        self.reading_moved = true;
        if !(self.tainted && self.temporary && self.facts.search_path.is_none()) {
            self.tainted = true;
            self.temporary = true;
            self.facts.search_path = None;
            self.facts.generation += 1;
        }
    }

    /// A statement is planned, which runs functions that claim to be immutable.
    pub(super) fn note_planned(&mut self, statement: &Statement) {
        if self.found(statement).plain {
            return;
        }
        self.note_code(statement);
        if self.home.is_shared() {
            self.note_traces(statement);
        }
    }

    /// Whether names may lead to other tables behind this statement.
    pub(super) fn defines(&self, statement: &Statement) -> bool {
        if self.found(statement).plain {
            return false;
        }
        let target = self.behind(&statement.facts);
        let mut all = std::iter::once(statement).chain(target.as_deref());
        all.any(|statement| {
            let facts = &statement.facts;
            !matches!(facts.handle, Some(Handle::Prepare(..)))
                && (facts
                    .effects
                    .intersects(Effects::SCHEMA | Effects::PRIVILEGE)
                    || facts.is_opaque()
                    || self.traces_of(statement).state)
        })
    }

    /// Whether definitions went by that the catalog has not been read for yet.
    pub(super) fn is_behind(&self) -> bool {
        let pulse = self.pulse();
        pulse.covered < pulse.wanted.max(self.ticket)
            && self.waited.is_none_or(|at| self.now() - at > IMPATIENT)
    }

    /// Waits until the catalog knows what has been defined. Not for ever: where it
    /// cannot be read the statement is judged as one whose names are not known.
    pub(super) async fn catch_up(&mut self) {
        let ticket = self.catalog.pulse(self.now()).wanted.max(self.ticket);
        let caught_up = self.catalog.covers(ticket, PATIENCE).await;
        self.waited = (!caught_up).then(std::time::Instant::now);
    }
}
