//! The operator's console: what it shows, what it does, and who may use it.

mod commands;
mod drivers;
mod holding;
mod service;
mod shapes;
mod stopping;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::support::database::{Database, fresh_database};
use crate::support::gate::{DATABASE, Gate};
use crate::support::raw::{Login, Raw};

/// Two users besides the owner: one that steers, one that looks.
const OPERATORS: &str = "
[[user]]
name = \"ops\"
auth = \"trust\"

[[user]]
name = \"metrics\"
auth = \"trust\"

[console]
admins = [\"ops\"]
readers = [\"metrics\"]

[[policy]]
name = \"require-where\"
mode = \"off\"

[[policy]]
name = \"plan-guard\"
mode = \"off\"
";

/// A gate with a console in front of a database of its own.
struct Scene {
    database: Database,
    gate: Gate,
}

impl Scene {
    fn new(pool: &str) -> Option<Scene> {
        let database = fresh_database()?;
        let gate = Gate::start_pooled(&database, pool, OPERATORS, |_| {});
        Some(Scene { database, gate })
    }

    fn transaction() -> Option<Scene> {
        Scene::new("mode = \"transaction\", max = 5")
    }

    fn session() -> Option<Scene> {
        Scene::new("mode = \"session\", max = 5")
    }

    /// The console, for somebody who may steer.
    fn ops(&self) -> Console {
        Console(Raw::login(
            self.gate.address,
            &Login::new("ops", "pgbouncer"),
        ))
    }

    fn client(&self) -> Raw {
        self.gate.connect()
    }

    fn client_called(&self, application: &str) -> Raw {
        let login = Login::new("app", DATABASE).parameter("application_name", application);
        Raw::login(self.gate.address, &login)
    }

    fn cancel(&self, (pid, secret): (i32, i32)) {
        let mut canceller = Raw::open(self.gate.address);
        let mut packet = 16u32.to_be_bytes().to_vec();
        for word in [80_877_102, pid as u32, secret as u32] {
            packet.extend(word.to_be_bytes());
        }
        canceller.send_bytes(&packet);
        let _ = canceller.receive_within(Duration::from_secs(5));
    }
}

/// A connection to the console.
struct Console(Raw);

type Row = HashMap<String, String>;

impl Console {
    /// Rows by the names of their columns; NULL is left out.
    fn rows(&mut self, command: &str) -> Vec<Row> {
        let answers = self.0.run(&format!("Q {command}"));
        let names: Vec<String> = match answers.iter().find(|answer| answer.tag == b'T') {
            Some(description) => description.column_names(),
            None => panic!(
                "{command}: {:?}",
                answers.iter().map(|a| a.line()).collect::<Vec<_>>()
            ),
        };
        let rows = answers.iter().filter(|answer| answer.tag == b'D');
        rows.map(|row| {
            let pairs = names.iter().cloned().zip(row.row());
            pairs
                .filter_map(|(name, value)| Some((name, value?)))
                .collect()
        })
        .collect()
    }

    /// The row in which a column has this value.
    fn row(&mut self, command: &str, column: &str, value: &str) -> Option<Row> {
        let mut rows = self.rows(command).into_iter();
        rows.rfind(|row| row.get(column).is_some_and(|found| found == value))
    }

    /// What a command answers: its tag, or its SQLSTATE.
    fn says(&mut self, command: &str) -> String {
        let answers = self.0.run(&format!("Q {command}"));
        answer_of(&answers)
    }

    /// Sends a command and does not wait.
    fn begin(&mut self, command: &str) {
        let mut body = command.as_bytes().to_vec();
        body.push(0);
        self.0.send(b'Q', &body);
    }

    /// Whether an answer has come within this time.
    fn has_answered(&mut self, within: Duration) -> bool {
        match self.0.receive_within(within) {
            Some(Some(answer)) => answer.tag == b'C',
            _ => false,
        }
    }
}

fn answer_of(answers: &[crate::support::answer::Answer]) -> String {
    answers
        .iter()
        .find_map(|answer| match answer.tag {
            b'C' => Some(String::from_utf8_lossy(answer.body.strip_suffix(b"\0")?).into_owned()),
            b'E' => Some(answer.code()),
            _ => None,
        })
        .unwrap_or_default()
}

/// Waits until it is so.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn only_those_who_are_named_get_in() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    for name in ["pgbouncer", "portcullis"] {
        for user in ["ops", "metrics"] {
            Raw::login(scene.gate.address, &Login::new(user, name));
        }
        let refused = Raw::try_login(scene.gate.address, &Login::new("app", name))
            .err()
            .expect("refused");
        assert_eq!(refused.code(), "28000");
    }
    let without = Gate::start(&scene.database, "");
    let refused = Raw::try_login(without.address, &Login::new("app", "pgbouncer"))
        .err()
        .expect("refused");
    assert_eq!(refused.code(), "3D000", "there is no console at all");
}

