//! The first packets: encryption, cancel requests, and the start-up itself.

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Door, Error, TurnedAway};
use crate::model::UserMessage;
use crate::net::{Socket, tls};
use crate::wire::postgres::startup::{self, First, Startup};
use crate::wire::postgres::{self as wire, encode};

/// A client that has said who it wants to be.
pub(super) struct Entered {
    pub(super) stream: Socket,
    pub(super) inbox: BytesMut,
    pub(super) startup: Startup,
}

/// Reads up to the start-up packet, through a handshake where one is asked for.
///
/// SSLRequest and GSSENCRequest are answered each at most once, in any order,
/// and neither behind a handshake. None: a cancel request, or somebody who left.
pub(super) async fn enter(door: &Door, stream: Socket) -> Result<Option<Entered>, Error> {
    let mut inbox = BytesMut::with_capacity(4096);
    let (mut stream, mut encrypted) = match directly(door, stream, &mut inbox).await? {
        Some(entry) => entry,
        None => return Ok(None),
    };
    let (mut ssl, mut gssenc) = (encrypted, encrypted);
    loop {
        let Some(packet) = packet(&mut stream, &mut inbox).await? else {
            return Ok(None);
        };
        match startup::read(&packet)? {
            First::Ssl if !inbox.is_empty() => return Err(smuggled(stream, "SSL").await),
            First::Gssenc if !inbox.is_empty() => {
                return Err(smuggled(stream, "GSSAPI encryption").await);
            }
            First::Ssl if !ssl => {
                ssl = true;
                match &door.tls {
                    None => answer(&mut stream, b"N").await?,
                    Some(tls) => {
                        answer(&mut stream, b"S").await?;
                        stream = stream.accept_tls(tls, &[]).await?;
                        (encrypted, gssenc) = (true, true);
                    }
                }
            }
            First::Gssenc if !gssenc => {
                gssenc = true;
                answer(&mut stream, b"N").await?;
            }
            First::Ssl | First::Gssenc => return Err(wire::Error::Malformed(' ').into()),
            // Also in the clear where TLS is required: many clients know no other
            // way, and the key is the proof.
            First::Cancel(pid, secret) => {
                door.cancels.cancel(pid, &secret).await;
                // Over TLS libpq 17 takes an end without a farewell for a failure.
                let _ = stream.shutdown().await;
                return Ok(None);
            }
            First::Unsupported { major, minor } => {
                return Err(outdated(&mut stream, major, minor).await);
            }
            First::Startup(startup) => {
                if let Some(message) = turned_away(door, &stream, encrypted) {
                    return Err(refuse(&mut stream, message).await);
                }
                negotiate(&mut stream, &startup).await?;
                return Ok(Some(Entered {
                    stream,
                    inbox,
                    startup,
                }));
            }
        }
    }
}

/// TLS without SSLRequest (PostgreSQL 17): told by the first byte, and only with
/// ALPN, so that nobody can talk another protocol's client into speaking to us.
async fn directly(
    door: &Door,
    mut stream: Socket,
    inbox: &mut BytesMut,
) -> Result<Option<(Socket, bool)>, Error> {
    if stream.read_buf(inbox).await? == 0 {
        return Ok(None);
    }
    let Some(tls) = door.tls.as_ref().filter(|_| inbox[0] == tls::HANDSHAKE) else {
        return Ok(Some((stream, false)));
    };
    let first = inbox.split();
    let mut stream = stream.accept_tls(tls, &first).await?;
    if stream.tls().and_then(|stream| stream.alpn()) != Some(tls::ALPN) {
        let message = UserMessage::fatal(
            "08P01",
            "received direct TLS connection request without ALPN protocol negotiation extension",
        );
        return Err(refuse(&mut stream, message).await);
    }
    Ok(Some((stream, true)))
}

/// Why somebody cannot come in by this door, whoever it is.
fn turned_away(door: &Door, stream: &Socket, encrypted: bool) -> Option<UserMessage> {
    let tls = door.tls.as_ref()?;
    if tls.required() && !encrypted {
        let message = "connections to this address must be encrypted";
        return Some(UserMessage::fatal("28000", message).hint("Connect with sslmode=require."));
    }
    let shown = stream.tls().is_some_and(|tls| tls.has_peer_certificate());
    (tls.certificate_required() && !shown).then(|| {
        UserMessage::fatal("28000", "connection requires a valid client certificate")
            .hint("Connect over TLS with sslcert and sslkey.")
    })
}

/// Bytes behind the request were sent before our answer: somebody wants them
/// taken for the beginning of the encrypted stream (CVE-2021-23214).
async fn smuggled(mut stream: Socket, what: &str) -> Error {
    let message = UserMessage::fatal(
        "08P01",
        format!("received unencrypted data after {what} request"),
    )
    .detail(
        "This could be either a client-software bug or evidence of an attempted \
         man-in-the-middle attack.",
    );
    refuse(&mut stream, message).await
}

/// Says why, and ends the connection.
pub(super) async fn refuse(stream: &mut Socket, message: UserMessage) -> Error {
    match tell(stream, &message).await {
        Ok(()) => TurnedAway::new(message).into(),
        Err(error) => Error::Io(error),
    }
}

/// The last words on this connection.
pub(super) async fn tell(stream: &mut Socket, message: &UserMessage) -> std::io::Result<()> {
    let mut out = BytesMut::new();
    encode::error(&mut out, message);
    stream.write_all(&out).await?;
    stream.shutdown().await
}

async fn answer(stream: &mut Socket, byte: &[u8; 1]) -> Result<(), Error> {
    stream.write_all(byte).await?;
    stream.flush().await?;
    Ok(())
}

/// Reads one packet without a type byte; none when the peer left before the first byte.
async fn packet(stream: &mut Socket, inbox: &mut BytesMut) -> Result<Option<BytesMut>, Error> {
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

/// NegotiateProtocolVersion (55.2.1): once, when the client asks for more than
/// is spoken here. Extensions of the protocol are all unknown.
async fn negotiate(stream: &mut Socket, startup: &Startup) -> Result<(), Error> {
    let unknown: Vec<&str> = startup
        .parameters
        .iter()
        .map(|(n, _)| n.as_str())
        .filter(|n| n.starts_with("_pq_."))
        .collect();
    let spoken = startup.spoken();
    if startup.minor == spoken && unknown.is_empty() {
        return Ok(());
    }
    let mut out = BytesMut::new();
    encode::frame(&mut out, b'v', |out| {
        out.put_u16(3);
        out.put_u16(spoken);
        out.put_u32(unknown.len() as u32);
        for name in &unknown {
            encode::cstr(out, name.as_bytes());
        }
    });
    stream.write_all(&out).await?;
    Ok(())
}

/// A client that cannot be spoken with. One of before 2003 reads an error as a
/// text alone, and so does everybody who sees that the length is none.
async fn outdated(stream: &mut Socket, major: u16, minor: u16) -> Error {
    let text = format!(
        "unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.{}",
        startup::MINOR_MAX
    );
    let message = UserMessage::fatal("0A000", &*text);
    if major > 3 {
        return refuse(stream, message).await;
    }
    let told = async {
        stream
            .write_all(format!("EFATAL:  {text}\n\0").as_bytes())
            .await?;
        stream.shutdown().await
    };
    match told.await {
        Ok(()) => TurnedAway::new(message).into(),
        Err(error) => Error::Io(error),
    }
}
