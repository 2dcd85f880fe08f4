//! What the chapters share.
//!
//! Deliberately not here: assertions about the gate. A helper that fails says
//! which set-up step failed; what an answer must look like stands in the tests.

pub mod answer;
pub mod certificates;
pub mod cluster;
pub mod component;
pub mod database;
pub mod differential;
pub mod gate;
pub mod languages;
pub mod postgres;
pub mod programs;
pub mod proxy;
pub mod raw;
pub mod script;
pub mod source;
pub mod tapped;
pub mod wire;
