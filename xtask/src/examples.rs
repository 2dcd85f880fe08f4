//! The example policies, as their readers use them: tested natively, built to a
//! component, and loaded by the gate, which runs the golden cases once more.
//!
//! They are no members of the workspace, so nothing else would notice that one
//! of them does not compile any more.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{policy, process};

/// Tests all of them; the gate's own tests must have been compiled.
pub fn run() -> Result<(), String> {
    let made = process::target_dir().join("policies/examples");
    fs::create_dir_all(&made).map_err(|error| format!("{}: {error}", made.display()))?;
    let made = std::path::absolute(&made).map_err(|error| error.to_string())?;
    let mut rules = String::new();
    for folder in folders()? {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        same_versions(&folder)?;
        natively(&folder)?;
        let component = made.join(format!("{name}.wasm"));
        policy::build(&folder, &component)?;
        rules.push_str(&format!(
            "[[policy]]\nname = \"{name}\"\nplugin = {:?}\n\n",
            component.display().to_string()
        ));
    }
    load(&made, &rules)
}

fn folders() -> Result<Vec<PathBuf>, String> {
    let folder = process::root().join("examples/policies");
    let wrong = |error| format!("{}: {error}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        // Those in other languages are built by the integration tests.
        if path.join("Cargo.toml").is_file() {
            found.push(path);
        }
    }
    found.sort();
    if found.is_empty() {
        return Err(format!("{} holds no policy", folder.display()));
    }
    Ok(found)
}

/// A first lock file with the versions of the workspace, so that nothing new is downloaded.
fn same_versions(folder: &Path) -> Result<(), String> {
    let lock = folder.join("Cargo.lock");
    if lock.is_file() {
        return Ok(());
    }
    let copied = fs::copy(process::root().join("Cargo.lock"), &lock);
    copied
        .map(drop)
        .map_err(|error| format!("{}: {error}", lock.display()))
}

fn natively(folder: &Path) -> Result<(), String> {
    let mut command = process::cargo();
    command
        .args(["test", "--quiet", "--lib", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(process::target_dir().join("policies/native"));
    println!("> {}", process::show(&command));
    process::run(&mut command)
}

/// A component that fails one of its own cases does not load.
fn load(made: &Path, rules: &str) -> Result<(), String> {
    let file = made.join("examples.toml");
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n\n\
         [[database]]\nname = \"app\"\nbackend = \"sqlite::memory:\"\n\n\
         [[user]]\nname = \"app\"\nauth = \"trust\"\n\n{rules}"
    );
    fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    let gate = process::target_dir().join("debug/portcullis");
    if !gate.is_file() {
        return Err(format!(
            "{} is not there; run the part `compile` first",
            gate.display()
        ));
    }
    let mut command = std::process::Command::new(gate);
    process::run(command.arg("check").arg(file))
}
