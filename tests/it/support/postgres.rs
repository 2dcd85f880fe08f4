//! A real PostgreSQL, made by `initdb` in a temporary directory, on a free port.
//!
//! Needs the standard library alone, because `xtask bench` includes this file
//! too. `initdb` and `postgres` refuse to run as root, so when we are root they
//! run as an unprivileged user of the machine.
//!
//! The server cannot outlive the process that started it, however that ends: a
//! small shell holds the other end of a pipe, and stops the server and removes
//! its directory when the pipe closes.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A folder with `initdb` and `postgres`, to be used rather than what is found.
pub const BINARIES: &str = "PORTCULLIS_TEST_PG";

/// Superuser of the server; logs in without a password.
pub const SUPERUSER: &str = "postgres";

/// Ways to log in that the access file knows beside `trust`: user and method.
pub const LOGINS: &[(&str, &str)] = &[
    ("scram_login", "scram-sha-256"),
    ("md5_login", "md5"),
    ("password_login", "password"),
];

/// Quick and forgetful: the data never survives the process.
const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_connections=300",
    "max_prepared_transactions=20",
    "autovacuum=off",
    "shared_buffers=256MB",
    "logging_collector=off",
    "log_min_messages=warning",
];

/// A running server.
pub struct Postgres {
    /// Port on 127.0.0.1.
    pub port: u16,
    /// Where the server's binaries are.
    #[allow(dead_code, reason = "the bench calls its tools, the suite does not")]
    pub binaries: PathBuf,
    guard: Child,
}

impl Postgres {
    /// Makes a new server and waits until it answers. The error says what to install.
    pub fn start() -> Result<Postgres, String> {
        let binaries = find_binaries().ok_or_else(|| {
            "initdb was not found in PATH or /usr/lib/postgresql/*/bin: install the PostgreSQL \
             server (Debian: apt-get install postgresql), or run `cargo xtask test`"
                .to_owned()
        })?;
        let owner = unprivileged_user()?;
        let folder = make_folder(owner)?;
        let binaries = reachable(binaries, &folder, owner)?;
        initdb(&binaries, &folder, owner)?;
        std::fs::write(folder.join("data/pg_hba.conf"), access_file())
            .map_err(|error| format!("pg_hba.conf: {error}"))?;
        let port = free_port()?;
        let guard = launch(&binaries, &folder, port, owner)?;
        let server = Postgres {
            port,
            binaries,
            guard,
        };
        server.wait_until_ready(&folder)?;
        Ok(server)
    }

