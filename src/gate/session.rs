//! One client's session: the loop, the buffers, the byte mover.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::cancel::{Cancel, Registration};
use super::client::Job;
use super::expected::Queue;
use super::known::World;
use super::line::Stamp;
use super::names::Names;
use super::{Arrival, Error, Worker};
use crate::backend::postgres::catalog::Catalog;
use crate::backend::postgres::link::About;
use crate::backend::postgres::login::Target;
use crate::backend::postgres::pool::{LinkKey, LinkPool, Loan};
use crate::config::{Limits, User};
use crate::model::{Client, SessionFacts, TransactionState, UserMessage};
use crate::safety::limit::Ledger;
use crate::wire::postgres::encode;

/// Bytes waiting for a slow reader before the gate stops reading the other side.
const HIGH_WATER: usize = 256 * 1024;
/// Room made in a buffer before a read.
const READ_SIZE: usize = 16 * 1024;
/// How long the first client waits for the catalog.
const FIRST_CATALOG_WAIT: Duration = Duration::from_secs(5);
/// Time a cancel request of the gate may take.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);

/// What the byte mover stopped for.
pub(super) enum Step {
    /// A statement needs work before or after; the frame is taken off the inbox.
    Job(Box<Job>),
    /// A row beyond a limit came: the server's statement must be stopped.
    Overflow,
    /// Nothing is expected from the server any more.
    Settled,
    /// The gate is shutting down and nothing is going on.
    Drained,
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
    pub(super) client: Arc<Client>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) limits: Limits,
    pub(super) stream: S,
    /// From the client.
    pub(super) inbox: BytesMut,
    /// To the client.
    pub(super) outbox: BytesMut,
    pub(super) loan: Loan,
    registration: Registration,
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
    /// A statement whose rows are counted is on its way.
    pub(super) watched: u32,
    /// COPY FROM STDIN is open.
    pub(super) copy_in: bool,
    /// The gate opened a transaction block in a pipeline, to be closed at Sync.
    pub(super) own_block: bool,
    /// A transaction block is open, as far as command tags tell.
    pub(super) in_block: bool,
    /// Where names are looked up, as last worked out.
    pub(super) world: RefCell<Option<(Stamp, Rc<World>)>>,
    /// Code ran that may have changed names behind the gate's back.
    pub(super) tainted: bool,
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
    client_gone: bool,
    draining: bool,
}

/// Where a session's links come from.
#[derive(Clone)]
pub struct Source {
    /// The bounded pool.
    pub pool: Arc<LinkPool>,
    /// What is known of the database's objects.
    pub catalog: Arc<Catalog>,
    /// The server, with the backend's own user.
    pub target: Target,
}

impl Source {
    /// The server as this user reaches it.
    fn target_for(&self, user: &User) -> Target {
        match &user.server {
            Some((name, password)) => Target {
                user: name.clone(),
                password: password.clone(),
                ..self.target.clone()
            },
            None => self.target.clone(),
        }
    }
}

struct CancelLink(About);

impl Cancel for CancelLink {
    fn cancel(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            if let Err(error) = self.0.cancel(CANCEL_TIMEOUT).await {
                tracing::debug!(%error, "cancel request did not reach the server");
            }
        })
    }
}

/// Serves a client until it leaves.
pub async fn run<S>(
    mut arrival: Arrival<S>,
    worker: Rc<Worker>,
    source: Source,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let target = source.target_for(&arrival.user);
    if let Some(role) = &arrival.user.set_role {
        // As a start-up parameter it is also what RESET ALL and DISCARD ALL return to.
        arrival
            .parameters
            .retain(|(name, _)| !name.eq_ignore_ascii_case("role"));
        arrival
            .parameters
            .push(("role".to_owned(), role.to_string()));
    }
    let key = LinkKey {
        user: target.user.clone(),
        parameters: arrival.parameters.clone().into(),
    };
    let loan = match source.pool.take(key, &target).await {
        Ok(loan) => loan,
        Err(error) => {
            let message = error.to_string();
            let database = &arrival.database.name;
            worker.recorder.emit(&crate::telemetry::Event::LinkFailed {
                database,
                message: &message,
            });
            let mut out = BytesMut::new();
            encode::error(&mut out, &no_link(&error));
            let _ = arrival.stream.write_all(&out).await;
            let _ = arrival.stream.shutdown().await;
            return Err(error.into());
        }
    };
    // Limits need to know the tables: the first client after a start waits for them.
    if source.catalog.snapshot().is_none() {
        let _ = source.catalog.fresh(FIRST_CATALOG_WAIT).await;
    }
    let mut session = Session::new(arrival, worker, source.catalog, loan).await;
    if session.unsafe_encoding {
        session.outbox.clear();
        let message =
            UserMessage::fatal("0A000", "this client_encoding is not supported by the gate")
                .hint("Connect with client_encoding set to UTF8.");
        encode::error(&mut session.outbox, &message);
        return session.leave(Ok(())).await;
    }
    let result = session.run().await;
    session.leave(result).await
}

