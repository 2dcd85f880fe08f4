//! The composition root: builds everything, gives each part what it needs, stops it in order.
//!
//! Deliberately not here: any decision about a statement, any byte of a protocol.
//!
//! Read [`shutdown::Shutdown`] first.

pub mod reload;
pub mod shutdown;

pub use shutdown::{Phase, Shutdown};
