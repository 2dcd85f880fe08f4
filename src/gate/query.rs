//! A simple Query: judged as a whole before any of it is sent.

use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};

use super::Error;
use super::client::{Job, Took};
use super::expected::{Expected, Run, Statements};
use super::line::{Decided, Needs};
use super::refuse;
use super::session::Session;
use crate::model::facts::{Control, Handle};
use crate::model::{
    Analysis, BindValue, Kind, Refusal, Statement, TransactionState, refusal::sqlstate,
};
use crate::policy::{Permit, Refused};
use crate::safety::limit::CountPlan;
use crate::wire::postgres::frame::HEADER;
use crate::wire::postgres::message;

/// NoticeResponse: there is no transaction in progress.
const NO_TRANSACTION: &[u8] =
    b"N\0\0\0\x43SWARNING\0VWARNING\0C25P01\0Mthere is no transaction in progress\0\0";

/// The statements of a string with their permits, and what those need.
pub(super) type Allowed = (Rc<[(Arc<Statement>, Permit)]>, Vec<Rc<Needs>>);

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) fn on_query(&mut self, size: usize) -> Result<Took, Error> {
        let text = message::query(&self.inbox[HEADER..size]).map_err(Error::Client)?;
        let (analysis, analyzed) = self.analyze(text);
        if self.home.is_shared() {
            // A simple Query ends the unnamed statement (55.2.2).
            self.unnamed_here = false;
            self.names.set_prepared(Box::default(), None);
        }
        // Inside a string each statement is read by the server when the one before
        // it has run: what names mean then is not known yet.
        let moved = analysis.statements.len() > 1
            && analysis.statements.iter().any(|s| self.moves_names(s));
        let before = moved.then(|| self.facts.clone());
        if moved {
            self.facts.search_path = None;
            self.facts.generation += 1;
            self.defining = analysis.statements.iter().any(|s| self.defines(s));
        }
        let decided = self.decide_string(&analysis);
        self.defining = false;
        if let Some(before) = before {
            let generation = self.facts.generation + 1;
            self.facts = crate::model::SessionFacts {
                generation,
                ..before
            };
        }
        let (statements, needs) = match decided {
            Ok(allowed) => allowed,
            Err(took) => return Ok(took),
        };
        let spent = (analyzed, self.worker.take_spent());
        // Before the rates: what is refused is not charged.
        if let Some((statement, refused)) = self.hides_names(&statements) {
            self.refuse_simple(&analysis.text, &statement, &refused);
            return Ok(Took::Done);
        }
        for ((statement, permit), need) in statements.iter().zip(&needs) {
            if let Some(refused) = self.cannot(statement, permit, need) {
                self.refuse_simple(&analysis.text, statement, &refused);
                return Ok(Took::Done);
            }
        }
        if let Some((code, text)) = self.misuses_name(&analysis.statements) {
            self.refuse_query(refuse::plain(code, text));
            return Ok(Took::Done);
        }
        let doomed = statements.len() == 1 && self.is_doomed(&statements[0].0);
        if let [(statement, _)] = &statements[..] {
            self.hand_over_block(&statement.facts.control);
        }
        self.write_notices(statements.iter().map(|(_, permit)| permit));
        let returned = needs.iter().any(|need| need.limits.returned.is_some());
        let planned = |(at, need): (usize, &Rc<Needs>)| {
            let (statement, permit) = &statements[at];
            !need.plan || self.plan_is_good(statement, permit, None)
        };
        // One plain change in an open transaction is counted by its tag as it passes.
        let counted = match (&needs[..], &statements[..]) {
            ([need], [_]) if need.impossible.is_none() && self.commits_later() => {
                match &need.limits.changed {
                    CountPlan::Tag(groups) => Some(groups.clone()),
                    _ => None,
                }
            }
            _ => None,
        };
        // What stands before it in the pipeline is committed with the string.
        let free = !self.own_block
            && (doomed
                || counted.is_some()
                || needs.iter().all(|need| need.is_free_when_planned()))
            && needs.iter().enumerate().all(planned);
        let renamed = self.renamed(&analysis.text, &analysis.statements);
        // Rows of one read-only statement can be counted while they pass; a
        // string of several must not commit what stands behind the offender.
        let countable =
            !returned || (statements.len() == 1 && needs[0].limits.read_only && self.executed == 0);
        if free && countable {
            let mut run = Run::new(
                Statements::Many(statements),
                true,
                spent,
                self.presence.asks(self.now()),
            );
            if counted.is_some() {
                self.watched += 1;
                run.watching += 1;
                run.counted = counted;
            }
            if let Some(limit) = needs.first().and_then(|need| need.limits.returned.as_ref()) {
                let left = self.rows_left_of(&run, limit.limit);
                self.watch(&mut run, left, limit);
            }
            for statement in &analysis.statements {
                self.note_sent(statement);
            }
            self.queue.push(Expected::Query(Box::new(run)));
            self.executed += 1;
            let Some(text) = renamed else {
                return Ok(Took::Forward);
            };
            self.up.extend_from_slice(&Self::query_frame(&text));
            return Ok(Took::Done);
        }
        for statement in &analysis.statements {
            self.note_sent(statement);
        }
        let frame = match renamed {
            Some(text) => Self::query_frame(&text),
            None => BytesMut::from(&self.inbox[..size]),
        };
        Ok(Took::Slow(Box::new(Job::Query {
            frame,
            statements,
            needs,
            spent,
        })))
    }

    /// The client takes over, or ends, the block that the gate opened in its pipeline.
    fn hand_over_block(&mut self, control: &Option<Control>) {
        let Some(control) = control else { return };
        let ends = matches!(control, Control::Commit(_) | Control::Rollback(_));
        if !(ends || matches!(control, Control::Begin)) || !std::mem::take(&mut self.own_block) {
            return;
        }
        if ends {
            // The server would say so if it knew no block.
            self.queue.push(Expected::Given(NO_TRANSACTION, None));
        }
    }

    /// DECLARE outside a transaction is an error (25P01), and the gate's own block
    /// around it would hide that.
    fn is_doomed(&self, statement: &Statement) -> bool {
        statement.facts.kind == Kind::Declare
            && !super::lease::holds(&statement.normalized)
            && !self.in_block
            && self.facts.transaction == TransactionState::Idle
            && self.executed == 0
    }

    /// Code in front of an EXECUTE or FETCH of the same string could give the name
    /// to something else than was judged.
    pub(super) fn hides_names(
        &self,
        statements: &[(Arc<Statement>, Permit)],
    ) -> Option<(Arc<Statement>, Refused)> {
        let first = statements
            .iter()
            .position(|(statement, _)| self.traces_of(statement).names)?;
        let uses = |handle: &Handle| matches!(handle, Handle::Execute(_) | Handle::Fetch(..));
        let (statement, permit) = statements[first + 1..]
            .iter()
            .find(|(statement, _)| statement.facts.handle.as_ref().is_some_and(uses))?;
        let refusal = Refusal::gate(
            "string-names",
            sqlstate::NOT_SUPPORTED,
            "code in the same string may have changed what this name means",
        )
        .hint("Send the statements one by one.");
        Some((statement.clone(), refuse::by_host(refusal, permit)))
    }

    /// A statement goes to the server.
    pub(super) fn note_sent(&mut self, statement: &Statement) {
        if self.found(statement).plain {
            return;
        }
        self.note_names(statement);
        self.fence |= self.moves_names(statement);
    }

    /// Permits and needs of a whole string, or what became of it: it is refused,
    /// or policies are waited for.
    fn decide_string(&mut self, analysis: &Analysis) -> Result<Allowed, Took> {
        self.decide_string_with(analysis, &[])
    }

    /// The same with values for its parameters.
    pub(super) fn decide_string_with(
        &mut self,
        analysis: &Analysis,
        values: &[BindValue],
    ) -> Result<Allowed, Took> {
        let set = self.policies();
        let mut list = Vec::with_capacity(analysis.statements.len());
        let mut needs = Vec::with_capacity(analysis.statements.len());
        // What the string itself makes of names holds for what follows in it.
        let several = analysis.statements.len() > 1;
        let names = several.then(|| self.names.clone());
        let mut refusal = None;
        let mut later = false;
        for statement in &analysis.statements {
            let refused = match self.decide(&set, analysis, statement, Some(values)) {
                Decided::Permit(permit) => {
                    needs.push(self.needs(statement, &permit));
                    list.push((statement.clone(), permit));
                    if several {
                        self.note_handle(statement);
                    }
                    continue;
                }
                Decided::Later => {
                    later = true;
                    break;
                }
                Decided::Refuse(refused) => *refused,
                Decided::NeedsValues => refuse::by_gate(Refusal::gate(
                    "values",
                    sqlstate::REFUSED,
                    "a policy needs values that this statement does not carry",
                )),
            };
            refusal = Some((statement, refused));
            break;
        }
        if let Some(names) = names {
            self.names = names;
        }
        if let Some((statement, refused)) = refusal {
            self.refuse_simple(&analysis.text, statement, &refused);
            return Err(Took::Done);
        }
        if later {
            return Err(Took::Later);
        }
        Ok((list.into(), needs))
    }

    /// Whether names may mean something else, or text be read otherwise, behind this statement.
    pub(super) fn moves_names(&self, statement: &Statement) -> bool {
        if self.found(statement).plain {
            return false;
        }
        if self.defines(statement) {
            return true;
        }
        let target = self.behind(&statement.facts);
        let mut all = std::iter::once(statement).chain(target.as_deref());
        all.any(|statement| {
            let facts = &statement.facts;
            !facts.settings.is_empty()
                || facts.is_opaque()
                || !matches!(
                    facts.handle,
                    None | Some(Handle::Execute(_) | Handle::Fetch(..))
                )
                || matches!(
                    facts.control,
                    Some(Control::Rollback(_) | Control::RollbackTo(_))
                )
                // What was set for the transaction, or in one that failed, is undone.
                || (facts.control.is_some()
                    && (self.settings_changed || self.tainted || self.dirty))
                || self.traces_of(statement).state
        })
    }
}
