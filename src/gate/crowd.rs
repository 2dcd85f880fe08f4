//! How many clients a user and a database have, and may have.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::{Database, User};
use crate::model::UserMessage;

/// The clients that are there, shared by the workers.
#[derive(Debug, Default)]
pub struct Crowd {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    users: HashMap<Arc<str>, usize>,
    databases: HashMap<Arc<str>, usize>,
}

/// One client that is counted, until this drops.
#[derive(Debug)]
pub struct Member {
    crowd: Arc<Crowd>,
    user: Arc<str>,
    database: Arc<str>,
}

impl Crowd {
    /// Counts one more, unless there are too many.
    pub fn enter(
        self: &Arc<Self>,
        user: &User,
        database: &Database,
    ) -> Result<Member, Box<UserMessage>> {
        let mut counts = self.lock();
        let full = |count: Option<&usize>, max: Option<usize>| {
            max.is_some_and(|max| count.copied().unwrap_or(0) >= max)
        };
        let too_many = |what: &str, name: &str| {
            let message = format!("too many connections for {what} \"{name}\"");
            let hint = "Close connections that are not needed, or raise clients_max.";
            Err(Box::new(UserMessage::fatal("53300", message).hint(hint)))
        };
        if full(counts.users.get(&user.name), user.pool.clients_max) {
            return too_many("role", &user.name);
        }
        let there = counts.databases.get(&database.name);
        if full(there, database.pool.clients_max) {
            return too_many("database", &database.name);
        }
        *counts.users.entry(user.name.clone()).or_default() += 1;
        let name = database.name.clone();
        *counts.databases.entry(name.clone()).or_default() += 1;
        Ok(Member {
            crowd: self.clone(),
            user: user.name.clone(),
            database: name,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut counts = self.crowd.lock();
        leave(&mut counts.users, &self.user);
        leave(&mut counts.databases, &self.database);
    }
}

fn leave(counts: &mut HashMap<Arc<str>, usize>, name: &str) {
    if let Some(count) = counts.get_mut(name) {
        *count -= 1;
        if *count == 0 {
            counts.remove(name);
        }
    }
}
