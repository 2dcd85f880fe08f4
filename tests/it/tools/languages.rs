//! The example policy in WebAssembly text: built as its README says, and judged
//! in a gate. Those with an interpreter are in `interpreted`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::author::text;
use crate::support::database::fresh_database;
use crate::support::gate::Gate;

pub(super) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples/policies")
        .join(name)
}

pub(super) fn plugin(home: &Path, words: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .arg("plugin")
        .args(words)
        .env("XDG_CACHE_HOME", home)
        .output()
        .expect("it starts");
    let said = text(&output.stdout) + &text(&output.stderr);
    (output.status.success(), said)
}

/// Packages it, which runs its golden cases, and prints what a verdict costs.
fn packaged(module: &Path, manifest: &Path, out: &Path) -> Result<(), String> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR"));
    packaged_in(home, module, manifest, out)
}

/// The same, with compiled code below `home`.
pub(super) fn packaged_in(
    home: &Path,
    module: &Path,
    manifest: &Path,
    out: &Path,
) -> Result<(), String> {
    let [module, manifest, out] = [module, manifest, out].map(|path| path.to_str().expect("UTF-8"));
    let (good, said) = plugin(
        home,
        &["package", module, "--manifest", manifest, "--out", out],
    );
    if !good {
        return Err(said);
    }
    let (good, cost) = plugin(home, &["bench", out]);
    assert!(good, "{cost}");
    println!("{cost}");
    Ok(())
}

#[test]
fn webassembly_text_judges_in_a_gate() {
    let (folder, example) = (tempfile::tempdir().expect("a folder"), example("wat"));
    let component = folder.path().join("hello-wat.wasm");
    packaged(
        &example.join("policy.wat"),
        &example.join("policy.toml"),
        &component,
    )
    .expect("it is a policy");
    let Some(database) = fresh_database() else {
        return;
    };
    let rules = format!("[[policy]]\nname = \"hello\"\nplugin = {component:?}\n");
    let gate = Gate::start(&database, &rules);
    let mut client = gate.connect();
    let answers = client.run("Q CREATE TABLE t (id int)");
    let error = answers.iter().find(|answer| answer.tag == b'E');
    assert_eq!(error.expect("a refusal").field(b'n'), "hello/schema");
    assert_eq!(client.value("SELECT 1"), "1");
}

#[test]
fn package_says_where_a_text_is_wrong_and_what_a_module_lacks() {
    let (folder, manifest) = (
        tempfile::tempdir().expect("a folder"),
        example("wat").join("policy.toml"),
    );
    let out = folder.path().join("out.wasm");
    let good = std::fs::read_to_string(example("wat").join("policy.wat")).expect("the example");
    for (wrong, says) in [
        ("(module\n  (fnc))".to_owned(), "bad.wat:2"),
        ("(module)".to_owned(), "configure"),
        (good.replace("\"intern\"", "\"bring\""), "bring"),
        // It lets a schema change pass: its own cases fail.
        (
            good.replace("(i64.const 4)", "(i64.const 0)"),
            "golden case",
        ),
    ] {
        let file = folder.path().join("bad.wat");
        std::fs::write(&file, &wrong).expect("written");
        let said = packaged(&file, &manifest, &out).expect_err(says);
        assert!(said.contains(says), "{says}: {said}");
        assert!(!out.exists(), "{says}");
    }
}
