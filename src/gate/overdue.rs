//! What becomes of a session in which something takes too long.
//!
//! A statement is cancelled and its client goes on; whatever else is overdue
//! ends the session, and the server's transaction with it.

use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};

use super::Error;
use super::clock::{Doing, Overdue, Progress};
use super::session::{Session, Step};
use crate::model::{TransactionState, UserMessage};
use crate::wire::postgres::encode;

/// Time in which a server that was asked for its answers sends them.
const FLUSH_GRACE: Duration = Duration::from_millis(200);

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Nothing is left to do until somebody speaks. A step: something was said
    /// to take too long.
    pub(super) fn rest(&mut self, cx: &Context<'_>) -> Option<Step> {
        let watch = self.watch.as_ref()?;
        let doing = self.doing();
        let now = Progress {
            doing,
            ..self.progress
        };
        if let Some((kind, then)) = watch.take_due()
            && now.is_same(&then, kind)
        {
            return Some(Step::Overdue(kind));
        }
        watch.rest(now, cx.waker());
        None
    }

    /// Something with a time limit of its own begins.
    pub(super) fn pause_watch(&self) {
        if let Some(watch) = &self.watch {
            watch.progress.set(Progress {
                doing: Doing::Else,
                ..self.progress
            });
        }
    }

    fn doing(&self) -> Doing {
        if !self.queue.is_empty() {
            Doing::Running
        } else if self.facts.transaction != TransactionState::Idle
            || self.in_block
            || self.executed > 0
        {
            Doing::InTransaction
        } else {
            Doing::Idle
        }
    }

    /// Something has taken too long.
    pub(super) async fn on_overdue(&mut self, kind: Overdue) -> Result<(), Error> {
        let (code, message, limit) = match kind {
            Overdue::Query => return self.stop_overdue().await,
            Overdue::Transaction => (
                "25P04",
                "terminating connection due to transaction timeout",
                self.timeouts.transaction,
            ),
            Overdue::IdleTransaction => (
                "25P03",
                "terminating connection due to idle-in-transaction timeout",
                self.timeouts.idle_transaction,
            ),
            Overdue::ClientIdle => (
                "57P05",
                "terminating connection due to idle-session timeout",
                self.timeouts.client_idle,
            ),
        };
        let limit = limit.unwrap_or_default();
        let message = UserMessage::fatal(code, message).detail(match kind {
            Overdue::Transaction => format!("The transaction took longer than {limit:?}."),
            Overdue::IdleTransaction => {
                format!("The client said nothing for {limit:?} inside a transaction.")
            }
            _ => format!("The client said nothing for {limit:?}."),
        });
        let message = message.hint(match kind {
            Overdue::ClientIdle => "Connect again, or ask the operator for a longer timeout.",
            _ => "It was rolled back. Repeat it, or ask the operator for a longer timeout.",
        });
        Err(Error::Overdue(Box::new(message)))
    }

    /// A statement has run too long: the server is asked to stop it, or, when it
    /// was asked before, given up.
    async fn stop_overdue(&mut self) -> Result<(), Error> {
        let (Some(watch), true) = (self.watch.clone(), self.queue.is_running()) else {
            return Ok(());
        };
        let statement = self.progress.statements;
        if !self.queue.ends_with_ready() && !self.nudged && !self.copy_in {
            // It may be done: without Sync the server keeps its answers.
            encode::flush(&mut self.up);
            self.nudged = true;
            watch.give_grace(statement, FLUSH_GRACE);
            return Ok(());
        }
        let limit = self.timeouts.query.unwrap_or_default();
        if self.stopped.is_some() {
            let message = UserMessage::fatal(
                "57014",
                "canceling statement due to query timeout, and the server does not stop it",
            )
            .detail(format!(
                "It ran longer than {limit:?}, and {:?} more after it was cancelled. Whether it took effect is not known.",
                self.timeouts.cancel()
            ));
            return Err(Error::Overdue(Box::new(message)));
        }
        let message = UserMessage::error("57014", "canceling statement due to query timeout")
            .detail(format!("It ran longer than {limit:?}."))
            .hint("Make it do less at a time, or ask the operator for a longer timeout.");
        let mut bytes = BytesMut::new();
        encode::error(&mut bytes, &message);
        self.stopped = Some(Rc::new(bytes));
        watch.give_grace(statement, self.timeouts.cancel());
        if self.copy_in && self.client_skip == 0 {
            // While it waits for data the server hears no cancel request.
            encode::copy_fail(&mut self.up, "query timeout");
        } else {
            self.cancel_link().await;
        }
        Ok(())
    }

    /// What the client is told instead of the server's words, when the gate has
    /// cancelled its statement.
    pub(super) fn take_stopped(&mut self, code: &str) -> Option<Rc<BytesMut>> {
        self.stopped.clone().filter(|_| code == "57014")
    }
}
