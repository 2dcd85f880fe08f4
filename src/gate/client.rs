//! What comes from the client: judged, then passed on or handed to the slow way.

use std::rc::Rc;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Error;
use super::expected::{Expected, Run};
use super::line::Needs;
use super::names::Portal;
use super::refuse;
use super::session::{Mode, Session, Step};
use crate::config::PoolMode;
use crate::model::facts::Control;
use crate::model::{Refusal, Statement, TransactionState, refusal::sqlstate};
use crate::policy::{Permit, Refused};
use crate::safety::limit::{CountPlan, Returned};
use crate::wire::postgres::encode;
use crate::wire::postgres::frame::{self, client};

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
pub(super) enum Took {
    /// It was handled and taken off the inbox.
    Done,
    /// It goes to the server as it is.
    Forward,
    /// It stays in the inbox until more is answered.
    Wait,
    /// It stays in the inbox until policies have been asked.
    Later,
    /// It needs the slow way.
    Slow(Box<Job>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Handles what the client has sent so far.
    pub(super) fn on_client_bytes(&mut self, mode: Mode) -> Result<Option<Step>, Error> {
        self.fence &= !self.queue.is_empty();
        if self.worker.roster.is_suspended() && self.queue.is_empty() && self.client_skip == 0 {
            return Ok(None);
        }
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
            if !client::is_known(tag) {
                // Not waited for: its length is as unknown as its meaning.
                let broken = crate::wire::postgres::Error::Malformed(char::from(tag));
                return Err(Error::Client(broken));
            }
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
                // The server ignores both until the data ends (55.2.7): unless it
                // has met an error in the data, and then this is the Sync it waits for.
                // A string held in a transaction of the gate's own is no pipeline.
                let held = matches!(self.queue.front(), Some(Expected::Query(run)) if run.hold);
                if tag == client::SYNC && !held {
                    self.copy_syncs += 1;
                    self.forward(size);
                } else {
                    self.inbox.advance(size);
                }
                continue;
            }
            if self.copy_in && tag != client::TERMINATE {
                // The server loses its place in the stream and ends the session (55.2.7).
                // Not passed on: it might have left the COPY by now, and run it.
                let broken = crate::wire::postgres::Error::Malformed(char::from(tag));
                return Err(Error::Client(broken));
            }
            if mode == Mode::Settle || self.must_wait(tag) {
                if mode == Mode::Serve {
                    self.nudge();
                }
                return Ok(None);
            }
            if self.discard && !matches!(tag, client::SYNC | client::TERMINATE) {
                self.inbox.advance(size);
                continue;
            }
            if tag != client::TERMINATE && !self.has_link() {
                if self.answers_called_off(tag) {
                    self.inbox.advance(size);
                    continue;
                }
                return Ok(Some(Step::Acquire));
            }
            if is_judged(tag) && self.is_behind() {
                return Ok(Some(Step::Behind));
            }
            let took = self.on_client_frame(tag, size)?;
            self.nudged &= matches!(took, Took::Wait);
            if !matches!(took, Took::Later) {
                self.awaited.end();
            }
            match took {
                Took::Later => return Ok(Some(Step::Later)),
                Took::Done => self.inbox.advance(size),
                Took::Forward => self.forward(size),
                Took::Wait => {
                    self.nudge();
                    return Ok(None);
                }
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
        self.up.extend_from_slice(&self.inbox[..n]);
        self.inbox.advance(n);
    }

    /// While the rows of a statement are counted nothing but its Sync may follow:
    /// what comes later must not run when it is refused.
    ///
    /// And behind a statement that may change how text is read or what names
    /// mean, text waits until the server has said what came of it: a string
    /// that ends elsewhere for the server than for the gate hides anything.
    fn must_wait(&self, tag: u8) -> bool {
        if self.copy_in || tag == client::TERMINATE {
            return false;
        }
        // A pipeline without end waits for its answers, as the server makes it wait.
        if self.queue.len() >= ASKED_MAX {
            return true;
        }
        // How many answers the Syncs inside a COPY get is not known before its end.
        if self.copy_syncs > 0 {
            return true;
        }
        let fenced = self.fence && !self.queue.is_empty();
        (fenced && is_judged(tag))
            || self.watched > 0
                && (self.queue.ends_with_ready() || !matches!(tag, client::SYNC | client::FLUSH))
    }

    /// What is waited for must be on its way: without Sync the server keeps its answers.
    fn nudge(&mut self) {
        if !self.nudged && !self.queue.is_empty() && !self.queue.ends_with_ready() {
            encode::flush(&mut self.up);
            self.nudged = true;
        }
    }

    fn on_copy(&mut self, tag: u8, size: usize) {
        if self.copy_in {
            self.forward(size);
            if tag != client::COPY_DATA {
                self.copy_in = false;
                if !self.queue.ends_with_ready() {
                    // A held Execute waits for its tag, and the client's Sync waits behind it.
                    encode::flush(&mut self.up);
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
            client::DESCRIBE => self.on_describe(size),
            client::CLOSE => self.on_close(size),
            client::FLUSH => Ok(Took::Forward),
            client::SYNC => Ok(self.on_sync()),
            client::TERMINATE => Ok(Took::Done),
            client::FUNCTION_CALL => self.on_function_call(size),
            other => Err(Error::Client(crate::wire::postgres::Error::Malformed(
                char::from(other),
            ))),
        }
    }

    pub(super) fn on_sync(&mut self) -> Took {
        if self.own_block {
            return Took::Slow(Box::new(Job::Sync));
        }
        self.discard = false;
        // It may end a transaction, and with it what was set for that.
        self.fence |= self.settings_changed || self.tainted || self.dirty;
        self.queue.push(Expected::Sync);
        Took::Forward
    }

    /// A transaction block is open for certain, and neither Sync nor the end of
    /// a Query commits it: what a statement changed can be judged by its tag.
    ///
    /// Nothing may be on its way: a COMMIT in front of it would end the block.
    pub(super) fn commits_later(&self) -> bool {
        self.facts.transaction == TransactionState::Active
            && self.in_block
            && !self.own_block
            && self.executed == 0
    }

    /// A run that never goes to the server holds nothing back.
    pub(super) fn unwatch(&mut self, run: &Run) {
        self.watched = self.watched.saturating_sub(run.watching);
    }

    /// Rows of this run are counted while they are relayed.
    pub(super) fn watch(&mut self, run: &mut Run, rows: u64, limit: &Returned) {
        run.rows_left = Some(rows);
        run.limit = Some(limit.clone());
        run.watching += 1;
        self.watched += 1;
    }

    pub(super) fn refuse_simple(&mut self, text: &str, statement: &Statement, refused: &Refused) {
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
        self.refuse_query(self.say(&refused.refusal, &incident));
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
        self.refuse_pipelined(self.say(&refused.refusal, &incident));
    }

    /// What makes a permitted statement impossible before it runs: requirements
    /// nobody can enforce, counting that cannot work, a spent rate.
    pub(super) fn cannot(
        &mut self,
        statement: &Statement,
        permit: &Permit,
        needs: &Needs,
    ) -> Option<Refused> {
        let begins = statement.facts.control == Some(Control::Begin);
        let refusal = if begins && self.home.mode() == PoolMode::Statement {
            Some(
                Refusal::gate(
                    "statement-pooling",
                    sqlstate::NOT_SUPPORTED,
                    "transactions of several statements are not possible with statement pooling",
                )
                .hint("Use a database whose pool mode is transaction or session."),
            )
        } else if let Some(refusal) = &needs.impossible {
            Some(refusal.clone())
        } else if let CountPlan::Refuse(refusal) = &needs.limits.changed {
            Some(refusal.clone())
        } else if needs.rate {
            let now = self.now();
            self.worker
                .rates
                .charge_held(
                    &mut self.rates,
                    permit.shared_verdict(),
                    &self.client,
                    &self.facts,
                    statement.facts.kind,
                    now,
                )
                .err()
        } else {
            None
        };
        refusal.map(|refusal| refuse::by_host(refusal, permit))
    }

    /// Notices of the policies, before the statement's own answers.
    pub(super) fn write_notices<'a>(&mut self, permits: impl Iterator<Item = &'a Permit>) {
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

/// Messages that wait for their answers at once.
const ASKED_MAX: usize = 16 * 1024;

/// Messages whose meaning depends on what names mean.
fn is_judged(tag: u8) -> bool {
    matches!(
        tag,
        client::QUERY
            | client::PARSE
            | client::BIND
            | client::DESCRIBE
            | client::EXECUTE
            | client::FUNCTION_CALL
    )
}
