//! `portcullis plugin list`: what a configuration installs. Asks no running gate.

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::config::{self, Config, Plugin, PolicyConfig};
use crate::policy::{Manifest, signature};

use super::super::terminal::{self, Paint, say, table};
use super::{Format, inspect};

/// Digits of a hash in the table; a terminal is 80 wide.
const HASH_SHOWN: usize = 12;

/// Prints the policies of the file; 1 when a plugin of it cannot be read.
pub(super) fn run(config: Option<&Path>, format: Format) -> ExitCode {
    let config = match config.map(config::load_without_secrets) {
        None => Config::default(),
        Some(Ok(config)) => config,
        Some(Err(list)) => {
            terminal::complain(&list);
            return ExitCode::from(terminal::USAGE);
        }
    };
    let listed: Vec<Value> = config.policies.iter().map(entry).collect();
    match format {
        Format::Json => {
            let lines: Vec<String> = listed.iter().map(|entry| format!("{entry}\n")).collect();
            say(&lines.concat());
        }
        Format::Text => {
            let rows: Vec<Vec<String>> = listed.iter().map(row).collect();
            let head = [
                "POLICY", "PLUGIN", "VERSION", "MODE", "BYTES", "SHA256", "SIGNED",
            ];
            say(&table(&head, &rows, Paint::stdout()));
        }
    }
    let broken = listed.iter().filter(|entry| !entry["error"].is_null());
    let broken: Vec<_> = broken
        .map(|entry| {
            let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
            config::Diagnostic::error(format!("policy `{}`: {}", text("name"), text("error")))
        })
        .collect();
    if terminal::complain(&broken) {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn entry(policy: &PolicyConfig) -> Value {
    let plugin = match &policy.plugin {
        Plugin::BuiltIn(name) => name.to_string(),
        Plugin::File(path) => path.display().to_string(),
    };
    let mut entry = json!({
        "name": &*policy.name,
        "plugin": plugin,
        "mode": policy.mode.name(),
    });
    match inspect::bytes(&plugin) {
        Ok(bytes) => {
            let manifest = Manifest::find(&bytes).ok().flatten().unwrap_or_default();
            entry["version"] = json!(manifest.version);
            entry["bytes"] = json!(bytes.len());
            let hash = Sha256::digest(&bytes);
            let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            entry["sha256"] = json!(hash);
            entry["signed"] = json!(signature::signers(&bytes).len());
        }
        Err(problem) => entry["error"] = json!(problem.message),
    }
    entry
}

fn row(entry: &Value) -> Vec<String> {
    let text = |key: &str| entry[key].as_str().unwrap_or("-").to_owned();
    let number = |key: &str| {
        entry[key]
            .as_u64()
            .map_or("-".to_owned(), |n| n.to_string())
    };
    // A path is told by its end; the whole one is in the JSON.
    let plugin = text("plugin");
    let plugin = plugin.rsplit('/').next().unwrap_or(&plugin).to_owned();
    vec![
        text("name"),
        plugin,
        text("version"),
        text("mode"),
        number("bytes"),
        text("sha256").chars().take(HASH_SHOWN).collect(),
        match entry["signed"].as_u64() {
            None | Some(0) => "no".to_owned(),
            Some(1) => "yes".to_owned(),
            Some(n) => format!("{n} times"),
        },
    ]
}
