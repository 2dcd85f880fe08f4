//! The extended protocol: Parse, Bind, Describe, Execute, Close.
//!
//! Judged at Parse; at Bind where values decide; at Execute only what may have
//! changed since is compared.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};

use super::Error;
use super::client::{Job, Took};
use super::expected::{Expected, Run, Statements, Undo};
use super::line::Decided;
use super::names::{Given, Portal, Prepared};
use super::permit::NoPermit;
use super::refuse;
use super::roster::add;
use super::session::Session;
use crate::model::{Refusal, Traits};
use crate::safety::limit::CountPlan;
use crate::wire::postgres::frame::{HEADER, client};
use crate::wire::postgres::{encode, message};

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) fn on_parse(&mut self, size: usize) -> Result<Took, Error> {
        if !self.awaited.is_again() {
            add(&self.presence.tally.client_parses, 1);
        }
        let body = &self.inbox[HEADER..size];
        let parse = message::parse(body).map_err(Error::Client)?;
        let taken = !parse.name.is_empty() && self.names.prepared(parse.name).is_some();
        let unsure = taken && self.queue.is_pending(parse.name);
        if self.home.is_shared() && (unsure || self.may_come_back(parse.name)) {
            // Whether the name is taken will be known when that is answered.
            return Ok(Took::Wait);
        }
        let (analysis, analyzed) = self.analyze(parse.text);
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
                Decided::Later => return Ok(Took::Later),
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
        if self.home.is_shared() && !name.is_empty() && self.names.prepared(&name).is_some() {
            // The server knows other names than the client: it cannot say this itself.
            let text = String::from_utf8_lossy(&name).into_owned();
            let text = format!("prepared statement \"{text}\" already exists");
            self.refuse_unknown("42P05", text);
            return Ok(Took::Done);
        }
        // The server takes one statement per Parse; for several it answers with an error.
        let statement = if analysis.statements.len() == 1 {
            analysis.statements.first().cloned()
        } else {
            None
        };
        // Several statements are an error, which the server finds the words for.
        let shares = self.home.is_shared() && !name.is_empty() && analysis.statements.len() < 2;
        let renamed = self.renamed(&analysis.text, &analysis.statements);
        let shared = if shares {
            let parse = message::parse(&self.inbox[HEADER..size]).map_err(Error::Client)?;
            Some(self.share(parse.text, &types))
        } else {
            None
        };
        let prepared = Rc::new(Prepared {
            epoch: Cell::new(self.names_epoch),
            lexing: self.lexing(),
            shared: shared.clone(),
            statement,
            analysis,
            permit: RefCell::new(permit),
            types,
            spent: Cell::new((analyzed, self.worker.take_spent())),
        });
        let before = self
            .names
            .set_prepared(name.clone(), Some(prepared.clone()));
        let undo = Undo::Prepared(name.clone(), before);
        if let Some(shared) = shared {
            self.parse_shared(&shared, undo);
            return Ok(Took::Done);
        }
        self.unnamed_here |= name.is_empty();
        self.queue.push(Expected::Parse(undo, None));
        let Some(text) = renamed else {
            return Ok(Took::Forward);
        };
        encode::parse(&mut self.up, &name, text.as_bytes(), &prepared.types);
        Ok(Took::Done)
    }

    /// A failed Parse of the unnamed statement leaves none behind (55.2.3).
    pub(super) fn drop_unnamed(&mut self, name: &[u8]) {
        if name.is_empty() && self.names.prepared(b"").is_some() {
            encode::close(&mut self.up, b'S', b"");
            self.queue.push(Expected::Close(None));
            self.names.set_prepared(Box::default(), None);
        }
    }

    pub(super) fn on_bind(&mut self, size: usize) -> Result<Took, Error> {
        let bind = message::bind(&self.inbox[HEADER..size]).map_err(Error::Client)?;
        if !self.awaited.is_again() {
            add(&self.presence.tally.binds, 1);
        }
        if self.may_come_back(bind.statement) {
            return Ok(Took::Wait);
        }
        let Some(prepared) = self.names.prepared(bind.statement).cloned() else {
            if self.queue.is_pending(bind.statement) {
                // What took the name away may still be skipped.
                return Ok(Took::Wait);
            }
            let name: Box<[u8]> = bind.statement.into();
            self.refuse_no_statement(&name);
            return Ok(Took::Done);
        };
        if let Some(text) = self.reads_otherwise(&prepared) {
            self.refuse_unknown("0A000", text);
            return Ok(Took::Done);
        }
        let name: Box<[u8]> = bind.portal.into();
        let mut portal = Portal {
            prepared: prepared.clone(),
            permit: RefCell::new(None),
            rows_left: Cell::new(None),
            values: None,
            started: Cell::new(false),
            planned: Cell::new(false),
            place: Cell::new(0),
        };
        if let Some(statement) = prepared.statement.clone() {
            let values = if prepared.permit.borrow().is_none() {
                Some(super::permit::bind_values(&bind, &prepared)?)
            } else {
                None
            };
            let given = match self.permit_for(&prepared, &statement, values.as_deref()) {
                Ok(given) => given,
                Err(NoPermit::Later) => return Ok(Took::Later),
                Err(NoPermit::Refused(refused)) => {
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
            let bound = Some((&*prepared.types, bind.count().map_err(Error::Client)?));
            let good = needs.plan && self.plan_is_good(&statement, &permit, bound);
            portal.planned.set(good);
            if (needs.plan && !good) || watch_planning {
                portal.values = Some(bind.rest.into());
                let frame = self.bind_frame(size, &prepared)?;
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
        if !self.home.is_shared() {
            let statement: Box<[u8]> = bind.statement.into();
            self.ready_on_link(&statement, &prepared);
            self.push_bind(name, Rc::new(portal));
            return Ok(Took::Forward);
        }
        let bind = message::bind(&self.inbox[HEADER..size]).map_err(Error::Client)?;
        let (from, to) = (size - bind.rest.len(), size);
        let unnamed = bind.statement.is_empty();
        let statement: Box<[u8]> = if unnamed {
            Box::default()
        } else {
            bind.statement.into()
        };
        let server = self.ready_on_link(&statement, &prepared);
        let server = match &server {
            Some(shared) => &shared.name[..],
            None => &statement,
        };
        encode::bind_rest(&mut self.up, &name, server, &self.inbox[from..to]);
        self.push_bind(name, Rc::new(portal));
        Ok(Took::Done)
    }

    fn may_come_back(&self, name: &[u8]) -> bool {
        !name.is_empty() && self.home.is_shared() && self.queue.may_come_back(name)
    }

    /// The Bind in the inbox with the name that the link knows.
    pub(super) fn bind_frame(
        &mut self,
        size: usize,
        prepared: &Prepared,
    ) -> Result<BytesMut, Error> {
        let bind = message::bind(&self.inbox[HEADER..size]).map_err(Error::Client)?;
        let mut frame = BytesMut::with_capacity(size + 24);
        if !self.home.is_shared() {
            let statement: Box<[u8]> = bind.statement.into();
            self.ready_on_link(&statement, prepared);
            frame.extend_from_slice(&self.inbox[..size]);
            return Ok(frame);
        }
        let (portal, statement): (Box<[u8]>, Box<[u8]>) =
            (bind.portal.into(), bind.statement.into());
        let server = self.ready_on_link(&statement, prepared);
        let server = match &server {
            Some(shared) => &shared.name[..],
            None => &statement,
        };
        let bind = message::bind(&self.inbox[HEADER..size]).map_err(Error::Client)?;
        encode::bind_rest(&mut frame, &portal, server, bind.rest);
        Ok(frame)
    }

    /// Remembers a portal that is on its way to the server.
    pub(super) fn push_bind(&mut self, name: Box<[u8]>, portal: Rc<Portal>) {
        if let Some(statement) = portal.prepared.statement.clone() {
            self.note_planned(&statement);
        }
        portal.place.set(self.queue.next_place());
        let before = self.names.set_portal(name.clone(), Some(portal));
        self.queue.push(Expected::Bind(Undo::Portal(name, before)));
    }

    pub(super) fn on_describe(&mut self, size: usize) -> Result<Took, Error> {
        let target =
            message::target(client::DESCRIBE, &self.inbox[HEADER..size]).map_err(Error::Client)?;
        let (portal, name): (bool, Box<[u8]>) = (target.portal, target.name.into());
        let known = (!portal)
            .then(|| self.names.prepared(&name).cloned())
            .flatten();
        if let Some(text) = known.as_ref().and_then(|known| self.reads_otherwise(known)) {
            self.refuse_unknown("0A000", text);
            return Ok(Took::Done);
        }
        if let Some(prepared) = known.as_ref().filter(|_| !self.home.is_shared()) {
            self.ready_on_link(&name, prepared);
        }
        if !portal && known.is_none() && self.home.is_shared() {
            // The server may know the name: as somebody else's, or as one of the gate's.
            if self.queue.is_pending(&name) {
                return Ok(Took::Wait);
            }
            self.refuse_no_statement(&name);
            return Ok(Took::Done);
        }
        let Some(prepared) = known.filter(|_| self.home.is_shared()) else {
            self.queue.push(Expected::Describe);
            return Ok(Took::Forward);
        };
        let server = self.ready_on_link(&name, &prepared);
        let server = match &server {
            Some(shared) => &shared.name[..],
            None => &name,
        };
        encode::describe(&mut self.up, b'S', server);
        self.queue.push(Expected::Describe);
        Ok(Took::Done)
    }

    pub(super) fn on_execute(&mut self, size: usize) -> Result<Took, Error> {
        let execute = message::execute(&self.inbox[HEADER..size]).map_err(Error::Client)?;
        let rows_max = execute.rows_max;
        let Some(portal) = self.names.portal(execute.portal).cloned() else {
            if self.queue.is_pending_portal(execute.portal) {
                return Ok(Took::Wait);
            }
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
            Err(NoPermit::Later) => return Ok(Took::Later),
            Err(NoPermit::Refused(refused)) => {
                self.refuse_extended(Some(&statement), &refused);
                return Ok(Took::Done);
            }
        };
        if let Some(refused) = self.cannot(&statement, &permit, &needs) {
            self.refuse_extended(Some(&statement), &refused);
            return Ok(Took::Done);
        }
        if statement.facts.handle.is_some()
            && let Some((code, text)) = self.misuses_name(std::slice::from_ref(&statement))
        {
            self.refuse_unknown(code, text);
            return Ok(Took::Done);
        }
        self.note_sent(&statement);
        self.write_notices(std::iter::once(&permit));
        let returned = needs.limits.returned.is_some();
        let planned = !needs.plan || portal.planned.get();
        let counted = match &needs.limits.changed {
            CountPlan::Tag(groups) if rows_max <= 0 && self.commits_later() => Some(groups.clone()),
            _ => None,
        };
        let counted = counted.filter(|_| !portal.started.get());
        let free = needs.impossible.is_none()
            && planned
            && (counted.is_some() || matches!(needs.limits.changed, CountPlan::Nothing));
        if free && (!returned || (needs.limits.read_only && self.executed == 0)) {
            let spent = prepared.spent.take();
            let mut run = Run::new(
                Statements::One(statement, permit),
                false,
                spent,
                self.presence.asks(self.now()),
            );
            if counted.is_some() {
                portal.started.set(true);
                self.watched += 1;
                run.watching += 1;
                run.counted = counted;
            }
            if let Some(limit) = &needs.limits.returned {
                let left = self.rows_left(&portal, &run, limit.limit);
                self.watch(&mut run, left, limit);
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

    pub(super) fn on_close(&mut self, size: usize) -> Result<Took, Error> {
        let target =
            message::target(client::CLOSE, &self.inbox[HEADER..size]).map_err(Error::Client)?;
        let name: Box<[u8]> = target.name.into();
        let undo = if target.portal {
            let before = self.names.set_portal(name.clone(), None);
            Undo::Portal(name, before)
        } else {
            let shared = self.home.is_shared()
                && match self.names.prepared(&name) {
                    Some(prepared) => prepared.shared.is_some(),
                    // Closing a name that is not there is no error (55.2.3).
                    None => !name.is_empty(),
                };
            let before = self.names.set_prepared(name.clone(), None);
            if shared {
                self.close_shared(Undo::Prepared(name, before));
                return Ok(Took::Done);
            }
            Undo::Prepared(name, before)
        };
        self.queue.push(Expected::Close(Some(undo)));
        Ok(Took::Forward)
    }
}
