//! Users that are not in the configuration: who finds them, as a door sees it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::attempts::Attempt;
use super::{Door, Error, TurnedAway};
use crate::config::User;
use crate::model::UserMessage;

/// They cannot be looked up now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable;

/// A search that goes on.
pub type Search<'a> = Pin<Box<dyn Future<Output = Result<Option<Arc<User>>, Unavailable>> + 'a>>;

/// Knows users by database and name.
pub trait Directory: Send + Sync {
    /// Somebody of this name for this database; none where nobody is, or where
    /// users are not looked up.
    fn find<'a>(&'a self, database: &'a str, name: &'a str) -> Search<'a>;

    /// Somebody was wrong about a password: it may have been changed.
    fn mistaken(&self, database: &str, name: &str);
}

/// Who may have this name: from the configuration, else looked up.
pub(super) struct Known {
    /// As the configuration has it, or the server.
    pub(super) user: Option<Arc<User>>,
    looked_up: bool,
}

impl Known {
    pub(super) async fn find(
        door: &Door,
        database: &str,
        name: &str,
        attempt: &Attempt<'_>,
        console: bool,
    ) -> Result<Known, Error> {
        let users = &door.config.users;
        if let Some(user) = users.iter().find(|user| *user.name == *name) {
            return Ok(Known {
                user: Some(user.clone()),
                looked_up: false,
            });
        }
        // Whoever may make roles on a server must not become the gate's operator by it.
        if console {
            return Ok(Known {
                user: None,
                looked_up: false,
            });
        }
        // Whoever guesses makes the gate ask nobody.
        attempt.check()?;
        match door.directory.find(database, name).await {
            Ok(user) => Ok(Known {
                user,
                looked_up: true,
            }),
            // Nothing of the server's troubles is told to somebody unknown.
            Err(Unavailable) => {
                let message =
                    UserMessage::fatal("57P03", "logins cannot be verified at the moment")
                        .hint("Try again in a moment.");
                Err(TurnedAway::new(message).because("lookup").into())
            }
        }
    }

    /// Notes that a password was wrong.
    pub(super) fn mistaken(&self, door: &Door, database: &str, name: &str) {
        if self.looked_up {
            door.directory.mistaken(database, name);
        }
    }
}
