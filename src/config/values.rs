//! Small values: durations, sizes, secrets, addresses and backend URLs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::hosts::Writing;
use super::{Backend, Credential, Hosts, PostgresBackend, Secret, ServerTls, tls};

/// `250ms`, `5s`, `2m`, `1h`; at most a year.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    let text = text.trim();
    let digits = text
        .bytes()
        .take_while(|b| b.is_ascii_digit() || *b == b'.')
        .count();
    let (number, unit) = text.split_at(digits);
    let number: f64 = number
        .parse()
        .map_err(|_| "a duration begins with a number")?;
    let seconds = match unit.trim() {
        "us" | "µs" => number / 1e6,
        "ms" => number / 1e3,
        "s" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3600.0,
        "d" => number * 86_400.0,
        "" => return Err("the unit is missing"),
        _ => return Err("the unit is unknown"),
    };
    if seconds <= 0.0 {
        return Err("a duration must be longer than nothing");
    }
    if seconds > 366.0 * 86_400.0 {
        return Err("a duration must not be longer than a year");
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| "not a duration")
}

/// A duration as it may stand in the file; none: it is none.
pub fn read_duration(text: &str) -> Option<Duration> {
    duration(text).ok()
}

/// `4096`, `64KiB`, `16 MiB`, `1GiB` (also `KB`, `MB`, `GB`, powers of 1000).
pub(super) fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit.trim().to_lowercase().as_str() {
        "" | "b" => 1,
        "kib" | "k" => 1 << 10,
        "mib" | "m" => 1 << 20,
        "gib" | "g" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// Finds an environment variable.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where things outside the file come from.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) folder: &'a Path,
    /// None: secrets are neither looked up nor needed.
    pub(super) environment: Option<Lookup<'a>>,
}

impl Surroundings<'_> {
    /// Resolves `env:NAME` and `file:PATH`; anything else stands for itself.
    /// None for a reference that is not looked up.
    pub(super) fn resolve(&self, text: &str) -> Result<Option<String>, (String, String)> {
        if !text.starts_with("env:") && !text.starts_with("file:") {
            return Ok(Some(text.to_owned()));
        }
        let Some(environment) = self.environment else {
            return Ok(None);
        };
        if let Some(name) = text.strip_prefix("env:") {
            return environment(name).map(Some).ok_or_else(|| {
                (
                    format!("the environment variable `{name}` is not set"),
                    format!("set it: export {name}=…"),
                )
            });
        }
        let path = text.trim_start_matches("file:");
        let path = self.folder.join(path);
        let content = std::fs::read_to_string(&path).map_err(|error| {
            (
                format!("the file {} cannot be read: {error}", path.display()),
                String::new(),
            )
        })?;
        // Only the line end goes: passwords may end with a blank.
        Ok(Some(content.lines().next().unwrap_or_default().to_owned()))
    }
}

/// A SCRAM verifier or an MD5 hash when it looks like one, else a password; the
/// server itself tells them apart in this way.
pub(super) fn credential(text: String) -> Result<Credential, (String, String)> {
    let is_md5 = text.strip_prefix("md5").is_some_and(|hash| {
        hash.len() == 32 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    });
    if is_md5 {
        return Ok(Credential::Md5(Secret::new(text)));
    }
    let Some(rest) = text.strip_prefix("SCRAM-SHA-256$") else {
        return Ok(Credential::Password(Secret::new(text)));
    };
    let well_formed = (|| {
        let (iterations, rest) = rest.split_once(':')?;
        let (salt, keys) = rest.split_once('$')?;
        let (stored, server) = keys.split_once(':')?;
        let decode = |text: &str| {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.decode(text).ok()
        };
        let iterations: u32 = iterations.parse().ok()?;
        let fits = (1..=10_000_000).contains(&iterations)
            && !decode(salt)?.is_empty()
            && decode(stored)?.len() == 32
            && decode(server)?.len() == 32;
        fits.then_some(())
    })();
    match well_formed {
        Some(()) => Ok(Credential::Verifier(Secret::new(text))),
        None => Err((
            "the SCRAM verifier is damaged".to_owned(),
            "it reads SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY, as in pg_authid.rolpassword".to_owned(),
        )),
    }
}

