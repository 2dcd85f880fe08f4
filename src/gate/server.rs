//! What comes from the server: relayed as it is, unless somebody waits for it.

use std::rc::Rc;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Error;
use super::expected::{Expected, Own, Run, Undo};
use super::own::OWN_NAME;
use super::session::{Session, Step};
use crate::backend::postgres::link::MESSAGE_BYTES_MAX;
use crate::telemetry;
use crate::wire::postgres::frame::{self, HEADER, server};
use crate::wire::postgres::report::Report;
use crate::wire::postgres::{encode, message};

/// What happens with a frame.
pub(super) enum Fate {
    /// It goes to the client.
    Relay,
    /// It goes nowhere.
    Drop,
    /// It goes nowhere, and somebody must act.
    Stop(Step),
}

/// Ends a binary COPY.
const TRAILER: [u8; 2] = [0xff, 0xff];

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Handles what the server has sent so far.
    pub(super) fn on_server_bytes(&mut self) -> Result<Option<Step>, Error> {
        let mut at = 0;
        let stop = loop {
            if self.queue.starts_with_given() {
                self.relay(at);
                at = 0;
                self.give();
            }
            let have = self.down.len() - at;
            if self.skip > 0 {
                let n = self.skip.min(have);
                if self.skip_drops {
                    self.relay(at);
                    self.down.advance(n);
                    at = 0;
                } else {
                    at += n;
                }
                self.skip -= n;
                if self.skip > 0 {
                    break None;
                }
                continue;
            }
            let header = frame::peek(&self.down[at..], MESSAGE_BYTES_MAX).map_err(backend)?;
            let Some((tag, size)) = header else {
                break None;
            };
            let streams = matches!(
                tag,
                server::DATA_ROW | server::COPY_DATA | server::FUNCTION_RESULT
            ) && !self.is_own();
            // Short enough to be the end of a binary COPY: looked at whole.
            let looked_at = !streams || size == HEADER + TRAILER.len();
            if looked_at && have < size {
                break None;
            }
            let fate = if tag == server::FUNCTION_RESULT {
                self.on_function_result()
            } else if streams {
                self.on_row(tag, at, size)
            } else {
                self.on_frame(tag, at, size)?
            };
            match fate {
                Fate::Relay => {
                    let now = size.min(have);
                    at += now;
                    (self.skip, self.skip_drops) = (size - now, false);
                }
                Fate::Drop | Fate::Stop(_) => {
                    self.relay(at);
                    let now = size.min(have);
                    self.down.advance(now);
                    at = 0;
                    (self.skip, self.skip_drops) = (size - now, true);
                    self.after_drop();
                    if let Fate::Stop(step) = fate {
                        break Some(step);
                    }
                }
            }
        };
        self.relay(at);
        Ok(stop)
    }

    /// Writes answers of the gate's own whose turn has come.
    pub(super) fn give(&mut self) {
        while let Some(bytes) = self.queue.pop_given() {
            self.outbox.extend_from_slice(bytes);
        }
    }

    fn is_own(&mut self) -> bool {
        matches!(self.queue.front(), Some(Expected::Own(_)))
    }

    /// Hands the first `n` bytes to the client as they are.
    fn relay(&mut self, n: usize) {
        if n > 0 {
            self.outbox.extend_from_slice(&self.down[..n]);
            self.down.advance(n);
        }
    }

    /// Writes what takes the place of a dropped frame.
    fn after_drop(&mut self) {
        if let Some(bytes) = self.replacement.take() {
            self.outbox.extend_from_slice(&bytes);
        }
    }

    /// A row: counted where somebody counts, never read.
    fn on_row(&mut self, tag: u8, at: usize, size: usize) -> Fate {
        let Some(Expected::Execute(run) | Expected::Query(run)) = self.queue.front() else {
            return Fate::Relay;
        };
        if run.over.is_some() {
            return Fate::Drop;
        }
        // The trailer of a binary COPY is a frame of its own and no row; a line of
        // text can be as short, but ends with a line feed.
        if tag == server::COPY_DATA && self.down.get(at + HEADER..at + size) == Some(&TRAILER[..]) {
            return Fate::Relay;
        }
        match &mut run.rows_left {
            None => {}
            Some(0) => {
                let limit = run.limit.take();
                self.overflow(limit);
                return Fate::Stop(Step::Overflow);
            }
            Some(left) => *left -= 1,
        }
        run.rows += 1;
        Fate::Relay
    }

    /// Any frame that is not a row. It is whole.
    fn on_frame(&mut self, tag: u8, at: usize, size: usize) -> Result<Fate, Error> {
        match tag {
            server::NOTIFICATION => return Ok(Fate::Relay),
            server::NOTICE => {
                return Ok(if self.is_own() {
                    Fate::Drop
                } else {
                    Fate::Relay
                });
            }
            server::PARAMETER_STATUS => {
                let body = &self.down[at + HEADER..at + size];
                let (name, value) = message::parameter_status(body).map_err(backend)?;
                let (name, value) = (name.to_owned(), value.to_owned());
                if let Some(loan) = self.loan.as_mut() {
                    loan.link.note_parameter(&name, &value);
                }
                if self.tidying {
                    // What the gate resets for the next owner is not what this client has
                    // set; what is left of that is worked out when it is done.
                    return Ok(Fate::Drop);
                }
                // Settings that were restored here are no news to the client.
                return Ok(if self.note_report(&name, &value) {
                    Fate::Relay
                } else {
                    Fate::Drop
                });
            }
            _ => {}
        }
        if let Some(Expected::Own(own)) = self.queue.front() {
            let own = *own;
            let body = BytesMut::from(&self.down[at + HEADER..at + size]);
            self.on_own(own, tag, body)?;
            return Ok(Fate::Drop);
        }
        let fate = if tag == server::ERROR {
            self.on_error(at, size)
        } else {
            self.on_answer(tag, at, size)?
        };
        if matches!(fate, Fate::Relay)
            && let Some(mut held) = self.held.take()
        {
            // A string goes on: the tag that was kept back comes first.
            held.extend_from_slice(&self.down[at..at + size]);
            self.replacement = Some(Rc::new(held));
            return Ok(Fate::Drop);
        }
        Ok(fate)
    }

    fn on_answer(&mut self, tag: u8, at: usize, size: usize) -> Result<Fate, Error> {
        let Some(front) = self.queue.front() else {
            return Err(broken(tag));
        };
        let pop = match (front, tag) {
            (Expected::Parse(..), server::PARSE_COMPLETE)
            | (Expected::Bind(_), server::BIND_COMPLETE)
            | (Expected::Describe, server::ROW_DESCRIPTION | server::NO_DATA) => true,
            (Expected::Reparse(_) | Expected::Restate, server::PARSE_COMPLETE)
            | (Expected::Evict(_), server::CLOSE_COMPLETE) => {
                self.queue.pop();
                return Ok(Fate::Drop);
            }
            (Expected::Close(_), server::CLOSE_COMPLETE) => {
                return Ok(match self.queue.pop() {
                    // A close of our own (before a refusal) answers nobody.
                    Some(Expected::Close(None)) => Fate::Drop,
                    _ => Fate::Relay,
                });
            }
            (Expected::Describe, server::PARAMETER_DESCRIPTION) => false,
            (
                Expected::Execute(_) | Expected::Query(_),
                server::ROW_DESCRIPTION | server::COPY_OUT,
            ) => false,
            (Expected::Execute(_) | Expected::Query(_), server::COPY_DONE) => false,
            (Expected::Execute(_) | Expected::Query(_), server::COPY_IN) => {
                self.copy_in = true;
                self.queue.forget_syncs();
                false
            }
            (
                Expected::Execute(_),
                server::COMMAND_COMPLETE | server::EMPTY_QUERY | server::PORTAL_SUSPENDED,
            ) => {
                return Ok(self.on_executed(tag, at, size));
            }
            (Expected::Query(_), server::COMMAND_COMPLETE | server::EMPTY_QUERY) => {
                return Ok(self.on_part(tag, at, size));
            }
            (Expected::Sync | Expected::Query(_) | Expected::RefusalQuery(_), server::READY) => {
                let status = self.down[at + HEADER];
                return Ok(self.on_ready(status));
            }
            (_, server::COPY_BOTH) | (_, _) => return Err(broken(tag)),
        };
        if pop {
            self.queue.pop();
        }
        Ok(Fate::Relay)
    }

    /// An error: replaced where it was asked for, and the pipeline behind it is skipped.
    fn on_error(&mut self, at: usize, size: usize) -> Fate {
        let body = &self.down[at + HEADER..at + size];
        let report = Report::read(body);
        self.copy_in = false;
        self.failed = true;
        if report.code == "25006"
            && let Some(loan) = &self.loan
        {
            self.home.pool().suspect(&loan.link.handle.address);
        }
        let stopped = self.take_stopped(&report.code);
        if let (Some(message), Some(Expected::Execute(run) | Expected::Query(run))) =
            (stopped, self.queue.front())
        {
            run.over.get_or_insert(message);
        }
        self.server_left |= report.is_fatal();
        let resync = self.copy_syncs > 0 && !self.server_left;
        if report.code == "0A000" {
            let outdated = BytesMut::from(&self.down[at + HEADER..at + size]);
            self.note_outdated(&outdated);
        }
        let failing = match self.queue.front() {
            Some(Expected::Execute(run) | Expected::Query(run)) => run
                .statements
                .get(run.at)
                .map(|(statement, _)| statement.clone()),
            _ => None,
        };
        if let Some(statement) = failing {
            self.note_failure(&statement);
        }
        let mut fate = Fate::Relay;
        let pipelined = match self.queue.front() {
            // An error that nobody waits for: the connection's end.
            None | Some(Expected::Sync) => return fate,
            Some(Expected::Refusal(error)) => {
                self.replacement = Some(error.clone());
                fate = Fate::Drop;
                true
            }
            Some(Expected::RefusalQuery(error)) => {
                self.replacement = Some(error.clone());
                fate = Fate::Drop;
                false
            }
            Some(Expected::Query(run)) => {
                run.failed = true;
                if let Some(error) = run.over.take() {
                    self.replacement = Some(error);
                    fate = Fate::Drop;
                }
                false
            }
            Some(Expected::Execute(run)) => {
                run.failed = true;
                if let Some(error) = run.over.take() {
                    self.replacement = Some(error);
                    fate = Fate::Drop;
                }
                true
            }
            Some(_) => true,
        };
        if pipelined {
            self.skip_pipeline(&report.code);
        } else if let Some(Expected::Query(run)) = self.queue.front() {
            let run = std::mem::replace(run, Box::new(Run::nothing(true)));
            self.record(&run, None, Some(&report.code), telemetry::Outcome::Failed);
            if let Some(Expected::Query(slot)) = self.queue.front() {
                *slot = run;
            }
        }
        if resync {
            self.resync();
        }
        if matches!(fate, Fate::Relay)
            && let Some(renamed) = self.in_own_names(&self.down[at + HEADER..at + size])
        {
            self.replacement = Some(Rc::new(renamed));
            return Fate::Drop;
        }
        fate
    }

    /// Asks the server how many of the Syncs inside the COPY it has answered.
    fn resync(&mut self) {
        encode::sync(&mut self.up);
        encode::close(&mut self.up, b'P', OWN_NAME);
        encode::sync(&mut self.up);
        self.queue.push(Expected::Own(Own::Resync));
    }

    /// The server skips everything up to Sync; so do names and expectations.
    fn skip_pipeline(&mut self, code: &str) {
        let (skipped, sync) = self.queue.skip_to_sync();
        for item in skipped {
            match item {
                Expected::Parse(undo, number) => {
                    if let Some(number) = number {
                        self.forget_on_link(number);
                    }
                    self.undo(undo);
                }
                Expected::Reparse(Some(number)) => self.forget_on_link(number),
                // The server skipped the Close: it still has the statement.
                Expected::Evict(number) => self.remember_on_link(number),
                Expected::Restate => self.names_epoch += 1,
                Expected::Reparse(None) => self.unnamed_here = false,
                Expected::Bind(undo)
                | Expected::Close(Some(undo))
                | Expected::Given(_, Some(undo)) => self.undo(undo),
                Expected::Execute(run) => {
                    self.watched = self.watched.saturating_sub(run.watching);
                    let (outcome, code) = if run.failed {
                        (telemetry::Outcome::Failed, Some(code))
                    } else {
                        (telemetry::Outcome::Cancelled, None)
                    };
                    self.record(&run, None, code, outcome);
                }
                _ => {}
            }
        }
        if !sync {
            self.discard = true;
        }
    }

    fn undo(&mut self, undo: Undo) {
        let Some(undo) = self.queue.hand_down(undo) else {
            return;
        };
        match undo {
            Undo::Prepared(name, before) => drop(self.names.set_prepared(name, before)),
            Undo::Portal(name, before) => drop(self.names.set_portal(name, before)),
        }
    }

    /// A frame that belongs to an exchange of our own.
    fn on_own(&mut self, own: Own, tag: u8, body: BytesMut) -> Result<(), Error> {
        match tag {
            server::DATA_ROW => {
                let row = message::data_row(&body).map_err(backend)?;
                self.own.rows.push(
                    row.into_iter()
                        .map(|v| v.map(Bytes::copy_from_slice))
                        .collect(),
                );
            }
            server::ERROR => {
                self.own.error.get_or_insert(body);
                match own {
                    Own::Closes(_) => self.skip_pipeline(""),
                    Own::Ready | Own::Resync => {}
                    Own::Settings => {
                        let why = "the session's settings cannot be restored";
                        return Err(Error::Backend(crate::backend::postgres::Error::Protocol(
                            why.into(),
                        )));
                    }
                }
            }
            server::CLOSE_COMPLETE => match own {
                Own::Closes(0 | 1) => drop(self.queue.pop()),
                Own::Closes(n) => {
                    if let Some(front) = self.queue.front() {
                        *front = Expected::Own(Own::Closes(n - 1));
                    }
                }
                Own::Resync => {
                    if let Some(front) = self.queue.front() {
                        *front = Expected::Own(Own::Ready);
                    }
                    // The last one answered the Sync of the gate's own.
                    self.doubtful = None;
                    self.copy_syncs = 0;
                }
                Own::Ready | Own::Settings => {}
            },
            server::READY if own == Own::Resync => {
                let status = body.first().copied().unwrap_or(b'I');
                let mut ready = BytesMut::new();
                encode::ready(&mut ready, status);
                if let Some(ready) = self.doubtful.replace(ready) {
                    // The server has read the Sync that the client's pipeline waits for.
                    self.discard = false;
                    self.outbox.extend_from_slice(&ready);
                }
            }
            server::READY if own == Own::Settings => {
                self.queue.pop();
                self.own = super::own::Answer::default();
            }
            server::READY if own == Own::Ready => {
                self.queue.pop();
                self.note_ready(body.first().copied().unwrap_or(b'I'));
            }
            _ => {}
        }
        Ok(())
    }
}

fn backend(error: crate::wire::postgres::Error) -> Error {
    Error::Backend(error.into())
}

fn broken(tag: u8) -> Error {
    Error::Backend(crate::backend::postgres::Error::Protocol(format!(
        "unexpected message {:?}",
        char::from(tag)
    )))
}
