//! Control connections, encrypted as the links are.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use deadpool_postgres::Connect;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;
use tokio_postgres::config::{ChannelBinding as Bound, SslMode as Ssl, SslNegotiation};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config, Error, NoTls, Socket};

use super::super::hosts::{Hosts, Spot};
use crate::config::SslMode;
use crate::config::tls::ChannelBinding as Binding;
use crate::net::tls::{self, TlsStream};

type Connecting<'a, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

/// Connects as `sslmode` has it.
pub(super) struct Dial {
    /// None: in the clear.
    pub(super) tls: Option<tls::Client>,
    /// Where, in the order in which links are made.
    pub(super) hosts: Arc<Hosts>,
    /// Bound on one address.
    pub(super) timeout: Duration,
}

impl Connect for Dial {
    fn connect(&self, config: &Config) -> Connecting<'_, (Client, JoinHandle<()>), Error> {
        let config = config.clone();
        Box::pin(async move {
            let mut failed = None;
            for host in self.hosts.order() {
                for spot in self.hosts.spots(host).await.unwrap_or_default() {
                    let attempt = self.connect_to(&config, &spot);
                    match tokio::time::timeout(self.timeout, attempt).await {
                        Ok(Ok(connected)) => return Ok(connected),
                        Ok(Err(error)) => failed = Some(error),
                        Err(_) => {}
                    }
                }
            }
            match failed {
                Some(error) => Err(error),
                // Nobody answered in time. Only the driver can make its errors: without
                // a host this is one.
                None => plain(&config).await,
            }
        })
    }
}

impl Dial {
    fn connect_to<'d>(
        &'d self,
        config: &Config,
        spot: &Spot,
    ) -> Connecting<'d, (Client, JoinHandle<()>), Error> {
        let mut config = config.clone();
        match spot.address.parse::<IpAddr>() {
            Ok(address) => config.host(&*spot.name).hostaddr(address),
            Err(_) => config.host_path(&*spot.address),
        };
        config.port(spot.port);
        let local = spot.address.starts_with('/');
        Box::pin(async move {
            let Some(tls) = self.tls.as_ref().filter(|_| !local) else {
                return plain(&config).await;
            };
            match tls.mode() {
                SslMode::Disable => plain(&config).await,
                SslMode::Allow => match plain(&config).await {
                    Err(error) if other_way_may_work(&error) => {
                        encrypted(&config, tls, Ssl::Require).await
                    }
                    result => result,
                },
                SslMode::Prefer => match encrypted(&config, tls, Ssl::Prefer).await {
                    Err(error) if other_way_may_work(&error) => plain(&config).await,
                    result => result,
                },
                _ => encrypted(&config, tls, Ssl::Require).await,
            }
        })
    }
}

/// As for links: the handshake failed, or pg_hba.conf says no.
fn other_way_may_work(error: &Error) -> bool {
    let cause = std::error::Error::source(error);
    error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
        || cause.is_some_and(|cause| cause.is::<tls::Error>())
}

async fn plain(config: &Config) -> Result<(Client, JoinHandle<()>), Error> {
    let mut config = config.clone();
    config.ssl_mode(Ssl::Disable);
    let (client, connection) = config.connect(NoTls).await?;
    Ok((client, drive(connection)))
}

async fn encrypted(
    config: &Config,
    tls: &tls::Client,
    mode: Ssl,
) -> Result<(Client, JoinHandle<()>), Error> {
    let mut config = config.clone();
    config.ssl_mode(mode);
    config.channel_binding(match tls.channel_binding() {
        Binding::Disable => Bound::Disable,
        Binding::Prefer => Bound::Prefer,
        Binding::Require => Bound::Require,
    });
    if tls.direct() {
        config.ssl_negotiation(SslNegotiation::Direct);
    }
    let (client, connection) = config.connect(Maker(tls.clone())).await?;
    Ok((client, drive(connection)))
}

fn drive(connection: impl Future<Output = Result<(), Error>> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a control connection ended");
        }
    })
}

struct Maker(tls::Client);

impl MakeTlsConnect<Socket> for Maker {
    type Stream = Encrypted;
    type TlsConnect = Handshake;
    type Error = tls::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, tls::Error> {
        Ok(Handshake {
            tls: self.0.clone(),
            host: host.to_owned(),
        })
    }
}

struct Handshake {
    tls: tls::Client,
    host: String,
}

impl TlsConnect<Socket> for Handshake {
    type Stream = Encrypted;
    type Error = tls::Error;
    type Future = Connecting<'static, Encrypted, tls::Error>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move { Ok(Encrypted(self.tls.connect(socket, &self.host).await?)) })
    }
}

/// The stream as tokio-postgres wants it.
struct Encrypted(TlsStream<Socket>);

impl tokio_postgres::tls::TlsStream for Encrypted {
    fn channel_binding(&self) -> ChannelBinding {
        self.0
            .peer_end_point()
            .map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
