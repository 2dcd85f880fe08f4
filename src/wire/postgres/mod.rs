//! PostgreSQL's protocol, version 3 (PostgreSQL documentation, chapter 55).
//!
//! Deliberately not here: sockets and sessions.
//!
//! Read [`frame::peek`] first.

pub mod encode;
pub mod frame;
pub mod message;
pub mod options;
pub mod places;
pub mod report;
pub mod startup;

/// What is wrong with bytes that should be a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The length field is below its minimum or above the limit.
    #[error("invalid message length {length} for message type {tag:?}")]
    Length {
        /// Type byte.
        tag: char,
        /// The length field.
        length: i64,
    },
    /// The body ends early, has bytes left over, or misses a terminator.
    #[error("malformed message of type {0:?}")]
    Malformed(char),
    /// Text that is not UTF-8.
    #[error("message of type {0:?} holds text that is not valid UTF-8")]
    Encoding(char),
}
