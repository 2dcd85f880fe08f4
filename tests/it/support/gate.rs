//! The gate as its users run it: the binary, a configuration file, a port.
//!
//! A process of its own, so that a test can also kill it, signal it or feed it a
//! file that is broken, and so that one test's gate cannot touch another's.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use super::database::{Database, OWNER};
use super::raw::{Login, Raw};

/// The name clients use for the test's database.
pub const DATABASE: &str = "app";

/// A running gate; it ends with this value.
pub struct Gate {
    /// Where clients connect.
    pub address: SocketAddr,
    /// Where `/metrics` and the health checks are.
    pub admin: SocketAddr,
    folder: Arc<tempfile::TempDir>,
    head: String,
    log: PathBuf,
    child: Child,
}

impl Gate {
    /// Starts a gate in front of `database`; `rules` is the rest of the configuration.
    pub fn start(database: &Database, rules: &str) -> Gate {
        Gate::start_prepared(database, rules, |_| {})
    }

    /// Like [`Gate::start`]; `prepare` may put files into the folder of the configuration.
    pub fn start_prepared(database: &Database, rules: &str, prepare: impl FnOnce(&Path)) -> Gate {
        let mode = std::env::var("GATE_POOL_MODE").unwrap_or_else(|_| "session".to_owned());
        Gate::start_pooled(database, &format!("mode = \"{mode}\""), rules, prepare)
    }

    /// Like [`Gate::start_prepared`], with settings of the pool.
    pub fn start_pooled(
        database: &Database,
        pool: &str,
        rules: &str,
        prepare: impl FnOnce(&Path),
    ) -> Gate {
        let operator = super::postgres::SUPERUSER;
        let backend = database.url();
        let head = format!(
            "[[database]]\nname = \"{DATABASE}\"\nbackend = \"{backend}\"\n\
             operator = {{ user = \"{operator}\" }}\npool = {{ {pool} }}\n\n\
             [[user]]\nname = \"{OWNER}\"\nauth = \"trust\"\n\n"
        );
        Gate::launch(&head, rules, prepare)
    }

    /// Starts a gate with databases and users of its own choice.
    pub fn start_with(head: &str, rules: &str) -> Gate {
        Gate::launch(head, rules, |_| {})
    }

    /// Like [`Gate::start_with`]; `prepare` may put files into the folder of the configuration.
    pub fn start_with_files(head: &str, rules: &str, prepare: impl FnOnce(&Path)) -> Gate {
        Gate::launch(head, rules, prepare)
    }

    /// Like [`Gate::start_with`], with something in its environment.
    pub fn start_in(head: &str, rules: &str, environment: &[(&str, &str)]) -> Gate {
        Gate::launch_in(head, rules, environment, |_| {})
    }

    fn launch(head: &str, rules: &str, prepare: impl FnOnce(&Path)) -> Gate {
        Gate::launch_in(head, rules, &[], prepare)
    }

    fn launch_in(
        head: &str,
        rules: &str,
        environment: &[(&str, &str)],
        prepare: impl FnOnce(&Path),
    ) -> Gate {
        let folder = tempfile::tempdir().expect("a temporary folder");
        prepare(folder.path());
        let (address, admin) = (free_address(), free_address());
        // One folder of compiled policies for all, unless the test has its own idea.
        let shared = format!("state_dir = \"{}\"", env!("CARGO_TARGET_TMPDIR"));
        let (state, head) = match head.split_once('\n') {
            Some((first, rest)) if first.starts_with("state_dir") => (first, rest),
            _ => (&*shared, head),
        };
        // Two workers likewise.
        let (workers, head) = match head.split_once('\n') {
            Some((first, rest)) if first.starts_with("workers") => (first, rest),
            _ => ("workers = 2", head),
        };
        let head = format!(
            "{state}\nrun_dir = \"run\"\n{workers}\n\n[admin]\naddress = \"{admin}\"\n\n[[listen]]\naddress = \"{address}\"\n\n{head}"
        );
        let file = folder.path().join("portcullis.toml");
        std::fs::write(&file, format!("{head}{rules}")).expect("the configuration");
        let log = folder.path().join("log");
        let mut command = command(&file, &log);
        let child = command.envs(environment.iter().copied()).spawn();
        let mut gate = Gate {
            address,
            admin,
            folder: Arc::new(folder),
            head,
            log,
            child: child.expect("the gate starts"),
        };
        gate.wait_until_open();
        gate
    }

    /// Starts a gate that takes over from this one; returns when it serves.
    pub fn follow(&self) -> Gate {
        let mut next = self.try_follow();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !next.log().contains("the gate is open") {
            if let Ok(Some(status)) = next.child.try_wait() {
                panic!("the gate ended with {status}:\n{}", next.log());
            }
            assert!(Instant::now() < deadline, "it does not open");
            std::thread::sleep(Duration::from_millis(5));
        }
        next
    }

