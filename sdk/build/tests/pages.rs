//! The generated pages are the ones in the repository.
#![cfg(feature = "component")]

use std::path::Path;

#[test]
fn the_pages_of_the_policies_are_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let pages = portcullis_build::page::all(&root.join("plugins")).expect("policy.toml files");
    assert!(pages.len() >= 5, "{} policies", pages.len());
    for (name, text) in pages {
        let path = root.join("docs/policies").join(format!("{name}.md"));
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            there == text,
            "{} is stale: run `cargo xtask docs`",
            path.display()
        );
    }
}
