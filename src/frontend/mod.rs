//! Doors: from an accepted socket to a client with an identity.
//!
//! Deliberately not here: databases and statements. A door ends where
//! `gate::Arrival` begins.
//!
//! Read [`postgres::welcome`] first.

pub mod postgres;
