//! Drivers that people really use, each with its own idioms.
//!
//! They come over TLS, check who the gate is, log in with SCRAM, and share two
//! server connections in transaction mode under all default policies. The
//! programs stand in `tests/drivers/`; each ends with an error at the first
//! answer that is not what the driver's users expect.

mod programs;
mod tokio_postgres;
mod tools;

use std::process::Command;
use std::sync::Arc;

use tokio_postgres_rustls::MakeRustlsConnect;

use crate::support::certificates::{Authority, write};
use crate::support::database::{Database, fresh_database};
use crate::support::gate::{DATABASE, Gate};

/// What every driver finds.
const SETUP: &str = "
    CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL, born date, score float8,
                        tags text[], extra jsonb);
    INSERT INTO users SELECT i, 'user ' || i, date '2000-01-01' + i, i / 3.0,
                             ARRAY['a' || i, 'b'], jsonb_build_object('n', i)
        FROM generate_series(1, 300) i;
    CREATE TABLE notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                        owner int REFERENCES users, body text, made timestamptz DEFAULT now());
    CREATE TABLE canary_keys (id int);
";

/// All default policies, enforcing.
const RULES: &str = r#"
[table_limits]
users = { changed = 100, returned = 1000 }
notes = { changed = 5000 }

[[policy]]
name = "require-where"

[[policy]]
name = "honeytoken"
settings = { tables = ["canary_*"] }

[[policy]]
name = "plan-guard"
settings = { max_cost = 1000000 }

[[policy]]
name = "rate-limit"
settings.buckets = [{ name = "each", by = ["user", "address"], burst = 1000000, per = "1m" }]
"#;

const USER: &str = "ann";
const PASSWORD: &str = "open sesame";

/// A gate as drivers meet it.
struct Scene {
    gate: Gate,
    authority: Authority,
    database: Database,
    folder: tempfile::TempDir,
    max: usize,
}

fn scene() -> Option<Scene> {
    scene_with(2)
}

/// With so many server connections.
fn scene_with(max: usize) -> Option<Scene> {
    let database = fresh_database()?;
    database.prepare(SETUP);
    let authority = Authority::new("authority of the test");
    let folder = tempfile::tempdir().expect("a folder");
    let own = authority.issue("gate", &["127.0.0.1", "localhost"]);
    own.write(folder.path(), "gate");
    write(folder.path(), "ca.crt", &authority.pem());
    let head = format!(
        "tls = {{ certificate = \"{0}/gate.crt\", key = \"{0}/gate.key\" }}\n\n\
         [[database]]\nname = \"{DATABASE}\"\nbackend = \"{1}\"\n\
         operator = {{ user = \"postgres\" }}\npool = {{ mode = \"transaction\", max = {max} }}\n\n\
         [[user]]\nname = \"{USER}\"\npassword = \"{PASSWORD}\"\n",
        folder.path().display(),
        database.url(),
    );
    let gate = Gate::start_with(&head, RULES);
    Some(Scene {
        gate,
        authority,
        database,
        folder,
        max,
    })
}

impl Scene {
    fn ca(&self) -> String {
        self.folder.path().join("ca.crt").display().to_string()
    }

    /// What tokio-postgres encrypts with.
    fn tls(&self) -> MakeRustlsConnect {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(self.authority.roots())
            .with_no_client_auth();
        MakeRustlsConnect::new(config)
    }

    /// Tells a program where the gate is, in the words of libpq.
    fn lead<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.gate.address.port().to_string())
            .env("PGUSER", USER)
            .env("PGPASSWORD", PASSWORD)
            .env("PGDATABASE", DATABASE)
            .env("PGSSLMODE", "verify-full")
            .env("PGSSLROOTCERT", self.ca())
            .env("PGCONNECT_TIMEOUT", "20")
    }

    /// Nobody may have had a server connection of its own.
    fn server_connections_were_shared(&self) {
        let sql = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND usename = 'app' AND pid <> pg_backend_pid()";
        let count: usize = self.database.admin().value(sql).parse().expect("a number");
        assert!(count <= self.max, "{count} server connections");
    }
}
