//! Load with everything that goes wrong in a long life: clients killed at
//! random, networks that stall and break, servers that restart, reloads.
//!
//! Whatever happens, no acknowledged commit is lost, nobody sees a byte of
//! another client, no server connection is left over, and memory does not grow.
//! `SOAK_SECONDS=3600 cargo test --test it soak` does it for an hour.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::RngExt;

use crate::support::answer::Answer;
use crate::support::cluster::Cluster;
use crate::support::database::OWNER;
use crate::support::gate::{DATABASE, Gate};
use crate::support::proxy::Proxy;
use crate::support::raw::{Login, Raw};
use crate::support::script;

const CLIENTS: usize = 16;
const ACCOUNTS: usize = 50;
const SCHEMA: &str = "CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL); \
     INSERT INTO accounts SELECT n, 0 FROM generate_series(0, 49) n; \
     CREATE TABLE history (client int, seq int, PRIMARY KEY (client, seq))";

/// What one client knows at the end.
#[derive(Default)]
struct Account {
    attempted: i32,
    acknowledged: Vec<i32>,
    connections: usize,
    errors: usize,
}

#[test]
fn nothing_is_lost_mixed_up_or_left_over() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    cluster.database().prepare(SCHEMA);
    let proxy = Proxy::to(cluster.address());
    let head = format!(
        "[[database]]\nname = \"{DATABASE}\"\nbackend = \"postgres://{OWNER}@{}/app\"\n\
         operator = {{ user = \"postgres\" }}\n\
         pool = {{ mode = \"transaction\", max = 6, min = 1, connect_timeout = \"2s\", clean_timeout = \"1s\", check_after = \"1s\" }}\n\
         timeouts = {{ query = \"4s\", idle_transaction = \"5s\", cancel = \"1s\" }}\n\n\
         [[user]]\nname = \"{OWNER}\"\nauth = \"trust\"\n\n",
        proxy.address
    );
    let rules = "[[policy]]\nname = \"plan-guard\"\nmode = \"off\"\n\n[[policy]]\nname = \"require-where\"\nmode = \"enforce\"\n";
    let gate = Gate::start_with(&head, rules);
    let seconds = std::env::var("SOAK_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(20);
    let end = Instant::now() + Duration::from_secs(seconds);
    let over = AtomicBool::new(false);
    let (accounts, rss) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (gate, over) = (&gate, &over);
                scope.spawn(move || live(gate, number, over))
            })
            .collect();
        let rss = disturb(&gate, &proxy, &cluster, end);
        proxy.thaw();
        over.store(true, Ordering::SeqCst);
        let accounts: Vec<Account> = clients.into_iter().map(|c| c.join().unwrap()).collect();
        (accounts, rss)
    });
    check_books(&cluster, &accounts);
    check_leftovers(&gate, &cluster);
    let (half, last) = rss;
    let commits: usize = accounts.iter().map(|a| a.acknowledged.len()).sum();
    let connections: usize = accounts.iter().map(|a| a.connections).sum();
    let errors: usize = accounts.iter().map(|a| a.errors).sum();
    println!(
        "{commits} commits over {connections} connections, {errors} errors; resident {half} kB at half time, {last} kB at the end"
    );
    assert!(commits > CLIENTS * 10, "hardly anything worked: {commits}");
    // Caches of statements and policies fill up first: what counts is the second half.
    assert!(
        last < half + half / 4 + 48_000,
        "memory grows from {half} kB to {last} kB"
    );
}

/// Does harm until the end. Resident memory of the gate at half time, and at last.
fn disturb(gate: &Gate, proxy: &Proxy, cluster: &Cluster, end: Instant) -> (u64, u64) {
    let mut rng = rand::rng();
    let mut seen = Vec::new();
    let mut round = 0;
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(rng.random_range(300..900)));
        match round % 8 {
            0 | 4 => {
                proxy.freeze();
                std::thread::sleep(Duration::from_millis(rng.random_range(50..1200)));
                proxy.thaw();
            }
            1 => proxy.cut(),
            2 => gate.edit("mode = \"enforce\"", "mode = \"monitor\""),
            3 => cluster.restart("fast"),
            5 => gate.edit("max = 6", "max = 4"),
            6 => cluster.restart("immediate"),
            _ => {
                gate.edit("max = 4", "max = 6");
                gate.edit("mode = \"monitor\"", "mode = \"enforce\"");
            }
        }
        round += 1;
        if round % 8 == 0 {
            println!("round {round}: resident {} kB", gate.resident());
            seen.push(gate.resident());
        }
    }
    let last = gate.resident();
    (seen.get(seen.len() / 2).copied().unwrap_or(last), last)
}

