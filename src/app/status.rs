//! What the status page says beyond the counters.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use serde_json::{Map, Value, json};

use crate::admin::Status;
use crate::config::{Config, Endpoint, Plugin, PolicyConfig};
use crate::policy::Policies;

use super::backends::Databases;

/// How the last reload ended.
#[derive(Debug, Clone)]
pub(super) struct LastReload {
    pub(super) at: SystemTime,
    pub(super) error: Option<String>,
}

/// The parts whose state is shown.
pub(super) struct Board {
    pub(super) config: Arc<ArcSwap<Config>>,
    pub(super) policies: Arc<Policies>,
    pub(super) databases: Arc<Databases>,
    pub(super) addresses: Vec<Endpoint>,
    pub(super) last_reload: Mutex<Option<LastReload>>,
}

impl Board {
    pub(super) fn reloaded(&self, error: Option<String>) {
        let last = LastReload {
            at: SystemTime::now(),
            error,
        };
        *self
            .last_reload
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(last);
    }
}

impl Board {
    /// What was wrong at the last reload; none: nothing, or there was none.
    pub(super) fn last_error(&self) -> Option<String> {
        let last = self
            .last_reload
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        last.as_ref().and_then(|last| last.error.clone())
    }
}

impl Status for Board {
    fn entries(&self) -> Map<String, Value> {
        let config = self.config.load();
        let last = self
            .last_reload
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let last = last.map(|last| {
            let at = jiff::Timestamp::try_from(last.at)
                .map(|at| at.to_string())
                .ok();
            json!({ "at": at, "ok": last.error.is_none(), "error": last.error })
        });
        let mut entries = Map::new();
        let listen: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        entries.insert("listen".to_owned(), json!(listen));
        entries.insert("links".to_owned(), json!(self.databases.links()));
        entries.insert(
            "generation".to_owned(),
            json!(self.policies.current().generation()),
        );
        entries.insert(
            "policy_sets_alive".to_owned(),
            json!(self.policies.sets_alive()),
        );
        entries.insert(
            "policies".to_owned(),
            config.policies.iter().map(policy).collect(),
        );
        entries.insert("last_reload".to_owned(), json!(last));
        entries
    }
}

fn policy(policy: &PolicyConfig) -> Value {
    let plugin = match &policy.plugin {
        Plugin::BuiltIn(name) => name.to_string(),
        Plugin::File(path) => path.display().to_string(),
    };
    json!({ "name": &*policy.name, "plugin": plugin, "mode": policy.mode.name() })
}
