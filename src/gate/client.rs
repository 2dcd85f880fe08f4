//! What comes from the client: judged, then passed on or handed to the slow way.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Error;
use super::expected::{Expected, Run, Statements, Undo};
use super::line::{Decided, Needs, nanos};
use super::names::{Given, Portal, Prepared};
use super::refuse;
use super::session::{Mode, Session, Step};
use crate::model::{BindValue, Refusal, Statement, Traits, refusal::sqlstate};
use crate::policy::{Permit, Refused};
use crate::safety::limit::CountPlan;
use crate::wire::postgres::frame::{self, HEADER, client};
use crate::wire::postgres::{encode, message};

/// A request that needs work before or after; everything it takes with it.
pub(super) enum Job {
    /// A simple query string.
    Query {
        /// The frame.
        frame: BytesMut,
        /// Statements with permits.
        statements: Rc<[(Arc<Statement>, Permit)]>,
        /// What they need.
        needs: Vec<Rc<Needs>>,
        /// Time spent so far.
        spent: (u64, u64),
    },
    /// An Execute.
    Execute {
        /// The frame.
        frame: BytesMut,
        /// The portal.
        portal: Rc<Portal>,
        /// Statement and permit.
        statement: Arc<Statement>,
        /// Permit.
        permit: Permit,
        /// What it needs.
        needs: Rc<Needs>,
        /// Rows wanted; zero or less for all.
        rows_max: i32,
    },
    /// A Bind whose planning must be watched, or whose plan must be looked at first.
    Bind {
        /// The frame.
        frame: BytesMut,
        /// Portal name.
        name: Box<[u8]>,
        /// The new portal.
        portal: Rc<Portal>,
        /// Permit.
        permit: Permit,
        /// What it needs.
        needs: Rc<Needs>,
    },
    /// A Sync while a block of the gate's own is open.
    Sync,
}

