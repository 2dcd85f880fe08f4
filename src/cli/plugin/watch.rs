//! `portcullis plugin watch`: builds on save. A gate that uses the component
//! swaps it in by itself, because the file is replaced in one step.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use super::super::terminal::{self, Paint, say};
use super::build;

/// How often the sources are looked at: a few files, for one person who edits.
const EVERY: Duration = Duration::from_millis(250);

/// Builds now and after every change, until it is interrupted.
pub(super) fn run(dir: &Path, out: Option<&Path>) -> ExitCode {
    let mut before = None;
    loop {
        let now = newest(dir);
        if now.is_none() {
            let why = format!("{} holds no policy crate", dir.display());
            return terminal::fail(&std::io::Error::other(why));
        }
        if now != before {
            // Taken before the build: what is saved during it is built next.
            before = now;
            once(dir, out);
        }
        std::thread::sleep(EVERY);
    }
}

fn once(dir: &Path, out: Option<&Path>) {
    let built = match build::component(dir) {
        Ok(built) => built,
        Err(error) => {
            terminal::fail(&error);
            return;
        }
    };
    let out = build::target(dir, &built.name, out);
    if std::fs::read(&out).is_ok_and(|there| there == built.bytes) {
        say(&format!("{} unchanged\n", out.display()));
        return;
    }
    match build::replace(&out, &built.bytes) {
        Ok(()) => say(&format!(
            "{} {} ({} bytes)\n",
            Paint::stdout().good("built"),
            out.display(),
            built.bytes.len()
        )),
        Err(error) => {
            terminal::fail(&error);
        }
    }
}

/// When the sources were last written, and how many there are.
fn newest(dir: &Path) -> Option<(SystemTime, usize)> {
    let mut files: Vec<PathBuf> = vec![dir.join("Cargo.toml"), dir.join("policy.toml")];
    if !files.iter().all(|file| file.is_file()) {
        return None;
    }
    let mut folders = vec![dir.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    let written = |file: &PathBuf| file.metadata().and_then(|data| data.modified()).ok();
    let newest = files.iter().filter_map(written).max()?;
    Some((newest, files.len()))
}