#[test]
fn a_reader_may_look_and_do_nothing_else() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let mut reader = Console(Raw::login(
        scene.gate.address,
        &Login::new("metrics", "portcullis"),
    ));
    assert!(!reader.rows("SHOW POOLS").is_empty());
    assert!(!reader.rows("SHOW CONFIG").is_empty());
    for command in [
        "PAUSE",
        "RESUME",
        "RELOAD",
        "KILL app",
        "KILL_CLIENT 1",
        "DISABLE app",
        "ENABLE app",
        "RECONNECT",
        "SUSPEND",
        "WAIT_CLOSE",
        "SHUTDOWN",
        "SET stats_period = 5",
    ] {
        assert_eq!(reader.says(command), "42501", "{command}");
    }
    assert_eq!(
        scene.client().value("SELECT 1"),
        "1",
        "nothing has happened"
    );
}

#[test]
fn every_command_leaves_a_line_that_says_who_and_from_where() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let mut ops = scene.ops();
    ops.says("SHOW LISTS");
    ops.says("DISABLE app");
    ops.begin("nonsense\nfrom ops: RELOAD");
    assert!(!ops.has_answered(Duration::from_secs(5)), "an error");
    for command in ["SHOW LISTS", "DISABLE app", "nonsense\\nfrom ops"] {
        scene
            .gate
            .wait_for_log(&["console", "user=\"ops\"", "127.0.0.1", command]);
    }
}

#[test]
fn clients_and_servers_are_shown_as_they_are() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let mut ops = scene.ops();
    let mut idle = scene.client_called("the idle one");
    idle.value("SELECT 1");
    let mut busy = scene.client_called("the busy one");
    busy.run("Q BEGIN");
    let client = |ops: &mut Console, name: &str| {
        ops.row("SHOW CLIENTS", "application_name", name)
            .unwrap_or_else(|| panic!("no client {name}"))
    };
    let row = client(&mut ops, "the idle one");
    assert_eq!(
        [
            &*row["type"],
            &row["user"],
            &row["database"],
            &row["state"],
            &row["link"]
        ],
        ["C", "app", DATABASE, "idle", ""]
    );
    assert_eq!(row["addr"], "127.0.0.1");
    assert_eq!(row["local_port"], scene.gate.address.port().to_string());
    assert!(row["connect_time"].ends_with(" UTC"));
    let row = client(&mut ops, "the busy one");
    assert_eq!(row["state"], "active");
    let server = ops
        .row("SHOW SERVERS", "ptr", &row["link"])
        .expect("the server it is linked to");
    assert_eq!(
        [
            &*server["type"],
            &server["state"],
            &server["application_name"],
            &server["link"]
        ],
        ["S", "active", "the busy one", &row["ptr"]]
    );
    let pid = busy.value("SELECT pg_backend_pid()");
    assert_eq!(server["remote_pid"], pid);
    busy.run("Q COMMIT");
    assert_eq!(client(&mut ops, "the busy one")["state"], "idle");
    let states = ops.rows("SHOW SERVERS");
    assert!(
        states.iter().all(|row| row["state"] == "idle"),
        "{states:?}"
    );
    drop(idle);
    eventually("the client is gone", || {
        ops.row("SHOW CLIENTS", "application_name", "the idle one")
            .is_none()
    });
}

#[test]
fn who_waits_is_seen_waiting_and_for_how_long() {
    let Some(scene) = Scene::new("mode = \"transaction\", max = 1") else {
        return;
    };
    let (mut holder, mut waiter) = (scene.client(), scene.client_called("waiter"));
    let mut ops = scene.ops();
    holder.run("Q BEGIN");
    waiter.send(b'Q', b"SELECT 1\0");
    eventually("somebody waits", || {
        let pool = ops.row("SHOW POOLS", "database", DATABASE).expect("a pool");
        pool["cl_waiting"] == "1" && pool["cl_active"] == "1" && pool["sv_active"] == "1"
    });
    std::thread::sleep(Duration::from_millis(1100));
    let pool = ops.row("SHOW POOLS", "database", DATABASE).expect("a pool");
    assert_eq!(pool["maxwait"], "1", "{pool:?}");
    let row = ops
        .row("SHOW CLIENTS", "application_name", "waiter")
        .expect("the waiter");
    assert_eq!([&*row["state"], &row["wait"]], ["waiting", "1"]);
    holder.run("Q COMMIT");
    eventually("nobody waits", || {
        let pool = ops.row("SHOW POOLS", "database", DATABASE).expect("a pool");
        pool["cl_waiting"] == "0" && pool["maxwait"] == "0" && pool["sv_idle"] == "1"
    });
    let stats = ops.row("SHOW STATS", "database", DATABASE).expect("a row");
    let waited: u64 = stats["total_wait_time"].parse().expect("a number");
    assert!(waited >= 1_000_000, "microseconds: {waited}");
}

#[test]
fn pins_say_why_a_client_keeps_its_server() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let mut ops = scene.ops();
    let mut listener = scene.client_called("listener");
    listener.run("Q LISTEN news");
    let pin = ops
        .row("SHOW PINS", "application_name", "listener")
        .expect("a pin");
    assert_eq!([&*pin["reason"], &pin["database"]], ["listen", DATABASE]);
    let client = ops
        .row("SHOW CLIENTS", "application_name", "listener")
        .expect("the client");
    assert_eq!(client["id"], pin["client_id"]);
    assert_eq!(
        client["state"], "active",
        "it holds a server between transactions"
    );
    drop(listener);
    eventually("the pin is gone", || ops.rows("SHOW PINS").is_empty());
}

