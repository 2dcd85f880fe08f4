//! One operator's connection: both protocols, as a server speaks them.

mod answer;
mod extended;

use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::command::{self, Command};
use super::{Console, SERVER_VERSION};
use crate::config::ConsoleRole;
use crate::gate::cancel::{CallOff, Registration};
use crate::gate::roster::Presence;
use crate::gate::{Visit, Worker};
use crate::model::{Client, UserMessage};
use crate::wire::postgres::frame::{self, client};
use crate::wire::postgres::{encode, message};
use extended::{Portal, Prepared};

/// Largest message; commands are short.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Prepared statements and portals of one operator.
const NAMES_MAX: usize = 256;
/// Time for the last words to somebody who is made to leave.
const FAREWELL: Duration = Duration::from_secs(5);
/// How often an operator who watches the gate stop is looked after.
const STOPPING_LOOK: Duration = Duration::from_millis(100);

/// Why a session ended before the operator said goodbye.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the operator went away")]
    Gone(#[from] io::Error),
    #[error(transparent)]
    Protocol(#[from] crate::wire::postgres::Error),
    /// Made to leave; the operator is told why.
    #[error("made to leave")]
    Ended(Box<UserMessage>),
}

struct Session<'c, S> {
    console: &'c Arc<Console>,
    stream: S,
    inbox: BytesMut,
    outbox: BytesMut,
    client: Arc<Client>,
    role: ConsoleRole,
    presence: Rc<Presence>,
    registration: Registration,
    /// As ReadyForQuery says it: drivers open transactions without being asked.
    status: u8,
    /// Messages up to the next Sync are skipped.
    discard: bool,
    statements: HashMap<Vec<u8>, Prepared>,
    portals: HashMap<Vec<u8>, Portal>,
}

