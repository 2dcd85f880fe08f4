//! Finds a compiler that can make WebAssembly.
//!
//! The standard library is looked for by its files, never by a bare folder: a
//! removed target leaves folders behind.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target policies are compiled for.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Where Debian's `rustc-web` puts its compiler. Asked for by its full path
/// only: in the PATH it could shadow the compiler of rustup.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// The oldest compiler that can read the sources.
const OLDEST: (u32, u32) = (1, 95);

/// Where the standard library comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Standard {
    /// Installed for the target.
    Installed,
    /// Compiled from the sources that lie beside the compiler.
    Sources {
        /// The sources bring their dependencies along.
        vendored: bool,
    },
}

/// A compiler and what it needs to make WebAssembly.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Toolchain {
    /// The compiler.
    pub rustc: PathBuf,
    /// What `rustc -vV` says; part of every cache key.
    pub version: String,
    /// Its standard library.
    pub standard: Standard,
    /// The linker, where the compiler does not bring its own.
    pub linker: Option<PathBuf>,
}

/// Why there is no usable compiler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// No compiler has a WebAssembly standard library.
    Standard,
    /// There is one, but nothing can link.
    Linker,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match self {
            Missing::Standard => "the WebAssembly standard library is not installed",
            Missing::Linker => "no WebAssembly linker (rust-lld or wasm-ld) is installed",
        };
        write!(f, "{what}: run `cargo xtask setup` once, then build again")
    }
}

impl std::error::Error for Missing {}

impl Toolchain {
    /// The best compiler of this machine. `preferred` is the one cargo names to
    /// a build script; without it `rustc` of the PATH is asked.
    pub fn find(preferred: Option<&OsStr>) -> Result<Toolchain, Missing> {
        let preferred = preferred.map_or_else(|| PathBuf::from("rustc"), PathBuf::from);
        let mut asked: Vec<Compiler> = Vec::new();
        for path in [preferred.as_path(), Path::new(DEBIAN_RUSTC)] {
            if let Some(compiler) = Compiler::ask(path)
                && !asked.iter().any(|known| known.sysroot == compiler.sysroot)
            {
                asked.push(compiler);
            }
        }
        let best = asked
            .iter()
            .filter_map(|compiler| compiler.standard().map(|standard| (compiler, standard)))
            .min_by_key(|(_, standard)| match standard {
                Standard::Installed => 0,
                Standard::Sources { vendored: true } => 1,
                Standard::Sources { vendored: false } => 2,
            });
        let (compiler, standard) = best.ok_or(Missing::Standard)?;
        Ok(Toolchain {
            rustc: compiler.path.clone(),
            version: compiler.version.clone(),
            standard,
            linker: linker(compiler, &asked)?,
        })
    }

    /// Where the sources of the standard library lie, if they are installed.
    pub fn library(&self) -> Option<PathBuf> {
        let sysroot = output(&self.rustc, &["--print", "sysroot"])?;
        let library = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library");
        library.join("Cargo.toml").is_file().then_some(library)
    }

    /// One line for people.
    pub fn describe(&self) -> String {
        let release = field(&self.version, "release").unwrap_or("of unknown version");
        let standard = match self.standard {
            Standard::Installed => "installed target",
            Standard::Sources { .. } => "standard library from sources",
        };
        format!("{} {release} ({standard})", self.rustc.display())
    }
}

/// A compiler that answered.
struct Compiler {
    path: PathBuf,
    version: String,
    host: String,
    sysroot: PathBuf,
}

impl Compiler {
    fn ask(path: &Path) -> Option<Compiler> {
        let version = output(path, &["-vV"])?;
        let release = field(&version, "release")?;
        let mut numbers = release
            .split('.')
            .map_while(|part| part.parse::<u32>().ok());
        if (numbers.next()?, numbers.next()?) < OLDEST {
            return None;
        }
        let host = field(&version, "host")?.to_string();
        let sysroot = PathBuf::from(output(path, &["--print", "sysroot"])?.trim());
        Some(Compiler {
            path: path.to_path_buf(),
            version,
            host,
            sysroot,
        })
    }

    fn standard(&self) -> Option<Standard> {
        let rustlib = self.sysroot.join("lib/rustlib");
        if has_library(&rustlib.join(TARGET).join("lib")) {
            return Some(Standard::Installed);
        }
        let library = rustlib.join("src/rust/library");
        let there = library.join("Cargo.toml").is_file() && library.join("Cargo.lock").is_file();
        there.then(|| Standard::Sources {
            vendored: library.join("vendor").is_dir(),
        })
    }

    fn own_linker(&self) -> Option<PathBuf> {
        let bin = self
            .sysroot
            .join("lib/rustlib")
            .join(&self.host)
            .join("bin");
        Some(bin.join("rust-lld")).filter(|lld| lld.is_file())
    }
}

fn has_library(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return false;
    };
    let names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let has = |start: &str| {
        names
            .iter()
            .any(|n| n.starts_with(start) && n.ends_with(".rlib"))
    };
    has("libcore-") && has("libstd-")
}

/// The compiler's own linker needs no mention; otherwise that of another
/// compiler, then one of the system.
fn linker(compiler: &Compiler, all: &[Compiler]) -> Result<Option<PathBuf>, Missing> {
    if compiler.own_linker().is_some() {
        return Ok(None);
    }
    let found = all
        .iter()
        .find_map(Compiler::own_linker)
        .or_else(rustup_linker)
        .or_else(system_linker);
    found.map(Some).ok_or(Missing::Linker)
}

fn rustup_linker() -> Option<PathBuf> {
    let home = std::env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".rustup")))?;
    let toolchains = std::fs::read_dir(home.join("toolchains")).ok()?;
    toolchains.flatten().find_map(|toolchain| {
        let hosts = std::fs::read_dir(toolchain.path().join("lib/rustlib")).ok()?;
        hosts
            .flatten()
            .map(|host| host.path().join("bin/rust-lld"))
            .find(|lld| lld.is_file())
    })
}

fn system_linker() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|folder| folder.join("wasm-ld"));
    let versions = (14..=30)
        .rev()
        .map(|v| PathBuf::from(format!("/usr/bin/wasm-ld-{v}")));
    in_path.chain(versions).find(|lld| lld.is_file())
}

fn output(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn field<'a>(version: &'a str, name: &str) -> Option<&'a str> {
    version
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_target_folder_is_no_standard_library() {
        let folder = std::env::temp_dir().join(format!("portcullis-build-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("folder");
        assert!(!has_library(&folder));
        for name in ["libcore-1.rlib", "libstd-1.rlib"] {
            std::fs::write(folder.join(name), "").expect("file");
        }
        assert!(has_library(&folder));
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn reads_what_the_compiler_says_about_itself() {
        let text = "rustc 1.95.0\nhost: x86_64-unknown-linux-gnu\nrelease: 1.95.0\n";
        assert_eq!(field(text, "release"), Some("1.95.0"));
        assert_eq!(field(text, "host"), Some("x86_64-unknown-linux-gnu"));
        assert_eq!(field(text, "commit"), None);
    }

    #[test]
    fn what_is_missing_names_the_command() {
        for missing in [Missing::Standard, Missing::Linker] {
            assert!(missing.to_string().contains("cargo xtask setup"));
        }
    }
}
