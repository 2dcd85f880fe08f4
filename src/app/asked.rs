//! Databases behind `name = "*"`: opened when somebody who has logged in asks
//! for them, closed when nobody has used them for a while.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::backends::{Databases, Open};
use crate::config::{Config, Database};
use crate::gate::{Behind, OnDemand};
use crate::model::UserMessage;

/// How often is looked for those that nobody uses.
const SWEEP: Duration = Duration::from_secs(5);

/// Those that are open now.
#[derive(Default)]
pub(super) struct Asked {
    /// The wildcard, as configured; none: there is none.
    template: Option<Arc<Database>>,
    /// Most of them.
    max: usize,
    open: HashMap<Arc<str>, (Open, Instant)>,
}

impl Asked {
    /// Takes a new configuration over. What was opened from another wildcard is
    /// closed: whoever uses it keeps it until it is done.
    pub(super) fn follow(&mut self, template: Option<Arc<Database>>, max: usize) {
        self.max = max;
        if self.template != template {
            self.template = template;
            for (open, _) in std::mem::take(&mut self.open).into_values() {
                open.retire();
            }
        }
    }

    /// The wildcard of a configuration and how many databases it may stand for.
    pub(super) fn template(config: &Config) -> (Option<Arc<Database>>, usize) {
        (config.wildcard().cloned(), config.limits.databases_max)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Open> {
        self.open.values().map(|(open, _)| open)
    }

    /// Closes what nobody uses and nobody has asked for since its connections
    /// were closed.
    fn sweep(&mut self) {
        let unused = |open: &Open, since: &Instant| {
            let patience = open.database().pool.idle_timeout;
            open.is_unused() && since.elapsed() >= patience
        };
        self.open.retain(|name, (open, since)| {
            let goes = unused(open, since);
            if goes {
                tracing::info!(database = &**name, "nobody uses the database: it is closed");
            }
            !goes
        });
    }

    /// Makes room for one more; false where all are in use.
    fn make_room(&mut self) -> bool {
        if self.open.len() < self.max {
            return true;
        }
        let unused = self.open.iter().filter(|(_, (open, _))| open.is_unused());
        let oldest = unused.min_by_key(|(_, (_, since))| *since);
        let oldest = oldest.map(|(name, _)| name.clone());
        oldest.is_some_and(|name| self.open.remove(&name).is_some())
    }
}

/// Opens them. Weak: what sessions look names up in belongs to the databases.
pub(super) struct Opener(pub(super) Weak<Databases>);

impl OnDemand for Opener {
    fn opened(&self) -> Vec<(Arc<str>, Behind)> {
        let Some(databases) = self.0.upgrade() else {
            return Vec::new();
        };
        let asked = databases
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let open = asked.open.iter();
        open.map(|(name, (open, _))| (name.clone(), open.behind()))
            .collect()
    }

    fn open(&self, database: &Arc<Database>) -> Result<Behind, Box<UserMessage>> {
        let gone = || {
            let message = format!("database \"{}\" does not exist", database.name);
            Box::new(UserMessage::fatal("3D000", message))
        };
        let databases = self.0.upgrade().ok_or_else(gone)?;
        let mut asked = databases
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // A reload may have taken the wildcard away since the client logged in.
        let derived = asked
            .template
            .as_ref()
            .and_then(|it| it.derived(&database.name));
        if derived.as_ref() != Some(database) {
            return Err(gone());
        }
        if let Some((open, since)) = asked.open.get_mut(&database.name) {
            *since = Instant::now();
            return Ok(open.behind());
        }
        if !asked.make_room() {
            let message = "too many databases are in use";
            let hint = "Raise limits.databases_max, or name the database in the configuration.";
            return Err(Box::new(UserMessage::fatal("53300", message).hint(hint)));
        }
        let open = databases.one(database, None).map_err(|error| {
            tracing::error!(%error, "a database cannot be opened");
            Box::new(UserMessage::fatal("08006", "the database cannot be used"))
        })?;
        let behind = open.behind();
        let entry = (open, Instant::now());
        asked.open.insert(database.name.clone(), entry);
        Ok(behind)
    }
}

/// Closes what nobody uses, as long as the databases are there.
pub(super) async fn sweep(databases: Weak<Databases>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(databases) = databases.upgrade() else {
            return;
        };
        let asked = databases.asked.lock();
        asked.unwrap_or_else(PoisonError::into_inner).sweep();
    }
}
