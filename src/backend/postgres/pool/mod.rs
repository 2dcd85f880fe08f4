//! Bounded links per database.
//!
//! Two layers. [`LinkPool`] is shared by all workers: its `places` count the
//! links that exist, queue those who wait in the order of their coming, and keep
//! links that no worker owns. [`Lane`] belongs to one worker and one kind of link: it
//! hands links from transaction to transaction without a lock, and gives them
//! up when somebody elsewhere waits longer.
//!
//! A session that keeps its link until it leaves takes it from the shared pool;
//! it was reset there, so the next owner starts where the server's login left
//! it. Links are kept by server user and start-up parameters: RESET ALL and
//! DISCARD ALL then return to the very values the client asked for.
//!
//! Deliberately not here: what a session changed and how it is undone.
//!
//! Read [`LinkPool::take`] first, then [`Lane::acquire`].

mod cards;
mod keep;
mod lane;
mod pace;
mod places;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::Error;
use super::choose::login;
use super::hosts::Hosts;
use super::link::{About, Link};
use super::login::Target;
use crate::config::Pool;
pub use cards::Card;
use cards::Cards;
pub use lane::Lane;
use pace::Pace;
pub use places::Figures;
use places::{Given, Place, Places, Rest};

/// Start-up parameters and server user: what makes two links interchangeable.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LinkKey {
    /// Server user.
    pub user: Arc<str>,
    /// Start-up parameters besides user and database.
    pub parameters: Arc<[(String, String)]>,
    /// Handed from transaction to transaction: such a link keeps what the gate
    /// prepared on it.
    pub shared: bool,
    /// How many links somebody may have; none: any number.
    pub cap: Option<Arc<Cap>>,
}

/// How many links somebody may have, of all kinds together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cap {
    /// Who: a user of the gate, or of the server.
    pub owner: Arc<str>,
    /// How many.
    pub max: usize,
}

/// The links of one database.
#[derive(Debug)]
pub struct LinkPool {
    settings: ArcSwap<Pool>,
    places: Arc<Places>,
    /// The links that exist.
    cards: Cards,
    /// Nothing is opened beforehand.
    held: AtomicBool,
    /// Rings when somebody begins to wait: lanes with idle links give them up.
    bell: Notify,
    /// Grows when links that exist may not be right any more.
    epoch: AtomicU64,
    /// Links opened before this epoch are closed instead of used again.
    retired: AtomicU64,
    hosts: Arc<Hosts>,
    /// Where a server behaves as if it was not what is wanted.
    suspect: Mutex<Option<Arc<str>>>,
    /// The kind of links that is kept ready.
    ready: Mutex<Option<LinkKey>>,
    /// Attempts to log in to a server that does not answer.
    pace: Pace,
    /// What a login found, by kind of link.
    logins: Mutex<HashMap<LinkKey, Arc<About>>>,
    /// For telling apart what logins found.
    keys: std::hash::RandomState,
    /// Number of the next prepared statement that is shared.
    statements: AtomicU64,
}

/// A link that is on loan; its place in the pool is free again when this drops.
#[derive(Debug)]
pub struct Loan {
    /// The link; in a box, because loans go from hand to hand with every transaction.
    pub link: Box<Link>,
    // Behind the link: the connection is closed before its place is free.
    place: Place,
    pool: Arc<LinkPool>,
}

impl LinkPool {
    /// An empty pool.
    pub fn new(settings: Pool, hosts: Arc<Hosts>) -> Arc<LinkPool> {
        Arc::new(LinkPool {
            places: Places::new(&settings),
            cards: Cards::default(),
            held: AtomicBool::new(false),
            settings: ArcSwap::from_pointee(settings),
            bell: Notify::new(),
            epoch: AtomicU64::new(0),
            retired: AtomicU64::new(0),
            hosts,
            suspect: Mutex::default(),
            ready: Mutex::default(),
            pace: Pace::default(),
            logins: Mutex::default(),
            keys: Default::default(),
            statements: AtomicU64::new(1),
        })
    }

    /// How it is configured.
    pub fn settings(&self) -> Arc<Pool> {
        self.settings.load_full()
    }

    /// Other settings from now on. What is too much goes as it becomes free.
    pub fn reconfigure(&self, settings: Pool) {
        self.places.resize(&settings);
        self.settings.store(Arc::new(settings));
    }

    /// A number for a prepared statement; no other has it.
    pub fn next_statement(&self) -> u64 {
        self.statements.fetch_add(1, Ordering::Relaxed)
    }

    /// A link for this key: an idle one, or a new one within the limit. The
    /// caller bounds the time.
    pub async fn take(self: &Arc<Self>, key: LinkKey, target: &Target) -> Result<Loan, Error> {
        let given = match self.places.try_take(&key) {
            Some(given) => given,
            None => {
                let turn = self.places.enter(&key);
                self.bell.notify_waiters();
                tokio::select! {
                    given = turn.seat.filled() => given,
                    () = self.press(&turn) => turn.seat.filled().await,
                }
            }
        };
        // Opening is rare and large: sessions that wait for nothing must not carry it.
        Box::pin(self.open(given, target)).await
    }

    /// Waits until the reserve is for this one, and says so.
    async fn press(&self, turn: &places::Turn) {
        let settings = self.settings();
        if settings.reserve == 0 {
            return std::future::pending().await;
        }
        tokio::time::sleep(settings.reserve_timeout).await;
        turn.press();
    }

    /// What was given as a link that works.
    async fn open(self: &Arc<Self>, given: Given, target: &Target) -> Result<Loan, Error> {
        let place = match given {
            Given::Place(place) => place,
            Given::Link(rest) => {
                let Rest { place, link } = *rest;
                match self.wake(place, link).await {
                    Ok(loan) => return Ok(loan),
                    Err(place) => place,
                }
            }
        };
        self.connect(place, target).await
    }

