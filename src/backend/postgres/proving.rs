//! What the gate proves to a server: a password, a hash of it, or the keys that
//! a client's own login has shown.

use std::io;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use postgres_protocol::authentication::{md5_hash, sasl};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::login::Target;
use crate::config::{Proof, Secret};

/// What there is to log in with: what is configured, else what was learnt.
pub(super) fn known(target: &Target) -> Option<Arc<Proof>> {
    match &target.password {
        Some(secret) => Some(Arc::new(configured(secret))),
        None => target.proof.as_ref()?.get(),
    }
}

/// A hash in the place of a password is one: the server stores no password that
/// looks so either.
fn configured(secret: &Secret) -> Proof {
    let is_hash = secret.reveal().strip_prefix("md5").is_some_and(|hash| {
        hash.len() == 32 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    });
    if is_hash {
        Proof::Md5(secret.clone())
    } else {
        Proof::Password(secret.clone())
    }
}

/// The answer to AuthenticationMD5Password; none with keys.
pub(super) fn md5_answer(proof: &Proof, user: &str, salt: [u8; 4]) -> Option<String> {
    match proof {
        Proof::Password(password) => {
            let password = password.reveal().as_bytes();
            Some(md5_hash(user.as_bytes(), password, salt))
        }
        Proof::Md5(hash) => {
            let inner = hash.reveal().strip_prefix("md5")?;
            let outer = Md5::new().chain_update(inner).chain_update(salt).finalize();
            let hex: String = outer.iter().map(|byte| format!("{byte:02x}")).collect();
            Some(format!("md5{hex}"))
        }
        Proof::Keys { .. } => None,
    }
}

/// SCRAM-SHA-256 in the client's role.
pub(super) enum Exchange {
    /// With the password.
    Password(sasl::ScramSha256),
    /// With keys.
    Keys(Box<Keyed>),
}

/// The exchange of RFC 5802 where SaltedPassword is not known, but what is
/// computed from it.
pub(super) struct Keyed {
    /// Makes the messages; what it proves is replaced.
    messages: sasl::ScramSha256,
    client: [u8; 32],
    server: [u8; 32],
    first_bare: String,
    reply: Vec<u8>,
    /// What the server has to sign; empty before its first message.
    signed: String,
}

impl Exchange {
    /// None: a hash says nothing about SCRAM.
    pub(super) fn begin(proof: &Proof, binding: sasl::ChannelBinding) -> Option<Exchange> {
        match proof {
            Proof::Password(password) => Some(Exchange::Password(sasl::ScramSha256::new(
                password.reveal().as_bytes(),
                binding,
            ))),
            Proof::Keys { client, server } => {
                let messages = sasl::ScramSha256::new(b"", binding);
                let reply = messages.message().to_vec();
                let first = String::from_utf8(reply.clone()).ok()?;
                // Behind the header of two commas.
                let first_bare = first.splitn(3, ',').nth(2)?.to_owned();
                Some(Exchange::Keys(Box::new(Keyed {
                    messages,
                    client: *client,
                    server: *server,
                    first_bare,
                    reply,
                    signed: String::new(),
                })))
            }
            Proof::Md5(_) => None,
        }
    }

    /// What to send next.
    pub(super) fn message(&self) -> &[u8] {
        match self {
            Exchange::Password(exchange) => exchange.message(),
            Exchange::Keys(keyed) => &keyed.reply,
        }
    }

    /// Reads the server's first message.
    pub(super) fn update(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Exchange::Password(exchange) => exchange.update(message),
            Exchange::Keys(keyed) => keyed.update(message),
        }
    }

    /// Reads the server's last message, its own proof.
    pub(super) fn finish(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Exchange::Password(exchange) => exchange.finish(message),
            Exchange::Keys(keyed) => keyed.finish(message),
        }
    }
}

impl Keyed {
    fn update(&mut self, message: &[u8]) -> io::Result<()> {
        // Checks the message, and binds the channel.
        self.messages.update(message)?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(io::Error::other);
        let (server_first, last) = (text(message)?, text(self.messages.message())?);
        let without_proof = last
            .rsplit_once(",p=")
            .map(|(rest, _)| rest)
            .ok_or_else(|| io::Error::other("SCRAM message without a proof"))?;
        self.signed = format!("{},{server_first},{without_proof}", self.first_bare);
        let stored: [u8; 32] = Sha256::digest(self.client).into();
        let mut proof = hmac(&stored, self.signed.as_bytes());
        for (p, k) in proof.iter_mut().zip(self.client) {
            *p ^= k;
        }
        self.reply = format!("{without_proof},p={}", BASE64.encode(proof)).into_bytes();
        Ok(())
    }

    fn finish(&self, message: &[u8]) -> io::Result<()> {
        let expected = format!(
            "v={}",
            BASE64.encode(hmac(&self.server, self.signed.as_bytes()))
        );
        if bool::from(expected.as_bytes().ct_eq(message)) {
            return Ok(());
        }
        Err(io::Error::other("the server does not know the password"))
    }
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    // HMAC takes keys of any length.
    match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mut mac) => {
            mac.update(message);
            mac.finalize().into_bytes().into()
        }
        Err(_) => [0; 32],
    }
}
