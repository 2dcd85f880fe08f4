//! One connection: lines of JSON, and sockets that travel with them.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use super::Error;

/// Longest line that is read.
const LINE_BYTES_MAX: usize = 256 << 10;

/// Most sockets that one message carries; the kernel's SCM_MAX_FD.
pub(super) const SOCKETS_MAX: usize = 253;

/// A connection to a gate, or from somebody who wants something of one.
#[derive(Debug)]
pub struct Line {
    stream: UnixStream,
    /// What was read behind the last line.
    inbox: Vec<u8>,
}

impl Line {
    pub(super) fn new(stream: UnixStream) -> Line {
        Line {
            stream,
            inbox: Vec::new(),
        }
    }

    /// Sends a line.
    pub async fn send(&mut self, message: &impl Serialize) -> Result<(), Error> {
        self.stream.write_all(&line(message)?).await?;
        Ok(())
    }

    /// Reads a line. What is no line of this kind is an error, and so is one
    /// that never ends; how long it may take is the caller's business.
    pub async fn receive<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(message);
            }
            // Sockets that nobody asked for are closed by the kernel.
            if self.stream.read_buf(&mut self.inbox).await? == 0 {
                return Err(Error::Closed);
            }
        }
    }

    /// Sends a line, and with its first byte copies of these sockets.
    pub async fn send_sockets(
        &mut self,
        message: &impl Serialize,
        sockets: &[BorrowedFd<'_>],
    ) -> Result<(), Error> {
        let line = line(message)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
        let stream = &self.stream;
        let sent = stream
            .async_io(Interest::WRITABLE, || {
                let mut ancillary = SendAncillaryBuffer::new(&mut space);
                let rights = SendAncillaryMessage::ScmRights(sockets);
                if !sockets.is_empty() && !ancillary.push(rights) {
                    let message = format!("more than {SOCKETS_MAX} sockets cannot be passed on");
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
                }
                let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
                Ok(sendmsg(
                    stream,
                    &[IoSlice::new(&line)],
                    &mut ancillary,
                    flags,
                )?)
            })
            .await?;
        self.stream.write_all(&line[sent..]).await?;
        Ok(())
    }

    /// Reads a line, and all sockets that came with it.
    pub async fn receive_sockets<T: DeserializeOwned>(
        &mut self,
    ) -> Result<(T, Vec<OwnedFd>), Error> {
        let mut sockets = Vec::new();
        loop {
            if let Some(message) = self.take()? {
                return Ok((message, sockets));
            }
            let mut piece = [0; 4096];
            let stream = &self.stream;
            let (length, came) = stream
                .async_io(Interest::READABLE, || receive_once(stream, &mut piece))
                .await?;
            sockets.extend(came);
            if length == 0 {
                return Err(Error::Closed);
            }
            self.inbox.extend_from_slice(&piece[..length]);
        }
    }

    /// The next line, if it is there.
    fn take<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        let Some(end) = memchr::memchr(b'\n', &self.inbox) else {
            return if self.inbox.len() > LINE_BYTES_MAX {
                Err(Error::Protocol("a line that does not end".to_owned()))
            } else {
                Ok(None)
            };
        };
        let message = serde_json::from_slice(&self.inbox[..end]);
        self.inbox.drain(..=end);
        message
            .map(Some)
            .map_err(|error| Error::Protocol(error.to_string()))
    }
}

fn line(message: &impl Serialize) -> Result<Vec<u8>, Error> {
    let mut line =
        serde_json::to_vec(message).map_err(|error| Error::Protocol(error.to_string()))?;
    line.push(b'\n');
    Ok(line)
}

/// One look: bytes, and the sockets that came with them.
fn receive_once(stream: &UnixStream, piece: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    // Closed in children from the first moment: nobody else may inherit a door.
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = recvmsg(stream, &mut [IoSliceMut::new(piece)], &mut ancillary, flags)?;
    let mut sockets = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            sockets.extend(rights);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        let message = "more sockets came than can be held";
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok((received.bytes, sockets))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn pair() -> (Line, Line) {
        let (one, other) = UnixStream::pair().unwrap();
        (Line::new(one), Line::new(other))
    }

    #[tokio::test]
    async fn sockets_travel_with_their_line() {
        let (mut one, mut other) = pair();
        let first = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let second = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let long = "x".repeat(10_000);
        let both = [first.as_fd(), second.as_fd()];
        let sending = one.send_sockets(&long, &both);
        let (sent, received) = tokio::join!(sending, other.receive_sockets::<String>());
        sent.unwrap();
        let (text, sockets) = received.unwrap();
        assert_eq!(text, long);
        let addresses: Vec<_> = sockets
            .into_iter()
            .map(|socket| std::net::TcpListener::from(socket).local_addr().unwrap())
            .collect();
        let wanted = [first.local_addr().unwrap(), second.local_addr().unwrap()];
        assert_eq!(addresses, wanted);
    }

    #[tokio::test]
    async fn sockets_that_nobody_asked_for_are_closed() {
        let (mut one, mut other) = pair();
        let (watched, passed) = std::os::unix::net::UnixStream::pair().unwrap();
        one.send_sockets(&"take it", &[passed.as_fd()])
            .await
            .unwrap();
        drop(passed);
        assert_eq!(other.receive::<String>().await.unwrap(), "take it");
        let mut byte = [0];
        let read = std::io::Read::read(&mut &watched, &mut byte).unwrap();
        assert_eq!(read, 0, "the other end is closed");
    }

    #[tokio::test]
    async fn lines_are_read_one_by_one_and_never_without_end() {
        let (mut one, mut other) = pair();
        one.send(&1).await.unwrap();
        one.send(&"two").await.unwrap();
        assert_eq!(other.receive::<u8>().await.unwrap(), 1);
        assert_eq!(other.receive::<String>().await.unwrap(), "two");
        one.stream.write_all(b"{\n").await.unwrap();
        let wrong = other.receive::<u8>().await.unwrap_err();
        assert!(matches!(wrong, Error::Protocol(_)), "{wrong}");
        let endless = tokio::spawn(async move {
            // It fails when the other side hangs up.
            while one.stream.write_all(&[b' '; 4096]).await.is_ok() {}
        });
        let wrong = other.receive::<u8>().await.unwrap_err();
        assert!(matches!(wrong, Error::Protocol(_)), "{wrong}");
        drop(other);
        endless.await.unwrap();
    }
}
