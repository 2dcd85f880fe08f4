//! `portcullis plugin key`, `sign` and `verify`: who vouches for a component.

use std::io::{Error, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_build::component::append_section;

use crate::config::{Diagnostic, PublicKey};
use crate::policy::signature;

use super::super::terminal::{self, Paint, say};
use super::{build, inspect};

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

type Done = Result<String, Diagnostic>;

fn finish(done: Done) -> ExitCode {
    match done {
        Ok(text) => {
            say(&text);
            ExitCode::SUCCESS
        }
        Err(problem) => {
            terminal::complain(&[problem]);
            ExitCode::FAILURE
        }
    }
}

/// Makes a pair: the private key in a file that nobody else can read.
pub(super) fn key(file: &Path) -> ExitCode {
    let made = signature::new_key().map_err(|error| Diagnostic::error(error.to_string()));
    finish(made.and_then(|(private, public)| {
        write_private(file, &private).map_err(|error| about(file, &error))?;
        let beside = PathBuf::from(format!("{}.pub", file.display()));
        std::fs::write(&beside, format!("{public}\n")).map_err(|error| about(&beside, &error))?;
        let made = Paint::stdout().good("made");
        Ok(format!(
            "{made} {} (keep it secret) and {}\n\nTrust it:\n  trusted_keys = [\"{public}\"]\n",
            file.display(),
            beside.display()
        ))
    }))
}

/// Signs the component, in its own file unless `out` names another.
pub(super) fn sign(plugin: &Path, key: &Path, out: Option<&Path>) -> ExitCode {
    finish(signed(plugin, key, out))
}

fn signed(plugin: &Path, key: &Path, out: Option<&Path>) -> Done {
    let wrong = |error: signature::Error| Diagnostic::error(error.to_string());
    let private = read_private(key)?;
    let mut bytes = inspect::bytes(&plugin.display().to_string())?;
    inspect::interfaces(&bytes)
        .map_err(|why| Diagnostic::error(format!("not a component: {why}")))?;
    let public = signature::public_key(&private).map_err(wrong)?;
    let shown = plugin.display();
    if signature::signers(&bytes).contains(&public) {
        signature::verify(&bytes).map_err(wrong)?;
        return Ok(format!("{shown} is signed with this key already\n"));
    }
    let section = signature::sign(&bytes, &private).map_err(wrong)?;
    append_section(&mut bytes, signature::SECTION, &section);
    signature::verify(&bytes).map_err(wrong)?;
    let out = out.unwrap_or(plugin);
    build::replace(out, &bytes).map_err(|error| about(out, &error))?;
    let signed = Paint::stdout().good("signed");
    Ok(format!("{signed} {} by {public}\n", out.display()))
}

/// Says who signed; fails when nobody did, or nobody of `keys`.
pub(super) fn verify(plugin: &Path, keys: &[String]) -> ExitCode {
    finish(verified(plugin, keys))
}

fn verified(plugin: &Path, keys: &[String]) -> Done {
    let bytes = inspect::bytes(&plugin.display().to_string())?;
    let trusted: Vec<PublicKey> = keys
        .iter()
        .map(|key| public(key))
        .collect::<Result<_, _>>()?;
    let refused =
        |error: signature::Error| Diagnostic::error(format!("{}: {error}", plugin.display()));
    let signers = signature::verify(&bytes).map_err(refused)?;
    if !trusted.is_empty() {
        signature::require(&bytes, &trusted).map_err(refused)?;
    }
    let paint = Paint::stdout();
    let lines = signers.iter().map(|key| {
        let known = if trusted.contains(key) {
            " (trusted)"
        } else {
            ""
        };
        format!("{} by {key}{known}\n", paint.good("signed"))
    });
    Ok(lines.collect())
}

/// A key as it is written, or a file that holds one.
fn public(text: &str) -> Result<PublicKey, Diagnostic> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    let path = Path::new(text);
    let read = std::fs::read_to_string(path).map_err(|error| about(path, &error))?;
    read.parse()
        .map_err(|why| Diagnostic::error(format!("{text}: {why}")))
}

fn about(path: &Path, error: &Error) -> Diagnostic {
    Diagnostic::error(format!("{}: {error}", path.display()))
}

/// Never over another key, and from the first byte readable by nobody else.
fn write_private(file: &Path, private: &[u8]) -> Result<(), Error> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)?;
    writeln!(file, "{BEGIN}\n{}\n{END}", STANDARD.encode(private))
}

fn read_private(file: &Path) -> Result<Vec<u8>, Diagnostic> {
    use std::os::unix::fs::MetadataExt as _;
    let mode = std::fs::metadata(file)
        .map_err(|error| about(file, &error))?
        .mode();
    if mode & 0o077 != 0 {
        let problem = Diagnostic::error(format!("{} can be read by others", file.display()));
        return Err(problem.hint(format!("chmod 600 {}", file.display())));
    }
    let text = std::fs::read_to_string(file).map_err(|error| about(file, &error))?;
    let inner = text
        .split_once(BEGIN)
        .and_then(|(_, rest)| rest.split_once(END));
    let inner = inner.map(|(inner, _)| inner.split_whitespace().collect::<String>());
    let key = inner.and_then(|inner| STANDARD.decode(inner).ok());
    key.ok_or_else(|| Diagnostic::error(format!("{} holds no private key", file.display())))
}
