//! The PostgreSQL door: start-up, negotiation, authentication.
//!
//! Nothing is promised to somebody who has not proven who it is: unknown users
//! and wrong passwords get the same questions and the same answer, and the
//! databases that exist are told only afterwards.

mod login;
pub mod scram;
pub mod serve;

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::config::Config;
use crate::gate::Arrival;
use crate::gate::cancel::Cancels;
use crate::model::UserMessage;
use crate::wire::postgres::startup::{self, First, Startup};
use crate::wire::postgres::{self as wire, encode};

/// What a door needs to know; shared by all connections.
#[derive(Clone)]
pub struct Door {
    /// Users, databases, limits.
    pub config: Arc<Config>,
    /// Keys of the living sessions.
    pub cancels: Arc<Cancels>,
    /// Secret of this process, from which mock salts follow.
    pub seed: [u8; 32],
}

/// Why a connection did not become a session.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The peer went away.
    #[error("the client went away during start-up")]
    Io(#[from] std::io::Error),
    /// Not the protocol.
    #[error("the client does not speak the protocol: {0}")]
    Protocol(#[from] wire::Error),
    /// Told the client so.
    #[error("login refused: {}", .0.message)]
    Refused(Box<UserMessage>),
}

/// How start-up ended.
#[derive(Debug)]
pub enum Welcome<S> {
    /// Authenticated; AuthenticationOk is written.
    Arrived(Arrival<S>),
    /// A cancel request, carried out; or a probe that left. Nothing to serve.
    Done,
}

/// Carries a fresh connection through start-up and authentication.
///
/// The caller bounds the time (`limits.login_timeout`).
pub async fn welcome<S>(
    door: &Door,
    mut stream: S,
    peer: Option<std::net::IpAddr>,
) -> Result<Welcome<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut inbox = BytesMut::with_capacity(4096);
    let Some(startup) = first_packets(door, &mut stream, &mut inbox).await? else {
        return Ok(Welcome::Done);
    };
    match login::login(door, &mut stream, &mut inbox, &startup, peer).await {
        Ok(admitted) => Ok(Welcome::Arrived(Arrival {
            stream,
            inbox,
            client: admitted.client,
            user: admitted.user,
            database: admitted.database,
            parameters: admitted.parameters,
            registration: door.cancels.register(),
        })),
        Err(Error::Refused(message)) => {
            let mut out = BytesMut::new();
            encode::error(&mut out, &message);
            stream.write_all(&out).await?;
            stream.flush().await?;
            Err(Error::Refused(message))
        }
        Err(error) => Err(error),
    }
}

/// Answers SSLRequest and GSSENCRequest, each at most once, in any order.
async fn first_packets<S>(
    door: &Door,
    stream: &mut S,
    inbox: &mut BytesMut,
) -> Result<Option<Startup>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut ssl, mut gssenc) = (false, false);
    loop {
        let Some(packet) = packet(stream, inbox).await? else {
            return Ok(None);
        };
        match startup::read(&packet)? {
            First::Ssl | First::Gssenc if !inbox.is_empty() => {
                // Bytes behind the request were sent before our answer: smuggled
                // into what the client would take for the encrypted stream.
                return Err(wire::Error::Malformed(' ').into());
            }
            First::Ssl if !ssl => {
                ssl = true;
                stream.write_all(b"N").await?;
            }
            First::Gssenc if !gssenc => {
                gssenc = true;
                stream.write_all(b"N").await?;
            }
            First::Ssl | First::Gssenc => return Err(wire::Error::Malformed(' ').into()),
            First::Cancel(pid, secret) => {
                door.cancels.cancel(pid, &secret).await;
                return Ok(None);
            }
            First::Unsupported { major, minor } => {
                let message = UserMessage::fatal(
                    "0A000",
                    format!(
                        "unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0"
                    ),
                );
                let mut out = BytesMut::new();
                encode::error(&mut out, &message);
                stream.write_all(&out).await?;
                return Err(Error::Refused(Box::new(message)));
            }
            First::Startup(startup) => {
                negotiate(stream, &startup).await?;
                return Ok(Some(startup));
            }
        }
        stream.flush().await?;
    }
}

/// Reads one packet without a type byte; none when the peer left before the first byte.
async fn packet<S: AsyncRead + Unpin>(
    stream: &mut S,
    inbox: &mut BytesMut,
) -> Result<Option<BytesMut>, Error> {
    loop {
        if let Some(size) = startup::size(inbox)?
            && inbox.len() >= size
        {
            return Ok(Some(inbox.split_to(size)));
        }
        let started = !inbox.is_empty();
        if stream.read_buf(inbox).await? == 0 {
            return if started {
                Err(Error::Io(std::io::ErrorKind::UnexpectedEof.into()))
            } else {
                Ok(None)
            };
        }
    }
}

/// NegotiateProtocolVersion (55.2.1): once, when the client asks for more than 3.0.
async fn negotiate<S: AsyncWrite + Unpin>(stream: &mut S, startup: &Startup) -> Result<(), Error> {
    let unknown: Vec<&str> = startup
        .parameters
        .iter()
        .map(|(n, _)| n.as_str())
        .filter(|n| n.starts_with("_pq_."))
        .collect();
    if startup.minor == 0 && unknown.is_empty() {
        return Ok(());
    }
    let mut out = BytesMut::new();
    encode::frame(&mut out, b'v', |out| {
        out.put_u32(196_608);
        out.put_u32(unknown.len() as u32);
        for name in &unknown {
            encode::cstr(out, name.as_bytes());
        }
    });
    stream.write_all(&out).await?;
    Ok(())
}
