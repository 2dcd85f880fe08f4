//! Policies written as WebAssembly text, judged through the real engine.

mod aside;
#[cfg(feature = "embedded-policies")]
mod defaults;
mod faults;
mod hooks;
mod live;
mod loading;
mod modes;
mod observing;
mod registry;
mod remembering;
mod support;
mod wasi;
