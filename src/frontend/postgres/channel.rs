//! What a connection proves by itself: its encryption, a certificate, the
//! system's user on the other end.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Door, Error, TurnedAway};
use crate::config::User;
use crate::model::UserMessage;
use crate::net::{Socket, unix};

/// What the connection itself proves.
pub(super) struct Channel {
    /// Address of the client; none on a Unix socket.
    pub(super) address: Option<IpAddr>,
    /// Over TLS.
    pub(super) encrypted: bool,
    /// What a login can be bound to; none in the clear.
    pub(super) end_point: Option<Arc<[u8]>>,
    /// A verified client certificate was shown.
    pub(super) certified: bool,
    common_name: Option<String>,
    /// Number of the system's user on the other end of a Unix socket.
    pub(super) system_user: Option<u32>,
}

impl Channel {
    pub(super) fn of(door: &Door, stream: &Socket, address: Option<IpAddr>) -> Channel {
        let (encrypted, server) = (stream.tls(), door.tls.as_ref());
        Channel {
            address,
            encrypted: encrypted.is_some(),
            end_point: encrypted.and(server).and_then(|server| server.end_point()),
            certified: encrypted.is_some_and(|tls| tls.has_peer_certificate()),
            common_name: encrypted.and_then(|tls| tls.peer_common_name()),
            system_user: stream.peer_user(),
        }
    }

    /// Whether the system's user on the other end may log in under this name.
    pub(super) async fn is_peer_of(&self, user: Option<&User>, name: &str) -> Result<(), Error> {
        let system = match self.system_user {
            Some(number) => unix::user_name(number).await,
            None => None,
        };
        let may = |system: &str| match user {
            Some(user) => user.is_system_user(system),
            None => system == name,
        };
        if system.as_deref().is_some_and(may) {
            return Ok(());
        }
        let message = format!("Peer authentication failed for user \"{name}\"");
        Err(TurnedAway::new(UserMessage::fatal("28000", message)).into())
    }

    /// Whether the certificate is for this name; if not, what to say.
    pub(super) fn is_certified_as(&self, wanted: &str, user: &str) -> Result<(), Error> {
        if !self.certified {
            let message = "connection requires a valid client certificate";
            return Err(TurnedAway::new(UserMessage::fatal("28000", message)).into());
        }
        if self.common_name.as_deref() == Some(wanted) {
            return Ok(());
        }
        let message = UserMessage::fatal(
            "28000",
            format!("certificate authentication failed for user \"{user}\""),
        );
        let message = match &self.common_name {
            Some(name) => message.detail(format!("The certificate shown is for \"{name}\".")),
            None => message.detail("No certificate with a common name was shown."),
        };
        Err(TurnedAway::new(message).into())
    }
}
