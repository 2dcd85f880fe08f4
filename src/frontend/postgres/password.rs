//! Proving to know a password, in three ways. Names that nobody has go through
//! all of it, at the same cost.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use md5::{Digest, Md5};
use rand::RngExt;
use subtle::ConstantTimeEq;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::attempts::Attempt;
use super::channel::Channel;
use super::scram::{self, Exchange, Verifier};
use super::{Door, Error, TurnedAway};
use crate::config::{Credential, Method, Proof, Secret};
use crate::model::UserMessage;
use crate::wire::postgres::{self as wire, encode, frame};

/// Largest message of an exchange, in bytes.
const MESSAGE_BYTES_MAX: usize = 8192;

/// Largest message with the password itself, PostgreSQL's PG_MAX_AUTH_TOKEN_LENGTH.
const PASSWORD_BYTES_MAX: usize = 65_536;

/// The requests of AuthenticationXXX (55.7).
const CLEAR: i32 = 3;
const MD5: i32 = 5;
const SASL: i32 = 10;
const SASL_CONTINUE: i32 = 11;
const SASL_FINAL: i32 = 12;

/// A client that proves to know a password.
pub(super) struct Proving<'a, S> {
    pub(super) door: &'a Door,
    pub(super) stream: &'a mut S,
    pub(super) inbox: &'a mut BytesMut,
    pub(super) name: &'a str,
    pub(super) credential: &'a Credential,
    pub(super) channel: &'a Channel,
    pub(super) attempt: Attempt<'a>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Proving<'_, S> {
    /// Asks by this method; whoever is wrong is told so by the caller.
    /// What was learnt can be proven to others.
    pub(super) async fn run(mut self, method: Method) -> Result<Proof, Error> {
        self.attempt.check()?;
        let proof = match method {
            Method::Md5 => self.md5().await?,
            Method::Password => self.clear().await?,
            _ => self.scram().await?,
        };
        match proof {
            Some(proof) => {
                self.attempt.succeeded();
                Ok(proof)
            }
            None => {
                self.attempt.failed();
                Err(wrong(self.name))
            }
        }
    }

    async fn ask(&mut self, kind: i32, body: &[u8]) -> Result<(), Error> {
        let mut out = BytesMut::with_capacity(body.len() + 16);
        encode::frame(&mut out, b'R', |out| {
            out.put_i32(kind);
            out.put_slice(body);
        });
        self.stream.write_all(&out).await?;
        self.stream.flush().await?;
        Ok(())
    }

    async fn answer(&mut self, most: usize) -> Result<BytesMut, Error> {
        loop {
            if let Some((tag, size)) = frame::peek(self.inbox, most)? {
                if tag != frame::client::PASSWORD {
                    return Err(wire::Error::Malformed(char::from(tag)).into());
                }
                if self.inbox.len() >= size {
                    let mut whole = self.inbox.split_to(size);
                    return Ok(whole.split_off(frame::HEADER));
                }
            }
            if self.stream.read_buf(self.inbox).await? == 0 {
                return Err(Error::Io(std::io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// A text that ends with its message.
    async fn text(&mut self, most: usize) -> Result<BytesMut, Error> {
        let mut body = self.answer(most).await?;
        if memchr::memchr(0, &body) != body.len().checked_sub(1) {
            return Err(malformed());
        }
        body.truncate(body.len() - 1);
        Ok(body)
    }

    async fn scram(&mut self) -> Result<Option<Proof>, Error> {
        let mut offer = BytesMut::new();
        if self.channel.end_point.is_some() {
            encode::cstr(&mut offer, scram::PLUS.as_bytes());
        }
        encode::cstr(&mut offer, scram::PLAIN.as_bytes());
        offer.put_u8(0);
        self.ask(SASL, &offer).await?;

        let first = self.answer(MESSAGE_BYTES_MAX).await?;
        let end = memchr::memchr(0, &first).ok_or_else(malformed)?;
        let binding = match (&first[..end], &self.channel.end_point) {
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
        let verifier = Arc::new(verifier(self.door, self.name, self.credential));
        let (exchange, reply) = match Exchange::begin(verifier, message, binding) {
            Ok(begun) => begun,
            Err(scram::Broken::Malformed) => return Err(malformed()),
            Err(scram::Broken::Downgrade) => return Err(downgraded()),
        };
        self.ask(SASL_CONTINUE, reply.as_bytes()).await?;

        let last = self.answer(MESSAGE_BYTES_MAX).await?;
        let last = std::str::from_utf8(&last).map_err(|_| malformed())?;
        self.attempt.check()?;
        let Some(proven) = exchange.finish(last) else {
            return Ok(None);
        };
        self.ask(SASL_FINAL, proven.signature.as_bytes()).await?;
        Ok(Some(Proof::Keys {
            client: proven.client_key,
            server: proven.server_key,
        }))
    }

    async fn md5(&mut self) -> Result<Option<Proof>, Error> {
        let salt: [u8; 4] = rand::rng().random();
        self.ask(MD5, &salt).await?;
        let answer = self.text(MESSAGE_BYTES_MAX).await?;
        self.attempt.check()?;
        let (inner, known) = match self.credential {
            Credential::Md5(hash) => (hash.reveal()[3..].to_owned(), true),
            Credential::Password(password) => (
                md5_hex(&[password.reveal().as_bytes(), self.name.as_bytes()]),
                true,
            ),
            // Somebody has to be hashed, so that nobody costs as much.
            Credential::Verifier(_) | Credential::Nothing => {
                (md5_hex(&[&self.door.seed, self.name.as_bytes()]), false)
            }
        };
        let expected = format!("md5{}", md5_hex(&[inner.as_bytes(), &salt]));
        let right = bool::from(expected.as_bytes().ct_eq(&answer)) && known;
        Ok(right.then(|| Proof::Md5(Secret::new(format!("md5{inner}")))))
    }

    async fn clear(&mut self) -> Result<Option<Proof>, Error> {
        self.ask(CLEAR, &[]).await?;
        let answer = self.text(PASSWORD_BYTES_MAX).await?;
        self.attempt.check()?;
        let Ok(password) = String::from_utf8(answer.to_vec()) else {
            return Ok(None);
        };
        let verifier = verifier(self.door, self.name, self.credential);
        let md5 = match self.credential {
            Credential::Md5(hash) => Some(hash.clone()),
            _ => None,
        };
        let hash = format!(
            "md5{}",
            md5_hex(&[password.as_bytes(), self.name.as_bytes()])
        );
        // Verifiers may ask for a million iterations: not on the event loop.
        let secret = Secret::new(&*password);
        let checked = tokio::task::spawn_blocking(move || verifier.is_for(&password));
        let is_password = checked.await.unwrap_or(false);
        // Many may have been let in to wait here at once.
        self.attempt.check()?;
        let right = match md5 {
            Some(known) => hash.as_bytes().ct_eq(known.reveal().as_bytes()).into(),
            None => is_password,
        };
        Ok(right.then_some(Proof::Password(secret)))
    }
}

/// Wrong password, or nobody of that name.
pub(super) fn wrong(name: &str) -> Error {
    TurnedAway::new(UserMessage::fatal(
        "28P01",
        format!("password authentication failed for user \"{name}\""),
    ))
    .into()
}

fn malformed() -> Error {
    Error::Protocol(wire::Error::Malformed('p'))
}

fn downgraded() -> Error {
    let message = UserMessage::fatal("28000", "SCRAM channel binding negotiation error").detail(
        "The client supports SCRAM channel binding but thinks the server does not.  \
         However, this server does support channel binding.",
    );
    TurnedAway::new(message).into()
}

fn md5_hex(parts: &[&[u8]]) -> String {
    let mut hash = Md5::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn verifier(door: &Door, name: &str, credential: &Credential) -> Verifier {
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
        Credential::Password(password) => salted(password.reveal()),
        Credential::Verifier(text) => {
            let _ = salted("");
            Verifier::read(text.reveal()).unwrap_or(mock)
        }
        Credential::Nothing | Credential::Md5(_) => {
            let _ = salted("");
            mock
        }
    }
}