    /// A link that nobody used, if it can still be used; else its place.
    async fn wake(
        self: &Arc<Self>,
        place: Place,
        link: super::link::IdleLink,
    ) -> Result<Loan, Place> {
        let settings = self.settings();
        let idle = link.since.elapsed();
        // Anything readable on an idle link is a farewell or noise: not for the next client.
        if idle >= settings.idle_timeout || link.socket.is_stale() {
            return Err(place);
        }
        let Ok(mut link) = link.resume() else {
            return Err(place);
        };
        if idle >= settings.check_after && !link.is_alive(settings.clean_timeout).await {
            return Err(place);
        }
        Ok(Loan {
            link: Box::new(link),
            place,
            pool: self.clone(),
        })
    }

    /// A new link.
    async fn connect(self: &Arc<Self>, mut place: Place, target: &Target) -> Result<Loan, Error> {
        place.epoch = self.epoch.load(Ordering::Relaxed);
        // A link that was here before is gone.
        place.card = None;
        let _opening = self.cards.opening();
        let mut link = self
            .pace
            .attempt(login(target, &place.key.parameters))
            .await?;
        link.about.number_defaults(&self.keys);
        Arc::make_mut(&mut link.handle).defaults = link.about.defaults;
        place.address = Some(link.handle.address.clone());
        if place.key.shared {
            let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
            logins.insert(place.key.clone(), link.handle.clone());
        }
        let (user, ends) = (place.key.user.clone(), link.socket.ends());
        let card = self.cards.issue(user, ends, link.handle.pid, place.epoch);
        place.card = Some(card);
        Ok(Loan {
            link: Box::new(link),
            place,
            pool: self.clone(),
        })
    }

    /// What a login finds, once there was one.
    fn login(&self, key: &LinkKey) -> Option<Arc<About>> {
        let logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        logins.get(key).cloned()
    }

    /// Links that no worker owns.
    pub fn idle_links(&self) -> usize {
        self.places.resting()
    }

    /// Links that workers own, in use or not.
    pub fn links_on_loan(&self) -> usize {
        self.places.open().saturating_sub(self.places.resting())
    }

    /// Sessions that wait for a link.
    pub fn waiting(&self) -> usize {
        self.places.waiting()
    }

    /// The links that exist, whoever holds them.
    pub fn cards(&self) -> Vec<Arc<Card>> {
        self.cards.all()
    }

    /// Logins that are going on.
    pub fn opening(&self) -> usize {
        self.cards.being_opened()
    }

    /// Links closed so far, and how long they had lived altogether.
    pub fn closed(&self) -> (u64, Duration) {
        self.cards.closed()
    }

    /// Whether the link with this card is closed as soon as it is free.
    pub fn is_closing(&self, card: &Card) -> bool {
        card.epoch != self.epoch.load(Ordering::Relaxed)
    }

    /// Opens nothing beforehand while it is held; sessions ask their own brake.
    pub fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Relaxed);
    }

    /// What each kind of link has.
    pub fn figures(&self) -> Vec<Figures> {
        self.places.figures()
    }

    /// The servers.
    pub fn hosts(&self) -> &Arc<Hosts> {
        &self.hosts
    }

    /// Closes every link that exists now, at once or when it is given back.
    pub fn retire(&self) {
        let epoch = self.epoch.fetch_add(1, Ordering::Relaxed) + 1;
        self.retired.store(epoch, Ordering::Relaxed);
        self.drop_retired();
    }

    /// Closes links to addresses that have gone, at once or when they are given back.
    fn follow_hosts(&self) {
        self.epoch.fetch_add(1, Ordering::Relaxed);
        self.drop_retired();
    }

    fn drop_retired(&self) {
        drop(self.places.sort_out(|rest| self.is_retired(&rest.place)));
        self.bell.notify_waiters();
    }

    /// The server at this address refused to write: it may have become a standby.
    pub fn suspect(&self, address: &Arc<str>) {
        if self.hosts.wanted().writes() {
            let mut suspect = self.suspect.lock().unwrap_or_else(PoisonError::into_inner);
            *suspect = Some(address.clone());
        }
    }

    fn is_retired(&self, place: &Place) -> bool {
        if place.epoch == self.epoch.load(Ordering::Relaxed) {
            return false;
        }
        let moved = |address: &Arc<str>| !self.hosts.knows(address);
        place.epoch < self.retired.load(Ordering::Relaxed)
            || place.address.as_ref().is_some_and(moved)
    }

    fn put(&self, place: Place, link: super::link::IdleLink) {
        if !self.is_retired(&place) {
            self.places.put(Rest { place, link });
        }
    }
}

impl Drop for LinkPool {
    fn drop(&mut self) {
        // Links that rest hold the places that hold them.
        drop(self.places.sort_out(|_| true));
    }
}

impl Loan {
    /// What others may know of the link.
    pub fn card(&self) -> Option<&Card> {
        self.place.card.as_deref()
    }

    /// Gives the link back after a reset. The link must be idle and in sync.
    pub async fn give_back(self) {
        let Loan { link, place, pool } = self;
        if !link.inbox.is_empty() || !link.outbox.is_empty() {
            return;
        }
        match link.reset(pool.settings().clean_timeout).await {
            Ok(idle) => pool.put(place, idle),
            Err(error) => tracing::debug!(%error, "server connection closed instead of reused"),
        }
    }

    /// Gives a clean link up to whoever waits, on any worker.
    fn give_up(self) {
        let Loan { link, place, pool } = self;
        match link.park() {
            Ok(idle) => pool.put(place, idle),
            Err(error) => tracing::debug!(%error, "server connection closed instead of reused"),
        }
    }
}
