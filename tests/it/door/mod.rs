//! Who comes in by a door, from where, and how it proves who it is.

mod attempts;
mod hostile;
mod import;
mod lists;
mod lookup;
mod names;
mod passwords;
mod proxy;
mod rights;
mod rules;
mod unix;
mod versions;

use std::time::Duration;

use crate::support::database::Database;
use crate::support::gate::{DATABASE, Gate};
use crate::support::raw::{Login, Raw};

/// A gate with one user, `ann`, who has a password, beside the trusted owner.
/// `listen` is the rest of the door's table.
fn gate(database: &Database, listen: &str, rules: &str) -> Gate {
    let head = format!(
        "{listen}\n\n[[database]]\nname = \"{DATABASE}\"\nbackend = \"{}\"\n\n\
         [[user]]\nname = \"ann\"\npassword = \"open sesame\"\n",
        database.url()
    );
    Gate::start_with(&head, rules)
}

fn ann() -> Login {
    Login::new("ann", DATABASE).password("open sesame")
}

/// Whether the other end closes without having said anything.
fn is_closed_without_a_word(mut client: Raw) -> bool {
    matches!(client.receive_within(Duration::from_secs(5)), Some(None))
}
