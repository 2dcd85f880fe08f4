//! From an empty folder to a policy in a gate, as an ordinary user without network.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::support::gate::{DATABASE, Gate};
use crate::support::postgres::{make_folder, unprivileged_user};

/// Somebody with a home, a compiler and nothing else.
pub struct Author {
    /// Where they work; removed at the end.
    pub folder: PathBuf,
    owner: Option<(u32, u32)>,
    toolchain: &'static Path,
}

impl Drop for Author {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Author {
    pub fn new() -> Author {
        let owner = unprivileged_user().expect("a user");
        let folder = make_folder(owner).expect("a folder");
        let toolchain = toolchain(owner.is_some());
        Author {
            folder,
            owner,
            toolchain,
        }
    }

    /// A command in the author's world: no network, nothing downloaded before.
    pub fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = crate::support::postgres::run_as(program, folder, self.owner);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let own = [self.toolchain.join("bin"), portcullis_folder()];
        let path = own.into_iter().chain(std::env::split_paths(&path));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("CARGO") || name.starts_with("RUST") {
                command.env_remove(name);
            }
        }
        command
            .env("PATH", std::env::join_paths(path).expect("a path"))
            .env("HOME", &self.folder)
            .env("CARGO_HOME", self.folder.join("cargo-home"))
            .env("CARGO_NET_OFFLINE", "true")
            .env("XDG_CACHE_HOME", cache(self.owner));
        command
    }

    /// Runs it and returns what it printed; it must end well.
    pub fn run(&self, folder: &Path, words: &[&str]) -> String {
        let output = self.output(folder, words);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{words:?}\n{out}\n{err}");
        out
    }

    /// Runs it, however it ends.
    pub fn output(&self, folder: &Path, words: &[&str]) -> Output {
        let program = match words[0] {
            "portcullis" => PathBuf::from(env!("CARGO_BIN_EXE_portcullis")),
            other => self.toolchain.join("bin").join(other),
        };
        let mut command = self.command(&program, folder);
        command.args(&words[1..]).output().expect("it starts")
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn portcullis_folder() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_portcullis"));
    program.parent().expect("a folder").to_owned()
}

/// The compiler, where the author can reach it: root's own lies behind a closed
/// door. Always at the same place, because cargo compiles anew for another linker.
fn toolchain(other_user: bool) -> &'static Path {
    static TOOLCHAIN: OnceLock<PathBuf> = OnceLock::new();
    TOOLCHAIN.get_or_init(|| {
        let ask = |arguments: &[&str]| {
            let output = Command::new("rustc").args(arguments).output();
            text(&output.expect("a compiler").stdout)
        };
        let sysroot = PathBuf::from(ask(&["--print", "sysroot"]).trim());
        if !other_user {
            return sysroot;
        }
        let version = ask(&["-V"]).replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let linked = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("author-{version}"));
        let part = linked.with_extension(std::process::id().to_string());
        let copy = |how: &str| {
            let status = Command::new("cp").arg(how).args([&sysroot, &part]).status();
            status.is_ok_and(|status| status.success())
        };
        if !linked.is_dir() {
            // Links: a copy would take a gigabyte.
            if !copy("-al") {
                let _ = std::fs::remove_dir_all(&part);
                assert!(copy("-a"), "a toolchain at {}", part.display());
            }
            std::fs::rename(&part, &linked).expect("the toolchain in its place");
        }
        linked
    })
}

/// Kept between runs: where the standard library has to be compiled, that is a minute.
fn cache(owner: Option<(u32, u32)>) -> &'static Path {
    static CACHE: OnceLock<PathBuf> = OnceLock::new();
    CACHE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("author-cache");
        std::fs::create_dir_all(&folder).expect("a cache");
        if let Some((user, group)) = owner {
            std::os::unix::fs::chown(&folder, Some(user), Some(group)).expect("chown");
        }
        folder
    })
}

