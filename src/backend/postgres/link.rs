//! One connection to a server that carries one client's statements.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Error;
use super::dial::{Way, dial};
use crate::net::socket::Parked;
use crate::net::{Socket, tls};
use crate::wire::postgres::frame::{self, server};
use crate::wire::postgres::{encode, message};

/// Largest message from a server, PostgreSQL's own limit (1 GiB less one).
pub const MESSAGE_BYTES_MAX: usize = 0x3fff_ffff;

/// A connection that has logged in. Buffers belong to whoever relays.
#[derive(Debug)]
pub struct Link {
    /// The stream.
    pub socket: Socket,
    /// Bytes read and not yet handled.
    pub inbox: BytesMut,
    /// Bytes to be written.
    pub outbox: BytesMut,
    /// What was learned at login and since.
    pub about: About,
    /// What was known right after login; names the connection in cancel requests.
    pub handle: Arc<About>,
    /// What sessions left on the server for the next one to use.
    pub server: ServerState,
    /// How old it may become.
    pub lifetime: Duration,
    /// The server is not what it was at login: nobody else gets the link.
    pub outdated: bool,
}

/// Session state that a link keeps between two owners.
#[derive(Debug, Clone, Default)]
pub struct ServerState {
    /// Settings that differ from the login's, as last applied.
    pub applied: Applied,
    /// Prepared statements the gate made, by their number.
    pub prepared: PreparedOnLink,
    /// The server may have more of them than `prepared` says.
    pub uncertain: bool,
}

/// Settings by name.
pub type Applied = Arc<std::collections::BTreeMap<Arc<str>, Arc<str>>>;

/// Which of the gate's prepared statements a server knows; bounded.
#[derive(Debug, Clone, Default)]
pub struct PreparedOnLink {
    used: std::collections::HashMap<u64, u64>,
    clock: u64,
}

impl PreparedOnLink {
    /// Whether the server knows it; counts as a use.
    pub fn knows(&mut self, number: u64) -> bool {
        self.clock += 1;
        match self.used.get_mut(&number) {
            Some(used) => {
                *used = self.clock;
                true
            }
            None => false,
        }
    }

    /// It was prepared. Gives the number of one that must be closed to stay within `max`.
    pub fn add(&mut self, number: u64, max: usize) -> Option<u64> {
        self.clock += 1;
        self.used.insert(number, self.clock);
        if self.used.len() <= max.max(1) {
            return None;
        }
        let oldest = self.used.iter().min_by_key(|(_, used)| **used)?;
        let oldest = *oldest.0;
        self.used.remove(&oldest);
        Some(oldest)
    }

    /// It is gone.
    pub fn remove(&mut self, number: u64) {
        self.used.remove(&number);
    }

    /// All are gone.
    pub fn clear(&mut self) {
        self.used.clear();
    }

    /// How many the server knows.
    pub fn len(&self) -> usize {
        self.used.len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.used.is_empty()
    }
}

/// What a link knows about its server session.
#[derive(Debug, Clone)]
pub struct About {
    /// ParameterStatus values, in the order of the server.
    pub parameters: Vec<(Arc<str>, Arc<str>)>,
    /// Process id for cancel requests.
    pub pid: i32,
    /// Secret for cancel requests.
    pub secret: Arc<[u8]>,
    /// Host, for cancel requests.
    pub host: Arc<str>,
    /// The address that was connected to: a name may mean another by now.
    pub address: Arc<str>,
    /// Port, for cancel requests.
    pub port: u16,
    /// How cancel requests are encrypted: as the link is.
    pub tls: Option<tls::Client>,
    /// current_user at login.
    pub role: Arc<str>,
    /// search_path at login, as a list.
    pub search_path: Option<Arc<[Arc<str>]>>,
    /// A number for all that a login finds set: links with the same one are alike.
    pub defaults: u64,
    /// Whether track_counts is on.
    pub track_counts: bool,
    /// When it was opened.
    pub opened: Instant,
    /// How long a cancel request may take.
    pub cancel_timeout: Duration,
}

/// A link between two owners.
#[derive(Debug)]
pub struct IdleLink {
    /// The stream, off any runtime.
    pub socket: Parked,
    /// What is known about it.
    pub about: About,
    /// What was known right after login.
    pub handle: Arc<About>,
    /// What was left on it.
    pub server: ServerState,
    /// How old it may become.
    pub lifetime: Duration,
    /// Since when it has been idle.
    pub since: Instant,
}

impl Link {
    /// Remembers a ParameterStatus.
    pub fn note_parameter(&mut self, name: &str, value: &str) {
        // A standby that was promoted plays another part than it was chosen for.
        let known = self.about.parameter("in_hot_standby");
        self.outdated |= name == "in_hot_standby" && known.is_some_and(|known| known != value);
        match self.about.parameters.iter_mut().find(|(n, _)| &**n == name) {
            Some((_, old)) => *old = value.into(),
            None => self.about.parameters.push((name.into(), value.into())),
        }
    }

