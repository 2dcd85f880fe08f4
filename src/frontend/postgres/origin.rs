//! Where a connection really comes from, when a balancer stands before the door.

use std::net::IpAddr;

use tokio::io::AsyncReadExt;

use super::{Door, Error, enter};
use crate::config::networks;
use crate::model::UserMessage;
use crate::net::Socket;
use crate::wire::proxy;

/// Where the client is: what the balancer says, if it is one that is trusted,
/// else the other end of the connection. Reads no byte too many, for a
/// handshake may follow at once.
pub(super) async fn origin(door: &Door, stream: &mut Socket) -> Result<Option<IpAddr>, Error> {
    let peer = stream.peer();
    if !peer.is_some_and(|peer| networks::contains(&door.gates.balancers, peer)) {
        return Ok(peer);
    }
    match header(stream).await? {
        Ok(said) => Ok(said.or(peer)),
        Err(error) => {
            let message = UserMessage::fatal("08P01", error.to_string()).hint(
                "Configure the balancer to send PROXY protocol version 2 to this address, and \
                 connect to it through the balancer.",
            );
            Err(enter::refuse(stream, message).await)
        }
    }
}

/// The header of the connection. The time is bounded by the login's.
async fn header(stream: &mut Socket) -> Result<Result<Option<IpAddr>, proxy::Error>, Error> {
    let mut fixed = [0; proxy::HEAD];
    let mut filled = 0;
    while filled < fixed.len() {
        let count = stream.read(&mut fixed[filled..]).await?;
        if count == 0 {
            return Err(Error::Io(std::io::ErrorKind::UnexpectedEof.into()));
        }
        filled += count;
        // A client that waits for an answer would otherwise wait for ever.
        if let Err(error) = proxy::begins(&fixed[..filled]) {
            return Ok(Err(error));
        }
    }
    let head = match proxy::head(&fixed) {
        Ok(head) => head,
        Err(error) => return Ok(Err(error)),
    };
    let mut body = vec![0; head.body];
    stream.read_exact(&mut body).await?;
    Ok(proxy::source(head, &body))
}
