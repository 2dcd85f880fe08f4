//! Both ends of a connection, for people who look at a list of them.

use std::net::SocketAddr;

use super::Socket;

/// Both ends, and what is between.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ends {
    /// The other end; none for Unix sockets.
    pub peer: Option<SocketAddr>,
    /// This end; none for Unix sockets.
    pub local: Option<SocketAddr>,
    /// Version and cipher; none in the clear.
    pub tls: Option<String>,
}

impl Socket {
    /// Both ends, as the system knows them.
    pub fn ends(&self) -> Ends {
        let (stream, tls) = match self {
            Socket::Tcp(stream) => (stream, None),
            Socket::Tls(stream) => (stream.tcp(), stream.description()),
            Socket::Unix(_) => return Ends::default(),
        };
        Ends {
            peer: stream.peer_addr().ok(),
            local: stream.local_addr().ok(),
            tls,
        }
    }
}
