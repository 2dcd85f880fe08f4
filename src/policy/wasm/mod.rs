//! Policies as WebAssembly components. The only folder that names wasmtime.
//!
//! Deliberately not here: what a policy may ask (`ask`), what its answers mean
//! (`chain`), when they are remembered (`memo`), and on which thread a call runs
//! (`aside`). No WASI for ordinary policies: a component that imports anything
//! but the policy interface does not load there. On the second engine it finds
//! a world with nothing in it (`wasi`).
//!
//! Read [`Engine::compile`] first, then [`Instance::call`].

mod bindings;
mod bounds;
mod component;
mod engine;
mod instance;
mod state;
mod ticker;
mod wasi;

pub use bounds::COMPONENT_BYTES_MAX;
#[cfg(test)]
pub(super) use component::KNOWN;
pub use component::{Program, Refused};
pub use engine::{Engine, Engines};
pub use instance::{Hook, Instance, Issue, Limits, StartError};
