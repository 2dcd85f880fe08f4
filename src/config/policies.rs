//! `[[policy]]`, `[table_limits]` and the default policies that nobody mentioned.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::keys::keys;
use super::load::{as_table, unique};
use super::reader::{At, Table};
use super::settings::{self, Settings};
use super::values::{self, Surroundings};
use super::{
    BUILT_IN_PLUGINS, DEFAULT_POLICIES, Mode, OnFault, Plugin, PolicyConfig, PublicKey, Runtime,
    nearest, reference,
};

const MODES: [(&str, Mode); 3] = [
    ("enforce", Mode::Enforce),
    ("monitor", Mode::Monitor),
    ("off", Mode::Off),
];

/// All policies: written ones in the order of the file, then the default ones.
pub(super) fn read(top: Table<'_>, surroundings: Surroundings<'_>) -> Vec<PolicyConfig> {
    let trusted = keys(top, "trusted_keys");
    let mut seen = HashMap::new();
    let mut written = Vec::new();
    if let Some(found) = top.get("table_limits") {
        seen.insert(
            "table_limits".to_owned(),
            top.problems.source.position(found.span.start).line,
        );
        let start = found.span.start;
        written.extend(table_limits(top, found).map(|policy| (start, policy)));
    }
    for table in top.tables("policy", &reference::POLICY) {
        if let Some(name) = table.text("name") {
            unique(&mut seen, &name, "policy", table.problems);
        }
        written.extend(
            policy(table, surroundings, &trusted).map(|policy| (table.span().start, policy)),
        );
    }
    written.sort_by_key(|(start, _)| *start);
    let mut policies: Vec<PolicyConfig> = written.into_iter().map(|(_, policy)| policy).collect();

    let defaults = top.table("defaults", &reference::DEFAULTS);
    let mode = defaults
        .and_then(|table| table.choice("mode", &MODES))
        .map_or(Mode::Enforce, |mode| mode.value);
    append_defaults(&mut policies, mode);
    policies
}

/// Appends the default policies that no policy mentions.
pub(super) fn append_defaults(policies: &mut Vec<PolicyConfig>, mode: Mode) {
    for name in DEFAULT_POLICIES {
        let mentioned = policies.iter().any(|policy| {
            &*policy.name == *name
                || matches!(&policy.plugin, Plugin::BuiltIn(plugin) if &**plugin == *name)
        });
        if !mentioned {
            policies.push(PolicyConfig {
                mode,
                ..PolicyConfig::built_in(name)
            });
        }
    }
}

fn table_limits(top: Table<'_>, found: At<&toml::de::DeValue<'_>>) -> Option<PolicyConfig> {
    let Some(table) = as_table(found.value) else {
        let hint = "write [table_limits] and below it lines like users = 100";
        top.problems
            .error(found.span, "`table_limits` must be a table", hint);
        return None;
    };
    let Settings { json, positions } = settings::settings(table, found.span, "", top.problems);
    Some(PolicyConfig {
        name: Arc::from("table_limits"),
        settings: Arc::from(json.to_string()),
        positions: Arc::new(positions),
        ..PolicyConfig::built_in("table-limit")
    })
}

fn policy(
    table: Table<'_>,
    surroundings: Surroundings<'_>,
    trusted: &[PublicKey],
) -> Option<PolicyConfig> {
    let name = table.needed_text("name");
    if let Some(name) = &name
        && (name.value == "gate"
            || name.value.contains('/')
            || name.value.chars().any(char::is_control))
    {
        let hint = "`gate` and names with a slash are taken: refusals are shown as policy/rule";
        table.problems.error(
            name.span.clone(),
            "this name cannot be used for a policy",
            hint,
        );
    }
    let plugin = plugin(table, name.as_ref(), surroundings);
    let Settings { json, positions } = match table.get("settings") {
        Some(At {
            value: toml::de::DeValue::Table(inner),
            span,
        }) => settings::settings(inner, span, "", table.problems),
        Some(At { span, .. }) => {
            table.problems.error(
                span,
                "`settings` must be a table",
                "write settings = { … } or [policy.settings]",
            );
            return None;
        }
        None => settings::empty(table.span(), table.problems),
    };
    let texts = |key| {
        table
            .texts(key)
            .into_iter()
            .map(|text| Arc::from(text.value))
            .collect()
    };
    let faults = [
        ("refuse", OnFault::Refuse),
        ("allow", OnFault::Allow),
        ("last-good", OnFault::LastGood),
    ];
    let default = PolicyConfig::built_in("");
    let runtimes = [
        ("ordinary", Runtime::Ordinary),
        ("interpreted", Runtime::Interpreted),
    ];
    let runtime = table
        .choice("runtime", &runtimes)
        .map_or(default.runtime, |runtime| runtime.value);
    let budget = table.duration("budget").unwrap_or_else(|| runtime.budget());
    if budget > Duration::from_secs(1) {
        // The wall limit of a call is one second, so more would never be given.
        let span = table.get("budget").map_or(table.span(), |found| found.span);
        table.problems.error(
            span,
            "`budget` must not be longer than 1s",
            format!(
                "a judgement takes microseconds; the default is \"{}ms\"",
                runtime.budget().as_millis()
            ),
        );
    }
    let mode = table
        .choice("mode", &MODES)
        .map_or(default.mode, |mode| mode.value);
    let on_fault = table
        .choice("on_fault", &faults)
        .map_or(default.on_fault, |on_fault| on_fault.value);
    let own = keys(table, "signed_by");
    let signed_by = match &plugin {
        // It came with the program.
        Some(Plugin::BuiltIn(_)) | None => Vec::new(),
        Some(Plugin::File(_)) if own.is_empty() => trusted.to_vec(),
        Some(Plugin::File(_)) => own,
    };
    // Everything has been looked at; now a missing part may end it.
    Some(PolicyConfig {
        name: Arc::from(name?.value),
        plugin: plugin?,
        settings: Arc::from(json.to_string()),
        positions: Arc::new(positions),
        mode,
        on_fault,
        runtime,
        budget,
        grants: texts("grants"),
        databases: texts("databases"),
        users: texts("users"),
        except_users: texts("except_users"),
        signed_by,
    })
}

fn plugin(
    table: Table<'_>,
    name: Option<&At<&str>>,
    surroundings: Surroundings<'_>,
) -> Option<Plugin> {
    let written = match table.get("plugin") {
        Some(_) => table.text("plugin")?,
        None => name?.clone(),
    };
    if written.value.contains('/') || written.value.ends_with(".wasm") {
        return Some(Plugin::File(values::relative(
            surroundings.folder,
            written.value,
        )));
    }
    if BUILT_IN_PLUGINS.contains(&written.value) {
        return Some(Plugin::BuiltIn(Arc::from(written.value)));
    }
    let hint = match nearest(written.value, BUILT_IN_PLUGINS.iter().copied()) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None if table.table.contains_key("plugin") => {
            format!(
                "built in are {}; a file is written as a path",
                BUILT_IN_PLUGINS.join(", ")
            )
        }
        None => "name its component: plugin = \"path/to/policy.wasm\"".to_owned(),
    };
    table.problems.error(
        written.span,
        format!("there is no built-in plugin `{}`", written.value),
        hint,
    );
    None
}
