//! A core module and a `policy.toml` become one component.

use std::path::{Path, PathBuf};

use crate::guest::{self, Guest};
use crate::toolchain::{Missing, Toolchain};

/// The custom section that holds the manifest as JSON, at component level: a
/// Rust macro could only write into the core module inside, and other languages not at all.
pub const SECTION: &str = "portcullis:manifest";

/// What went wrong on the way from source to component.
#[derive(Debug)]
pub enum Error {
    /// A file could not be read or written.
    File(PathBuf, std::io::Error),
    /// `Cargo.toml` or `policy.toml` does not parse, or lacks something.
    Manifest(PathBuf, String),
    /// The core module is no policy.
    Encode(String),
    /// No compiler.
    Missing(Missing),
    /// Cargo failed.
    Guest(guest::Error),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::File(path, error) => write!(f, "{}: {error}", path.display()),
            Error::Manifest(path, error) => write!(f, "{}: {error}", path.display()),
            Error::Encode(error) => write!(
                f,
                "the compiled module is not a policy (is `portcullis_sdk::export!` there?): {error}"
            ),
            Error::Missing(missing) => missing.fmt(f),
            Error::Guest(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

/// A policy, ready for the gate.
#[derive(Debug, Clone)]
pub struct Built {
    /// Name of the policy, from its manifest.
    pub name: String,
    /// The component.
    pub bytes: Vec<u8>,
}

/// Builds the policy crate in `folder`. A `target_dir` that stays saves
/// compiling the standard library again.
pub fn build(folder: &Path, target_dir: &Path, progress: bool) -> Result<Built, Error> {
    let library = library_name(&folder.join("Cargo.toml"))?;
    let (name, manifest) = manifest(&folder.join("policy.toml"))?;
    let toolchain = Toolchain::find(None).map_err(Error::Missing)?;
    // Cargo is started in the folder, so its paths must not be relative to ours.
    let whole = |path: &Path| {
        std::path::absolute(path).map_err(|error| Error::File(path.to_path_buf(), error))
    };
    let target_dir = whole(target_dir)?;
    let guest = Guest {
        manifest: &whole(folder)?.join("Cargo.toml"),
        packages: &[],
        target_dir: &target_dir,
        locked: false,
        progress,
    };
    let modules = guest::build(&toolchain, &guest).map_err(Error::Guest)?;
    let core = read(&modules.join(format!("{library}.wasm")))?;
    Ok(Built {
        name,
        bytes: encode(&core, &manifest)?,
    })
}

/// Wraps a core module and appends the manifest.
pub fn encode(core: &[u8], manifest: &str) -> Result<Vec<u8>, Error> {
    let encoded = wit_component::ComponentEncoder::default()
        .module(core)
        .and_then(|encoder| encoder.validate(true).encode());
    let component = encoded.map_err(|error| Error::Encode(format!("{error:#}")))?;
    Ok(with_manifest(component, manifest))
}

/// Appends the manifest to a component that has none.
pub fn with_manifest(mut component: Vec<u8>, manifest: &str) -> Vec<u8> {
    append_section(&mut component, SECTION, manifest.as_bytes());
    component
}

/// Name and JSON form of a `policy.toml`, key by key.
pub fn manifest(path: &Path) -> Result<(String, String), Error> {
    let wrong = |message: String| Error::Manifest(path.to_path_buf(), message);
    let text = String::from_utf8(read(path)?).map_err(|_| wrong("is not UTF-8".to_string()))?;
    let value: serde_json::Value =
        toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    for key in ["name", "version", "interface"] {
        if value.get(key).and_then(serde_json::Value::as_str).is_none() {
            return Err(wrong(format!("`{key}` is missing")));
        }
    }
    let name = value["name"].as_str().unwrap_or_default().to_string();
    Ok((name, value.to_string()))
}

fn library_name(path: &Path) -> Result<String, Error> {
    let wrong = |message: String| Error::Manifest(path.to_path_buf(), message);
    let text = String::from_utf8_lossy(&read(path)?).into_owned();
    let value: toml::Table = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let name = |table: &str| value.get(table)?.get("name")?.as_str();
    let name = name("lib").or_else(|| name("package"));
    let name = name.ok_or_else(|| wrong("`package.name` is missing".to_string()))?;
    Ok(name.replace('-', "_"))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| Error::File(path.to_path_buf(), error))
}

/// Appends a custom section: id 0, size, length of the name, name, content.
pub fn append_section(component: &mut Vec<u8>, name: &str, content: &[u8]) {
    let mut body = Vec::with_capacity(name.len() + content.len() + 5);
    leb128(&mut body, name.len());
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(content);
    component.push(0);
    leb128(component, body.len());
    component.extend_from_slice(&body);
}

fn leb128(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_above_127_take_two_bytes() {
        let mut out = Vec::new();
        append_section(&mut out, "n", &[7; 200]);
        assert_eq!(out[..5], [0, 0xca, 0x01, 1, b'n']);
        assert_eq!(out.len(), 3 + 202);
    }
}
