//! Clients that die at every possible byte.

use super::Scene;
use crate::support::script;

const SCRIPTS: &[&str] = &[
    "Q SELECT 'first answer'",
    "Q BEGIN\nQ INSERT INTO t VALUES (1)\nQ SELECT 'in a transaction'",
    "P s SELECT $1::text\nB - s value\nD P -\nE -\nS\nP - SELECT 2\nB - -\nE -\nS",
    "Q COPY t FROM STDIN\nd 1\nd 2\nd 3",
    "P - SELECT generate_series(1, 2000)\nB - -\nE - 5\nH\nE -",
    "Q SELECT repeat('x', 100000)",
];

#[test]
fn a_client_may_die_at_every_byte() {
    let Some(scene) = Scene::new(2, "CREATE TABLE t (a int)") else {
        return;
    };
    for text in SCRIPTS {
        let bytes: Vec<u8> = script::sections(text)
            .into_iter()
            .flat_map(|section| section.bytes)
            .collect();
        let step = (bytes.len() / 60).max(1);
        for end in (0..=bytes.len()).step_by(step) {
            let mut victim = scene.client();
            victim.send_bytes(&bytes[..end]);
            drop(victim);
            let mut other = scene.client();
            let wanted = format!("{end}");
            assert_eq!(
                other.value(&format!("SELECT '{wanted}'")),
                wanted,
                "{text} cut at {end}"
            );
            let lines = other.lines("P q SELECT 'mine'\nB - q\nE -\nS");
            assert_eq!(lines.len(), 5, "{text} cut at {end}: {lines:?}");
            assert!(lines[2].contains("mine"), "{text} cut at {end}: {lines:?}");
        }
    }
    scene.wait_until_idle();
    let mut after = scene.client();
    assert_eq!(
        after.value("SELECT count(*) FROM t"),
        "0",
        "nothing was committed"
    );
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    // A server process takes a moment to end behind its connection.
    while scene.gate.metric("portcullis_clients", "") != 1.0 || scene.server_connections().0 > 2 {
        assert!(
            std::time::Instant::now() < deadline,
            "somebody is left over"
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn a_goodbye_in_the_middle_leaves_nothing_to_the_next_client() {
    let Some(scene) = Scene::new(1, "") else {
        return;
    };
    for text in [
        "P - SELECT 'not yours'",
        "P - SELECT 'not yours'\nB - -",
        "P - SELECT 'not yours'\nB - -\nE -",
        "Q SELECT 'not yours' FROM pg_sleep(0.3)",
    ] {
        let mut victim = scene.client();
        victim.send_bytes(&script::sections(text)[0].bytes);
        // The server has it, and nobody has asked for an answer.
        std::thread::sleep(std::time::Duration::from_millis(150));
        victim.send_bytes(b"X\0\0\0\x04");
        drop(victim);
        let mut other = scene.client();
        let lines = other.lines("P - SELECT 'mine'\nB - -\nE -\nS");
        assert_eq!(lines.len(), 5, "{text}: {lines:?}");
        assert_eq!(lines[2], "DataRow mine", "{text}: {lines:?}");
    }
}
