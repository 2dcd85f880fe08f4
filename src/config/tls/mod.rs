//! TLS as configured: at a door, and on the way to a server.
//!
//! Files are read with the configuration, so that a reload sees what is in them
//! and a missing one is reported with its place. Deliberately not here: whether
//! a key fits its certificate. `net::tls` finds that out; it has the cryptography.
//!
//! Read [`DoorTls`] and [`ServerTls`] first.

mod door;
mod pem;
mod server;

use std::path::PathBuf;
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::Position;

pub(super) use door::{asks_for_certificates, door};
pub(super) use server::{is_url_parameter, server};

/// Certificates, in the order of their file.
pub type Certificates = Arc<[CertificateDer<'static>]>;

/// How a door speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoorTls {
    /// Whether clients in the clear are let in.
    pub mode: TlsMode,
    /// What the door shows.
    pub identity: Option<Identity>,
    /// Who signs the certificates of clients.
    pub client_ca: Option<Certificates>,
    /// Whether clients show certificates.
    pub client_certificates: ClientCertificates,
    /// Where it stands.
    pub origin: Origin,
}

/// Whether a door lets clients in without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsMode {
    /// TLS is not offered.
    Off,
    /// Both.
    Optional,
    /// Only with TLS.
    Required,
}

/// Whether clients show certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientCertificates {
    /// They are not asked.
    Off,
    /// They are asked; one that is shown must be valid.
    Optional,
    /// Nobody comes in without.
    Required,
}

/// How connections to a server are encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerTls {
    /// How much is demanded.
    pub mode: SslMode,
    /// Begins with the handshake instead of asking for it (PostgreSQL 17).
    pub direct: bool,
    /// Whether the password is bound to the server's certificate.
    pub channel_binding: ChannelBinding,
    /// Authorities that may have signed the server's certificate.
    pub roots: Option<Certificates>,
    /// What the gate shows the server.
    pub identity: Option<Identity>,
    /// Where it stands.
    pub origin: Origin,
}

/// libpq's `channel_binding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// When the server offers it.
    #[default]
    Prefer,
    /// A server that does not let itself be bound gets no proof of the password.
    Require,
}

/// libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub enum SslMode {
    /// Never encrypted.
    Disable,
    /// Encrypted when the server does not let anybody in otherwise.
    Allow,
    /// Encrypted when the server can.
    #[default]
    Prefer,
    /// Encrypted; the server's certificate is not looked at.
    Require,
    /// The certificate must lead to a root.
    VerifyCa,
    /// And name the host.
    VerifyFull,
}

/// A certificate with what leads to its root, and its key.
#[derive(Clone)]
pub struct Identity {
    /// The certificate first.
    pub chain: Certificates,
    /// The private key.
    pub key: Arc<PrivateKeyDer<'static>>,
}

impl PartialEq for Identity {
    fn eq(&self, other: &Identity) -> bool {
        self.chain == other.chain && self.key.secret_der() == other.key.secret_der()
    }
}

impl Eq for Identity {}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Where settings came from. Equal to any other: a table that moves to another
/// line says the same.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// Place in the configuration file.
    pub position: Position,
    /// Files that were read.
    pub files: Vec<PathBuf>,
}

impl PartialEq for Origin {
    fn eq(&self, _: &Origin) -> bool {
        true
    }
}

impl Eq for Origin {}