/// An address to listen on.
pub(super) fn address(text: &str) -> Result<SocketAddr, (String, String)> {
    let text = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    text.parse().map_err(|_| {
        let hint = match text.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => {
                format!("a listener needs a numeric address: 127.0.0.1:{port}")
            }
            _ => "write it as ADDRESS:PORT, for example 127.0.0.1:6432".to_owned(),
        };
        (format!("\"{text}\" is not an address to listen on"), hint)
    })
}

/// What a backend URL says.
pub(super) fn backend(url: &str, folder: &Path) -> Result<Backend, (String, String)> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return match path {
            "" => Err((
                "the path of the SQLite file is missing".to_owned(),
                "write sqlite:PATH or sqlite::memory:".to_owned(),
            )),
            ":memory:" => Ok(Backend::Sqlite { path: None }),
            path => Ok(Backend::Sqlite {
                path: Some(relative(folder, path)),
            }),
        };
    }
    let rest = url
        .strip_prefix("postgres://")
        .or_else(|| url.strip_prefix("postgresql://"));
    match rest {
        Some(rest) => postgres(rest).map(Backend::Postgres).map_err(|why| {
            (
                why,
                "write it as postgres://user:password@host:5432/database".to_owned(),
            )
        }),
        // The URL is not quoted: it may hold a password.
        None => Err((
            "the backend URL is of an unknown kind".to_owned(),
            "write postgres://user@host:5432/database or sqlite:PATH".to_owned(),
        )),
    }
}

/// A path as written in the file: relative to the file's folder.
pub(super) fn relative(folder: &Path, path: &str) -> PathBuf {
    folder.join(path)
}

fn postgres(rest: &str) -> Result<PostgresBackend, String> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    // The last `@`: people forget to escape the one in their password.
    let (login, place) = rest.rsplit_once('@').unwrap_or(("", rest));
    let (place, database) = place.split_once('/').unwrap_or((place, ""));
    let (user, password) = match login.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (login, None),
    };
    let mut backend = PostgresBackend {
        hosts: Hosts::default(),
        database: Arc::from(percent_decode(database)?),
        user: Arc::from(percent_decode(user)?),
        password: password.map(percent_decode).transpose()?.map(Secret::new),
        operator: None,
        tls: ServerTls::default(),
    };
    let mut hosts = Writing {
        place,
        ..Writing::default()
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        parameter(&mut backend, &mut hosts, pair)?;
    }
    backend.hosts = hosts.read(percent_decode)?;
    if backend.user.is_empty() {
        return Err("the backend URL names no user".to_owned());
    }
    if backend.database.is_empty() {
        backend.database = backend.user.clone();
    }
    Ok(backend)
}

fn parameter(
    backend: &mut PostgresBackend,
    hosts: &mut Writing<'_>,
    pair: &str,
) -> Result<(), String> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let value = percent_decode(value)?;
    match name {
        "host" => hosts.host = Some(value),
        "port" => hosts.port = Some(value),
        "target_session_attrs" => hosts.wanted = Some(value),
        "load_balance_hosts" => hosts.balance = Some(value),
        "user" => backend.user = Arc::from(value),
        "dbname" => backend.database = Arc::from(value),
        "password" => backend.password = Some(Secret::new(value)),
        name if tls::is_url_parameter(name) => {}
        _ => return Err(format!("the backend URL has an unknown parameter `{name}`")),
    }
    Ok(())
}

/// Names and values behind the question mark, not yet decoded.
pub(super) fn url_parameters(url: &str) -> impl Iterator<Item = (&str, &str)> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

