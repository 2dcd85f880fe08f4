//! The integration suite: one binary, so that everything links once.
//!
//! `support` holds what the tests share (a real PostgreSQL, a raw protocol
//! client, the gate as a process); each other module is one chapter of the
//! promises in `docs/architecture.md`. Read `support::raw` first: most tests are
//! a message sequence and the answer it must get.

mod builtins;
mod catalog;
mod config;
mod console;
mod crowds;
mod differential_cases;
mod differential_pipelines;
mod door;
mod drivers;
mod evasions;
mod explain;
mod faults;
mod harness;
mod hooks;
mod hosts;
mod limits;
mod live;
mod policies;
mod pooling;
mod promises;
mod refusals;
mod reload;
mod restart;
mod returned;
mod serving;
mod soak;
mod sqlite;
mod startup;
mod streaming;
mod support;
mod tidy;
mod timeouts;
mod tls;
mod tools;
mod traps;
mod under_way;
