//! Settings of a session: what SET, SHOW and start-up parameters know.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::sqlite::SERVER_VERSION;
use crate::model::{Client, UserMessage};

/// Settings with their first values; `true`: the client is told when it changes.
const KNOWN: &[(&str, &str, bool)] = &[
    ("application_name", "", true),
    ("bytea_output", "hex", false),
    ("client_encoding", "UTF8", true),
    ("client_min_messages", "notice", false),
    ("datestyle", "ISO, MDY", true),
    ("default_transaction_isolation", "serializable", false),
    ("default_transaction_read_only", "off", true),
    ("extra_float_digits", "1", false),
    ("idle_in_transaction_session_timeout", "0", false),
    ("in_hot_standby", "off", true),
    ("integer_datetimes", "on", true),
    ("intervalstyle", "postgres", true),
    ("is_superuser", "off", true),
    ("jit", "off", false),
    ("lock_timeout", "0", false),
    ("max_identifier_length", "63", false),
    ("row_security", "on", false),
    ("search_path", "\"$user\", public", false),
    ("server_encoding", "UTF8", true),
    ("server_version", SERVER_VERSION, true),
    ("server_version_num", "150000", false),
    ("session_authorization", "", true),
    ("standard_conforming_strings", "on", true),
    ("statement_timeout", "0", false),
    ("synchronous_commit", "on", false),
    ("timezone", "UTC", true),
    ("transaction_isolation", "serializable", false),
    ("transaction_read_only", "off", false),
];

/// Names as ParameterStatus writes them.
const SPELLING: &[(&str, &str)] = &[
    ("datestyle", "DateStyle"),
    ("intervalstyle", "IntervalStyle"),
    ("timezone", "TimeZone"),
];

const FIXED: &[&str] = &[
    "in_hot_standby",
    "integer_datetimes",
    "is_superuser",
    "max_identifier_length",
    "server_encoding",
    "server_version",
    "server_version_num",
    "session_authorization",
];

/// Name and value of every setting.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    values: BTreeMap<String, String>,
    first: BTreeMap<String, String>,
    /// Values before SET LOCAL, restored when the transaction ends.
    local: BTreeMap<String, String>,
    /// Values when the transaction began, restored when it is rolled back.
    begun: Option<BTreeMap<String, String>>,
}

