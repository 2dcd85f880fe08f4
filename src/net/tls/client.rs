//! The gate's side towards servers.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncRead, AsyncWrite};

use super::stream::TlsStream;
use super::verifier::Verifier;
use super::{ALPN, Error, provider, unusable};
use crate::config::tls::ChannelBinding;
use crate::config::{ServerTls, SslMode};

/// How servers are spoken to; cheap to clone.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
    mode: SslMode,
    direct: bool,
    channel_binding: ChannelBinding,
}

// What rustls would print is long, and may come to hold more than names.
impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// From what is configured for a database.
    pub fn new(tls: &ServerTls) -> Result<Client, Error> {
        let verifier = Verifier::new(tls, &provider())?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(Error::Identity)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &tls.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_auth_cert(identity.chain.to_vec(), identity.key.clone_key())
                .map_err(unusable)?,
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Client {
            config: Arc::new(config),
            mode: tls.mode,
            direct: tls.direct,
            channel_binding: tls.channel_binding,
        })
    }

    /// How much is demanded.
    pub fn mode(&self) -> SslMode {
        self.mode
    }

    /// Whether to begin with the handshake.
    pub fn direct(&self) -> bool {
        self.direct
    }

    /// Whether logins are bound to the server's certificate.
    pub fn channel_binding(&self) -> ChannelBinding {
        self.channel_binding
    }

    /// The handshake.
    pub async fn connect<IO>(&self, io: IO, host: &str) -> Result<TlsStream<IO>, Error>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let name =
            ServerName::try_from(host.to_owned()).map_err(|_| Error::Name(host.to_owned()))?;
        let session = ClientConnection::new(self.config.clone(), name).map_err(Error::Handshake)?;
        let stream = TlsStream::handshake(io, session.into(), &[]).await?;
        // A server that speaks something else behind the same certificate.
        if self.direct && stream.alpn() != Some(ALPN) {
            return Err(Error::Handshake(rustls::Error::NoApplicationProtocol));
        }
        Ok(stream)
    }
}