#[test]
fn a_new_policy_goes_from_an_empty_folder_into_a_gate() {
    let author = Author::new();
    author.run(&author.folder, &["portcullis", "plugin", "new", "no-drop"]);
    let folder = author.folder.join("no-drop");
    let tested = author.run(&folder, &["cargo", "test"]);
    assert!(tested.contains("the_golden_cases_hold ... ok"), "{tested}");
    let built = author.run(&folder, &["portcullis", "plugin", "build"]);
    assert!(built.contains("no-drop.wasm"), "{built}");
    let compared = author.run(&folder, &["portcullis", "plugin", "test"]);
    assert!(compared.contains("ok 4 cases agree"), "{compared}");
    assert!(!compared.contains('\x1b'), "no colours into a pipe");

    let rules = "[[policy]]\nname = \"no-drop\"\nplugin = \"./no-drop.wasm\"\n";
    let gate = Gate::start_with_files(&in_memory(), rules, |gate| {
        std::fs::copy(folder.join("no-drop.wasm"), gate.join("no-drop.wasm")).expect("copied");
    });
    let answers = gate.connect().run("Q CREATE TABLE t (a int)");
    let refused = answers
        .iter()
        .any(|answer| answer.line().contains("no-drop/schema"));
    assert!(refused, "{answers:?}");
}

#[test]
fn native_and_compiled_verdicts_that_differ_are_found() {
    let author = Author::new();
    author.run(
        &author.folder,
        &["portcullis", "plugin", "new", "two-faced"],
    );
    let folder = author.folder.join("two-faced");
    let source = folder.join("src/lib.rs");
    let text_before = std::fs::read_to_string(&source).expect("source");
    let says_other = text_before.replace(
        "\"the schema may not be changed here\"",
        "if cfg!(target_arch = \"wasm32\") { \"no\" } else { \"yes\" }",
    );
    assert_ne!(text_before, says_other);
    std::fs::write(&source, says_other).expect("written");
    let output = author.output(&folder, &["portcullis", "plugin", "test"]);
    assert_eq!(output.status.code(), Some(1));
    let out = text(&output.stdout);
    assert!(out.contains("failed 2 of 4 cases"), "{out}");

    std::fs::write(
        &source,
        text_before.replace("check_cases::<super::TwoFaced>", "drop::<&str>"),
    )
    .expect("written");
    let output = author.output(&folder, &["portcullis", "plugin", "test"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("call `check_cases`"));
}

#[test]
fn a_folder_that_holds_something_is_left_alone() {
    let author = Author::new();
    for (name, why) in [
        ("full", "is not empty"),
        ("Bad Name", "is no name for a policy"),
    ] {
        let folder = author.folder.join(name);
        std::fs::create_dir_all(folder.join("x")).expect("folder");
        let output = author.output(&author.folder, &["portcullis", "plugin", "new", name]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(why), "{name}");
    }
}

/// A database in memory that anybody may enter.
fn in_memory() -> String {
    format!(
        "[[database]]\nname = \"{DATABASE}\"\nbackend = \"sqlite::memory:\"\n\n\
         [[user]]\nname = \"app\"\nauth = \"trust\"\n\n"
    )
}

/// Ends what it watches over.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(300);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn what_is_saved_while_watching_reaches_a_running_gate() {
    let author = Author::new();
    author.run(
        &author.folder,
        &["portcullis", "plugin", "new", "live-edit"],
    );
    let folder = author.folder.join("live-edit");
    let program = PathBuf::from(env!("CARGO_BIN_EXE_portcullis"));
    let mut command = author.command(&program, &folder);
    command
        .args(["plugin", "watch"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let watching = Running(command.spawn().expect("it starts"));
    let component = folder.join("live-edit.wasm");
    wait_until("the first build", || component.is_file());

    let rules = format!("[[policy]]\nname = \"live-edit\"\nplugin = {component:?}\n");
    let gate = Gate::start_with(&in_memory(), &rules);
    let mut client = gate.connect();
    let mut refused_with = |words: &str| {
        let answers = client.run("Q CREATE TABLE t (a int)");
        answers.iter().any(|answer| answer.line().contains(words))
    };
    assert!(refused_with("the schema may not be changed here"));
    let source = folder.join("src/lib.rs");
    let before = std::fs::read_to_string(&source).expect("source");
    let after = before.replace("the schema may not be changed here", "not on a Sunday");
    std::fs::write(&source, after).expect("saved");
    wait_until("the gate swaps", || refused_with("not on a Sunday"));
    drop(watching);
}
