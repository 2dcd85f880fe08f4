//! Health, metrics, draining: what operators and their machines see.

use std::time::Duration;

use crate::support::database::fresh_database;
use crate::support::gate::Gate;

#[test]
fn health_and_metrics_are_served() {
    let Some(database) = fresh_database() else {
        return;
    };
    let gate = Gate::start(&database, "");
    assert_eq!(gate.page("/healthz").0, 200);
    assert_eq!(gate.page("/readyz").0, 200);
    let mut client = gate.connect();
    for _ in 0..10 {
        client.value("SELECT 1");
    }
    client.run("Q DELETE FROM nothing");
    drop(client);
    let (status, page) = gate.page("/metrics");
    assert_eq!(status, 200);
    let samples: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(
        samples.iter().any(|line| line.contains("refused")),
        "refusals are counted\n{page}"
    );
    assert!(
        samples
            .iter()
            .all(|line| line.starts_with("portcullis_") || line.starts_with("process_")),
        "{page}"
    );
}

#[test]
fn a_signal_drains_and_ends_with_success() {
    let Some(database) = fresh_database() else {
        return;
    };
    let mut gate = Gate::start(&database, "");
    let mut busy = gate.connect();
    busy.send(b'Q', b"SELECT pg_sleep(1), 'finished'\0");
    std::thread::sleep(Duration::from_millis(200));
    gate.signal("INT");
    let mut tags = Vec::new();
    while let Some(answer) = busy.receive() {
        tags.push(answer.tag as char);
    }
    assert!(
        tags.contains(&'D'),
        "the statement under way is finished: {tags:?}"
    );
    let status = gate.wait(Duration::from_secs(15)).expect("the gate ends");
    assert!(status.success(), "{status}\n{}", gate.log());
}

#[test]
fn a_statement_is_one_event_in_the_log() {
    let Some(database) = fresh_database() else {
        return;
    };
    let gate = Gate::start(&database, "[log]\nformat = \"json\"\n");
    let mut client = gate.connect();
    client.value(
        "SELECT count(*) FROM pg_class WHERE relname = 'some text that is only in this statement'",
    );
    client.run("Q DELETE FROM nothing");
    gate.wait_for_log(&["refused", "require-where"]);
    let events: Vec<serde_json::Value> = gate
        .log()
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(events.len() >= 2, "{}", gate.log());
    assert!(
        !gate.log().contains("some text that is only"),
        "literals are not logged:\n{}",
        gate.log()
    );
}
