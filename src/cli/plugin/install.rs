//! `portcullis plugin install`: a component from a file or the web into the plugins' folder.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::config::{Diagnostic, Runtime};
use crate::policy::trial::Trial;
use crate::policy::wasm::COMPONENT_BYTES_MAX;

use super::super::terminal::{self, Paint, say};
use super::{build, cache, inspect};

/// How long a download may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is installed, and where.
#[derive(Debug, clap::Args)]
pub(super) struct Install {
    /// A component file, or an https address
    #[arg(value_name = "FILE|URL")]
    source: String,
    /// Hash it must have; needed for an address
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    /// Folder of the plugins
    #[arg(long, value_name = "DIR", default_value = "plugins")]
    dir: PathBuf,
    /// Certificates (PEM) to trust instead of those of the web
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Installs and prints the lines of the configuration.
pub(super) fn run(arguments: &Install) -> ExitCode {
    match install(arguments) {
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

fn install(arguments: &Install) -> Result<String, Diagnostic> {
    let source = &arguments.source;
    let bytes = match source.split_once("://") {
        None => inspect::bytes(source)?,
        Some(("https", _)) if arguments.sha256.is_none() => {
            return Err(Diagnostic::error("an address needs --sha256")
                .hint("the hash its author published; `portcullis plugin inspect` shows it"));
        }
        Some(("https", _)) => download(source, arguments.ca.as_deref())?,
        Some((scheme, _)) => {
            let problem = Diagnostic::error(format!("{scheme}:// is not taken"));
            return Err(problem.hint("give an https address or a file"));
        }
    };
    let hash: String = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if let Some(wanted) = &arguments.sha256
        && !wanted.eq_ignore_ascii_case(&hash)
    {
        let problem = Diagnostic::error(format!("its sha256 is {hash}"));
        return Err(problem.hint("this is not the file that was meant; nothing was installed"));
    }
    let trial = Trial::new(&bytes, cache::folder("policies").as_deref())
        .map_err(|why| Diagnostic::error(format!("{source} {}", why.message)).hint(why.hint))?;
    let name = name(&trial, source)?;
    let file = arguments.dir.join(format!("{name}.wasm"));
    let written =
        std::fs::create_dir_all(&arguments.dir).and_then(|()| build::replace(&file, &bytes));
    written.map_err(|error| Diagnostic::error(format!("{}: {error}", file.display())))?;
    // What the configuration finds relative to itself must be seen as a path.
    let written = match file.is_absolute() || file.starts_with(".") {
        true => file.display().to_string(),
        false => format!("./{}", file.display()),
    };
    let runtime = match trial.runtime() {
        Runtime::Ordinary => String::new(),
        other => format!("  runtime = \"{}\"\n", other.name()),
    };
    Ok(format!(
        "{} {}\n  sha256 {hash}\n\nUse it:\n  [[policy]]\n  name = \"{name}\"\n  plugin = \"{written}\"\n{runtime}",
        Paint::stdout().good("installed"),
        file.display(),
    ))
}

/// The name the plugin gives itself, if it is fit to be one of a file.
fn name(trial: &Trial, source: &str) -> Result<String, Diagnostic> {
    let name = match &*trial.manifest().name {
        "" => Path::new(source)
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        name => name.to_owned(),
    };
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(good) {
        return Err(Diagnostic::error(format!(
            "`{name}` is no name for a plugin"
        )));
    }
    Ok(name)
}

fn download(url: &str, ca: Option<&Path>) -> Result<Vec<u8>, Diagnostic> {
    let wrong = |why: String| Diagnostic::error(format!("{url}: {why}"));
    let roots = match ca {
        None => RootCerts::WebPki,
        Some(path) => {
            let pem = std::fs::read(path)
                .map_err(|error| Diagnostic::error(format!("{}: {error}", path.display())))?;
            let read = ureq::tls::parse_pem(&pem).filter_map(|item| match item {
                Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            });
            RootCerts::new_with_certs(&read.collect::<Vec<Certificate<'static>>>())
        }
    };
    let config = ureq::Agent::config_builder()
        .https_only(true)
        .timeout_global(Some(PATIENCE))
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .build();
    let agent = ureq::Agent::new_with_config(config);
    let answer = agent
        .get(url)
        .call()
        .map_err(|error| wrong(error.to_string()))?;
    let mut bytes = Vec::new();
    let limit = COMPONENT_BYTES_MAX as u64 + 1;
    let read = answer
        .into_body()
        .into_reader()
        .take(limit)
        .read_to_end(&mut bytes);
    read.map_err(|error| wrong(error.to_string()))?;
    if bytes.len() > COMPONENT_BYTES_MAX {
        return Err(wrong("is larger than any plugin".to_owned()));
    }
    Ok(bytes)
}
