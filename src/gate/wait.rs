//! Waiting for a link: the client may say more, cancel or leave meanwhile, and
//! operators may hold the database or end the session.

use std::cell::Cell;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite};

use super::begin::said;
use super::cancel::CallOff;
use super::line::protocol;
use super::roster::Presence;
use super::session::{Mode, Session};
use super::{Error, Worker};
use crate::model::UserMessage;
use crate::telemetry::{Outcome, Record, Timings};
use crate::wire::postgres::encode;
use crate::wire::postgres::frame::{self, client};

/// Bytes a client may send ahead while it waits for a link, or for a policy.
const AHEAD_BYTES_MAX: usize = 64 * 1024;

/// query_canceled.
const CALLED_OFF: &str = "57014";

/// Sessions are to end, and this one cannot go on as long as its database is held.
async fn drained(worker: &Worker, presence: &Presence) {
    poll_fn(
        |_| match worker.signals.is_draining() && presence.brake.is_held() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        },
    )
    .await
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Waits for a link.
    pub(super) async fn acquire(&mut self) -> Result<(), Error> {
        let Some(lane) = self.home.lane().cloned() else {
            return Err(Error::Draining);
        };
        self.pause_watch();
        let (worker, presence) = (self.worker.clone(), self.presence.clone());
        let (pool, patience) = (self.home.pool().clone(), self.home.patience());
        let notice = Cell::new(None);
        let called_off = Arc::<CallOff>::default();
        self.registration.attach(called_off.clone());
        let _waiting = presence.waits();
        let link = async {
            presence.brake.pass().await;
            let tell = async |message| notice.set(Some(message));
            patience.wait(&pool, lane.acquire(), tell).await
        };
        let mut link = std::pin::pin!(link);
        loop {
            let hears = self.hears();
            tokio::select! {
                biased;
                how = presence.ended() => return Err(Error::Ended(how)),
                // A gate that stops does not wait for a database that is paused.
                () = drained(&worker, &presence) => return Err(Error::Draining),
                loan = &mut link => {
                    self.attach(loan?);
                    return Ok(());
                }
                message = said(&notice) => {
                    encode::notice(&mut self.outbox, &message);
                    // What the client does not take now it gets later.
                    let _ = poll_fn(|cx| Poll::Ready(self.write_client(cx))).await;
                }
                () = called_off.asked() => {
                    self.registration.release();
                    return self.call_off();
                }
                heard = poll_fn(|cx| self.hear(cx)), if hears => heard?,
            }
        }
    }

    /// Whether there is room for more of what the client sends ahead.
    pub(super) fn hears(&self) -> bool {
        !self.client_gone && self.inbox.len() < AHEAD_BYTES_MAX
    }

    /// The client sends more while it waits, or leaves.
    pub(super) fn hear(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self.read_client(cx) {
            Ok(false) => Poll::Pending,
            Ok(true) if self.client_gone => {
                let gone = std::io::ErrorKind::UnexpectedEof.into();
                Poll::Ready(Err(Error::ClientGone(gone)))
            }
            Ok(true) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// A cancel came while the client waited: its request is answered as the
    /// server answers one that it stopped, and nothing of it is sent.
    fn call_off(&mut self) -> Result<(), Error> {
        self.called_off = true;
        let mut told = false;
        while let Some((tag, size)) =
            frame::peek(&self.inbox, self.limits.message_bytes_max).map_err(Error::Client)?
        {
            if self.inbox.len() < size {
                break;
            }
            let whole = matches!(tag, client::QUERY | client::FUNCTION_CALL);
            if tag == client::TERMINATE || whole && told {
                break;
            }
            if tag != client::SYNC && !told {
                self.record_called_off(tag, self.inbox.get(frame::HEADER..size));
                let message =
                    UserMessage::error(CALLED_OFF, "canceling statement due to user request");
                encode::error(&mut self.outbox, &message);
                told = true;
                self.discard = !whole;
            }
            self.inbox.advance(size);
            if whole || tag == client::SYNC {
                encode::ready(&mut self.outbox, b'I');
                (self.discard, self.called_off) = (false, false);
                break;
            }
        }
        self.worker.spares.lend(&mut self.outbox);
        Ok(())
    }

    /// Stage six for a request that never came to the first.
    fn record_called_off(&self, tag: u8, body: Option<&[u8]>) {
        let mut strings = body.unwrap_or_default().split(|byte| *byte == 0);
        let text = match tag {
            client::QUERY => strings.next(),
            client::PARSE => strings.nth(1),
            _ => None,
        };
        self.worker.recorder.record(&Record {
            session: self.id,
            client: &self.client,
            protocol: protocol(tag == client::QUERY),
            statement: None,
            text: &String::from_utf8_lossy(text.unwrap_or_default()),
            outcome: Outcome::Cancelled,
            refusal: None,
            verdict: None,
            remembered: false,
            timings: Timings::default(),
            rows_returned: 0,
            rows_changed: None,
            incident: None,
            sqlstate: Some(CALLED_OFF),
        });
    }

    /// The Sync behind a request that was called off needs no server.
    pub(super) fn answers_called_off(&mut self, tag: u8) -> bool {
        if tag != client::SYNC || !std::mem::take(&mut self.called_off) {
            return false;
        }
        self.discard = false;
        encode::ready(&mut self.outbox, b'I');
        true
    }

    /// Nothing can move: others see it as it is now, and may end it.
    pub(super) fn show(&self, mode: Mode) -> Result<(), Error> {
        let quiet = self.queue.is_empty() && self.outbox.is_empty() && mode == Mode::Serve;
        self.presence.quiet.set(quiet);
        match self.presence.ending() {
            Some(how) if how.is_sudden() => Err(Error::Ended(how)),
            _ => Ok(()),
        }
    }
}
