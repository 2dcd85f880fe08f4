//! A policy crate that needs nothing from anywhere: the template with the SDK,
//! the interface, and the sources of everything the SDK depends on, as one archive.
//!
//! The gate embeds it; `portcullis plugin new` unpacks it. Third-party crates
//! lie in cargo's own vendor format, so that an author who has a network can
//! leave it with one edit of `.cargo/config.toml`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::guest::VENDORED;
use crate::page::shown;

/// Name of the template's policy; replaced by the author's.
pub const NAME: &str = "hello";

/// Folders of a crate that a dependent never compiles.
const LEFT_OUT: &[&str] = &[
    "tests", "benches", "examples", "doc", "docs", "ci", "fuzz", "target", ".github",
];

/// Packs the crate, from the sources under `root`; `stage` is a folder of its own to work in.
pub fn pack(root: &Path, stage: &Path) -> Result<Vec<u8>, String> {
    let _ = std::fs::remove_dir_all(stage);
    template(root, stage)?;
    sdk(root, &stage.join("vendor/portcullis-sdk"))?;
    let wit = stage.join("vendor/wit/policy.wit");
    copy(&root.join("wit/policy.wit"), &wit)?;
    // The versions of the gate; cargo drops what is not needed.
    copy(&root.join("Cargo.lock"), &stage.join("Cargo.lock"))?;
    for (name, version, folder, checksum) in dependencies(stage)? {
        let to = stage.join(VENDORED).join(format!("{name}-{version}"));
        copy_crate(&folder, &to)?;
        let sums = format!("{{\"files\":{{}},\"package\":{checksum:?}}}");
        write(&to.join(".cargo-checksum.json"), &sums)?;
    }
    let packed = archive(stage).map_err(|error| format!("{}: {error}", stage.display()))?;
    let _ = std::fs::remove_dir_all(stage);
    Ok(packed)
}

/// The example `hello`, with its SDK beside it.
fn template(root: &Path, stage: &Path) -> Result<(), String> {
    let from = root.join("examples/policies").join(NAME);
    for file in ["Cargo.toml", "policy.toml", "src/lib.rs"] {
        let text = read(&from.join(file))?
            .replace("../../../sdk", "vendor/portcullis-sdk")
            .replace("features = [\"testing\"]", "features = [\"program\"]")
            .replace("\n[workspace]\n", "\n[workspace]\nexclude = [\"vendor\"]\n");
        write(&stage.join(file), &text)?;
    }
    Ok(())
}

/// The SDK without what only the gate's workspace has.
fn sdk(root: &Path, to: &Path) -> Result<(), String> {
    copy_folder(&root.join("sdk/src"), &to.join("src"))?;
    copy(&root.join("wit/registry.rs"), &to.join("src/registry.rs"))?;
    let code = to.join("src/code.rs");
    let text = read(&code)?.replace("../../wit/registry.rs", "registry.rs");
    write(&code, &text)?;
    for license in ["LICENSE-APACHE", "LICENSE-MIT"] {
        copy(&root.join(license), &to.join(license))?;
    }
    let workspace = toml_file(&root.join("Cargo.toml"))?;
    let own = toml_file(&root.join("sdk/Cargo.toml"))?;
    write(&to.join("Cargo.toml"), &sdk_manifest(&workspace, &own))
}

fn sdk_manifest(workspace: &Value, own: &Value) -> String {
    let mut text = "[package]\n".to_string();
    let package = &workspace["workspace"]["package"];
    for key in [
        "name",
        "description",
        "version",
        "edition",
        "rust-version",
        "license",
    ] {
        let value = own["package"].get(key).filter(|value| value.is_string());
        let _ = writeln!(text, "{key} = {}", value.unwrap_or(&package[key]));
    }
    text.push_str("publish = false\n\n[features]\nprogram = []\n\n");
    // The other way of testing is not in this copy.
    text.push_str("[lints.rust]\nunexpected_cfgs = \"allow\"\n");
    let wasm = "cfg(target_arch = \"wasm32\")";
    let tables = [
        ("dependencies".to_string(), &own["dependencies"]),
        (
            format!("target.'{wasm}'.dependencies"),
            &own["target"][wasm]["dependencies"],
        ),
    ];
    for (name, table) in tables {
        let _ = writeln!(text, "\n[{name}]");
        for (dependency, value) in table.as_object().into_iter().flatten() {
            let _ = writeln!(text, "{dependency} = {}", shown(value));
        }
    }
    text
}

/// Name, version, folder and checksum of every crate of others.
fn dependencies(stage: &Path) -> Result<Vec<(String, String, PathBuf, String)>, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    let output = command
        .args(["metadata", "--offline", "--format-version", "1"])
        .current_dir(stage)
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("cargo metadata: {error}"))?;
    let lock = toml_file(&stage.join("Cargo.lock"))?;
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let text = |key: &str| package[key].as_str().unwrap_or_default().to_string();
        if text("source").is_empty() {
            continue;
        }
        let (name, version) = (text("name"), text("version"));
        let locked = lock["package"].as_array().into_iter().flatten();
        let mut locked = locked.filter(|it| it["name"] == *name && it["version"] == *version);
        let checksum = locked.next().and_then(|it| it["checksum"].as_str());
        let checksum = checksum.ok_or_else(|| format!("{name} has no checksum"))?;
        let manifest = PathBuf::from(text("manifest_path"));
        let folder = manifest.parent().unwrap_or(Path::new("")).to_path_buf();
        found.push((name, version, folder, checksum.to_string()));
    }
    Ok(found)
}

fn copy_crate(from: &Path, to: &Path) -> Result<(), String> {
    for (path, is_folder) in entries(from)? {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if is_folder && !LEFT_OUT.contains(&&*name) {
            copy_folder(&path, &to.join(&name))?;
        } else if !is_folder && !name.starts_with('.') && !name.starts_with("Cargo.toml.") {
            copy(&path, &to.join(&name))?;
        }
    }
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), String> {
    for (path, is_folder) in entries(from)? {
        let to = to.join(path.file_name().unwrap_or_default());
        if is_folder {
            copy_folder(&path, &to)?;
        } else {
            copy(&path, &to)?;
        }
    }
    Ok(())
}

/// In the order of their names: the same sources make the same archive.
fn entries(folder: &Path) -> Result<Vec<(PathBuf, bool)>, String> {
    let wrong = |error| format!("{}: {error}", folder.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let is_folder = path.is_dir();
        found.push((path, is_folder));
    }
    found.sort();
    Ok(found)
}

fn archive(stage: &Path) -> std::io::Result<Vec<u8>> {
    let level = flate2::Compression::new(6);
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), level));
    tar.mode(tar::HeaderMode::Deterministic);
    let mut folders = vec![stage.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for (path, is_folder) in entries(&folder).map_err(std::io::Error::other)? {
            if is_folder {
                folders.push(path);
            } else if let Ok(name) = path.strip_prefix(stage) {
                tar.append_path_with_name(&path, name)?;
            }
        }
    }
    tar.into_inner()?.finish()
}

fn toml_file(path: &Path) -> Result<Value, String> {
    toml::from_str(&read(path)?).map_err(|error| format!("{}: {error}", path.display()))
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    folder_of(to)?;
    let copied = std::fs::copy(from, to);
    copied
        .map(drop)
        .map_err(|error| format!("{}: {error}", from.display()))
}

fn write(to: &Path, text: &str) -> Result<(), String> {
    folder_of(to)?;
    std::fs::write(to, text).map_err(|error| format!("{}: {error}", to.display()))
}

fn folder_of(path: &Path) -> Result<(), String> {
    let folder = path.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}
