//! From a policy's source to a WebAssembly component.
//!
//! Three steps, one module each: [`toolchain`] finds a compiler that has a
//! WebAssembly standard library, [`guest`] runs cargo with it, [`component`]
//! wraps the result and writes the manifest into it. The gate's build script,
//! `portcullis plugin build` and `cargo xtask setup` all come through here.
//!
//! Deliberately not here: anything that installs, and anything that runs a policy.
//!
//! Read [`guest::build`] first.

#[cfg(feature = "component")]
pub mod component;
pub mod guest;
#[cfg(feature = "component")]
pub mod page;
pub mod toolchain;
#[cfg(feature = "vendor")]
pub mod vendor;
