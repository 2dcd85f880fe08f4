//! Keeping house beside the workers: links made ready before anybody asks, and
//! those closed that nobody has used for long.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::super::choose::is_still_wanted;
use super::{Error, LinkKey, LinkPool, Target};

/// Time between two looks.
const TICK: Duration = Duration::from_secs(1);
/// Time a resolver has.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);

impl LinkPool {
    /// Keeps this many links of this kind ready, and closes what is too old,
    /// until the pool is gone.
    pub async fn keep(pool: Weak<LinkPool>, key: LinkKey, target: Target) {
        let mut ticks = tokio::time::interval(TICK);
        if let Some(pool) = pool.upgrade() {
            let mut ready = pool.ready.lock().unwrap_or_else(PoisonError::into_inner);
            *ready = Some(key.clone());
        }
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut resolved = Instant::now();
        loop {
            ticks.tick().await;
            let Some(pool) = pool.upgrade() else { return };
            pool.look_at_hosts(&target, &mut resolved).await;
            pool.sweep(&key);
            if let Err(error) = pool.fill(&key, &target).await {
                tracing::debug!(%error, "no server connection could be made ready");
            }
        }
    }

    /// Whether names still lead where they led, and servers are what they were.
    async fn look_at_hosts(&self, target: &Target, resolved: &mut Instant) {
        if resolved.elapsed() >= self.settings().resolve_every {
            *resolved = Instant::now();
            let gone = tokio::time::timeout(RESOLVE_TIMEOUT, self.hosts.refresh()).await;
            if gone.unwrap_or(false) {
                tracing::info!(
                    "an address of the database has gone: its connections are closed as they become free"
                );
                self.follow_hosts();
            }
        }
        let suspect = {
            let mut suspect = self.suspect.lock().unwrap_or_else(PoisonError::into_inner);
            suspect.take()
        };
        if let Some(address) = suspect
            && !is_still_wanted(target, &address).await
        {
            tracing::warn!(
                address = &*address,
                "the server does not write any more: connections are made anew"
            );
            self.retire();
        }
    }

    /// Makes what is missing.
    async fn fill(self: &Arc<Self>, key: &LinkKey, target: &Target) -> Result<(), Error> {
        while self.places.open_of(key) < self.settings().min && !self.held.load(Ordering::Relaxed) {
            let Some(place) = self.places.try_open(key) else {
                return Ok(());
            };
            self.connect(place, target).await?.give_up();
        }
        Ok(())
    }

    /// Closes links at rest that are dead, too old, or too many.
    fn sweep(&self, key: &LinkKey) {
        let settings = self.settings();
        let now = Instant::now();
        let mut surplus = self.surplus(key);
        let mut aged = false;
        let gone = self.places.sort_out(|rest| {
            let age = |since| now.saturating_duration_since(since);
            let idle = age(rest.link.since) >= settings.idle_timeout;
            let old = age(rest.link.about.opened) >= rest.link.lifetime;
            if rest.link.socket.is_stale() || self.is_retired(&rest.place) {
                return true;
            }
            if old && !aged {
                // One at a time: those made together do not end together.
                aged = true;
                return true;
            }
            let kept = rest.place.key == *key;
            if !idle || (kept && surplus == 0) {
                return false;
            }
            surplus = surplus.saturating_sub(usize::from(kept));
            true
        });
        drop(gone);
    }

    /// How many links of a kind may go because nobody uses them.
    pub(super) fn surplus(&self, key: &LinkKey) -> usize {
        let open = self.places.open_of(key);
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        match &*ready {
            Some(ready) if ready == key => open.saturating_sub(self.settings().min),
            _ => open,
        }
    }
}
