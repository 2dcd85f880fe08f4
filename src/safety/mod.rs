//! What has to happen around a permitted statement: its rates are charged, its
//! plan is looked at, the rows it changes and returns are counted.
//!
//! Everything here is knowledge and arithmetic. Deliberately not here: sockets,
//! transactions, the order of messages. The session in `gate` asks what must be
//! measured, measures it on its own link, and asks whether that is too much.
//!
//! Read [`limit::plan()`] first, then [`limit::Ledger`], [`rate::Rates::charge`]
//! and [`plan::check`].

pub mod limit;
pub mod plan;
pub mod rate;
