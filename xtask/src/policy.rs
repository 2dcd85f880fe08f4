//! `cargo xtask policy build <folder>`: what `portcullis plugin build` does, from the sources.

use crate::process;

/// Runs it.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let [verb, folder, rest @ ..] = arguments else {
        return Err("usage: cargo xtask policy build <folder> [--output FILE]".to_string());
    };
    if verb != "build" {
        return Err(format!(
            "unknown: policy {verb}; try `policy build <folder>`"
        ));
    }
    // The gate itself runs in the folder of the workspace; the argument is relative to the caller's.
    let folder = std::path::absolute(folder).map_err(|error| format!("{folder}: {error}"))?;
    let mut command = process::cargo();
    command.args([
        "run",
        "--quiet",
        "--package",
        "portcullis-build",
        "--features",
        "component",
    ]);
    // Shared with the default policies: the standard library is compiled already.
    let target = process::target_dir().join("policies/target");
    command
        .args(["--", "build"])
        .arg(folder)
        .arg(target)
        .args(rest);
    process::run(&mut command)
}
