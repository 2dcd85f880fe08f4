//! A PostgreSQL server of one test's own, which can be stopped, restarted,
//! followed by a standby, and promoted.

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::database::{Database, OWNER};
use super::postgres::{self, SUPERUSER};
use super::raw::{Login, Raw};

const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "wal_level=replica",
    "max_wal_senders=5",
    "hot_standby=on",
    "fsync=off",
    "full_page_writes=off",
    "max_connections=60",
    "shared_buffers=32MB",
    "autovacuum=off",
    "logging_collector=off",
];

/// Stops whatever server runs in the folder when its input ends.
const GUARD: &str = r#"
folder=$1
read -r _
pid=$(head -n 1 "$folder/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ]; then
  kill -INT "$pid" 2>/dev/null
  while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
fi
cd / && rm -rf "$folder"
"#;

/// A running server.
pub struct Cluster {
    /// Port on 127.0.0.1.
    pub port: u16,
    folder: PathBuf,
    guard: Child,
}

impl Cluster {
    /// A new server with the role `app` and the database `app`; none where there
    /// is no PostgreSQL and REQUIRE_SERVERS is not set.
    pub fn start() -> Option<Cluster> {
        let cluster = match Cluster::make(None) {
            Ok(cluster) => cluster,
            Err(reason) if std::env::var_os("REQUIRE_SERVERS").is_some() => panic!("{reason}"),
            Err(reason) => {
                eprintln!("skipped: {reason}");
                return None;
            }
        };
        let mut admin = Raw::login(cluster.address(), &Login::new(SUPERUSER, "postgres"));
        admin.rows(&format!("CREATE ROLE {OWNER} LOGIN"));
        admin.rows(&format!("CREATE DATABASE app OWNER {OWNER}"));
        Some(cluster)
    }

    /// A hot standby that follows this server.
    pub fn standby(&self) -> Cluster {
        Cluster::make(Some(self.port)).expect("a standby")
    }

    fn make(primary: Option<u16>) -> Result<Cluster, String> {
        let binaries = binaries()?;
        let owner = postgres::unprivileged_user()?;
        let folder = postgres::make_folder(owner)?;
        match primary {
            None => {
                postgres::initdb(&binaries, &folder, owner)?;
                let access = postgres::access_file() + "host replication all 127.0.0.1/32 trust\n";
                std::fs::write(folder.join("data/pg_hba.conf"), access)
                    .map_err(|error| format!("pg_hba.conf: {error}"))?;
            }
            Some(port) => {
                let output = postgres::run_as(&binaries.join("pg_basebackup"), &folder, owner)
                    .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", SUPERUSER])
                    .args(["-R", "--checkpoint=fast", "-X", "stream", "-D"])
                    .arg(folder.join("data"))
                    .output()
                    .map_err(|error| format!("pg_basebackup: {error}"))?;
                if !output.status.success() {
                    return Err(String::from_utf8_lossy(&output.stderr).into_owned());
                }
            }
        }
        let mut guard = postgres::run_as(Path::new("/bin/sh"), &folder, owner)
            .args(["-c", GUARD, "guard"])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| format!("guard: {error}"))?;
        if let Some(stdin) = &mut guard.stdin {
            let _ = stdin.flush();
        }
        let cluster = Cluster {
            port: postgres::free_port()?,
            folder,
            guard,
        };
        let mut options = format!("-p {} -k {}", cluster.port, cluster.folder.display());
        for setting in SETTINGS {
            options.push_str(&format!(" -c {setting}"));
        }
        cluster.control(&["start", "-w", "-t", "60", "-l", "log", "-o", &options])?;
        Ok(cluster)
    }

    fn control(&self, arguments: &[&str]) -> Result<(), String> {
        let binaries = binaries()?;
        let owner = postgres::unprivileged_user()?;
        let status = postgres::run_as(&binaries.join("pg_ctl"), &self.folder, owner)
            .arg("-D")
            .arg(self.folder.join("data"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .status()
            .map_err(|error| format!("pg_ctl: {error}"))?;
        match status.success() {
            true => Ok(()),
            false => {
                let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                Err(format!("pg_ctl {arguments:?}: {status}\n{log}"))
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The folder of its Unix socket.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The database `app` on it.
    pub fn database(&self) -> Database {
        Database {
            name: "app".to_owned(),
            address: self.address(),
        }
    }

    /// Ends it, in one of the modes of `pg_ctl`, and starts it again.
    pub fn restart(&self, mode: &str) {
        let restarted = self.control(&["restart", "-m", mode, "-w", "-t", "60", "-l", "log"]);
        restarted.expect("the server comes back");
    }

    /// Ends it.
    pub fn stop(&self, mode: &str) {
        self.control(&["stop", "-m", mode, "-w"])
            .expect("the server stops");
    }

    /// Makes a primary of a standby.
    pub fn promote(&self) {
        self.control(&["promote", "-w"])
            .expect("the standby is promoted");
    }

    /// Waits until this standby has everything that the primary has.
    pub fn wait_for(&self, primary: &Cluster) {
        let target = primary
            .database()
            .admin()
            .value("SELECT pg_current_wal_lsn()");
        let sql = format!("SELECT coalesce(pg_last_wal_replay_lsn() >= '{target}', false)");
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.database().admin().value(&sql) != "t" {
            assert!(Instant::now() < deadline, "the standby does not follow");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The folder with all the tools: the server alone does not copy itself.
fn binaries() -> Result<PathBuf, String> {
    let installed = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let installed = installed.flatten().map(|entry| entry.path().join("bin"));
    postgres::find_binaries()
        .into_iter()
        .chain(installed)
        .find(|folder| folder.join("pg_basebackup").is_file() && folder.join("pg_ctl").is_file())
        .ok_or_else(|| "pg_basebackup and pg_ctl were not found".to_owned())
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}
