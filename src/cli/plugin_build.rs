//! `portcullis plugin build`: a policy crate becomes a component.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::terminal::{self, Paint, say};

/// Builds the crate in `dir` and writes the component to `out`, or beside its `policy.toml`.
pub(super) fn run(dir: &Path, out: Option<&Path>) -> ExitCode {
    let built =
        match portcullis_build::component::build(dir, &dir.join("target").join("policy"), true) {
            Ok(built) => built,
            Err(error) => return terminal::fail(&error),
        };
    let out: PathBuf = out.map_or_else(
        || dir.join(format!("{}.wasm", built.name)),
        Path::to_path_buf,
    );
    if let Err(error) = replace(&out, &built.bytes) {
        return terminal::fail(&error);
    }
    say(&format!(
        "{} {} ({} bytes)\n\nLook at it:\n  portcullis plugin inspect {}\n\nUse it:\n  \
         [[policy]]\n  name = \"{}\"\n  plugin = \"{}\"\n",
        Paint::stdout().good("built"),
        out.display(),
        built.bytes.len(),
        out.display(),
        built.name,
        out.display(),
    ));
    ExitCode::SUCCESS
}

/// By rename: a gate that watches the file must never see half of it.
fn replace(out: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut part = out.as_os_str().to_owned();
    part.push(".part");
    std::fs::write(&part, bytes)?;
    std::fs::rename(&part, out)
}
