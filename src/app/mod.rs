//! The composition root: builds everything, gives each part what it needs, stops it in order.
//!
//! Deliberately not here: any decision about a statement, any byte of a protocol.
//!
//! Read [`load_policies`] first.

pub mod errors;
mod policies;
pub mod reload;
pub mod shutdown;
pub mod workers;

pub use policies::{check_policies, diagnostics, load_policies};
pub use shutdown::{Phase, Shutdown};
