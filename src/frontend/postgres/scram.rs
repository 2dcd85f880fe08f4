//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, the server's part (RFC 5802, RFC 7677,
//! RFC 5929, PostgreSQL 55.3).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use rand::RngExt;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Iterations for passwords kept in the clear, PostgreSQL's default.
const ITERATIONS: u32 = 4096;

/// The mechanism without channel binding.
pub const PLAIN: &str = "SCRAM-SHA-256";

/// The mechanism with channel binding.
pub const PLUS: &str = "SCRAM-SHA-256-PLUS";

/// The kind of channel binding there is (RFC 5929).
const END_POINT_FLAG: &str = "p=tls-server-end-point";

/// What became of channel binding when the client chose its mechanism.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// In the clear there is nothing to bind to.
    NotOffered,
    /// Offered, and the client chose the mechanism without.
    Declined,
    /// Chosen: the hash of our certificate that the client must have seen.
    Chosen(Arc<[u8]>),
}

/// Why an exchange cannot begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Not the protocol.
    #[error("the client's first message is not SCRAM")]
    Malformed,
    /// The client says that we did not offer what we offered: somebody took it out.
    #[error("the offer of channel binding did not reach the client")]
    Downgrade,
}

/// What the server needs to check a proof, as in pg_authid.
#[derive(Clone)]
pub struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: [u8; 32],
    server_key: [u8; 32],
}

impl Verifier {
    /// Reads `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`.
    pub fn read(text: &str) -> Option<Verifier> {
        let rest = text.strip_prefix("SCRAM-SHA-256$")?;
        let (head, keys) = rest.split_once('$')?;
        let (iterations, salt) = head.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        Some(Verifier {
            iterations: iterations
                .parse()
                .ok()
                .filter(|n| (1..=10_000_000).contains(n))?,
            salt: BASE64.decode(salt).ok()?,
            stored_key: BASE64.decode(stored).ok()?.try_into().ok()?,
            server_key: BASE64.decode(server).ok()?.try_into().ok()?,
        })
    }

    /// From a password, with a salt that stays the same for one process.
    pub fn from_password(password: &str, salt: &[u8]) -> Verifier {
        Verifier::salted(password, salt, ITERATIONS)
    }

    fn salted(password: &str, salt: &[u8], iterations: u32) -> Verifier {
        let prepared = stringprep::saslprep(password).map_or(password.into(), |p| p.into_owned());
        let salted = salted_password(prepared.as_bytes(), salt, iterations);
        let stored_key: [u8; 32] = Sha256::digest(hmac(&salted, b"Client Key")).into();
        Verifier {
            iterations,
            salt: salt.to_vec(),
            stored_key,
            server_key: hmac(&salted, b"Server Key"),
        }
    }

    /// Whether this is the password. Costs what the verifier's iterations cost.
    pub fn is_for(&self, password: &str) -> bool {
        let same = Verifier::salted(password, &self.salt, self.iterations);
        same.stored_key.ct_eq(&self.stored_key).into()
    }

