//! How many links there may be, and who gets the next one.
//!
//! Every link that exists has a [`Place`], wherever it is; the place is free
//! again when the link is gone. Who finds none waits in one line over all
//! workers and all kinds of links. A place, or a link nobody uses, goes to the
//! first in the line who can use it: somebody whose user has all the links it
//! may have does not hold up those behind.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::super::link::IdleLink;
use super::{Card, LinkKey};
use crate::config::Pool;

/// The right of one link to exist; given back when this drops.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    pub(super) key: LinkKey,
    /// The epoch of the pool in which the link was opened.
    pub(super) epoch: u64,
    /// Where the link leads; none: it is still to be opened.
    pub(super) address: Option<Arc<str>>,
    /// What others may know of the link; none before it is open.
    pub(super) card: Option<Arc<Card>>,
}

/// A link that no worker owns.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) place: Place,
    pub(super) link: IdleLink,
}

/// What somebody gets who asks for a link.
#[derive(Debug)]
pub(super) enum Given {
    /// A link that nobody used.
    Link(Box<Rest>),
    /// The right to open one.
    Place(Place),
}

/// Where what is given to somebody who waits is put.
#[derive(Debug, Default)]
pub(super) struct Seat {
    given: Mutex<Option<Given>>,
    filled: Notify,
}

impl Seat {
    /// Waits for something to be given.
    pub(super) async fn filled(&self) -> Given {
        loop {
            if let Some(given) = lock(&self.given).take() {
                return given;
            }
            self.filled.notified().await;
        }
    }

