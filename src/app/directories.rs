//! Users that the servers know: a directory for each database that has one, and
//! what such users have proven.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;

use super::AppError;
use super::backends::target;
use crate::backend::postgres::directory as server;
use crate::backend::postgres::login::Target;
use crate::config::{
    ActAs, AuthQuery, Backend, Config, Credential, Database, ProofSlot, Secret, User, WILDCARD,
};
use crate::frontend::postgres::directory::{Directory, Search, Unavailable};

/// Users whose proofs are kept.
const PROOFS_MAX: usize = 10_000;

/// All directories, by the name of the database.
pub struct Directories {
    current: ArcSwap<HashMap<Arc<str>, Open>>,
    /// Databases that have a name of their own, with or without a directory.
    written_out: ArcSwap<Vec<Arc<str>>>,
    proofs: Mutex<Proofs>,
    side: Handle,
}

#[derive(Clone)]
struct Open {
    /// What it was opened from.
    config: Arc<Database>,
    act_as: ActAs,
    directory: Arc<server::Directory>,
}

/// What users have proven, by database and name; kept through reloads.
type Proofs = HashMap<(Arc<str>, Arc<str>), Kept>;

struct Kept {
    slot: Arc<ProofSlot>,
    /// What the server kept when it was proven.
    secret: Option<Secret>,
}

/// Directories that are opened but not in use.
pub(super) struct Prepared(HashMap<Arc<str>, Open>, Vec<Arc<str>>);

impl Directories {
    pub(super) fn new(side: Handle) -> Directories {
        Directories {
            current: ArcSwap::default(),
            written_out: ArcSwap::default(),
            proofs: Mutex::default(),
            side,
        }
    }

    /// Opens what is new or different. No server has to be reachable yet.
    pub(super) fn prepare(&self, config: &Config) -> Result<Prepared, AppError> {
        let current = self.current.load();
        let mut open = HashMap::new();
        for database in &config.databases {
            let Some(settings) = &database.auth_query else {
                continue;
            };
            let same = current
                .get(&database.name)
                .filter(|known| known.config == *database);
            let directory = match same {
                Some(known) => known.directory.clone(),
                None => match asker(database, settings)? {
                    Some(target) => {
                        server::Directory::new(target, settings.clone(), self.side.clone())
                    }
                    None => continue,
                },
            };
            let one = Open {
                config: database.clone(),
                act_as: settings.act_as,
                directory,
            };
            open.insert(database.name.clone(), one);
        }
        let names = config.databases.iter().map(|it| it.name.clone());
        Ok(Prepared(open, names.collect()))
    }

    pub(super) fn swap(&self, prepared: Prepared) {
        self.current.store(Arc::new(prepared.0));
        self.written_out.store(Arc::new(prepared.1));
    }

    /// Where this user's proof is kept. Emptied when the server keeps another
    /// password: what was proven before proves nothing any more.
    fn slot(&self, database: &Arc<str>, name: &str, secret: &Option<Secret>) -> Arc<ProofSlot> {
        let mut proofs = self.proofs.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (database.clone(), Arc::from(name));
        if let Some(kept) = proofs.get_mut(&key) {
            if kept.secret != *secret {
                kept.slot.clear();
                kept.secret = secret.clone();
            }
            return kept.slot.clone();
        }
        if proofs.len() >= PROOFS_MAX {
            // Those that no connection holds.
            proofs.retain(|_, kept| Arc::strong_count(&kept.slot) > 1);
        }
        let slot = Arc::<ProofSlot>::default();
        if proofs.len() < PROOFS_MAX {
            let kept = Kept {
                slot: slot.clone(),
                secret: secret.clone(),
            };
            proofs.insert(key, kept);
        }
        slot
    }

    /// The directory of a database; the wildcard's for one that is not written out.
    fn of(&self, database: &str) -> Option<Open> {
        let current = self.current.load();
        if self
            .written_out
            .load()
            .iter()
            .any(|name| **name == *database)
        {
            return current.get(database).cloned();
        }
        current.get(WILDCARD).cloned()
    }

    fn user(&self, open: &Open, name: &str, found: &server::Found) -> Option<User> {
        let credential = match &found.secret {
            Some(secret) => Credential::stored(secret.reveal().to_owned())?,
            None => Credential::Nothing,
        };
        let slot = self.slot(&open.config.name, name, &found.secret);
        Some(User::looked_up(name, credential, open.act_as, slot))
    }
}

impl Directory for Directories {
    fn find<'a>(&'a self, database: &'a str, name: &'a str) -> Search<'a> {
        Box::pin(async move {
            let Some(open) = self.of(database) else {
                return Ok(None);
            };
            match open.directory.find(name).await {
                Ok(found) => Ok(found
                    .and_then(|found| self.user(&open, name, &found))
                    .map(Arc::new)),
                Err(server::Unavailable) => Err(Unavailable),
            }
        })
    }

    fn mistaken(&self, database: &str, name: &str) {
        if let Some(open) = self.of(database) {
            open.directory.mistaken(name);
        }
    }
}

/// Where to ask, and as whom.
pub(super) fn asker(database: &Database, settings: &AuthQuery) -> Result<Option<Target>, AppError> {
    let Backend::Postgres(postgres) = &database.backend else {
        return Ok(None);
    };
    let mut target = target(postgres, database).map_err(|error| AppError::Database {
        name: database.name.to_string(),
        source: error.into(),
    })?;
    if let Some((user, password)) = settings.user.as_ref().or(postgres.operator.as_ref()) {
        target.user = user.clone();
        target.password = password.clone();
    }
    // For the links that carry statements.
    target.connect_query = None;
    if let Some(name) = &settings.database {
        target.database = name.clone();
    }
    Ok(Some(target))
}
