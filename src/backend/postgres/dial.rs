//! The way to a server: connecting, and encrypting as `sslmode` has it.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Error;
use crate::config::{HostName, PostgresBackend, SslMode};
use crate::net::{Socket, tls};

/// SSLRequest (PostgreSQL documentation 55.7): length and code.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// How servers of this backend are spoken to; none: in the clear.
pub fn encryption(backend: &PostgresBackend) -> Result<Option<tls::Client>, tls::Error> {
    let local = |host: &HostName| host.name.starts_with('/');
    if backend.tls.mode == SslMode::Disable || backend.hosts.list.iter().all(local) {
        return Ok(None);
    }
    tls::Client::new(&backend.tls).map(Some)
}

/// One way to try.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way<'a> {
    /// In the clear.
    Plain,
    /// Encrypted if the server can.
    Either(&'a tls::Client),
    /// Encrypted.
    Encrypted(&'a tls::Client),
}

/// The ways to try one after another, as libpq does.
pub(super) fn ways(tls: Option<&tls::Client>) -> (Way<'_>, Option<Way<'_>>) {
    match tls.map(|tls| (tls.mode(), tls)) {
        None | Some((SslMode::Disable, _)) => (Way::Plain, None),
        Some((SslMode::Allow, tls)) => (Way::Plain, Some(Way::Encrypted(tls))),
        Some((SslMode::Prefer, tls)) => (Way::Either(tls), Some(Way::Plain)),
        Some((_, tls)) => (Way::Encrypted(tls), None),
    }
}

/// Connects, and carries through a handshake where the way wants one: with a
/// certificate for the host, whatever its address is.
pub(super) async fn dial(
    host: &str,
    address: &str,
    port: u16,
    way: Way<'_>,
    timeout: Duration,
) -> Result<Socket, Error> {
    let mut socket = Socket::connect(address, port, timeout)
        .await
        .map_err(Error::Connect)?;
    let tls = match way {
        Way::Plain => return Ok(socket),
        Way::Either(tls) | Way::Encrypted(tls) => tls,
    };
    if !tls.direct() {
        socket.write_all(&SSL_REQUEST).await?;
        // One byte and not one more: what somebody slips in behind it is read
        // as TLS, and is none.
        let mut answer = [0];
        socket.read_exact(&mut answer).await?;
        match (answer[0], way) {
            (b'S', _) => {}
            (b'N', Way::Either(_)) => return Ok(socket),
            (b'N', _) => return Err(Error::NotEncrypted),
            _ => {
                let what = "an answer to SSLRequest that is neither yes nor no";
                return Err(Error::Protocol(what.into()));
            }
        }
    }
    socket.connect_tls(tls, host).await.map_err(Error::Tls)
}

/// Whether the server may let us in the other way, encrypted or not: the
/// handshake failed, or pg_hba.conf says no.
pub(super) fn other_way_may_work(error: &Error) -> bool {
    match error {
        Error::Tls(_) => true,
        Error::Refused(report) => report.code == "28000",
        _ => false,
    }
}
