//! The thread that tells policies what became of statements.
//!
//! Off the path, with instances of its own and owned copies: a policy that is
//! slow here delays nobody. What comes faster than it looks is dropped and counted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::event::Observed;
use super::keeper;
use super::log_lines::LogLines;
use super::set::Member;
use super::subject::Subject;
use super::wasm::{Hook, Instance};

/// Events that may wait.
const QUEUE_MAX: usize = 4096;

/// A policy that failed is not told anything for this long.
const BENCHED: Duration = Duration::from_secs(10);

enum Message {
    Event(Box<Observed>),
    /// The members changed.
    Look,
}

/// What the workers and the thread share.
#[derive(Debug, Default)]
struct Shared {
    /// Anybody wants to be told.
    wanted: AtomicBool,
    dropped: AtomicU64,
    /// The members that do; moves with `version`.
    members: Mutex<Vec<Arc<Member>>>,
    version: AtomicU64,
}

/// Owns the thread; dropping ends it.
#[derive(Debug)]
pub(super) struct Observers {
    queue: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

impl Observers {
    /// Starts; faults go where those of other work beside the path go.
    pub(super) fn start(faults: Arc<keeper::Shared>) -> std::io::Result<Observers> {
        let (queue, inbox) = sync_channel(QUEUE_MAX);
        let shared = Arc::new(Shared::default());
        let of_thread = shared.clone();
        let run = move || {
            let mut watching = Watching {
                shared: of_thread,
                faults,
                known: 0,
                observers: Vec::new(),
                log_lines: LogLines::new(),
            };
            watching.run(&inbox);
        };
        let thread = std::thread::Builder::new()
            .name("policy-events".into())
            .spawn(run)?;
        Ok(Observers {
            queue: Some(queue),
            thread: Some(thread),
            shared,
        })
    }

    /// From now on these members are told, as far as they have the hook.
    pub(super) fn follow(&self, members: &[Arc<Member>]) {
        let observing = members
            .iter()
            .filter(|member| member.version.program().observes());
        let list: Vec<Arc<Member>> = observing.cloned().collect();
        self.shared
            .wanted
            .store(!list.is_empty(), Ordering::Relaxed);
        let mut members = self
            .shared
            .members
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *members = list;
        self.shared.version.fetch_add(1, Ordering::Release);
        drop(members);
        if let Some(queue) = &self.queue {
            // Full: the thread is awake and looks before the next event.
            let _ = queue.try_send(Message::Look);
        }
    }

    /// Whether any policy wants to be told; one relaxed load.
    pub(super) fn is_wanted(&self) -> bool {
        self.shared.wanted.load(Ordering::Relaxed)
    }

    /// Tells them, later; dropped and counted when too much waits.
    pub(super) fn tell(&self, event: Observed) {
        let Some(queue) = &self.queue else { return };
        if let Err(TrySendError::Full(_)) = queue.try_send(Message::Event(Box::new(event))) {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Observers {
    fn drop(&mut self) {
        // What waits is thrown away: nobody is left to act on it.
        self.shared.wanted.store(false, Ordering::Relaxed);
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One policy that is told.
struct Observer {
    member: Arc<Member>,
    instance: Option<Instance>,
    benched: Option<Instant>,
}

struct Watching {
    shared: Arc<Shared>,
    faults: Arc<keeper::Shared>,
    known: u64,
    observers: Vec<Observer>,
    log_lines: LogLines,
}

impl Watching {
    fn run(&mut self, inbox: &Receiver<Message>) {
        while let Ok(message) = inbox.recv() {
            self.look();
            if let Message::Event(event) = message {
                self.tell(&Arc::new(*event));
            }
        }
    }

    /// Follows a swap: versions that stay keep their instance, others are let go.
    fn look(&mut self) {
        let version = self.shared.version.load(Ordering::Acquire);
        if version == self.known {
            return;
        }
        self.known = version;
        let members = self
            .shared
            .members
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut old = std::mem::take(&mut self.observers);
        let observer = |member: Arc<Member>| {
            let same = |known: &Observer| known.member.version.id == member.version.id;
            match old.iter().position(same) {
                Some(at) => Observer {
                    member,
                    ..old.swap_remove(at)
                },
                None => Observer {
                    member,
                    instance: None,
                    benched: None,
                },
            }
        };
        self.observers = members.into_iter().map(observer).collect();
    }

    fn tell(&mut self, event: &Arc<Observed>) {
        if !self.shared.wanted.load(Ordering::Relaxed) {
            return;
        }
        for observer in &mut self.observers {
            observer.tell(event, &self.faults, &mut self.log_lines);
        }
    }
}

impl Observer {
    fn tell(&mut self, event: &Arc<Observed>, faults: &keeper::Shared, log_lines: &mut LogLines) {
        let version = &self.member.version;
        if !self.member.scope.holds(&event.client) {
            return;
        }
        if self.benched.is_some_and(|until| Instant::now() < until) {
            return;
        }
        let instance = match self.instance.take() {
            Some(instance) => Ok(instance),
            None => version.start(),
        };
        let outcome = instance.and_then(|mut instance| {
            let judged = instance.call(Hook::Event, Arc::new(Subject::event(event.clone())))?;
            self.instance = Some(instance);
            Ok(judged)
        });
        match outcome {
            Ok(judged) => log_lines.write(version, &judged),
            Err(fault) => {
                self.benched = Some(Instant::now() + BENCHED);
                version.faulted.fetch_add(1, Ordering::Relaxed);
                faults.fault(version.name(), fault);
            }
        }
    }
}
