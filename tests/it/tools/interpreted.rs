//! Policies in Python and JavaScript: built by the tools of their languages,
//! judged in a gate, and, where they are curious, shown nothing.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::languages::{example, packaged_in, plugin};
use crate::support::answer::Answer;
use crate::support::database::{OWNER, fresh_database};
use crate::support::gate::{DATABASE, Gate};
use crate::support::languages::{Language, build, caches, is_there};
use crate::support::programs::needed;
use crate::support::raw::{Login, Raw};

/// Tools of other languages take a core each, and all the memory there is.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("it is below the target folder")
        .to_owned()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The component of a source; none: its tool is not installed, and need not be.
fn built(language: Language, source: &Path, name: &str) -> Option<PathBuf> {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if !is_there(language, &target()) {
        assert!(!needed(&target().join("languages/installed")), "half made");
        return None;
    }
    let source = source.join(language.source());
    let interface = root().join("wit/policy.wit");
    let component = build(language, &source, &interface, &target(), name);
    Some(component.unwrap_or_else(|why| panic!("{why}")))
}

/// Builds and packages an example, which runs its golden cases; prints what a verdict costs.
fn example_of(language: Language, name: &str, folder: &Path) -> Option<PathBuf> {
    let module = built(language, &example(name), name)?;
    let component = folder.join(format!("hello-{name}.wasm"));
    let manifest = example(name).join("policy.toml");
    let home = caches(&target()).expect("a folder for compiled code");
    packaged_in(&home, &module, &manifest, &component).expect("it is a policy");
    Some(component)
}

fn refusal(answers: &[Answer]) -> String {
    let error = answers.iter().find(|answer| answer.tag == b'E');
    error.map_or_else(String::new, |error| error.field(b'n'))
}

/// What both examples must do, over both protocols.
fn judges(gate: &Gate, user: &str) {
    let mut client = Raw::login(gate.address, &Login::new(user, DATABASE));
    assert_eq!(
        refusal(&client.run("Q CREATE TABLE t (id int)")),
        "hello/schema"
    );
    assert_eq!(client.value("SELECT 1"), "1");
    let pipeline = "P s SELECT 2\nB - s\nE -\nP t DROP TABLE t\nB - t\nE -\nP u SELECT 3\nS";
    let answers = client.run(pipeline);
    assert_eq!(refusal(&answers), "hello/schema");
    let rows: Vec<_> = answers.iter().filter(|answer| answer.tag == b'D').collect();
    assert_eq!(rows.len(), 1, "what came before it ran");
    assert_eq!(
        refusal(&client.run("Q SELECT 1; SELECT 1 + 1; DROP TABLE t; SELECT 'x'")),
        "hello/schema"
    );
    assert_eq!(client.value("SELECT 1 + 4"), "5");
    let before = gate.metric("portcullis_verdicts_total", "judged");
    for _ in 0..20 {
        assert_eq!(client.value("SELECT 1 + 5"), "6");
    }
    let after = gate.metric("portcullis_verdicts_total", "judged");
    assert!(after - before <= 2.0, "remembered: {before} {after}");
}

#[test]
fn python_judges_in_front_of_postgresql() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(component) = example_of(Language::Python { wasi: false }, "python", folder.path())
    else {
        return;
    };
    let Some(database) = fresh_database() else {
        return;
    };
    let rules = format!(
        "[[policy]]\nname = \"hello\"\nplugin = {component:?}\nruntime = \"interpreted\"\n\
         settings = {{ except = [\"migrations\"] }}\n"
    );
    let gate = Gate::start(&database, &rules);
    judges(&gate, OWNER);
    gate.edit("\"migrations\"", &format!("\"{OWNER}\""));
    let mut client = gate.connect();
    let until = Instant::now() + Duration::from_secs(20);
    while !refusal(&client.run("Q CREATE TABLE t (id int)")).is_empty() {
        assert!(Instant::now() < until, "the new settings are not there");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(client.value("SELECT count(*) FROM t"), "0");
}

#[test]
fn javascript_judges_in_front_of_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(component) = example_of(Language::JavaScript, "javascript", folder.path()) else {
        return;
    };
    let rules = format!(
        "[[policy]]\nname = \"hello\"\nplugin = {component:?}\nruntime = \"interpreted\"\n\
         settings = {{ except = [\"migrations\"] }}\n"
    );
    let gate = Gate::start_with(&head(&["app", "migrations"]), &rules);
    judges(&gate, "app");
    let mut client = Raw::login(gate.address, &Login::new("migrations", DATABASE));
    assert_eq!(refusal(&client.run("Q CREATE TABLE t (id int)")), "");
    assert_eq!(client.value("SELECT count(*) FROM t"), "0");
}