pub(super) fn percent_decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
            return Err(
                "a % in the backend URL is not followed by two hexadecimal digits".to_owned(),
            );
        };
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|text| !text.contains('\0'))
        .ok_or_else(|| "the backend URL is not valid UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> PostgresBackend {
        match backend(text, Path::new("/etc")) {
            Ok(Backend::Postgres(backend)) => backend,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_durations_and_sizes() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1.5 s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(
            duration("5").is_err()
                && duration("0s").is_err()
                && duration("900d").is_err()
                && duration("-1s").is_err()
        );
        assert_eq!(size("16MiB"), Some(16 << 20));
        assert_eq!(size("64 KB"), Some(64_000));
        assert_eq!(size("99999999999GiB"), None);
    }

    #[test]
    fn reads_every_part_of_a_backend_url() {
        let it = url("postgres://a%40b:p%3Aw%2F@db.internal:6000/my%20db");
        assert_eq!(
            (&*it.user, it.host(), it.port(), &*it.database),
            ("a@b", "db.internal", 6000, "my db")
        );
        assert_eq!(it.password.unwrap().reveal(), "p:w/");
        let it = url("postgresql://app@db");
        assert_eq!((it.host(), it.port(), &*it.database), ("db", 5432, "app"));
        let it = url("postgres://app:p@ss@[::1]:7000/x");
        assert_eq!(
            (it.host(), it.port(), it.password.as_ref().unwrap().reveal()),
            ("::1", 7000, "p@ss")
        );
        let it = url("postgres://app@/x?host=/run/postgresql&port=6001&sslmode=disable");
        assert_eq!(
            (it.host(), it.port(), &*it.database),
            ("/run/postgresql", 6001, "x")
        );
        let it = url("postgres://app@%2Frun%2Fpg/x");
        assert_eq!(it.host(), "/run/pg");
    }

    #[test]
    fn reads_several_hosts_as_libpq_does() {
        let hosts = |text: &str| {
            let hosts = url(text).hosts;
            let list: Vec<String> = hosts
                .list
                .iter()
                .map(|host| format!("{}:{}", host.name, host.port))
                .collect();
            (list.join(" "), hosts.wanted.name(), hosts.random)
        };
        for (text, wanted) in [
            ("postgres://u@a:1,b:2/x", ("a:1 b:2", "any", false)),
            (
                "postgres://u@a,[::1]:7,c/x?target_session_attrs=read-write",
                ("a:5432 ::1:7 c:5432", "read-write", false),
            ),
            (
                "postgres://u@/x?host=a,/run/pg&port=6,7&load_balance_hosts=random",
                ("a:6 /run/pg:7", "any", true),
            ),
            (
                "postgres://u@a,b/x?port=9&target_session_attrs=prefer-standby",
                ("a:9 b:9", "prefer-standby", false),
            ),
        ] {
            let (list, attrs, random) = hosts(text);
            assert_eq!((&*list, attrs, random), wanted, "{text}");
        }
    }

    #[test]
    fn refuses_backend_urls_it_would_misread() {
        for text in [
            "postgres://db/x",
            "postgres://a@",
            "postgres://a@h:99999/x",
            "postgres://a@h,/x",
            "postgres://a@h,i/x?port=1,2,3",
            "postgres://a@h,i:0/x",
            "postgres://a@h/x?target_session_attrs=write",
            "postgres://a@h/x?load_balance_hosts=yes",
            "postgres://a%4@h/x",
            "postgres://a@h/x?sslmod=require",
            "postgres://a@h/x?foo=1",
            "mysql://a@h/x",
            "sqlite:",
            "/tmp/x.db",
        ] {
            assert!(backend(text, Path::new("/")).is_err(), "{text}");
        }
    }

    #[test]
    fn tells_a_verifier_from_a_password() {
        let verifier = "SCRAM-SHA-256$4096:MTIzNDU2Nzg5MDEyMzQ1Ng==$\
            AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        assert!(matches!(
            credential(verifier.to_owned()),
            Ok(Credential::Verifier(_))
        ));
        assert!(matches!(
            credential("x".to_owned()),
            Ok(Credential::Password(_))
        ));
        assert!(credential("SCRAM-SHA-256$4096:x".to_owned()).is_err());
    }
}