/// Serves an operator until it leaves.
pub(super) async fn run<S>(visit: Visit<S>, worker: Rc<Worker>, console: &Arc<Console>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let listed = visit.enter(&worker);
    let presence = listed.presence().clone();
    presence.listen().await;
    let mut session = Session {
        console,
        stream: visit.stream,
        inbox: visit.inbox,
        outbox: BytesMut::new(),
        client: visit.client,
        role: visit.role,
        presence,
        registration: visit.registration,
        status: b'I',
        discard: false,
        statements: HashMap::new(),
        portals: HashMap::new(),
    };
    session.note("connected");
    session.greet(&visit.parameters);
    let result = session.serve().await;
    let farewell = match &result {
        Err(Error::Protocol(error)) => Some(UserMessage::fatal("08P01", error.to_string())),
        Err(Error::Ended(message)) => Some((**message).clone()),
        Err(Error::Gone(_)) | Ok(()) => None,
    };
    if let Some(message) = farewell {
        encode::error(&mut session.outbox, &message);
        // It may not listen any more.
        let _ = tokio::time::timeout(FAREWELL, session.flush()).await;
    }
    session.note("disconnected");
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    /// A line in the log: who, from where, what.
    fn note(&self, what: &str) {
        let address = self.client.address.map(|address| address.to_string());
        tracing::info!(
            target: "portcullis::console",
            session = self.presence.id(),
            user = &*self.client.user,
            address = address.as_deref().unwrap_or("unix"),
            command = ?what,
            "console"
        );
    }

    /// What a server says after AuthenticationOk.
    fn greet(&mut self, parameters: &[(String, String)]) {
        let application = parameters
            .iter()
            .rev()
            .find(|(name, _)| name == "application_name")
            .map_or("", |(_, value)| value.as_str());
        self.presence.introduces_itself(application);
        for (name, value) in [
            ("server_version", SERVER_VERSION),
            ("client_encoding", "UTF8"),
            ("server_encoding", "UTF8"),
            ("DateStyle", "ISO, MDY"),
            ("IntervalStyle", "postgres"),
            ("TimeZone", "GMT"),
            ("integer_datetimes", "on"),
            ("standard_conforming_strings", "on"),
            ("is_superuser", "off"),
            ("session_authorization", &self.client.user),
            ("application_name", application),
        ] {
            encode::parameter_status(&mut self.outbox, name, value);
        }
        let key = self.registration.key;
        encode::key_data(&mut self.outbox, key.pid, key.secret());
        encode::ready(&mut self.outbox, self.status);
    }

    async fn serve(&mut self) -> Result<(), Error> {
        loop {
            let Some((tag, _, size)) = frame::whole(&self.inbox, MESSAGE_BYTES_MAX)? else {
                self.flush().await?;
                if !self.read().await? {
                    return Ok(());
                }
                continue;
            };
            let whole = self.inbox.split_to(size);
            let body = &whole[frame::HEADER..];
            if tag == client::TERMINATE {
                return Ok(());
            }
            if self.discard && tag != client::SYNC {
                continue;
            }
            self.presence.received(size);
            match tag {
                client::QUERY => self.on_query(message::query(body)?).await?,
                client::SYNC => {
                    self.discard = false;
                    self.end_portals();
                    encode::ready(&mut self.outbox, self.status);
                }
                client::FLUSH => self.flush().await?,
                client::COPY_DATA | client::COPY_DONE | client::COPY_FAIL => {}
                _ => {
                    let answer = self.on_extended(tag, body).await?;
                    if let Err(message) = answer {
                        self.fail(&message);
                        self.discard = true;
                    }
                }
            }
        }
    }

    /// A simple Query.
    async fn on_query(&mut self, text: &[u8]) -> Result<(), Error> {
        let commands = match self.read_command(text) {
            Ok(commands) => commands,
            Err(message) => {
                self.fail(&message);
                encode::ready(&mut self.outbox, self.status);
                return Ok(());
            }
        };
        if commands.is_empty() {
            encode::frame(&mut self.outbox, b'I', |_| {});
        }
        for command in commands {
            match self.answer(&command).await? {
                Ok(mut answer) => {
                    answer.describe(&mut self.outbox, &[]);
                    answer.rows(&mut self.outbox, 0, &[]);
                    answer.complete(&mut self.outbox);
                }
                Err(message) => {
                    self.fail(&message);
                    break;
                }
            }
        }
        encode::ready(&mut self.outbox, self.status);
        Ok(())
    }

    /// What the text says; noted in any case.
    fn read_command(&self, text: &[u8]) -> Result<Vec<Command>, UserMessage> {
        let text = std::str::from_utf8(text).map_err(|_| {
            UserMessage::error("22021", "invalid byte sequence for encoding \"UTF8\"")
        })?;
        self.note(text.get(..500).unwrap_or(text).trim());
        command::parse(text)
    }

    /// An error; a transaction that is open has failed with it.
    fn fail(&mut self, message: &UserMessage) {
        if self.status == b'T' {
            self.status = b'E';
        }
        encode::error(&mut self.outbox, message);
    }

    async fn flush(&mut self) -> Result<(), Error> {
        if !self.outbox.is_empty() {
            self.presence.sent(self.outbox.len());
            self.stream.write_all(&self.outbox).await?;
            self.outbox.clear();
            self.stream.flush().await?;
        }
        Ok(())
    }

    /// Reads more. False: the operator has left.
    async fn read(&mut self) -> Result<bool, Error> {
        let (presence, client) = (self.presence.clone(), self.client.clone());
        let console = self.console;
        tokio::select! {
            biased;
            read = self.stream.read_buf(&mut self.inbox) => Ok(read? > 0),
            how = presence.leaving() => Err(Error::Ended(Box::new(how.message(&client)))),
            () = everybody_left(console) => {
                let message = "terminating connection: the gate is shutting down";
                Err(Error::Ended(Box::new(UserMessage::fatal("57P01", message))))
            }
        }
    }

    /// Waits for a command; a cancel, or the operator leaving, ends it.
    async fn attend<T>(&mut self, work: impl Future<Output = T>) -> Result<Option<T>, Error> {
        self.flush().await?;
        let called_off = Arc::<CallOff>::default();
        self.registration.attach(called_off.clone());
        let (presence, client) = (self.presence.clone(), self.client.clone());
        let mut work = std::pin::pin!(work);
        let result = loop {
            let room = self.inbox.len() < MESSAGE_BYTES_MAX;
            tokio::select! {
                biased;
                done = &mut work => break Some(done),
                () = called_off.asked() => break None,
                how = presence.ended() => {
                    return Err(Error::Ended(Box::new(how.message(&client))));
                }
                read = self.stream.read_buf(&mut self.inbox), if room => if read? == 0 {
                    return Err(Error::Gone(io::ErrorKind::UnexpectedEof.into()));
                },
            }
        };
        self.registration.release();
        Ok(result)
    }
}

/// Operators may watch the gate stop; when only they are left, it is over.
async fn everybody_left(console: &Console) {
    let mut closing = console.plant.closing.clone();
    if closing.wait_for(|closing| *closing).await.is_err() {
        std::future::pending::<()>().await;
    }
    loop {
        let connected = console.plant.connected.load(Ordering::Relaxed);
        if connected <= console.visitors.load(Ordering::Relaxed) {
            return;
        }
        tokio::time::sleep(STOPPING_LOOK).await;
    }
}
