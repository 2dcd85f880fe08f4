//! Sockets: one type for the kinds the gate speaks over, and listening.
//!
//! Deliberately not here: protocols. What a connection says is the business of
//! `frontend`; who serves it, of `app`.
//!
//! Read [`socket::Socket`] first.

pub mod accept;
pub mod socket;

pub use accept::{Acceptor, Handover};
pub use socket::Socket;
