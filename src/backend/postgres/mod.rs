//! PostgreSQL servers: links (connections that carry clients' statements),
//! the pool that bounds them, and the catalog.
//!
//! Deliberately not here: clients, policies, and what a statement may do.
//!
//! Read [`pool::LinkPool::take`] first.

pub mod catalog;
pub mod choose;
pub mod dial;
pub mod directory;
pub mod hosts;
pub mod link;
pub mod login;
mod path;
pub mod pool;
mod proving;
pub mod rights;

use crate::wire::postgres::report::Report;

/// Why a link cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server cannot be reached.
    #[error("cannot connect to the database server")]
    Connect(#[source] std::io::Error),
    /// The server went away.
    #[error("the connection to the database server ended")]
    Io(#[source] std::io::Error),
    /// The server refused the login; its own words.
    #[error("the database server refused the login: {}", .0.message)]
    Refused(Box<Report>),
    /// The server said something that is not in the protocol.
    #[error("the database server broke the protocol: {0}")]
    Protocol(String),
    /// The server wants a way of authentication that is not supported or not configured.
    #[error("the database server asks for {0}")]
    Authentication(&'static str),
    /// The server cannot be spoken to in private.
    #[error("the connection to the database server cannot be encrypted: {0}")]
    Tls(#[source] crate::net::tls::Error),
    /// The server offers no TLS, and `sslmode` wants it.
    #[error("the database server offers no encryption, and the configuration demands it")]
    NotEncrypted,
    /// None of the servers that can be reached plays the part that is wanted.
    #[error("no database server that can be reached is what target_session_attrs={0} wants")]
    Unwanted(&'static str),
    /// Something was waited for in vain.
    #[error("a cancel request did not come to its end in time")]
    Exhausted,
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Error {
        Error::Io(error)
    }
}

impl From<crate::wire::postgres::Error> for Error {
    fn from(error: crate::wire::postgres::Error) -> Error {
        Error::Protocol(error.to_string())
    }
}
