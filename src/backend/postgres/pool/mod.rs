//! Bounded links per database.
//!
//! Two layers. [`LinkPool`] is shared by all workers: it counts the links that
//! exist, queues those who wait in the order of their coming, and keeps links
//! that no worker owns. [`Lane`] belongs to one worker and one kind of link: it
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

mod lane;
mod pace;
mod queue;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::Error;
use super::link::{About, IdleLink, Link};
use super::login::{Target, login};
use crate::config::Pool;
pub use lane::Lane;
use pace::Pace;
use queue::Queue;

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
}

/// The links of one database.
#[derive(Debug)]
pub struct LinkPool {
    settings: Pool,
    /// One permit per link that exists; waiters queue in order.
    permits: Arc<Semaphore>,
    idle: Mutex<VecDeque<(LinkKey, IdleLink)>>,
    /// Who waits, over all workers.
    queue: Queue,
    /// Rings when somebody begins to wait: lanes with idle links give them up.
    bell: Notify,
    /// Attempts to log in to a server that does not answer.
    pace: Pace,
    /// What a login found, by kind of link.
    logins: Mutex<HashMap<LinkKey, Arc<About>>>,
    /// Number of the next prepared statement that is shared.
    statements: AtomicU64,
}

/// A link that is on loan; its place in the pool is free again when this drops.
#[derive(Debug)]
pub struct Loan {
    /// The link.
    pub link: Link,
    key: LinkKey,
    pool: Arc<LinkPool>,
    _permit: OwnedSemaphorePermit,
}

impl LinkPool {
    /// An empty pool.
    pub fn new(settings: Pool) -> Arc<LinkPool> {
        let permits = Arc::new(Semaphore::new(settings.max.max(1)));
        Arc::new(LinkPool {
            settings,
            permits,
            idle: Mutex::new(VecDeque::new()),
            queue: Queue::default(),
            bell: Notify::new(),
            pace: Pace::default(),
            logins: Mutex::default(),
            statements: AtomicU64::new(1),
        })
    }

    /// How it is configured.
    pub fn settings(&self) -> &Pool {
        &self.settings
    }

    /// A number for a prepared statement; no other has it.
    pub fn next_statement(&self) -> u64 {
        self.statements.fetch_add(1, Ordering::Relaxed)
    }

    /// A link for this key: an idle one, or a new one within the limit. The
    /// caller bounds the time.
    pub async fn take(self: &Arc<Self>, key: LinkKey, target: &Target) -> Result<Loan, Error> {
        let waiting = self.permits.clone().acquire_owned();
        let permit = match self.permits.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let _place = self.queue.enter();
                self.bell.notify_waiters();
                waiting.await.map_err(|_| Error::Exhausted)?
            }
        };
        self.open(permit, key, target).await
    }

    /// The link that a permit stands for.
    async fn open(
        self: &Arc<Self>,
        permit: OwnedSemaphorePermit,
        key: LinkKey,
        target: &Target,
    ) -> Result<Loan, Error> {
        let link = match self.pick(&key) {
            Some(idle) => idle.resume()?,
            None => {
                let link = self.pace.attempt(login(target, &key.parameters)).await?;
                if key.shared {
                    let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
                    logins.insert(key.clone(), link.handle.clone());
                }
                link
            }
        };
        Ok(Loan {
            link,
            key,
            pool: self.clone(),
            _permit: permit,
        })
    }

    /// What a login finds, once there was one.
    fn login(&self, key: &LinkKey) -> Option<Arc<About>> {
        let logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        logins.get(key).cloned()
    }

    /// Links that no worker owns.
    pub fn idle_links(&self) -> usize {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Links that workers own, in use or not.
    pub fn links_on_loan(&self) -> usize {
        self.settings
            .max
            .max(1)
            .saturating_sub(self.permits.available_permits())
    }

    /// Sessions that wait for a link.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    fn pick(&self, key: &LinkKey) -> Option<IdleLink> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        idle.retain(|(_, link)| now.duration_since(link.since) < self.settings.idle_timeout);
        while let Some(at) = idle.iter().rposition(|(k, _)| k == key) {
            let (_, link) = idle.remove(at)?;
            // Anything readable on an idle link is a farewell or noise: not for the next client.
            if !link.socket.is_stale() {
                return Some(link);
            }
        }
        // Idle links count towards the server's connections: make room for a new one.
        while idle.len() + self.links_on_loan() > self.settings.max.max(1) {
            idle.pop_front()?;
        }
        None
    }

    fn put(&self, key: LinkKey, link: IdleLink) {
        let mut list = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        list.push_back((key, link));
        if list.len() > self.settings.max.max(1) {
            list.pop_front();
        }
    }
}

impl Loan {
    /// Gives the link back after a reset. The link must be idle and in sync.
    pub async fn give_back(self) {
        let Loan {
            link,
            key,
            pool,
            _permit,
        } = self;
        if !link.inbox.is_empty() || !link.outbox.is_empty() {
            return;
        }
        match link.reset(pool.settings.clean_timeout).await {
            Ok(idle) => pool.put(key, idle),
            Err(error) => tracing::debug!(%error, "server connection closed instead of reused"),
        }
    }

    /// Gives a clean link up to whoever waits, on any worker.
    fn give_up(self) {
        let Loan {
            link,
            key,
            pool,
            _permit,
        } = self;
        match link.park() {
            Ok(idle) => pool.put(key, idle),
            Err(error) => tracing::debug!(%error, "server connection closed instead of reused"),
        }
    }
}