/// What a client may know of a failed login to the server.
fn no_link(error: &crate::backend::postgres::Error) -> UserMessage {
    use crate::backend::postgres::Error as Backend;
    match error {
        // The server's own words: the client is authenticated, and drivers look at the state.
        Backend::Refused(report) => UserMessage {
            detail: report.detail.clone(),
            hint: report.hint.clone(),
            ..UserMessage::fatal("08006", "")
        }
        .with_server(report),
        Backend::Exhausted => {
            UserMessage::fatal("53300", "no server connection became free in time")
                .hint("Raise the pool's max, or close connections that are not needed.")
        }
        _ => UserMessage::fatal("08006", "the database server cannot be reached"),
    }
}

impl UserMessage {
    fn with_server(mut self, report: &crate::wire::postgres::report::Report) -> UserMessage {
        self.message = report.message.clone();
        // SQLSTATEs that clients act on; anything else is a failed connection.
        self.code = match report.code.as_str() {
            "3D000" => "3D000",
            "53300" => "53300",
            "57P03" => "57P03",
            "28000" => "28000",
            "22023" => "22023",
            "42704" => "42704",
            _ => "08006",
        };
        self
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    async fn new(
        arrival: Arrival<S>,
        worker: Rc<Worker>,
        catalog: Arc<Catalog>,
        loan: Loan,
    ) -> Session<S> {
        let about = &loan.link.about;
        let mut facts = SessionFacts {
            role: about.role.clone(),
            search_path: about.search_path.clone(),
            ..SessionFacts::default()
        };
        let mut outbox = BytesMut::with_capacity(4096);
        for (name, value) in &about.parameters {
            encode::parameter_status(&mut outbox, name, value);
            if &**name == "application_name" {
                facts.application = value.clone();
            }
        }
        encode::key_data(
            &mut outbox,
            arrival.registration.key.pid,
            &arrival.registration.key.secret.to_be_bytes(),
        );
        encode::ready(&mut outbox, b'I');
        arrival
            .registration
            .attach(Arc::new(CancelLink(about.clone())))
            .await;
        let limits = worker.config.load().limits.clone();
        let id = worker.sessions.fetch_add(1, Ordering::Relaxed);
        let mut session = Session {
            worker,
            id,
            client: arrival.client,
            catalog,
            limits,
            stream: arrival.stream,
            inbox: arrival.inbox,
            outbox,
            loan,
            registration: arrival.registration,
            skip: 0,
            skip_drops: false,
            client_skip: 0,
            queue: Queue::default(),
            names: Names::default(),
            facts,
            discard: false,
            executed: 0,
            watched: 0,
            copy_in: false,
            own_block: false,
            in_block: false,
            world: RefCell::default(),
            tainted: false,
            temporary: false,
            settings_changed: false,
            unsafe_encoding: false,
            single_byte: false,
            ledger: Ledger::default(),
            held: None,
            held_run: None,
            tags: Vec::new(),
            replacement: None,
            over_at_sync: None,
            ddl: false,
            own: super::own::Answer::default(),
            client_gone: false,
            draining: false,
        };
        let parameters = session.loan.link.about.parameters.clone();
        for (name, value) in &parameters {
            session.note_setting(name, value);
        }
        session
    }

    /// Serves until the client leaves or the gate drains.
    pub async fn run(&mut self) -> Result<(), Error> {
        let mut drain = self.worker.drain.clone();
        loop {
            let step = tokio::select! {
                biased;
                step = poll_fn(|cx| self.poll_move(cx, Mode::Serve)) => step?,
                _ = drain.wait_for(|drain| *drain), if !self.draining => {
                    self.draining = true;
                    continue;
                }
            };
            match step {
                Step::Job(job) => self.do_job(*job).await?,
                Step::Overflow => self.stop_statement().await?,
                Step::Settled => {}
                Step::Drained => return Err(Error::Draining),
                Step::Goodbye => return Ok(()),
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
            encode::flush(&mut self.loan.link.outbox);
        }
        while !self.queue.is_empty() {
            match poll_fn(|cx| self.poll_move(cx, Mode::Settle)).await? {
                Step::Overflow => Box::pin(self.cancel_link()).await,
                Step::Goodbye => {
                    return Err(Error::ClientGone(io::ErrorKind::UnexpectedEof.into()));
                }
                Step::Job(_) | Step::Settled | Step::Drained => {}
            }
        }
        Ok(())
    }

    /// Asks the server to stop; returns when the request can hit nothing later.
    pub(super) async fn cancel_link(&mut self) {
        if let Err(error) = self.loan.link.about.cancel(CANCEL_TIMEOUT).await {
            tracing::debug!(%error, "cancel request did not reach the server");
        }
    }

    /// Moves bytes both ways until something needs more than that.
    pub(super) fn poll_move(
        &mut self,
        cx: &mut Context<'_>,
        mode: Mode,
    ) -> Poll<Result<Step, Error>> {
        loop {
            if let Some(step) = self.on_server_bytes()? {
                return Poll::Ready(Ok(step));
            }
            if mode == Mode::Settle && self.queue.is_empty() {
                return Poll::Ready(Ok(Step::Settled));
            }
            if let Some(step) = self.on_client_bytes(mode)? {
                return Poll::Ready(Ok(step));
            }
            let mut progress = false;
            progress |= self.write_link(cx)?;
            progress |= self.write_client(cx)?;
            if self.client_gone && self.queue.is_empty() {
                return Poll::Ready(Ok(Step::Goodbye));
            }
            if self.outbox.len() < HIGH_WATER {
                progress |= self.read_link(cx)?;
            }
            if !self.client_gone
                && self.loan.link.outbox.len() < HIGH_WATER
                && self.inbox.len() < HIGH_WATER.max(self.wanted())
            {
                progress |= self.read_client(cx)?;
            }
            if !progress {
                if self.draining && mode == Mode::Serve && self.is_idle() {
                    return Poll::Ready(Ok(Step::Drained));
                }
                return Poll::Pending;
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
        let link = &mut self.loan.link;
        match poll_read(&mut link.socket, &mut link.inbox, cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(0)) => Err(server_gone(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(Ok(_)) => Ok(true),
            Poll::Ready(Err(error)) => Err(server_gone(error)),
        }
    }

    fn read_client(&mut self, cx: &mut Context<'_>) -> Result<bool, Error> {
        match poll_read(&mut self.stream, &mut self.inbox, cx) {
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
            Poll::Ready(Ok(_)) => Ok(true),
            Poll::Ready(Err(error)) => Err(Error::ClientGone(error)),
        }
    }

    fn write_link(&mut self, cx: &mut Context<'_>) -> Result<bool, Error> {
        let link = &mut self.loan.link;
        poll_write(&mut link.socket, &mut link.outbox, cx).map_err(server_gone)
    }

    fn write_client(&mut self, cx: &mut Context<'_>) -> Result<bool, Error> {
        poll_write(&mut self.stream, &mut self.outbox, cx).map_err(Error::ClientGone)
    }

    /// Says why, if the client can still hear it, and hands the link on if it is clean.
    async fn leave(mut self, result: Result<(), Error>) -> Result<(), Error> {
        let message = match &result {
            Err(Error::Client(error)) => Some(UserMessage::fatal("08P01", error.to_string())),
            Err(Error::Draining) => Some(UserMessage::fatal("57P01", "the gate is shutting down")),
            Err(Error::Backend(_)) if self.loan.link.inbox.is_empty() => Some(UserMessage::fatal(
                "08006",
                "the connection to the database server ended",
            )),
            _ => None,
        };
        self.record_unfinished();
        if let Some(message) = message {
            encode::error(&mut self.outbox, &message);
        }
        let goodbye = async {
            self.stream.write_all(&self.outbox).await?;
            self.stream.shutdown().await
        };
        let _ = tokio::time::timeout(Duration::from_secs(5), goodbye).await;
        self.registration.detach().await;
        let clean = self.queue.is_empty()
            && self.skip == 0
            && !self.copy_in
            && !self.discard
            && self.executed == 0
            && self.facts.transaction == TransactionState::Idle
            && matches!(result, Ok(()) | Err(Error::Draining));
        if clean {
            self.loan.give_back().await;
        } else if !self.queue.is_empty() {
            // What the server is doing for nobody should end with the client.
            self.cancel_link().await;
        }
        result
    }

    /// Now, for timings.
    pub(super) fn now(&self) -> Instant {
        Instant::now()
    }
}

fn server_gone(error: io::Error) -> Error {
    Error::Backend(error.into())
}

fn poll_read<R: AsyncRead + Unpin>(
    from: &mut R,
    into: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    if into.capacity() - into.len() < READ_SIZE / 4 {
        into.reserve(READ_SIZE);
    }
    // read_buf is cancel safe: dropping the future loses nothing.
    pin!(from.read_buf(into)).poll(cx)
}

fn poll_write<W: AsyncWrite + Unpin>(
    to: &mut W,
    from: &mut BytesMut,
    cx: &mut Context<'_>,
) -> io::Result<bool> {
    let mut progress = false;
    while !from.is_empty() {
        match Pin::new(&mut *to).poll_write(cx, from) {
            Poll::Pending => break,
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(n)) => {
                from.advance(n);
                progress = true;
            }
            Poll::Ready(Err(error)) => return Err(error),
        }
    }
    Ok(progress)
}
