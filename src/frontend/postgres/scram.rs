//! SCRAM-SHA-256, the server's part (RFC 5802, RFC 7677, PostgreSQL 55.3).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use rand::RngExt;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Iterations for passwords kept in the clear, PostgreSQL's default.
const ITERATIONS: u32 = 4096;

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
        let prepared = stringprep::saslprep(password).map_or(password.into(), |p| p.into_owned());
        let salted = salted_password(prepared.as_bytes(), salt, ITERATIONS);
        let stored_key: [u8; 32] = Sha256::digest(hmac(&salted, b"Client Key")).into();
        Verifier {
            iterations: ITERATIONS,
            salt: salt.to_vec(),
            stored_key,
            server_key: hmac(&salted, b"Server Key"),
        }
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

/// One exchange, after the client's first message.
pub struct Exchange {
    verifier: Arc<Verifier>,
    client_first_bare: String,
    server_first: String,
    gs2_header: String,
    nonce: String,
}

impl Exchange {
    /// Reads client-first-message; answers server-first-message. None: broken.
    pub fn begin(verifier: Arc<Verifier>, client_first: &str) -> Option<(Exchange, String)> {
        // gs2-header: no channel binding is offered, so `p=` is not possible and `y` is fine.
        let (flag, rest) = client_first.split_once(',')?;
        if flag != "n" && flag != "y" {
            return None;
        }
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
            gs2_header: format!("{flag},{authzid},"),
            nonce,
        };
        Some((exchange, server_first))
    }

    /// Reads client-final-message; answers server-final-message. None: wrong.
    pub fn finish(&self, client_final: &str) -> Option<String> {
        let (without_proof, proof) = client_final.rsplit_once(",p=")?;
        let mut parts = without_proof.split(',');
        let binding = BASE64.decode(parts.next()?.strip_prefix("c=")?).ok()?;
        let nonce = parts.next()?.strip_prefix("r=")?;
        if binding != self.gs2_header.as_bytes() || nonce != self.nonce {
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
        bool::from(stored.ct_eq(&self.verifier.stored_key)).then(|| {
            format!(
                "v={}",
                BASE64.encode(hmac(&self.verifier.server_key, message.as_bytes()))
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

    fn exchange(verifier: Verifier, password: &str) -> bool {
        let mut client = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        let first = String::from_utf8(client.message().to_vec()).unwrap();
        let (server, reply) = Exchange::begin(Arc::new(verifier), &first).unwrap();
        client.update(reply.as_bytes()).unwrap();
        let last = String::from_utf8(client.message().to_vec()).unwrap();
        match server.finish(&last) {
            Some(proof) => client.finish(proof.as_bytes()).is_ok(),
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
    fn refuses_channel_binding_it_did_not_offer() {
        let verifier = Arc::new(Verifier::from_password("x", b"salt"));
        assert!(Exchange::begin(verifier, "p=tls-server-end-point,,n=,r=abc").is_none());
    }
}
