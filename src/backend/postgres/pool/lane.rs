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
use super::places::Turn;
use super::{Error, LinkKey, LinkPool, Loan, Target};

/// How often idle links are looked at.
const TICK: Duration = Duration::from_secs(1);

/// See the head of this file.
#[derive(Debug)]
pub struct Lane {
    pool: Arc<LinkPool>,
    key: LinkKey,
    target: RefCell<Target>,
    /// The one that came last stands last.
    idle: RefCell<VecDeque<Idle>>,
    waiters: RefCell<VecDeque<Rc<Slot>>>,
    /// Links of this lane that sessions hold.
    busy: Cell<usize>,
    /// What a login found: the same for every link of the lane.
    login: RefCell<Option<Arc<About>>>,
    /// The time at the last tick; exact enough for ages of seconds.
    now: Cell<Instant>,
    /// A link went because of its age since the last tick.
    aged: Cell<bool>,
    /// Which links are taken how, as configured at the last tick.
    habits: Cell<Habits>,
}

#[derive(Debug)]
struct Idle {
    loan: Loan,
    since: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Habits {
    /// The one that has been idle longest is taken, not the youngest.
    round_robin: bool,
    /// A link that has been idle for so long is tried before somebody gets it.
    check_after: Duration,
}

impl Habits {
    fn of(pool: &LinkPool) -> Habits {
        let settings = pool.settings();
        Habits {
            round_robin: settings.round_robin,
            check_after: settings.check_after,
        }
    }
}

/// A session of this worker that waits.
#[derive(Debug)]
struct Slot {
    ticket: u64,
    /// Its place in the line over all workers; none: it has what it waited for.
    turn: RefCell<Option<Turn>>,
    loan: RefCell<Option<Loan>>,
    filled: Notify,
}

impl Lane {
    /// A lane of this worker; must be called inside a `LocalSet`, where its
    /// housekeeping runs until the lane is dropped.
    pub fn open(pool: Arc<LinkPool>, key: LinkKey, target: Target) -> Rc<Lane> {
        let lane = Rc::new(Lane {
            habits: Cell::new(Habits::of(&pool)),
            aged: Cell::new(false),
            pool,
            key,
            target: RefCell::new(target),
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

    /// Links are opened to there from now on.
    pub fn aim(&self, target: &Target) {
        *self.target.borrow_mut() = target.clone();
    }

    /// Whether no link is left in it.
    pub fn is_empty(&self) -> bool {
        self.busy.get() == 0 && self.idle.borrow().is_empty()
    }

    /// An idle link of this worker, unless somebody waits.
    pub fn try_acquire(&self) -> Option<Loan> {
        if self.pool.places.waiting() > 0 {
            return None;
        }
        let habits = self.habits.get();
        let mut idle = self.idle.borrow_mut();
        loop {
            let next = if habits.round_robin {
                idle.front()
            } else {
                idle.back()
            };
            let waited = self.now.get().saturating_duration_since(next?.since);
            if waited >= habits.check_after {
                // It is tried first, which takes a moment: see `acquire`.
                return None;
            }
            let Idle { loan, .. } = self.pop(&mut idle)?;
            // Whatever came in meanwhile is a farewell or noise: not for the next client.
            if loan.link.socket.is_quiet() {
                self.busy.set(self.busy.get() + 1);
                return Some(loan);
            }
        }
    }

    fn pop(&self, idle: &mut VecDeque<Idle>) -> Option<Idle> {
        if self.habits.get().round_robin {
            idle.pop_front()
        } else {
            idle.pop_back()
        }
    }

    /// An idle link of this worker that works, unless somebody waits for it.
    async fn try_idle(&self) -> Option<Loan> {
        loop {
            if self.pool.places.is_anyone_before(None, &self.key) {
                return None;
            }
            let Idle { mut loan, since } = self.pop(&mut self.idle.borrow_mut())?;
            if !loan.link.socket.is_quiet() {
                continue;
            }
            let waited = self.now.get().saturating_duration_since(since);
            let limit = self.pool.settings().clean_timeout;
            if waited < self.habits.get().check_after || loan.link.is_alive(limit).await {
                return Some(loan);
            }
        }
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
        let loan = match self.try_idle().await {
            Some(loan) => loan,
            None => match self.pool.places.try_take(&self.key) {
                Some(given) => Box::pin(self.pool.open(given, &self.target())).await?,
                None => self.wait().await?,
            },
        };
        self.busy.set(self.busy.get() + 1);
        Ok(loan)
    }

    fn target(&self) -> Target {
        self.target.borrow().clone()
    }

    async fn wait(&self) -> Result<Loan, Error> {
        let turn = self.pool.places.enter(&self.key);
        let seat = turn.seat.clone();
        let slot = Rc::new(Slot {
            ticket: turn.ticket,
            turn: RefCell::new(Some(turn)),
            loan: RefCell::default(),
            filled: Notify::new(),
        });
        self.waiters.borrow_mut().push_back(slot.clone());
        let _leaving = Leaving {
            lane: self,
            slot: &slot,
        };
        self.pool.bell.notify_waiters();
        // What became idle between the look and the place in the line is mine if I am first.
        self.serve();
        let mut press = std::pin::pin!(slot.press(&self.pool));
        loop {
            tokio::select! {
                biased;
                () = slot.filled.notified() => {
                    if let Some(loan) = slot.loan.borrow_mut().take() {
                        return Ok(loan);
                    }
                }
                given = seat.filled() => {
                    return Box::pin(self.pool.open(given, &self.target())).await;
                }
                () = &mut press => {}
            }
        }
    }

    /// Takes a clean link back. It must be idle, in sync and without unread bytes.
    pub fn release(&self, loan: Loan) {
        self.busy.set(self.busy.get().saturating_sub(1));
        if loan.link.outdated || self.pool.is_retired(&loan.place) || self.is_old(&loan) {
            return;
        }
        self.idle.borrow_mut().push_back(Idle {
            loan,
            since: self.now.get(),
        });
        if self.pool.places.waiting() > 0 {
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
            let elsewhere = self.pool.places.is_anyone_before(ticket, &self.key);
            if !elsewhere && ticket.is_none() {
                return;
            }
            let Some(Idle { loan, since }) = self.pop(&mut idle) else {
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
            let Some(slot) = waiters.pop_front() else {
                return idle.push_back(Idle { loan, since });
            };
            *slot.loan.borrow_mut() = Some(loan);
            slot.filled.notify_one();
            let turn = slot.turn.borrow_mut().take();
            // Out of the line at once. What that gives back goes elsewhere.
            drop((idle, waiters));
            drop(turn);
        }
    }

    /// Links that wait here, and for how long, as of the last tick.
    pub fn idle_cards(&self) -> Vec<(u64, Duration)> {
        let idle = self.idle.borrow();
        let card = |one: &Idle| {
            let age = self.now.get().saturating_duration_since(one.since);
            Some((one.loan.card()?.id, age))
        };
        idle.iter().filter_map(card).collect()
    }

    /// Whether a link goes because of its age; one at a time does.
    fn is_old(&self, loan: &Loan) -> bool {
        let age = self
            .now
            .get()
            .saturating_duration_since(loan.link.about.opened);
        age > loan.link.lifetime && !self.aged.replace(true)
    }

    fn tick(&self) {
        self.now.set(Instant::now());
        self.aged.set(false);
        self.habits.set(Habits::of(&self.pool));
        let timeout = self.pool.settings().idle_timeout;
        let mut surplus = self.pool.surplus(&self.key);
        // The reserve, and what a reload took away, goes when nobody waits.
        let mut over = self.pool.places.waiting() == 0 && self.pool.places.is_over();
        let mut gone = Vec::new();
        let mut idle = self.idle.borrow_mut();
        for one in std::mem::take(&mut *idle) {
            let age = self.now.get().saturating_duration_since(one.since);
            let mut ends = self.pool.is_retired(&one.loan.place)
                || !one.loan.link.socket.is_quiet()
                || self.is_old(&one.loan)
                || std::mem::take(&mut over);
            if !ends && age >= timeout && surplus > 0 {
                surplus -= 1;
                ends = true;
            }
            if ends {
                gone.push(one);
            } else {
                idle.push_back(one);
            }
        }
        drop(idle);
        drop(gone);
    }
}

impl Slot {
    fn is_filled(&self) -> bool {
        self.loan.borrow().is_some()
    }

    /// Claims the reserve when its time has come, and never ends otherwise.
    async fn press(&self, pool: &LinkPool) {
        let settings = pool.settings();
        if settings.reserve > 0 {
            tokio::time::sleep(settings.reserve_timeout).await;
            if let Some(turn) = &*self.turn.borrow() {
                turn.press();
            }
        }
        std::future::pending().await
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
        if lane.pool.places.waiting() > 0 {
            lane.serve();
        }
    }
}
