//! A changed file takes effect completely, or not at all.
//!
//! Deliberately not here: what a configuration means, how policies are
//! compiled. Read [`watch::Watch::start`] first.

pub mod watch;

pub use watch::{Trigger, Watch};
