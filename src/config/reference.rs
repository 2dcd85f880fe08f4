//! Every key the file may have: what the reader accepts and what
//! `docs/configuration.md` says are the same table.

mod auth;
mod console;
mod doors;
mod pool;
mod tls;

pub use auth::{AUTH, AUTH_QUERY, DATABASE_AUTH_QUERY};
pub use console::CONSOLE;
pub use doors::{LISTEN, PROXY_PROTOCOL, SERVER, USER};
pub use pool::{DATABASE_TIMEOUTS, POOL, USER_POOL, USER_TIMEOUTS};
pub use tls::{DATABASE_TLS, LISTEN_TLS};

/// One table of the file.
#[derive(Debug)]
pub struct Section {
    /// As written in a header; empty for the top level, `a.b` for inner tables.
    pub path: &'static str,
    /// Whether it may stand several times, `[[path]]`.
    pub repeated: bool,
    /// One paragraph.
    pub text: &'static str,
    /// Keys, in the order of the documentation.
    pub keys: &'static [Key],
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Name.
    pub name: &'static str,
    /// What may stand there.
    pub kind: &'static str,
    /// Used when absent; `needed` when it must be there.
    pub default: &'static str,
    /// One sentence.
    pub text: &'static str,
}

impl Section {
    /// Names of its keys.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.keys.iter().map(|key| key.name)
    }

    /// Whether it has this key.
    pub fn has(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }
}

const fn key(
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    text: &'static str,
) -> Key {
    Key {
        name,
        kind,
        default,
        text,
    }
}

/// The top level.
pub const TOP: Section = Section {
    path: "",
    repeated: false,
    text: "Paths in the file are relative to the folder of the file. Wherever a secret stands, `env:NAME` \
           takes it from an environment variable and `file:PATH` from the first line of a file.",
    keys: &[
        key(
            "listen",
            "tables",
            "`postgres` on `127.0.0.1:6432`",
            "Doors for clients.",
        ),
        key("database", "tables", "none", "Databases behind the gate."),
        key("user", "tables", "none", "Users that may log in."),
        key(
            "auth",
            "tables",
            "each user's own",
            "Rules about who proves what.",
        ),
        key(
            "auth_query",
            "table",
            "nobody is looked up",
            "Users that the server knows.",
        ),
        key(
            "table_limits",
            "table",
            "none",
            "Row limits: shorthand for a policy of plugin `table-limit`.",
        ),
        key(
            "policy",
            "tables",
            "the default policies",
            "Policies, in the order in which they are asked.",
        ),
        key(
            "trusted_keys",
            "list of public keys",
            "none",
            "Plugins from files must be signed by one of these (`portcullis plugin sign`).",
        ),
        key(
            "defaults",
            "table",
            "",
            "How the default policies run that are not mentioned.",
        ),
        key(
            "analysis",
            "table",
            "",
            "How the gate treats what it cannot read.",
        ),
        key(
            "admin",
            "table",
            "off",
            "HTTP listener for health, metrics and status.",
        ),
        key("console", "table", "off", "The admin console."),
        key("log", "table", "", "Logging."),
        key(
            "limits",
            "table",
            "",
            "Bounds on what clients can make the gate hold.",
        ),
        key(
            "ignore_startup_parameters",
            "list of names",
            "none",
            "Start-up parameters of clients that are overlooked, also inside `options`; all others are the server's to judge.",
        ),
        key("workers", "number", "one per core", "Worker threads."),
        key(
            "state_dir",
            "path",
            "none",
            "Folder for state that survives a restart, such as compiled policies.",
        ),
        key(
            "run_dir",
            "path",
            "`run` in `state_dir`",
            "Folder for the control socket, by which a new gate takes over from this one and commands reach it. It must belong to the gate's own user, and nobody else may write to it. Without either folder there is no control socket.",
        ),
    ],
};

