//! A connected stream: TCP, TLS over TCP, or Unix.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::tls::{self, ParkedTls, TlsStream};

/// A connected stream.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// TLS over TCP; boxed, so that the others stay small.
    Tls(Box<TlsStream<TcpStream>>),
    /// Unix domain.
    Unix(UnixStream),
}

/// A stream taken off its runtime, to be resumed on another worker's.
#[derive(Debug)]
pub enum Parked {
    /// TCP.
    Tcp(std::net::TcpStream),
    /// TLS over TCP.
    Tls(Box<ParkedTls>),
    /// Unix domain.
    Unix(std::os::unix::net::UnixStream),
}

impl Socket {
    /// Connects to a host name, an address, or the directory of a Unix socket
    /// (a name that starts with `/`, as in libpq).
    pub async fn connect(host: &str, port: u16, timeout: Duration) -> io::Result<Socket> {
        let connecting = async {
            if host.starts_with('/') {
                return Ok(Socket::Unix(
                    UnixStream::connect(format!("{host}/.s.PGSQL.{port}")).await?,
                ));
            }
            let stream = TcpStream::connect((host, port)).await?;
            Ok(Socket::prepare(stream))
        };
        match tokio::time::timeout(timeout, connecting).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "connecting took too long",
            )),
        }
    }

    /// No delay, and keepalive so that a vanished peer is noticed.
    pub fn prepare(stream: TcpStream) -> Socket {
        let _ = stream.set_nodelay(true);
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(60))
            .with_interval(Duration::from_secs(10));
        let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive);
        Socket::Tcp(stream)
    }

    /// Address of the peer; none for Unix sockets.
    pub fn peer(&self) -> Option<IpAddr> {
        let stream = match self {
            Socket::Tcp(stream) => stream,
            Socket::Tls(stream) => stream.tcp(),
            Socket::Unix(_) => return None,
        };
        let address = stream.peer_addr().ok()?;
        Some(address.ip().to_canonical())
    }

    /// Number of the system's user on the other end of a Unix socket, as the
    /// kernel knows it.
    pub fn peer_user(&self) -> Option<u32> {
        match self {
            Socket::Unix(stream) => Some(stream.peer_cred().ok()?.uid()),
            Socket::Tcp(_) | Socket::Tls(_) => None,
        }
    }

    /// The encrypted stream; none in the clear.
    pub fn tls(&self) -> Option<&TlsStream<TcpStream>> {
        match self {
            Socket::Tls(stream) => Some(stream),
            Socket::Tcp(_) | Socket::Unix(_) => None,
        }
    }

    /// The same connection after a handshake in the server's role; `first` is
    /// what of it was read already.
    pub async fn accept_tls(self, tls: &tls::Server, first: &[u8]) -> Result<Socket, tls::Error> {
        match self {
            Socket::Tcp(stream) => {
                let stream = tls.accept(stream, first).await?;
                Ok(Socket::Tls(Box::new(stream)))
            }
            Socket::Tls(_) | Socket::Unix(_) => Err(tls::Error::Unsuitable),
        }
    }

    /// The same connection after a handshake in the client's role.
    pub async fn connect_tls(self, tls: &tls::Client, host: &str) -> Result<Socket, tls::Error> {
        match self {
            Socket::Tcp(stream) => {
                let stream = tls.connect(stream, host).await?;
                Ok(Socket::Tls(Box::new(stream)))
            }
            Socket::Tls(_) | Socket::Unix(_) => Err(tls::Error::Unsuitable),
        }
    }

    /// Whether nothing has come in that nobody read, the peer's farewell
    /// included. Costs no system call as long as the reactor saw nothing.
    pub fn is_quiet(&self) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let ready = match self {
            Socket::Tcp(stream) => stream.poll_read_ready(&mut cx),
            Socket::Tls(stream) if !stream.is_settled() => return false,
            Socket::Tls(stream) => stream.tcp().poll_read_ready(&mut cx),
            Socket::Unix(stream) => stream.poll_read_ready(&mut cx),
        };
        if ready.is_pending() {
            return true;
        }
        let mut byte = [std::mem::MaybeUninit::<u8>::uninit()];
        let peeked = match self {
            Socket::Tcp(stream) => socket2::SockRef::from(stream).peek(&mut byte),
            Socket::Tls(stream) => socket2::SockRef::from(stream.tcp()).peek(&mut byte),
            Socket::Unix(stream) => socket2::SockRef::from(stream).peek(&mut byte),
        };
        matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Takes the stream off this runtime.
    pub fn park(self) -> io::Result<Parked> {
        Ok(match self {
            Socket::Tcp(stream) => Parked::Tcp(stream.into_std()?),
            Socket::Tls(stream) => Parked::Tls(Box::new(stream.park()?)),
            Socket::Unix(stream) => Parked::Unix(stream.into_std()?),
        })
    }
}

impl Parked {
    /// Registers the stream with the current runtime.
    pub fn resume(self) -> io::Result<Socket> {
        Ok(match self {
            Parked::Tcp(stream) => Socket::Tcp(TcpStream::from_std(stream)?),
            Parked::Tls(stream) => Socket::Tls(Box::new(stream.resume()?)),
            Parked::Unix(stream) => Socket::Unix(UnixStream::from_std(stream)?),
        })
    }

    /// Whether the peer closed it or sent something while nobody listened.
    pub fn is_stale(&self) -> bool {
        let mut byte = [std::mem::MaybeUninit::<u8>::uninit()];
        let peeked = match self {
            Parked::Tcp(stream) => socket2::SockRef::from(stream).peek(&mut byte),
            Parked::Tls(stream) if stream.unsettled => return true,
            Parked::Tls(stream) => socket2::SockRef::from(&stream.io).peek(&mut byte),
            Parked::Unix(stream) => socket2::SockRef::from(stream).peek(&mut byte),
        };
        !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Socket::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
            Socket::Tcp(_) | Socket::Unix(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