    fn fill(&self, given: Given) {
        *lock(&self.given) = Some(given);
        self.filled.notify_one();
    }
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Places {
    /// How many wait; looked at without the lock when a link is released.
    waiting: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    max: usize,
    reserve: usize,
    open: usize,
    kinds: HashMap<LinkKey, Kind>,
    /// Links of users that may not have any number of them.
    owners: HashMap<Arc<str>, usize>,
    /// Links that no worker owns, the one that has waited longest first.
    rest: VecDeque<Rest>,
    next_ticket: u64,
}

#[derive(Debug, Default)]
struct Kind {
    open: usize,
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    seat: Arc<Seat>,
    /// It has waited so long that the reserve is for it.
    pressing: bool,
}

/// How somebody can be served.
enum Way {
    /// With a link of its kind that nobody uses.
    Rest(usize),
    /// With a new one.
    Open,
    /// With a new one in the place of another kind's that nobody uses.
    Instead(usize),
}

/// Somebody's place in the line; left when this drops.
#[derive(Debug)]
pub(super) struct Turn {
    places: Arc<Places>,
    key: LinkKey,
    /// Its number: smaller came earlier.
    pub(super) ticket: u64,
    /// Where what it gets is put.
    pub(super) seat: Arc<Seat>,
}

/// What a kind of link has.
#[derive(Debug, Clone)]
pub struct Figures {
    /// The kind.
    pub key: LinkKey,
    /// Links that exist.
    pub open: usize,
    /// Of those, links that no worker owns.
    pub resting: usize,
    /// Sessions that wait for one.
    pub waiting: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Places {
    pub(super) fn new(settings: &Pool) -> Arc<Places> {
        Arc::new(Places {
            waiting: AtomicUsize::new(0),
            state: Mutex::new(State {
                max: settings.max.max(1),
                reserve: settings.reserve,
                open: 0,
                kinds: HashMap::new(),
                owners: HashMap::new(),
                rest: VecDeque::new(),
                next_ticket: 0,
            }),
        })
    }

    /// Other limits from now on. What is too much goes as it becomes free.
    pub(super) fn resize(self: &Arc<Self>, settings: &Pool) {
        let mut state = lock(&self.state);
        state.max = settings.max.max(1);
        state.reserve = settings.reserve;
        let closed = self.serve(&mut state);
        drop(state);
        drop(closed);
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Links that exist.
    pub(super) fn open(&self) -> usize {
        lock(&self.state).open
    }

    /// Links of this kind that exist.
    pub(super) fn open_of(&self, key: &LinkKey) -> usize {
        let state = lock(&self.state);
        state.kinds.get(key).map_or(0, |kind| kind.open)
    }

    /// Links that no worker owns.
    pub(super) fn resting(&self) -> usize {
        lock(&self.state).rest.len()
    }

    /// Whether there are more links than are meant to be, the reserve aside.
    pub(super) fn is_over(&self) -> bool {
        let state = lock(&self.state);
        state.open > state.max
    }

    pub(super) fn figures(&self) -> Vec<Figures> {
        let state = lock(&self.state);
        let figures = |(key, kind): (&LinkKey, &Kind)| Figures {
            key: key.clone(),
            open: kind.open,
            resting: state.rest.iter().filter(|r| r.place.key == *key).count(),
            waiting: kind.waiting.len(),
        };
        state.kinds.iter().map(figures).collect()
    }

    /// A link or a place at once. Nobody in the line could use it: they are
    /// served whenever something becomes free.
    pub(super) fn try_take(self: &Arc<Self>, key: &LinkKey) -> Option<Given> {
        let mut state = lock(&self.state);
        let (given, closed) = self.give(&mut state, key, false)?;
        drop(state);
        drop(closed);
        Some(given)
    }

    /// The right to open one link more, if there is room and nobody waits.
    pub(super) fn try_open(self: &Arc<Self>, key: &LinkKey) -> Option<Place> {
        let mut state = lock(&self.state);
        let free = self.waiting() == 0 && state.can_open(key, false);
        free.then(|| self.occupy(&mut state, key))
    }

    /// The end of the line.
    pub(super) fn enter(self: &Arc<Self>, key: &LinkKey) -> Turn {
        let mut state = lock(&self.state);
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        let seat = Arc::<Seat>::default();
        let waiting = Waiting {
            seat: seat.clone(),
            pressing: false,
        };
        let kind = state.kinds.entry(key.clone()).or_default();
        kind.waiting.insert(ticket, waiting);
        self.waiting.fetch_add(1, Ordering::SeqCst);
        // What became free between the look and the place in the line.
        let closed = self.serve(&mut state);
        drop(state);
        drop(closed);
        Turn {
            places: self.clone(),
            key: key.clone(),
            ticket,
            seat,
        }
    }

    /// Whether somebody came before this one who can use a link of this kind,
    /// or its place.
    pub(super) fn is_anyone_before(&self, ticket: Option<u64>, key: &LinkKey) -> bool {
        if self.waiting() == 0 {
            return false;
        }
        let state = lock(&self.state);
        // Not only those who can be served at once: the rest of them waits for this.
        let oldest = state.oldest(|other, _| state.can_inherit(other, key));
        match (oldest, ticket) {
            (Some((first, _)), Some(ticket)) => first < ticket,
            (first, _) => first.is_some(),
        }
    }

    /// Takes a link that no worker wants to own any more.
    pub(super) fn put(self: &Arc<Self>, rest: Rest) {
        let mut state = lock(&self.state);
        state.rest.push_back(rest);
        let closed = self.serve(&mut state);
        drop(state);
        drop(closed);
    }

    /// Takes the links out that nobody should get any more.
    pub(super) fn sort_out(&self, mut unwanted: impl FnMut(&Rest) -> bool) -> Vec<Rest> {
        let mut state = lock(&self.state);
        let (out, keep) = std::mem::take(&mut state.rest)
            .into_iter()
            .partition::<VecDeque<_>, _>(|rest| unwanted(rest));
        state.rest = keep;
        out.into()
    }

    /// Serves the line as far as it goes. What must be closed for that is
    /// returned: closing it takes the lock again.
    #[must_use]
    fn serve(self: &Arc<Self>, state: &mut State) -> Vec<IdleLink> {
        let mut all = Vec::new();
        while self.waiting() > 0 {
            let next = state.oldest(|key, who| state.way(key, who.pressing).is_some());
            let Some((ticket, key)) = next.map(|(ticket, key)| (ticket, key.clone())) else {
                break;
            };
            let Some(who) = state.leave(&key, ticket) else {
                break;
            };
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            if let Some((given, closed)) = self.give(state, &key, who.pressing) {
                all.extend(closed);
                who.seat.fill(given);
            }
        }
        all
    }

    fn give(
        self: &Arc<Self>,
        state: &mut State,
        key: &LinkKey,
        pressing: bool,
    ) -> Option<(Given, Option<IdleLink>)> {
        match state.way(key, pressing)? {
            Way::Rest(at) => {
                let rest = state.rest.remove(at)?;
                Some((Given::Link(Box::new(rest)), None))
            }
            Way::Open => Some((Given::Place(self.occupy(state, key)), None)),
            Way::Instead(at) => {
                let Rest { mut place, link } = state.rest.remove(at)?;
                state.vacate(&place.key);
                state.occupy(key);
                place.key = key.clone();
                place.address = None;
                place.card = None;
                Some((Given::Place(place), Some(link)))
            }
        }
    }

    fn occupy(self: &Arc<Self>, state: &mut State, key: &LinkKey) -> Place {
        state.occupy(key);
        Place {
            places: self.clone(),
            key: key.clone(),
            epoch: 0,
            address: None,
            card: None,
        }
    }
}

impl State {
    fn occupy(&mut self, key: &LinkKey) {
        self.open += 1;
        self.kinds.entry(key.clone()).or_default().open += 1;
        if let Some(cap) = &key.cap {
            *self.owners.entry(cap.owner.clone()).or_default() += 1;
        }
    }

    fn vacate(&mut self, key: &LinkKey) {
        self.open = self.open.saturating_sub(1);
        if let Some(kind) = self.kinds.get_mut(key) {
            kind.open = kind.open.saturating_sub(1);
        }
        if let Some(cap) = &key.cap
            && let Some(open) = self.owners.get_mut(&cap.owner)
        {
            *open = open.saturating_sub(1);
            if *open == 0 {
                self.owners.remove(&cap.owner);
            }
        }
        self.tidy(key);
    }

    fn leave(&mut self, key: &LinkKey, ticket: u64) -> Option<Waiting> {
        let was = self.kinds.get_mut(key)?.waiting.remove(&ticket);
        self.tidy(key);
        was
    }

    /// Forgets a kind that has nothing.
    fn tidy(&mut self, key: &LinkKey) {
        if let Some(kind) = self.kinds.get(key)
            && kind.open == 0
            && kind.waiting.is_empty()
        {
            self.kinds.remove(key);
        }
    }

    /// Whether the user may have one more.
    fn may_have_more(&self, key: &LinkKey) -> bool {
        key.cap.as_ref().is_none_or(|cap| {
            let open = self.owners.get(&cap.owner).copied().unwrap_or(0);
            open < cap.max
        })
    }

    fn can_open(&self, key: &LinkKey, pressing: bool) -> bool {
        let reserve = if pressing { self.reserve } else { 0 };
        self.open < self.max + reserve && self.may_have_more(key)
    }

    /// Whether the first can use a link of the second kind, or its place.
    fn can_inherit(&self, key: &LinkKey, from: &LinkKey) -> bool {
        let same_owner = match (&key.cap, &from.cap) {
            (Some(a), Some(b)) => a.owner == b.owner,
            _ => false,
        };
        key == from || same_owner || self.may_have_more(key)
    }

    fn way(&self, key: &LinkKey, pressing: bool) -> Option<Way> {
        // The youngest, so that the others can grow old and go.
        if let Some(at) = self.rest.iter().rposition(|rest| rest.place.key == *key) {
            return Some(Way::Rest(at));
        }
        if self.can_open(key, pressing) {
            return Some(Way::Open);
        }
        // Links that nobody uses make room for those that somebody needs.
        let room = |rest: &Rest| self.can_inherit(key, &rest.place.key);
        self.rest.iter().position(room).map(Way::Instead)
    }

    /// The smallest ticket of somebody of such a kind.
    fn oldest(&self, is_meant: impl Fn(&LinkKey, &Waiting) -> bool) -> Option<(u64, &LinkKey)> {
        let firsts = self.kinds.iter().filter_map(|(key, kind)| {
            let (ticket, waiting) = kind.waiting.first_key_value()?;
            is_meant(key, waiting).then_some((*ticket, key))
        });
        firsts.min_by_key(|(ticket, _)| *ticket)
    }
}

impl Turn {
    /// It has waited long enough for the reserve.
    pub(super) fn press(&self) {
        let mut state = lock(&self.places.state);
        if let Some(kind) = state.kinds.get_mut(&self.key)
            && let Some(waiting) = kind.waiting.get_mut(&self.ticket)
        {
            waiting.pressing = true;
        }
        let closed = self.places.serve(&mut state);
        drop(state);
        drop(closed);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = lock(&self.places.state);
        if state.leave(&self.key, self.ticket).is_some() {
            self.places.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        drop(state);
        // Given too late: it goes to the next.
        let late = lock(&self.seat.given).take();
        match late {
            Some(Given::Link(rest)) => self.places.put(*rest),
            Some(Given::Place(place)) => drop(place),
            None => {}
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = lock(&self.places.state);
        state.vacate(&self.key);
        let closed = self.places.serve(&mut state);
        drop(state);
        drop(closed);
    }
}
