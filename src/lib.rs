//! Portcullis: a programmable gate in front of a database.
//!
//! One straight line carries every statement: analyze, decide, prepare,
//! execute, verify, record. Read `gate` first; `docs/architecture.md` is the map.
//!
//! A module may use only modules on lower lines:
//!
//! ```text
//! cli → app → frontend, admin, console, control → gate → safety → policy, backend
//!     → net, telemetry, wire → config, sql → model
//! ```

pub mod config;
pub mod model;
pub mod policy;
pub mod sql;

#[cfg(feature = "gate")]
pub mod admin;
#[cfg(feature = "gate")]
pub mod app;
#[cfg(feature = "gate")]
pub mod backend;
#[cfg(feature = "gate")]
pub mod cli;
#[cfg(feature = "gate")]
pub mod console;
#[cfg(feature = "gate")]
pub mod control;
#[cfg(feature = "gate")]
pub mod frontend;
#[cfg(feature = "gate")]
pub mod gate;
#[cfg(feature = "gate")]
pub mod net;
#[cfg(feature = "gate")]
pub mod safety;
#[cfg(feature = "gate")]
pub mod telemetry;
#[cfg(feature = "gate")]
pub mod wire;
