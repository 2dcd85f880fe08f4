//! Cancel keys: what a client was given, and what a cancel request reaches.
//!
//! A key names one session. Its target is set only while a statement of that
//! session may be running; taking the target away waits for a cancel that is
//! on its way, so that a late one never hits the next owner of a link.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rand::RngExt;

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

type Target = Arc<tokio::sync::Mutex<Option<Arc<dyn Cancel>>>>;

/// All sessions that can be cancelled, shared by the workers.
#[derive(Default)]
pub struct Cancels {
    next: AtomicI32,
    sessions: RwLock<HashMap<i32, (i32, Target)>>,
}

/// A session's place in the registry; leaving it forgets the key.
pub struct Registration {
    /// The key to hand out.
    pub key: CancelKey,
    target: Target,
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
        let target = Target::default();
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
        let target = target.lock().await;
        if let Some(running) = target.as_ref() {
            running.cancel().await;
        }
    }
}

fn same(a: &[u8], b: &[u8]) -> bool {
    use subtle::ConstantTimeEq;
    a.ct_eq(b).into()
}

impl Registration {
    /// From now on a cancel request reaches this.
    pub async fn attach(&self, running: Arc<dyn Cancel>) {
        *self.target.lock().await = Some(running);
    }

    /// Waits for a cancel that is on its way, then lets no further one through.
    pub async fn detach(&self) {
        *self.target.lock().await = None;
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
