//! `portcullis import`: a PgBouncer's configuration becomes a gate's.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::certificates::{Authority, write};
use crate::support::database::fresh_database;
use crate::support::gate::Gate;
use crate::support::raw::{Login, Raw};

fn portcullis(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const VERIFIER: &str = "SCRAM-SHA-256$4096:MTIzNDU2Nzg5MDEyMzQ1Ng==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

const INI: &str = r#";; the pooler of the shop
[databases]
shop = host=10.1.2.3 port=5433 dbname=shop_production pool_size=50 reserve_pool_size=10 connect_query='SELECT ''x'''
reports = host=replica.internal,other.internal dbname=shop user=reporter password='it''s; secret' pool_mode=session max_db_connections=7
"odd name" = host=/var/run/postgresql timezone=UTC
* = host=10.1.2.3

%include more.ini

[pgbouncer]
logfile = /var/log/pgbouncer/pgbouncer.log
pidfile = /run/pgbouncer.pid
listen_addr = 127.0.0.1, ::1
listen_port = 6543
unix_socket_dir = /tmp
unix_socket_mode = 0770
auth_type = md5
auth_file = userlist.txt
auth_user = lookup
auth_query = SELECT usename, passwd FROM admin.user_search($1)
pool_mode = transaction
max_client_conn = 5000
default_pool_size = 30
min_pool_size = 5
reserve_pool_timeout = 3
server_idle_timeout = 0
server_lifetime = 1800
query_timeout = 0
query_wait_timeout = 45.5
idle_transaction_timeout = 60
client_login_timeout = 30
ignore_startup_parameters = extra_float_digits, search_path
server_reset_query = DISCARD ALL
server_round_robin = 1
max_prepared_statements = 100
client_tls_sslmode = verify-full
client_tls_cert_file = gate.crt
client_tls_key_file = gate.key
client_tls_ca_file = ca.crt
server_tls_sslmode = require
dns_max_ttl = 15
tcp_keepalive = 1
admin_users = app
stats_users = plain, batch
a_setting_of_tomorrow = 1

[users]
batch = pool_mode=session max_user_connections=3 query_timeout=900
ghost = pool_size=1
"#;

fn prepare(folder: &Path) {
    let authority = Authority::new("authority of the import");
    authority
        .issue("gate", &["127.0.0.1"])
        .write(folder, "gate");
    write(folder, "ca.crt", &authority.pem());
    write(folder, "pgbouncer.ini", INI);
    write(
        folder,
        "more.ini",
        "[databases]\nextra = host=10.9.9.9 ; not a comment\n",
    );
    let users = format!(
        "\"app\" \"md5{}\"\n\"batch\" \"{VERIFIER}\"\n\"plain\" \"open \"\"sesame\"\"\"\n\"lookup\" \"lookup's\"\n",
        "0".repeat(32)
    );
    write(folder, "userlist.txt", &users);
}

#[test]
fn a_realistic_file_is_taken_over_and_what_is_not_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    prepare(folder.path());
    let output = portcullis(
        &["import", "pgbouncer.ini", "--out", "gate.toml"],
        folder.path(),
    );
    let told = text(&output.stderr);
    assert!(output.status.success(), "{told}");
    let toml = std::fs::read_to_string(folder.path().join("gate.toml")).expect("the result");
    for expected in [
        "ignore_startup_parameters = [\"extra_float_digits\", \"search_path\"]",
        "address = \"127.0.0.1:6543\"",
        "address = \"[::1]:6543\"",
        "address = \"unix:/tmp:6543\"\nsocket_mode = \"0770\"",
        "client_certificates = \"required\"",
        "clients_max = 5000\nlogin_timeout = \"30s\"",
        "name = \"shop\"\nbackend = \"postgres://lookup@10.1.2.3:5433/shop_production\"",
        "connect_query = \"SELECT 'x'\"",
        "backend = \"postgres://reporter@replica.internal:5432,other.internal:5432/shop?load_balance_hosts=random\"",
        "password = \"it's; secret\"",
        "name = \"odd name\"\nbackend = \"postgres://lookup@%2Fvar%2Frun%2Fpostgresql:5432/odd%20name\"",
        "name = \"*\"",
        "name = \"extra\"",
        "mode = \"transaction\", max = 500, user_max = 50, min = 5, reserve = 10, reserve_timeout = \"3s\", wait_timeout = \"45500ms\"",
        "mode = \"session\", max = 7, user_max = 7",
        "idle_timeout = 0, lifetime = \"1800s\"",
        "round_robin = true, prepared_max = 100",
        "timeouts = { idle_transaction = \"60s\" }",
        "tls = { mode = \"require\" }",
        "[console]\nadmins = [\"app\"]\nreaders = [\"plain\", \"batch\"]",
        "name = \"batch\"\npassword = \"SCRAM-SHA-256$",
        "pool = { mode = \"session\", max = 3 }\ntimeouts = { query = \"900s\" }",
        "password = \"open \\\"sesame\\\"\"\nauth = \"md5\"",
        "[auth_query]\nuser = \"lookup\"\npassword = \"lookup's\"\nquery = \"SELECT usename, passwd FROM admin.user_search($1)\"",
    ] {
        assert!(toml.contains(expected), "{expected}\nin:\n{toml}");
    }
    for expected in [
        "logfile",
        "server_reset_query",
        "dns_max_ttl = 15",
        "tcp_keepalive",
        "a_setting_of_tomorrow = 1: unknown",
        "timezone = UTC",
        "[users] ghost",
        "reports: min_pool_size",
        "search_path=pg_catalog",
    ] {
        assert!(told.contains(expected), "{expected}\nin:\n{told}");
    }
    assert!(
        !told.contains("secret") && !told.contains("sesame"),
        "{told}"
    );
    let checked = portcullis(&["check", "gate.toml"], folder.path());
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    let again = portcullis(
        &["import", "pgbouncer.ini", "--out", "gate.toml"],
        folder.path(),
    );
    assert!(
        !again.status.success(),
        "a file that is there is not overwritten"
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let about = std::fs::metadata(folder.path().join("gate.toml")).expect("there");
        assert_eq!(
            about.permissions().mode() & 0o777,
            0o600,
            "it holds passwords"
        );
    }
}

