//! One TOML file becomes one immutable, checked [`Config`].
//!
//! Deliberately not here: anything that opens a socket, a database or a
//! plugin. Secrets are wrapped in [`Secret`], whose `Debug` prints `***`.
//!
//! Read [`Config`] first, then [`load()`].

pub mod auth;
mod auth_query;
pub mod console;
mod databases;
mod diagnostic;
mod hosts;
mod keys;
mod listen;
mod load;
pub mod networks;
mod page;
mod policies;
mod pool;
mod proof;
mod reader;
pub mod reference;
mod runtime;
mod settings;
mod source;
#[cfg(test)]
mod tests;
mod timeouts;
pub mod tls;
mod users;
mod values;

pub use auth::{AuthRule, Method};
pub use auth_query::{ActAs, AuthQuery};
pub use console::{ConsoleConfig, ConsoleRole};
pub use databases::WILDCARD;
pub use diagnostic::{Diagnostic, Level, Place, nearest};
pub use hosts::{HostName, Hosts, Wanted};
pub use keys::PublicKey;
pub use listen::{Endpoint, Gates, Listen, Protocol, UnixAddress};
pub use load::{load, load_without_secrets, parse, read};
#[cfg(test)]
pub(crate) use page::check_page;
pub use page::markdown;
pub use pool::{Pool, PoolMode, UserPool};
pub use proof::{Proof, ProofSlot};
pub use runtime::Runtime;
pub use source::Source;
pub use timeouts::{FOREVER, Timeouts};
pub use tls::{DoorTls, ServerTls, SslMode};
pub use users::{Credential, User};
pub use values::read_duration;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A value that must not be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps.
    pub fn new(text: impl Into<Arc<str>>) -> Secret {
        Secret(text.into())
    }

    /// The only way to the value.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// The whole configuration, checked: every reference resolves.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it came from; none for built-in configurations.
    pub path: Option<PathBuf>,
    /// What somebody should look at, though the file can be used.
    pub warnings: Vec<Diagnostic>,
    /// Doors.
    pub listen: Vec<Listen>,
    /// Databases, by the name clients use.
    pub databases: Vec<Arc<Database>>,
    /// Users that may log in.
    pub users: Vec<Arc<User>>,
    /// Rules about who proves what; none: each user's own method.
    pub auth: Option<Vec<AuthRule>>,
    /// Policies in order, default ones that were not mentioned included.
    pub policies: Vec<PolicyConfig>,
    /// How the gate treats what it cannot read.
    pub analysis: AnalysisConfig,
    /// Admin HTTP listener.
    pub admin: Option<SocketAddr>,
    /// The console.
    pub console: ConsoleConfig,
    /// Logging.
    pub log: LogConfig,
    /// Bounds.
    pub limits: Limits,
    /// Start-up parameters that are overlooked.
    pub ignore_startup_parameters: Vec<Arc<str>>,
    /// Worker threads; 0: one per core.
    pub workers: usize,
    /// Where state (overrides, caches) is kept.
    pub state_dir: Option<PathBuf>,
    /// Where control sockets are, as written; see [`Config::run_dir`].
    pub run_dir: Option<PathBuf>,
}

/// The default policies, by the name of their plugin.
pub const DEFAULT_POLICIES: &[&str] = &[
    "honeytoken",
    "table-limit",
    "rate-limit",
    "plan-guard",
    "require-where",
];

/// Every plugin that is built in, by name. What is no default policy runs only
/// where the file names it.
pub const BUILT_IN_PLUGINS: &[&str] = &[
    "honeytoken",
    "network",
    "schedule",
    "signature",
    "read-only",
    "column-guard",
    "require-where",
    "table-limit",
    "rate-limit",
    "plan-guard",
];

impl Default for Config {
    /// No database and no user; one door; the default policies, enforced.
    fn default() -> Self {
        let mut policies = Vec::new();
        policies::append_defaults(&mut policies, Mode::Enforce);
        Config {
            path: None,
            warnings: Vec::new(),
            listen: vec![Listen::default()],
            databases: Vec::new(),
            users: Vec::new(),
            auth: None,
            policies,
            analysis: AnalysisConfig::default(),
            admin: None,
            console: ConsoleConfig::default(),
            log: LogConfig::default(),
            limits: Limits::default(),
            ignore_startup_parameters: Vec::new(),
            workers: 0,
            state_dir: None,
            run_dir: None,
        }
    }
}

