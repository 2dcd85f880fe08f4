//! One client's session: the loop, the buffers, the byte mover.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::aside::Awaited;
use super::cancel::{Cancel, Registration};
use super::client::Job;
use super::clock::{Overdue, Progress, Watch};
use super::expected::Queue;
use super::home::Home;
use super::home::Pin as Pinned;
use super::hooks::Admission;
use super::known::{Found, World};
use super::line::Stamp;
use super::moving::{poll_read, poll_write};
use super::names::Names;
use super::roster::Presence;
use super::settings::Settings;
use super::signals::Listening;
use super::{Error, Worker};
use crate::backend::postgres::catalog::{Catalog, Pulse};
use crate::backend::postgres::link::About;
use crate::backend::postgres::pool::Loan;
use crate::config::{Limits, Timeouts};
use crate::model::facts::Class;
use crate::model::{Client, SessionFacts, TransactionState};
use crate::safety::limit::Ledger;
use crate::safety::rate::Held;
use crate::wire::postgres::encode;

/// Bytes waiting for a slow reader before the gate stops reading the other side.
const HIGH_WATER: usize = 256 * 1024;

/// What the byte mover stopped for.
pub(super) enum Step {
    /// A statement needs work before or after; the frame is taken off the inbox.
    Job(Box<Job>),
    /// A row beyond a limit came: the server's statement must be stopped.
    Overflow,
    /// A message waits for a link.
    Acquire,
    /// Definitions went by, and the catalog has to be read first.
    Behind,
    /// A policy judges beside the workers, and a message waits for it.
    Later,
    /// The link could go, but something must be done on it first.
    Tidy,
    /// Nothing is expected from the server any more.
    Settled,
    /// The gate is shutting down and nothing is going on.
    Drained,
    /// Something has taken too long.
    Overdue(Overdue),
    /// The client said goodbye, or closed the connection.
    Goodbye,
}

/// Whether client messages are handled while bytes are moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Yes.
    Serve,
    /// No: until everything sent is answered. CopyData still passes.
    Settle,
}

