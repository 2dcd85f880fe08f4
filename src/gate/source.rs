//! What stands behind a PostgreSQL database, as sessions use it.

use std::sync::Arc;

use crate::backend::postgres::catalog::Catalog;
use crate::backend::postgres::login::Target;
use crate::backend::postgres::pool::{Cap, LinkKey, LinkPool};
use crate::config::{Timeouts, User};

/// Where a session's links come from.
#[derive(Clone)]
pub struct Source {
    /// The bounded pool.
    pub pool: Arc<LinkPool>,
    /// What is known of the database's objects.
    pub catalog: Arc<Catalog>,
    /// The server, with the backend's own user.
    pub target: Target,
    /// How long things may take.
    pub timeouts: Timeouts,
}

impl Source {
    /// The server as this user reaches it.
    pub(super) fn target_for(&self, user: &User) -> Target {
        match &user.server {
            Some((name, password)) => Target {
                user: name.clone(),
                password: password.clone(),
                proof: user.proof.clone(),
                ..self.target.clone()
            },
            None => self.target.clone(),
        }
    }

    /// How many links this user may have.
    pub(super) fn cap_of(&self, user: &User) -> Option<Arc<Cap>> {
        let (owner, max) = match (user.pool.max, self.pool.settings().user_max) {
            (Some(max), _) => (format!("user {}", user.name), max),
            (None, Some(max)) => {
                let server = user
                    .server
                    .as_ref()
                    .map_or(&self.target.user, |(name, _)| name);
                (format!("server {server}"), max)
            }
            (None, None) => return None,
        };
        Some(Arc::new(Cap {
            owner: owner.into(),
            max,
        }))
    }

    /// The kind of links that is made ready before anybody asks.
    pub fn ready_kind(&self, user_max: Option<usize>) -> LinkKey {
        LinkKey {
            user: self.target.user.clone(),
            parameters: Arc::from([]),
            shared: true,
            cap: user_max.map(|max| {
                Arc::new(Cap {
                    owner: format!("server {}", self.target.user).into(),
                    max,
                })
            }),
        }
    }
}
