//! Decide: policies are asked, their answers folded, remembered, and turned into a permit.
//!
//! Deliberately not here: enforcement. A verdict is data; `safety` and `gate`
//! carry out what it requires. Without the feature `gate` only the questions,
//! the folding and the native host compile: what an author's tests need.
//!
//! Read [`ask::Ask`] first, the policy interface as one struct; then
//! [`Judge::decide`], the path every statement takes.

pub mod answer;
pub mod ask;
mod ask_shape;
mod ask_values;
pub mod cases;
pub mod chain;
mod disguise;
pub mod event;
pub mod fault;
pub mod manifest;
pub mod native;
pub mod read;
pub mod setup;
pub mod subject;
mod values;
mod windows;

#[cfg(feature = "gate")]
mod answering;
#[cfg(feature = "gate")]
mod aside;
#[cfg(feature = "gate")]
mod asking;
#[cfg(feature = "gate")]
pub mod builtin;
#[cfg(feature = "gate")]
mod hooks;
#[cfg(feature = "gate")]
mod judge;
#[cfg(feature = "gate")]
mod keeper;
#[cfg(feature = "gate")]
pub mod live;
#[cfg(feature = "gate")]
mod load;
#[cfg(feature = "gate")]
mod loading;
#[cfg(feature = "gate")]
mod log_lines;
#[cfg(feature = "gate")]
mod memo;
#[cfg(feature = "gate")]
mod observers;
#[cfg(feature = "gate")]
mod permit;
#[cfg(feature = "gate")]
mod quarantine;
#[cfg(feature = "gate")]
mod rules;
#[cfg(feature = "gate")]
mod set;
#[cfg(feature = "gate")]
pub mod signature;
#[cfg(all(test, feature = "gate"))]
mod tests;
#[cfg(feature = "gate")]
pub mod trial;
#[cfg(feature = "gate")]
mod version;
#[cfg(feature = "gate")]
pub mod wasm;

pub use ask::{Ask, Judged, RelationView};
pub use disguise::missing_relation;
pub use event::Observed;
pub use fault::{Fault, FaultKind};
pub use manifest::Manifest;
pub use native::NativeHost;
pub use read::{Read, ReadClass, Reads};
pub use setup::{Registry, Setup};
pub use subject::{PlanInput, Subject, Values, View};

#[cfg(feature = "gate")]
pub use aside::{Brought, Later};
#[cfg(feature = "gate")]
pub use hooks::{HookAnswer, Passed};
#[cfg(feature = "gate")]
pub use judge::{Asked, Judge, Stats};
#[cfg(feature = "gate")]
pub use load::{LoadError, Policies, ReloadReport};
#[cfg(feature = "gate")]
pub use permit::{Outcome, Permit, Refused, Responded};
#[cfg(feature = "gate")]
pub use set::{Member, PolicySet};
#[cfg(feature = "gate")]
pub use version::Version;