/// `[[database]]`
pub const DATABASE: Section = Section {
    path: "database",
    repeated: true,
    text: "A database as clients name it, and what stands behind the name: \
           `postgres://user:password@host:port/database` or `sqlite:PATH` (`sqlite::memory:` for one in memory).",
    keys: &[
        key(
            "name",
            "string",
            "needed",
            "Name that clients connect to. `*` stands for every name that is not written out: the database of that name on the URL's server, with a pool of its own that is made when somebody asks for it and closed when nobody uses it.",
        ),
        key(
            "backend",
            "URL",
            "needed",
            "What stands behind it; `env:NAME` takes the whole URL from a variable.",
        ),
        key(
            "password",
            "secret",
            "the one in the URL",
            "Password of the URL's user.",
        ),
        key(
            "operator",
            "table",
            "the URL's user",
            "Server user for catalog reads: `{ user, password }`.",
        ),
        key(
            "tls",
            "table",
            "`sslmode=prefer`",
            "Encryption on the way to the server.",
        ),
        key("pool", "table", "", "Connections to the server."),
        key("timeouts", "table", "none", "How long things may take."),
        key(
            "aliases",
            "list of names",
            "none",
            "Further names that clients may use; rules, policies and the log see the first one.",
        ),
        key(
            "connect_query",
            "SQL",
            "none",
            "Run on each new server connection before anybody uses it. Settings that it makes end with `RESET ALL` and `DISCARD ALL`.",
        ),
        key(
            "auth_query",
            "table",
            "the top level's",
            "How users that are not in this file are looked up.",
        ),
    ],
};

/// `database.operator`
pub const OPERATOR: Section = Section {
    path: "database.operator",
    repeated: false,
    text: "The server user that reads the catalog. It needs no rights on tables.",
    keys: &[
        key("user", "string", "needed", "Server user."),
        key("password", "secret", "none", "Its password."),
    ],
};

/// `[[policy]]`
pub const POLICY: Section = Section {
    path: "policy",
    repeated: true,
    text: "A policy: a plugin with settings. The default policies `honeytoken`, `table-limit`, `rate-limit`, \
           `plan-guard` and `require-where` run with default settings when they are not mentioned. The others that are built in run only where they are named; `docs/policies` has a page for each.",
    keys: &[
        key(
            "name",
            "string",
            "needed",
            "Unique name, shown in refusals.",
        ),
        key(
            "plugin",
            "built-in name or path",
            "the name",
            "The component: a name, or a path that contains `/` or ends with `.wasm`.",
        ),
        key(
            "settings",
            "table",
            "empty",
            "Settings; each plugin's page says which.",
        ),
        key(
            "mode",
            "`\"enforce\"`, `\"monitor\"` or `\"off\"`",
            "`\"enforce\"`",
            "`monitor` records what would have been refused and enforces nothing.",
        ),
        key(
            "on_fault",
            "`\"refuse\"`, `\"allow\"` or `\"last-good\"`",
            "`\"refuse\"`",
            "What happens to a statement when the policy fails.",
        ),
        key(
            "runtime",
            "`\"ordinary\"` or `\"interpreted\"`",
            "`\"ordinary\"`",
            "`interpreted` is for components that bring an interpreter of their language or import WASI ([other-languages.md](other-languages.md)).",
        ),
        key(
            "budget",
            "duration",
            "`\"2ms\"`; interpreted: `\"50ms\"`",
            "CPU time for one judgement.",
        ),
        key(
            "grants",
            "list of names",
            "none",
            "Capabilities beyond the ordinary ones.",
        ),
        key(
            "databases",
            "list of patterns",
            "all",
            "Databases it applies to.",
        ),
        key("users", "list of patterns", "all", "Users it applies to."),
        key(
            "except_users",
            "list of patterns",
            "none",
            "Users it does not apply to.",
        ),
        key(
            "signed_by",
            "list of public keys",
            "`trusted_keys`",
            "The plugin must be signed by one of these.",
        ),
    ],
};

