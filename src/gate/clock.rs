//! What takes too long, found without a clock on the path of statements.
//!
//! A session leaves a few plain numbers behind when it has nothing to do: how
//! many statements and transactions have ended, how often bytes moved, and
//! whether something is outstanding. One ticker per worker looks at them and
//! remembers since which tick they are the same. So a timeout costs a session
//! neither a look at the clock nor a timer; it ends up to two ticks late and
//! never early.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::Waker;
use std::time::Duration;

use crate::config::{FOREVER, Timeouts};

/// Time between two looks.
const TICK: Duration = Duration::from_millis(100);
/// Longest pause between two looks at one session, in ticks.
const PAUSE_MAX: u64 = 50;

/// What takes too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// A statement.
    Query,
    /// A transaction.
    Transaction,
    /// A client with an open transaction that says nothing.
    IdleTransaction,
    /// A client with nothing open that says nothing.
    ClientIdle,
}

const KINDS: [Overdue; 4] = [
    Overdue::Query,
    Overdue::Transaction,
    Overdue::IdleTransaction,
    Overdue::ClientIdle,
];

/// What a session is about when it rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Doing {
    /// Something that has a time limit of its own.
    #[default]
    Else,
    /// It waits for answers of the server.
    Running,
    /// A transaction is open, and it waits for the client.
    InTransaction,
    /// Nothing is open, and it waits for the client.
    Idle,
}

/// How far a session is. Written by it, read by the ticker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Progress {
    /// Statements that have ended.
    pub(super) statements: u32,
    /// Transactions that have ended.
    pub(super) transactions: u32,
    /// How often bytes moved.
    pub(super) moves: u32,
    /// What it is about.
    pub(super) doing: Doing,
}

impl Progress {
    /// Whether what is limited here is still the same as then, and going on.
    pub(super) fn is_same(&self, then: &Progress, kind: Overdue) -> bool {
        let is = |wanted: &[Doing]| wanted.contains(&self.doing) && wanted.contains(&then.doing);
        match kind {
            Overdue::Query => is(&[Doing::Running]) && self.statements == then.statements,
            Overdue::Transaction => {
                is(&[Doing::Running, Doing::InTransaction])
                    && self.transactions == then.transactions
            }
            Overdue::IdleTransaction => is(&[Doing::InTransaction]) && self.moves == then.moves,
            Overdue::ClientIdle => is(&[Doing::Idle]) && self.moves == then.moves,
        }
    }
}

/// What a session and the ticker share.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// How far the session is.
    pub(super) progress: Cell<Progress>,
    due: Cell<Option<(Overdue, Progress)>>,
    /// A statement that was asked to stop, and how many ticks it has for that.
    grace: Cell<Option<(u32, u64)>>,
    waker: RefCell<Option<Waker>>,
}

impl Watch {
    /// What has taken too long, as it was seen; said once.
    pub(super) fn take_due(&self) -> Option<(Overdue, Progress)> {
        // The usual answer must not cost a write.
        self.due.get()?;
        self.due.take()
    }

    /// The session rests; this wakes it.
    pub(super) fn rest(&self, progress: Progress, waker: &Waker) {
        self.progress.set(progress);
        let mut known = self.waker.borrow_mut();
        match &*known {
            Some(same) if same.will_wake(waker) => {}
            _ => *known = Some(waker.clone()),
        }
    }

    /// The statement that runs now has been asked to stop: from now on it has this long.
    pub(super) fn give_grace(&self, statement: u32, grace: Duration) {
        self.grace.set(Some((statement, ticks(grace))));
    }

