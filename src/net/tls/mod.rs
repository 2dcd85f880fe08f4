//! TLS over TCP, both roles, by rustls with one provider of cryptography.
//!
//! Deliberately not here: who asks for TLS and when. The doors and the way to
//! the server each say so in their own start-up; here is the handshake, the
//! stream behind it and what the certificates say.
//!
//! Sessions are never resumed: a resumed one would not show its certificate
//! again, and a reload would not reach it.
//!
//! Read [`TlsStream`] first, then [`Server`] and [`Client`].

pub mod certificate;
mod client;
mod server;
mod stream;
#[cfg(test)]
mod tests;
mod verifier;

pub use client::Client;
pub use server::Server;
pub use stream::{ParkedTls, TlsStream};

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;

use crate::config::tls::Certificates;

/// The protocol's name in ALPN (registered with IANA); needed for TLS without SSLRequest.
pub const ALPN: &[u8] = b"postgresql";

/// First byte of a TLS handshake, as of no other packet that may come first.
pub const HANDSHAKE: u8 = 0x16;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The two sides do not agree.
    #[error("the TLS handshake failed: {0}")]
    Handshake(#[source] rustls::Error),
    /// The peer went away.
    #[error("the connection ended during the TLS handshake")]
    Io(#[source] std::io::Error),
    /// The host's name cannot stand in a certificate.
    #[error("no certificate can be issued for the host \"{0}\"")]
    Name(String),
    /// Unix sockets, and TLS inside TLS.
    #[error("this connection cannot be encrypted")]
    Unsuitable,
    /// Another pair's key.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// A certificate or a key that cannot be used.
    #[error("the certificate or its key cannot be used: {0}")]
    Identity(#[source] rustls::Error),
    /// An authority that cannot be used.
    #[error("a certificate of the authority cannot be used: {0}")]
    Authority(#[source] rustls::Error),
    /// No authority where one is needed.
    #[error("certificates cannot be verified without an authority")]
    NoAuthority,
}

/// A certificate that was not accepted as what it should be.
fn unusable(error: rustls::Error) -> Error {
    match error {
        rustls::Error::InconsistentKeys(_) => Error::KeyMismatch,
        other => Error::Identity(other),
    }
}

/// The provider of cryptography, the same for everything.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn root_store(certificates: &Certificates) -> Result<Arc<RootCertStore>, Error> {
    let mut store = RootCertStore::empty();
    for certificate in certificates.iter() {
        store.add(certificate.clone()).map_err(Error::Authority)?;
    }
    Ok(Arc::new(store))
}
