//! Listening sockets that go from one gate to the gate that follows it.
//!
//! What is passed is a copy: until the follower says that it serves, nothing
//! changes for the gate that has the socket.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};

use serde::{Deserialize, Serialize};

use super::unix::Ownership;

/// A socket on which somebody listens, of any kind.
pub trait Listens: AsFd + Send + Sync {}

impl<T: AsFd + Send + Sync> Listens for T {}

/// What is told of a socket that is passed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// What listens there: `door` or `admin`.
    pub role: String,
    /// The address as it is written in the configuration.
    pub written: String,
    /// The address bound, with the port that was chosen.
    pub bound: String,
    /// Whether a file goes with it, which whoever listens last removes.
    pub file: bool,
}

/// A socket of this gate that can be passed on as long as it is listened on.
#[derive(Clone)]
pub struct Passing {
    label: Label,
    socket: Weak<dyn Listens>,
    file: Option<Ownership>,
}

impl Passing {
    /// Says how to find the socket; it stays its owner's.
    pub fn new(label: Label, socket: Weak<dyn Listens>, file: Option<Ownership>) -> Passing {
        Passing {
            label,
            socket,
            file,
        }
    }

    /// The socket, held open. None: nobody listens any more, or its file has
    /// been replaced, so that nobody can reach it.
    pub fn lend(&self) -> Option<Lent> {
        if self.file.as_ref().is_some_and(|file| !file.is_in_place()) {
            return None;
        }
        let socket = self.socket.upgrade()?;
        // Whatever happens now: what the follower may be listening on must not
        // lose its name.
        if let Some(file) = &self.file {
            file.leave_alone(true);
        }
        Some(Lent {
            label: self.label.clone(),
            socket,
            file: self.file.clone(),
        })
    }
}

/// A socket that is being passed on. If this drops before it was
/// [kept](Lent::was_taken), everything is as before.
pub struct Lent {
    label: Label,
    socket: Arc<dyn Listens>,
    file: Option<Ownership>,
}

impl Lent {
    /// What is told of it.
    pub fn label(&self) -> &Label {
        &self.label
    }

    /// The follower serves it: its file is no longer ours.
    pub fn was_taken(mut self) {
        self.file = None;
    }
}

impl AsFd for Lent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            file.leave_alone(false);
        }
    }
}

/// A socket that came from the gate before.
#[derive(Debug)]
pub struct Passed {
    /// What was told of it.
    pub label: Label,
    /// The socket.
    pub socket: OwnedFd,
}

impl Passed {
    /// Whether this is the socket for an address, as it is written or bound.
    pub fn is(&self, role: &str, address: &str) -> bool {
        let label = &self.label;
        label.role == role && (label.written == address || label.bound == address)
    }
}