    /// A verifier that no password satisfies: unknown users get the same
    /// questions, at the same cost, as known ones. The salt follows from the
    /// name, so that asking twice looks alike.
    pub fn mock(user: &str, seed: &[u8; 32]) -> Verifier {
        let salt = hmac(seed, user.as_bytes())[..16].to_vec();
        let mut rng = rand::rng();
        Verifier {
            iterations: ITERATIONS,
            salt,
            stored_key: rng.random(),
            server_key: rng.random(),
        }
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

fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> [u8; 32] {
    let mut first = salt.to_vec();
    first.extend_from_slice(&1u32.to_be_bytes());
    let mut block = hmac(password, &first);
    let mut sum = block;
    for _ in 1..iterations {
        block = hmac(password, &block);
        for (s, b) in sum.iter_mut().zip(block) {
            *s ^= b;
        }
    }
    sum
}

/// A client that knows the password. No Debug: the keys are as good as it.
pub struct Proven {
    /// server-final-message.
    pub signature: String,
    /// With which the gate can prove the same to a server that keeps this verifier.
    pub client_key: [u8; 32],
    /// By which such a server is known.
    pub server_key: [u8; 32],
}

/// One exchange, after the client's first message.
pub struct Exchange {
    verifier: Arc<Verifier>,
    client_first_bare: String,
    server_first: String,
    /// What the last message must repeat: gs2-header and channel binding data.
    bound: Vec<u8>,
    nonce: String,
}

impl Exchange {
    /// Reads client-first-message; answers server-first-message.
    pub fn begin(
        verifier: Arc<Verifier>,
        client_first: &str,
        binding: Binding,
    ) -> Result<(Exchange, String), Broken> {
        let flag = client_first.split(',').next().unwrap_or_default();
        let data: &[u8] = match (flag, &binding) {
            (END_POINT_FLAG, Binding::Chosen(end_point)) => end_point,
            ("n", Binding::NotOffered | Binding::Declined) | ("y", Binding::NotOffered) => &[],
            ("y", Binding::Declined) => return Err(Broken::Downgrade),
            _ => return Err(Broken::Malformed),
        };
        Exchange::answer(verifier, client_first, data).ok_or(Broken::Malformed)
    }

    fn answer(
        verifier: Arc<Verifier>,
        client_first: &str,
        data: &[u8],
    ) -> Option<(Exchange, String)> {
        let (flag, rest) = client_first.split_once(',')?;
        let (authzid, bare) = rest.split_once(',')?;
        if !authzid.is_empty() {
            return None;
        }
        let mut parts = bare.split(',');
        parts.next()?.strip_prefix("n=")?;
        let client_nonce = parts.next()?.strip_prefix("r=")?;
        if client_nonce.is_empty() || client_nonce.len() > 256 {
            return None;
        }
        let random: [u8; 18] = rand::rng().random();
        let nonce = format!("{client_nonce}{}", BASE64.encode(random));
        let server_first = format!(
            "r={nonce},s={},i={}",
            BASE64.encode(&verifier.salt),
            verifier.iterations
        );
        let exchange = Exchange {
            verifier,
            client_first_bare: bare.to_owned(),
            server_first: server_first.clone(),
            bound: [format!("{flag},,").as_bytes(), data].concat(),
            nonce,
        };
        Some((exchange, server_first))
    }

    /// Reads client-final-message. None: wrong.
    pub fn finish(&self, client_final: &str) -> Option<Proven> {
        let (without_proof, proof) = client_final.rsplit_once(",p=")?;
        let mut parts = without_proof.split(',');
        let binding = BASE64.decode(parts.next()?.strip_prefix("c=")?).ok()?;
        let nonce = parts.next()?.strip_prefix("r=")?;
        if binding != self.bound || nonce != self.nonce {
            return None;
        }
        let message = format!(
            "{},{},{without_proof}",
            self.client_first_bare, self.server_first
        );
        let signature = hmac(&self.verifier.stored_key, message.as_bytes());
        let proof: [u8; 32] = BASE64.decode(proof).ok()?.try_into().ok()?;
        let mut client_key = proof;
        for (k, s) in client_key.iter_mut().zip(signature) {
            *k ^= s;
        }
        let stored: [u8; 32] = Sha256::digest(client_key).into();
        bool::from(stored.ct_eq(&self.verifier.stored_key)).then(|| Proven {
            signature: format!(
                "v={}",
                BASE64.encode(hmac(&self.verifier.server_key, message.as_bytes()))
            ),
            client_key,
            server_key: self.verifier.server_key,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

    fn exchange(verifier: Verifier, password: &str) -> bool {
        let binding = (ChannelBinding::unsupported(), Binding::NotOffered);
        bound_exchange(verifier, password, binding)
    }

    fn bound_exchange(
        verifier: Verifier,
        password: &str,
        (theirs, ours): (ChannelBinding, Binding),
    ) -> bool {
        let mut client = ScramSha256::new(password.as_bytes(), theirs);
        let first = String::from_utf8(client.message().to_vec()).unwrap();
        let (server, reply) = Exchange::begin(Arc::new(verifier), &first, ours).unwrap();
        client.update(reply.as_bytes()).unwrap();
        let last = String::from_utf8(client.message().to_vec()).unwrap();
        match server.finish(&last) {
            Some(proven) => client.finish(proven.signature.as_bytes()).is_ok(),
            None => false,
        }
    }

    #[test]
    fn accepts_the_password_and_nothing_else() {
        let verifier = Verifier::from_password("correct horse", b"0123456789abcdef");
        assert!(exchange(verifier.clone(), "correct horse"));
        assert!(!exchange(verifier, "wrong"));
        assert!(!exchange(Verifier::mock("nobody", &[7; 32]), "anything"));
    }

    #[test]
    fn reads_a_verifier_as_the_server_stores_it() {
        let text = postgres_protocol::password::scram_sha_256(b"secret");
        assert!(exchange(Verifier::read(&text).unwrap(), "secret"));
        for broken in [
            "",
            "md5abc",
            "SCRAM-SHA-256$0:a$b:c",
            "SCRAM-SHA-256$4096:!!$a:b",
        ] {
            assert!(Verifier::read(broken).is_none(), "{broken}");
        }
    }

    #[test]
    fn binds_a_login_to_the_certificate_the_client_saw() {
        let verifier = Verifier::from_password("x", b"0123456789abcdef");
        let seen = |hash: &[u8]| ChannelBinding::tls_server_end_point(hash.to_vec());
        let ours = Binding::Chosen(Arc::from(&b"our certificate"[..]));
        let right = (seen(b"our certificate"), ours.clone());
        assert!(bound_exchange(verifier.clone(), "x", right));
        let between = (seen(b"that of somebody in between"), ours);
        assert!(!bound_exchange(verifier, "x", between));
    }

    #[test]
    fn refuses_a_first_message_that_does_not_fit_what_was_offered() {
        let verifier = Arc::new(Verifier::from_password("x", b"salt"));
        let chosen = || Binding::Chosen(Arc::from(&b"hash"[..]));
        let begin = |flag: &str, binding: Binding| {
            let message = format!("{flag},,n=,r=abc");
            let begun = Exchange::begin(verifier.clone(), &message, binding);
            begun.map(|_| ()).err()
        };
        let bound = "p=tls-server-end-point";
        for (flag, binding, expected) in [
            ("n", Binding::NotOffered, None),
            ("y", Binding::NotOffered, None),
            (bound, Binding::NotOffered, Some(Broken::Malformed)),
            ("n", Binding::Declined, None),
            ("y", Binding::Declined, Some(Broken::Downgrade)),
            (bound, Binding::Declined, Some(Broken::Malformed)),
            (bound, chosen(), None),
            ("n", chosen(), Some(Broken::Malformed)),
            ("y", chosen(), Some(Broken::Malformed)),
            ("p=tls-unique", chosen(), Some(Broken::Malformed)),
        ] {
            assert_eq!(begin(flag, binding.clone()), expected, "{flag} {binding:?}");
        }
    }
}
