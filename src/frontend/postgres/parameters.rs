//! Start-up parameters as the session gets them.

use std::sync::Arc;

use crate::wire::postgres::options;
use crate::wire::postgres::startup::Startup;

/// What the client wants set: `options` taken apart, what the gate has used left
/// out, and so is what the configuration says to overlook.
pub(super) fn parameters(startup: &Startup, ignored: &[Arc<str>]) -> Vec<(String, String)> {
    let overlooked = |name: &str| {
        ignored
            .iter()
            .any(|ignored| ignored.eq_ignore_ascii_case(name))
    };
    let mut found = Vec::new();
    let mut named = Vec::new();
    for (name, value) in &startup.parameters {
        if matches!(name.as_str(), "user" | "database" | "replication") || name.starts_with("_pq_.")
        {
            continue;
        }
        if !name.eq_ignore_ascii_case("options") {
            named.push((name.clone(), value.clone()));
            continue;
        }
        match options::settings(value) {
            Some(settings) => found.extend(settings),
            None => found.push((name.clone(), value.clone())),
        }
    }
    // The server reads `options` first, too: a parameter of its own overrides.
    found.extend(named);
    found.retain(|(name, _)| !overlooked(name));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_settings_and_what_is_overlooked_goes() {
        let pairs = [
            ("user", "ann"),
            ("work_mem", "2MB"),
            ("options", "-c work_mem=1MB --extra-float-digits=3 -c a=b"),
            ("Extra_Float_Digits", "2"),
            ("_pq_.x", "y"),
        ];
        let startup = Startup {
            minor: 0,
            parameters: pairs.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec(),
        };
        let found = parameters(&startup, &["extra_float_digits".into()]);
        let found: Vec<(&str, &str)> = found.iter().map(|(n, v)| (&**n, &**v)).collect();
        assert_eq!(
            found,
            [("work_mem", "1MB"), ("a", "b"), ("work_mem", "2MB")]
        );
        let startup = Startup {
            minor: 0,
            parameters: vec![("options".to_owned(), "-W".to_owned())],
        };
        assert_eq!(parameters(&startup, &[]), startup.parameters);
    }
}
