//! Policies as WebAssembly components. The only folder that names wasmtime.
//!
//! Deliberately not here: what a policy may ask (`ask`), what its answers mean
//! (`chain`), when they are remembered (`memo`). No WASI: a component that
//! imports anything but the policy interface does not load.
//!
//! Read [`Engine::compile`] first, then [`Instance::call`].

mod bindings;
mod component;
mod engine;
mod instance;
mod state;
mod ticker;

#[cfg(test)]
pub(super) use component::KNOWN;
pub use component::{COMPONENT_BYTES_MAX, Program, Refused};
pub use engine::Engine;
pub use instance::{Hook, Instance, Issue, Limits, StartError};
