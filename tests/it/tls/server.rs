//! The way to a server: as `sslmode` has it, for statements, cancel requests and
//! the catalog alike.

use std::fs::Permissions;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::support::certificates::{Authority, write};
use crate::support::database::fresh_database;
use crate::support::gate::{DATABASE, Gate};
use crate::support::postgres::{Postgres, SUPERUSER, unprivileged_user};
use crate::support::raw::{Login, Raw};
use crate::support::tapped::{Seen, Tap};

/// A PostgreSQL that speaks TLS, and lets most users in with it only.
struct Secured {
    address: SocketAddr,
    /// Its authority's certificate, and a user's: `ca.crt`, `cert_login.crt`, …
    folder: tempfile::TempDir,
    _server: Postgres,
}

const ACCESS: &str = "local all all trust\n\
    host all postgres 127.0.0.1/32 trust\n\
    hostnossl all plain_login 127.0.0.1/32 trust\n\
    hostssl all tls_login 127.0.0.1/32 trust\n\
    hostssl all watcher 127.0.0.1/32 trust\n\
    hostssl all scram_login 127.0.0.1/32 scram-sha-256\n\
    hostssl all clear_login 127.0.0.1/32 password\n\
    hostssl all cert_login 127.0.0.1/32 cert\n";

fn secured() -> Option<&'static Secured> {
    static SERVER: OnceLock<Option<Secured>> = OnceLock::new();
    let server = SERVER.get_or_init(|| match Postgres::start() {
        Ok(server) => Some(secure(server)),
        Err(reason) if std::env::var_os("REQUIRE_SERVERS").is_some() => panic!("{reason}"),
        Err(_) => None,
    });
    server.as_ref()
}

fn secure(server: Postgres) -> Secured {
    let address = SocketAddr::from(([127, 0, 0, 1], server.port));
    let login = Login::new(SUPERUSER, "postgres");
    let mut admin = Raw::login(address, &login);
    let data = PathBuf::from(admin.value("SHOW data_directory"));
    let authority = Authority::new("authority of the server");
    let owner = unprivileged_user().expect("a user");
    let own = authority.issue("database server", &["127.0.0.1"]);
    for (name, text) in [
        ("server.crt", &own.certificate),
        ("server.key", &own.key),
        ("root.crt", &authority.pem()),
        ("pg_hba.conf", &ACCESS.to_owned()),
    ] {
        let path = write(&data, name, text);
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("the mode");
        if let Some((user, group)) = owner {
            chown(&path, Some(user), Some(group)).expect("the owner");
        }
    }
    for statement in [
        "CREATE ROLE plain_login LOGIN",
        "CREATE ROLE tls_login LOGIN",
        "CREATE ROLE watcher LOGIN",
        "CREATE ROLE scram_login LOGIN PASSWORD 'open sesame'",
        "CREATE ROLE clear_login LOGIN PASSWORD 'open sesame'",
        "CREATE ROLE cert_login LOGIN",
        "ALTER SYSTEM SET ssl_ca_file = 'root.crt'",
        "ALTER SYSTEM SET ssl = on",
        "SELECT pg_reload_conf()",
    ] {
        admin.rows(statement);
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while Raw::login(address, &login).value("SHOW ssl") != "on" {
        assert!(Instant::now() < deadline, "the server speaks no TLS");
        std::thread::sleep(Duration::from_millis(50));
    }
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "ca.crt", &authority.pem());
    let other = Authority::new("authority of the server");
    write(folder.path(), "other.crt", &other.pem());
    let user = authority.issue("cert_login", &[]);
    user.write(folder.path(), "cert_login");
    Secured {
        address,
        folder,
        _server: server,
    }
}

impl Secured {
    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// A gate in front of it; `more` are further lines of the database.
    fn gate(&self, user: &str, address: &str, options: &str, more: &str) -> Gate {
        let head = format!(
            "[[database]]\nname = \"{DATABASE}\"\n\
             backend = \"postgres://{user}@{address}/postgres?{options}\"\n{more}\n\n\
             [[user]]\nname = \"app\"\nauth = \"trust\"\n\n"
        );
        Gate::start_with(&head, "")
    }
}

const ENCRYPTED: &str = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

fn ask(gate: &Gate, sql: &str) -> Result<String, String> {
    let client = Raw::try_login(gate.address, &Login::new("app", DATABASE));
    client
        .map(|mut client| client.value(sql))
        .map_err(|answer| answer.line())
}

#[test]
fn a_link_is_encrypted_as_much_as_is_demanded() {
    let Some(server) = secured() else { return };
    let (ip, ca) = (server.address.to_string(), server.file("ca.crt"));
    let name = format!("localhost:{}", server.address.port());
    let (verified, full) = (
        format!("sslmode=verify-ca&sslrootcert={ca}"),
        format!("sslmode=verify-full&sslrootcert={ca}"),
    );
    for (address, options) in [
        (&ip, ""),
        (&ip, "sslmode=allow"),
        (&ip, "sslmode=prefer"),
        (&ip, "sslmode=require"),
        (&ip, &*verified),
        (&name, &*verified),
        (&ip, &*full),
    ] {
        let gate = server.gate("tls_login", address, options, "");
        let asked = ask(&gate, ENCRYPTED);
        assert_eq!(asked.as_deref(), Ok("t"), "{address} {options}");
    }
}

