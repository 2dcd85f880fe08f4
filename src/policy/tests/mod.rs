//! Policies written as WebAssembly text, judged through the real engine.

mod faults;
mod loading;
mod modes;
mod remembering;
mod support;
