//! Builds policies in Python and JavaScript, with the tools that `cargo xtask
//! setup` installed. Shared with xtask, so it knows nothing but the standard
//! library.
//!
//! What was built is kept as long as nothing it was made from changes: making
//! one takes seconds, and compiling one that was made anew takes many more.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How a language becomes a component.
#[derive(Debug, Clone, Copy)]
pub enum Language {
    /// componentize-py; with WASI the interpreter imports it as it is made to.
    Python {
        /// Whether it does.
        wasi: bool,
    },
    /// componentize-js, with everything switched off that needs WASI.
    JavaScript,
}

impl Language {
    /// The file that is the policy.
    pub fn source(self) -> &'static str {
        match self {
            Language::Python { .. } => "app.py",
            Language::JavaScript => "policy.js",
        }
    }

    /// The component before `portcullis plugin package` has seen it.
    pub fn output(self) -> &'static str {
        match self {
            Language::Python { .. } => "app.wasm",
            Language::JavaScript => "policy.wasm",
        }
    }

    /// The command, as a README shows it; run in the folder of the source.
    pub fn words(self) -> Vec<&'static str> {
        let line = match self {
            Language::Python { wasi: false } => {
                "componentize-py --wit-path wit/policy.wit --world simple componentize --stub-wasi app -o app.wasm"
            }
            Language::Python { wasi: true } => {
                "componentize-py --wit-path wit/policy.wit --world simple componentize app -o app.wasm"
            }
            Language::JavaScript => {
                "componentize-js policy.js --wit wit/policy.wit --world-name simple --disable stdio random clocks http fetch-event --out policy.wasm"
            }
        };
        line.split(' ').collect()
    }

    fn program(self, tools: &Path) -> PathBuf {
        match self {
            Language::Python { .. } => tools.join("python/bin/componentize-py"),
            Language::JavaScript => tools.join("node/node_modules/.bin/componentize-js"),
        }
    }
}

/// The folder that `cargo xtask setup` fills, below the target folder.
pub fn tools(target: &Path) -> PathBuf {
    target.join("languages")
}

/// Whether a language's tool is there.
pub fn is_there(language: Language, target: &Path) -> bool {
    language.program(&tools(target)).exists()
}

/// Where the author's tools keep compiled code, so that gates with the state
/// folder `tmp` find it again: compiling an interpreter takes a quarter of a minute
/// in a debug build.
pub fn caches(target: &Path) -> std::io::Result<PathBuf> {
    let (home, cache) = (target.join("tmp/tools"), target.join("tmp/cache"));
    std::fs::create_dir_all(&home)?;
    std::fs::create_dir_all(&cache)?;
    // A path that holds wherever the program is started.
    let cache = cache.canonicalize()?;
    let link = home.join("portcullis");
    if !link.exists() {
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(&cache, &link)?;
    }
    home.canonicalize()
}

/// Builds the policy in this source and returns the component. `name` is the
/// folder it is made in; no two builds may use one at the same time.
pub fn build(
    language: Language,
    source: &Path,
    interface: &Path,
    target: &Path,
    name: &str,
) -> Result<PathBuf, String> {
    let tools = tools(target);
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let (text, wit) = (read(source)?, read(interface)?);
    let installed = read(&tools.join("installed"))?;
    let made = tools.join("made").join(name);
    let (stamp, component) = (made.join("stamp"), made.join(language.output()));
    let from = format!("{language:?}\n{installed}\n{wit}\n{text}");
    let same = std::fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == from);
    if same && component.is_file() {
        return Ok(component);
    }
    let wrong = |error: std::io::Error| format!("{}: {error}", made.display());
    let _ = std::fs::remove_dir_all(&made);
    std::fs::create_dir_all(made.join("wit")).map_err(wrong)?;
    std::fs::write(made.join("wit/policy.wit"), wit).map_err(wrong)?;
    std::fs::write(made.join(language.source()), text).map_err(wrong)?;
    let words = language.words();
    let mut command = Command::new(language.program(&tools));
    command.args(&words[1..]).current_dir(&made);
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("cannot run `{}`: {error}", words[0]))?;
    if !output.status.success() {
        return Err(format!(
            "`{}` ended with {}\n{}{}",
            words.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    std::fs::write(&stamp, from).map_err(wrong)?;
    Ok(component)
}
