//! Databases as configured, opened; and opened anew where a reload changed them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::backend::postgres::catalog::{Catalog, Pace};
use crate::backend::postgres::dial::encryption;
use crate::backend::postgres::hosts::Hosts;
use crate::backend::postgres::login::Target;
use crate::backend::postgres::pool::LinkPool;
use crate::backend::sqlite::{Engine, Options};
use crate::config::{Backend, Config, Database, PostgresBackend, WILDCARD};
use crate::gate::source::Source;
use crate::gate::{Backends, Behind, OnDemand};
use crate::net::tls;

use super::AppError;
use super::asked::{self, Asked, Opener};

/// All databases.
pub(super) struct Databases {
    current: Arc<ArcSwap<Backends>>,
    open: Mutex<HashMap<Arc<str>, Open>>,
    /// Those behind the wildcard.
    pub(super) asked: Mutex<Asked>,
    side: Handle,
    myself: Weak<Databases>,
}

/// One database, with what it was opened from.
pub(super) struct Open {
    config: Arc<Database>,
    behind: Behind,
    /// Keeps the catalog fresh.
    catalog: Option<Arc<Task>>,
    /// Keeps the pool in order.
    _pool: Option<Task>,
}

/// Something that goes on beside the workers; it ends when this drops.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Databases {
    /// Opens all. No server has to be reachable yet.
    pub(super) fn open(config: &Config, side: Handle) -> Result<Arc<Databases>, AppError> {
        let databases = Arc::new_cyclic(|myself| Databases {
            current: Arc::default(),
            open: Mutex::default(),
            asked: Mutex::default(),
            side,
            myself: myself.clone(),
        });
        databases.swap(databases.prepare(config)?);
        let sweeping = asked::sweep(databases.myself.clone());
        databases.side.spawn(sweeping);
        Ok(databases)
    }

    /// What sessions look a name up in.
    pub(super) fn current(&self) -> Arc<ArcSwap<Backends>> {
        self.current.clone()
    }

    /// Opens what is new or different; what is as before is left out. Changes nothing yet.
    pub(super) fn prepare(&self, config: &Config) -> Result<Prepared, AppError> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fresh = Vec::new();
        for database in &config.databases {
            if *database.name == *WILDCARD {
                // Said now rather than to the first client.
                self.one(database, None)?;
                continue;
            }
            if open
                .get(&database.name)
                .is_none_or(|known| known.config != *database)
            {
                let known = open.get(&database.name);
                fresh.push(self.one(database, known)?);
            }
        }
        Ok(Prepared {
            fresh,
            names: config
                .databases
                .iter()
                .map(|database| database.name.clone())
                .collect(),
            asked: Asked::template(config),
        })
    }

    /// Takes over what was prepared. Sessions that are connected keep what they have.
    pub(super) fn swap(&self, prepared: Prepared) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before: Vec<Open> = Vec::new();
        for database in prepared.fresh {
            if let Behind::Postgres(source) = &database.behind {
                source.pool.reconfigure(database.config.pool.clone());
            }
            before.extend(open.insert(database.config.name.clone(), database));
        }
        let gone: Vec<Arc<str>> = open
            .keys()
            .filter(|name| !prepared.names.contains(name))
            .cloned()
            .collect();
        before.extend(gone.iter().filter_map(|name| open.remove(name)));
        for old in &before {
            if let Behind::Postgres(source) = &old.behind
                && !open.values().any(|now| now.shares_pool(source))
            {
                // Whoever uses a link keeps it until it is done, and nobody gets it after that.
                source.pool.retire();
            }
        }
        let all = open
            .iter()
            .map(|(name, database)| (name.clone(), database.behind.clone()))
            .collect();
        let (template, max) = prepared.asked;
        self.asked().follow(template, max);
        let opener: Arc<dyn OnDemand> = Arc::new(Opener(self.myself.clone()));
        self.current.store(Arc::new(Backends(all, Some(opener))));
    }

    /// Connections to servers that are open now.
    pub(super) fn links(&self) -> usize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = self.asked();
        let links = open
            .values()
            .chain(asked.iter())
            .map(|database| match &database.behind {
                Behind::Postgres(source) => source.pool.links_on_loan() + source.pool.idle_links(),
                Behind::Sqlite(engine) => engine.in_use(),
            });
        links.sum()
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a database; what of it is known and has not changed goes on.
    pub(super) fn one(
        &self,
        database: &Arc<Database>,
        known: Option<&Open>,
    ) -> Result<Open, AppError> {
        let unusable = |source: Box<dyn std::error::Error + Send + Sync>| AppError::Database {
            name: database.name.to_string(),
            source,
        };
        let postgres = match &database.backend {
            Backend::Sqlite { path } => {
                let options = Options {
                    max: database.pool.max.max(Options::new(None).max),
                    wait: database.pool.wait_timeout,
                    ..Options::new(path.clone())
                };
                let engine = Engine::open(options).map_err(|error| unusable(error.into()))?;
                return Ok(Open {
                    config: database.clone(),
                    behind: Behind::Sqlite(engine),
                    catalog: None,
                    _pool: None,
                });
            }
            Backend::Postgres(postgres) => postgres,
        };
        // The catalog's pool wants to be made inside a runtime.
        let _inside = self.side.enter();
        let (pool, catalog, task) = match known.and_then(|known| known.same_server(database)) {
            Some(same) => same,
            None => {
                let pace = Pace {
                    connect_timeout: database.pool.connect_timeout,
                    ..Pace::default()
                };
                let hosts = Hosts::new(&postgres.hosts);
                let catalog = Catalog::of(postgres, hosts.clone(), pace)
                    .map_err(|error| unusable(error.into()))?;
                let task = Arc::new(Task(self.side.spawn(catalog.clone().run())));
                let pool = LinkPool::new(database.pool.clone(), hosts);
                (pool, catalog, task)
            }
        };
        let target = target(postgres, database).map_err(|error| unusable(error.into()))?;
        let source = Source {
            target: Target {
                hosts: pool.hosts().clone(),
                ..target
            },
            pool,
            catalog,
            timeouts: database.timeouts,
        };
        let key = source.ready_kind(database.pool.user_max);
        let keeping = LinkPool::keep(Arc::downgrade(&source.pool), key, source.target.clone());
        Ok(Open {
            config: database.clone(),
            behind: Behind::Postgres(Arc::new(source)),
            catalog: Some(task),
            _pool: Some(Task(self.side.spawn(keeping))),
        })
    }
}