    /// Puts the server session back to where it was at login, and off the runtime.
    ///
    /// Only for a link that is idle, in sync and without unread bytes. Fails
    /// (and the link must be dropped) when the server does not agree in time.
    pub async fn reset(mut self, timeout: Duration) -> Result<IdleLink, Error> {
        encode::query(&mut self.outbox, "DISCARD ALL");
        tokio::time::timeout(timeout, self.run_reset())
            .await
            .map_err(|_| {
                Error::Protocol("the server session could not be reset in time".into())
            })??;
        self.server = ServerState::default();
        Ok(self.park()?)
    }

    /// Takes the link off this runtime as it is. It must have no unread bytes.
    pub fn park(self) -> std::io::Result<IdleLink> {
        Ok(IdleLink {
            socket: self.socket.park()?,
            about: self.about,
            handle: self.handle,
            server: self.server,
            lifetime: self.lifetime,
            since: Instant::now(),
        })
    }

    /// Whether the server still answers: asked with an empty query.
    pub async fn is_alive(&mut self, timeout: Duration) -> bool {
        let asking = async {
            encode::query(&mut self.outbox, "");
            self.socket.write_all_buf(&mut self.outbox).await?;
            self.socket.flush().await?;
            loop {
                match self.read_frame().await? {
                    (server::READY, body) => return Ok::<bool, Error>(body[..] == *b"I"),
                    (server::ERROR, _) => return Ok(false),
                    _ => {}
                }
            }
        };
        let answered = tokio::time::timeout(timeout, asking).await;
        let alive = matches!(answered, Ok(Ok(true))) && self.inbox.is_empty();
        (self.inbox, self.outbox) = (BytesMut::new(), BytesMut::new());
        alive
    }

    async fn run_reset(&mut self) -> Result<(), Error> {
        self.socket.write_all_buf(&mut self.outbox).await?;
        let mut failed = false;
        loop {
            let (tag, body) = self.read_frame().await?;
            match tag {
                server::ERROR => failed = true,
                server::PARAMETER_STATUS => {
                    let (name, value) = message::parameter_status(&body)?;
                    self.note_parameter(name, value);
                }
                server::READY if body[..] == *b"I" && !failed => return Ok(()),
                server::READY => {
                    return Err(Error::Protocol("the server session cannot be reset".into()));
                }
                _ => {}
            }
        }
    }

    /// Reads one whole frame: type and body.
    pub async fn read_frame(&mut self) -> Result<(u8, BytesMut), Error> {
        loop {
            if let Some((tag, size)) = frame::peek(&self.inbox, MESSAGE_BYTES_MAX)?
                && self.inbox.len() >= size
            {
                let mut whole = self.inbox.split_to(size);
                return Ok((tag, whole.split_off(frame::HEADER)));
            }
            if self.socket.read_buf(&mut self.inbox).await? == 0 {
                return Err(Error::Io(std::io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

impl IdleLink {
    /// Puts the link on this runtime.
    pub fn resume(self) -> std::io::Result<Link> {
        Ok(Link {
            socket: self.socket.resume()?,
            inbox: BytesMut::new(),
            outbox: BytesMut::new(),
            about: self.about,
            handle: self.handle,
            server: self.server,
            lifetime: self.lifetime,
            outdated: false,
        })
    }
}

impl About {
    /// A number for parameters, role and path. Keyed: whoever chooses what his
    /// login finds must not make two of them look alike.
    pub(super) fn number_defaults(&mut self, keys: &std::hash::RandomState) {
        use std::hash::BuildHasher as _;
        self.defaults = keys.hash_one((&self.parameters, &self.role, &self.search_path));
    }

    /// What the server reported under this name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let known = self.parameters.iter().find(|(known, _)| &**known == name);
        known.map(|(_, value)| &**value)
    }

    /// Asks the server to cancel what this link runs; returns once the server
    /// has closed the cancel connection, so that a late cancel cannot hit what
    /// runs next (PostgreSQL documentation 55.2.8).
    pub async fn cancel(&self, timeout: Duration) -> std::io::Result<()> {
        let work = async {
            let way = self.tls.as_ref().map_or(Way::Plain, Way::Encrypted);
            let mut socket = dial(&self.host, &self.address, self.port, way, timeout)
                .await
                .map_err(std::io::Error::other)?;
            let mut packet = BytesMut::with_capacity(16);
            encode::length_prefixed(&mut packet, |out| {
                use bytes::BufMut;
                out.put_u32(80_877_102);
                out.put_i32(self.pid);
                out.put_slice(&self.secret);
            });
            socket.write_all(&packet).await?;
            socket.flush().await?;
            let mut end = [0u8; 1];
            let _ = socket.read(&mut end).await;
            Ok(())
        };
        tokio::time::timeout(timeout, work)
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
    }
}
