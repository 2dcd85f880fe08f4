//! Cancel keys: what a client was given, and what a cancel request reaches.
//!
//! A key names one session. Its target is set only while a statement of that
//! session may be running; taking the target away waits for a cancel that is
//! on its way, so that a late one never hits the next owner of a link.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use rand::RngExt;
use tokio::sync::Notify;

use super::crowd::Crowd;

/// Something that can be told to stop what it runs.
pub trait Cancel: Send + Sync {
    /// Asks, and returns when the request can no longer hit anything later.
    fn cancel(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// What BackendKeyData carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CancelKey {
    /// Process id: the gate's own number for the session.
    pub pid: i32,
    /// Secret.
    pub secret: i32,
}

/// What a cancel request reaches now, and how many are on their way to it.
#[derive(Default)]
struct Target {
    state: Mutex<Aim>,
    landed: Notify,
}

#[derive(Default)]
struct Aim {
    running: Option<Arc<dyn Cancel>>,
    flying: usize,
}

impl Target {
    fn aim(&self) -> MutexGuard<'_, Aim> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A cancel request on its way; it has landed when this drops.
struct Flight(Arc<Target>);

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.aim().flying -= 1;
        self.0.landed.notify_waiters();
    }
}

/// All sessions that can be cancelled, shared by the workers.
#[derive(Default)]
pub struct Cancels {
    next: AtomicI32,
    sessions: RwLock<HashMap<i32, (i32, Arc<Target>)>>,
    crowd: Arc<Crowd>,
}

/// A session's place in the registry; leaving it forgets the key.
pub struct Registration {
    /// The key to hand out.
    pub key: CancelKey,
    target: Arc<Target>,
    registry: Arc<Cancels>,
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registration")
            .field("pid", &self.key.pid)
            .finish_non_exhaustive()
    }
}

impl Cancels {
    /// A new key, known before it is sent.
    pub fn register(self: &Arc<Self>) -> Registration {
        let target = Arc::<Target>::default();
        let secret = rand::rng().random();
        let mut sessions = self
            .sessions
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        loop {
            let pid = self.next.fetch_add(1, Ordering::Relaxed) & i32::MAX;
            // Numbers come round after two billion sessions; the living keep theirs.
            if pid != 0 && !sessions.contains_key(&pid) {
                sessions.insert(pid, (secret, target.clone()));
                return Registration {
                    key: CancelKey { pid, secret },
                    target,
                    registry: self.clone(),
                };
            }
        }
    }

    /// Carries out a cancel request. Unknown keys are ignored, as the protocol wants.
    pub async fn cancel(&self, pid: i32, secret: &[u8]) {
        let target = {
            let sessions = self.sessions.read().unwrap_or_else(PoisonError::into_inner);
            match sessions.get(&pid) {
                Some((expected, target)) if same(&expected.to_be_bytes(), secret) => target.clone(),
                _ => return,
            }
        };
        let (running, _flight) = {
            let mut aim = target.aim();
            let Some(running) = aim.running.clone() else {
                return;
            };
            aim.flying += 1;
            (running, Flight(target.clone()))
        };
        running.cancel().await;
    }
}

fn same(a: &[u8], b: &[u8]) -> bool {
    use subtle::ConstantTimeEq;
    a.ct_eq(b).into()
}

impl Registration {
    /// The clients that are there.
    pub fn crowd(&self) -> Arc<Crowd> {
        self.registry.crowd.clone()
    }

    /// From now on a cancel request reaches this.
    pub fn attach(&self, running: Arc<dyn Cancel>) {
        self.target.aim().running = Some(running);
    }

    /// Lets no further cancel through. True: one is on its way, and what it was
    /// aimed at may not have another owner before it has [landed](Self::landed).
    pub fn release(&self) -> bool {
        let mut aim = self.target.aim();
        aim.running = None;
        aim.flying > 0
    }

    /// Waits for cancels that are on their way.
    pub async fn landed(&self) {
        loop {
            let landed = self.target.landed.notified();
            let mut landed = std::pin::pin!(landed);
            landed.as_mut().enable();
            if self.target.aim().flying == 0 {
                return;
            }
            landed.await;
        }
    }

    /// Lets no further cancel through, and waits for one that is on its way.
    pub async fn detach(&self) {
        if self.release() {
            self.landed().await;
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut sessions = self
            .registry
            .sessions
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        sessions.remove(&self.key.pid);
    }
}