/// A session over a PostgreSQL server.
pub struct Session<S> {
    pub(super) worker: Rc<Worker>,
    pub(super) id: u64,
    /// What the console sees of it.
    pub(super) presence: Rc<Presence>,
    pub(super) client: Arc<Client>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) limits: Limits,
    pub(super) timeouts: Timeouts,
    /// Where the ticker looks; none: nothing is limited in time.
    pub(super) watch: Option<Rc<Watch>>,
    /// What has ended so far.
    pub(super) progress: Progress,
    /// What runs was asked to stop; what the client hears instead of the server.
    pub(super) stopped: Option<Rc<BytesMut>>,
    pub(super) stream: S,
    /// From the client.
    pub(super) inbox: BytesMut,
    /// To the client.
    pub(super) outbox: BytesMut,
    /// To the server, and from it.
    pub(super) up: BytesMut,
    pub(super) down: BytesMut,
    /// The link; none between transactions where links are shared.
    pub(super) loan: Option<Loan>,
    /// Where links come from.
    pub(super) home: Home,
    /// Why the link stays although it could go.
    pub(super) pinned: Option<Pinned>,
    /// Code ran that may have left traces on the link.
    pub(super) dirty: bool,
    /// Nothing was set that planning depends on.
    pub(super) plain_settings: bool,
    /// Grows whenever code may have given names to other statements.
    pub(super) names_epoch: u64,
    /// Code ran that may have made or removed prepared statements.
    pub(super) dirty_names: bool,
    /// The settings the client has made.
    pub(super) wants: Settings,
    /// What the client was told of the server's parameters.
    pub(super) reported: Vec<(Arc<str>, Arc<str>)>,
    /// The link holds this session's unnamed statement.
    pub(super) unnamed_here: bool,
    /// The link has just come: what it came for is still to be sent.
    pub(super) fresh: bool,
    /// A request was cancelled before it had a link; its Sync is still to come.
    pub(super) called_off: bool,
    /// A statement of this transaction failed.
    pub(super) failed: bool,
    pub(super) registration: Registration,
    /// Bytes of a server frame that still pass through.
    pub(super) skip: usize,
    /// Those bytes go nowhere.
    pub(super) skip_drops: bool,
    /// Bytes of a client frame that still pass through (CopyData).
    pub(super) client_skip: usize,
    pub(super) queue: Queue,
    pub(super) names: Names,
    pub(super) facts: SessionFacts,
    /// Messages up to the next Sync are skipped, as the server does after an error.
    pub(super) discard: bool,
    /// Executes sent since the transaction state was last known.
    pub(super) executed: u32,
    /// A statement is on its way behind which text may be read otherwise.
    pub(super) fence: bool,
    /// The server was asked for its answers.
    pub(super) nudged: bool,
    /// A statement whose rows are counted is on its way.
    pub(super) watched: u32,
    /// The role was changed in this transaction.
    pub(super) role_moved: bool,
    /// And is not known when the transaction has ended.
    pub(super) role_unsure: bool,
    /// The link is put in order for the next owner.
    pub(super) tidying: bool,
    /// COPY FROM STDIN is open.
    pub(super) copy_in: bool,
    /// Syncs sent while it was; ignored by the server if the data was good.
    pub(super) copy_syncs: u32,
    /// A ReadyForQuery that may be the client's or the gate's own.
    pub(super) doubtful: Option<BytesMut>,
    /// The server has said that it ends the connection.
    pub(super) server_left: bool,
    /// The gate opened a transaction block in a pipeline, to be closed at Sync.
    pub(super) own_block: bool,
    /// A transaction block is open, as far as command tags tell.
    pub(super) in_block: bool,
    /// When this batch of bytes came; none: nobody has looked yet.
    pub(super) moment: Cell<Option<Instant>>,
    /// State of the catalog in this batch of bytes; none: to be asked.
    pub(super) pulse: Cell<Option<Pulse>>,
    /// What was found out last about a class of statements.
    pub(super) last_found: RefCell<Option<(Arc<Class>, Rc<World>, Rc<Found>)>>,
    /// Cells of the rates charged before.
    pub(super) rates: Held,
    /// Where names are looked up, as last worked out.
    pub(super) world: RefCell<Option<(Stamp, Rc<World>)>>,
    /// Code ran that may have changed names behind the gate's back.
    pub(super) tainted: bool,
    /// What was run may have changed how text is read, and the server tells only
    /// with ReadyForQuery.
    pub(super) unsure: bool,
    /// Something of that kind ran in this transaction: its end may undo it.
    pub(super) reading_moved: bool,
    /// Code ran in this transaction that may have defined anything.
    pub(super) coded: bool,
    /// The catalog's ticket of the last such code; 0: none.
    pub(super) ticket: u64,
    /// When the catalog was waited for in vain.
    pub(super) waited: Option<Instant>,
    /// What a login found on the link that was used last.
    pub(super) defaults: u64,
    /// A string is being judged that changes what names mean while it runs.
    pub(super) defining: bool,
    /// Temporary objects may exist.
    pub(super) temporary: bool,
    /// Settings changed in this transaction: unknown after a rollback.
    pub(super) settings_changed: bool,
    pub(super) unsafe_encoding: bool,
    pub(super) single_byte: bool,
    pub(super) ledger: Ledger,
    /// Completion kept back by a held run.
    pub(super) held: Option<BytesMut>,
    /// The held run itself, once it is done.
    pub(super) held_run: Option<Box<super::expected::Run>>,
    /// Rows in the tags of a held string, in order.
    pub(super) tags: Vec<Option<u64>>,
    /// What takes the place of the frame that is being dropped.
    pub(super) replacement: Option<Rc<BytesMut>>,
    /// A limit was exceeded by a statement whose Sync is already on its way.
    pub(super) over_at_sync: Option<Rc<BytesMut>>,
    /// This transaction changed definitions.
    pub(super) ddl: bool,
    /// Answer to an exchange of our own.
    pub(super) own: super::own::Answer,
    pub(super) client_gone: bool,
    pub(super) draining: bool,
    /// Policies that the message in front waits for.
    pub(super) awaited: Awaited,
    /// The policies have changed since they were asked about this client.
    pub(super) outdated: bool,
    /// The last news that was heard.
    pub(super) heard: u64,
    /// The link was found to have nothing to read since the task woke; it will wake it.
    pub(super) link_quiet: bool,
}

