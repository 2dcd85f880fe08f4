//! Encryption, on both sides of the gate, with a real server and real clients.

mod config;
mod door;
mod identity;
mod server;

use std::path::Path;

use crate::support::certificates::{Authority, Pair, write};
use crate::support::database::Database;
use crate::support::gate::{DATABASE, Gate};
use crate::support::raw::Login;
use crate::support::wire::Encryption;

/// A gate whose door speaks TLS, and what its clients need to know.
struct Scene {
    gate: Gate,
    authority: Authority,
    own: Pair,
    folder: tempfile::TempDir,
}

const USERS: &str = "[[user]]\nname = \"app\"\nauth = \"trust\"\n\n\
                     [[user]]\nname = \"ann\"\npassword = \"open sesame\"\n\n";

/// `tls` is the rest of the door's table; `rules` the rest of the file.
fn scene(database: &Database, tls: &str, rules: &str) -> Scene {
    let authority = Authority::new("authority of the test");
    let own = authority.issue("gate", &["127.0.0.1"]);
    let folder = tempfile::tempdir().expect("a folder");
    own.write(folder.path(), "gate");
    write(folder.path(), "ca.crt", &authority.pem());
    let head = format!(
        "tls = {{ certificate = \"{0}/gate.crt\", key = \"{0}/gate.key\"{tls} }}\n\n\
         [[database]]\nname = \"{DATABASE}\"\nbackend = \"{1}\"\n\n",
        folder.path().display(),
        database.url(),
    );
    Scene {
        gate: Gate::start_with(&head, rules),
        authority,
        own,
        folder,
    }
}

impl Scene {
    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn encryption(&self) -> Encryption {
        Encryption::new(&self.authority, None, true)
    }

    fn client_ca(folder: &str) -> String {
        format!(", client_ca = \"{folder}\"")
    }
}

fn ann() -> Login {
    Login::new("ann", DATABASE).password("open sesame")
}

fn app() -> Login {
    Login::new("app", DATABASE)
}
