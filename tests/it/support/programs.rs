//! Programs and drivers of other languages that `cargo xtask setup` installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The driver for Java.
const JDBC: &str = "/usr/share/java/postgresql.jar";

/// The folder that `cargo xtask setup` fills.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("drivers")
}

/// Python with the pinned drivers.
pub fn python() -> Option<Command> {
    let program = folder().join("python/bin/python");
    needed(&program).then(|| Command::new(program))
}

/// Node with the pinned drivers.
pub fn node() -> Option<Command> {
    let modules = folder().join("node/node_modules");
    needed(&modules).then(|| {
        let mut command = Command::new("node");
        command.env("NODE_PATH", modules);
        command
    })
}

/// Java with pgjdbc in its class path; runs a source file.
pub fn java() -> Option<Command> {
    needed(Path::new(JDBC)).then(|| {
        let mut command = Command::new("java");
        command.args(["-XX:TieredStopAtLevel=1", "-cp", JDBC]);
        command
    })
}

/// Whether it is there; where servers are required a missing one is a failure.
pub fn needed(path: &Path) -> bool {
    let there = path.exists();
    assert!(
        there || std::env::var_os("REQUIRE_SERVERS").is_none(),
        "{} is missing: run `cargo xtask setup`",
        path.display()
    );
    if !there {
        eprintln!("skipped: {} is missing", path.display());
    }
    there
}

/// Runs it to its end and returns what it printed; fails with all of it when it failed.
pub fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{}\n{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}
