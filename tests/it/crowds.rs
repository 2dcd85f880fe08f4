//! Very many clients that have nothing to do.
//!
//! `CROWD=10000 cargo test --test it crowds -- --nocapture` connects that many;
//! both ends of each connection count against the limit of open files.

use crate::support::database::{OWNER, fresh_database};
use crate::support::gate::{DATABASE, Gate};
use crate::support::raw::Raw;

/// Resident kB of the gate for one idle client; what the aim is.
const KB_EACH: f64 = 16.0;
/// How often it is read while they come.
const ROUNDS: usize = 3;

#[test]
fn idle_clients_cost_little() {
    let Some(database) = fresh_database() else {
        return;
    };
    let count = std::env::var("CROWD").ok();
    let count: usize = count.and_then(|text| text.parse().ok()).unwrap_or(3000);
    let head = format!(
        "[limits]\nclients_max = 20000\n\n[[database]]\nname = \"{DATABASE}\"\nbackend = \"{}\"\n\
         pool = {{ mode = \"transaction\", max = 2 }}\ntimeouts = {{ client_idle = \"1h\", query = \"1m\" }}\n\n\
         [[user]]\nname = \"{OWNER}\"\nauth = \"trust\"\n\n",
        database.url()
    );
    let gate = Gate::start_with(&head, "");
    let connect = |count: usize| -> Vec<Raw> {
        (0..count)
            .map(|_| {
                let mut raw = gate.connect();
                assert_eq!(raw.value("SELECT 1"), "1");
                raw
            })
            .collect()
    };
    // Arenas, caches and policies grow in steps of megabytes: the middle one of
    // three readings is what clients cost.
    let mut clients = connect(50);
    let mut readings = [0.0; ROUNDS];
    for each in &mut readings {
        let before = gate.resident();
        clients.extend(connect(count / ROUNDS));
        *each = gate.resident().saturating_sub(before) as f64 / (count / ROUNDS) as f64;
    }
    readings.sort_by(f64::total_cmp);
    let each = readings[ROUNDS / 2];
    println!("{count} idle clients: {each:.1} kB each ({readings:.1?})");
    assert!(each < KB_EACH, "{each:.1} kB for each of {count} clients");
    assert_eq!(gate.metric("portcullis_clients", ""), clients.len() as f64);
    // They are all still served.
    for client in clients.iter_mut().step_by(97) {
        assert_eq!(client.value("SELECT 2"), "2");
    }
    assert!(gate.metric("portcullis_links", "") <= 2.0);
}
