//! One session as others see it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use super::Whom;
use super::report::{ClientView, State};
use super::tally::{Span, Tally, add, micros};
use crate::gate::brake::Brake;
use crate::model::{Client, UserMessage};
use crate::net::Ends;

/// Why a session has to end, and how soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// An administrator said so: at once.
    Killed,
    /// The database is not configured any more: when nothing is going on.
    Removed,
    /// The same, and the time for that is over.
    RemovedNow,
}

impl Ending {
    /// Whether a transaction is not waited for.
    pub fn is_sudden(self) -> bool {
        !matches!(self, Ending::Removed)
    }

    /// What the client is told.
    pub fn message(self, client: &Client) -> UserMessage {
        match self {
            Ending::Killed => UserMessage::fatal(
                "57P01",
                "terminating connection due to administrator command",
            ),
            Ending::Removed | Ending::RemovedNow => UserMessage::fatal(
                "57P01",
                format!(
                    "database \"{}\" is not configured any more",
                    client.database
                ),
            )
            .hint("Ask the operator of the gate where it has gone."),
        }
    }
}

/// One session. Written by it alone; read by its worker.
pub struct Presence {
    id: u64,
    client: Arc<Client>,
    ends: Ends,
    since: SystemTime,
    /// The server user its statements run as.
    server_user: RefCell<Arc<str>>,
    application: RefCell<Arc<str>>,
    /// Number of the link it holds; 0: none.
    link: Cell<u64>,
    pin: Cell<Option<&'static str>>,
    waiting: Cell<Option<Instant>>,
    asked: Cell<Option<Instant>>,
    span: Span,
    /// Prepared statements it has.
    pub(in crate::gate) prepared: Cell<usize>,
    /// Nothing is under way in either direction.
    pub(in crate::gate) quiet: Cell<bool>,
    pub(in crate::gate) tally: Rc<Tally>,
    /// Of its database.
    pub(in crate::gate) brake: Arc<Brake>,
    ending: Cell<Option<Ending>>,
    waker: RefCell<Option<Waker>>,
}

impl Presence {
    pub(in crate::gate) fn new(
        id: u64,
        client: Arc<Client>,
        ends: Ends,
        tally: Rc<Tally>,
        brake: Arc<Brake>,
    ) -> Rc<Presence> {
        Rc::new(Presence {
            id,
            server_user: RefCell::new(client.user.clone()),
            client,
            ends,
            since: SystemTime::now(),
            application: RefCell::new(Arc::from("")),
            link: Cell::new(0),
            pin: Cell::new(None),
            waiting: Cell::new(None),
            asked: Cell::new(None),
            span: Span::default(),
            prepared: Cell::new(0),
            quiet: Cell::new(true),
            tally,
            brake,
            ending: Cell::new(None),
            waker: RefCell::default(),
        })
    }

    /// Its number, in logs too.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// From now on this task is woken when somebody wants something of it.
    pub async fn listen(&self) {
        poll_fn(|cx| {
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Ready(())
        })
        .await;
    }

    pub(super) fn stir(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    pub(super) fn end(&self, how: Ending) {
        // The name may belong to another database by now: only who was told before.
        if how == Ending::RemovedNow && self.ending.get() != Some(Ending::Removed) {
            return;
        }
        self.ending.set(Some(how));
        self.stir();
    }

    /// Whether it has to end.
    pub fn ending(&self) -> Option<Ending> {
        self.ending.get()
    }

    /// Waits until it has to end at once; the task must be [listening](Self::listen).
    pub async fn ended(&self) -> Ending {
        poll_fn(|_| match self.ending.get() {
            Some(how) if how.is_sudden() => Poll::Ready(how),
            _ => Poll::Pending,
        })
        .await
    }

    /// Waits until it has to end, at once or when nothing is going on.
    pub async fn leaving(&self) -> Ending {
        poll_fn(|_| self.ending.get().map_or(Poll::Pending, Poll::Ready)).await
    }

    pub(super) fn is_meant(&self, whom: &Whom) -> bool {
        match whom {
            Whom::Databases(names) => names.contains(&self.client.database),
            Whom::Client(id) => self.id == *id,
        }
    }

    pub(in crate::gate) fn runs_as(&self, user: &Arc<str>) {
        *self.server_user.borrow_mut() = user.clone();
    }

    /// What the client calls itself.
    pub fn introduces_itself(&self, name: &str) {
        self.calls_itself(&name.into());
    }

    /// What the client calls itself.
    pub(in crate::gate) fn calls_itself(&self, name: &Arc<str>) {
        *self.application.borrow_mut() = name.clone();
    }

    /// It got a link.
    pub(in crate::gate) fn holds(&self, link: u64) {
        self.link.set(link);
        add(&self.tally.assignments, 1);
    }

    /// It has none any more.
    pub(in crate::gate) fn lets_go(&self) {
        self.link.set(0);
        self.pin.set(None);
    }

    /// Nothing ties it to its link any more.
    pub(in crate::gate) fn is_free(&self) {
        self.pin.set(None);
    }

    /// The link stays with it.
    pub(in crate::gate) fn is_pinned(&self, why: &'static str) {
        self.pin.set(Some(why));
    }

    /// Bytes came from the client.
    pub fn received(&self, bytes: usize) {
        add(&self.tally.received, bytes as u64);
    }

    /// Bytes went to the client.
    pub fn sent(&self, bytes: usize) {
        add(&self.tally.sent, bytes as u64);
    }

    /// A statement was asked for, at this time.
    pub(in crate::gate) fn asks(&self, at: Instant) -> Instant {
        self.asked.set(Some(at));
        at
    }

    /// A statement is done; how long it took.
    pub fn ran(&self, started: Instant, ended: Instant) -> Duration {
        let took = ended.saturating_duration_since(started);
        add(&self.tally.queries, 1);
        add(&self.tally.query_us, micros(took));
        self.span.note(started, took);
        took
    }

    /// ReadyForQuery says that no transaction is open.
    pub fn transaction_ended(&self) {
        add(&self.tally.transactions, 1);
        add(&self.tally.transaction_us, micros(self.span.close()));
    }

    /// It waits for a link until the result drops.
    pub(in crate::gate) fn waits(self: &Rc<Self>) -> Waiting {
        self.waiting.set(Some(Instant::now()));
        Waiting(self.clone())
    }

    pub(super) fn view(&self) -> ClientView {
        let link = self.link.get();
        let wait = self.waiting.get().map(|since| since.elapsed());
        let state = match (wait, link) {
            (Some(_), _) => State::Waiting,
            (None, 0) => State::Idle,
            (None, _) => State::Active,
        };
        // Without a statement yet, the login was the last request.
        let asked = self.asked.get();
        let asked = asked.and_then(|at| SystemTime::now().checked_sub(at.elapsed()));
        ClientView {
            id: self.id,
            client: self.client.clone(),
            server_user: self.server_user.borrow().clone(),
            ends: self.ends.clone(),
            since: self.since,
            asked: asked.unwrap_or(self.since),
            state,
            wait: wait.unwrap_or_default(),
            link: (link != 0).then_some(link),
            pin: self.pin.get(),
            application: self.application.borrow().clone(),
            prepared: self.prepared.get(),
            quiet: self.quiet.get(),
        }
    }
}

/// A wait for a link; over when this drops.
pub(in crate::gate) struct Waiting(Rc<Presence>);

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(since) = self.0.waiting.take() {
            add(&self.0.tally.wait_us, micros(since.elapsed()));
        }
    }
}