    /// Like [`Gate::follow`], and does not wait for it to succeed.
    pub fn try_follow(&self) -> Gate {
        let log = self.log.with_extension("next");
        let log = (0..)
            .map(|number| log.with_extension(format!("{number}")))
            .find(|log| !log.exists())
            .expect("a new name");
        let mut command = command(&self.config_path(), &log);
        Gate {
            address: self.address,
            admin: self.admin,
            folder: self.folder.clone(),
            head: self.head.clone(),
            log,
            child: command.arg("--takeover").spawn().expect("the gate starts"),
        }
    }

    fn wait_until_open(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        // The door is bound before the pages are there.
        let opens = |address| std::net::TcpStream::connect(address).is_ok();
        while !(opens(self.admin) && opens(self.address)) {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("the gate ended with {status}:\n{}", self.log());
            }
            assert!(
                Instant::now() < deadline,
                "the gate did not open its port:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        // The admin listener opens behind the others.
        while http_get(self.admin, "/readyz").map_or(0, |page| page.0) != 200 {
            assert!(
                Instant::now() < deadline,
                "the gate is not ready:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A connection as the owner.
    pub fn connect(&self) -> Raw {
        Raw::login(self.address, &Login::new(OWNER, DATABASE))
    }

    /// Replaces everything behind databases and users, in one step, as an editor does.
    pub fn rewrite(&self, rules: &str) {
        let file = self.config_path();
        let mut draft = tempfile::NamedTempFile::new_in(self.folder.path()).expect("a draft");
        write!(draft, "{}{rules}", self.head).expect("the draft");
        draft
            .persist(&file)
            .expect("the new file takes the old one's place");
    }

    /// Replaces a piece of the file, in one step.
    pub fn edit(&self, old: &str, new: &str) {
        let file = self.config_path();
        let text = std::fs::read_to_string(&file).expect("the configuration");
        assert!(text.contains(old), "{old} is not in:\n{text}");
        let mut draft = tempfile::NamedTempFile::new_in(self.folder.path()).expect("a draft");
        write!(draft, "{}", text.replace(old, new)).expect("the draft");
        draft
            .persist(&file)
            .expect("the new file takes the old one's place");
    }

    /// The configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("portcullis.toml")
    }

    /// The folder of the configuration file; relative plugin paths start there.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the gate wrote so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the log holds a line with all these pieces.
    pub fn wait_for_log(&self, pieces: &[&str]) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let log = self.log();
            if log
                .lines()
                .any(|line| pieces.iter().all(|piece| line.contains(piece)))
            {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "no log line with {pieces:?} in:\n{log}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Body of a page of the admin listener.
    pub fn page(&self, path: &str) -> (u16, String) {
        http_get(self.admin, path).expect("the admin listener answers")
    }

    /// Sum of a counter over all labels that contain `labels`.
    pub fn metric(&self, name: &str, labels: &str) -> f64 {
        let (_, page) = self.page("/metrics");
        let samples = page.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(labels)
        });
        samples
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Resident memory now, in kB.
    pub fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most resident memory it ever had, in kB.
    pub fn peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, what: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()));
        let status = status.expect("a process that lives");
        let line = status.lines().find_map(|line| line.strip_prefix(what));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.expect("a number of kB")
    }

    /// Process id, for signals.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let arguments = [format!("-{name}"), self.id().to_string()];
        let sent = Command::new("kill").args(arguments).status();
        assert!(sent.expect("kill runs").success(), "SIG{name}");
    }

    /// Waits for the process to end by itself.
    pub fn wait(&mut self, patience: Duration) -> Option<std::process::ExitStatus> {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(40)..];
            eprintln!("last lines of the gate's log:\n{}\n", tail.join("\n"));
        }
    }
}

/// `portcullis run` with this configuration, and where its words go.
fn command(config: &Path, log: &Path) -> Command {
    let log = std::fs::File::create(log).expect("a log file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command
        .args(["run", "--config"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log);
    command
}

/// A port below those the system gives to outgoing connections: nobody else
/// takes it between this look and the gate's own bind.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 12_000;
    const PORTS: u16 = 16_000;
    let start = std::process::id() as u16;
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + start.wrapping_mul(97).wrapping_add(step) % PORTS;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener.local_addr().expect("its address");
        }
    }
}

fn http_get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    use std::io::Read;
    let mut stream = std::net::TcpStream::connect(address)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let status = response
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0);
    let body = response
        .split_once("\r\n\r\n")
        .map(|parts| parts.1.to_owned())
        .unwrap_or_default();
    Ok((status, body))
}
