//! What PgBouncer has not: policies, and how near the limits are.

use std::sync::atomic::Ordering;

use crate::config::{Config, Mode, OnFault, Plugin};
use crate::console::Console;
use crate::console::gather::Picture;
use crate::console::table::{Columns, Kind, Table, Value};

use Kind::{Big, Int, Numeric, Text};

pub(super) const POLICIES: Columns = &[
    ("position", Int),
    ("name", Text),
    ("plugin", Text),
    ("mode", Text),
    ("on_fault", Text),
    ("generation", Big),
    ("refused", Numeric),
    ("would_refuse", Numeric),
    ("alerts", Numeric),
    ("faults", Numeric),
    // Of all policies together: a remembered verdict asks none of them.
    ("decisions", Numeric),
    ("remembered", Numeric),
    ("hit_ratio", Text),
    ("calls", Numeric),
];

pub(super) const LIMITS: Columns = &[
    ("limit", Text),
    ("subject", Text),
    ("used", Big),
    ("allowed", Big),
];

pub(super) fn policies(console: &Console, picture: &Picture, table: &mut Table) {
    let config = console.plant.config.load();
    let generation = console.plant.policies.current().generation();
    let ratio = if picture.decided == 0 {
        Value::Null
    } else {
        let parts = picture.remembered as f64 / picture.decided as f64;
        format!("{parts:.4}").into()
    };
    for (at, policy) in config.policies.iter().enumerate() {
        let counts = console.plant.telemetry.of_policy(&policy.name);
        table.row(vec![
            (at + 1).into(),
            Value::from(&*policy.name),
            match &policy.plugin {
                Plugin::BuiltIn(name) => Value::from(&**name),
                Plugin::File(path) => path.display().to_string().into(),
            },
            match policy.mode {
                Mode::Off => "off",
                Mode::Monitor => "monitor",
                Mode::Enforce => "enforce",
            }
            .into(),
            match policy.on_fault {
                OnFault::Refuse => "refuse",
                OnFault::Allow => "allow",
                OnFault::LastGood => "last-good",
            }
            .into(),
            generation.into(),
            counts.refused.into(),
            counts.would_refuse.into(),
            counts.alerts.into(),
            counts.faults.into(),
            picture.decided.into(),
            picture.remembered.into(),
            ratio.clone(),
            picture.calls.into(),
        ]);
    }
}

pub(super) fn limits(console: &Console, picture: &Picture, table: &mut Table) {
    let config = console.plant.config.load();
    let mut row = |limit: &str, subject: &str, used: usize, allowed: usize| {
        table.row(vec![
            limit.into(),
            subject.into(),
            used.into(),
            allowed.into(),
        ]);
    };
    let connected = console.plant.connected.load(Ordering::Relaxed);
    row("clients", "", connected, config.limits.clients_max);
    let prepared = picture.clients.iter().map(|one| one.prepared).max();
    row(
        "prepared statements of one client",
        "",
        prepared.unwrap_or(0),
        config.limits.prepared_max,
    );
    links(&config, picture, &mut row);
}

fn links(config: &Config, picture: &Picture, row: &mut impl FnMut(&str, &str, usize, usize)) {
    for database in &config.databases {
        let behind = picture.behind.iter().find(|one| one.name == database.name);
        let used = behind.map_or(0, |one| one.links);
        row(
            "server connections",
            &database.name,
            used,
            database.pool.max,
        );
    }
}