impl Cancel for About {
    fn cancel(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            if let Err(error) = About::cancel(self, self.cancel_timeout).await {
                tracing::debug!(%error, "cancel request did not reach the server");
            }
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Serves until the client leaves or the gate drains.
    pub(super) async fn run(&mut self, mut admission: Admission) -> Result<(), Error> {
        let (worker, id) = (self.worker.clone(), self.id);
        let _listening = poll_fn(|cx| Poll::Ready(Listening::begin(&worker, id, cx.waker()))).await;
        loop {
            let step = poll_fn(|cx| {
                if self.heard != worker.signals.count() {
                    self.heard = worker.signals.count();
                    self.draining |= worker.signals.is_draining();
                    self.outdated |= admission.is_outdated();
                }
                self.poll_move(cx, Mode::Serve)
            });
            match step.await? {
                Step::Job(job) => Box::pin(self.do_job(*job)).await?,
                Step::Overflow => Box::pin(self.stop_statement()).await?,
                Step::Acquire => Box::pin(self.acquire()).await?,
                Step::Behind => Box::pin(self.catch_up()).await,
                Step::Later => Box::pin(self.be_told()).await?,
                Step::Tidy => Box::pin(self.tidy()).await?,
                Step::Settled => {}
                Step::Overdue(kind) => Box::pin(self.on_overdue(kind)).await?,
                Step::Drained if self.draining => return Err(Error::Draining),
                Step::Drained if let Some(how) = self.presence.ending() => {
                    return Err(Error::Ended(how));
                }
                Step::Drained => Box::pin(self.stay(&mut admission)).await?,
                Step::Goodbye => return Ok(()),
            }
        }
    }

    /// The policies have changed and nothing is going on: may the client stay?
    async fn stay(&mut self, admission: &mut Admission) -> Result<(), Error> {
        self.outdated = false;
        let worker = self.worker.clone();
        match worker.readmit(admission, &self.client, &self.facts).await {
            Ok(()) => Ok(()),
            Err(message) => {
                encode::error(&mut self.outbox, &message);
                Err(Error::Denied)
            }
        }
    }

    /// Nothing is going on and nothing is open.
    fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && self.inbox.is_empty()
            && self.facts.transaction == TransactionState::Idle
            && self.executed == 0
            && !self.discard
    }

    /// Waits until the server has answered everything that was sent.
    pub(super) async fn settle(&mut self) -> Result<(), Error> {
        if !self.queue.is_empty() && !self.queue.ends_with_ready() && !self.copy_in {
            encode::flush(&mut self.up);
        }
        while !self.queue.is_empty() {
            match poll_fn(|cx| self.poll_move(cx, Mode::Settle)).await? {
                Step::Overflow => Box::pin(self.cancel_link()).await,
                Step::Goodbye => {
                    return Err(Error::ClientGone(io::ErrorKind::UnexpectedEof.into()));
                }
                Step::Overdue(kind) => Box::pin(self.on_overdue(kind)).await?,
                Step::Job(_)
                | Step::Settled
                | Step::Drained
                | Step::Acquire
                | Step::Behind
                | Step::Later
                | Step::Tidy => {}
            }
        }
        Ok(())
    }

    /// Asks the server to stop; returns when the request can hit nothing later.
    pub(super) async fn cancel_link(&mut self) {
        let Some(handle) = self.loan.as_ref().map(|loan| loan.link.handle.clone()) else {
            return;
        };
        if let Err(error) = About::cancel(&handle, self.timeouts.cancel()).await {
            tracing::debug!(%error, "cancel request did not reach the server");
        }
    }