#[test]
fn statements_transactions_and_bytes_are_counted() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let (mut ops, mut client) = (scene.ops(), scene.client());
    let numbers = |ops: &mut Console| {
        let row = ops.row("SHOW STATS", "database", DATABASE).expect("a row");
        move |name: &str| -> u64 { row[name].parse().expect("a number") }
    };
    let before = numbers(&mut ops);
    client.run("Q BEGIN");
    client.run("Q SELECT pg_sleep(0.2)");
    client.run("Q COMMIT");
    client.run("Q SELECT repeat('x', 100000)");
    client.lines("P s select 1\nB - s\nE -\nS\n---\nB - s\nE -\nS");
    let after = numbers(&mut ops);
    let more = |name: &str| after(name) - before(name);
    assert_eq!(more("total_query_count"), 6);
    assert_eq!(more("total_requests"), 6);
    assert_eq!(more("total_xact_count"), 4);
    assert_eq!(more("total_server_assignment_count"), 4);
    assert_eq!(
        [more("total_client_parse_count"), more("total_bind_count")],
        [1, 2]
    );
    assert!(more("total_sent") > 100_000);
    assert!((50..5_000).contains(&more("total_received")));
    assert!((200_000..2_000_000).contains(&more("total_query_time")));
    assert!((200_000..2_000_000).contains(&more("total_xact_time")));
    let totals = ops
        .row("SHOW STATS_TOTALS", "database", DATABASE)
        .expect("a row");
    assert_eq!(
        totals["query_count"],
        after("total_query_count").to_string()
    );
    let all = ops
        .row("SHOW TOTALS", "name", "total_query_count")
        .expect("a row");
    let all: u64 = all["value"].parse().expect("a number");
    assert!(
        all > after("total_query_count"),
        "the console's own are in it"
    );
}

#[test]
fn averages_are_taken_over_the_period() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let (mut ops, mut client) = (scene.ops(), scene.client());
    assert_eq!(ops.says("SET stats_period = 1"), "SET stats_period=1");
    let mut seen = false;
    let deadline = Instant::now() + Duration::from_secs(20);
    while !seen && Instant::now() < deadline {
        for _ in 0..50 {
            client.run("Q SELECT 1");
        }
        let row = ops.row("SHOW STATS_AVERAGES", "database", DATABASE);
        let rate: u64 = row.expect("a row")["query_count"]
            .parse()
            .expect("a number");
        seen = rate >= 20;
    }
    assert!(seen, "statements a second are shown");
}

#[test]
fn what_users_and_databases_may_have_is_shown() {
    let Some(database) = fresh_database() else {
        return;
    };
    let rules = format!(
        "{OPERATORS}\n[[user]]\nname = \"bounded\"\nauth = \"trust\"\n\
         pool = {{ mode = \"session\", max = 3, clients_max = 4 }}\n"
    );
    let pool = "mode = \"transaction\", max = 5, min = 1, reserve = 2, clients_max = 90";
    let gate = Gate::start_pooled(&database, pool, &rules, |_| {});
    let scene = Scene { database, gate };
    let mut ops = scene.ops();
    let row = ops.row("SHOW USERS", "name", "bounded").expect("a row");
    assert_eq!(
        [
            &*row["pool_size"],
            &row["pool_mode"],
            &row["max_user_client_connections"]
        ],
        ["3", "session", "4"]
    );
    let row = ops.row("SHOW USERS", "name", "app").expect("a row");
    assert_eq!(row.get("pool_mode"), None, "the database's");
    let row = ops.row("SHOW DATABASES", "name", DATABASE).expect("a row");
    let columns = [
        "pool_size",
        "min_pool_size",
        "reserve_pool_size",
        "reserve_pool",
        "max_client_connections",
    ];
    assert_eq!(
        columns.map(|column| &*row[column]),
        ["5", "1", "2", "2", "90"]
    );
}

#[test]
fn policies_and_limits_are_shown() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let (mut ops, mut client) = (scene.ops(), scene.client());
    client.run("Q SELECT 1");
    client.run("Q SELECT 1");
    let row = ops
        .row("SHOW POLICIES", "name", "require-where")
        .expect("a row");
    assert_eq!([&*row["mode"], &row["plugin"]], ["off", "require-where"]);
    let row = ops
        .row("SHOW POLICIES", "name", "honeytoken")
        .expect("a row");
    assert_eq!(
        [&*row["mode"], &row["faults"], &row["refused"]],
        ["enforce", "0", "0"]
    );
    assert!(row["decisions"].parse::<u64>().expect("a number") >= 1);
    let row = ops
        .row("SHOW LIMITS", "limit", "server connections")
        .expect("a row");
    assert_eq!([&*row["subject"], &row["allowed"]], [DATABASE, "5"]);
}
