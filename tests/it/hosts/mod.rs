//! Several servers behind one name: which is taken, and what happens when it goes.

use std::time::{Duration, Instant};

use crate::support::cluster::Cluster;
use crate::support::database::{OWNER, fresh_database};
use crate::support::gate::{DATABASE, Gate};
use crate::support::postgres::find_binaries;
use crate::support::proxy::Proxy;
use crate::support::raw::{Login, Raw};

const QUIET: &str = "[[policy]]\nname = \"require-where\"\nmode = \"off\"\n\n[[policy]]\nname = \"plan-guard\"\nmode = \"off\"\n";

/// One `[[database]]` for each way to want hosts, named after it.
fn gate(databases: &[(&str, String)], pool: &str) -> Gate {
    let mut head = String::new();
    for (name, backend) in databases {
        head.push_str(&format!(
            "[[database]]\nname = \"{name}\"\nbackend = \"{backend}\"\n\
             operator = {{ user = \"postgres\" }}\npool = {{ mode = \"transaction\", max = 4, {pool} }}\n\n"
        ));
    }
    head.push_str(&format!(
        "[[user]]\nname = \"{OWNER}\"\nauth = \"trust\"\n\n"
    ));
    Gate::start_with(&head, QUIET)
}

fn login(gate: &Gate, name: &str) -> Raw {
    Raw::login(gate.address, &Login::new(OWNER, name))
}

