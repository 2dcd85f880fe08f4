//! A page of documentation from a `policy.toml`.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::component::{self, Error};

/// Name and page of every policy in a folder, by name.
pub fn all(plugins: &Path) -> Result<Vec<(String, String)>, Error> {
    let wrong = |error| Error::File(plugins.to_path_buf(), error);
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(plugins).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path().join("policy.toml");
        if path.is_file() {
            let (name, json) = component::manifest(&path)?;
            let value = serde_json::from_str(&json)
                .map_err(|error| Error::Manifest(path.clone(), error.to_string()))?;
            pages.push((name, render(&value)));
        }
    }
    pages.sort();
    Ok(pages)
}

/// The page.
pub fn render(manifest: &Value) -> String {
    let mut page = String::new();
    let _ = writeln!(
        page,
        "<!-- Made from policy.toml by `cargo xtask docs`; edit that. -->"
    );
    let _ = writeln!(
        page,
        "# {}\n\n{}\n",
        text(manifest, "name"),
        text(manifest, "summary")
    );
    let description = text(manifest, "description").trim();
    if !description.is_empty() {
        let _ = writeln!(page, "{description}\n");
    }
    settings(&mut page, list(manifest, "settings"));
    if let Some(example) = manifest.get("example").and_then(Value::as_str) {
        let _ = writeln!(page, "## Example\n\n```toml\n{}\n```\n", example.trim());
    }
    rules(&mut page, list(manifest, "rules"));
    cases(&mut page, list(manifest, "cases"));
    let _ = writeln!(
        page,
        "Version {}, interface {}.",
        text(manifest, "version"),
        text(manifest, "interface")
    );
    page
}

fn settings(page: &mut String, settings: &[Value]) {
    let _ = writeln!(page, "## Settings\n");
    if settings.is_empty() {
        let _ = writeln!(page, "None.\n");
        return;
    }
    let _ = writeln!(
        page,
        "| setting | type | default | meaning |\n|---|---|---|---|"
    );
    for setting in settings {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            text(setting, "name"),
            cell(text(setting, "type")),
            setting
                .get("default")
                .map_or(String::new(), |value| format!("`{}`", shown(value))),
            cell(text(setting, "meaning")),
        );
    }
    page.push('\n');
}

fn rules(page: &mut String, rules: &[Value]) {
    let _ = writeln!(page, "## Rules\n");
    for rule in rules {
        let _ = writeln!(
            page,
            "### `{}`\n\n{}\n",
            text(rule, "name"),
            text(rule, "meaning").trim()
        );
        for (key, label) in [
            ("message", "Message"),
            ("hint", "Hint"),
            ("todo", "What to do"),
        ] {
            let line = text(rule, key).trim();
            if !line.is_empty() {
                let _ = writeln!(page, "- {label}: {line}");
            }
        }
        page.push('\n');
    }
}

fn cases(page: &mut String, cases: &[Value]) {
    let _ = writeln!(
        page,
        "## How it decides\n\nEvery line is checked when the policy is loaded.\n"
    );
    let _ = writeln!(page, "| case | settings | decision |\n|---|---|---|");
    for case in cases {
        let expect = case.get("expect").unwrap_or(&Value::Null);
        let mut decision = text(expect, "decision").to_string();
        let rule = text(expect, "rule");
        if !rule.is_empty() {
            let _ = write!(decision, " (`{rule}`)");
        }
        for requirement in list(expect, "requirements") {
            let _ = write!(decision, ", {}", shown_requirement(requirement));
        }
        let settings = match case.get("settings") {
            Some(Value::Object(map)) if !map.is_empty() => {
                format!("`{}`", shown(&case["settings"]))
            }
            _ => String::new(),
        };
        let _ = writeln!(
            page,
            "| {} | {} | {} |",
            subject(case),
            cell(&settings),
            cell(&decision)
        );
    }
    page.push('\n');
}

fn shown_requirement(requirement: &Value) -> String {
    let Value::Object(fields) = requirement else {
        return requirement.as_str().unwrap_or_default().to_string();
    };
    let kind = text(requirement, "kind").to_string();
    fields
        .iter()
        .filter(|(key, _)| *key != "kind")
        .fold(kind, |mut line, (key, value)| {
            let _ = write!(line, " {key} {}", shown(value).trim_matches('"'));
            line
        })
}

fn subject(case: &Value) -> String {
    let name = text(case, "name");
    let sql = text(case, "sql")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    match (name.is_empty(), sql.is_empty()) {
        (true, _) => format!("`{}`", cell(&sql)),
        (false, true) => cell(name),
        (false, false) => format!("{}: `{}`", cell(name), cell(&sql)),
    }
}

/// TOML-like, which is how an operator writes it.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            let entries = map.iter().map(|(key, value)| {
                let key = if key.chars().all(bare) {
                    key.clone()
                } else {
                    format!("{key:?}")
                };
                format!("{key} = {}", shown(value))
            });
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        Value::Array(list) => {
            format!(
                "[{}]",
                list.iter().map(shown).collect::<Vec<_>>().join(", ")
            )
        }
        other => other.to_string(),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_of_the_policies_are_fresh() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let pages = all(&root.join("plugins")).expect("policy.toml files");
        assert!(pages.len() >= 5, "{} policies", pages.len());
        for (name, text) in pages {
            let path = root.join("docs/policies").join(format!("{name}.md"));
            let there = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                there == text,
                "{} is stale: run `cargo xtask docs`",
                path.display()
            );
        }
    }
}
