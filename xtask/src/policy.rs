//! Compiles a policy like `portcullis plugin build`, without compiling the gate first.

use std::path::Path;

use crate::process;

/// Builds the crate in `folder` and writes the component.
pub fn build(folder: &Path, component: &Path) -> Result<(), String> {
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
    command.args(["--", "build"]).arg(folder).arg(target);
    command.arg("--output").arg(component);
    process::run(&mut command)
}
