//! Waiting for policies that judge beside the workers.
//!
//! Deciding never waits. Where it says [`Later`], a session that moves bytes
//! leaves the message where it is, waits, and handles it again from its
//! beginning; whoever can wait on the spot does.

use std::cell::{Cell, Ref, RefCell};
use std::future::poll_fn;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};

use super::session::Session;
use super::{Error, Worker, refuse};
use crate::model::{Refusal, refusal::sqlstate};
use crate::policy::{Asked, Brought, Later, Outcome};

/// Times one message is handled again: each brings the answers for one statement
/// more. Whoever sends longer strings must not make the worker read them for ever.
const ROUNDS_MAX: usize = 128;

/// Times one question is asked: a version, and the one before it.
const ASKED_MAX: usize = 4;

/// What a session knows of the policies it waits for.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    brought: RefCell<Brought>,
    later: RefCell<Option<Later>>,
    rounds: Cell<usize>,
}

impl Awaited {
    /// The answers so far.
    pub(super) fn brought(&self) -> Ref<'_, Brought> {
        self.brought.borrow()
    }

    /// Whether the message is being handled once more.
    pub(super) fn is_again(&self) -> bool {
        self.rounds.get() > 0
    }

    /// Keeps what is waited for; false: the message has been waited for too often.
    pub(super) fn wait_for(&self, later: Later) -> bool {
        if self.rounds.get() >= ROUNDS_MAX {
            return false;
        }
        self.later.replace(Some(later));
        true
    }

    /// The message has been handled.
    pub(super) fn end(&self) {
        if self.is_again() {
            self.rounds.set(0);
            self.brought.borrow_mut().clear();
        }
    }
}

/// What a statement gets whose policies cannot all be asked.
pub(super) fn unasked() -> Refusal {
    Refusal::gate(
        "unasked",
        sqlstate::NOT_SUPPORTED,
        "the policies cannot be asked about everything in this string",
    )
    .hint("Send the statements one by one.")
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Waits for the answers that the message in front needs. The client may say
    /// more meanwhile, or leave.
    pub(super) async fn be_told(&mut self) -> Result<(), Error> {
        let Some(later) = self.awaited.later.take() else {
            return Ok(());
        };
        let (started, presence) = (Instant::now(), self.presence.clone());
        // Not borrowed while it waits.
        let mut brought = self.awaited.brought.take();
        {
            let mut told = std::pin::pin!(later.wait(&mut brought));
            loop {
                let hears = self.hears();
                tokio::select! {
                    biased;
                    () = &mut told => break,
                    how = presence.ended() => return Err(Error::Ended(how)),
                    heard = poll_fn(|cx| self.hear(cx)), if hears => heard?,
                }
            }
        }
        self.awaited.brought.replace(brought);
        self.awaited.rounds.set(self.awaited.rounds.get() + 1);
        self.worker.judge.borrow_mut().add_spent(started.elapsed());
        Ok(())
    }
}

impl Worker {
    /// Stage two for who can wait on the spot.
    pub async fn decide_waiting(&self, asked: &Asked<'_>) -> Outcome {
        let mut brought = Brought::default();
        for _ in 0..ASKED_MAX {
            match self.decide(asked, &brought) {
                Ok(outcome) => return outcome,
                Err(later) => later.wait(&mut brought).await,
            }
        }
        Outcome::Refuse(refuse::by_gate(unasked()))
    }

    /// Asks a hook until everybody has answered.
    pub(super) async fn hook<T>(
        &self,
        mut ask: impl FnMut(&Brought) -> Result<T, Later>,
    ) -> Option<T> {
        let mut brought = Brought::default();
        for _ in 0..ASKED_MAX {
            match ask(&brought) {
                Ok(answer) => return Some(answer),
                Err(later) => later.wait(&mut brought).await,
            }
        }
        None
    }
}
