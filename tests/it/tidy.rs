//! The architecture, held by reading the sources.
//!
//! A rule that only stands in a document is forgotten within a month. Each test
//! here is one sentence of `docs/architecture.md`; change both or neither.

use std::collections::BTreeSet;

use crate::support::source::{self, Source};

/// Modules by line; a module may use only modules on later lines.
const LINES: &[&[&str]] = &[
    &["cli"],
    &["app"],
    &["frontend", "admin", "console", "control"],
    &["gate"],
    &["safety"],
    &["policy", "backend"],
    &["net", "telemetry", "wire"],
    &["config", "sql"],
    &["model"],
];

/// Arrows that the lines would allow and that must not exist all the same.
const NEVER: &[(&str, &str, &str)] = &[
    (
        "frontend",
        "backend",
        "a door hands its client to the gate and never sees a database",
    ),
    (
        "admin",
        "backend",
        "the admin surface asks the gate, not the database",
    ),
    (
        "console",
        "backend",
        "the console shows what the gate knows of links",
    ),
    (
        "control",
        "backend",
        "the control socket passes commands on and carries none out",
    ),
];

/// A crate and the only places that may name it.
const FENCES: &[(&str, &[&str])] = &[
    ("sqlparser", &["src/sql/"]),
    ("wasmtime", &["src/policy/wasm/"]),
    ("rustls", &["src/net/tls/", "tests/"]),
    ("axum", &["src/admin/"]),
    ("rustix", &["src/control/"]),
    (
        "tokio_postgres",
        &["src/backend/postgres/", "src/gate/served/tests", "tests/"],
    ),
    ("deadpool_postgres", &["src/backend/postgres/"]),
    (
        "rusqlite",
        &["src/backend/sqlite/", "src/telemetry/history/", "tests/"],
    ),
    ("prometheus", &["src/telemetry/metrics"]),
    ("notify", &["src/app/reload"]),
    (
        "wit_component",
        &["sdk/", "src/cli/", "src/policy/tests/", "tests/"],
    ),
];

const RUST: &[&str] = &[
    "src", "sdk", "plugins", "xtask", "tests", "benches", "fuzz", "wit", "build.rs",
];
const LONGEST_FILE: usize = 500;

fn existing(folders: &'static [&'static str]) -> Vec<&'static str> {
    let there = |folder: &&str| source::root().join(folder).exists();
    folders.iter().copied().filter(there).collect()
}

fn rust_files() -> Vec<Source> {
    source::files(&existing(RUST), &[".rs"])
}

fn line_of(module: &str) -> Option<usize> {
    LINES.iter().position(|line| line.contains(&module))
}

/// `src/gate/served/rows.rs` → `[gate, served, rows]`.
fn module_path(path: &str) -> Vec<&str> {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut parts: Vec<&str> = inside.split('/').collect();
    if matches!(parts.last(), Some(&"mod")) {
        parts.pop();
    }
    parts
}

fn complain(wrong: Vec<String>, rule: &str) {
    assert!(wrong.is_empty(), "{rule}\n  {}\n", wrong.join("\n  "));
}

#[test]
fn arrows_point_down() {
    let mut wrong = Vec::new();
    for file in source::files(&["src"], &[".rs"]) {
        let here = module_path(&file.path);
        let Some(from) = line_of(here[0]) else {
            continue; // lib.rs and main.rs: they name the modules
        };
        for path in source::paths(&file.text) {
            let Some(target) = crate_module(&path, here.len()) else {
                continue;
            };
            let Some(to) = line_of(target) else { continue };
            let forbidden = NEVER.iter().find(|n| n.0 == here[0] && n.1 == target);
            if target != here[0] && (to <= from || forbidden.is_some()) {
                let why = forbidden.map_or("it is not on a lower line", |n| n.2);
                wrong.push(format!("{}:{} uses {target}: {why}", file.path, path.line));
            }
        }
    }
    complain(
        wrong,
        "a module may use only modules on lower lines (docs/architecture.md)",
    );
}

/// The top module a path leads to, when it starts at the crate's root.
fn crate_module(path: &source::PathUse, depth: usize) -> Option<&str> {
    let segments = &path.segments;
    let supers = segments.iter().take_while(|s| *s == "super").count();
    if segments[0] == "crate" || segments[0] == "portcullis" {
        segments.get(1).map(String::as_str)
    } else if supers > 0 && supers >= depth + path.inline_depth {
        segments.get(supers).map(String::as_str)
    } else {
        None
    }
}

