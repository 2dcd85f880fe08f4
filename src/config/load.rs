//! From text to [`Config`], with all problems at once.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::diagnostic::Diagnostic;
use super::reader::{At, Problems, Table};
use super::source::Source;
use super::values::{self, Surroundings};
use super::{
    AnalysisConfig, Backend, Config, Database, Limits, LogConfig, OpaqueMode, Secret, WILDCARD,
    auth, auth_query, console, listen, policies, pool, reference, timeouts, tls, users,
};

/// Largest configuration file that is read.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Reads and checks a file; passwords come from the environment where it says so.
pub fn load(path: &Path) -> Result<Config, Vec<Diagnostic>> {
    let text = read(path)?;
    let mut config = parse(&text, &path.display().to_string(), &|name| {
        std::env::var(name).ok()
    })?;
    config.path = Some(path.to_owned());
    Ok(config)
}

/// Like [`load`], for a command that opens no database and lets nobody in:
/// secrets are neither looked up nor needed.
pub fn load_without_secrets(path: &Path) -> Result<Config, Vec<Diagnostic>> {
    let text = read(path)?;
    let file = path.display().to_string();
    let folder = folder(&file);
    let mut config = check(
        &text,
        &file,
        Surroundings {
            folder: &folder,
            environment: None,
        },
    )?;
    config.path = Some(path.to_owned());
    Ok(config)
}

/// The text of a configuration file.
pub fn read(path: &Path) -> Result<String, Vec<Diagnostic>> {
    let unreadable = |why: String| vec![Diagnostic::error(format!("{}: {why}", path.display()))];
    let size = std::fs::metadata(path)
        .map_err(|error| unreadable(format!("cannot be read: {error}")))?
        .len();
    if size > FILE_BYTES_MAX {
        return Err(unreadable("larger than a configuration can be".to_owned()));
    }
    let bytes =
        std::fs::read(path).map_err(|error| unreadable(format!("cannot be read: {error}")))?;
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|b| **b == b'\n')
            .count()
            + 1;
        unreadable(format!("line {line} is not UTF-8"))
    })
}

/// Checks a text; `file_name` is shown in diagnostics and its folder is where
/// relative paths begin.
pub fn parse(
    text: &str,
    file_name: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Vec<Diagnostic>> {
    let folder = folder(file_name);
    check(
        text,
        file_name,
        Surroundings {
            folder: &folder,
            environment: Some(environment),
        },
    )
}

/// Absolute, so that a path means the same wherever it is used and whoever joins it to what.
fn folder(file_name: &str) -> std::path::PathBuf {
    let folder = Path::new(file_name)
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default();
    let absolute = if folder.as_os_str().is_empty() {
        std::env::current_dir()
    } else {
        std::path::absolute(&folder)
    };
    absolute.unwrap_or(folder)
}

fn check(
    text: &str,
    file: &str,
    surroundings: Surroundings<'_>,
) -> Result<Config, Vec<Diagnostic>> {
    let source = Source { file, text };
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What the reader would say about a half-read file is noise.
        return Err(errors.iter().map(|error| syntax(error, source)).collect());
    }
    let problems = Problems::new(source);
    let top = Table::open(document.get_ref(), 0..0, &reference::TOP, &problems);
    let config = read_top(top, surroundings);
    let list = problems.into_list();
    if list.iter().any(Diagnostic::is_error) {
        return Err(list);
    }
    Ok(Config {
        warnings: list,
        ..config
    })
}

fn syntax(error: &toml::de::Error, source: Source<'_>) -> Diagnostic {
    let (message, hint) = match error.message().split_once(", expected ") {
        Some((message, expected)) => (message, format!("expected {expected}")),
        None => (error.message(), String::new()),
    };
    let span = error.span().unwrap_or(0..0);
    Diagnostic::error(message).hint(hint).at(source.place(span))
}