#[test]
fn a_server_that_is_not_who_it_should_be_is_not_spoken_to() {
    let Some(server) = secured() else { return };
    let (ip, port) = (server.address.to_string(), server.address.port());
    let (ca, other) = (server.file("ca.crt"), server.file("other.crt"));
    for (address, options) in [
        (
            format!("localhost:{port}"),
            format!("sslmode=verify-full&sslrootcert={ca}"),
        ),
        (
            ip.clone(),
            format!("sslmode=verify-full&sslrootcert={other}"),
        ),
        (ip.clone(), format!("sslmode=verify-ca&sslrootcert={other}")),
        (ip.clone(), format!("sslmode=require&sslrootcert={other}")),
    ] {
        let gate = server.gate("tls_login", &address, &options, "");
        let refused = ask(&gate, "SELECT 1").expect_err("refused");
        assert!(refused.contains("08006"), "{options}: {refused}");
        gate.wait_for_log(&["cannot be encrypted", "certificate"]);
    }
}

#[test]
fn prefer_and_allow_try_the_other_way_where_the_server_wants_it() {
    let Some(server) = secured() else { return };
    let ip = server.address.to_string();
    for mode in ["prefer", "allow", "disable"] {
        let gate = server.gate("plain_login", &ip, &format!("sslmode={mode}"), "");
        assert_eq!(ask(&gate, ENCRYPTED).as_deref(), Ok("f"), "{mode}");
    }
    for (user, mode) in [("plain_login", "require"), ("tls_login", "disable")] {
        let gate = server.gate(user, &ip, &format!("sslmode={mode}"), "");
        let refused = ask(&gate, "SELECT 1").expect_err("refused");
        assert!(refused.contains("pg_hba.conf"), "{mode}: {refused}");
    }
    let Some(plain) = fresh_database() else {
        return;
    };
    for (mode, works) in [("prefer", true), ("require", false)] {
        let head = format!(
            "[[database]]\nname = \"{DATABASE}\"\nbackend = \"{}?sslmode={mode}\"\n\n\
             [[user]]\nname = \"app\"\nauth = \"trust\"\n",
            plain.url()
        );
        let gate = Gate::start_with(&head, "");
        assert_eq!(ask(&gate, "SELECT 1").is_ok(), works, "{mode}");
        if !works {
            gate.wait_for_log(&["offers no encryption"]);
        }
    }
}

#[test]
fn the_gate_proves_itself_with_a_bound_password_or_a_certificate() {
    let Some(server) = secured() else { return };
    let ip = server.address.to_string();
    let gate = server.gate(
        "scram_login",
        &ip,
        "sslmode=require",
        "password = \"open sesame\"",
    );
    assert_eq!(
        ask(&gate, "SELECT current_user").as_deref(),
        Ok("scram_login")
    );
    let identity = format!(
        "sslmode=require&sslcert={}&sslkey={}",
        server.file("cert_login.crt"),
        server.file("cert_login.key")
    );
    let gate = server.gate("cert_login", &ip, &identity, "");
    assert_eq!(
        ask(&gate, "SELECT current_user").as_deref(),
        Ok("cert_login")
    );
    let gate = server.gate("cert_login", &ip, "sslmode=require", "");
    assert!(ask(&gate, "SELECT 1").is_err());
}

#[test]
fn a_server_that_cannot_be_bound_gets_no_password_when_binding_is_demanded() {
    let Some(server) = secured() else { return };
    let ip = server.address.to_string();
    let demanded = "sslmode=require&channel_binding=require";
    let password = "password = \"open sesame\"";
    for options in [demanded, "sslmode=require&channel_binding=disable"] {
        let gate = server.gate("scram_login", &ip, options, password);
        let asked = ask(&gate, ENCRYPTED);
        assert_eq!(asked.as_deref(), Ok("t"), "{options}");
    }
    for user in ["tls_login", "clear_login"] {
        let gate = server.gate(user, &ip, demanded, password);
        let refused = ask(&gate, "SELECT 1").expect_err("no binding, no login");
        assert!(refused.contains("08006"), "{user}: {refused}");
        gate.wait_for_log(&["without channel binding"]);
    }
}

