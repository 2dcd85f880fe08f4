//! Decide: policies are asked, their answers folded, remembered, and turned into a permit.
//!
//! Deliberately not here: enforcement. A verdict is data; `safety` and `gate`
//! carry out what it requires. Without the feature `gate` only the questions,
//! the folding and the native host compile: what an author's tests need.
//!
//! Read [`ask::Ask`] first: it is the policy interface as one struct.

pub mod answer;
pub mod ask;
mod disguise;
pub mod fault;
pub mod native;
pub mod read;
pub mod setup;
pub mod subject;
mod values;
mod windows;

pub use ask::{Ask, Judged, RelationView};
pub use fault::{Fault, FaultKind};
pub use native::NativeHost;
pub use read::{Read, ReadClass, Reads};
pub use setup::{Registry, Setup};
pub use subject::{PlanInput, Subject, Values, View};
