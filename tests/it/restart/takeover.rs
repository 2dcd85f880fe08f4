//! A gate takes over from another: nobody who connects, works or cancels
//! meanwhile notices.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::database::{Database, OWNER, fresh_database};
use crate::support::gate::{DATABASE, Gate};
use crate::support::raw::{Login, Raw};

const TAKEOVERS: usize = 10;

/// Doors on TCP and, in the run folder, on a Unix socket.
fn gate(database: &Database, more: &str) -> Gate {
    let head = format!(
        "[[database]]\nname = \"{DATABASE}\"\nbackend = \"{}\"\n\
         operator = {{ user = \"{}\" }}\npool = {{ mode = \"transaction\" }}\n\n\
         [[user]]\nname = \"{OWNER}\"\nauth = \"trust\"\n\n\
         [[listen]]\naddress = \"unix:door\"\n\n",
        database.url(),
        crate::support::postgres::SUPERUSER,
    );
    Gate::start_with(&head, more)
}

fn login() -> Login {
    Login::new(OWNER, DATABASE)
}

fn cancel(address: SocketAddr, key: (i32, i32)) {
    let words = [16, 80_877_102, key.0 as u32, key.1 as u32];
    let packet: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    let mut canceller = Raw::open(address);
    canceller.send_bytes(&packet);
    let end = canceller.receive_within(Duration::from_secs(10));
    assert!(matches!(end, Some(None)), "closed without a word");
}

fn wait_until_it_runs(server: &mut Raw, tag: &str) {
    assert!(runs(server, tag), "{tag} does not run");
}

/// Waits until a statement with this text runs on the server; false: it does not.
fn runs(server: &mut Raw, tag: &str) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    // From its beginning on: the gate plans a statement before it runs it.
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity \
         WHERE state = 'active' AND query LIKE 'SELECT pg_sleep(%) AS {tag}%'"
    );
    while server.value(&sql) == "0" {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

/// Reads the answer to a statement; true: it was cancelled.
fn was_cancelled(client: &mut Raw) -> bool {
    let mut cancelled = false;
    loop {
        let answer = client.receive().expect("an answer");
        match answer.tag {
            b'E' => {
                assert_eq!(answer.code(), "57014", "{}", answer.line());
                cancelled = true;
            }
            b'Z' => return cancelled,
            _ => {}
        }
    }
}

/// Logs in, starts a long statement, cancels it; until told to stop.
fn cancel_until(stop: &AtomicBool, name: usize, address: SocketAddr, database: &Database) -> usize {
    let mut server = database.admin();
    let mut times = 0;
    while !stop.load(Ordering::Relaxed) {
        let tag = format!("sleeper_{name}_{times}_");
        let mut client = Raw::login(address, &login());
        client.send(b'Q', format!("SELECT pg_sleep(60) AS {tag}\0").as_bytes());
        if !runs(&mut server, &tag) {
            let answer = client.receive_within(Duration::from_secs(1));
            let answer = answer.map(|answer| answer.map(|answer| answer.line()));
            panic!("{tag} does not run: {answer:?}");
        }
        cancel(address, client.cancel_key);
        assert!(was_cancelled(&mut client), "{tag} was cancelled");
        times += 1;
    }
    times
}

/// Connects, asks and leaves until told to stop.
fn connect_until(stop: &AtomicBool, open: impl Fn() -> Raw) -> usize {
    let mut times = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut client = open().start(&login()).expect("a login");
        assert_eq!(client.value("SELECT 40 + 2"), "42");
        client.send(b'X', b"");
        times += 1;
    }
    times
}

