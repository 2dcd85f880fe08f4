//! A wrong configuration is explained with its place; a right one is accepted.

use std::process::Command;

fn check(text: &str) -> (bool, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("portcullis.toml");
    std::fs::write(&file, text).expect("the configuration");
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .arg("check")
        .arg(&file)
        .output()
        .expect("portcullis runs");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    (
        output.status.success(),
        printed + &String::from_utf8_lossy(&output.stderr),
    )
}

const GOOD: &str = "[[database]]
name = \"app\"
backend = \"postgres://app@127.0.0.1:5432/app\"

[[user]]
name = \"app\"
auth = \"trust\"
";

#[test]
fn a_right_configuration_is_accepted() {
    let (accepted, text) = check(GOOD);
    assert!(accepted, "{text}");
}

#[test]
fn a_wrong_one_is_explained_with_line_and_column() {
    for (line, wrong, place, words) in [
        (8, "colour = \"blue\"", ":9:1", &["colour"][..]),
        (
            8,
            "[table_limitz]\nusers = 100",
            ":9:",
            &["table_limitz", "table_limits"],
        ),
        (
            8,
            "[[policy]]\nname = \"table-limit\"\nsettings = { tabels = {} }",
            ":11:",
            &["table-limit"],
        ),
        (8, "[[policy]]\nname = \"nope\"", ":", &["nope"]),
        (
            8,
            "[[listen]]\naddress = \"everywhere\"",
            ":10:",
            &["everywhere"],
        ),
        (8, "workers = -1", ":9:", &["workers"]),
        (8, "this is not toml", ":9:", &[]),
    ] {
        let mut lines: Vec<&str> = GOOD.lines().collect();
        lines.resize(line, "");
        // A bare key must stand before the first table.
        let bare = wrong.starts_with("colour") || wrong.starts_with("workers");
        let text = if bare {
            format!("{wrong}\n{GOOD}")
        } else {
            format!("{}\n{wrong}\n", lines.join("\n"))
        };
        let place = if bare { ":1:" } else { place };
        let (accepted, printed) = check(&text);
        assert!(!accepted, "{wrong}: accepted\n{printed}");
        assert!(
            printed.contains(&format!("portcullis.toml{place}")),
            "{wrong}: no place {place}\n{printed}"
        );
        for word in words {
            assert!(
                printed.contains(word),
                "{wrong}: `{word}` is not named\n{printed}"
            );
        }
    }
}

#[test]
fn the_examples_are_right() {
    let root = crate::support::source::root();
    let mut seen = 0;
    for entry in std::fs::read_dir(root.join("examples"))
        .expect("examples")
        .flatten()
    {
        let path = entry.path();
        if path.extension().is_none_or(|ending| ending != "toml") {
            continue;
        }
        seen += 1;
        let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .arg("check")
            .arg(&path)
            // Whatever secrets an example takes from the environment.
            .envs(environment(&path))
            .output()
            .expect("portcullis runs");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}: {errors}", path.display());
    }
    assert!(
        seen >= 2,
        "two complete configurations are shipped, found {seen}"
    );
}

fn environment(path: &std::path::Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(path).expect("an example");
    let names = text.split("env:").skip(1).map(|rest| {
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        rest[..end].to_owned()
    });
    names
        .filter(|name| !name.is_empty())
        .map(|name| (name, "secret".to_owned()))
        .collect()
}
