//! The control socket: how a program on the same machine steers a running gate.
//!
//! Each gate listens on a Unix socket of its own in its *run folder*, and the
//! name `control.sock` there leads to the one that serves. Only the user the
//! gate runs as (and root) is heard. One connection carries one request, a line
//! of JSON with a `command`, which is answered with one line; a command that
//! needs more (sockets, a second word) goes on with the same [`Line`].
//!
//! Deliberately not here: what a command does. `app` answers through
//! [`Commands`]; a new command is one more arm there.
//!
//! Read [`Commands`] first, then [`ask`] for the other side.

mod ask;
mod line;
mod message;
mod place;
mod serve;

use std::path::PathBuf;

pub use ask::{ask, ask_and_wait, connect};
pub use line::Line;
pub use message::{Answer, Reply, Request, VERSION};
pub use place::{Place, Seat};
pub use serve::{Caller, Commands, serve};

/// Why a control socket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder is not there and cannot be made, or cannot be looked at.
    #[error("the run folder {} cannot be used", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Somebody else could put a socket of their own there.
    #[error("the run folder {} must belong to the gate's own user and let nobody else write", .0.display())]
    Exposed(PathBuf),
    /// The socket cannot be made.
    #[error("cannot listen on the control socket {}", .path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nobody is there.
    #[error("no gate answers on {}", .path.display())]
    Nobody {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Somebody else is there.
    #[error("the process behind {} belongs to another user", .0.display())]
    Stranger(PathBuf),
    /// The other side hung up.
    #[error("the connection was closed")]
    Closed,
    /// The connection failed.
    #[error("the connection failed")]
    Io(#[from] std::io::Error),
    /// The other side does not speak this protocol.
    #[error("the other side does not speak this protocol: {0}")]
    Protocol(String),
    /// It took too long.
    #[error("no answer within {} seconds", .0.as_secs())]
    Slow(std::time::Duration),
    /// The gate said no.
    #[error("{0}")]
    Refused(String),
}
