//! Drivers of other languages.

use std::path::Path;
use std::process::Command;

use super::scene;
use crate::support::programs::{java, node, output, python};

/// Runs a program of `tests/drivers/`, which says `fine` when everything was as it should be.
fn plays(runner: fn() -> Option<Command>, file: &str) {
    let (Some(mut command), Some(scene)) = (runner(), scene()) else {
        return;
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/drivers");
    let printed = output(scene.lead(&mut command).arg(folder.join(file)));
    assert!(printed.trim_end().ends_with("fine"), "{printed}");
    scene.server_connections_were_shared();
}

#[test]
fn psycopg_3_keeps_its_idioms() {
    plays(python, "psycopg3.py");
}

#[test]
fn psycopg_2_keeps_its_idioms() {
    plays(python, "psycopg2_.py");
}

#[test]
fn asyncpg_keeps_its_idioms() {
    plays(python, "asyncpg_.py");
}

#[test]
fn sqlalchemy_keeps_its_idioms() {
    plays(python, "sqlalchemy_.py");
}

#[test]
fn node_postgres_keeps_its_idioms() {
    plays(node, "node_postgres.js");
}

#[test]
fn postgres_js_keeps_its_idioms() {
    plays(node, "postgres_js.js");
}

#[test]
fn pgjdbc_keeps_its_idioms() {
    plays(java, "Pgjdbc.java");
}

#[test]
fn a_new_libpq_speaks_direct_tls_and_protocol_3_2() {
    plays(python, "libpq.py");
}
