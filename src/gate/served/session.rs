//! One client's session: its state, its buffers, its loop.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::portal::Portal;
use super::prepared::Prepared;
use super::settings::Settings;
use super::transaction::Transaction;
use crate::backend::sqlite::{Canceller, Link};
use crate::config::Limits;
use crate::gate::cancel::{Cancel, Registration};
use crate::gate::hooks::Admission;
use crate::gate::roster::Presence;
use crate::gate::{Arrival, Error, Worker};
use crate::model::{Client, SessionFacts, TransactionState, UserMessage};
use crate::wire::postgres::frame::{self, client};
use crate::wire::postgres::{self, encode};

/// Bytes kept for the client before they are written.
pub(super) const OUTBOX_BYTES: usize = 16 * 1024;
/// Bytes a client may send ahead while a statement runs.
const AHEAD_BYTES_MAX: usize = 64 * 1024;

/// A session over one link to the database.
pub(super) struct Session<S> {
    pub worker: Rc<Worker>,
    pub id: u64,
    pub presence: Rc<Presence>,
    pub client: Arc<Client>,
    pub limits: Limits,
    pub stream: S,
    /// From the client.
    pub inbox: BytesMut,
    /// To the client.
    pub outbox: BytesMut,
    pub link: Link,
    registration: Registration,
    admission: Admission,
    pub facts: SessionFacts,
    pub settings: Settings,
    pub transaction: Transaction,
    pub statements: HashMap<Vec<u8>, Rc<Prepared>>,
    pub portals: HashMap<Vec<u8>, Portal>,
    pub patterns: super::limits::Patterns,
    /// Messages up to the next Sync are skipped.
    pub discard: bool,
    next: u64,
}

struct Stop(Canceller);

impl Cancel for Stop {
    fn cancel(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.0.cancel();
        Box::pin(std::future::ready(()))
    }
}

