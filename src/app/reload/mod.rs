//! A changed file takes effect completely, or not at all.
//!
//! Deliberately not here: what a configuration means, how policies are
//! compiled. Read [`watch::Watch::start`] first.

mod apply;
pub mod watch;

pub(super) use apply::{Reloading, files};
pub use watch::{Trigger, Watch};
