//! Who is it, and may it use that database.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::scram::{self, Exchange, Verifier};
use super::{Door, Error, TurnedAway};
use crate::config::{Credential, Database, User};
use crate::model::{Client, UserMessage};
use crate::net::{Socket, unix};
use crate::wire::postgres::startup::Startup;
use crate::wire::postgres::{self as wire, encode, frame};

/// Largest message before somebody is authenticated, in bytes.
const LOGIN_BYTES_MAX: usize = 8192;

/// Somebody who may come in.
pub(super) struct Admitted {
    pub(super) client: Arc<Client>,
    pub(super) user: Arc<User>,
    pub(super) database: Arc<Database>,
    pub(super) parameters: Vec<(String, String)>,
}

/// What the connection itself proves.
pub(super) struct Channel {
    /// What a login can be bound to; none in the clear.
    end_point: Option<Arc<[u8]>>,
    /// A verified client certificate was shown.
    certified: bool,
    common_name: Option<String>,
    /// Number of the system's user on the other end of a Unix socket.
    system_user: Option<u32>,
}

impl Channel {
    pub(super) fn of(door: &Door, stream: &Socket) -> Channel {
        let (encrypted, server) = (stream.tls(), door.tls.as_ref());
        Channel {
            end_point: encrypted.and(server).and_then(|server| server.end_point()),
            certified: encrypted.is_some_and(|tls| tls.has_peer_certificate()),
            common_name: encrypted.and_then(|tls| tls.peer_common_name()),
            system_user: stream.peer_user(),
        }
    }

    /// Whether the system's user on the other end may log in under this name.
    async fn is_peer_of(&self, user: &User) -> Result<(), Error> {
        let name = match self.system_user {
            Some(number) => unix::user_name(number).await,
            None => None,
        };
        if name
            .as_deref()
            .is_some_and(|name| user.is_system_user(name))
        {
            return Ok(());
        }
        refuse(UserMessage::fatal(
            "28000",
            format!("Peer authentication failed for user \"{}\"", user.name),
        ))
    }

    /// Whether the certificate is for this name; if not, what to say.
    fn is_certified_as(&self, wanted: &str, user: &str) -> Result<(), Error> {
        if self.certified && self.common_name.as_deref() == Some(wanted) {
            return Ok(());
        }
        let message = UserMessage::fatal(
            "28000",
            format!("certificate authentication failed for user \"{user}\""),
        );
        refuse(match &self.common_name {
            Some(name) => message.detail(format!("The certificate shown is for \"{name}\".")),
            None => message.detail("No certificate with a common name was shown."),
        })
    }
}

/// Authenticates and finds the database. Writes AuthenticationOk.
pub(super) async fn login<S>(
    door: &Door,
    stream: &mut S,
    inbox: &mut BytesMut,
    startup: &Startup,
    channel: &Channel,
    peer: Option<IpAddr>,
) -> Result<Admitted, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some(name) = startup.get("user").filter(|name| !name.is_empty()) else {
        return refuse(UserMessage::fatal(
            "28000",
            "no PostgreSQL user name specified in startup packet",
        ));
    };
    if startup
        .get("replication")
        .is_some_and(|value| !matches!(value, "" | "0" | "off" | "false" | "no"))
    {
        return refuse(
            UserMessage::fatal(
                "0A000",
                "replication connections are not supported by the gate",
            )
            .hint("Connect to the database server directly for replication."),
        );
    }
    let known = door.config.users.iter().find(|user| *user.name == *name);
    // Elsewhere it is nobody: same questions, same answer.
    let user = known.filter(|user| user.access.lets_in(peer));
    match user.map(|user| &user.credential) {
        Some(Credential::Trust) => {}
        // Without any certificate such a user looks like one that does not exist.
        Some(Credential::Certificate) if channel.certified => {}
        // Nor can anybody be a peer who did not come over a Unix socket.
        Some(Credential::Peer) if channel.system_user.is_some() => {}
        asked => match scram(door, stream, inbox, name, asked, channel).await {
            Err(Error::Refused(away)) if known.is_some() && user.is_none() => {
                return Err(away.because("address").into());
            }
            result => result?,
        },
    }
    let Some(user) = user else {
        return refuse(wrong_password(name));
    };
    if matches!(user.credential, Credential::Peer) {
        channel.is_peer_of(user).await?;
    }
    match (&user.common_name, &user.credential) {
        (Some(wanted), _) => channel.is_certified_as(wanted, name)?,
        (None, Credential::Certificate) => channel.is_certified_as(&user.name, name)?,
        (None, _) => {}
    }
    let mut out = BytesMut::new();
    encode::frame(&mut out, b'R', |out| out.put_i32(0));

    let wanted = startup
        .get("database")
        .filter(|name| !name.is_empty())
        .unwrap_or(name);
    let allowed = user.databases.is_empty() || user.databases.iter().any(|d| **d == *wanted);
    let database = door.config.databases.iter().find(|d| *d.name == *wanted);
    let (Some(database), true) = (database, allowed) else {
        // Authenticated first, so that the true state may follow it.
        stream.write_all(&out).await?;
        return refuse(UserMessage::fatal(
            "3D000",
            format!("database \"{wanted}\" does not exist"),
        ));
    };
    stream.write_all(&out).await?;
    stream.flush().await?;
    let parameters = startup
        .parameters
        .iter()
        .filter(|(n, _)| {
            !matches!(n.as_str(), "user" | "database" | "replication") && !n.starts_with("_pq_.")
        })
        .cloned()
        .collect();
    Ok(Admitted {
        client: Arc::new(Client {
            user: user.name.clone(),
            database: database.name.clone(),
            address: peer,
        }),
        user: user.clone(),
        database: database.clone(),
        parameters,
    })
}

