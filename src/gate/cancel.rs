//! Cancel keys: what a client was given, and what a cancel request reaches.
//!
//! A key names one session. Its target is set only while a statement of that
//! session may be running; taking the target away waits for a cancel that is
//! on its way, so that a late one never hits the next owner of a link.
//!
//! A key also names the process that gave it. While one gate follows another a
//! request may come to the wrong one, which passes it on, once.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use rand::RngExt;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::crowd::Crowd;
use crate::model::ProcessId;

/// How long a request takes whose key is wrong, wherever it was wrong: nobody
/// learns by the clock which processes and sessions there are.
const SILENCE: Duration = Duration::from_millis(100);

/// Something that can be told to stop what it runs.
pub trait Cancel: Send + Sync {
    /// Asks, and returns when the request can no longer hit anything later.
    fn cancel(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The gates that run beside this one.
pub trait Neighbours: Send + Sync {
    /// Passes a request on to the process that its key names. True: the key was
    /// right there, and the request has landed. Bounded in time and number.
    fn cancel<'a>(
        &'a self,
        process: ProcessId,
        pid: i32,
        secret: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>>;
}

/// What a cancel request reaches while nothing runs on a link: somebody who waits.
#[derive(Debug, Default)]
pub struct CallOff(Notify);

impl CallOff {
    /// Returns when a cancel request came.
    pub async fn asked(&self) {
        self.0.notified().await;
    }
}

impl Cancel for CallOff {
    fn cancel(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.0.notify_one();
        Box::pin(std::future::ready(()))
    }
}

/// What BackendKeyData carries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CancelKey {
    /// Process id: the gate's own numbers for its process and the session.
    pub pid: i32,
    secret: [u8; LONG],
    length: usize,
}

/// Bytes of a secret since protocol 3.2.
const LONG: usize = 32;

/// Bytes of a secret before, which is all that such clients can keep.
const SHORT: usize = 4;

impl CancelKey {
    fn new(pid: i32, long: bool) -> CancelKey {
        CancelKey {
            pid,
            secret: rand::rng().random(),
            length: if long { LONG } else { SHORT },
        }
    }

    /// What proves that a cancel request comes from the session's client.
    pub fn secret(&self) -> &[u8] {
        &self.secret[..self.length]
    }
}

impl std::fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelKey")
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
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
pub struct Cancels {
    process: ProcessId,
    /// None: nobody is asked about keys that others gave.
    neighbours: Option<Arc<dyn Neighbours>>,
    next: AtomicU32,
    sessions: RwLock<HashMap<i32, (CancelKey, Arc<Target>)>>,
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
    /// None yet.
    pub fn new(process: ProcessId, neighbours: Option<Arc<dyn Neighbours>>) -> Cancels {
        Cancels {
            process,
            neighbours,
            next: AtomicU32::new(1),
            sessions: RwLock::default(),
            crowd: Arc::default(),
        }
    }

    /// A new key, known before it is sent; a long one for clients of protocol 3.2.
    pub fn register(self: &Arc<Self>, long: bool) -> Registration {
        let target = Arc::<Target>::default();
        let mut sessions = self
            .sessions
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let pid = self.process.key(number);
            // Numbers come round after a million sessions, which is more than
            // there may be clients; the living keep theirs.
            if pid != self.process.key(0) && !sessions.contains_key(&pid) {
                let key = CancelKey::new(pid, long);
                sessions.insert(pid, (key, target.clone()));
                return Registration {
                    key,
                    target,
                    registry: self.clone(),
                };
            }
        }
    }

    /// Carries out a client's cancel request, here or where its key belongs.
    /// Unknown keys are ignored, as the protocol wants.
    pub async fn cancel(&self, pid: i32, secret: &[u8]) {
        let silence = Instant::now() + SILENCE;
        let done = match ProcessId::of_key(pid) {
            Some(process) if process == self.process => self.cancel_here(pid, secret).await,
            Some(process) => match &self.neighbours {
                Some(neighbours) => neighbours.cancel(process, pid, secret).await,
                None => false,
            },
            None => false,
        };
        if !done {
            tokio::time::sleep_until(silence).await;
        }
    }

    /// Carries out a cancel request for one of this gate's own sessions. True: the
    /// key was right, and the request has landed.
    pub async fn cancel_here(&self, pid: i32, secret: &[u8]) -> bool {
        let target = {
            let sessions = self.sessions.read().unwrap_or_else(PoisonError::into_inner);
            match sessions.get(&pid) {
                Some((expected, target)) if same(expected.secret(), secret) => target.clone(),
                _ => return false,
            }
        };
        let (running, _flight) = {
            let mut aim = target.aim();
            let Some(running) = aim.running.clone() else {
                return true;
            };
            aim.flying += 1;
            (running, Flight(target.clone()))
        };
        running.cancel().await;
        true
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
