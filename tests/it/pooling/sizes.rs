//! How many server connections there may be, and that everybody gets a turn.

use std::time::{Duration, Instant};

use super::{QUIET, Scene};
use crate::support::database::{Database, fresh_database};
use crate::support::gate::{DATABASE, Gate};
use crate::support::raw::{Login, Raw};

/// Two users with server users of their own, `ann` and `ben`, before one pool.
struct Pair {
    database: Database,
    gate: Gate,
}

impl Pair {
    fn new(first: &str, pool: &str, ann: &str) -> Option<Pair> {
        let database = fresh_database()?;
        let mut users = String::new();
        for (name, more) in [("ann", ann), ("ben", "")] {
            let role = format!("{name}_{}", database.name);
            database.admin().rows(&format!("CREATE ROLE {role} LOGIN"));
            users.push_str(&format!(
                "[[user]]\nname = \"{name}\"\nauth = \"trust\"\nserver = {{ user = \"{role}\" }}\n{more}\n\n"
            ));
        }
        let head = format!(
            "{first}[[database]]\nname = \"{DATABASE}\"\nbackend = \"{}\"\npool = {{ mode = \"transaction\", {pool} }}\n\n{users}",
            database.url()
        );
        let gate = Gate::start_with(&head, QUIET);
        Some(Pair { database, gate })
    }

    fn login(&self, name: &str) -> Raw {
        Raw::login(self.gate.address, &Login::new(name, DATABASE))
    }

    fn server_connections(&self) -> usize {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE usename IN ('ann_{0}', 'ben_{0}')",
            self.database.name
        );
        self.database.admin().value(&sql).parse().unwrap()
    }
}

fn answers_within(raw: &mut Raw, wait: Duration) -> bool {
    raw.send(b'Q', b"SELECT 1\0");
    raw.receive_within(wait).is_some()
}

const SOON: Duration = Duration::from_millis(2000);
const NEVER: Duration = Duration::from_millis(600);

#[test]
fn an_idle_connection_of_one_user_makes_room_for_another() {
    let Some(pair) = Pair::new("", "max = 1", "") else {
        return;
    };
    for _ in 0..4 {
        for name in ["ann", "ben"] {
            let mut raw = pair.login(name);
            let role = raw.value("SELECT current_user");
            assert!(role.starts_with(name), "{role}");
        }
    }
    // And between clients that stay, on both workers.
    let mut clients: Vec<Raw> = ["ann", "ben", "ben", "ann"]
        .map(|name| pair.login(name))
        .into();
    for _ in 0..3 {
        for client in &mut clients {
            assert_eq!(client.value("SELECT 1"), "1");
        }
    }
    assert!(
        pair.server_connections() <= 2,
        "one, and one that is just ending"
    );
}

#[test]
fn a_full_user_does_not_hold_up_the_others() {
    for (pool, ann) in [
        ("max = 3, user_max = 1", ""),
        ("max = 3", "pool = { max = 1 }"),
    ] {
        let Some(pair) = Pair::new("", pool, ann) else {
            return;
        };
        let mut holder = pair.login("ann");
        holder.run("Q BEGIN");
        let mut waiter = pair.login("ann");
        waiter.send(b'Q', b"SELECT 'after all'\0");
        assert!(
            waiter.receive_within(NEVER).is_none(),
            "{pool}: ann has all she may have"
        );
        for _ in 0..5 {
            // Others come later and go first, old links and new ones alike.
            let mut other = pair.login("ben");
            assert!(
                answers_within(&mut other, SOON),
                "{pool}: ben waits for ann"
            );
        }
        assert!(waiter.receive_within(Duration::ZERO).is_none());
        holder.run("Q COMMIT");
        assert_eq!(waiter.receive().unwrap().tag, b'T', "{pool}");
    }
}

