//! One gate takes over from another while both run.
//!
//! The new one asks on the control socket of the one that serves and gets copies
//! of all its listening sockets. It builds everything first. Only when it could
//! serve at once does it say so, and only then the old one lets nobody in any
//! more and waits for its clients to leave. Until that word nothing changes for
//! the old one, whatever happens to the new one.
//!
//! Deliberately not here: what becomes of the clients that stay (`run`), and
//! their cancel requests (`neighbours`).
//!
//! Read [`take`] first, then [`give`].

pub(super) mod give;
pub(super) mod take;

use serde::{Deserialize, Serialize};

use super::manager::Tie;
use crate::net::passing::Label;

/// The command that begins it.
pub(super) const TAKEOVER: &str = "takeover";

/// What the old gate says first; as many sockets come with it as it names.
#[derive(Debug, Serialize, Deserialize)]
struct Offer {
    process: String,
    sockets: Vec<Label>,
    manager: Option<Tie>,
}

/// The word of the new gate: it could serve now.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ready {
    /// Numbers of the sockets it serves; the others it has no use for.
    taken: Vec<usize>,
}
