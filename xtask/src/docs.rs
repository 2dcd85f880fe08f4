//! `cargo xtask docs`: writes the generated pages.

use crate::process;

/// Runs it.
pub fn run(_arguments: &[String]) -> Result<(), String> {
    let mut command = process::cargo();
    command.args([
        "run",
        "--quiet",
        "--package",
        "portcullis-build",
        "--features",
        "component",
    ]);
    process::run(command.args(["--", "docs", "plugins", "docs/policies"]))
}
