//! The links of all databases as the console sees them: it knows no backend.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::report::{Behind, ServerView};
use crate::gate::{self, Backends};

impl Backends {
    /// Every database with the links that exist for it, in the order of their names.
    pub fn views(&self) -> Vec<Behind> {
        let all = self.all();
        let mut views: Vec<Behind> = all.iter().map(|(name, one)| view(name, one)).collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }

    /// Those that are written out, and those that were opened when somebody asked.
    fn all(&self) -> Vec<(Arc<str>, gate::Behind)> {
        let written = self.0.iter();
        let written = written.map(|(name, one)| (name.clone(), one.clone()));
        let asked = self.1.as_ref().map(|on_demand| on_demand.opened());
        written.chain(asked.unwrap_or_default()).collect()
    }

    fn chosen(&self, names: &[Arc<str>]) -> impl Iterator<Item = gate::Behind> {
        let all = self.all().into_iter();
        all.filter(|(name, _)| names.contains(name))
            .map(|(_, one)| one)
    }

    /// How many links of these databases exist.
    pub fn links(&self, names: &[Arc<str>]) -> usize {
        let count = self.chosen(names).map(|one| match one {
            gate::Behind::Postgres(source) => source.pool.cards().len() + source.pool.opening(),
            gate::Behind::Sqlite(_) => 0,
        });
        count.sum()
    }

    /// How many links of these databases are to be closed and still in use.
    pub fn retired_links(&self, names: &[Arc<str>]) -> usize {
        let count = self.chosen(names).map(|one| match one {
            gate::Behind::Postgres(source) => {
                let cards = source.pool.cards();
                let retired = cards.iter().filter(|card| source.pool.is_closing(card));
                retired.count()
            }
            gate::Behind::Sqlite(_) => 0,
        });
        count.sum()
    }

    /// Whether links of these databases may be opened beforehand.
    pub fn hold(&self, names: &[Arc<str>], held: bool) {
        for one in self.chosen(names) {
            if let gate::Behind::Postgres(source) = one {
                source.pool.hold(held);
            }
        }
    }

    /// Closes the links of these databases, at once or as soon as they are free.
    pub fn retire(&self, names: &[Arc<str>]) {
        for one in self.chosen(names) {
            if let gate::Behind::Postgres(source) = one {
                source.pool.retire();
            }
        }
    }
}

fn view(name: &Arc<str>, behind: &gate::Behind) -> Behind {
    let source = match behind {
        gate::Behind::Postgres(source) => source,
        gate::Behind::Sqlite(engine) => {
            return Behind {
                name: name.clone(),
                servers: Vec::new(),
                opening: 0,
                links: engine.in_use(),
                closed: Default::default(),
            };
        }
    };
    let servers: Vec<ServerView> = source
        .pool
        .cards()
        .into_iter()
        .map(|card| ServerView {
            id: card.id,
            database: name.clone(),
            user: card.user.clone(),
            ends: card.ends.clone(),
            since: card.since,
            pid: card.pid,
            prepared: card.prepared.load(Ordering::Relaxed),
            close_needed: source.pool.is_closing(&card),
        })
        .collect();
    Behind {
        name: name.clone(),
        opening: source.pool.opening(),
        links: servers.len(),
        closed: source.pool.closed(),
        servers,
    }
}
