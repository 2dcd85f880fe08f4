//! Databases by the names that clients use: own names, further names, and `*`.

use std::sync::Arc;

use super::{Backend, Config, Database};
use crate::model::pattern::NAME_BYTES_MAX;

/// The name that stands for every name not written out.
pub const WILDCARD: &str = "*";

impl Config {
    /// What a client means by this name.
    pub fn database(&self, name: &str) -> Option<Arc<Database>> {
        let mut named = self.databases.iter();
        let named = named.find(|known| known.is_called(name) && name != WILDCARD);
        named.cloned().or_else(|| self.wildcard()?.derived(name))
    }

    /// What stands behind names that are not written out.
    pub fn wildcard(&self) -> Option<&Arc<Database>> {
        let mut databases = self.databases.iter();
        databases.find(|known| &*known.name == WILDCARD)
    }
}

impl Database {
    /// Whether this is one of its names.
    pub fn is_called(&self, name: &str) -> bool {
        *self.name == *name || self.aliases.iter().any(|alias| **alias == *name)
    }

    /// The database of this name on the wildcard's server. None for names that
    /// the server would cut, and take for another.
    pub fn derived(&self, name: &str) -> Option<Arc<Database>> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name == WILDCARD {
            return None;
        }
        let mut database = self.clone();
        database.name = name.into();
        match &mut database.backend {
            Backend::Postgres(postgres) => postgres.database = name.into(),
            Backend::Sqlite { .. } => return None,
        }
        Some(Arc::new(database))
    }
}