/// Logs in and asks, as often as it takes; an application does no less.
fn ask(gate: &Gate, name: &str, sql: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Ok(mut raw) = Raw::try_login(gate.address, &Login::new(OWNER, name)) {
            let answers = raw.run(&format!("Q {sql}"));
            if let Some(row) = answers.iter().find(|answer| answer.tag == b'D') {
                return row.row()[0].clone().unwrap_or_default();
            }
        }
        assert!(Instant::now() < deadline, "{name}: no answer to {sql}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Why nobody is served, if nobody is.
fn refusal(gate: &Gate, name: &str) -> Option<String> {
    let answer = match Raw::try_login(gate.address, &Login::new(OWNER, name)) {
        Ok(mut raw) => raw.run("Q SELECT 1").remove(0),
        Err(answer) => answer,
    };
    (answer.tag == b'E').then(|| answer.line())
}

const PORT: &str = "SELECT current_setting('port')";

#[test]
fn the_server_is_taken_that_plays_the_wanted_part() {
    let Some(primary) = Cluster::start() else {
        return;
    };
    primary.database().prepare("CREATE TABLE t (n int)");
    let standby = primary.standby();
    standby.wait_for(&primary);
    let (first, second) = (standby.port, primary.port);
    let url =
        |query: &str| format!("postgres://app@127.0.0.1:{first},127.0.0.1:{second}/app{query}");
    let attrs = |wanted: &str| url(&format!("?target_session_attrs={wanted}"));
    let databases = [
        ("any", url("")),
        ("read-write", attrs("read-write")),
        ("primary", attrs("primary")),
        ("read-only", attrs("read-only")),
        ("standby", attrs("standby")),
        ("prefer-standby", attrs("prefer-standby")),
        ("random", url("?load_balance_hosts=random")),
    ];
    let gate = gate(&databases, "");
    for (name, wanted) in [
        ("any", first),
        ("read-write", second),
        ("primary", second),
        ("read-only", first),
        ("standby", first),
        ("prefer-standby", first),
    ] {
        for _ in 0..3 {
            assert_eq!(login(&gate, name).value(PORT), wanted.to_string(), "{name}");
        }
    }
    // With so many logins at random, each server has its share.
    let mut clients: Vec<Raw> = (0..4).map(|_| login(&gate, "random")).collect();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..12 {
        for client in &mut clients {
            client.run("Q BEGIN");
        }
        for client in &mut clients {
            seen.insert(client.value(PORT));
            client.run("Q COMMIT");
        }
        if seen.len() == 2 {
            break;
        }
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'";
        for cluster in [&primary, &standby] {
            cluster.database().admin().rows(end);
        }
        std::thread::sleep(Duration::from_millis(300));
        clients = (0..4).map(|_| login(&gate, "random")).collect();
    }
    assert_eq!(seen.len(), 2, "{seen:?}");

    // The primary goes, the standby takes its place: whoever wants to write
    // finds it, and whoever wanted a standby gets it as long as it is one.
    login(&gate, "read-write").rows("INSERT INTO t VALUES (1)");
    standby.wait_for(&primary);
    primary.stop("immediate");
    let started = Instant::now();
    assert!(
        refusal(&gate, "read-write").is_some(),
        "there is nobody to write to"
    );
    assert!(started.elapsed() < Duration::from_secs(12));
    assert_eq!(ask(&gate, "standby", PORT), first.to_string());
    standby.promote();
    assert_eq!(ask(&gate, "read-write", PORT), first.to_string());
    assert_eq!(
        ask(&gate, "primary", "INSERT INTO t VALUES (2) RETURNING n"),
        "2"
    );
    assert_eq!(
        ask(&gate, "prefer-standby", PORT),
        first.to_string(),
        "there is no other"
    );
    // It is no standby any more, and links that were chosen because it was are gone.
    let deadline = Instant::now() + Duration::from_secs(10);
    let line = loop {
        let refused = refusal(&gate, "standby");
        if let Some(line) = refused {
            break line;
        }
        assert!(
            Instant::now() < deadline,
            "a primary serves those who want a standby"
        );
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(line.contains("08006") && line.contains("standby"), "{line}");
    assert_eq!(
        ask(&gate, "read-write", "SELECT count(*) FROM t"),
        "2",
        "nothing is lost"
    );
}

#[test]
fn a_server_that_stops_writing_is_left_without_repeating_anything() {
    let (Some(first), Some(second)) = (Cluster::start(), Cluster::start()) else {
        return;
    };
    for cluster in [&first, &second] {
        cluster.database().prepare("CREATE TABLE t (n int)");
    }
    let url = format!(
        "postgres://app@127.0.0.1:{},127.0.0.1:{}/app?target_session_attrs=read-write",
        first.port, second.port
    );
    let gate = gate(&[("app", url)], "");
    let mut client = login(&gate, "app");
    assert_eq!(client.value(PORT), first.port.to_string());
    first
        .database()
        .admin()
        .rows("ALTER SYSTEM SET default_transaction_read_only = on");
    first.database().admin().rows("SELECT pg_reload_conf()");
    std::thread::sleep(Duration::from_millis(300));
    // The statement fails once, in the server's words, and is not tried elsewhere.
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut failed = 0;
    loop {
        let answers = client.run("Q INSERT INTO t VALUES (1)");
        if answers[0].tag == b'C' {
            break;
        }
        assert_eq!(answers[0].code(), "25006", "{}", answers[0].line());
        failed += 1;
        assert!(
            Instant::now() < deadline,
            "it stays at a server that does not write"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(failed > 0);
    assert_eq!(client.value(PORT), second.port.to_string());
    assert_eq!(
        second.database().direct().value("SELECT count(*) FROM t"),
        "1"
    );
    assert_eq!(
        first.database().direct().value("SELECT count(*) FROM t"),
        "0"
    );
}

#[test]
fn a_read_only_transaction_makes_nobody_suspicious() {
    let Some(database) = fresh_database() else {
        return;
    };
    let url = format!("{}?target_session_attrs=read-write", database.url());
    let gate = gate(&[("app", url)], "");
    let mut client = login(&gate, "app");
    let pid = client.value("SELECT pg_backend_pid()");
    client.run("Q BEGIN READ ONLY");
    assert_eq!(client.run("Q CREATE TABLE t (n int)")[0].code(), "25006");
    client.run("Q ROLLBACK");
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(client.value("SELECT pg_backend_pid()"), pid);
}

#[test]
fn dead_hosts_and_names_do_not_stand_in_the_way() {
    let Some(database) = fresh_database() else {
        return;
    };
    let port = database.address.port();
    let hole = Proxy::to(database.address);
    hole.freeze();
    // Nobody there; a name nobody has; somebody who never answers; an address
    // behind a name with several; and the right one.
    let hosts = format!(
        "127.0.0.1:1,no-such-host.invalid:5432,127.0.0.1:{},localhost:{port}",
        hole.address.port()
    );
    let url = format!("postgres://app@{hosts}/{}", database.name);
    let gate = gate(&[("app", url)], "connect_timeout = \"500ms\"");
    assert_eq!(
        ask(&gate, "app", "SELECT current_database()"),
        database.name
    );
    // Once it is known who is right, it is asked first.
    let since = Instant::now();
    let mut clients: Vec<Raw> = (0..3).map(|_| login(&gate, "app")).collect();
    for client in &mut clients {
        client.run("Q BEGIN");
    }
    assert!(
        since.elapsed() < Duration::from_secs(2),
        "{:?}",
        since.elapsed()
    );
}

#[test]
fn a_server_that_is_starting_or_full_is_passed_over() {
    let (Some(full), Some(other)) = (Cluster::start(), Cluster::start()) else {
        return;
    };
    full.database()
        .admin()
        .rows("ALTER DATABASE app CONNECTION LIMIT 0");
    let url = |hosts: String| format!("postgres://app@{hosts}/app");
    let both = url(format!("127.0.0.1:{},127.0.0.1:{}", full.port, other.port));
    let alone = url(format!("127.0.0.1:{}", full.port));
    let gate = gate(&[("both", both), ("alone", alone)], "");
    assert_eq!(login(&gate, "both").value(PORT), other.port.to_string());
    let answer = Raw::try_login(gate.address, &Login::new(OWNER, "alone"))
        .err()
        .expect("full");
    assert_eq!(answer.code(), "53300", "{}", answer.line());
}

#[test]
fn unix_sockets_are_hosts_too() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    assert!(find_binaries().is_some());
    let folder = cluster.folder().display();
    let url = format!(
        "postgres://app@/app?host=/nowhere,{folder}&port={}&target_session_attrs=primary",
        cluster.port
    );
    let gate = gate(&[(DATABASE, url)], "");
    let mut client = login(&gate, DATABASE);
    assert_eq!(client.value("SELECT inet_server_addr() IS NULL"), "t");
    // Its cancel key reaches the server by the same way.
    let (pid, secret) = client.cancel_key;
    client.send(b'Q', b"SELECT pg_sleep(30)\0");
    std::thread::sleep(Duration::from_millis(300));
    let mut packet = 16u32.to_be_bytes().to_vec();
    for word in [80_877_102, pid as u32, secret as u32] {
        packet.extend(word.to_be_bytes());
    }
    Raw::open(gate.address).send_bytes(&packet);
    let codes: Vec<u8> = (0..3).map(|_| client.receive().unwrap().tag).collect();
    assert!(codes.contains(&b'E'), "{codes:?}");
}

#[test]
fn a_server_that_restarts_is_found_again() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let url = format!("postgres://app@127.0.0.1:{}/app", cluster.port);
    let gate = gate(&[("app", url)], "min = 2");
    for mode in ["fast", "immediate"] {
        let mut idle = login(&gate, "app");
        assert_eq!(idle.value("SELECT 1"), "1");
        let mut open = login(&gate, "app");
        open.run("Q BEGIN");
        cluster.restart(mode);
        assert_eq!(ask(&gate, "app", "SELECT 2"), "2");
        // Whoever had nothing open does not even notice.
        assert_eq!(idle.value("SELECT 3"), "3", "{mode}");
        assert_eq!(open.run("Q SELECT 4").last().unwrap().tag, 0, "{mode}");
    }
}
