//! `portcullis policies`: which policies run, in which order.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::config::{self, Config, Plugin, PolicyConfig};

use super::terminal::{self, Paint, say, table};

/// Lists the policies of a configuration, in order.
#[derive(Debug, clap::Args)]
pub(super) struct Policies {
    /// The configuration; else the default policies are shown
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One JSON object a line, with settings
    #[arg(long)]
    json: bool,
}

pub(super) fn run(policies: &Policies) -> ExitCode {
    let config = match &policies.config {
        None => Config::default(),
        Some(path) => match config::load_without_secrets(path) {
            Ok(config) => config,
            Err(list) => {
                terminal::complain(&list);
                return ExitCode::from(terminal::USAGE);
            }
        },
    };
    if policies.json {
        let lines: Vec<String> = config
            .policies
            .iter()
            .map(|policy| format!("{}\n", object(policy)))
            .collect();
        say(&lines.concat());
    } else {
        let rows: Vec<Vec<String>> = config.policies.iter().map(row).collect();
        say(&table(
            &["POLICY", "PLUGIN", "MODE", "ON FAULT", "APPLIES TO"],
            &rows,
            Paint::stdout(),
        ));
    }
    ExitCode::SUCCESS
}

fn plugin(plugin: &Plugin) -> String {
    match plugin {
        Plugin::BuiltIn(name) => name.to_string(),
        Plugin::File(path) => path.display().to_string(),
    }
}

fn row(policy: &PolicyConfig) -> Vec<String> {
    let list = |what: &str, names: &[std::sync::Arc<str>]| match names {
        [] => None,
        names => Some(format!("{what} {}", names.join(" "))),
    };
    let scope = [
        list("databases", &policy.databases),
        list("users", &policy.users),
        list("not users", &policy.except_users),
    ];
    let scope: Vec<String> = scope.into_iter().flatten().collect();
    vec![
        policy.name.to_string(),
        plugin(&policy.plugin),
        policy.mode.name().to_owned(),
        policy.on_fault.name().to_owned(),
        if scope.is_empty() {
            "everybody".to_owned()
        } else {
            scope.join("; ")
        },
    ]
}

fn object(policy: &PolicyConfig) -> Value {
    json!({
        "name": &*policy.name,
        "plugin": plugin(&policy.plugin),
        "mode": policy.mode.name(),
        "on_fault": policy.on_fault.name(),
        "settings": serde_json::from_str::<Value>(&policy.settings).unwrap_or_default(),
        "databases": policy.databases.iter().map(|name| &**name).collect::<Vec<_>>(),
        "users": policy.users.iter().map(|name| &**name).collect::<Vec<_>>(),
        "except_users": policy.except_users.iter().map(|name| &**name).collect::<Vec<_>>(),
    })
}
