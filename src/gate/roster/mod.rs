//! Who is connected to a worker and what they have done: what the console shows.
//!
//! Everything here belongs to one worker and is written with plain stores, so
//! that a statement pays nothing for being seen. Others ask by message
//! ([`Order`]) and get a copy ([`Report`]).
//!
//! Deliberately not here: pools and links (`backend` counts its own), words
//! and tables (`console` has them).
//!
//! Read [`Presence`] first, then [`Roster::obey`].

mod behind;
mod order;
mod presence;
mod report;
mod tally;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

pub use order::{Mailbox, Order, Orders, Whom, mailbox};
pub use presence::{Ending, Presence};
pub use report::{Behind as BackendView, ClientView, IdleLink, Report, ServerView, State};
pub use tally::Counts;
pub(super) use tally::{Tally, add};

use super::Worker;

/// Databases counted apart by one worker; what comes later is counted together.
const TALLIES_MAX: usize = 1024;

/// The sessions of one worker.
#[derive(Default)]
pub struct Roster {
    present: RefCell<HashMap<u64, Rc<Presence>>>,
    tallies: RefCell<HashMap<Arc<str>, Rc<Tally>>>,
    suspended: Cell<bool>,
}

/// A place in the roster; left when this drops.
pub struct Listed {
    worker: Rc<Worker>,
    /// What others see.
    pub(super) presence: Rc<Presence>,
}

impl Listed {
    /// What others see.
    pub fn presence(&self) -> &Rc<Presence> {
        &self.presence
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut present = self.worker.roster.present.borrow_mut();
        present.remove(&self.presence.id());
        if present.is_empty() {
            present.shrink_to_fit();
        }
    }
}

impl Roster {
    /// What a database's sessions count on.
    pub(super) fn tally(&self, database: &Arc<str>) -> Rc<Tally> {
        let mut tallies = self.tallies.borrow_mut();
        if let Some(known) = tallies.get(database) {
            return known.clone();
        }
        let name = if tallies.len() < TALLIES_MAX {
            database.clone()
        } else {
            Arc::from("(others)")
        };
        tallies.entry(name).or_default().clone()
    }

    /// From now on others see this session.
    pub(super) fn enter(worker: &Rc<Worker>, presence: Rc<Presence>) -> Listed {
        let mut present = worker.roster.present.borrow_mut();
        present.insert(presence.id(), presence.clone());
        drop(present);
        Listed {
            worker: worker.clone(),
            presence,
        }
    }

    /// Whether clients are not to be listened to.
    pub(super) fn is_suspended(&self) -> bool {
        self.suspended.get()
    }
}

impl Worker {
    /// Carries out what somebody outside wants.
    pub fn obey(&self, order: Order) {
        let roster = &self.roster;
        match order {
            Order::Look(answer) => {
                // Whoever asked may have given up waiting.
                let _ = answer.send(self.report());
            }
            Order::End { whom, how, answer } => {
                let present = roster.present.borrow();
                let hit = present.values().filter(|one| one.is_meant(&whom));
                let count = hit.map(|one| one.end(how)).count();
                let _ = answer.send(count);
            }
            Order::Suspend { on, answer } => {
                roster.suspended.set(on);
                for one in roster.present.borrow().values() {
                    one.stir();
                }
                let _ = answer.send(0);
            }
        }
    }

    fn report(&self) -> Report {
        let roster = &self.roster;
        let clients = roster.present.borrow();
        let tallies = roster.tallies.borrow();
        let lanes = self.lanes.borrow();
        Report {
            clients: clients.values().map(|one| one.view()).collect(),
            counts: tallies
                .iter()
                .map(|(name, tally)| (name.clone(), tally.counts()))
                .collect(),
            idle: lanes.iter().flat_map(|lane| lane.idle_cards()).collect(),
            judged: self.judge.borrow().stats(),
            buffers: self.spares.kept(),
        }
    }
}