    fn wait_until_ready(&self, folder: &Path) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !accepts_logins(self.port) {
            if Instant::now() > deadline {
                let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
                return Err(format!("PostgreSQL did not start within a minute:\n{log}"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

/// An open port is not enough: while it recovers, the server answers every login with an error.
pub fn accepts_logins(port: u16) -> bool {
    let parameters = format!("user\0{SUPERUSER}\0database\0postgres\0\0");
    let mut packet = (parameters.len() as u32 + 8).to_be_bytes().to_vec();
    packet.extend(196_608_u32.to_be_bytes());
    packet.extend(parameters.as_bytes());
    let mut first = [0];
    let asked = TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
        stream.write_all(&packet)?;
        stream.read_exact(&mut first)
    });
    asked.is_ok() && first == *b"R"
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// The folder that holds `initdb` and `postgres`, from PATH or where distributions put them.
pub fn find_binaries() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os(BINARIES) {
        let folder = PathBuf::from(folder);
        return folder.join("initdb").is_file().then_some(folder);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for base in ["/usr/lib/postgresql", "/usr/pgsql", "/usr/local/pgsql"] {
        let Ok(entries) = std::fs::read_dir(base) else {
            continue;
        };
        let mut versions: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        versions.sort_by_key(|path| std::cmp::Reverse(version_of(path)));
        candidates.extend(versions.into_iter().map(|version| version.join("bin")));
    }
    candidates
        .into_iter()
        .find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
}

/// The binaries, or a copy where another user cannot go: below a home directory, say.
fn reachable(
    binaries: PathBuf,
    folder: &Path,
    owner: Option<(u32, u32)>,
) -> Result<PathBuf, String> {
    let closed = |path: &Path| {
        let metadata = std::fs::metadata(path);
        metadata.is_ok_and(|metadata| metadata.mode() & 0o001 == 0)
    };
    let (Some(installation), true) = (binaries.parent(), owner.is_some()) else {
        return Ok(binaries);
    };
    if !binaries.ancestors().any(closed) {
        return Ok(binaries);
    }
    let copy = folder.join("installation");
    let mut command = Command::new("cp");
    command.arg("-a").arg(installation).arg(&copy);
    match command.status() {
        Ok(status) if status.success() => Ok(copy.join("bin")),
        Ok(status) => Err(format!("cp -a {}: {status}", installation.display())),
        Err(error) => Err(format!("cp: {error}")),
    }
}

fn version_of(path: &Path) -> u32 {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.parse().unwrap_or(0)
}

/// User and group to run the server as; none when we are not root.
pub fn unprivileged_user() -> Result<Option<(u32, u32)>, String> {
    let me = std::fs::metadata("/proc/self").map_err(|error| format!("/proc/self: {error}"))?;
    if me.uid() != 0 {
        return Ok(None);
    }
    let users =
        std::fs::read_to_string("/etc/passwd").map_err(|error| format!("/etc/passwd: {error}"))?;
    for wanted in ["postgres", "nobody"] {
        for line in users.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            if let [name, _, user, group, ..] = fields.as_slice()
                && *name == wanted
                && let (Ok(user), Ok(group)) = (user.parse(), group.parse())
            {
                return Ok(Some((user, group)));
            }
        }
    }
    Err(
        "running as root, and there is no user `postgres` or `nobody` to run the server as"
            .to_owned(),
    )
}

pub fn make_folder(owner: Option<(u32, u32)>) -> Result<PathBuf, String> {
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.subsec_nanos());
    let name = format!("portcullis-test-{}-{nanos}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    if let Some((user, group)) = owner {
        std::os::unix::fs::chown(&folder, Some(user), Some(group))
            .map_err(|error| format!("chown {}: {error}", folder.display()))?;
    }
    Ok(folder)
}

/// A command as that user, in an environment whose language and zone are known.
pub fn run_as(program: &Path, folder: &Path, owner: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .env("LC_ALL", "C")
        .env("TZ", "UTC");
    if let Some((user, group)) = owner {
        command.gid(group).uid(user);
    }
    command
}

pub fn initdb(binaries: &Path, folder: &Path, owner: Option<(u32, u32)>) -> Result<(), String> {
    let output = run_as(&binaries.join("initdb"), folder, owner)
        .args(["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C"])
        .args(["--username", SUPERUSER, "--pgdata"])
        .arg(folder.join("data"))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("initdb: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let _ = std::fs::remove_dir_all(folder);
    Err(format!(
        "initdb failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    ))
}

pub fn access_file() -> String {
    let mut lines = String::new();
    for (user, method) in LOGINS {
        lines.push_str(&format!("host all {user} 127.0.0.1/32 {method}\n"));
    }
    lines.push_str("host all +needs_scram 127.0.0.1/32 scram-sha-256\n");
    lines + "local all all trust\nhost all all 127.0.0.1/32 trust\n"
}

pub fn free_port() -> Result<u16, String> {
    let listener =
        TcpListener::bind(("127.0.0.1", 0)).map_err(|error| format!("no free port: {error}"))?;
    let address = listener
        .local_addr()
        .map_err(|error| format!("no free port: {error}"))?;
    Ok(address.port())
}

/// Waits for end of file on its input, then stops the server and cleans up.
const GUARD: &str = r#"
folder=$1; shift
"$@" >"$folder/log" 2>&1 &
server=$!
read -r _
kill -INT $server 2>/dev/null
wait $server
cd / && rm -rf "$folder"
"#;

fn launch(
    binaries: &Path,
    folder: &Path,
    port: u16,
    owner: Option<(u32, u32)>,
) -> Result<Child, String> {
    let mut arguments: Vec<OsString> =
        vec!["-c".into(), GUARD.into(), "guard".into(), folder.into()];
    arguments.push(binaries.join("postgres").into());
    arguments.extend(["-D".into(), folder.join("data").into()]);
    arguments.extend(["-p".into(), port.to_string().into()]);
    arguments.extend(["-k".into(), folder.into()]);
    for setting in SETTINGS {
        arguments.extend(["-c".into(), setting.into()]);
    }
    let mut child = run_as(Path::new("/bin/sh"), folder, owner)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A signal for the terminal's foreground group must not reach the guard before us.
        .process_group(0)
        .spawn()
        .map_err(|error| format!("postgres: {error}"))?;
    if let Some(stdin) = &mut child.stdin {
        let _ = stdin.flush();
    }
    Ok(child)
}
