//! What the chapters share.
//!
//! Deliberately not here: assertions about the gate. A helper that fails says
//! which set-up step failed; what an answer must look like stands in the tests.

pub mod source;
