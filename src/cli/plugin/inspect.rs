//! `portcullis plugin inspect`: what a component is and says about itself.

use std::path::Path;
use std::process::ExitCode;

use sha2::{Digest as _, Sha256};

use crate::config::{BUILT_IN_PLUGINS, Diagnostic, nearest};
use crate::policy::{Manifest, builtin, signature};

use super::super::terminal::{self, Paint, say};

/// Largest file that is looked at.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Prints the page of a component file or of a built-in plugin.
pub(super) fn run(plugin: &str) -> ExitCode {
    let bytes = match bytes(plugin) {
        Ok(bytes) => bytes,
        Err(problem) => {
            terminal::complain(&[problem]);
            return ExitCode::FAILURE;
        }
    };
    match page(&bytes, Paint::stdout()) {
        Ok(page) => {
            say(&page);
            ExitCode::SUCCESS
        }
        Err(problem) => {
            terminal::complain(&[problem]);
            ExitCode::FAILURE
        }
    }
}

/// The component: a built-in one by name, else a file.
pub(super) fn bytes(plugin: &str) -> Result<Vec<u8>, Diagnostic> {
    if let Some(bytes) = builtin::find(plugin) {
        return Ok(bytes.to_vec());
    }
    let path = Path::new(plugin);
    let unreadable = |error: std::io::Error| {
        let problem = Diagnostic::error(format!("{plugin} cannot be read: {error}"));
        match nearest(plugin, BUILT_IN_PLUGINS.iter().copied()) {
            Some(meant) => problem.hint(format!("did you mean the built-in plugin `{meant}`?")),
            None => problem,
        }
    };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > FILE_BYTES_MAX {
        return Err(Diagnostic::error(format!(
            "{plugin} is larger than any plugin: {size} bytes"
        )));
    }
    std::fs::read(path).map_err(unreadable)
}

fn page(bytes: &[u8], paint: Paint) -> Result<String, Diagnostic> {
    let not_one = |why: String| {
        Diagnostic::error(format!("not a component: {why}"))
            .hint("`portcullis plugin build` makes one")
    };
    let (imports, exports) = interfaces(bytes).map_err(not_one)?;
    let manifest =
        Manifest::find(bytes).map_err(|why| Diagnostic::error(format!("bad manifest: {why}")))?;
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            out.push_str(&format!("{} {value}\n", paint.dim(&format!("{name:<13}"))));
        }
    };
    match &manifest {
        Some(manifest) => {
            line("name", &paint.bold(&manifest.name));
            line("version", &manifest.version);
            line("interface", &manifest.interface);
            for (i, text) in wrap(&manifest.description, 66).iter().enumerate() {
                line(if i == 0 { "description" } else { "" }, text);
            }
            line("settings", &names(&manifest.settings));
            for (i, text) in wrap(&names(&manifest.rules), 66).iter().enumerate() {
                line(if i == 0 { "rules" } else { "" }, text);
            }
            line("golden cases", &manifest.cases.len().to_string());
            let grants: Vec<&str> = manifest.capabilities.iter().map(|name| &**name).collect();
            line("wants granted", &grants.join(", "));
        }
        None => line("manifest", &paint.odd("none")),
    }
    line("exports", &exports.join(" "));
    for (i, text) in wrap(&imports.join(" "), 66).iter().enumerate() {
        line(if i == 0 { "capabilities" } else { "" }, text);
    }
    line("size", &format!("{} bytes", bytes.len()));
    let hash: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    line("sha256", &hash);
    match signature::verify(bytes) {
        Ok(keys) => {
            for key in keys {
                line("signed by", &key.to_string());
            }
        }
        Err(signature::Error::Unsigned) => {}
        Err(why) => line("signature", &paint.bad(&why.to_string())),
    }
    Ok(out)
}

/// What a list of the manifest names.
fn names(list: &serde_json::Value) -> String {
    let names = list.as_array().into_iter().flatten();
    let names: Vec<&str> = names.filter_map(|it| it["name"].as_str()).collect();
    names.join(" ")
}

/// Breaks at blanks.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Names of imports (what it may ask) and exports (what it can be asked). The
/// imports of the component are the truth about capabilities.
pub(super) fn interfaces(bytes: &[u8]) -> Result<(Vec<String>, Vec<String>), String> {
    use wit_component::DecodedWasm;
    let decoded = wit_component::decode(bytes).map_err(|error| error.to_string())?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Err("it is a WIT package".to_owned());
    };
    let world = &resolve.worlds[world];
    let names = |items: &mut dyn Iterator<Item = String>| {
        let mut names: Vec<String> = items.collect();
        names.sort();
        names
    };
    // `portcullis:policy/statement@0.1.0` is `statement` to people; anything else is shown whole.
    let name = |key| {
        let name = resolve.name_world_key(key);
        let short = name
            .strip_prefix("portcullis:policy/")
            .and_then(|name| name.split('@').next());
        short.map(str::to_owned).unwrap_or(name)
    };
    Ok((
        names(&mut world.imports.keys().map(name)),
        names(&mut world.exports.keys().map(name)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_not_a_component() {
        for bytes in [&b"nonsense"[..], b"", b"\0asm\x0d\0\x01\0\xff"] {
            assert!(page(bytes, Paint::plain()).is_err());
        }
    }
}
