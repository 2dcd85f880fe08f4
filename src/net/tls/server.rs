//! The gate's side towards clients.

use std::sync::Arc;

use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite};

use super::stream::TlsStream;
use super::{ALPN, Error, certificate, provider, root_store, unusable};
use crate::config::DoorTls;
use crate::config::tls::{ClientCertificates, TlsMode};

/// How a door speaks TLS; replaced as a whole by a reload.
pub struct Server {
    config: Arc<ServerConfig>,
    required: bool,
    certificate_required: bool,
    end_point: Option<Arc<[u8]>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("required", &self.required)
            .field("certificate_required", &self.certificate_required)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// None when the door offers no TLS.
    pub fn new(tls: &DoorTls) -> Result<Option<Server>, Error> {
        let (Some(identity), false) = (&tls.identity, tls.mode == TlsMode::Off) else {
            return Ok(None);
        };
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(Error::Identity)?;
        let builder = match (tls.client_certificates, &tls.client_ca) {
            (ClientCertificates::Off, _) => builder.with_no_client_auth(),
            (_, None) => return Err(Error::NoAuthority),
            (_, Some(authorities)) => {
                let roots = root_store(authorities)?;
                // Whoever shows none is told so in the protocol's words, by the door.
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
                    .allow_unauthenticated()
                    .build()
                    .map_err(|_| Error::NoAuthority)?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder
            .with_single_cert(identity.chain.to_vec(), identity.key.clone_key())
            .map_err(unusable)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let end_point = identity
            .chain
            .first()
            .and_then(|own| certificate::tls_server_end_point(own));
        Ok(Some(Server {
            config: Arc::new(config),
            required: tls.mode == TlsMode::Required,
            certificate_required: tls.client_certificates == ClientCertificates::Required,
            end_point: end_point.map(Arc::from),
        }))
    }

    /// Whether clients in the clear are turned away.
    pub fn required(&self) -> bool {
        self.required
    }

    /// Whether clients without a certificate are turned away.
    pub fn certificate_required(&self) -> bool {
        self.certificate_required
    }

    /// What binds a login to this door's certificate.
    pub fn end_point(&self) -> Option<Arc<[u8]>> {
        self.end_point.clone()
    }

    /// The handshake; `first` is what of it was read already.
    pub async fn accept<IO>(&self, io: IO, first: &[u8]) -> Result<TlsStream<IO>, Error>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let session = ServerConnection::new(self.config.clone()).map_err(Error::Handshake)?;
        TlsStream::handshake(io, session.into(), first).await
    }
}