#[test]
fn links_cancel_requests_and_the_catalog_are_encrypted_alike() {
    let Some(server) = secured() else { return };
    let mut admin = Raw::login(server.address, &Login::new(SUPERUSER, "postgres"));
    admin.rows("CREATE TABLE watched (a int); GRANT ALL ON watched TO tls_login");
    let tap = Tap::start(server.address);
    let options = format!("sslmode=verify-full&sslrootcert={}", server.file("ca.crt"));
    let more = "operator = { user = \"watcher\" }\n\n[table_limits]\nwatched = { changed = 2 }";
    let gate = server.gate("tls_login", &tap.address.to_string(), &options, more);
    let mut client = Raw::login(gate.address, &Login::new("app", DATABASE));
    client.rows("INSERT INTO watched VALUES (1)");
    let watching = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                    WHERE ssl AND usename = 'watcher'";
    assert_eq!(admin.value(watching), "1", "the catalog's connection");
    let (pid, secret) = client.cancel_key;
    client.send(b'Q', b"SELECT pg_sleep(30)\0");
    std::thread::sleep(Duration::from_millis(300));
    let before = tap.seen().len();
    let mut canceller = Raw::open(gate.address);
    let words = [16, 80_877_102, pid as u32, secret as u32];
    canceller.send_bytes(&words.map(u32::to_be_bytes).concat());
    let _ = canceller.receive_within(Duration::from_secs(5));
    let error = loop {
        let answer = client.receive().expect("an answer");
        if answer.tag == b'E' {
            break answer;
        }
    };
    assert_eq!(error.code(), "57014", "{}", error.line());
    let seen = tap.seen();
    assert!(
        seen.len() > before,
        "the cancel request went through the tap"
    );
    assert!(seen.iter().all(|seen| *seen == Seen::Encrypted), "{seen:?}");
}

#[test]
fn much_data_passes_over_an_encrypted_link_while_the_client_is_slow() {
    let Some(server) = secured() else { return };
    let ip = server.address.to_string();
    let gate = server.gate("tls_login", &ip, "sslmode=require", "");
    let mut client = Raw::login(gate.address, &Login::new("app", DATABASE));
    // Requests in advance and answers unread, until both directions are full.
    let much = "SELECT i, repeat('x', 2000) FROM generate_series(1, 4000) AS s(i)";
    for _ in 0..5 {
        client.send(b'Q', format!("{much}\0").as_bytes());
    }
    std::thread::sleep(Duration::from_millis(500));
    let (mut rows, mut ready) = (0, 0);
    while ready < 5 {
        match client.receive().expect("an answer").tag {
            b'D' => rows += 1,
            b'Z' => ready += 1,
            b'E' => panic!("an error"),
            _ => {}
        }
    }
    assert_eq!(rows, 20_000);
    client.rows("CREATE TEMPORARY TABLE t (a text)");
    client.send(b'Q', b"COPY t FROM STDIN\0");
    let line = [vec![b'y'; 50_000], b"\n".to_vec()].concat();
    for _ in 0..200 {
        client.send(b'd', &line);
    }
    client.send(b'c', b"");
    while client.receive().expect("an answer").tag != b'Z' {}
    assert_eq!(client.value("SELECT sum(length(a)) FROM t"), "10000000");
}

#[test]
fn an_encrypted_link_serves_the_next_client_on_another_worker() {
    let Some(server) = secured() else { return };
    let ip = server.address.to_string();
    let more = "pool = { mode = \"session\", max = 1 }";
    let gate = server.gate("tls_login", &ip, "sslmode=require", more);
    let first = ask(&gate, "SELECT pg_backend_pid()").expect("a link");
    // Connections that say nothing yet keep a worker busy: the next client gets the other one.
    let mut silent = Vec::new();
    for _ in 0..6 {
        let again = ask(&gate, "SELECT pg_backend_pid()").expect("a link");
        assert_eq!(again, first);
        silent.push(TcpStream::connect(gate.address).expect("a connection"));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(ask(&gate, ENCRYPTED).as_deref(), Ok("t"));
}

#[test]
fn a_gate_reaches_another_gate_with_direct_tls() {
    let Some(database) = fresh_database() else {
        return;
    };
    let inner = super::scene(&database, "", super::USERS);
    let options = format!(
        "sslmode=verify-full&sslnegotiation=direct&sslrootcert={}",
        inner.path().join("ca.crt").display()
    );
    let head = format!(
        "[[database]]\nname = \"{DATABASE}\"\n\
         backend = \"postgres://ann:open%20sesame@{}/{DATABASE}?{options}\"\n\n\
         [[user]]\nname = \"app\"\nauth = \"trust\"\n",
        inner.gate.address
    );
    let outer = Gate::start_with(&head, "");
    assert_eq!(ask(&outer, "SELECT 'twice'").as_deref(), Ok("twice"));
}

#[test]
fn direct_tls_and_channel_binding_reach_a_server_that_knows_them() {
    let Some(server) = secured() else { return };
    let mut admin = Raw::login(server.address, &Login::new(SUPERUSER, "postgres"));
    let version: u32 = admin
        .value("SHOW server_version_num")
        .parse()
        .expect("a version");
    let options = format!(
        "sslmode=verify-full&sslnegotiation=direct&channel_binding=require&sslrootcert={}",
        server.file("ca.crt")
    );
    let user = "scram_login:open%20sesame";
    let gate = server.gate(user, &server.address.to_string(), &options, "");
    let asked = ask(&gate, ENCRYPTED);
    match version >= 170_000 {
        true => assert_eq!(asked.as_deref(), Ok("t")),
        // An older server cannot make sense of the handshake, and nothing else is tried.
        false => assert!(asked.is_err(), "{asked:?}"),
    }
}