#[test]
fn ten_takeovers_lose_no_connection_and_no_cancel() {
    let Some(database) = fresh_database() else {
        return;
    };
    let first = gate(&database, "");
    let (address, door) = (first.address, first.folder().join("door"));
    // It sleeps through everything, and nobody else's cancel may wake it.
    let mut server = database.admin();
    let mut bystander = Raw::login(address, &login());
    bystander.send(b'Q', b"SELECT pg_sleep(300) AS bystander_\0");
    wait_until_it_runs(&mut server, "bystander_");
    let stop = AtomicBool::new(false);
    // Outside of the scope: the newest one lives until everybody has left.
    let mut gates = vec![first];
    let (connects, cancels) = std::thread::scope(|scope| {
        let stopping = StopOnDrop(&stop);
        let over_tcp = scope.spawn(|| connect_until(&stop, || Raw::open(address)));
        let over_unix = scope.spawn(|| connect_until(&stop, || Raw::open_unix(&door)));
        let (stop, database) = (&stop, &database);
        let cancelling =
            [0, 1].map(|name| scope.spawn(move || cancel_until(stop, name, address, database)));
        for generation in 0..TAKEOVERS {
            // This one's session stays with the gate it came to.
            let tag = format!("of_generation_{generation}_");
            let mut client = Raw::login(address, &login());
            client.send(b'Q', format!("SELECT pg_sleep(60) AS {tag}\0").as_bytes());
            wait_until_it_runs(&mut server, &tag);
            let next = gates[generation].follow();
            gates.push(next);
            cancel(address, client.cancel_key);
            assert!(was_cancelled(&mut client), "{tag} was cancelled");
            assert_eq!(client.value("SELECT 'still here'"), "still here");
        }
        assert!(bystander.is_silent(), "the bystander sleeps");
        // Its gate is ten generations old.
        cancel(address, bystander.cancel_key);
        assert!(was_cancelled(&mut bystander));
        bystander.send(b'X', b"");
        drop(stopping);
        let connects = [over_tcp, over_unix].map(|it| it.join().expect("every login succeeds"));
        let cancels = cancelling.map(|it| it.join().expect("every cancel lands"));
        (connects, cancels)
    });
    let newest = gates.pop().expect("the newest");
    for mut old in gates {
        let ended = old.wait(Duration::from_secs(20));
        assert!(
            ended.is_some_and(|status| status.success()),
            "{}",
            old.log()
        );
    }
    assert_eq!(Raw::login(newest.address, &login()).value("SELECT 1"), "1");
    assert!(door.exists());
    assert!(connects.iter().all(|times| *times > 10), "{connects:?}");
    assert!(cancels.iter().all(|times| *times > 5), "{cancels:?}");
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_transaction_is_finished_where_it_began() {
    let Some(database) = fresh_database() else {
        return;
    };
    database.prepare("CREATE TABLE t (n int)");
    let limits = "[limits]\ntakeover_timeout = \"1s\"\ndrain_timeout = \"20s\"\n";
    let mut old = gate(&database, limits);
    let mut working = old.connect();
    working.lines("Q BEGIN\nQ INSERT INTO t VALUES (1)");
    let mut idle = old.connect();
    idle.value("SELECT 1");
    let new = old.follow();
    assert_eq!(new.connect().value("SELECT count(*) FROM t"), "0");
    old.wait_for_log(&["the new gate has taken over"]);
    old.wait_for_log(&["draining"]);
    // Whoever does nothing is asked to leave when the time is over; who works, works on.
    let farewell = idle.receive().expect("a farewell");
    assert_eq!(farewell.code(), "57P01");
    working.lines("Q INSERT INTO t VALUES (2)");
    working.lines("Q COMMIT");
    let ended = old.wait(Duration::from_secs(10)).expect("it ends");
    assert!(ended.success(), "{}", old.log());
    assert_eq!(new.connect().value("SELECT count(*) FROM t"), "2");
}

fn number(path: &Path) -> u64 {
    std::fs::symlink_metadata(path).expect("the socket").ino()
}

#[test]
fn doors_and_pages_go_over_and_their_files_stay_until_the_last_gate_ends() {
    let Some(database) = fresh_database() else {
        return;
    };
    let mut old = gate(&database, "");
    let door = old.folder().join("door");
    let before = number(&door);
    let mut new = old.follow();
    assert!(old.wait(Duration::from_secs(10)).is_some(), "{}", old.log());
    assert_eq!(number(&door), before, "the very same socket");
    let mut client = Raw::open_unix(&door).start(&login()).expect("a login");
    assert_eq!(client.value("SELECT 1"), "1");
    let (status, page) = new.page("/metrics");
    assert_eq!(status, 200);
    assert!(page.contains("portcullis_start_time_seconds"));
    client.send(b'X', b"");
    new.signal("TERM");
    assert!(new.wait(Duration::from_secs(10)).is_some());
    assert!(!door.exists(), "the last one removes it");
    let run = new.folder().join("run");
    let names = std::fs::read_dir(run).expect("the run folder");
    let names = names.map(|entry| entry.expect("an entry").file_name());
    let left: Vec<_> = names.filter(|name| name != "control.sock").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_gate_that_was_relieved_says_that_it_drains() {
    let Some(database) = fresh_database() else {
        return;
    };
    let old = gate(&database, &format!("[console]\nadmins = [\"{OWNER}\"]\n"));
    let mut ops = Raw::login(old.address, &Login::new(OWNER, "pgbouncer"));
    let state = |ops: &mut Raw| {
        let rows = ops.rows("SHOW STATE");
        let row = rows
            .into_iter()
            .find(|row| row[0].as_deref() == Some("draining"));
        row.and_then(|mut row| row.pop()).flatten()
    };
    assert_eq!(state(&mut ops).as_deref(), Some("no"));
    let mut client = old.connect();
    client.value("SELECT 1");
    let new = old.follow();
    old.wait_for_log(&["no new clients"]);
    assert_eq!(state(&mut ops).as_deref(), Some("yes"));
    let mut others = Raw::login(new.address, &Login::new(OWNER, "pgbouncer"));
    assert_eq!(state(&mut others).as_deref(), Some("no"));
    // The first signal after a takeover is the first word: transactions may end.
    client.lines("Q BEGIN");
    old.signal("TERM");
    old.wait_for_log(&["draining"]);
    assert_eq!(client.value("SELECT 'still'"), "still");
}

#[test]
fn the_service_manager_follows_the_new_gate() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    let patience = Some(Duration::from_secs(20));
    manager.set_read_timeout(patience).expect("a time limit");
    let next = || {
        let mut heard = [0; 500];
        loop {
            let length = manager.recv(&mut heard).expect("a state in time");
            let state = String::from_utf8_lossy(&heard[..length]).into_owned();
            if state != "WATCHDOG=1" {
                return state;
            }
        }
    };
    let head = format!(
        "[[database]]\nname = \"app\"\nbackend = \"sqlite::memory:\"\n\n\
         [[user]]\nname = \"{OWNER}\"\nauth = \"trust\"\n\n"
    );
    let environment = [
        ("NOTIFY_SOCKET", &*path.display().to_string()),
        ("WATCHDOG_USEC", "300000"),
    ];
    let mut old = Gate::start_in(&head, "", &environment);
    assert!(next().starts_with("READY=1"));
    let new = old.follow();
    assert_eq!(next(), format!("MAINPID={}", new.id()));
    let ready = next();
    let wanted = format!("MAINPID={}\nREADY=1", new.id());
    assert!(ready.starts_with(&wanted), "{ready}");
    assert!(old.wait(Duration::from_secs(10)).is_some());
    // The old one is gone: signs of life can only be the new one's.
    let mut heard = [0; 100];
    let deadline = Instant::now() + Duration::from_secs(2);
    while Instant::now() < deadline {
        let length = manager.recv(&mut heard).expect("a sign of life");
        assert_eq!(&heard[..length], b"WATCHDOG=1", "and nothing of stopping");
    }
}
