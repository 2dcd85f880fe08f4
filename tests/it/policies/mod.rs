//! Built-in policies that do not run by default, through a real gate.

mod column_guard;
mod read_only;
mod signature;
