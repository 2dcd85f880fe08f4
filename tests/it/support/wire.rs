//! What a raw client sends its bytes over: TCP, or TLS as the test wants it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::certificates::{Authority, Pair};

/// A connection.
pub enum Wire {
    /// In the clear.
    Plain(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
    /// Encrypted.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// How to encrypt.
pub struct Encryption {
    config: Arc<ClientConfig>,
}

impl Encryption {
    /// Trusts one authority; shows a certificate when there is one.
    pub fn new(authority: &Authority, shown: Option<&Pair>, alpn: bool) -> Encryption {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(authority.roots());
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let (chain, key) = pair.for_rustls();
                builder.with_client_auth_cert(chain, key).expect("a pair")
            }
        };
        if alpn {
            config.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        Encryption {
            config: Arc::new(config),
        }
    }
}

impl Wire {
    /// Encrypts from here on; the handshake is carried through.
    pub fn encrypt(self, encryption: &Encryption) -> std::io::Result<Wire> {
        let Wire::Plain(mut stream) = self else {
            panic!("encrypted already");
        };
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let mut session =
            ClientConnection::new(encryption.config.clone(), name).expect("a session");
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        Ok(Wire::Tls(Box::new(StreamOwned::new(session, stream))))
    }

    /// Bounds the time of a read.
    pub fn set_read_timeout(&self, wait: Option<Duration>) -> std::io::Result<()> {
        match self {
            Wire::Plain(stream) => stream.set_read_timeout(wait),
            Wire::Unix(stream) => stream.set_read_timeout(wait),
            Wire::Tls(stream) => stream.sock.set_read_timeout(wait),
        }
    }
}

impl Read for Wire {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.read(bytes),
            Wire::Unix(stream) => stream.read(bytes),
            Wire::Tls(stream) => stream.read(bytes),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.write(bytes),
            Wire::Unix(stream) => stream.write(bytes),
            Wire::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Wire::Plain(stream) => stream.flush(),
            Wire::Unix(stream) => stream.flush(),
            Wire::Tls(stream) => stream.flush(),
        }
    }
}
