//! `cargo xtask new-policy <folder>`: a policy crate to start from.

use std::fs;
use std::path::Path;

use crate::process;

/// Runs it.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let [folder] = arguments else {
        return Err("usage: cargo xtask new-policy <folder>".to_string());
    };
    let folder = std::path::absolute(folder).map_err(|error| format!("{folder}: {error}"))?;
    let name = folder
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
        .to_string();
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(good) {
        return Err(format!(
            "`{name}` is no policy name: lower-case letters, digits and `-`"
        ));
    }
    if folder.exists() {
        return Err(format!("{} is already there", folder.display()));
    }
    let template = process::root().join("examples/policies/hello");
    for file in ["Cargo.toml", "policy.toml", "src/lib.rs"] {
        write(&template.join(file), &folder.join(file), &name)?;
    }
    println!("{} is ready. Next:", folder.display());
    println!("  cd {} && cargo test", folder.display());
    println!("  cargo xtask policy build {}", folder.display());
    Ok(())
}

fn write(from: &Path, to: &Path, name: &str) -> Result<(), String> {
    let wrong = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let text = fs::read_to_string(from).map_err(|error| wrong(from, error))?;
    let sdk = process::root().join("sdk");
    let text = text
        .replace(
            "path = \"../../../sdk\"",
            &format!("path = {:?}", sdk.display().to_string()),
        )
        .replace("name = \"hello\"", &format!("name = \"{name}\""));
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(|error| wrong(parent, error))?;
    }
    fs::write(to, text).map_err(|error| wrong(to, error))
}
