//! Generated from `wit/`: the imports, and one export macro per world.
//!
//! A world of its own for each optional hook, because a component must export
//! exactly what it says, and the gate finds out by looking what a policy has.

#![allow(missing_docs, reason = "generated")]

pub mod simple {
    wit_bindgen::generate!({
        path: "../wit",
        world: "simple",
        pub_export_macro: true,
        default_bindings_module: "::portcullis_sdk::bindings::simple",
        export_macro_name: "export_simple",
        generate_all,
    });
}

pub mod with_connection {
    wit_bindgen::generate!({
        path: "../wit",
        world: "with-connection",
        pub_export_macro: true,
        default_bindings_module: "::portcullis_sdk::bindings::with_connection",
        export_macro_name: "export_with_connection",
        generate_all,
    });
}

pub mod with_plan {
    wit_bindgen::generate!({
        path: "../wit",
        world: "with-plan",
        pub_export_macro: true,
        default_bindings_module: "::portcullis_sdk::bindings::with_plan",
        export_macro_name: "export_with_plan",
        generate_all,
    });
}

pub mod with_events {
    wit_bindgen::generate!({
        path: "../wit",
        world: "with-events",
        pub_export_macro: true,
        default_bindings_module: "::portcullis_sdk::bindings::with_events",
        export_macro_name: "export_with_events",
        generate_all,
    });
}