/// A database in memory and who may enter.
fn head(users: &[&str]) -> String {
    let users = users
        .iter()
        .map(|user| format!("[[user]]\nname = \"{user}\"\nauth = \"trust\"\n\n"));
    format!(
        "[[database]]\nname = \"{DATABASE}\"\nbackend = \"sqlite::memory:\"\n\n{}",
        users.collect::<String>()
    )
}

#[test]
fn the_readmes_and_the_page_say_what_is_run_here() {
    let page = root().join("docs/other-languages.md");
    let page = std::fs::read_to_string(page).expect("the page");
    for (language, name) in [
        (Language::Python { wasi: false }, "python"),
        (Language::JavaScript, "javascript"),
    ] {
        let readme = std::fs::read_to_string(example(name).join("README.md")).expect("a README");
        for text in [&readme, &page] {
            assert!(text.contains(&language.words().join(" ")), "{name}");
        }
    }
    let source = std::fs::read_to_string(example("python").join("app.py")).expect("the source");
    assert!(page.contains(&source), "the page shows the example");
}

/// A gate with the curious policy in front of one of its users.
fn curious() -> Option<Gate> {
    let module = built(
        Language::Python { wasi: true },
        &root().join("tests/languages"),
        "curious",
    )?;
    // Compiled before a gate is waited for.
    let home = caches(&target()).expect("a folder for compiled code");
    let path = module.to_str().expect("UTF-8");
    let (good, said) = plugin(&home, &["run", path, "--sql", "SELECT 1"]);
    assert!(good, "{said}");
    let rules = format!(
        "[[policy]]\nname = \"curious\"\nplugin = {module:?}\nruntime = \"interpreted\"\n\
         users = [\"mallory\"]\nbudget = \"1s\"\n"
    );
    let head = format!("workers = 1\n{}", head(&["app", "mallory"]));
    Some(Gate::start_with(&head, &rules))
}

#[test]
fn a_curious_interpreter_sees_nothing_and_stalls_nobody() {
    let Some(gate) = curious() else { return };
    let mut client = Raw::login(gate.address, &Login::new("mallory", DATABASE));
    assert_eq!(client.value("SELECT 1"), "1");
    let mut said = |attempt: &str| {
        let answers = client.run(&format!("Q SELECT '{attempt}'"));
        let error = answers.iter().find(|answer| answer.tag == b'E');
        let error = error.unwrap_or_else(|| panic!("{attempt} passed"));
        (error.field(b'n'), error.field(b'M'))
    };
    let clock = said("clock").1;
    for (attempt, saw) in [
        ("environment", "saw {}"),
        ("arguments", "saw []"),
        ("read", "was told FileNotFoundError"),
        ("write", "was told FileNotFoundError"),
        ("folder", "was told FileNotFoundError"),
        ("connect", "was told PermissionError"),
        ("resolve", "was told PermissionError"),
        ("clock", "saw [0.0, 0, 0.0]"),
        ("random", "saw True"),
        ("process", "was told AttributeError"),
        ("flood", "saw 'flooded'"),
        ("deep", "was told RecursionError"),
        ("bomb", "was told MemoryError"),
    ] {
        let (rule, message) = said(attempt);
        println!("{attempt}: {rule}: {message}");
        assert_eq!((&*rule, &*message), ("curious/saw", saw), "{attempt}");
    }
    assert_eq!(said("clock").1, clock, "it stands still");
    assert!(!Path::new("/tmp/portcullis-was-here").exists());
    assert!(!gate.log().contains("portcullis-flood"));
    for attempt in ["loop", "leave", "abort"] {
        assert_eq!(said(attempt).0, "curious/fault", "{attempt}");
    }
    stalls_nobody(&gate);
}

/// Six clients make both of its threads loop, on the gate's only worker.
fn stalls_nobody(gate: &Gate) {
    let address = gate.address;
    let mut innocent = Raw::login(address, &Login::new("app", DATABASE));
    let looping: Vec<_> = (0..6)
        .map(|number| {
            std::thread::spawn(move || {
                let mut client = Raw::login(address, &Login::new("mallory", DATABASE));
                // A shape of its own, so that it is really asked.
                refusal(&client.run(&format!("Q SELECT 'loop', {number} AS n{number}")))
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(100));
    let mut worst = Duration::ZERO;
    while looping.iter().any(|thread| !thread.is_finished()) {
        let begun = Instant::now();
        assert_eq!(innocent.value("SELECT 1"), "1");
        worst = worst.max(begun.elapsed());
    }
    println!("the slowest answer to somebody else: {worst:?}");
    // One that ran on the worker would hold it for a second.
    assert!(worst < Duration::from_millis(800), "{worst:?}");
    for thread in looping {
        assert_eq!(thread.join().expect("it ends"), "curious/fault");
    }
}