fn read_top(top: Table<'_>, surroundings: Surroundings<'_>) -> Config {
    let databases = databases(top, surroundings);
    let doors = listen::read(top, surroundings);
    let auth = auth::read(top);
    let users = users::read(top, surroundings, &databases, &doors, auth.is_some());
    let console = console::read(top, &databases, &users);
    Config {
        path: None,
        warnings: Vec::new(),
        listen: doors,
        databases,
        users,
        auth,
        policies: policies::read(top, surroundings),
        analysis: analysis(top),
        admin: top
            .table("admin", &reference::ADMIN)
            .and_then(|table| address(table, table.needed_text("address")?)),
        console,
        log: log(top),
        limits: limits(top),
        ignore_startup_parameters: top
            .texts("ignore_startup_parameters")
            .iter()
            .map(|name| name.value.into())
            .collect(),
        workers: top.number("workers", 0..=256).unwrap_or(0),
        state_dir: top
            .text("state_dir")
            .map(|path| values::relative(surroundings.folder, path.value)),
        run_dir: top
            .text("run_dir")
            .map(|path| values::relative(surroundings.folder, path.value)),
    }
}

/// Reports names that stand twice.
pub(super) fn unique(
    names: &mut HashMap<String, usize>,
    name: &At<&str>,
    what: &str,
    problems: &Problems<'_>,
) {
    let line = problems.source.position(name.span.start).line;
    if let Some(first) = names.insert(name.value.to_owned(), line) {
        let message = format!("the {what} `{}` stands twice", name.value);
        problems.error(
            name.span.clone(),
            message,
            format!("the first one is in line {first}"),
        );
    }
}

pub(super) fn address(table: Table<'_>, text: At<&str>) -> Option<std::net::SocketAddr> {
    values::address(text.value)
        .map_err(|(message, hint)| table.problems.error(text.span, message, hint))
        .ok()
}

fn databases(top: Table<'_>, surroundings: Surroundings<'_>) -> Vec<Arc<Database>> {
    let mut seen = HashMap::new();
    let mut databases = Vec::new();
    let common = auth_query::top(top, surroundings);
    for table in top.tables("database", &reference::DATABASE) {
        let name = table.needed_text("name");
        if let Some(name) = &name {
            unique(&mut seen, name, "database", table.problems);
        }
        let backend = backend(table, surroundings);
        let pool = pool::read(table);
        let timeouts = timeouts::read(table, &reference::DATABASE_TIMEOUTS);
        let own = auth_query::of_database(table, surroundings);
        let aliases = table.texts("aliases");
        for alias in &aliases {
            unique(&mut seen, alias, "database", table.problems);
        }
        let connect_query = table.text("connect_query").map(|text| text.value.into());
        if let (Some(name), Some(Backend::Sqlite { .. })) = (&name, &backend)
            && name.value == WILDCARD
        {
            let message = "a file cannot stand for every name";
            let hint = "`*` needs a PostgreSQL server";
            table.problems.error(name.span.clone(), message, hint);
        }
        if let (Some(name), Some(backend)) = (name, backend) {
            let on_server = matches!(backend, Backend::Postgres(_));
            databases.push(Arc::new(Database {
                name: Arc::from(name.value),
                backend,
                pool,
                timeouts,
                aliases: aliases.iter().map(|alias| alias.value.into()).collect(),
                connect_query,
                auth_query: own.or_else(|| common.clone()).filter(|_| on_server),
            }));
        }
    }
    databases
}

