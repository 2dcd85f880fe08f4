//! Runs cargo for WebAssembly, shielded from the cargo run around it.

use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::toolchain::{Standard, TARGET, Toolchain};

/// Variables of the surrounding cargo that would change what the inner one
/// builds. `CARGO_HOME`, `CARGO_NET_*` and the registries stay, and so does the
/// job server: both runs share its tokens.
const SHIELDED: &[&str] = &[
    "RUSTC",
    "RUSTC_",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTDOCFLAGS",
    "CARGO_ENCODED_",
    "CARGO_BUILD_",
    "CARGO_TARGET_",
    "CARGO_PROFILE_",
    "CARGO_UNSTABLE_",
    "CARGO_INCREMENTAL",
    "CARGO_FEATURE_",
    "CARGO_CFG_",
    "CARGO_PKG_",
    "CARGO_MANIFEST_",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_LLVM_COV",
    "LLVM_PROFILE_FILE",
    "OUT_DIR",
    "TARGET",
    "HOST",
    "PROFILE",
    "OPT_LEVEL",
    "DEBUG",
    "NUM_JOBS",
];

/// Names in [`SHIELDED`] that are whole names although others start with them.
const WHOLE: &[&str] = &[
    "RUSTC",
    "RUSTFLAGS",
    "TARGET",
    "HOST",
    "PROFILE",
    "DEBUG",
    "OUT_DIR",
    "OPT_LEVEL",
];

/// Flags for the policy alone: a stack that fits the caps of the gate, so that
/// an instance costs 17 pages less.
const FLAGS: &[&str] = &["-Clink-arg=-zstack-size=131072"];

/// The profile, spelt out for crates outside the gate's workspace.
const PROFILE: &[&str] = &[
    "profile.policy.inherits=\"release\"",
    "profile.policy.opt-level=3",
    "profile.policy.lto=true",
    "profile.policy.codegen-units=1",
    "profile.policy.panic=\"abort\"",
    "profile.policy.strip=\"debuginfo\"",
];

/// Where a crate made by `plugin new` keeps the crates of others.
pub const VENDORED: &str = "vendor/crates";

/// What to compile.
#[derive(Debug, Clone)]
pub struct Guest<'a> {
    /// The `Cargo.toml` of the crate or of its workspace.
    pub manifest: &'a Path,
    /// Packages to build; empty: the manifest's own.
    pub packages: &'a [&'a str],
    /// A target folder that no other cargo run holds a lock on. Kept between
    /// builds it saves compiling the standard library again.
    pub target_dir: &'a Path,
    /// The lockfile must not change.
    pub locked: bool,
    /// Show cargo's progress; otherwise its output is kept for the error.
    pub progress: bool,
}

/// Why a policy did not compile.
#[derive(Debug)]
pub enum Error {
    /// Cargo could not be started, or its folder not be written.
    Start(PathBuf, std::io::Error),
    /// Cargo failed; what it said.
    Failed(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Start(program, error) => {
                write!(f, "{}: {error}", program.display())
            }
            Error::Failed(said) => write!(f, "the policy does not compile\n{said}"),
        }
    }
}

impl std::error::Error for Error {}

/// Compiles; the core modules lie in the returned folder, `<library>.wasm` each.
pub fn build(toolchain: &Toolchain, guest: &Guest<'_>) -> Result<PathBuf, Error> {
    let mut command = command(toolchain, guest);
    if let Some(folder) = all_sources(toolchain, guest)? {
        let line = format!(
            "source.vendored.directory={:?}",
            folder.display().to_string()
        );
        command.args(["--config", &line]);
    }
    let program = PathBuf::from(command.get_program());
    let start = |error| Error::Start(program.clone(), error);
    if guest.progress {
        let status = command.status().map_err(start)?;
        if !status.success() {
            return Err(Error::Failed("cargo said why above".to_string()));
        }
    } else {
        let output = command.output().map_err(start)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Error::Failed(said));
        }
    }
    Ok(guest.target_dir.join(TARGET).join("policy"))
}

