//! `portcullis plugin new`: a policy crate that compiles and passes its tests,
//! without a checkout of the gate and without network.

use std::fs;
use std::io::{Error, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::Diagnostic;
use crate::policy::builtin;

use super::super::terminal::{self, Paint, say};

/// The policy of the template; every mention is replaced.
const NAME: &str = "hello";

/// Most bytes one file of the template has.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// Writes the crate. With `sdk` the SDK of that version comes from the registry.
pub(super) fn run(dir: &Path, sdk: Option<&str>) -> ExitCode {
    let problem = match prepare(dir) {
        Err(problem) => problem,
        Ok((folder, name)) => match unpack(&folder, &name, sdk) {
            Ok(()) => {
                done(dir, &name);
                return ExitCode::SUCCESS;
            }
            Err(error) => Diagnostic::error(format!("{}: {error}", folder.display())),
        },
    };
    terminal::complain(&[problem]);
    ExitCode::FAILURE
}

fn done(dir: &Path, name: &str) {
    let shown = dir.display();
    say(&format!(
        "{} {shown}\n\nNext:\n  cd {shown}\n  cargo test               runs it natively, no database, no WebAssembly\n  \
         portcullis plugin build  compiles it to {name}.wasm\n  portcullis plugin test   holds both against policy.toml\n",
        Paint::stdout().good("created"),
    ));
}

/// The folder, absolute, and the name of the policy.
fn prepare(dir: &Path) -> Result<(PathBuf, String), Diagnostic> {
    let wrong = |text: String| Diagnostic::error(text);
    let folder =
        std::path::absolute(dir).map_err(|error| wrong(format!("{}: {error}", dir.display())))?;
    let name = folder.file_name().and_then(|name| name.to_str());
    let name = name.unwrap_or_default().to_owned();
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(good) {
        return Err(wrong(format!("`{name}` is no name for a policy"))
            .hint("the folder's name: lower-case letters, digits, `-` and `_`"));
    }
    if fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(wrong(format!("{} is not empty", folder.display()))
            .hint("name a folder that does not exist yet"));
    }
    Ok((folder, name))
}

fn unpack(folder: &Path, name: &str, sdk: Option<&str>) -> std::io::Result<()> {
    let none = || Error::new(ErrorKind::Unsupported, "this build has no template in it");
    let packed = builtin::template().ok_or_else(none)?;
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let vendored = path.starts_with("vendor");
        let locked = path.as_os_str() == "Cargo.lock";
        if sdk.is_some() && (vendored && !path.starts_with("vendor/wit") || locked) {
            continue;
        }
        let to = folder.join(&path);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut bytes = Vec::new();
        (&mut entry).take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        if !vendored {
            let text = String::from_utf8_lossy(&bytes);
            bytes = named(&text, name, sdk).into_bytes();
        }
        fs::write(to, bytes)?;
    }
    fs::create_dir_all(folder.join(".cargo"))?;
    fs::write(folder.join(".cargo/config.toml"), settings(sdk)?)?;
    fs::write(folder.join(".gitignore"), "/target\n*.wasm\n")
}

/// A file of the template as the new crate has it.
fn named(text: &str, name: &str, sdk: Option<&str>) -> String {
    let kind: String = name
        .split(['-', '_'])
        .filter_map(|word| {
            let mut chars = word.chars();
            let first = chars.next()?.to_ascii_uppercase();
            Some(std::iter::once(first).chain(chars).collect::<String>())
        })
        .collect();
    let text = text
        .replace(&format!("name = \"{NAME}\""), &format!("name = \"{name}\""))
        .replace("Hello", &kind);
    match sdk {
        Some(version) => text
            .replace(
                "path = \"vendor/portcullis-sdk\"",
                &format!("version = {version:?}"),
            )
            .replace("exclude = [\"vendor\"]\n", ""),
        None => text,
    }
}

/// `.cargo/config.toml`: where the crates are, and which program the tests ask.
fn settings(sdk: Option<&str>) -> std::io::Result<String> {
    let program = std::env::current_exe()?;
    let mut text = format!(
        "# The tests ask this program what it understands of a statement. A variable of\n\
         # the same name in the environment comes first.\n[env]\nPORTCULLIS = {:?}\n",
        program.display().to_string()
    );
    if sdk.is_none() {
        text.push_str(
            "\n# All crates come from the folder vendor. To use others, delete the lines below.\n\
             [source.crates-io]\nreplace-with = \"vendored\"\n\n\
             [source.vendored]\ndirectory = \"vendor/crates\"\n",
        );
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mention_of_the_template_is_replaced() {
        let text = "name = \"hello\"\nstruct Hello;\nportcullis-sdk = { path = \"vendor/portcullis-sdk\" }\n";
        assert_eq!(
            named(text, "no-drop", Some("0.1.0")),
            "name = \"no-drop\"\nstruct NoDrop;\nportcullis-sdk = { version = \"0.1.0\" }\n"
        );
    }

    #[test]
    fn a_folder_whose_name_is_no_name_is_refused() {
        for name in ["Upper", "9lives", "with space", "ä"] {
            assert!(prepare(&std::env::temp_dir().join(name)).is_err(), "{name}");
        }
    }
}