impl Open {
    /// As configured.
    pub(super) fn database(&self) -> &Database {
        &self.config
    }

    pub(super) fn behind(&self) -> Behind {
        self.behind.clone()
    }

    /// Neither a session nor a connection to a server is left.
    pub(super) fn is_unused(&self) -> bool {
        match &self.behind {
            Behind::Postgres(source) => {
                let pool = &source.pool;
                Arc::strong_count(source) == 1 && pool.links_on_loan() + pool.idle_links() == 0
            }
            Behind::Sqlite(engine) => Arc::strong_count(engine) == 1,
        }
    }

    /// Nobody gets a connection any more that is there now.
    pub(super) fn retire(&self) {
        if let Behind::Postgres(source) = &self.behind {
            source.pool.retire();
        }
    }

    fn shares_pool(&self, source: &Source) -> bool {
        matches!(&self.behind, Behind::Postgres(mine) if Arc::ptr_eq(&mine.pool, &source.pool))
    }

    /// What goes on when only settings of the pool have changed.
    fn same_server(&self, database: &Database) -> Option<(Arc<LinkPool>, Arc<Catalog>, Arc<Task>)> {
        match &self.behind {
            Behind::Postgres(source)
                if self.config.backend == database.backend
                    && self.config.connect_query == database.connect_query =>
            {
                Some((
                    source.pool.clone(),
                    source.catalog.clone(),
                    self.catalog.clone()?,
                ))
            }
            _ => None,
        }
    }
}

/// Databases that are open but not yet in use.
pub(super) struct Prepared {
    fresh: Vec<Open>,
    names: Vec<Arc<str>>,
    asked: (Option<Arc<Database>>, usize),
}

pub(super) fn target(backend: &PostgresBackend, database: &Database) -> Result<Target, tls::Error> {
    Ok(Target {
        hosts: Hosts::new(&backend.hosts),
        database: backend.database.clone(),
        user: backend.user.clone(),
        password: backend.password.clone(),
        proof: None,
        connect_query: database.connect_query.clone(),
        timeout: database.pool.connect_timeout,
        cancel_timeout: database.timeouts.cancel(),
        lifetime: database.pool.lifetime,
        tls: encryption(backend)?,
    })
}
