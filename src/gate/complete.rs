//! Statements that are done: counted, verified where a tag is enough, recorded.

use std::rc::Rc;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};

use super::expected::{Expected, Run};
use super::server::Fate;
use super::session::Session;
use crate::model::TransactionState;
use crate::safety::limit::Returned;
use crate::telemetry;
use crate::wire::postgres::frame::{HEADER, server};
use crate::wire::postgres::message;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// CommandComplete, EmptyQueryResponse or PortalSuspended for an Execute.
    pub(super) fn on_executed(&mut self, tag: u8, at: usize, size: usize) -> Fate {
        self.copy_in = false;
        self.copy_syncs = 0;
        let second_is_sync = self.queue.second_is_sync();
        let Some(Expected::Execute(mut run)) = self.queue.pop() else {
            return Fate::Relay;
        };
        let frame = &self.down[at..at + size];
        let rows = (tag == server::COMMAND_COMPLETE)
            .then(|| message::tag_rows(&frame[HEADER..]))
            .flatten();
        let held = run.hold.then(|| BytesMut::from(frame));
        self.watched = self.watched.saturating_sub(run.watching);
        if let (Some(portal), left) = (&run.portal, run.rows_left) {
            portal.rows_left.set(left);
        }
        self.after_statement(&run, tag == server::COMMAND_COMPLETE);
        self.count_tag(&mut run, rows);
        if let Some(error) = run.over.take() {
            // It was done before the cancel reached it. It changed nothing (or
            // it would have been held), so only the transaction must fail.
            if second_is_sync {
                self.over_at_sync = Some(error);
            } else {
                self.refuse_pipelined(error);
            }
            return Fate::Drop;
        }
        if let Some(frame) = held {
            self.held = Some(frame);
            self.held_run = Some(run);
            return Fate::Drop;
        }
        self.record(&run, rows, None, telemetry::Outcome::Allowed);
        Fate::Relay
    }

    /// A row beyond the limit came for the statement at the front: the client
    /// will be told so, and the record says why.
    pub(super) fn overflow(&mut self, limit: Option<Returned>) {
        let Some(limit) = limit else { return };
        let incident = self.incident();
        let refusal = limit.refusal();
        let over = super::refuse::message(&refusal, &incident);
        let Some(Expected::Execute(run) | Expected::Query(run)) = self.queue.front() else {
            return;
        };
        run.over = Some(over);
        let simple = run.simple;
        let found = run.statements.get(run.at);
        let Some((statement, permit)) = found.map(|(s, p)| (s.clone(), p.clone())) else {
            return;
        };
        // Recorded here, and not once more when the server has stopped.
        run.recorded = true;
        self.record_refusal(
            &statement.text,
            Some(&statement),
            &refusal,
            Some(permit.verdict()),
            permit.remembered(),
            simple,
            &incident,
        );
    }

    /// Books the rows of a command tag in a transaction that is not committed
    /// yet. Beyond the limit the client gets the refusal, and the transaction fails.
    pub(super) fn count_tag(&mut self, run: &mut Run, rows: Option<u64>) {
        let Some(groups) = run.counted.clone() else {
            return;
        };
        for group in groups.iter() {
            if let Err(refusal) = self.ledger.add(group, rows.unwrap_or(0)) {
                let incident = self.incident();
                run.over = Some(super::refuse::message(&refusal, &incident));
                if let Some((statement, permit)) = run.statements.get(run.at) {
                    let verdict = Some(permit.verdict());
                    let text = statement.text.clone();
                    self.record_refusal(
                        &text,
                        Some(statement),
                        &refusal,
                        verdict,
                        false,
                        run.simple,
                        &incident,
                    );
                }
                return;
            }
        }
    }

    /// One statement of a string is done.
    pub(super) fn on_part(&mut self, tag: u8, at: usize, size: usize) -> Fate {
        self.copy_in = false;
        self.copy_syncs = 0;
        let frame = BytesMut::from(&self.down[at..at + size]);
        let Some(Expected::Query(run)) = self.queue.front() else {
            return Fate::Relay;
        };
        let mut run = std::mem::replace(run, Box::new(Run::nothing(true)));
        let rows = (tag == server::COMMAND_COMPLETE)
            .then(|| message::tag_rows(&frame[HEADER..]))
            .flatten();
        let hold = run.hold;
        self.after_statement(&run, tag == server::COMMAND_COMPLETE);
        self.count_tag(&mut run, rows);
        if hold {
            self.tags.push(rows);
            // An earlier part's completion may go: the last one stands for the commit.
            if let Some(earlier) = self.held.replace(frame) {
                self.replacement = Some(Rc::new(earlier));
            }
        } else if run.over.is_none() {
            self.record(&run, rows, None, telemetry::Outcome::Allowed);
        }
        run.advance();
        let over = run.over.is_some();
        if let Some(Expected::Query(slot)) = self.queue.front() {
            *slot = run;
        }
        if hold || over {
            Fate::Drop
        } else {
            Fate::Relay
        }
    }

    /// FunctionCallResponse: it has a length of its own and passes unread.
    pub(super) fn on_function_result(&mut self) -> Fate {
        if let Some(Expected::Query(run)) = self.queue.front() {
            let mut run = std::mem::replace(run, Box::new(Run::nothing(true)));
            self.after_statement(&run, true);
            self.record(&run, None, None, telemetry::Outcome::Allowed);
            run.advance();
            if let Some(Expected::Query(slot)) = self.queue.front() {
                *slot = run;
            }
        }
        Fate::Relay
    }

    /// ReadyForQuery.
    pub(super) fn on_ready(&mut self, status: u8) -> Fate {
        let popped = self.queue.pop();
        self.note_ready(status);
        let mut over = self.over_at_sync.take();
        if let Some(Expected::Query(run)) = popped {
            self.watched = self.watched.saturating_sub(run.watching);
            if run.hold {
                self.held_run = Some(run);
                return Fate::Drop;
            }
            over = over.or(run.over);
        }
        match over {
            None => Fate::Relay,
            // Nothing to undo: the refusal, then the truth about the transaction.
            Some(error) if self.facts.transaction == TransactionState::Idle => {
                self.outbox_after(error, status);
                Fate::Drop
            }
            Some(error) => {
                self.refuse_query(error);
                Fate::Drop
            }
        }
    }

    pub(super) fn outbox_after(&mut self, error: Rc<BytesMut>, status: u8) {
        let mut both = (*error).clone();
        crate::wire::postgres::encode::ready(&mut both, status);
        self.replacement = Some(Rc::new(both));
    }
}
