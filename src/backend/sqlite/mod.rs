//! An embedded SQLite file behind the PostgreSQL door.
//!
//! An [`Engine`] is one database, shared by all sessions; a [`Link`] is one
//! connection to it, on a thread of its own. Statements come in the client's
//! words and are translated (`translate`), prepared under an authorizer that
//! notes everything they touch (`guard`), and run row by row through a bounded
//! channel (`thread`), so that a slow client holds up its own thread and no
//! memory. Rows changed are counted in hooks (`tally`).
//!
//! Deliberately not here: wire formats, policies, transaction rules of
//! PostgreSQL (all in `gate::served`).
//!
//! Read [`Engine::connect`] and then `thread::serve`.

mod catalog;
mod engine;
mod error;
mod functions;
mod guard;
mod infer;
pub mod sample;
mod tally;
mod thread;
pub mod token;
mod translate;
pub mod types;
mod watch;

pub use engine::{Engine, Identity, Link, Options};
pub use error::Error;
pub use functions::SERVER_VERSION;
pub use guard::{Reach, Touch};
pub use tally::Changes;
pub use thread::{Control, Described, Done, Event, Order, Scan};
pub use watch::Canceller;

#[cfg(test)]
mod tests;
