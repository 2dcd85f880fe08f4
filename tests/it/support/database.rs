//! The shared server of this test process, and fresh databases on it.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::postgres::{Postgres, SUPERUSER};
use super::raw::{Login, Raw};

/// Role that the gate and most tests use: owns its database, is no superuser.
pub const OWNER: &str = "app";

/// A database of its own for one test; it lives as long as the process.
#[derive(Debug, Clone)]
pub struct Database {
    /// Name on the server.
    pub name: String,
    /// Where the server listens.
    pub address: SocketAddr,
}

impl Database {
    /// A connection to the server itself, as the owner.
    pub fn direct(&self) -> Raw {
        Raw::login(self.address, &Login::new(OWNER, &self.name))
    }

    /// A connection to the server itself, as superuser.
    pub fn admin(&self) -> Raw {
        Raw::login(self.address, &Login::new(SUPERUSER, &self.name))
    }

    /// Runs a script of SQL as the owner, or panics.
    pub fn prepare(&self, sql: &str) {
        self.direct().rows(sql);
    }

    /// Backend URL for the gate's configuration.
    pub fn url(&self) -> String {
        format!("postgres://{OWNER}@{}/{}", self.address, self.name)
    }
}

fn server() -> &'static Result<Postgres, String> {
    static SERVER: OnceLock<Result<Postgres, String>> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = Postgres::start()?;
        let address = SocketAddr::from(([127, 0, 0, 1], server.port));
        let mut admin = Raw::login(address, &Login::new(SUPERUSER, "postgres"));
        admin.rows(&format!("CREATE ROLE {OWNER} LOGIN"));
        // Whoever is a member has to prove its password.
        admin.rows("CREATE ROLE needs_scram");
        for (user, method) in super::postgres::LOGINS {
            let encryption = if *method == "md5" {
                "md5"
            } else {
                "scram-sha-256"
            };
            admin.rows(&format!("SET password_encryption = '{encryption}'"));
            admin.rows(&format!(
                "CREATE ROLE {user} LOGIN PASSWORD 'secret of {user}'"
            ));
        }
        Ok(server)
    })
}

/// A fresh database, or none when there is no PostgreSQL and REQUIRE_SERVERS is not set.
///
/// `cargo test` alone must be useful on a machine without servers; `cargo xtask
/// test` sets REQUIRE_SERVERS, and then a missing server is a failure.
pub fn fresh_database() -> Option<Database> {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let server = match server() {
        Ok(server) => server,
        Err(reason) if std::env::var_os("REQUIRE_SERVERS").is_some() => panic!("{reason}"),
        Err(reason) => {
            eprintln!("skipped: {reason}");
            return None;
        }
    };
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let address = SocketAddr::from(([127, 0, 0, 1], server.port));
    let mut admin = Raw::login(address, &Login::new(SUPERUSER, "postgres"));
    admin.rows(&format!("CREATE DATABASE {name} OWNER {OWNER}"));
    Some(Database { name, address })
}
