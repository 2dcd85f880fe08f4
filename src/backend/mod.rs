//! Databases: how to reach them and what they know.
//!
//! Deliberately not here: policies, requirements, clients. A link takes bytes;
//! only `gate` and `safety` may use it, and only they know of permits.
//!
//! Read [`postgres::pool::LinkPool::take`] first.

pub mod postgres;
pub mod rows;
pub mod sqlite;