impl Config {
    /// Whether anybody could log in.
    pub fn knows_users(&self) -> bool {
        !self.users.is_empty() || self.databases.iter().any(|it| it.auth_query.is_some())
    }

    /// Where control sockets are; none: there are none.
    pub fn run_dir(&self) -> Option<PathBuf> {
        let beside = || Some(self.state_dir.as_ref()?.join("run"));
        self.run_dir.clone().or_else(beside)
    }

    /// Keeps what users have proven, where their passwords are the same.
    pub fn keep_proofs(&mut self, old: &Config) {
        for user in &mut self.users {
            let known = old.users.iter().find(|known| known.name == user.name);
            if let Some(known) = known.filter(|known| known.credential == user.credential)
                && user.proof.is_some()
            {
                Arc::make_mut(user).proof = known.proof.clone().or(user.proof.clone());
            }
        }
    }

    /// The configuration of the demonstration: one SQLite file, one user whom
    /// everybody may be, limits and a trap on its tables. For a loopback address.
    pub fn builtin_demo(sqlite_path: &Path, address: SocketAddr) -> Config {
        let mut config =
            parse(include_str!("demo.toml"), "demo.toml", &|_| None).unwrap_or_default();
        config.listen = vec![Listen {
            address: Endpoint::Tcp(address),
            ..Listen::default()
        }];
        config.databases = vec![Arc::new(Database {
            name: Arc::from("demo"),
            backend: Backend::Sqlite {
                path: Some(sqlite_path.to_owned()),
            },
            pool: Pool::default(),
            timeouts: Timeouts::default(),
            auth_query: None,
            aliases: Vec::new(),
            connect_query: None,
        })];
        config
    }
}

/// A database as clients name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Name in the start-up packet.
    pub name: Arc<str>,
    /// Further names for it.
    pub aliases: Vec<Arc<str>>,
    /// What stands behind it.
    pub backend: Backend,
    /// Pool settings.
    pub pool: Pool,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// Run on each new server connection before anybody uses it.
    pub connect_query: Option<Arc<str>>,
    /// How users that the file does not know are looked up; none: not at all.
    pub auth_query: Option<AuthQuery>,
}

/// What stands behind a database name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// A PostgreSQL server.
    Postgres(PostgresBackend),
    /// An embedded SQLite file (`sqlite:PATH`); `sqlite::memory:` is private to the process.
    Sqlite {
        /// The file; none: in memory, shared by all sessions.
        path: Option<PathBuf>,
    },
}

/// Where a PostgreSQL server is and as whom to go there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresBackend {
    /// The servers.
    pub hosts: Hosts,
    /// Database name on the server.
    pub database: Arc<str>,
    /// User when the client's user names no server user.
    pub user: Arc<str>,
    /// Password of that user.
    pub password: Option<Secret>,
    /// Role for catalog reads and EXPLAIN; the backend's user when absent.
    pub operator: Option<(Arc<str>, Option<Secret>)>,
    /// Encryption on the way there.
    pub tls: ServerTls,
}

/// What happens with a policy's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Not asked.
    Off,
    /// Asked, recorded, not enforced.
    Monitor,
    /// Asked and enforced.
    Enforce,
}

impl Mode {
    /// As in the file.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Off => "off",
            Mode::Monitor => "monitor",
            Mode::Enforce => "enforce",
        }
    }

    /// The mode that is written so.
    pub fn from_name(name: &str) -> Option<Mode> {
        let all = [Mode::Off, Mode::Monitor, Mode::Enforce];
        all.into_iter().find(|mode| mode.name() == name)
    }
}

/// What happens when a policy faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnFault {
    /// The statement is refused.
    Refuse,
    /// The policy counts as passing.
    Allow,
    /// The previous version judges; without one: refuse.
    LastGood,
}

impl OnFault {
    /// As in the file.
    pub fn name(self) -> &'static str {
        match self {
            OnFault::Refuse => "refuse",
            OnFault::Allow => "allow",
            OnFault::LastGood => "last-good",
        }
    }
}