fn command(toolchain: &Toolchain, guest: &Guest<'_>) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_shielded) {
            command.env_remove(name);
        }
    }
    // Set, not only removed: a wrapper or flags may also stand in a cargo configuration file.
    command.env("RUSTC", &toolchain.rustc);
    command
        .env("RUSTC_WRAPPER", "")
        .env("RUSTC_WORKSPACE_WRAPPER", "");
    command.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    if let Some(linker) = &toolchain.linker {
        command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
    }
    command.args(["build", "--lib", "--profile", "policy", "--target", TARGET]);
    command.arg("--manifest-path").arg(guest.manifest);
    command.arg("--target-dir").arg(guest.target_dir);
    for package in guest.packages {
        command.args(["--package", package]);
    }
    for line in PROFILE {
        command.args(["--config", line]);
    }
    if guest.locked {
        command.arg("--locked");
    }
    if let Standard::Sources { .. } = toolchain.standard {
        // The flag is only for nightly compilers; this is the documented way to have it all the same.
        command
            .env("RUSTC_BOOTSTRAP", "1")
            .args(["-Z", "build-std=std,panic_abort"]);
    }
    // The folder decides which configuration files cargo reads.
    if let Some(folder) = guest
        .manifest
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
    {
        command.current_dir(folder);
    }
    command
}

/// A crate that brings all its dependencies along hides those of a standard
/// library that is compiled, too: cargo looks for both in one folder. So it gets
/// one with both. Its name is its content: cargo compiles anew what lies
/// elsewhere, and crates of one SDK share everything.
fn all_sources(toolchain: &Toolchain, guest: &Guest<'_>) -> Result<Option<PathBuf>, Error> {
    let folder = guest.manifest.parent().unwrap_or(Path::new("."));
    let settings = std::fs::read_to_string(folder.join(".cargo/config.toml"));
    let vendored = toolchain.standard == Standard::Sources { vendored: true }
        && settings.is_ok_and(|text| text.contains("[source.vendored]"));
    let Some(library) = toolchain.library().filter(|_| vendored) else {
        return Ok(None);
    };
    let merge = || -> std::io::Result<PathBuf> {
        let crates = folder.join(VENDORED);
        let files = files(&crates)?;
        let mut hash = DefaultHasher::new();
        (&toolchain.version, &library).hash(&mut hash);
        for file in &files {
            (file, std::fs::read(crates.join(file))?).hash(&mut hash);
        }
        let merged = guest
            .target_dir
            .join(format!("sources-{:016x}", hash.finish()));
        if merged.is_dir() {
            return Ok(merged);
        }
        let part = merged.with_extension(std::process::id().to_string());
        for file in &files {
            let to = part.join(file);
            std::fs::create_dir_all(to.parent().unwrap_or(&part))?;
            std::fs::copy(crates.join(file), to)?;
        }
        for entry in std::fs::read_dir(library.join("vendor"))? {
            let entry = entry?;
            let name = format!("std-{}", entry.file_name().to_string_lossy());
            std::os::unix::fs::symlink(entry.path(), part.join(name))?;
        }
        if std::fs::rename(&part, &merged).is_err() {
            // Another build was first.
            std::fs::remove_dir_all(&part)?;
        }
        Ok(merged)
    };
    merge()
        .map(Some)
        .map_err(|error| Error::Start(guest.target_dir.join("sources"), error))
}

/// All files below a folder, in order.
fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(inside) = folders.pop() {
        for entry in std::fs::read_dir(folder.join(&inside))? {
            let entry = entry?;
            let path = inside.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn is_shielded(name: &str) -> bool {
    SHIELDED.iter().any(|shielded| {
        name == *shielded || (!WHOLE.contains(shielded) && name.starts_with(shielded))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_outer_cargo_decided_does_not_reach_the_inner_one() {
        let shielded = [
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "RUSTC",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTC_BOOTSTRAP",
            "CARGO_BUILD_TARGET",
            "CARGO_TARGET_DIR",
            "CARGO_PROFILE_RELEASE_LTO",
            "OUT_DIR",
        ];
        for name in shielded {
            assert!(is_shielded(name), "{name}");
        }
        for name in [
            "PATH",
            "HOME",
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "RUSTUP_HOME",
            "HOSTNAME",
            "CARGO_MAKEFLAGS",
        ] {
            assert!(!is_shielded(name), "{name}");
        }
    }
}
