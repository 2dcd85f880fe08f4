//! One worker's links of one kind, handed from transaction to transaction.
//!
//! Nothing here is shared with other workers and nothing takes a lock as long
//! as nobody waits. When somebody does, the oldest ticket over all workers
//! comes first: a link that is released goes to a waiter of this worker only
//! if nobody elsewhere came earlier, and else back to the shared pool.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::super::link::About;
use super::{Error, LinkKey, LinkPool, Loan, Target};

/// How often idle links are looked at.
const TICK: Duration = Duration::from_secs(1);

/// See the head of this file.
#[derive(Debug)]
pub struct Lane {
    pool: Arc<LinkPool>,
    key: LinkKey,
    target: Target,
    /// The youngest is taken first, so that the others can grow old and go.
    idle: RefCell<VecDeque<Idle>>,
    waiters: RefCell<VecDeque<Rc<Slot>>>,
    /// Links of this lane that sessions hold.
    busy: Cell<usize>,
    /// What a login found: the same for every link of the lane.
    login: RefCell<Option<Arc<About>>>,
    /// The time at the last tick; exact enough for ages of seconds.
    now: Cell<Instant>,
}

#[derive(Debug)]
struct Idle {
    loan: Loan,
    since: Instant,
}

/// A session of this worker that waits.
#[derive(Debug)]
struct Slot {
    ticket: u64,
    loan: RefCell<Option<Loan>>,
    filled: Notify,
}

impl Lane {
    /// A lane of this worker; must be called inside a `LocalSet`, where its
    /// housekeeping runs until the lane is dropped.
    pub fn open(pool: Arc<LinkPool>, key: LinkKey, target: Target) -> Rc<Lane> {
        let lane = Rc::new(Lane {
            pool,
            key,
            target,
            idle: RefCell::default(),
            waiters: RefCell::default(),
            busy: Cell::new(0),
            login: RefCell::default(),
            now: Cell::new(Instant::now()),
        });
        tokio::task::spawn_local(keep_house(Rc::downgrade(&lane)));
        lane
    }

    /// Whether this lane is that pool's for that kind of link.
    pub fn is_for(&self, pool: &Arc<LinkPool>, key: &LinkKey) -> bool {
        Arc::ptr_eq(&self.pool, pool) && self.key == *key
    }

    /// How the pool is configured.
    pub fn settings(&self) -> &crate::config::Pool {
        self.pool.settings()
    }

    /// Whether no link is left in it.
    pub fn is_empty(&self) -> bool {
        self.busy.get() == 0 && self.idle.borrow().is_empty()
    }

