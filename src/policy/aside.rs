//! Policies that judge beside the workers: those that bring an interpreter.
//!
//! A judgement of theirs takes hundreds of microseconds where an ordinary one
//! takes a few, so no worker makes one. Each version has threads of its own and
//! a queue with an end: one that loops or eats memory holds up its own
//! statements and nobody else's. Who asks gets a [`Later`], waits for it as long
//! as any call may last, and decides again with what was [`Brought`].

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::oneshot;

use super::ask::Judged;
use super::fault::{Fault, FaultKind};
use super::keeper;
use super::memo::Answer;
use super::subject::Subject;
use super::version::{Recipe, Version};
use super::wasm::{Hook, Instance};

/// Threads of a version, each with instances of its own.
const THREADS: usize = 2;

/// Questions that may wait; one more is a fault.
const QUEUE_MAX: usize = 64;

/// How long whoever asked waits: as long as any call may last by the clock on the wall.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// What a call gave, and whether the instance was clean.
type Result = std::result::Result<(Judged, bool), Fault>;

enum Job {
    Ask {
        hook: Hook,
        subject: Arc<Subject>,
        clean: bool,
        reply: oneshot::Sender<Result>,
    },
    /// A remembered verdict is judged again.
    Check {
        version: Weak<Version>,
        subject: Arc<Subject>,
        answer: Arc<Answer>,
        shared: Arc<keeper::Shared>,
    },
}

/// The threads of one version. They end with it, and nobody waits for that: one
/// of them may be in the middle of a call.
#[derive(Debug)]
pub(super) struct Aside {
    queue: SyncSender<Job>,
}

impl Aside {
    /// Starts them; the first gets the instance that was made when the policy was loaded.
    pub(super) fn start(recipe: &Arc<Recipe>, first: Instance) -> std::io::Result<Aside> {
        let (queue, inbox) = sync_channel(QUEUE_MAX);
        let inbox = Arc::new(Mutex::new(inbox));
        let mut first = Some(first);
        // Seen in the list of a process's threads, cut after fifteen bytes.
        let name = format!("aside-{}", recipe.identity.name).replace('\0', "");
        for _ in 0..THREADS {
            let mut thread = Thread {
                recipe: recipe.clone(),
                clean: first.take(),
                warm: None,
            };
            let inbox = inbox.clone();
            std::thread::Builder::new()
                .name(name.clone())
                .spawn(move || thread.run(&inbox))?;
        }
        Ok(Aside { queue })
    }

    fn ask(&self, hook: Hook, subject: Arc<Subject>, clean: bool) -> oneshot::Receiver<Result> {
        let (reply, answer) = oneshot::channel();
        let job = Job::Ask {
            hook,
            subject,
            clean,
            reply,
        };
        if let Err(TrySendError::Full(Job::Ask { reply, .. })) = self.queue.try_send(job) {
            let _ = reply.send(Err(busy("too many statements wait for it")));
        }
        answer
    }

    /// Judges a remembered verdict again, if there is time for it.
    pub(super) fn check(
        &self,
        version: &Arc<Version>,
        subject: Arc<Subject>,
        answer: Arc<Answer>,
        shared: Arc<keeper::Shared>,
    ) {
        let version = Arc::downgrade(version);
        let _ = self.queue.try_send(Job::Check {
            version,
            subject,
            answer,
            shared,
        });
    }
}

/// One thread: an instance that was never asked, and one that was.
struct Thread {
    recipe: Arc<Recipe>,
    clean: Option<Instance>,
    warm: Option<Instance>,
}

impl Thread {
    fn run(&mut self, inbox: &Mutex<Receiver<Job>>) {
        loop {
            // Made ahead, so that the next statement need not wait for it. A fault is
            // found again, and told, when it is asked.
            if self.clean.is_none() {
                self.clean = self.recipe.start().ok();
            }
            let job = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
            match job {
                Ok(Job::Ask {
                    hook,
                    subject,
                    clean,
                    reply,
                }) => {
                    // Who asked may have given up.
                    if !reply.is_closed() {
                        let _ = reply.send(self.call(hook, subject, clean));
                    }
                }
                Ok(Job::Check {
                    version,
                    subject,
                    answer,
                    shared,
                }) => {
                    let again = self.call(Hook::Judge, subject, true);
                    if let (Some(version), Ok((again, true))) = (version.upgrade(), again) {
                        shared.compare(&version, &answer, &again);
                    }
                }
                Err(_) => return,
            }
        }
    }

    fn call(&mut self, hook: Hook, subject: Arc<Subject>, clean: bool) -> Result {
        let (mut instance, was_clean) = match (clean, self.warm.take()) {
            (false, Some(warm)) => (warm, false),
            // What was warm goes: a used instance is kept, and one is enough.
            _ => match self.clean.take() {
                Some(clean) => (clean, true),
                None => (self.recipe.start()?, true),
            },
        };
        let judged = instance.call(hook, subject);
        if !instance.is_poisoned() {
            self.warm = Some(instance);
        }
        Ok((judged?, was_clean))
    }
}

/// Answers that somebody waited for, to exactly these questions.
#[derive(Debug, Default)]
pub struct Brought {
    answers: Vec<(Question, Result)>,
}

/// What was asked of whom.
#[derive(Debug)]
struct Question {
    version: u64,
    hook: Hook,
    subject: Arc<Subject>,
}

impl Brought {
    /// The answer of that version to that question; none: it was not asked.
    pub(super) fn find(&self, version: u64, hook: Hook, subject: &Subject) -> Option<&Result> {
        let found = self.answers.iter().find(|(asked, _)| {
            asked.version == version && asked.hook == hook && asked.subject.asks_the_same(subject)
        });
        found.map(|(_, answer)| answer)
    }

    /// Answers that are kept.
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    /// Whether nothing was brought.
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// Forgets them all.
    pub fn clear(&mut self) {
        self.answers.clear();
    }
}

/// Questions on their way. Dropping it takes back those that nobody has begun with.
#[derive(Debug, Default)]
#[must_use = "somebody has to wait for it and decide again"]
pub struct Later {
    waiting: Vec<(Question, oneshot::Receiver<Result>)>,
}

impl Later {
    pub(super) fn ask(
        &mut self,
        version: &Version,
        aside: &Aside,
        hook: Hook,
        subject: &Arc<Subject>,
        clean: bool,
    ) {
        let question = Question {
            version: version.id,
            hook,
            subject: subject.clone(),
        };
        let answer = aside.ask(hook, subject.clone(), clean);
        self.waiting.push((question, answer));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Waits for all of them, and no longer than any call may last.
    pub async fn wait(self, brought: &mut Brought) {
        let until = tokio::time::Instant::now() + WAIT_MAX;
        for (question, answer) in self.waiting {
            let answer = match tokio::time::timeout_at(until, answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(gone()),
                Err(_) => Err(busy("did not answer within a second")),
            };
            brought.answers.push((question, answer));
        }
    }

    /// The same on a thread that has nothing else to do. Never on a worker.
    pub fn wait_here(self, brought: &mut Brought) {
        for (question, answer) in self.waiting {
            let answer = answer.blocking_recv().unwrap_or_else(|_| Err(gone()));
            brought.answers.push((question, answer));
        }
    }
}

fn busy(message: &str) -> Fault {
    Fault::new(FaultKind::Busy, message)
}

fn gone() -> Fault {
    busy("its thread has ended")
}
