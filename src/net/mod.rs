//! Sockets: one type for the kinds the gate speaks over, and listening.
//!
//! Deliberately not here: protocols. What a connection says is the business of
//! `frontend`; who serves it, of `app`.
//!
//! Read [`socket::Socket`] first, then [`tls::TlsStream`].

pub mod accept;
mod ends;
mod held;
pub mod passing;
pub mod socket;
pub mod tls;
pub mod unix;

pub use accept::{Acceptor, Handover};
pub use ends::Ends;
pub use held::Held;
pub use socket::Socket;
