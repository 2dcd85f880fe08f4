//! `portcullis plugin wit`: the interface, for languages that have no SDK.

use std::path::Path;
use std::process::ExitCode;

use super::super::terminal::{self, Paint, say};

/// The interface this gate speaks.
pub(super) const INTERFACE: &str = include_str!("../../../wit/policy.wit");

/// Writes it into a folder.
pub(super) fn run(out: &Path) -> ExitCode {
    let file = out.join("policy.wit");
    let written = std::fs::create_dir_all(out).and_then(|()| std::fs::write(&file, INTERFACE));
    match written {
        Ok(()) => {
            let wrote = Paint::stdout().good("wrote");
            say(&format!("{wrote} {}\n", file.display()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            let error = std::io::Error::new(error.kind(), format!("{}: {error}", file.display()));
            terminal::fail(&error)
        }
    }
}
