//! Bytes from and to sockets, as many as go at once.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// Room that is made for a read.
pub(super) const READ_SIZE: usize = 16 * 1024;

/// Reads once; 0 at the end.
pub(super) fn poll_read<R: AsyncRead + Unpin>(
    from: &mut R,
    into: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    if into.capacity() - into.len() < READ_SIZE / 4 {
        into.reserve(READ_SIZE);
    }
    // read_buf is cancel safe: dropping the future loses nothing.
    pin!(from.read_buf(into)).poll(cx)
}

/// Writes until there is nothing left or the socket takes no more; true when it took any.
pub(super) fn poll_write<W: AsyncWrite + Unpin>(
    to: &mut W,
    from: &mut BytesMut,
    cx: &mut Context<'_>,
) -> io::Result<bool> {
    let mut progress = false;
    while !from.is_empty() {
        match Pin::new(&mut *to).poll_write(cx, from) {
            Poll::Pending => break,
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(n)) => {
                from.advance(n);
                progress = true;
            }
            Poll::Ready(Err(error)) => return Err(error),
        }
    }
    Ok(progress)
}
