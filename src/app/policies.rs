//! Policies of a configuration, and their complaints as diagnostics.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{self, Config, Diagnostic, Plugin, Source};
use crate::policy::{LoadError, Policies};

/// Loads all policies, or says everything that is wrong with them.
pub fn load_policies(config: &Config) -> Result<Arc<Policies>, Vec<Diagnostic>> {
    Policies::load(config).map_err(|errors| diagnostics(&errors, config))
}

/// What is wrong with the policies of a configuration.
pub fn check_policies(config: &Config) -> Vec<Diagnostic> {
    load_policies(config).err().unwrap_or_default()
}

/// Complaints with their places in the configuration.
pub fn diagnostics(errors: &[LoadError], config: &Config) -> Vec<Diagnostic> {
    let text = config
        .path
        .as_deref()
        .and_then(|path| config::read(path).ok());
    let file = config
        .path
        .as_deref()
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    errors
        .iter()
        .map(|error| diagnostic(error, config, &file, text.as_deref()))
        .collect()
}

fn diagnostic(error: &LoadError, config: &Config, file: &str, text: Option<&str>) -> Diagnostic {
    let policy = config
        .policies
        .iter()
        .find(|policy| policy.name == error.policy);
    let message = match (&*error.policy, error.path.as_deref().unwrap_or_default()) {
        ("", _) => error.message.clone(),
        (name, "") => format!("policy `{name}`: {}", error.message),
        (name, path) => format!(
            "policy `{name}`, setting `{}`: {}",
            dotted(path),
            error.message
        ),
    };
    let found = Diagnostic::error(message).hint(error.hint.clone());
    let position = error.position.or_else(|| {
        policy.and_then(|policy| policy.position(error.path.as_deref().unwrap_or_default()))
    });
    match (text, position) {
        (Some(text), Some(position)) => found.at(Source { file, text }.place_at(position)),
        _ => found,
    }
}

/// `/tables/0/name` as people would write it: `tables[0].name`.
fn dotted(pointer: &str) -> String {
    let mut out = String::new();
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit()) {
            out.push_str(&format!("[{token}]"));
        } else {
            if !out.is_empty() {
                out.push('.');
            }
            out.push_str(&token);
        }
    }
    out
}

/// Files that a change of must be noticed: the configuration, plugins, secrets are read with it.
pub(super) fn files(config: &Config) -> Vec<PathBuf> {
    let plugins = config
        .policies
        .iter()
        .filter_map(|policy| match &policy.plugin {
            Plugin::File(path) => Some(path.clone()),
            Plugin::BuiltIn(_) => None,
        });
    config.path.iter().cloned().chain(plugins).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_about_a_setting_points_at_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.toml");
        std::fs::write(
            &path,
            "[[policy]]\nname = \"honeytoken\"\nsettings = { tables = [\"a\", 5] }\n",
        )
        .unwrap();
        let config = config::load(&path).unwrap();
        let error = LoadError {
            policy: "honeytoken".into(),
            message: "expected a string".to_owned(),
            hint: "write a name".to_owned(),
            path: Some("/tables/1".to_owned()),
            position: None,
        };
        let shown = diagnostics(&[error], &config)[0]
            .to_string()
            .replace(&path.display().to_string(), "p.toml");
        assert_eq!(
            shown,
            "error: policy `honeytoken`, setting `tables[1]`: expected a string\n --> p.toml:3:29\n\
             3 | settings = { tables = [\"a\", 5] }\n  |                             ^ write a name\n"
        );
    }

    #[test]
    fn the_examples_are_correct() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        for name in ["postgres.toml", "agents.toml"] {
            let shown =
                |list: Vec<Diagnostic>| list.iter().map(Diagnostic::to_string).collect::<String>();
            let config = config::load_without_secrets(&folder.join(name))
                .unwrap_or_else(|list| panic!("{}", shown(list)));
            assert_eq!(shown(config.warnings.clone()), "");
            assert_eq!(shown(check_policies(&config)), "");
        }
    }
}