    /// Moves bytes both ways until something needs more than that.
    pub(super) fn poll_move(
        &mut self,
        cx: &mut Context<'_>,
        mode: Mode,
    ) -> Poll<Result<Step, Error>> {
        self.pulse.set(None);
        self.moment.set(None);
        self.link_quiet = false;
        let mut client_quiet = false;
        loop {
            if (!self.down.is_empty() || self.queue.starts_with_given())
                && let Some(step) = self.on_server_bytes()?
            {
                return Poll::Ready(Ok(step));
            }
            if mode == Mode::Settle && self.queue.is_empty() {
                return Poll::Ready(Ok(Step::Settled));
            }
            if self.wants_tidying(mode) {
                return Poll::Ready(Ok(Step::Tidy));
            }
            // Who does not read does not go on asking.
            if !self.inbox.is_empty()
                && self.outbox.len() < HIGH_WATER
                && let Some(step) = self.on_client_bytes(mode)?
            {
                return Poll::Ready(Ok(step));
            }
            // Answers of the gate's own wait for nobody when they come first.
            self.give();
            let sent = self.write_link(cx)?;
            let told = self.write_client(cx)?;
            if self.client_gone && self.queue.is_empty() {
                return Poll::Ready(Ok(Step::Goodbye));
            }
            // A side that had nothing to say wakes the task when it has: it is asked once.
            let mut came = false;
            if !self.link_quiet && self.outbox.len() < HIGH_WATER {
                came = self.read_link(cx)?;
                self.link_quiet = !came;
            }
            if !client_quiet
                && !self.client_gone
                && self.up.len() < HIGH_WATER
                && self.outbox.len() < HIGH_WATER
                && (self.inbox.len() < HIGH_WATER || self.inbox.len() < self.wanted())
            {
                let read = self.read_client(cx)?;
                client_quiet = !read;
                came |= read;
            }
            self.progress.moves = self
                .progress
                .moves
                .wrapping_add(u32::from(sent || told || came));
            // What was written changes nothing, unless it was all that kept the link.
            if !(came || sent && self.may_release()) {
                self.show(mode)?;
                if (self.draining || self.outdated || self.presence.ending().is_some())
                    && mode == Mode::Serve
                    && self.is_idle()
                {
                    return Poll::Ready(Ok(Step::Drained));
                }
                return match self.rest(cx) {
                    Some(step) => Poll::Ready(Ok(step)),
                    None => Poll::Pending,
                };
            }
        }
    }

    /// Size of the client message that is being received: it may exceed the high-water mark.
    fn wanted(&self) -> usize {
        match crate::wire::postgres::frame::peek(&self.inbox, self.limits.message_bytes_max) {
            Ok(Some((_, size))) => size,
            _ => 0,
        }
    }

    fn read_link(&mut self, cx: &mut Context<'_>) -> Result<bool, Error> {
        let Some(loan) = self.loan.as_mut() else {
            return Ok(false);
        };
        self.worker.spares.lend(&mut self.down);
        match poll_read(&mut loan.link.socket, &mut self.down, cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(0)) => Err(server_gone(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(Ok(_)) => Ok(true),
            Poll::Ready(Err(error)) => Err(server_gone(error)),
        }
    }

    pub(super) fn read_client(&mut self, cx: &mut Context<'_>) -> Result<bool, Error> {
        let worker = &self.worker;
        // Most of the time nothing or little is there: no buffer is lent for a look.
        let read = if self.inbox.is_empty() {
            worker.spares.collect(&mut self.inbox);
            let mut desk = worker.desk.borrow_mut();
            let mut buffer = ReadBuf::new(&mut desk[..]);
            let stream = Pin::new(&mut self.stream);
            stream.poll_read(cx, &mut buffer).map_ok(|()| {
                let bytes = buffer.filled();
                if !bytes.is_empty() {
                    worker.spares.lend(&mut self.inbox);
                    self.inbox.extend_from_slice(bytes);
                }
                bytes.len()
            })
        } else {
            poll_read(&mut self.stream, &mut self.inbox, cx)
        };
        match read {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(0)) => {
                // A client that vanishes in the middle of work: stop, the link is dropped.
                self.client_gone = true;
                if self.queue.is_empty() {
                    Ok(true)
                } else {
                    Err(Error::ClientGone(io::ErrorKind::UnexpectedEof.into()))
                }
            }
            Poll::Ready(Ok(n)) => {
                self.presence.received(n);
                Ok(true)
            }
            Poll::Ready(Err(error)) => Err(Error::ClientGone(error)),
        }
    }

    fn write_link(&mut self, cx: &mut Context<'_>) -> Result<bool, Error> {
        let Some(loan) = self.loan.as_mut() else {
            return Ok(false);
        };
        poll_write(&mut loan.link.socket, &mut self.up, cx).map_err(server_gone)
    }

    pub(super) fn write_client(&mut self, cx: &mut Context<'_>) -> Result<bool, Error> {
        if self.outbox.is_empty() {
            return Ok(false);
        }
        let before = self.outbox.len();
        let progress =
            poll_write(&mut self.stream, &mut self.outbox, cx).map_err(Error::ClientGone)?;
        self.presence.sent(before - self.outbox.len());
        self.worker.spares.collect(&mut self.outbox);
        Ok(progress)
    }

    /// Now: looked at once for each batch of bytes.
    pub(super) fn now(&self) -> Instant {
        self.moment.get().unwrap_or_else(|| {
            let now = Instant::now();
            self.moment.set(Some(now));
            now
        })
    }
}

fn server_gone(error: io::Error) -> Error {
    Error::Backend(error.into())
}