fn refuse<T>(message: UserMessage) -> Result<T, Error> {
    Err(TurnedAway::new(message).into())
}

fn wrong_password(name: &str) -> UserMessage {
    UserMessage::fatal(
        "28P01",
        format!("password authentication failed for user \"{name}\""),
    )
}

/// The exchange; unknown users go through all of it.
async fn scram<S>(
    door: &Door,
    stream: &mut S,
    inbox: &mut BytesMut,
    name: &str,
    credential: Option<&Credential>,
    channel: &Channel,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut out = BytesMut::new();
    encode::frame(&mut out, b'R', |out| {
        out.put_i32(10);
        if channel.end_point.is_some() {
            encode::cstr(out, scram::PLUS.as_bytes());
        }
        encode::cstr(out, scram::PLAIN.as_bytes());
        out.put_u8(0);
    });
    stream.write_all(&out).await?;
    stream.flush().await?;

    let first = password_message(stream, inbox).await?;
    let malformed = || Error::Protocol(wire::Error::Malformed('p'));
    let end = memchr::memchr(0, &first).ok_or_else(malformed)?;
    let binding = match (&first[..end], &channel.end_point) {
        (b"SCRAM-SHA-256-PLUS", Some(end_point)) => scram::Binding::Chosen(end_point.clone()),
        (b"SCRAM-SHA-256", Some(_)) => scram::Binding::Declined,
        (b"SCRAM-SHA-256", None) => scram::Binding::NotOffered,
        _ => return Err(malformed()),
    };
    let body = &first[end + 1..];
    let (length, message) = body.split_first_chunk::<4>().ok_or_else(malformed)?;
    if i32::from_be_bytes(*length) != message.len() as i32 {
        return Err(malformed());
    }
    let message = std::str::from_utf8(message).map_err(|_| malformed())?;
    let verifier = Arc::new(verifier(door, name, credential));
    let (exchange, reply) = match Exchange::begin(verifier, message, binding) {
        Ok(begun) => begun,
        Err(scram::Broken::Malformed) => return Err(malformed()),
        Err(scram::Broken::Downgrade) => {
            return refuse(
                UserMessage::fatal("28000", "SCRAM channel binding negotiation error").detail(
                    "The client supports SCRAM channel binding but thinks the server does not.  \
                     However, this server does support channel binding.",
                ),
            );
        }
    };
    out.clear();
    encode::frame(&mut out, b'R', |out| {
        out.put_i32(11);
        out.put_slice(reply.as_bytes());
    });
    stream.write_all(&out).await?;
    stream.flush().await?;

    let last = password_message(stream, inbox).await?;
    let last = std::str::from_utf8(&last).map_err(|_| malformed())?;
    let Some(proof) = exchange.finish(last) else {
        return refuse(wrong_password(name));
    };
    out.clear();
    encode::frame(&mut out, b'R', |out| {
        out.put_i32(12);
        out.put_slice(proof.as_bytes());
    });
    stream.write_all(&out).await?;
    stream.flush().await?;
    Ok(())
}

fn verifier(door: &Door, name: &str, credential: Option<&Credential>) -> Verifier {
    // Hashing costs the same for a password in the clear, a verifier and nobody:
    // the mock is made in every case.
    let mock = Verifier::mock(name, &door.seed);
    let salted = |password: &str| {
        use sha2::{Digest, Sha256};
        let salt = Sha256::new()
            .chain_update(door.seed)
            .chain_update(name)
            .finalize();
        Verifier::from_password(password, &salt[..16])
    };
    match credential {
        Some(Credential::Password(password)) => salted(password.reveal()),
        Some(Credential::Verifier(text)) => {
            let _ = salted("");
            Verifier::read(text.reveal()).unwrap_or(mock)
        }
        Some(Credential::Trust | Credential::Certificate | Credential::Peer) | None => {
            let _ = salted("");
            mock
        }
    }
}

async fn password_message<S>(stream: &mut S, inbox: &mut BytesMut) -> Result<BytesMut, Error>
where
    S: AsyncRead + Unpin,
{
    loop {
        if let Some((tag, size)) = frame::peek(inbox, LOGIN_BYTES_MAX)? {
            if tag != frame::client::PASSWORD {
                return Err(wire::Error::Malformed(char::from(tag)).into());
            }
            if inbox.len() >= size {
                let mut whole = inbox.split_to(size);
                return Ok(whole.split_off(frame::HEADER));
            }
        }
        if stream.read_buf(inbox).await? == 0 {
            return Err(Error::Io(std::io::ErrorKind::UnexpectedEof.into()));
        }
    }
}
