//! Bounded links per database, shared by all workers.
//!
//! A session takes a link and gives it back; a link given back was reset, so
//! the next owner starts where the server's login left it. Links are kept by
//! server user and start-up parameters: RESET ALL and DISCARD ALL then return
//! to the very values the client asked for.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Error;
use super::link::{IdleLink, Link};
use super::login::{Target, login};
use crate::config::Pool;

/// Time the server has to put a session back in order.
const RESET_TIMEOUT: Duration = Duration::from_secs(5);

/// Start-up parameters and server user: what makes two links interchangeable.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LinkKey {
    /// Server user.
    pub user: Arc<str>,
    /// Start-up parameters besides user and database.
    pub parameters: Arc<[(String, String)]>,
}

/// The links of one database.
#[derive(Debug)]
pub struct LinkPool {
    settings: Pool,
    /// One permit per link that exists in a session; waiters queue in order.
    permits: Arc<Semaphore>,
    idle: Mutex<VecDeque<(LinkKey, IdleLink)>>,
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
        })
    }

    /// A link for this key: an idle one, or a new one within the limit.
    pub async fn take(self: &Arc<Self>, key: LinkKey, target: &Target) -> Result<Loan, Error> {
        let waiting = self.permits.clone().acquire_owned();
        let permit = tokio::time::timeout(self.settings.wait_timeout, waiting)
            .await
            .map_err(|_| Error::Exhausted)?
            .map_err(|_| Error::Exhausted)?;
        let link = match self.pick(&key) {
            Some(idle) => Link {
                socket: idle.socket.resume()?,
                inbox: bytes::BytesMut::with_capacity(8192),
                outbox: bytes::BytesMut::with_capacity(8192),
                about: idle.about,
            },
            None => login(target, &key.parameters).await?,
        };
        Ok(Loan {
            link,
            key,
            pool: self.clone(),
            _permit: permit,
        })
    }

    /// Links kept for the next client.
    pub fn idle_links(&self) -> usize {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Links on loan.
    pub fn links_on_loan(&self) -> usize {
        self.settings
            .max
            .max(1)
            .saturating_sub(self.permits.available_permits())
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
        match link.reset(RESET_TIMEOUT).await {
            Ok(idle) => {
                let mut list = pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
                list.push_back((key, idle));
                if list.len() > pool.settings.max.max(1) {
                    list.pop_front();
                }
            }
            Err(error) => tracing::debug!(%error, "server connection closed instead of reused"),
        }
    }
}