fn backend(table: Table<'_>, surroundings: Surroundings<'_>) -> Option<Backend> {
    let written = table.needed_text("backend")?;
    let complain = |(message, hint): (String, String)| {
        table.problems.error(written.span.clone(), message, hint)
    };
    let url = surroundings.resolve(written.value).map_err(complain).ok()?;
    let backend = match &url {
        Some(url) => values::backend(url, surroundings.folder)
            .map_err(complain)
            .ok(),
        None => Some(Backend::Sqlite { path: None }),
    };
    let password = secret(table, "password", surroundings);
    let operator = table
        .table("operator", &reference::OPERATOR)
        .and_then(|operator| {
            let password = secret(operator, "password", surroundings);
            Some((Arc::from(operator.needed_text("user")?.value), password))
        });
    match backend? {
        Backend::Postgres(mut postgres) => {
            postgres.password = password.or(postgres.password);
            postgres.operator = operator;
            let url = url.as_deref().unwrap_or_default();
            postgres.tls = tls::server(table, url, written.span, surroundings)?;
            Some(Backend::Postgres(postgres))
        }
        sqlite => {
            for key in [
                "password",
                "operator",
                "pool",
                "timeouts",
                "tls",
                "auth_query",
                "connect_query",
            ] {
                if let (Some(found), true) = (table.get(key), surroundings.environment.is_some()) {
                    table.problems.warning(
                        found.span,
                        format!("`{key}` means nothing for SQLite"),
                        "remove it",
                    );
                }
            }
            Some(sqlite)
        }
    }
}

pub(super) fn secret(
    table: Table<'_>,
    key: &str,
    surroundings: Surroundings<'_>,
) -> Option<Secret> {
    let text = table.text(key)?;
    match surroundings.resolve(text.value) {
        Ok(value) => Some(Secret::new(value.unwrap_or_default())),
        Err((message, hint)) => {
            table.problems.error(text.span, message, hint);
            None
        }
    }
}

fn analysis(top: Table<'_>) -> AnalysisConfig {
    let default = AnalysisConfig::default();
    let Some(table) = top.table("analysis", &reference::ANALYSIS) else {
        return default;
    };
    let modes = [("refuse", OpaqueMode::Refuse), ("judge", OpaqueMode::Judge)];
    AnalysisConfig {
        opaque: table
            .choice("opaque", &modes)
            .map_or(default.opaque, |mode| mode.value),
        text_bytes_max: table
            .number("text_bytes_max", 1024..=64 << 20)
            .unwrap_or(default.text_bytes_max),
    }
}

fn log(top: Table<'_>) -> LogConfig {
    let default = LogConfig::default();
    let Some(table) = top.table("log", &reference::LOG) else {
        return default;
    };
    LogConfig {
        json: table
            .choice("format", &[("text", false), ("json", true)])
            .is_some_and(|format| format.value),
        level: table
            .text("level")
            .map_or(default.level, |level| level.value.to_owned()),
        statements: table.flag("statements").unwrap_or(default.statements),
    }
}

fn limits(top: Table<'_>) -> Limits {
    let default = Limits::default();
    let Some(table) = top.table("limits", &reference::LIMITS) else {
        return default;
    };
    Limits {
        clients_max: table
            .number("clients_max", 1..=1_000_000)
            .unwrap_or(default.clients_max),
        databases_max: table
            .number("databases_max", 1..=100_000)
            .unwrap_or(default.databases_max),
        message_bytes_max: table
            .number("message_bytes_max", 1024..=1 << 30)
            .unwrap_or(default.message_bytes_max),
        prepared_max: table
            .number("prepared_max", 1..=1_000_000)
            .unwrap_or(default.prepared_max),
        login_timeout: table
            .timeout("login_timeout")
            .unwrap_or(default.login_timeout),
        logins_failed_max: table
            .number("logins_failed_max", 0..=1000)
            .unwrap_or(default.logins_failed_max),
        logins_failed_window: table
            .duration("logins_failed_window")
            .unwrap_or(default.logins_failed_window),
        drain_timeout: table
            .duration("drain_timeout")
            .unwrap_or(default.drain_timeout),
        takeover_timeout: table
            .duration("takeover_timeout")
            .unwrap_or(default.takeover_timeout),
    }
}

/// Whether a value is a table; helps [`policies`] to tell the shorthand apart.
pub(super) fn as_table<'a>(value: &'a DeValue<'a>) -> Option<&'a DeTable<'a>> {
    match value {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}