#[test]
fn every_folder_stands_on_a_line() {
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(source::root().join("src")).expect("src") {
        let entry = entry.expect("entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        let module = name.trim_end_matches(".rs");
        if line_of(module).is_none() && !matches!(module, "lib" | "main") {
            wrong.push(format!("src/{name}"));
        }
    }
    complain(
        wrong,
        "a new folder needs a line in LINES and in docs/architecture.md",
    );
}

#[test]
fn fenced_crates_stay_in_their_folder() {
    let mut wrong = Vec::new();
    for file in rust_files() {
        for path in source::paths(&file.text) {
            let name = path.segments[0].as_str();
            let Some((_, allowed)) = FENCES.iter().find(|f| f.0 == name) else {
                continue;
            };
            if !allowed.iter().any(|prefix| file.path.starts_with(prefix)) {
                wrong.push(format!(
                    "{}:{} names {name}, which belongs to {}",
                    file.path, path.line, allowed[0]
                ));
            }
        }
    }
    complain(
        wrong,
        "a crate behind a fence may be named in its folder only",
    );
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let mut wrong = Vec::new();
    for file in rust_files() {
        let lines = file.text.lines().count();
        if lines > LONGEST_FILE {
            wrong.push(format!("{} has {lines} lines", file.path));
        }
    }
    complain(
        wrong,
        "a file over 500 lines holds two things: take them apart",
    );
}

#[test]
fn every_source_says_what_it_is_for() {
    let mut wrong = Vec::new();
    for file in rust_files() {
        if !file.text.starts_with("//!") && !file.text.starts_with("#!") {
            wrong.push(format!("{} does not open with //!", file.path));
        }
        let intro = file
            .text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .count();
        let folder = file.path.starts_with("src/") && file.path.ends_with("/mod.rs");
        if folder && intro < 3 && file.text.lines().count() > 20 {
            wrong.push(format!(
                "{} is the front door of a folder: say what it is for, what it is not, what to read first",
                file.path
            ));
        }
    }
    complain(wrong, "every file opens with its purpose");
}

#[test]
fn public_items_are_documented() {
    let manifest = std::fs::read_to_string(source::root().join("Cargo.toml")).expect("Cargo.toml");
    let switched_on = manifest.contains("missing_docs = \"warn\"");
    assert!(switched_on, "the compiler finds undocumented items");
    let mut wrong = Vec::new();
    for file in source::files(&existing(&["src", "sdk"]), &[".rs"]) {
        for (at, _) in file.text.match_indices("missing_docs") {
            let attribute = file.text[at..].split(")]").next().unwrap_or_default();
            if !attribute.contains("reason") {
                wrong.push(format!("{} switches the lint off", file.path));
            }
        }
    }
    complain(
        wrong,
        "undocumented items are allowed only with a reason (generated code)",
    );
}

#[test]
fn nothing_is_switched_off_or_left_undone() {
    let marks = [
        concat!("#[ig", "nore"),
        concat!("todo", "!("),
        concat!("unimple", "mented!("),
        concat!("FIX", "ME"),
    ];
    let mut wrong = Vec::new();
    for file in rust_files() {
        for (number, line) in file.text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                wrong.push(format!("{}:{} {}", file.path, number + 1, line.trim()));
            }
        }
    }
    complain(
        wrong,
        "unfinished work is listed in docs/status.md, not marked in the sources",
    );
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    let homes = [
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/Us", "ers/"),
        concat!("/wo", "rk/"),
    ];
    let mut folders = existing(RUST);
    folders.extend(existing(&[
        "docs",
        "examples",
        "wit",
        "README.md",
        "CHANGELOG.md",
        ".ci",
        "Cargo.toml",
        "Cargo.lock",
    ]));
    let mut wrong = Vec::new();
    for file in source::files(
        &folders,
        &["rs", "md", "toml", "wit", "lock", "run", "json", "sql"],
    ) {
        for (number, line) in file.text.lines().enumerate() {
            if homes.iter().any(|home| line.contains(home)) {
                wrong.push(format!("{}:{} {}", file.path, number + 1, line.trim()));
            }
        }
    }
    complain(
        wrong,
        "a path of one person's machine means nothing to the next reader",
    );
}

