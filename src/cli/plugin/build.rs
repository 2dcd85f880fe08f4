//! `portcullis plugin build`: a policy crate becomes a component.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use portcullis_build::component::Built;

use super::super::terminal::{self, Paint, say};
use super::cache;

/// Builds the crate in `dir` and writes the component to `out`, or beside its `policy.toml`.
pub(super) fn run(dir: &Path, out: Option<&Path>) -> ExitCode {
    let built = match component(dir) {
        Ok(built) => built,
        Err(error) => return terminal::fail(&error),
    };
    let out = target(dir, &built.name, out);
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

/// Compiles the crate. All crates of a user share one target folder, so that
/// the standard library is compiled once where it is not installed.
pub(super) fn component(dir: &Path) -> Result<Built, portcullis_build::component::Error> {
    let shared = cache::folder("build").unwrap_or_else(|| dir.join("target").join("policy"));
    portcullis_build::component::build(dir, &shared, true)
}

/// The file a build writes.
pub(super) fn target(dir: &Path, name: &str, out: Option<&Path>) -> PathBuf {
    out.map_or_else(|| dir.join(format!("{name}.wasm")), Path::to_path_buf)
}

/// By rename: a gate that watches the file must never see half of it.
pub(super) fn replace(out: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut part = out.as_os_str().to_owned();
    part.push(".part");
    std::fs::write(&part, bytes)?;
    std::fs::rename(&part, out)
}