#[test]
fn users_take_turns() {
    let Some(pair) = Pair::new("", "max = 2", "") else {
        return;
    };
    let end = Instant::now() + Duration::from_secs(3);
    let counts: Vec<usize> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..12)
            .map(|n| {
                let pair = &pair;
                scope.spawn(move || {
                    let mut raw = pair.login(if n % 3 == 0 { "ann" } else { "ben" });
                    let mut count = 0;
                    while Instant::now() < end {
                        raw.value("SELECT 1");
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        clients.into_iter().map(|c| c.join().unwrap()).collect()
    });
    let least = *counts.iter().min().unwrap();
    let most = *counts.iter().max().unwrap();
    assert!(least * 5 > most, "somebody starves: {counts:?}");
}

#[test]
fn nobody_starves_on_one_worker() {
    let Some(database) = fresh_database() else {
        return;
    };
    let head = format!(
        "workers = 1\n[[database]]\nname = \"{DATABASE}\"\nbackend = \"{}\"\noperator = {{ user = \"postgres\" }}\npool = {{ mode = \"transaction\", max = 2 }}\n\n\
         [[user]]\nname = \"app\"\nauth = \"trust\"\n\n",
        database.url()
    );
    let gate = Gate::start_with(&head, QUIET);
    let end = Instant::now() + Duration::from_secs(3);
    let (counts, most_links) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..30)
            .map(|n| {
                let gate = &gate;
                scope.spawn(move || {
                    let mut raw = gate.connect();
                    let mut count = 0;
                    while Instant::now() < end {
                        let wanted = format!("{n} {count}");
                        assert_eq!(raw.value(&format!("SELECT '{wanted}'")), wanted);
                        if count % 3 == 0 {
                            let last = raw.lines("Q BEGIN\n---\nQ SELECT 1\n---\nQ COMMIT").pop();
                            assert_eq!(last.as_deref(), Some("ReadyForQuery I"));
                        }
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        let mut admin = database.admin();
        let mut most = 0;
        while Instant::now() < end {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND datname = current_database()";
            most = most.max(admin.value(sql).parse().unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
        let counts: Vec<usize> = clients.into_iter().map(|c| c.join().unwrap()).collect();
        (counts, most)
    });
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!(least * 3 > *most, "somebody starves: {counts:?}");
    assert!(most_links <= 2, "{most_links} server connections");
}

#[test]
fn the_reserve_is_for_those_who_wait_long() {
    let pool = "max = 1, reserve = 1, reserve_timeout = \"400ms\", wait_timeout = \"20s\"";
    let Some(scene) = Scene::with(pool, "") else {
        return;
    };
    let mut clients: Vec<Raw> = (0..3).map(|_| scene.client()).collect();
    clients[0].run("Q BEGIN");
    let since = Instant::now();
    assert_eq!(clients[1].run("Q BEGIN")[0].line(), "CommandComplete BEGIN");
    assert!(
        since.elapsed() >= Duration::from_millis(400),
        "{:?}",
        since.elapsed()
    );
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    assert!(
        !answers_within(&mut clients[2], NEVER),
        "there is no more reserve"
    );
    clients[0].run("Q COMMIT");
    assert_eq!(clients[2].receive().unwrap().tag, b'T');
    while clients[2].receive().unwrap().tag != b'Z' {}
    clients[1].run("Q COMMIT");
    let deadline = Instant::now() + Duration::from_secs(6);
    while scene.server_connections().0 > 1 {
        assert!(Instant::now() < deadline, "the reserve is not closed");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn clients_are_counted_by_user_and_by_database() {
    let Some(pair) = Pair::new("", "max = 2, clients_max = 3", "pool = { clients_max = 1 }") else {
        return;
    };
    let refused = |name| {
        let login = Login::new(name, DATABASE);
        let answer = Raw::try_login(pair.gate.address, &login)
            .err()
            .expect("too many");
        assert_eq!(answer.code(), "53300", "{}", answer.line());
        answer.line()
    };
    let ann = pair.login("ann");
    assert!(refused("ann").contains("role \"ann\""));
    let ben = [pair.login("ben"), pair.login("ben")];
    assert!(refused("ben").contains(&format!("database \"{DATABASE}\"")));
    drop(ann);
    let deadline = Instant::now() + Duration::from_secs(5);
    while Raw::try_login(pair.gate.address, &Login::new("ann", DATABASE)).is_err() {
        assert!(Instant::now() < deadline, "who has left is still counted");
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(ben);
}

#[test]
fn a_reload_changes_the_size_of_a_pool_in_use() {
    let Some(scene) = Scene::new(3, "") else {
        return;
    };
    let mut clients: Vec<Raw> = (0..4).map(|_| scene.client()).collect();
    for client in &mut clients[..3] {
        client.run("Q BEGIN");
    }
    let pid = clients[0].value("SELECT pg_backend_pid()");
    scene.gate.edit("max = 3", "max = 4");
    scene.gate.wait_for_log(&["reload"]);
    assert!(answers_within(&mut clients[3], SOON), "there is room now");
    scene.gate.edit("max = 4", "max = 1");
    for client in &mut clients[..3] {
        assert_eq!(
            client.run("Q SELECT 1")[1].line(),
            "DataRow 1",
            "nobody loses a transaction"
        );
    }
    assert_eq!(clients[0].value("SELECT pg_backend_pid()"), pid);
    for client in &mut clients[..3] {
        client.run("Q COMMIT");
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while scene.server_connections().0 > 1 {
        assert!(
            Instant::now() < deadline,
            "too many are left: {:?}",
            scene.server_connections()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}
