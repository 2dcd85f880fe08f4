//! Made from `wit/`: the imports, and one export macro per world.
//!
//! A world of its own for each optional hook, because a component must export
//! exactly what it says, and the gate finds out by looking what a policy has.
//!
//! The text lies ready in `bindings/`, so that a policy compiles in seconds and
//! without the generator. `UPDATE_DOCS=1 cargo test --test it bindings` writes it anew.

#![allow(unsafe_code, missing_docs, clippy::all, reason = "generated")]

pub mod simple {
    include!("bindings/simple.in");
}

pub mod with_connection {
    include!("bindings/with_connection.in");
}

pub mod with_plan {
    include!("bindings/with_plan.in");
}

pub mod with_events {
    include!("bindings/with_events.in");
}
