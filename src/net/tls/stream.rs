//! An encrypted stream, without a runtime of its own so that it can be parked.

use std::io::{self, BufRead as _, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::Connection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::{Error, certificate};

/// A stream after its handshake.
///
/// What was written and did not fit the socket goes out before more is taken,
/// on flush, and whenever somebody reads: who writes a request and waits for the
/// answer need not flush.
#[derive(Debug)]
pub struct TlsStream<IO> {
    io: IO,
    session: Connection,
    /// The peer sends nothing more.
    ended: bool,
    /// We have said that we send nothing more.
    closing: bool,
}

/// A stream taken off its runtime.
#[derive(Debug)]
pub struct ParkedTls {
    pub(in crate::net) io: std::net::TcpStream,
    session: Connection,
    /// Something was left to read or to write.
    pub(in crate::net) unsettled: bool,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> TlsStream<IO> {
    /// Carries the handshake through; `first` was read before.
    pub(super) async fn handshake(
        io: IO,
        session: Connection,
        mut first: &[u8],
    ) -> Result<Self, Error> {
        let mut stream = TlsStream {
            io,
            session,
            ended: false,
            closing: false,
        };
        while !first.is_empty() {
            stream.session.read_tls(&mut first).map_err(Error::Io)?;
            let taken = stream.session.process_new_packets();
            stream.agreed(taken.map(|_| ())).await?;
        }
        loop {
            let flushed = std::future::poll_fn(|cx| stream.poll_drain(cx)).await;
            flushed.map_err(Error::Io)?;
            if !stream.session.is_handshaking() {
                return Ok(stream);
            }
            let read = std::future::poll_fn(|cx| stream.poll_fill(cx)).await;
            if read.map_err(Error::Io)? == 0 {
                return Err(Error::Io(io::ErrorKind::UnexpectedEof.into()));
            }
            let taken = stream.session.process_new_packets();
            stream.agreed(taken.map(|_| ())).await?;
        }
    }

    /// A disagreement is told to the peer, as far as it still listens.
    async fn agreed(&mut self, result: Result<(), rustls::Error>) -> Result<(), Error> {
        if let Err(error) = result {
            let _ = std::future::poll_fn(|cx| self.poll_drain(cx)).await;
            return Err(Error::Handshake(error));
        }
        Ok(())
    }

    /// Writes what is encrypted and waits.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            let written = self.session.write_tls(&mut Adapter {
                io: &mut self.io,
                cx,
            });
            match written {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Reads what the socket has; 0 at its end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let read = self.session.read_tls(&mut Adapter {
            io: &mut self.io,
            cx,
        });
        match read {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            read => Poll::Ready(read),
        }
    }
}

impl<IO> TlsStream<IO> {
    /// The protocol agreed on.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.session.alpn_protocol()
    }

    /// Whether the peer has shown a certificate.
    pub fn has_peer_certificate(&self) -> bool {
        self.session
            .peer_certificates()
            .is_some_and(|chain| !chain.is_empty())
    }

    /// Common name of the peer's certificate.
    pub fn peer_common_name(&self) -> Option<String> {
        certificate::common_name(self.session.peer_certificates()?.first()?)
    }

    /// What binds a login to the peer's certificate.
    pub fn peer_end_point(&self) -> Option<Vec<u8>> {
        certificate::tls_server_end_point(self.session.peer_certificates()?.first()?)
    }

    /// Version and cipher as agreed, such as `TLSv1.3/TLS13_AES_256_GCM_SHA384`.
    pub fn description(&self) -> Option<String> {
        let version = format!("{:?}", self.session.protocol_version()?).replace("v1_", "v1.");
        let suite = self.session.negotiated_cipher_suite()?.suite();
        Some(format!("{version}/{suite:?}"))
    }

    /// Whether nothing is left to read, to write or to say. Text that is here
    /// already and was not read came unasked: not for the next owner.
    pub fn is_settled(&self) -> bool {
        // rustls wants to read only when all that came was taken, and no farewell among it.
        let nothing_here = self.session.wants_read() && !self.session.wants_write();
        nothing_here && !self.ended && !self.closing
    }

    /// The host that a client asked for.
    pub fn server_name(&self) -> Option<&str> {
        match &self.session {
            Connection::Server(session) => session.server_name(),
            Connection::Client(_) => None,
        }
    }
}

impl TlsStream<TcpStream> {
    /// The stream underneath.
    pub fn tcp(&self) -> &TcpStream {
        &self.io
    }

    /// Takes the stream off this runtime.
    pub fn park(self) -> io::Result<ParkedTls> {
        let unsettled = !self.is_settled();
        Ok(ParkedTls {
            io: self.io.into_std()?,
            session: self.session,
            unsettled,
        })
    }
}

impl ParkedTls {
    /// Registers the stream with the current runtime.
    pub fn resume(self) -> io::Result<TlsStream<TcpStream>> {
        Ok(TlsStream {
            io: TcpStream::from_std(self.io)?,
            session: self.session,
            ended: false,
            closing: false,
        })
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.session.wants_write() {
            // A peer that takes nothing more may still have said why.
            let _ = this.poll_drain(cx);
        }
        loop {
            let mut reader = this.session.reader();
            match reader.fill_buf() {
                Ok(text) => {
                    let count = text.len().min(buf.remaining());
                    buf.put_slice(&text[..count]);
                    reader.consume(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // No farewell: messages have their own length, nothing can be cut off unseen.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Poll::Ready(Ok(()));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
            if this.ended {
                return Poll::Ready(Ok(()));
            }
            this.ended = ready!(this.poll_fill(cx))? == 0;
            if let Err(error) = this.session.process_new_packets() {
                let _ = this.poll_drain(cx);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // Back-pressure: one load at a time waits.
        ready!(this.poll_drain(cx))?;
        let count = this.session.writer().write(bytes)?;
        match this.poll_drain(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(count)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_drain(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.closing {
            this.closing = true;
            this.session.send_close_notify();
        }
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

/// The socket as rustls wants it; not ready is `WouldBlock`.
struct Adapter<'a, 'b, IO> {
    io: &'a mut IO,
    cx: &'a mut Context<'b>,
}

fn blocking<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl<IO: AsyncRead + Unpin> Read for Adapter<'_, '_, IO> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(bytes);
        blocking(Pin::new(&mut *self.io).poll_read(self.cx, &mut buf))?;
        Ok(buf.filled().len())
    }
}

impl<IO: AsyncWrite + Unpin> Write for Adapter<'_, '_, IO> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        blocking(Pin::new(&mut *self.io).poll_write(self.cx, bytes))
    }

    fn write_vectored(&mut self, bytes: &[io::IoSlice<'_>]) -> io::Result<usize> {
        blocking(Pin::new(&mut *self.io).poll_write_vectored(self.cx, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        blocking(Pin::new(&mut *self.io).poll_flush(self.cx))
    }
}
