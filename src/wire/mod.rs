//! Bytes and messages, for doors and for pools alike.
//!
//! Deliberately not here: sockets, sessions, and any decision. Frames are
//! walked by their headers; only messages that somebody must understand are
//! read.
//!
//! Read [`postgres::frame::peek`] first.

pub mod postgres;
pub mod proxy;
