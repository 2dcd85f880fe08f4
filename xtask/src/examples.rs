//! The example policies, as their readers use them: built to a component, and
//! loaded by the gate, which runs the golden cases once more; those in Rust are
//! tested natively first.
//!
//! They are no members of the workspace, so nothing else would notice that one
//! of them does not compile any more.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::languages::{self, Language};
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
    for (language, name) in [
        (Language::Python { wasi: false }, "python"),
        (Language::JavaScript, "javascript"),
    ] {
        let component = interpreted(language, name, &made)?;
        rules.push_str(&format!(
            "[[policy]]\nname = \"{name}\"\nplugin = {:?}\nruntime = \"interpreted\"\n\n",
            component.display().to_string()
        ));
    }
    load(&made, &rules)
}

/// Builds and packages a policy that brings its interpreter, and prints what a
/// verdict costs.
fn interpreted(language: Language, name: &str, made: &Path) -> Result<PathBuf, String> {
    let folder = process::root().join("examples/policies").join(name);
    let component = made.join(format!("{name}.wasm"));
    if !languages::is_there(language, &process::target_dir()) {
        return Err(format!(
            "there is nothing to build {name} with: run `cargo xtask setup`"
        ));
    }
    let module = languages::build(
        language,
        &folder.join(language.source()),
        &process::root().join("wit/policy.wit"),
        &process::target_dir(),
        name,
    )
    .map_err(|why| format!("{name}: {why}"))?;
    let mut package = plugin()?;
    package
        .arg("package")
        .arg(module)
        .arg("--out")
        .arg(&component);
    process::run(package.arg("--manifest").arg(folder.join("policy.toml")))?;
    process::run(plugin()?.arg("bench").arg(&component))?;
    Ok(component)
}

/// `portcullis plugin`.
fn plugin() -> Result<Command, String> {
    let mut command = gate()?;
    command.arg("plugin");
    Ok(command)
}

/// The gate, with compiled code where the integration tests find it again.
fn gate() -> Result<Command, String> {
    let gate = process::target_dir().join("debug/portcullis");
    if !gate.is_file() {
        return Err(format!(
            "{} is not there; run the part `compile` first",
            gate.display()
        ));
    }
    let caches = languages::caches(&process::target_dir());
    let caches = caches.map_err(|error| format!("a folder for compiled code: {error}"))?;
    let mut command = Command::new(gate);
    command.env("XDG_CACHE_HOME", caches);
    Ok(command)
}

fn folders() -> Result<Vec<PathBuf>, String> {
    let folder = process::root().join("examples/policies");
    let wrong = |error| format!("{}: {error}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        // Those in other languages are no crates.
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
    process::run(gate()?.arg("check").arg(file))
}