impl Settings {
    pub(super) fn new(client: &Client, parameters: &[(String, String)]) -> Settings {
        let mut first: BTreeMap<String, String> = KNOWN
            .iter()
            .map(|(name, value, _)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        first.insert("session_authorization".into(), client.user.to_string());
        let mut settings = Settings {
            values: first.clone(),
            first,
            local: BTreeMap::new(),
            begun: None,
        };
        for (name, value) in parameters {
            if name == "options" {
                for (name, value) in options(value) {
                    let _ = settings.set(&name, &value, false);
                }
            } else {
                // What cannot be set is not worth turning a client away for.
                let _ = settings.set(&name.to_ascii_lowercase(), value, false);
            }
        }
        settings.first = settings.values.clone();
        settings
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values
            .get(&name.to_ascii_lowercase())
            .map(String::as_str)
    }

    /// All names and values.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What ParameterStatus tells at the start.
    pub(super) fn reported(&self) -> Vec<(&'static str, &str)> {
        let told = KNOWN.iter().filter(|(_, _, reported)| *reported);
        told.map(|(name, _, _)| (spelling(name), self.get(name).unwrap_or_default()))
            .collect()
    }

    /// What differs from the start, for policies.
    pub(super) fn changed(&self) -> Vec<(Arc<str>, Arc<str>)> {
        let differs = self
            .values
            .iter()
            .filter(|(name, value)| self.first.get(*name) != Some(value));
        differs
            .map(|(name, value)| (Arc::from(name.as_str()), Arc::from(value.as_str())))
            .collect()
    }

    /// Sets; gives the name and value for a ParameterStatus when the client is to be told.
    pub(super) fn set(
        &mut self,
        name: &str,
        value: &str,
        local: bool,
    ) -> Result<Option<(&'static str, String)>, UserMessage> {
        let name = name.to_ascii_lowercase();
        let value = checked(&name, value)?;
        let custom = name.contains('.');
        let known = KNOWN.iter().find(|(known, _, _)| *known == name);
        if known.is_none() && !custom {
            return Err(UserMessage::error(
                "42704",
                format!("unrecognized configuration parameter \"{name}\""),
            ));
        }
        let before = self
            .values
            .insert(name.clone(), value.clone())
            .unwrap_or_default();
        if local {
            self.local.entry(name).or_insert(before);
        } else {
            self.local.remove(&name);
        }
        Ok(known
            .filter(|(_, _, reported)| *reported)
            .map(|(name, _, _)| (spelling(name), value)))
    }

    /// RESET name, or RESET ALL.
    pub(super) fn reset(&mut self, name: Option<&str>) -> Result<(), UserMessage> {
        match name {
            None => self.values = self.first.clone(),
            Some(name) => {
                let first = self.first.get(name).cloned().unwrap_or_default();
                self.set(name, &first, false)?;
            }
        }
        Ok(())
    }

    /// A transaction block begins.
    pub(super) fn begin(&mut self) {
        self.begun = Some(self.values.clone());
    }

    /// The transaction block ends.
    pub(super) fn end(&mut self, committed: bool) {
        let local = std::mem::take(&mut self.local);
        match self.begun.take() {
            Some(begun) if !committed => self.values = begun,
            _ => self.values.extend(local),
        }
        for name in ["transaction_read_only", "transaction_isolation"] {
            self.values.extend(
                self.first
                    .get(name)
                    .map(|value| (name.to_owned(), value.clone())),
            );
        }
    }

    /// A setting that holds a time; none when it is off.
    pub(super) fn duration(&self, name: &str) -> Option<Duration> {
        milliseconds(self.get(name)?)
            .filter(|ms| *ms > 0)
            .map(Duration::from_millis)
    }

    pub(super) fn is_on(&self, name: &str) -> bool {
        self.get(name) == Some("on")
    }
}

fn spelling(name: &'static str) -> &'static str {
    SPELLING
        .iter()
        .find(|(plain, _)| *plain == name)
        .map_or(name, |(_, spelled)| spelled)
}

/// The value as it is kept, or why it cannot be set.
fn checked(name: &str, value: &str) -> Result<String, UserMessage> {
    let lower = value.to_ascii_lowercase();
    let invalid = || {
        UserMessage::error(
            "22023",
            format!("invalid value for parameter \"{name}\": \"{value}\""),
        )
    };
    match name {
        "client_encoding" if matches!(&*lower, "utf8" | "utf-8" | "unicode") => Ok("UTF8".into()),
        "client_encoding" => Err(invalid().hint("This database speaks UTF8 only.")),
        "standard_conforming_strings" if !matches!(&*lower, "on" | "true" | "1") => Err(
            UserMessage::error("0A000", "standard_conforming_strings cannot be turned off"),
        ),
        "timezone" if !matches!(&*lower, "utc" | "gmt" | "etc/utc" | "default" | "z") => {
            Err(invalid().hint("This database keeps moments in UTC."))
        }
        "timezone" => Ok("UTC".into()),
        "datestyle" if !lower.contains("iso") => {
            Err(invalid().hint("This database writes dates in ISO style only."))
        }
        "datestyle" => Ok("ISO, MDY".into()),
        "statement_timeout" | "lock_timeout" => milliseconds(value)
            .map(|ms| ms.to_string())
            .ok_or_else(invalid),
        "default_transaction_read_only"
        | "transaction_read_only"
        | "standard_conforming_strings" => Ok(if matches!(&*lower, "on" | "true" | "1" | "yes") {
            "on"
        } else {
            "off"
        }
        .into()),
        _ if FIXED.contains(&name) => Err(UserMessage::error(
            "55P02",
            format!("parameter \"{name}\" cannot be changed"),
        )),
        _ => Ok(value.to_owned()),
    }
}

/// `1500`, `1500ms`, `5s`, `2min`.
fn milliseconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..end].parse().ok()?;
    let factor = match text[end..].trim() {
        "" | "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// `-c name=value` and `--name=value` of the start-up parameter `options`.
fn options(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        let pair = match word {
            "-c" => words.next(),
            _ => word.strip_prefix("--").or_else(|| word.strip_prefix("-c")),
        };
        if let Some((name, value)) = pair.and_then(|p| p.split_once('=')) {
            found.push((
                name.replace('-', "_").to_ascii_lowercase(),
                value.to_owned(),
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        let client = Client {
            user: "ada".into(),
            database: "d".into(),
            address: None,
        };
        let parameters = [(
            "options".to_owned(),
            "-c statement_timeout=5s --application_name=x".to_owned(),
        )];
        Settings::new(&client, &parameters)
    }

    #[test]
    fn start_up_options_are_settings() {
        let settings = settings();
        assert_eq!(
            settings.duration("statement_timeout"),
            Some(Duration::from_secs(5))
        );
        assert_eq!(settings.get("application_name"), Some("x"));
        assert!(settings.changed().is_empty());
    }

    #[test]
    fn local_values_end_with_the_transaction_and_others_with_its_rollback() {
        let mut settings = settings();
        settings.begin();
        settings.set("application_name", "local", true).unwrap();
        settings.end(true);
        assert_eq!(settings.get("application_name"), Some("x"));
        settings.begin();
        settings.set("application_name", "y", false).unwrap();
        settings.end(false);
        assert_eq!(settings.get("application_name"), Some("x"));
    }

    #[test]
    fn refuses_what_would_change_the_meaning_of_text() {
        let mut settings = settings();
        for (name, value) in [
            ("standard_conforming_strings", "off"),
            ("client_encoding", "SJIS"),
            ("server_version", "9"),
            ("no_such_thing", "1"),
            ("timezone", "Europe/Berlin"),
        ] {
            assert!(settings.set(name, value, false).is_err(), "{name}");
        }
    }
}
