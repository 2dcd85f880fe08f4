//! `portcullis init`: a first configuration that watches and forbids nothing.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::{self, Backend, Config, Endpoint};

use super::terminal::{self, Paint, say};

/// Writes a commented configuration in monitor mode, and checks it.
#[derive(Debug, clap::Args)]
pub(super) struct Init {
    /// postgres://user:password@host:port/database or sqlite:PATH
    #[arg(long, value_name = "URL")]
    backend: String,
    /// File to write
    #[arg(long, value_name = "FILE", default_value = "portcullis.toml")]
    out: PathBuf,
    /// Overwrite the file if it is there
    #[arg(long)]
    force: bool,
}

pub(super) fn run(init: &Init) -> ExitCode {
    if init.out.exists() && !init.force {
        let message = format!("{} is there already", init.out.display());
        terminal::complain(&[
            config::Diagnostic::error(message).hint("name another file with --out, or add --force")
        ]);
        return ExitCode::from(terminal::USAGE);
    }
    let Some(draft) = draft(&init.backend, &init.out) else {
        return ExitCode::from(terminal::USAGE);
    };
    if let Err(error) = write_private(&init.out, &draft.text) {
        return terminal::fail(&error);
    }
    let config = match config::load(&init.out) {
        Ok(config) => config,
        Err(list) => {
            terminal::complain(&list);
            return ExitCode::from(terminal::USAGE);
        }
    };
    if terminal::complain(&super::check::policy_problems(&config)) {
        return ExitCode::from(terminal::USAGE);
    }
    say(&farewell(&init.out, &config, &draft));
    ExitCode::SUCCESS
}

struct Draft {
    text: String,
    database: String,
    user: String,
    password: String,
}

/// The text of the file; none when the URL is wrong, which has been said by then.
fn draft(url: &str, out: &Path) -> Option<Draft> {
    // The loader judges the URL, so that init and check never disagree.
    let probe = format!("[[database]]\nname = \"x\"\nbackend = {}\n", quoted(url));
    let probed = match config::parse(&probe, &out.display().to_string(), &|name| {
        std::env::var(name).ok()
    }) {
        Ok(config) => config,
        Err(list) => {
            // Only the words: the quoted line would be one that nobody wrote.
            let list: Vec<_> = list
                .into_iter()
                .map(|found| config::Diagnostic::error(found.message).hint(found.hint))
                .collect();
            terminal::complain(&list);
            return None;
        }
    };
    let (database, user) = match &probed.databases.first()?.backend {
        Backend::Postgres(postgres) => (postgres.database.to_string(), postgres.user.to_string()),
        Backend::Sqlite { path } => {
            let stem = path
                .as_deref()
                .and_then(Path::file_stem)
                .map(|stem| stem.to_string_lossy().into_owned());
            (
                stem.unwrap_or_else(|| "memory".to_owned()),
                "app".to_owned(),
            )
        }
    };
    let password = password();
    let text = include_str!("init.toml")
        .replace("{listen}", &free_address(6432).to_string())
        .replace("{admin}", &free_address(9632).to_string())
        .replace("\"{database}\"", &quoted(&database))
        .replace("\"{backend}\"", &quoted(&absolute(url)))
        .replace("\"{user}\"", &quoted(&user))
        .replace("{password}", &password);
    Some(Draft {
        text,
        database,
        user,
        password,
    })
}

/// SQLite paths in the file are relative to the file, on the command line to where one stands.
fn absolute(url: &str) -> String {
    match url.strip_prefix("sqlite:") {
        Some(path) if path != ":memory:" => {
            let path = path.strip_prefix("//").unwrap_or(path);
            std::path::absolute(path).map_or_else(
                |_| url.to_owned(),
                |path| format!("sqlite:{}", path.display()),
            )
        }
        _ => url.to_owned(),
    }
}

fn quoted(text: &str) -> String {
    // JSON's escapes are TOML's; both are what serde_json writes.
    serde_json::Value::from(text).to_string()
}

fn password() -> String {
    const LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
    (0..20)
        .map(|_| char::from(LETTERS[rand::random::<u64>() as usize % LETTERS.len()]))
        .collect()
}

/// The port if it is free, else the next free one: PgBouncer users have 6432 taken.
pub(super) fn free_address(port: u16) -> SocketAddr {
    (port..port.saturating_add(100))
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .find(|address| TcpListener::bind(address).is_ok())
        .unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// The file holds passwords: nobody else may read it.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)?.write_all(text.as_bytes())
}

fn farewell(out: &Path, config: &Config, draft: &Draft) -> String {
    let paint = Paint::stdout();
    let address = match config.listen.first().map(|door| &door.address) {
        Some(Endpoint::Tcp(address)) => *address,
        _ => free_address(6432),
    };
    let file = out.display();
    let heading = paint.bold(&format!(
        "{file} is written and correct. It records and forbids nothing yet."
    ));
    format!(
        "{heading}\n\n\
         Start the gate:\n  portcullis run --config {file}\n\n\
         Connect:\n  {}\n\n\
         See what would have been refused:\n  portcullis refusals --config {file}\n",
        psql(address, &draft.user, &draft.database, Some(&draft.password)),
    )
}

/// A line that connects.
pub(super) fn psql(
    address: SocketAddr,
    user: &str,
    database: &str,
    password: Option<&str>,
) -> String {
    let host = if address.ip().is_unspecified() {
        "127.0.0.1".to_owned()
    } else {
        address.ip().to_string()
    };
    let login = match password {
        Some(password) => format!("PGPASSWORD={} ", shell(password)),
        None => String::new(),
    };
    format!(
        "{login}psql -h {host} -p {} -U {} {}",
        address.port(),
        shell(user),
        shell(database)
    )
}

fn shell(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./@:".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_writes_is_correct() {
        let dir = tempfile::tempdir().unwrap();
        for url in [
            "postgres://app:p%40w'\"@db:5433/my db",
            "sqlite:/tmp/shop.db",
        ] {
            let out = dir.path().join("p.toml");
            let draft = draft(&url.replace('"', "%22"), &out).unwrap();
            let config = config::parse(&draft.text, "p.toml", &|_| None).unwrap_or_else(|list| {
                panic!("{}", list.iter().map(|d| d.to_string()).collect::<String>())
            });
            assert!(config.warnings.is_empty());
            assert!(
                config
                    .policies
                    .iter()
                    .all(|policy| policy.mode == config::Mode::Monitor),
                "nothing is enforced"
            );
            assert_eq!(&*config.databases[0].name, draft.database);
            assert_eq!(&*config.users[0].name, draft.user);
        }
    }

    #[test]
    fn the_line_that_connects_survives_a_shell() {
        let address = "0.0.0.0:6432".parse().unwrap();
        assert_eq!(
            psql(address, "app", "my db", Some("a'b")),
            "PGPASSWORD='a'\\''b' psql -h 127.0.0.1 -p 6432 -U app 'my db'"
        );
    }
}