/// What became of a client frame.
enum Took {
    /// It was handled and taken off the inbox.
    Done,
    /// It goes to the server as it is.
    Forward,
    /// It needs the slow way.
    Slow(Box<Job>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Handles what the client has sent so far.
    pub(super) fn on_client_bytes(&mut self, mode: Mode) -> Result<Option<Step>, Error> {
        loop {
            if self.client_skip > 0 {
                let n = self.client_skip.min(self.inbox.len());
                self.forward(n);
                self.client_skip -= n;
                if self.client_skip > 0 {
                    return Ok(None);
                }
            }
            let header =
                frame::peek(&self.inbox, self.limits.message_bytes_max).map_err(Error::Client)?;
            let Some((tag, size)) = header else {
                return Ok(None);
            };
            if tag == client::COPY_DATA && self.copy_in {
                // Streams: a message of a gigabyte needs no gigabyte here.
                self.client_skip = size;
                continue;
            }
            if self.inbox.len() < size {
                return Ok(None);
            }
            if matches!(
                tag,
                client::COPY_DATA | client::COPY_DONE | client::COPY_FAIL
            ) {
                if !self.copy_in && !self.queue.is_empty() && !self.discard {
                    // Sent together with the COPY: the server has not opened it yet.
                    return Ok(None);
                }
                self.on_copy(tag, size);
                continue;
            }
            if self.copy_in && matches!(tag, client::SYNC | client::FLUSH) {
                // The server ignores both until the data ends (55.2.7).
                self.inbox.advance(size);
                continue;
            }
            if mode == Mode::Settle || self.must_wait(tag) {
                return Ok(None);
            }
            if self.discard && !matches!(tag, client::SYNC | client::TERMINATE) {
                self.inbox.advance(size);
                continue;
            }
            match self.on_client_frame(tag, size)? {
                Took::Done => self.inbox.advance(size),
                Took::Forward => self.forward(size),
                Took::Slow(job) => {
                    self.inbox.advance(size);
                    return Ok(Some(Step::Job(job)));
                }
            }
            if tag == client::TERMINATE {
                return Ok(Some(Step::Goodbye));
            }
        }
    }

    fn forward(&mut self, n: usize) {
        self.loan.link.outbox.extend_from_slice(&self.inbox[..n]);
        self.inbox.advance(n);
    }

    /// While the rows of a statement are counted nothing but its Sync may follow:
    /// what comes later must not run when it is refused.
    fn must_wait(&self, tag: u8) -> bool {
        self.watched > 0
            && (self.queue.ends_with_ready()
                || !matches!(tag, client::SYNC | client::FLUSH | client::TERMINATE))
    }

    fn on_copy(&mut self, tag: u8, size: usize) {
        if self.copy_in {
            self.forward(size);
            if tag != client::COPY_DATA {
                self.copy_in = false;
                if !self.queue.ends_with_ready() {
                    // A held Execute waits for its tag, and the client's Sync waits behind it.
                    encode::flush(&mut self.loan.link.outbox);
                }
            }
        } else {
            // Late data after an error: the server would skip it as well (55.2.7).
            self.inbox.advance(size);
        }
    }

    fn on_client_frame(&mut self, tag: u8, size: usize) -> Result<Took, Error> {
        match tag {
            client::QUERY => self.on_query(size),
            client::PARSE => self.on_parse(size),
            client::BIND => self.on_bind(size),
            client::EXECUTE => self.on_execute(size),
            client::DESCRIBE => {
                message::target(tag, &self.inbox[HEADER..size]).map_err(Error::Client)?;
                self.queue.push(Expected::Describe);
                Ok(Took::Forward)
            }
            client::CLOSE => self.on_close(size),
            client::FLUSH => Ok(Took::Forward),
            client::SYNC => Ok(self.on_sync()),
            client::TERMINATE => Ok(Took::Done),
            client::FUNCTION_CALL => {
                let refusal = Refusal::gate(
                    "function-call",
                    sqlstate::NOT_SUPPORTED,
                    "function calls by protocol message are not supported by the gate",
                )
                .hint("Call the function in a select statement instead.");
                let incident = self.incident();
                self.record_refusal("", None, &refusal, None, false, true, &incident);
                self.refuse_query(refuse::message(&refusal, &incident));
                Ok(Took::Done)
            }
            other => Err(Error::Client(crate::wire::postgres::Error::Malformed(
                char::from(other),
            ))),
        }
    }

    fn on_sync(&mut self) -> Took {
        if self.own_block {
            return Took::Slow(Box::new(Job::Sync));
        }
        self.discard = false;
        self.queue.push(Expected::Sync);
        Took::Forward
    }

    fn on_query(&mut self, size: usize) -> Result<Took, Error> {
        let started = self.now();
        let text = message::query(&self.inbox[HEADER..size]).map_err(Error::Client)?;
        let analysis = self.analyze(text);
        let analyzed = nanos(started);
        let set = self.policies();
        let mut list = Vec::with_capacity(analysis.statements.len());
        for statement in &analysis.statements {
            match self.decide(&set, &analysis, statement, Some(&[])) {
                Decided::Permit(permit) => list.push((statement.clone(), permit)),
                Decided::Refuse(refused) => {
                    self.refuse_simple(&analysis.text, statement, &refused);
                    return Ok(Took::Done);
                }
                Decided::NeedsValues => {
                    let refused = refuse::by_gate(Refusal::gate(
                        "values",
                        sqlstate::REFUSED,
                        "a policy needs values that this statement does not carry",
                    ));
                    self.refuse_simple(&analysis.text, statement, &refused);
                    return Ok(Took::Done);
                }
            }
        }
        let statements: Rc<[_]> = list.into();
        let spent = (analyzed, nanos(started).saturating_sub(analyzed));
        let needs: Vec<Rc<Needs>> = statements
            .iter()
            .map(|(statement, permit)| self.needs(statement, permit))
            .collect();
        for ((statement, permit), need) in statements.iter().zip(&needs) {
            if let Some(refused) = self.cannot(statement, permit, need) {
                self.refuse_simple(&analysis.text, statement, &refused);
                return Ok(Took::Done);
            }
        }
        self.write_notices(statements.iter().map(|(_, permit)| permit));
        let returned = needs.iter().any(|need| need.limits.returned.is_some());
        let free = needs.iter().all(|need| need.is_free());
        // Rows of one read-only statement can be counted while they pass; a
        // string of several must not commit what stands behind the offender.
        let countable =
            !returned || (statements.len() == 1 && needs[0].limits.read_only && self.executed == 0);
        if free && countable {
            let mut run = Run::new(Statements::Many(statements), true, spent);
            if let Some(limit) = needs.first().and_then(|need| need.limits.returned.as_ref()) {
                let left = self.rows_left_of(&run, limit.limit);
                self.watch(&mut run, left, &limit.refusal());
            }
            self.queue.push(Expected::Query(Box::new(run)));
            self.executed += 1;
            return Ok(Took::Forward);
        }
        let frame = BytesMut::from(&self.inbox[..size]);
        Ok(Took::Slow(Box::new(Job::Query {
            frame,
            statements,
            needs,
            spent,
        })))
    }

    /// Rows of this run are counted while they are relayed.
    pub(super) fn watch(&mut self, run: &mut Run, rows: u64, refusal: &Refusal) {
        run.rows_left = Some(rows);
        let incident = self.incident();
        run.refusal = Some(refuse::message(refusal, &incident));
        self.watched += 1;
    }

    fn refuse_simple(&mut self, text: &str, statement: &Statement, refused: &Refused) {
        let incident = self.incident();
        self.record_refusal(
            text,
            Some(statement),
            &refused.refusal,
            Some(&refused.verdict),
            refused.remembered,
            true,
            &incident,
        );
        self.refuse_query(refuse::message(&refused.refusal, &incident));
    }

    /// Refuses in a pipeline and records it.
    pub(super) fn refuse_extended(&mut self, statement: Option<&Statement>, refused: &Refused) {
        let incident = self.incident();
        let text = statement.map_or("", |statement| &statement.text);
        self.record_refusal(
            text,
            statement,
            &refused.refusal,
            Some(&refused.verdict),
            refused.remembered,
            false,
            &incident,
        );
        self.refuse_pipelined(refuse::message(&refused.refusal, &incident));
    }

    /// What makes a permitted statement impossible before it runs: requirements
    /// nobody can enforce, counting that cannot work, a spent rate.
    fn cannot(&self, statement: &Statement, permit: &Permit, needs: &Needs) -> Option<Refused> {
        let refusal = if let Some(refusal) = &needs.impossible {
            Some(refusal.clone())
        } else if let CountPlan::Refuse(refusal) = &needs.limits.changed {
            Some(refusal.clone())
        } else if needs.rate {
            self.worker
                .rates
                .charge(
                    permit.requirements(),
                    &self.client,
                    &self.facts,
                    statement.facts.kind,
                    &self.client.database,
                )
                .err()
        } else {
            None
        };
        refusal.map(|refusal| refuse::by_host(refusal, permit))
    }

    fn on_parse(&mut self, size: usize) -> Result<Took, Error> {
        let started = self.now();
        let body = &self.inbox[HEADER..size];
        let parse = message::parse(body).map_err(Error::Client)?;
        let analysis = self.analyze(parse.text);
        let analyzed = nanos(started);
        let name: Box<[u8]> = parse.name.into();
        let types: Box<[u32]> = parse.type_oids().collect();
        let set = self.policies();
        let mut permit = None;
        for statement in &analysis.statements {
            match self.decide(&set, &analysis, statement, None) {
                Decided::Permit(p) => {
                    permit = Some(self.given(statement, p));
                    continue;
                }
                Decided::NeedsValues => {
                    permit = None;
                    continue;
                }
                Decided::Refuse(refused) => {
                    self.drop_unnamed(&name);
                    self.refuse_extended(Some(statement), &refused);
                    return Ok(Took::Done);
                }
            }
        }
        if !name.is_empty()
            && self.names.n_prepared() >= self.limits.prepared_max
            && self.names.prepared(&name).is_none()
        {
            let refusal = Refusal::gate(
                "prepared-max",
                "53400",
                format!(
                    "a session may hold at most {} prepared statements",
                    self.limits.prepared_max
                ),
            )
            .hint("Close or deallocate statements that are not needed any more.");
            self.refuse_extended(
                analysis.statements.first().map(|s| &**s),
                &refuse::by_gate(refusal),
            );
            return Ok(Took::Done);
        }
        // The server takes one statement per Parse; for several it answers with an error.
        let statement = if analysis.statements.len() == 1 {
            analysis.statements.first().cloned()
        } else {
            None
        };
        let prepared = Rc::new(Prepared {
            statement,
            analysis,
            permit: RefCell::new(permit),
            types,
            spent: Cell::new((analyzed, nanos(started).saturating_sub(analyzed))),
        });
        let before = self.names.set_prepared(name.clone(), Some(prepared));
        self.queue
            .push(Expected::Parse(Undo::Prepared(name, before)));
        Ok(Took::Forward)
    }

    /// A failed Parse of the unnamed statement leaves none behind (55.2.3).
    fn drop_unnamed(&mut self, name: &[u8]) {
        if name.is_empty() && self.names.prepared(b"").is_some() {
            encode::close(&mut self.loan.link.outbox, b'S', b"");
            self.queue.push(Expected::Close(None));
            self.names.set_prepared(Box::default(), None);
        }
    }

    fn on_bind(&mut self, size: usize) -> Result<Took, Error> {
        let bind = message::bind(&self.inbox[HEADER..size]).map_err(Error::Client)?;
        let Some(prepared) = self.names.prepared(bind.statement).cloned() else {
            let text = if bind.statement.is_empty() {
                "unnamed prepared statement does not exist".to_owned()
            } else {
                format!(
                    "prepared statement \"{}\" does not exist",
                    String::from_utf8_lossy(bind.statement)
                )
            };
            self.refuse_unknown("26000", text);
            return Ok(Took::Done);
        };
        let name: Box<[u8]> = bind.portal.into();
        let mut portal = Portal {
            prepared: prepared.clone(),
            permit: RefCell::new(None),
            rows_left: Cell::new(None),
            values: None,
            started: Cell::new(false),
            planned: Cell::new(false),
        };
        if let Some(statement) = prepared.statement.clone() {
            let values = if prepared.permit.borrow().is_none() {
                Some(bind_values(&bind, &prepared)?)
            } else {
                None
            };
            let given = match self.permit_for(&prepared, &statement, values.as_deref()) {
                Ok(given) => given,
                Err(refused) => {
                    self.refuse_extended(Some(&statement), &refused);
                    return Ok(Took::Done);
                }
            };
            if values.is_some() {
                *portal.permit.borrow_mut() = Some(given.clone());
                portal.values = Some(bind.rest.into());
            }
            let Given { permit, needs, .. } = given;
            // Planning can already run functions that claim to be immutable.
            let watch_planning = matches!(&needs.limits.changed, CountPlan::Counters(_))
                && statement.facts.traits.contains(Traits::CALLS_FUNCTIONS);
            if needs.plan || watch_planning {
                portal.values = Some(bind.rest.into());
                let frame = BytesMut::from(&self.inbox[..size]);
                let portal = Rc::new(portal);
                return Ok(Took::Slow(Box::new(Job::Bind {
                    frame,
                    name,
                    portal,
                    permit,
                    needs,
                })));
            }
        }
        self.push_bind(name, Rc::new(portal));
        Ok(Took::Forward)
    }

    /// Remembers a portal that is on its way to the server.
    pub(super) fn push_bind(&mut self, name: Box<[u8]>, portal: Rc<Portal>) {
        let before = self.names.set_portal(name.clone(), Some(portal));
        self.queue.push(Expected::Bind(Undo::Portal(name, before)));
    }

    /// A permit with what it needs in the present world.
    pub(super) fn given(&self, statement: &Arc<Statement>, permit: Permit) -> Given {
        Given {
            needs: self.needs(statement, &permit),
            world: self.world(),
            permit,
        }
    }

    /// The permit a prepared statement has, or a new decision when it no longer holds.
    fn permit_for(
        &self,
        prepared: &Prepared,
        statement: &Arc<Statement>,
        values: Option<&[BindValue]>,
    ) -> Result<Given, Box<Refused>> {
        let set = self.policies();
        if values.is_none()
            && statement.facts.handle.is_none()
            && let Some(given) = &*prepared.permit.borrow()
            && given
                .permit
                .holds(&set, &self.facts, std::time::SystemTime::now())
            && Rc::ptr_eq(&given.world, &self.world())
        {
            return Ok(given.clone());
        }
        match self.decide(&set, &prepared.analysis, statement, values) {
            Decided::Permit(permit) => {
                let given = self.given(statement, permit);
                if values.is_none() {
                    *prepared.permit.borrow_mut() = Some(given.clone());
                }
                Ok(given)
            }
            Decided::Refuse(refused) => Err(refused),
            Decided::NeedsValues => {
                *prepared.permit.borrow_mut() = None;
                let refusal = Refusal::gate(
                    "values",
                    sqlstate::REFUSED,
                    "the policies changed and now need the values of this statement",
                )
                .hint("Bind the statement again.");
                Err(Box::new(refuse::by_gate(refusal)))
            }
        }
    }

    /// Decides anew about a portal whose values were part of the decision.
    fn decide_bound(
        &self,
        portal: &Portal,
        statement: &Arc<Statement>,
    ) -> Result<Result<Given, Box<Refused>>, Error> {
        let rest = portal.values.as_deref().unwrap_or_default();
        let bind = message::Bind {
            portal: b"",
            statement: b"",
            rest,
        };
        let values = bind_values(&bind, &portal.prepared)?;
        let set = self.policies();
        Ok(
            match self.decide(&set, &portal.prepared.analysis, statement, Some(&values)) {
                Decided::Permit(permit) => {
                    let given = self.given(statement, permit);
                    *portal.permit.borrow_mut() = Some(given.clone());
                    Ok(given)
                }
                Decided::Refuse(refused) => Err(refused),
                Decided::NeedsValues => {
                    let refusal = Refusal::gate(
                        "values",
                        sqlstate::REFUSED,
                        "the values of this statement cannot be judged",
                    )
                    .hint("Bind the statement again.");
                    Err(Box::new(refuse::by_gate(refusal)))
                }
            },
        )
    }

    fn on_execute(&mut self, size: usize) -> Result<Took, Error> {
        let execute = message::execute(&self.inbox[HEADER..size]).map_err(Error::Client)?;
        let rows_max = execute.rows_max;
        let Some(portal) = self.names.portal(execute.portal).cloned() else {
            let text = format!(
                "portal \"{}\" does not exist",
                String::from_utf8_lossy(execute.portal)
            );
            self.refuse_unknown("34000", text);
            return Ok(Took::Done);
        };
        let prepared = &portal.prepared;
        let Some(statement) = prepared.statement.clone() else {
            let run = Run::nothing(false);
            self.queue.push(Expected::Execute(Box::new(run)));
            return Ok(Took::Forward);
        };
        let bound = portal.permit.borrow().clone();
        let decided = match bound {
            Some(given)
                if Rc::ptr_eq(&given.world, &self.world())
                    && given.permit.holds_bound(
                        &self.policies(),
                        &self.facts,
                        std::time::SystemTime::now(),
                    ) =>
            {
                Ok(given)
            }
            // The policies changed after Bind: they decide again, on the same values.
            Some(_) => self.decide_bound(&portal, &statement)?,
            None => self.permit_for(prepared, &statement, None),
        };
        let Given { permit, needs, .. } = match decided {
            Ok(given) => given,
            Err(refused) => {
                self.refuse_extended(Some(&statement), &refused);
                return Ok(Took::Done);
            }
        };
        if let Some(refused) = self.cannot(&statement, &permit, &needs) {
            self.refuse_extended(Some(&statement), &refused);
            return Ok(Took::Done);
        }
        self.write_notices(std::iter::once(&permit));
        let returned = needs.limits.returned.is_some();
        let planned = !needs.plan || portal.planned.get();
        let free = needs.impossible.is_none()
            && planned
            && matches!(needs.limits.changed, CountPlan::Nothing);
        if free && (!returned || (needs.limits.read_only && self.executed == 0)) {
            let spent = prepared.spent.take();
            let mut run = Run::new(Statements::One(statement, permit), false, spent);
            if let Some(limit) = &needs.limits.returned {
                let left = self.rows_left(&portal, &run, limit.limit);
                self.watch(&mut run, left, &limit.refusal());
                run.portal = Some(portal.clone());
            }
            self.queue.push(Expected::Execute(Box::new(run)));
            self.executed += 1;
            return Ok(Took::Forward);
        }
        let frame = BytesMut::from(&self.inbox[..size]);
        Ok(Took::Slow(Box::new(Job::Execute {
            frame,
            portal: portal.clone(),
            statement,
            permit,
            needs,
            rows_max,
        })))
    }

    fn on_close(&mut self, size: usize) -> Result<Took, Error> {
        let target =
            message::target(client::CLOSE, &self.inbox[HEADER..size]).map_err(Error::Client)?;
        let name: Box<[u8]> = target.name.into();
        let undo = if target.portal {
            let before = self.names.set_portal(name.clone(), None);
            Undo::Portal(name, before)
        } else {
            let before = self.names.set_prepared(name.clone(), None);
            Undo::Prepared(name, before)
        };
        self.queue.push(Expected::Close(Some(undo)));
        Ok(Took::Forward)
    }

    /// Notices of the policies, before the statement's own answers.
    fn write_notices<'a>(&mut self, permits: impl Iterator<Item = &'a Permit>) {
        for permit in permits {
            for notice in &permit.verdict().notices {
                let mut text = crate::model::UserMessage::error("00000", notice.text.to_string());
                text.severity = "NOTICE";
                text.constraint = notice.rule.to_string();
                encode::notice(&mut self.outbox, &text);
            }
        }
    }
}

/// The values of a Bind with the types of its statement.
fn bind_values(bind: &message::Bind<'_>, prepared: &Prepared) -> Result<Vec<BindValue>, Error> {
    let values = bind.values().map_err(Error::Client)?;
    Ok(values
        .into_iter()
        .enumerate()
        .map(|(i, value)| BindValue {
            type_oid: prepared.types.get(i).copied().unwrap_or(0),
            binary: value.binary,
            bytes: value.bytes,
        })
        .collect())
}
