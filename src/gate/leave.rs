//! How a session ends.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::Error;
use super::begin::no_link;
use super::session::Session;
use crate::model::UserMessage;
use crate::wire::postgres::encode;

/// Time in which a client takes the last words.
const FAREWELL: Duration = Duration::from_secs(5);

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Says why, if the client can still hear it, and hands the link on if it is clean.
    pub(super) async fn leave(mut self, result: Result<(), Error>) -> Result<(), Error> {
        let message = match &result {
            Err(Error::Client(error)) => Some(UserMessage::fatal("08P01", error.to_string())),
            Err(Error::Draining) => Some(UserMessage::fatal("57P01", "the gate is shutting down")),
            Err(Error::Overdue(message)) => Some((**message).clone()),
            Err(Error::Ended(how)) => Some(how.message(&self.client)),
            // No link was to be had.
            Err(Error::Backend(error)) if self.loan.is_none() => Some(no_link(error)),
            Err(Error::Backend(_)) if self.down.is_empty() && !self.server_left => Some(
                UserMessage::fatal("08006", "the connection to the database server ended"),
            ),
            _ => None,
        };
        let clean = matches!(
            result,
            Ok(()) | Err(Error::Draining | Error::Overdue(_) | Error::Ended(_) | Error::Denied)
        );
        // What is outstanding is looked at before its record is closed.
        let at_rest = clean && self.is_at_rest();
        let busy = !self.queue.is_empty();
        let inside = self.skip > 0 && !self.skip_drops;
        if let Some(message) = message.filter(|_| !inside) {
            encode::error(&mut self.outbox, &message);
        }
        self.record_unfinished();
        if !at_rest {
            // The client may be slow to hear it, and others wait for its locks.
            self.abandon_link(busy).await;
        }
        let goodbye = async {
            self.stream.write_all(&self.outbox).await?;
            self.stream.shutdown().await
        };
        let _ = tokio::time::timeout(FAREWELL, goodbye).await;
        self.leave_link().await;
        result
    }
}
