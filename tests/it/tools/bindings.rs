//! The generated side of the SDK is what the generator makes of `wit/`.
//!
//! It is kept in the repository so that a policy compiles without the generator
//! and its forty crates.

use std::fs;

use wit_bindgen_core::{Files, WorldGenerator as _};
use wit_bindgen_rust::Opts;
use wit_parser::Resolve;

use crate::support::source;

const WORLDS: &[&str] = &["simple", "with-connection", "with-plan", "with-events"];

fn generated(world: &str) -> String {
    let module = world.replace('-', "_");
    let mut resolve = Resolve::default();
    let path = source::root().join("wit/policy.wit");
    let text = fs::read_to_string(&path).expect("wit/policy.wit");
    let package = resolve
        .push_str("policy.wit", &text)
        .expect("the interface");
    let id = resolve
        .select_world(&[package], Some(world))
        .expect("the world");
    let mut files = Files::default();
    let options = Opts {
        format: true,
        generate_all: true,
        pub_export_macro: true,
        export_macro_name: Some(format!("export_{module}")),
        default_bindings_module: Some(format!("::portcullis_sdk::bindings::{module}")),
        ..Opts::default()
    };
    options
        .build()
        .generate(&mut resolve, id, &mut files)
        .expect("bindings");
    let (_, bytes) = files.iter().next().expect("one file");
    String::from_utf8(bytes.to_vec()).expect("Rust is UTF-8")
}

#[test]
fn the_bindings_of_the_sdk_are_fresh() {
    let update = std::env::var_os("UPDATE_DOCS").is_some();
    for world in WORLDS {
        let name = format!("sdk/src/bindings/{}.in", world.replace('-', "_"));
        let path = source::root().join(&name);
        let text = generated(world);
        if update {
            fs::write(&path, text).expect("written");
            continue;
        }
        let there = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            there == text,
            "{name} is stale: UPDATE_DOCS=1 cargo test --test it bindings"
        );
    }
}