/// One policy, as configured or by default.
#[derive(Debug, Clone)]
pub struct PolicyConfig {
    /// Unique name, shown in refusals.
    pub name: Arc<str>,
    /// Built-in plugin name, or a path to a component.
    pub plugin: Plugin,
    /// Settings as JSON text, handed to `configure`.
    pub settings: Arc<str>,
    /// Finds the position of a settings value in the file: RFC 6901 pointer to line and column (1-based).
    pub positions: Arc<Vec<(String, Position)>>,
    /// Mode.
    pub mode: Mode,
    /// Fault behaviour.
    pub on_fault: OnFault,
    /// How its component runs.
    pub runtime: Runtime,
    /// CPU time for one judgement.
    pub budget: Duration,
    /// Capabilities granted beyond the ordinary ones.
    pub grants: Vec<Arc<str>>,
    /// Patterns of databases it applies to; empty: all.
    pub databases: Vec<Arc<str>>,
    /// Patterns of users it applies to; empty: all.
    pub users: Vec<Arc<str>>,
    /// Patterns of users it does not apply to.
    pub except_users: Vec<Arc<str>>,
    /// One of these must have signed the plugin; empty: nobody needs to.
    pub signed_by: Vec<PublicKey>,
}

impl PolicyConfig {
    /// A built-in plugin under its own name, with default settings, enforced.
    pub fn built_in(name: &str) -> PolicyConfig {
        PolicyConfig {
            name: Arc::from(name),
            plugin: Plugin::BuiltIn(Arc::from(name)),
            settings: Arc::from("{}"),
            positions: Arc::default(),
            mode: Mode::Enforce,
            on_fault: OnFault::Refuse,
            runtime: Runtime::Ordinary,
            budget: Runtime::Ordinary.budget(),
            grants: Vec::new(),
            databases: Vec::new(),
            users: Vec::new(),
            except_users: Vec::new(),
            signed_by: Vec::new(),
        }
    }

    /// Where a settings value stands; for a missing one, where its nearest parent does.
    pub fn position(&self, pointer: &str) -> Option<Position> {
        let mut pointer = pointer;
        loop {
            if let Some((_, position)) = self.positions.iter().find(|(known, _)| known == pointer) {
                return Some(*position);
            }
            pointer = &pointer[..pointer.rfind('/')?];
        }
    }
}

/// Where the component of a policy is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Plugin {
    /// Embedded in the binary.
    BuiltIn(Arc<str>),
    /// A file.
    File(PathBuf),
}

/// A place in the configuration file, 1-based.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column in characters.
    pub column: usize,
}

/// How the gate treats what it cannot read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnalysisConfig {
    /// Opaque statements: refused unless provably harmless (default), or allowed.
    pub opaque: OpaqueMode,
    /// Longest statement text in bytes.
    pub text_bytes_max: usize,
}

impl Default for AnalysisConfig {
    fn default() -> Self {
        AnalysisConfig {
            opaque: OpaqueMode::Refuse,
            text_bytes_max: 1 << 20,
        }
    }
}

/// What happens to statements that are not fully understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OpaqueMode {
    /// Refused unless the leading keyword is provably harmless and nothing in the text can write.
    Refuse,
    /// Judged by the policies on lexical facts alone.
    Judge,
}

/// Logging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// JSON lines instead of text.
    pub json: bool,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter expression.
    pub level: String,
    /// One event per statement.
    pub statements: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            json: false,
            level: "info".to_owned(),
            statements: true,
        }
    }
}

/// Bounds on what clients can make the gate hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Clients connected at once.
    pub clients_max: usize,
    /// Databases open at once behind the name `*`.
    pub databases_max: usize,
    /// Bytes of one protocol message.
    pub message_bytes_max: usize,
    /// Prepared statements per session.
    pub prepared_max: usize,
    /// Time from accept to authenticated.
    pub login_timeout: Duration,
    /// Failed logins from one address before it is refused; 0: any number.
    pub logins_failed_max: usize,
    /// How long they are remembered.
    pub logins_failed_window: Duration,
    /// Time given to clients when draining.
    pub drain_timeout: Duration,
    /// Time before that in which they may leave by themselves, when another
    /// gate has taken over.
    pub takeover_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            clients_max: 1000,
            databases_max: 100,
            message_bytes_max: 64 << 20,
            prepared_max: 1000,
            login_timeout: Duration::from_secs(10),
            logins_failed_max: 20,
            logins_failed_window: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(30),
            takeover_timeout: Duration::from_secs(300),
        }
    }
}