/// One client that comes back again and again.
fn live(gate: &Gate, number: usize, over: &AtomicBool) -> Account {
    let mut rng = rand::rng();
    let mut account = Account::default();
    while !over.load(Ordering::SeqCst) {
        let Ok(mut raw) = Raw::try_login(gate.address, &Login::new(OWNER, DATABASE)) else {
            account.errors += 1;
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        account.connections += 1;
        for _ in 0..rng.random_range(1..60) {
            if over.load(Ordering::SeqCst) {
                break;
            }
            account.attempted += 1;
            let seq = account.attempted;
            let text = transfer(number, seq, rng.random_range(0..4));
            let bytes: Vec<u8> = script::sections(&text)
                .into_iter()
                .flat_map(|section| section.bytes)
                .collect();
            if rng.random_range(0..25) == 0 {
                // Killed in the middle of a word.
                let cut = rng.random_range(0..bytes.len());
                raw.try_send(&bytes[..cut]);
                break;
            }
            let ready = text.lines().filter(|l| l.starts_with(['Q', 'S'])).count();
            let answers = raw
                .try_send(&bytes)
                .then(|| collect(&mut raw, ready))
                .flatten();
            let Some(answers) = answers else {
                account.errors += 1;
                break;
            };
            match judge(&answers, number, seq) {
                true => account.acknowledged.push(seq),
                false => account.errors += 1,
            }
        }
    }
    account
}

/// A transfer between two accounts with an entry in the history, told in one of
/// several ways; it asks for a tag that only this client can know.
fn transfer(client: usize, seq: i32, form: usize) -> String {
    let (from, to) = (
        seq as usize % ACCOUNTS,
        (seq as usize * 7 + client) % ACCOUNTS,
    );
    let (low, high) = (from.min(to), from.max(to));
    let tag = format!("tag-{client}-{seq}");
    let enter = format!("INSERT INTO history VALUES ({client}, {seq})");
    let update = |id: usize, by: i32| {
        format!("UPDATE accounts SET balance = balance + {by} WHERE id = {id}")
    };
    let (first, second) = (update(low, seq), update(high, -seq));
    match form {
        0 => format!("Q BEGIN\nQ {first}\nQ {second}\nQ {enter}\nQ SELECT '{tag}'\nQ COMMIT"),
        1 => format!("Q BEGIN; {first}; {second}; {enter}; SELECT '{tag}'; COMMIT"),
        2 => format!(
            "Q BEGIN\nP move UPDATE accounts SET balance = balance + $1 WHERE id = $2\n\
             B - move {seq} | {low}\nE -\nB - move -{seq} | {high}\nE -\nC S move\n\
             P - {enter}\nB - -\nE -\nP - SELECT $1::text\nB - - {tag}\nE -\nS\nQ COMMIT"
        ),
        _ => format!(
            "P - {first}\nB - -\nE -\nP - {second}\nB - -\nE -\nP - {enter}\nB - -\nE -\n\
             P - SELECT '{tag}'\nB - -\nE -\nS"
        ),
    }
}

/// Everything up to the last ReadyForQuery; none when the connection ended.
fn collect(raw: &mut Raw, ready: usize) -> Option<Vec<Answer>> {
    let mut answers = Vec::new();
    let mut seen = 0;
    while seen < ready {
        let answer = raw
            .receive_within(Duration::from_secs(40))
            .expect("an answer or an end within every time limit")?;
        seen += usize::from(answer.tag == b'Z');
        answers.push(answer);
    }
    Some(answers)
}

/// Whether the transfer was committed; panics at anything that is somebody else's.
fn judge(answers: &[Answer], client: usize, seq: i32) -> bool {
    let tag = format!("tag-{client}-{seq}");
    let mut found = false;
    for answer in answers.iter().filter(|answer| answer.tag == b'D') {
        let row = answer.row();
        assert_eq!(row, [Some(tag.clone())], "a row of somebody else");
        found = true;
    }
    for answer in answers {
        assert!(
            b"12CDEINSTZn3".contains(&answer.tag),
            "an answer to something else: {}",
            answer.line()
        );
    }
    let failed = answers.iter().any(|answer| answer.tag == b'E');
    let rolled_back = answers
        .iter()
        .any(|answer| answer.line().ends_with("ROLLBACK"));
    assert!(
        failed || rolled_back || found,
        "an answer is missing: {answers:?}"
    );
    !failed && !rolled_back
}

fn check_books(cluster: &Cluster, accounts: &[Account]) {
    let mut direct = cluster.database().direct();
    let rows = direct.rows("SELECT client, seq FROM history");
    let number = |text: &Option<String>| text.as_deref().unwrap_or("0").parse::<i32>().unwrap();
    let booked: BTreeSet<(i32, i32)> = rows
        .iter()
        .map(|row| (number(&row[0]), number(&row[1])))
        .collect();
    for (client, account) in accounts.iter().enumerate() {
        for seq in &account.acknowledged {
            assert!(
                booked.contains(&(client as i32, *seq)),
                "commit {seq} of {client} is lost"
            );
        }
    }
    for (client, seq) in &booked {
        let attempted = accounts[*client as usize].attempted;
        assert!(*seq <= attempted, "{client} never asked for {seq}");
    }
    assert_eq!(
        direct.value("SELECT sum(balance) FROM accounts"),
        "0",
        "half a transfer"
    );
}

fn check_leftovers(gate: &Gate, cluster: &Cluster) {
    let sql = "SELECT count(*), count(*) FILTER (WHERE state <> 'idle') FROM pg_stat_activity \
               WHERE usename = 'app' AND datname = 'app'";
    let mut admin = cluster.database().admin();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let row = admin.rows(sql).remove(0);
        let open: usize = row[0].as_deref().unwrap_or("0").parse().unwrap();
        let busy = row[1].as_deref() != Some("0");
        let clients = gate.metric("portcullis_clients", "");
        if open <= 6
            && !busy
            && clients == 0.0
            && gate.metric("portcullis_links", "") == open as f64
        {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "left over: {open} server connections (busy: {busy}), {clients} clients, {} links",
            gate.metric("portcullis_links", "")
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}