#[test]
fn links_in_the_documentation_lead_somewhere() {
    let folders = existing(&["docs", "README.md", "CHANGELOG.md", "examples", "plugins"]);
    let mut wrong = Vec::new();
    for file in source::files(&folders, &[".md"]) {
        let folder = source::root().join(&file.path);
        let folder = folder.parent().expect("a file lies in a folder");
        for target in links(&file.text) {
            let path = target.split('#').next().unwrap_or_default();
            let elsewhere = path.is_empty() || path.contains("://") || path.starts_with("mailto:");
            if !elsewhere && !folder.join(path).exists() {
                wrong.push(format!("{}: {target}", file.path));
            }
        }
    }
    complain(wrong, "a link that leads nowhere");
}

/// Targets of `[text](target)`, code blocks left out.
fn links(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for (at, _) in line.match_indices("](") {
            let rest = &line[at + 2..];
            found.extend(
                rest.split(')')
                    .next()
                    .filter(|target| !target.contains(' ')),
            );
        }
    }
    found
}

#[test]
fn metrics_are_documented() {
    let docs: String = source::files(&existing(&["docs"]), &[".md"])
        .iter()
        .map(|f| f.text.as_str())
        .collect();
    let mut missing = BTreeSet::new();
    for file in source::files(&existing(&["src/telemetry"]), &[".rs"]) {
        for piece in file
            .text
            .split('"')
            .filter(|p| p.starts_with("portcullis_"))
        {
            let is_name = piece
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            if is_name && !docs.contains(piece) {
                missing.insert(piece.to_owned());
            }
        }
    }
    complain(
        missing.into_iter().collect(),
        "every metric is explained below docs/",
    );
}

/// Names through which Rust reads the machine it runs on.
const MACHINE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::io",
    "std::os",
    "std::path",
    "std::process",
    "std::thread",
    "std::time",
    "tokio",
    "tracing",
    "rand::",
    "SystemTime",
    "Instant",
    "println",
];

#[test]
fn the_world_of_interpreted_policies_is_empty() {
    let path = source::root().join("src/policy/wasm/wasi.rs");
    let text = std::fs::read_to_string(path).expect("what stands in for WASI");
    let code: Vec<&str> = text
        .lines()
        .filter(|l| !l.trim().starts_with("//"))
        .collect();
    let wrong = MACHINE
        .iter()
        .filter(|name| code.iter().any(|line| line.contains(**name)))
        .map(|name| format!("src/policy/wasm/wasi.rs names {name}"));
    complain(
        wrong.collect(),
        "what stands in for WASI reads nothing of the machine",
    );
}

#[test]
fn policies_run_without_wasi_threads_of_components_and_garbage_collection() {
    let lock = std::fs::read_to_string(source::root().join("Cargo.lock")).expect("the lock");
    let mut wrong = Vec::new();
    for package in lock.split("[[package]]") {
        let name = package
            .lines()
            .find_map(|line| line.strip_prefix("name = "));
        let name = name.unwrap_or_default().trim_matches('"');
        if name.starts_with("wasmtime-wasi") || name == "wasi-common" {
            wrong.push(format!("{name} is a WASI with something behind it"));
        }
        // Whoever else depends on it could switch its features on.
        let depends = package.lines().any(|line| line.trim() == "\"wasmtime\",");
        if depends && name != "portcullis" {
            wrong.push(format!("{name} depends on wasmtime"));
        }
    }
    let manifest = std::fs::read_to_string(source::root().join("Cargo.toml")).expect("a manifest");
    let line = manifest
        .lines()
        .find(|line| line.starts_with("wasmtime = "));
    let line = line.expect("wasmtime is a dependency");
    if !line.contains("default-features = false") {
        wrong.push("wasmtime has its default features".to_owned());
    }
    for feature in ["async", "component-model-async", "gc", "threads", "debug"] {
        if line.contains(&format!("\"{feature}\"")) {
            wrong.push(format!("wasmtime has the feature {feature}"));
        }
    }
    complain(
        wrong,
        "each would cost every call, or give policies a way out",
    );
}

#[test]
fn the_toolchain_file_lists_no_wasm_target() {
    let path = source::root().join("rust-toolchain.toml");
    if let Ok(text) = std::fs::read_to_string(path) {
        let reason =
            "where nothing can be downloaded a listed target makes every cargo command fail";
        assert!(!text.contains("wasm32"), "{reason}");
    }
}