    fn alarm(&self, kind: Overdue, seen: Progress) {
        self.due.set(Some((kind, seen)));
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

fn ticks(time: Duration) -> u64 {
    let whole = time.as_millis().div_ceil(TICK.as_millis());
    u64::try_from(whole).unwrap_or(u64::MAX).max(1)
}

/// The sessions of one worker that have time limits.
#[derive(Debug, Default)]
pub struct Clock {
    watched: RefCell<Vec<Watched>>,
    ticking: Cell<bool>,
}

#[derive(Debug)]
struct Watched {
    /// When to look again.
    look_at: u64,
    /// Ticks between two looks.
    pause: u64,
    limits: [Option<u64>; 4],
    since: [u64; 4],
    last: Progress,
    watch: Weak<Watch>,
}

impl Clock {
    /// Watches a session from now on, until its watch is dropped; none: it has
    /// no limits. Must be called inside a `LocalSet`, where the ticker runs
    /// while it is needed.
    pub(super) fn watch(self: &Rc<Self>, timeouts: &Timeouts) -> Option<Rc<Watch>> {
        let limits = [
            timeouts.query,
            timeouts.transaction,
            timeouts.idle_transaction,
            timeouts.client_idle,
        ];
        let limits = limits.map(|limit| limit.filter(|limit| *limit < FOREVER).map(ticks));
        let shortest = limits.iter().flatten().min()?;
        let watch = Rc::<Watch>::default();
        self.watched.borrow_mut().push(Watched {
            look_at: 0,
            pause: (shortest / 20).clamp(1, PAUSE_MAX),
            limits,
            since: [0; 4],
            last: Progress::default(),
            watch: Rc::downgrade(&watch),
        });
        if !self.ticking.replace(true) {
            tokio::task::spawn_local(tick(Rc::downgrade(self)));
        }
        Some(watch)
    }

    /// Looks at everybody whose time has come. False: there is nobody.
    fn look(&self, now: u64) -> bool {
        let mut watched = self.watched.borrow_mut();
        watched.retain_mut(|one| now < one.look_at || one.look(now));
        if watched.is_empty() {
            *watched = Vec::new();
        }
        !watched.is_empty()
    }
}

impl Watched {
    /// False: the session is gone.
    fn look(&mut self, now: u64) -> bool {
        let Some(watch) = self.watch.upgrade() else {
            return false;
        };
        let progress = watch.progress.get();
        let mut pause = self.pause;
        for (at, kind) in KINDS.into_iter().enumerate() {
            let Some(mut limit) = self.limits[at] else {
                continue;
            };
            if self.look_at == 0 || !progress.is_same(&self.last, kind) {
                self.since[at] = now;
                continue;
            }
            if let (Overdue::Query, Some((statement, grace))) = (kind, watch.grace.get())
                && statement == progress.statements
            {
                limit = grace;
                pause = 1;
            }
            let waited = now.saturating_sub(self.since[at]);
            if waited >= limit {
                self.since[at] = now;
                watch.alarm(kind, progress);
            } else {
                pause = pause.min(limit - waited);
            }
        }
        self.last = progress;
        self.look_at = now + pause;
        true
    }
}

/// Ticks as long as somebody is watched.
async fn tick(clock: Weak<Clock>) {
    let started = tokio::time::Instant::now();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // The time it is, not how often this woke: a busy worker ticks late.
        let now = started.elapsed().as_millis() / TICK.as_millis();
        let Some(clock) = clock.upgrade() else { return };
        if !clock.look(u64::try_from(now).unwrap_or(u64::MAX) + 1) {
            clock.ticking.set(false);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(timeouts: Timeouts) -> (Rc<Clock>, Rc<Watch>) {
        let clock = Rc::<Clock>::default();
        clock.ticking.set(true);
        let watch = clock.watch(&timeouts).expect("it has limits");
        (clock, watch)
    }

    fn at(statements: u32, moves: u32, doing: Doing) -> Progress {
        Progress {
            statements,
            transactions: 0,
            moves,
            doing,
        }
    }

    #[test]
    fn a_statement_that_stays_is_overdue_and_one_that_changes_is_not() {
        let second = Some(Duration::from_secs(1));
        let (clock, watch) = watched(Timeouts {
            query: second,
            ..Timeouts::default()
        });
        for now in 1..40 {
            watch.progress.set(at(now, now, Doing::Running));
            assert!(clock.look(u64::from(now)));
            assert_eq!(watch.take_due(), None);
        }
        for now in 40..49 {
            // Rows keep coming: it is the same statement all the same.
            watch.progress.set(at(39, now, Doing::Running));
            clock.look(u64::from(now));
            assert_eq!(watch.take_due(), None, "{now}");
        }
        clock.look(49);
        let (kind, _) = watch.take_due().expect("ten ticks of the same statement");
        assert_eq!(kind, Overdue::Query);
        watch.give_grace(39, Duration::from_millis(200));
        clock.look(50);
        assert_eq!(watch.take_due(), None);
        clock.look(51);
        assert!(watch.take_due().is_some(), "the grace is over");
    }

    #[test]
    fn whoever_speaks_is_not_idle() {
        let (clock, watch) = watched(Timeouts {
            client_idle: Some(Duration::from_millis(500)),
            idle_transaction: Some(Duration::from_millis(300)),
            ..Timeouts::default()
        });
        for now in 1..20 {
            watch.progress.set(at(0, now, Doing::Idle));
            clock.look(u64::from(now));
            assert_eq!(watch.take_due(), None);
        }
        watch.progress.set(at(0, 19, Doing::Else));
        for now in 20..40 {
            clock.look(now);
        }
        assert_eq!(watch.take_due(), None, "waiting for a link is not idling");
        watch.progress.set(at(0, 20, Doing::InTransaction));
        for now in 40..43 {
            clock.look(now);
            assert_eq!(watch.take_due(), None);
        }
        clock.look(43);
        let (kind, _) = watch.take_due().expect("three ticks");
        assert_eq!(kind, Overdue::IdleTransaction);
    }

    #[test]
    fn sessions_without_limits_are_not_looked_at() {
        let clock = Rc::<Clock>::default();
        assert!(clock.watch(&Timeouts::default()).is_none());
        let off = Timeouts {
            query: Some(FOREVER),
            ..Timeouts::default()
        };
        assert!(clock.watch(&off).is_none());
        let (clock, watch) = watched(Timeouts {
            query: Some(Duration::from_secs(1)),
            ..Timeouts::default()
        });
        drop(watch);
        assert!(!clock.look(1));
    }
}