/// Writes all of `out` and empties it.
pub(super) async fn write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    out: &mut BytesMut,
) -> Result<(), Error> {
    stream.write_all(out).await.map_err(Error::ClientGone)?;
    out.clear();
    stream.flush().await.map_err(Error::ClientGone)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) async fn new(
        arrival: Arrival<S>,
        worker: Rc<Worker>,
        link: Link,
        admission: Admission,
        presence: Rc<Presence>,
    ) -> Session<S> {
        let settings = Settings::new(&arrival.client, &arrival.parameters);
        arrival
            .registration
            .attach(Arc::new(Stop(link.canceller())));
        let mut session = Session {
            id: presence.id(),
            presence,
            limits: worker.config.load().limits.clone(),
            worker,
            client: arrival.client,
            stream: arrival.stream,
            inbox: arrival.inbox,
            outbox: BytesMut::new(),
            link,
            registration: arrival.registration,
            admission,
            facts: SessionFacts::default(),
            settings,
            transaction: Transaction::default(),
            statements: HashMap::new(),
            portals: HashMap::new(),
            patterns: Default::default(),
            discard: false,
            next: 1,
        };
        session.note_settings();
        session
    }

    /// What a server says after AuthenticationOk.
    pub(super) fn greet(&mut self) {
        for (name, value) in self.settings.reported() {
            encode::parameter_status(&mut self.outbox, name, value);
        }
        let key = self.registration.key;
        encode::key_data(&mut self.outbox, key.pid, key.secret());
        self.ready();
    }

    pub(super) fn ready(&mut self) {
        self.facts.transaction = self.transaction.state();
        if self.facts.transaction == TransactionState::Idle {
            self.presence.transaction_ended();
            self.presence.prepared.set(self.statements.len());
        }
        encode::ready(&mut self.outbox, self.facts.transaction.byte());
    }

    /// A number for a statement or portal of the link.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Facts for the policies follow the settings.
    pub(super) fn note_settings(&mut self) {
        let before = std::mem::take(&mut self.facts);
        let application: Arc<str> = self
            .settings
            .get("application_name")
            .unwrap_or_default()
            .into();
        self.presence.calls_itself(&application);
        self.facts = SessionFacts {
            application,
            role: self.client.user.clone(),
            search_path: Some(Arc::from([Arc::from("public")])),
            transaction: before.transaction,
            standard_strings: true,
            settings: self.settings.changed(),
            generation: before.generation + 1,
        };
    }

    /// Handles messages until the client leaves or the gate shuts down.
    pub(super) async fn serve(&mut self) -> Result<(), Error> {
        let (mut drain, presence) = (self.worker.drain.clone(), self.presence.clone());
        loop {
            let idle = self.is_idle();
            if idle && self.admission.is_outdated() {
                self.stay().await?;
            }
            let whole = frame::whole(&self.inbox, self.limits.message_bytes_max);
            let size = match whole {
                Ok(Some((_, _, size))) => size,
                Ok(None) => {
                    self.flush().await?;
                    tokio::select! {
                        biased;
                        read = self.stream.read_buf(&mut self.inbox) => match read {
                            Ok(0) => return Ok(()),
                            Ok(_) => {}
                            Err(error) => return Err(Error::ClientGone(error)),
                        },
                        _ = drain.wait_for(|on| *on), if idle => return self.goodbye().await,
                        how = presence.ended() => return Err(Error::Ended(how)),
                        how = presence.leaving(), if idle => return Err(Error::Ended(how)),
                        () = self.admission.outdated(), if idle => {}
                    }
                    continue;
                }
                Err(error) => return self.broken(error).await,
            };
            if idle && self.presence.brake.is_held() {
                self.hold().await?;
            }
            let message = self.inbox.split_to(size);
            self.presence.received(size);
            let (tag, body) = (message[0], message[frame::HEADER..].to_vec());
            if tag == client::TERMINATE {
                return Ok(());
            }
            if let Err(error) = self.message(tag, &body).await {
                return match error {
                    Error::Client(error) => self.broken(error).await,
                    other => Err(other),
                };
            }
            if self.outbox.len() >= OUTBOX_BYTES {
                self.flush().await?;
            }
        }
    }

    /// Between transactions, with nothing unfinished: the session may end here.
    fn is_idle(&self) -> bool {
        self.transaction.is_idle() && self.portals.is_empty() && !self.discard
    }

    /// Waits while the database is paused.
    async fn hold(&mut self) -> Result<(), Error> {
        self.flush().await?;
        let presence = self.presence.clone();
        let _waiting = presence.waits();
        self.attend(presence.brake.pass()).await
    }

    /// The policies have changed: the client may have lost its welcome.
    async fn stay(&mut self) -> Result<(), Error> {
        let answer = self
            .worker
            .readmit(&mut self.admission, &self.client, &self.facts)
            .await;
        let Err(message) = answer else {
            return Ok(());
        };
        encode::error(&mut self.outbox, &message);
        self.flush().await?;
        Err(Error::Denied)
    }

    async fn message(&mut self, tag: u8, body: &[u8]) -> Result<(), Error> {
        if self.discard && tag != client::SYNC {
            return Ok(());
        }
        match tag {
            client::QUERY => self.on_query(body).await,
            client::PARSE => self.on_parse(body).await,
            client::BIND => self.on_bind(body).await,
            client::DESCRIBE => self.on_describe(body).await,
            client::EXECUTE => self.on_execute(body).await,
            client::CLOSE => self.on_close(body).await,
            client::SYNC => self.on_sync().await,
            client::FLUSH => self.flush().await,
            client::FUNCTION_CALL => {
                self.on_function_call().await;
                Ok(())
            }
            // Left over from a COPY that was refused (PostgreSQL documentation, 55.2.6).
            client::COPY_DATA | client::COPY_DONE | client::COPY_FAIL => Ok(()),
            other => Err(Error::Client(postgres::Error::Malformed(char::from(other)))),
        }
    }

    pub(super) async fn flush(&mut self) -> Result<(), Error> {
        if self.outbox.is_empty() {
            return Ok(());
        }
        self.presence.sent(self.outbox.len());
        write(&mut self.stream, &mut self.outbox).await
    }

    /// Waits for `work`, and notices when the client vanishes meanwhile. What it
    /// sends ahead is kept, up to a bound.
    pub(super) async fn attend<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Error> {
        let mut work = std::pin::pin!(work);
        let presence = self.presence.clone();
        loop {
            tokio::select! {
                biased;
                how = presence.ended() => return Err(Error::Ended(how)),
                done = &mut work => return Ok(done),
                read = self.stream.read_buf(&mut self.inbox), if self.inbox.len() < AHEAD_BYTES_MAX => match read {
                    Ok(0) => return Err(Error::ClientGone(io::ErrorKind::UnexpectedEof.into())),
                    Ok(_) => {}
                    Err(error) => return Err(Error::ClientGone(error)),
                },
            }
        }
    }

    async fn goodbye(&mut self) -> Result<(), Error> {
        let message =
            UserMessage::fatal("57P01", "terminating connection: the gate is shutting down");
        encode::error(&mut self.outbox, &message);
        self.flush().await?;
        Err(Error::Draining)
    }

    async fn broken(&mut self, error: postgres::Error) -> Result<(), Error> {
        encode::error(
            &mut self.outbox,
            &UserMessage::fatal("08P01", error.to_string()),
        );
        // The client may be gone already; the error that counts is its own.
        let _ = self.flush().await;
        self.inbox.advance(self.inbox.len());
        Err(Error::Client(error))
    }
}