/// `[defaults]`
pub const DEFAULTS: Section = Section {
    path: "defaults",
    repeated: false,
    text: "How the default policies run that are not mentioned.",
    keys: &[key(
        "mode",
        "`\"enforce\"`, `\"monitor\"` or `\"off\"`",
        "`\"enforce\"`",
        "Their mode.",
    )],
};

/// `[analysis]`
pub const ANALYSIS: Section = Section {
    path: "analysis",
    repeated: false,
    text: "How the gate treats what it cannot read.",
    keys: &[
        key(
            "opaque",
            "`\"refuse\"` or `\"judge\"`",
            "`\"refuse\"`",
            "Statements that are not fully understood: refused unless provably harmless, or judged on their words alone.",
        ),
        key(
            "text_bytes_max",
            "size",
            "`\"1MiB\"`",
            "Longest statement text; longer ones are refused.",
        ),
    ],
};

/// `[admin]`
pub const ADMIN: Section = Section {
    path: "admin",
    repeated: false,
    text: "HTTP listener with `/healthz`, `/readyz`, `/metrics` and `/api/v1/status`. It asks for no password: \
           keep it on a private address.",
    keys: &[key(
        "address",
        "`\"ADDRESS:PORT\"`",
        "needed",
        "Where to listen.",
    )],
};

/// `[log]`
pub const LOG: Section = Section {
    path: "log",
    repeated: false,
    text: "Logging, to standard error.",
    keys: &[
        key(
            "format",
            "`\"text\"` or `\"json\"`",
            "`\"text\"`",
            "Lines for people or for machines.",
        ),
        key(
            "level",
            "string",
            "`\"info\"`",
            "`error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,portcullis::net=debug`.",
        ),
        key(
            "statements",
            "true or false",
            "`true`",
            "One line per statement; refusals are logged in any case.",
        ),
    ],
};

/// `[limits]`
pub const LIMITS: Section = Section {
    path: "limits",
    repeated: false,
    text: "Bounds on what clients can make the gate hold.",
    keys: &[
        key(
            "clients_max",
            "number",
            "`1000`",
            "Clients connected at once.",
        ),
        key(
            "databases_max",
            "number",
            "`100`",
            "Databases open at once behind the name `*`.",
        ),
        key(
            "message_bytes_max",
            "size",
            "`\"64MiB\"`",
            "Bytes of one protocol message.",
        ),
        key(
            "prepared_max",
            "number",
            "`1000`",
            "Prepared statements of one client.",
        ),
        key(
            "login_timeout",
            "duration",
            "`\"10s\"`",
            "Time from connecting to being logged in; `0`: no limit.",
        ),
        key(
            "logins_failed_max",
            "number",
            "`20`",
            "Failed logins from one address (IPv6: one /64) before no password is asked of it any more; `0` for any number. Unix sockets are not counted.",
        ),
        key(
            "logins_failed_window",
            "duration",
            "`\"1m\"`",
            "How long they are remembered.",
        ),
        key(
            "drain_timeout",
            "duration",
            "`\"30s\"`",
            "Time that clients get to finish when the gate stops.",
        ),
        key(
            "takeover_timeout",
            "duration",
            "`\"5m\"`",
            "Time in which clients may leave by themselves when another gate has taken over; then `drain_timeout` runs.",
        ),
    ],
};

/// All tables with fixed keys, in the order of the documentation.
pub const SECTIONS: &[&Section] = &[
    &TOP,
    &LISTEN,
    &LISTEN_TLS,
    &PROXY_PROTOCOL,
    &DATABASE,
    &DATABASE_TLS,
    &POOL,
    &DATABASE_TIMEOUTS,
    &OPERATOR,
    &DATABASE_AUTH_QUERY,
    &USER,
    &SERVER,
    &USER_POOL,
    &USER_TIMEOUTS,
    &AUTH,
    &AUTH_QUERY,
    &POLICY,
    &DEFAULTS,
    &ANALYSIS,
    &ADMIN,
    &CONSOLE,
    &LOG,
    &LIMITS,
];
