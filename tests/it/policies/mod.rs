//! Built-in policies that do not run by default, and policies with a runtime of
//! their own, through a real gate.

mod column_guard;
mod interpreted;
mod read_only;
mod signature;