    /// An idle link of this worker, unless somebody waits.
    pub fn try_acquire(&self) -> Option<Loan> {
        if self.pool.queue.len() > 0 {
            return None;
        }
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { loan, .. }) = idle.pop_back() {
            // Whatever came in meanwhile is a farewell or noise: not for the next client.
            if loan.link.socket.is_quiet() {
                self.busy.set(self.busy.get() + 1);
                return Some(loan);
            }
        }
        None
    }

    /// What a login finds, once there was one.
    pub fn login(&self) -> Option<Arc<About>> {
        let mut known = self.login.borrow_mut();
        if known.is_none() {
            *known = self.pool.login(&self.key);
        }
        known.clone()
    }

    /// A link: an idle one, a new one within the limits, or the next that
    /// becomes free. The caller bounds the time; dropping this gives up the place.
    pub async fn acquire(&self) -> Result<Loan, Error> {
        if let Some(loan) = self.try_acquire() {
            return Ok(loan);
        }
        if self.pool.queue.len() == 0
            && let Ok(permit) = self.pool.permits.clone().try_acquire_owned()
        {
            let loan = self
                .pool
                .open(permit, self.key.clone(), &self.target)
                .await?;
            self.busy.set(self.busy.get() + 1);
            return Ok(loan);
        }
        let loan = self.wait().await?;
        self.busy.set(self.busy.get() + 1);
        Ok(loan)
    }

    async fn wait(&self) -> Result<Loan, Error> {
        let place = self.pool.queue.enter();
        let slot = Rc::new(Slot {
            ticket: place.ticket,
            loan: RefCell::default(),
            filled: Notify::new(),
        });
        self.waiters.borrow_mut().push_back(slot.clone());
        let _leaving = Leaving {
            lane: self,
            slot: &slot,
        };
        self.pool.bell.notify_waiters();
        // What became idle between the look and the place in the queue is mine if I am first.
        self.serve();
        tokio::select! {
            biased;
            () = slot.filled.notified() => {
                slot.loan.borrow_mut().take().ok_or(Error::Exhausted)
            }
            permit = self.pool.permits.clone().acquire_owned() => {
                let permit = permit.map_err(|_| Error::Exhausted)?;
                self.pool.open(permit, self.key.clone(), &self.target).await
            }
        }
    }

    /// Takes a clean link back. It must be idle, in sync and without unread bytes.
    pub fn release(&self, loan: Loan) {
        self.busy.set(self.busy.get().saturating_sub(1));
        if self.is_old(&loan) {
            return;
        }
        self.idle.borrow_mut().push_back(Idle {
            loan,
            since: self.now.get(),
        });
        if self.pool.queue.len() > 0 {
            self.serve();
        }
    }

    /// A link of this lane was closed instead of released.
    pub fn lost(&self) {
        self.busy.set(self.busy.get().saturating_sub(1));
    }

    /// Links this worker holds: in use, and idle.
    pub fn links(&self) -> (usize, usize) {
        (self.busy.get(), self.idle.borrow().len())
    }

    /// Hands idle links to those who wait, the oldest ticket first.
    fn serve(&self) {
        loop {
            let mut idle = self.idle.borrow_mut();
            if idle.is_empty() {
                return;
            }
            let mut waiters = self.waiters.borrow_mut();
            while waiters.front().is_some_and(|slot| slot.is_filled()) {
                waiters.pop_front();
            }
            let ticket = waiters.front().map(|slot| slot.ticket);
            let elsewhere = self.pool.queue.is_anyone_before(ticket);
            if !elsewhere && ticket.is_none() {
                return;
            }
            let Some(Idle { loan, .. }) = idle.pop_back() else {
                return;
            };
            if !loan.link.socket.is_quiet() {
                continue;
            }
            if elsewhere {
                loan.give_up();
                // One link for one waiter: the others have bells of their own.
                return;
            }
            if let Some(slot) = waiters.pop_front() {
                *slot.loan.borrow_mut() = Some(loan);
                slot.filled.notify_one();
            }
        }
    }

    fn is_old(&self, loan: &Loan) -> bool {
        self.now
            .get()
            .saturating_duration_since(loan.link.about.opened)
            > loan.link.lifetime
    }

    fn tick(&self) {
        self.now.set(Instant::now());
        let timeout = self.pool.settings.idle_timeout;
        self.idle.borrow_mut().retain(|idle| {
            let age = self.now.get().saturating_duration_since(idle.since);
            age < timeout && !self.is_old(&idle.loan) && idle.loan.link.socket.is_quiet()
        });
    }
}

impl Slot {
    fn is_filled(&self) -> bool {
        self.loan.borrow().is_some()
    }
}

/// Takes a waiter out of the line, and hands on what it was given too late.
struct Leaving<'l> {
    lane: &'l Lane,
    slot: &'l Rc<Slot>,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.lane
            .waiters
            .borrow_mut()
            .retain(|slot| !Rc::ptr_eq(slot, self.slot));
        if let Some(loan) = self.slot.loan.borrow_mut().take() {
            self.lane.idle.borrow_mut().push_back(Idle {
                loan,
                since: self.lane.now.get(),
            });
            self.lane.serve();
        }
    }
}

/// Gives idle links up when somebody elsewhere waits, and closes those that nobody wants.
async fn keep_house(lane: Weak<Lane>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let Some(pool) = lane.upgrade().map(|lane| lane.pool.clone()) else {
            return;
        };
        let bell = pool.bell.notified();
        tokio::select! {
            () = bell => {}
            _ = ticks.tick() => {}
        }
        let Some(lane) = lane.upgrade() else { return };
        lane.tick();
        if lane.pool.queue.len() > 0 {
            lane.serve();
        }
    }
}
