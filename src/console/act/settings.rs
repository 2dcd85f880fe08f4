//! SET: what can be changed while the gate runs, until it reloads or stops.

use std::time::Duration;

use super::Done;
use crate::config::Config;
use crate::console::Console;
use crate::model::UserMessage;

/// Settings of a server session: drivers set them without being asked, and
/// nothing here depends on them.
const OF_SESSIONS: &[&str] = &[
    "application_name",
    "bytea_output",
    "client_encoding",
    "client_min_messages",
    "datestyle",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "extra_float_digits",
    "idle_in_transaction_session_timeout",
    "intervalstyle",
    "jit",
    "lock_timeout",
    "names",
    "row_security",
    "search_path",
    "standard_conforming_strings",
    "statement_timeout",
    "synchronous_commit",
    "timezone",
];

enum Live {
    ClientsMax,
    PreparedMax,
    MessageBytesMax,
    LoginTimeout,
    DrainTimeout,
    StatsPeriod,
    LogStatements,
}

/// By our name and by PgBouncer's.
fn live(key: &str) -> Option<Live> {
    Some(match key {
        "limits.clients_max" | "max_client_conn" => Live::ClientsMax,
        "limits.prepared_max" => Live::PreparedMax,
        "limits.message_bytes_max" | "max_packet_size" => Live::MessageBytesMax,
        "limits.login_timeout" | "client_login_timeout" => Live::LoginTimeout,
        "limits.drain_timeout" => Live::DrainTimeout,
        "console.stats_period" | "stats_period" => Live::StatsPeriod,
        "log.statements" => Live::LogStatements,
        _ => return None,
    })
}

/// Whether SET can change it.
pub(in crate::console) fn is_live(key: &str) -> bool {
    live(key).is_some()
}

/// Whether it is a setting of a server session, which the console only pretends to have.
pub(in crate::console) fn is_of_sessions(key: &str) -> bool {
    OF_SESSIONS.contains(&key)
}

pub(super) fn set(console: &Console, key: &str, value: &str) -> Done {
    let Some(what) = live(key) else {
        let message = format!("`{key}` cannot be changed while the gate runs");
        return Err(UserMessage::error("55P02", message)
            .hint("SHOW CONFIG says what can; change the file and RELOAD for the rest."));
    };
    let current = console.plant.config.load_full();
    let mut config = Config::clone(&current);
    apply(&mut config, &what, value).ok_or_else(|| {
        let message = format!("invalid value for `{key}`: \"{value}\"");
        UserMessage::error("22023", message)
    })?;
    if matches!(what, Live::LogStatements) {
        console
            .plant
            .telemetry
            .log_statements(config.log.statements);
    }
    // A reload that came in between is not undone: then nothing is set.
    let config = std::sync::Arc::new(config);
    let found = console.plant.config.compare_and_swap(&current, config);
    if std::sync::Arc::ptr_eq(&found, &current) {
        Ok("SET")
    } else {
        Err(UserMessage::error("40001", "the configuration is being reloaded").hint("Try again."))
    }
}

/// None: the value is none of that kind.
fn apply(config: &mut Config, what: &Live, value: &str) -> Option<()> {
    let limits = &mut config.limits;
    match what {
        Live::ClientsMax => limits.clients_max = number(value, 1..=1_000_000)?,
        Live::PreparedMax => limits.prepared_max = number(value, 1..=1_000_000)?,
        Live::MessageBytesMax => limits.message_bytes_max = number(value, 1024..=1 << 30)?,
        Live::LoginTimeout => limits.login_timeout = duration(value)?,
        Live::DrainTimeout => limits.drain_timeout = duration(value)?,
        Live::StatsPeriod => config.console.stats_period = duration(value)?,
        Live::LogStatements => config.log.statements = flag(value)?,
    }
    Some(())
}

fn number(value: &str, bounds: std::ops::RangeInclusive<usize>) -> Option<usize> {
    value.parse().ok().filter(|number| bounds.contains(number))
}

/// Seconds, as in PgBouncer, or with a unit, as in the file. Never nothing at all.
fn duration(value: &str) -> Option<Duration> {
    let plain = value.parse::<u64>().ok().map(Duration::from_secs);
    let time = plain.or_else(|| crate::config::read_duration(value))?;
    (time > Duration::ZERO && time <= Duration::from_secs(86_400 * 365)).then_some(time)
}

fn flag(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "on" | "true" | "yes" => Some(true),
        "0" | "off" | "false" | "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_as_in_the_file() {
        let mut config = Config::default();
        let mut try_set = |key: &str, value: &str| {
            let what = live(key).expect("a live key");
            apply(&mut config, &what, value).is_some()
        };
        assert!(try_set("max_client_conn", "5"));
        assert!(!try_set("max_client_conn", "0"));
        assert!(!try_set("max_client_conn", "-1"));
        assert!(try_set("client_login_timeout", "7"));
        assert!(try_set("limits.drain_timeout", "1500ms"));
        assert!(!try_set("limits.drain_timeout", "0"));
        assert!(!try_set("limits.drain_timeout", "soon"));
        assert!(try_set("log.statements", "off"));
        assert_eq!(config.limits.clients_max, 5);
        assert_eq!(config.limits.drain_timeout, Duration::from_millis(1500));
        assert!(!config.log.statements);
    }
}
