//! The thread beside the path: makes clean instances, and judges remembered verdicts again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;

use super::ask::Judged;
use super::fault::{Fault, FaultKind};
use super::memo::Answer;
use super::subject::Subject;
use super::version::Version;
use super::wasm::{Hook, Instance};
use crate::model::Verdict;

/// Jobs that may wait. More are dropped and counted: none of them is needed for a correct answer.
const QUEUE_MAX: usize = 1024;

/// Faults found beside the path, kept until somebody asks.
const FAULTS_MAX: usize = 64;

/// What is shared between the workers and the thread.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Moves when a version is found impure or quarantined, or released: workers forget what they remember.
    pub(super) impurities: AtomicU64,
    /// Jobs dropped because the queue was full.
    pub(super) dropped: AtomicU64,
    /// Remembered verdicts that were judged again.
    pub(super) checked: AtomicU64,
    faults: Mutex<Vec<(Arc<str>, Fault)>>,
}

impl Shared {
    /// Keeps a fault for [`Shared::take_faults`].
    pub(super) fn fault(&self, policy: &Arc<str>, fault: Fault) {
        tracing::error!(policy = %policy, kind = fault.kind.name(), "{}", fault.message);
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        if faults.len() < FAULTS_MAX {
            faults.push((policy.clone(), fault));
        }
    }

    /// A version is not asked any more: what was remembered of it is forgotten.
    pub(super) fn quarantined(&self, policy: &Arc<str>) {
        self.impurities.fetch_add(1, Ordering::SeqCst);
        let text = "failed on several statements of several sessions; it is not asked until it \
                    is released (`portcullis plugin quarantine release`) or replaced";
        self.fault(policy, Fault::new(FaultKind::Quarantined, text));
    }

    /// A verdict that was remembered, and the same question judged again.
    pub(super) fn compare(&self, version: &Version, answer: &Answer, again: &Judged) {
        let judged = &answer.judged;
        let same = again.needs_values == judged.needs_values
            && comparable(&again.verdict) == comparable(&judged.verdict);
        if !same {
            version.set_impure();
            self.impurities.fetch_add(1, Ordering::SeqCst);
            let text =
                "answered the same question differently; its verdicts are no longer remembered";
            self.fault(version.name(), Fault::new(FaultKind::Impure, text));
        }
    }

    pub(super) fn take_faults(&self) -> Vec<(Arc<str>, Fault)> {
        std::mem::take(&mut *self.faults.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

enum Job {
    Refill(Weak<Version>),
    Discard(Box<Instance>),
    Check(Box<Check>),
}

/// A remembered verdict to be judged again.
pub(super) struct Check {
    pub(super) subject: Subject,
    pub(super) version: Weak<Version>,
    pub(super) answer: Arc<Answer>,
}

/// Owns the thread; dropping ends it.
#[derive(Debug)]
pub(super) struct Keeper {
    queue: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    pub(super) shared: Arc<Shared>,
}

impl Keeper {
    pub(super) fn start() -> std::io::Result<Keeper> {
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        let shared = Arc::new(Shared::default());
        let of_thread = shared.clone();
        let run = move || work(&jobs, &of_thread);
        let thread = std::thread::Builder::new()
            .name("policy-keeper".into())
            .spawn(run)?;
        Ok(Keeper {
            queue: Some(queue),
            thread: Some(thread),
            shared,
        })
    }

    /// Asks for clean instances.
    pub(super) fn refill(&self, version: &Arc<Version>) {
        self.send(Job::Refill(Arc::downgrade(version)));
    }

    /// Drops an instance off the path.
    pub(super) fn discard(&self, instance: Instance) {
        self.send(Job::Discard(Box::new(instance)));
    }

    /// Judges a remembered verdict again.
    pub(super) fn check(&self, check: Check) {
        self.send(Job::Check(Box::new(check)));
    }

    fn send(&self, job: Job) {
        let Some(queue) = &self.queue else { return };
        if let Err(TrySendError::Full(_)) = queue.try_send(job) {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work(jobs: &Receiver<Job>, shared: &Arc<Shared>) {
    while let Ok(job) = jobs.recv() {
        match job {
            Job::Refill(version) => refill(&version, shared),
            Job::Discard(instance) => drop(instance),
            Job::Check(check) => check_again(&check, shared),
        }
    }
}

/// Fills up the clean instances of a version that is still in use.
fn refill(version: &Weak<Version>, shared: &Shared) {
    while let Some(version) = version.upgrade() {
        if version.missing() == 0 {
            return;
        }
        match version.start() {
            Ok(instance) => version.put_spare(instance),
            Err(fault) => return shared.fault(version.name(), fault),
        }
    }
}

fn check_again(check: &Check, shared: &Arc<Shared>) {
    let subject = Arc::new(check.subject.clone());
    shared.checked.fetch_add(1, Ordering::Relaxed);
    let Some(version) = check.version.upgrade() else {
        return;
    };
    if version.is_impure() {
        return;
    }
    if let Some(aside) = &version.aside {
        aside.check(&version, subject, check.answer.clone(), shared.clone());
        return;
    }
    let spare = version.take_spare().0;
    let Some(mut instance) = spare.or_else(|| version.start().ok()) else {
        return;
    };
    // A fault here says nothing about purity: the machine may be short of time.
    let Ok(again) = instance.call(Hook::Judge, subject) else {
        return;
    };
    shared.compare(&version, &check.answer, &again);
    drop(instance);
    refill(&Arc::downgrade(&version), shared);
}

/// Where a disguise points depends on the text, not on the policy.
fn comparable(verdict: &Verdict) -> Verdict {
    let mut verdict = verdict.clone();
    if let Some(disguise) = verdict
        .refusal
        .as_mut()
        .and_then(|refusal| refusal.disguise.as_mut())
    {
        disguise.position = None;
    }
    verdict
}