#[test]
fn rules_are_taken_over_and_never_let_more_people_in() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "userlist.txt", "\"app\" \"x\"\n");
    write(
        folder.path(),
        "p.ini",
        "[databases]\na = host=127.0.0.1\n[pgbouncer]\nlisten_addr = *\nauth_type = hba\nauth_hba_file = hba.conf\nauth_file = userlist.txt\n",
    );
    write(
        folder.path(),
        "hba.conf",
        "# TYPE DATABASE USER ADDRESS METHOD\nlocal all all peer\nhost all app,other 10.0.0.0 255.0.0.0 md5\n\
         hostssl a all ::1/128 password\nhost all +admins 0.0.0.0/0 reject\nhost all all db.internal ldap x=y\n\
         hostnossl all all all reject\nhost all all all scram-sha-256\n",
    );
    let output = portcullis(&["import", "p.ini"], folder.path());
    let (toml, told) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{told}");
    let rules: Vec<&str> = toml.split("[[auth]]\n").skip(1).map(str::trim).collect();
    assert_eq!(
        rules,
        [
            "addresses = [\"local\"]\nmethod = \"peer\"",
            "addresses = [\"10.0.0.0/8\"]\nusers = [\"app\", \"other\"]\nmethod = \"md5\"",
            "addresses = [\"::1/128\"]\ndatabases = [\"a\"]\ntls = \"required\"\nmethod = \"password\"",
            "addresses = [\"0.0.0.0/0\"]\nmethod = \"reject\"",
            "addresses = [\"0.0.0.0/0\", \"::/0\"]\nmethod = \"reject\"",
            "addresses = [\"0.0.0.0/0\", \"::/0\"]\ntls = \"off\"\nmethod = \"reject\"",
            "addresses = [\"0.0.0.0/0\", \"::/0\"]\nmethod = \"scram-sha-256\"",
        ]
    );
    assert!(told.contains("line 5") && told.contains("line 6"), "{told}");
}

#[test]
fn an_imported_gate_serves_the_clients_of_the_old_pooler() {
    let Some(database) = fresh_database() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let port = database.address.port();
    let ini = format!(
        "[databases]\nshop = host=127.0.0.1 port={port} dbname={} user=app\n* = host=127.0.0.1 port={port} user=app\n\
         [pgbouncer]\nauth_type = scram-sha-256\nauth_file = users\npool_mode = transaction\n",
        database.name
    );
    write(folder.path(), "pgbouncer.ini", &ini);
    write(folder.path(), "users", "\"ann\" \"open sesame\"\n");
    let output = portcullis(&["import", "pgbouncer.ini"], folder.path());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let gate = Gate::start_with(&text(&output.stdout), "");
    for name in ["shop", &database.name] {
        let login = Login::new("ann", name).password("open sesame");
        let mut client = Raw::login(gate.address, &login);
        assert_eq!(client.value("SELECT current_database()"), database.name);
    }
}

#[test]
fn files_that_make_no_sense_are_refused_with_their_place() {
    let folder = tempfile::tempdir().expect("a folder");
    for (ini, complaint) in [
        ("[pgbouncer]\nnonsense\n", "p.ini:2: no `=`"),
        ("x = 1\n", "before the first section"),
        ("[pgbouncer\n", "without ]"),
        ("%include p.ini\n", "include each other"),
        ("%include missing.ini\n", "missing.ini"),
    ] {
        write(folder.path(), "p.ini", ini);
        let output = portcullis(&["import", "p.ini"], folder.path());
        let told = text(&output.stderr);
        assert!(
            !output.status.success() && told.contains(complaint),
            "{told}"
        );
    }
}
