//! Programs that operators really use: psql, the drivers of other languages, and
//! Debian's exporter for Prometheus. `cargo xtask setup` installs all of it.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{DATABASE, Scene};
use crate::support::programs::{self, output};

const EXPORTER: &str = "/usr/bin/prometheus-pgbouncer-exporter";

/// Runs a script of Python; none: there is no Python with drivers.
fn python(script: &str, port: u16) -> Option<String> {
    let mut command = programs::python()?;
    let head = format!("port = {port}\n");
    Some(output(command.args(["-c", &(head + script)])))
}

#[test]
fn psql_shows_tables_and_gives_commands() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let url = format!(
        "host=127.0.0.1 port={} user=ops dbname=pgbouncer",
        scene.gate.address.port()
    );
    let text = "SHOW POOLS; PAUSE app; RESUME app;";
    let out =
        output(Command::new("psql").args(["-X", "-At", "-v", "ON_ERROR_STOP=1", &url, "-c", text]));
    assert!(out.starts_with("pgbouncer|pgbouncer|"), "{out}");
    assert!(out.contains("PAUSE\nRESUME\n"), "{out}");
    let help = Command::new("psql")
        .args(["-X", &url, "-c", "SHOW HELP"])
        .output()
        .expect("psql");
    let notice = String::from_utf8_lossy(&help.stderr).into_owned();
    assert!(
        notice.contains("SHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS"),
        "{notice}"
    );
}

#[test]
fn psycopg_3_uses_the_extended_protocol() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let script = r#"
import psycopg
conn = psycopg.connect(f"host=127.0.0.1 port={port} user=ops dbname=pgbouncer")
for n in range(8):  # often enough to be prepared
    cur = conn.execute("SHOW POOLS")
    rows = cur.fetchall()
assert [c.name for c in cur.description][:3] == ["database", "user", "cl_active"], cur.description
assert rows[0][:2] == ("pgbouncer", "pgbouncer") and isinstance(rows[0][2], int), rows
conn.commit()
cur = conn.cursor(binary=True)
print(cur.execute("SHOW STATS_TOTALS").fetchall()[0][1] == 0)
conn.rollback()
conn.autocommit = True
conn.execute("PAUSE app"); conn.execute("RESUME app")
try:
    conn.execute("RESUME app")
except psycopg.errors.ObjectNotInPrerequisiteState as error:
    print(error.diag.message_primary)
print(conn.info.server_version)
"#;
    let Some(out) = python(script, scene.gate.address.port()) else {
        return;
    };
    assert_eq!(out, "True\ndatabase app is not paused\n150000\n");
}

#[test]
fn psycopg_2_gets_numbers_as_numbers() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let script = r#"
import psycopg2
conn = psycopg2.connect(host="127.0.0.1", port=port, user="ops", dbname="pgbouncer")
cur = conn.cursor()
cur.execute("SHOW LISTS")
assert dict(cur.fetchall())["databases"] == 2
conn.commit()
conn.set_session(autocommit=True)
cur.execute("SHOW STATS")
from decimal import Decimal
assert isinstance(cur.fetchall()[0][1], Decimal)
cur.execute("RECONNECT")
print(cur.statusmessage)
"#;
    let Some(out) = python(script, scene.gate.address.port()) else {
        return;
    };
    assert_eq!(out, "RECONNECT\n");
}

#[test]
fn asyncpg_reads_binary_rows() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let script = r#"
import asyncio, asyncpg
async def main():
    conn = await asyncpg.connect(host="127.0.0.1", port=port, user="ops", database="pgbouncer")
    rows = await conn.fetch("SHOW POOLS")
    assert rows[0]["cl_active"] == 1 and rows[0]["pool_mode"] == "statement", rows
    rows = await conn.fetch("SHOW STATS")
    assert rows[0]["database"] == "app" and rows[0]["total_query_count"] == 0, rows
    print(await conn.execute("RECONNECT"))
    await conn.close()
    async with asyncpg.create_pool(host="127.0.0.1", port=port, user="ops", database="pgbouncer", min_size=1, max_size=2) as pool:
        for n in range(3):
            async with pool.acquire() as one:
                print(await one.fetchval("SHOW VERSION"))
asyncio.run(main())
"#;
    let Some(out) = python(script, scene.gate.address.port()) else {
        return;
    };
    assert!(out.starts_with("RECONNECT\nPortcullis "), "{out}");
    assert_eq!(out.lines().count(), 4, "{out}");
}

#[test]
fn jdbc_uses_the_console() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let Some(mut java) = programs::java() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join("Look.java");
    let text = r#"
import java.sql.*;
public class Look {
    public static void main(String[] args) throws Exception {
        String url = "jdbc:postgresql://127.0.0.1:" + args[0] + "/pgbouncer?user=ops";
        try (Connection c = DriverManager.getConnection(url); Statement s = c.createStatement()) {
            for (int i = 0; i < 7; i++) {
                try (PreparedStatement p = c.prepareStatement("SHOW POOLS"); ResultSet r = p.executeQuery()) {
                    r.next();
                    if (r.getInt("cl_active") != 1) throw new Exception("cl_active");
                }
            }
            s.execute("PAUSE app");
            s.execute("RESUME app");
            System.out.println(c.isValid(5));
            try (ResultSet r = s.executeQuery("SHOW STATS")) {
                r.next();
                System.out.println(r.getBigDecimal("total_wait_time"));
            }
        }
    }
}
"#;
    std::fs::write(&source, text).expect("the source");
    let port = scene.gate.address.port().to_string();
    let path = source.display().to_string();
    let out = output(java.args([&path, &port]));
    assert_eq!(out, "true\n0\n");
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn scrape(port: u16) -> Option<String> {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").ok()?;
    let mut page = String::new();
    stream.read_to_string(&mut page).ok()?;
    page.starts_with("HTTP/1.0 200").then_some(page)
}

#[test]
fn debians_exporter_fills_every_metric() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    if !programs::needed(Path::new(EXPORTER)) {
        return;
    }
    let mut client = scene.client();
    client.value("SELECT 1");
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port();
    let child = Command::new(EXPORTER)
        .args(["--host", "127.0.0.1", "--port", &port.to_string()])
        .args([
            "--pgbouncer-host",
            "127.0.0.1",
            "--pgbouncer-user",
            "metrics",
        ])
        .args(["--pgbouncer-port", &scene.gate.address.port().to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the exporter");
    let _running = Running(child);
    let deadline = Instant::now() + Duration::from_secs(30);
    let page = loop {
        if let Some(page) = scrape(port) {
            break page;
        }
        assert!(Instant::now() < deadline, "the exporter gives no page");
        std::thread::sleep(Duration::from_millis(100));
    };
    let of_databases = [
        "requests_total",
        "received_bytes_total",
        "sent_bytes_total",
        "query_microseconds_total",
        "active_clients",
        "waiting_clients",
        "pool_size",
        "reserve_pool",
    ];
    let of_all = [
        "databases",
        "users",
        "pools",
        "free_clients",
        "used_clients",
        "login_clients",
        "free_servers",
        "used_servers",
        "dns_names",
        "dns_zones",
        "dns_queries",
        "dns_pending",
    ];
    for name in of_databases.iter().chain(&of_all) {
        let start = format!("pgbouncer_{name}");
        let mut samples = page.lines().filter(|line| {
            let rest = line.strip_prefix(&start);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        assert!(samples.next().is_some(), "no sample of {start} in:\n{page}");
    }
    let label = format!("database=\"{DATABASE}\"");
    let value = |name: &str, label: &str| -> f64 {
        let line = page
            .lines()
            .find(|line| line.starts_with(name) && line.contains(label));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
            .unwrap_or_else(|| panic!("no {name} of the database in:\n{page}"))
    };
    assert!(value("pgbouncer_requests_total{", &label) >= 1.0);
    assert!(value("pgbouncer_sent_bytes_total{", &label) > 100.0);
    assert_eq!(value("pgbouncer_active_clients{", &label), 1.0);
    assert_eq!(value("pgbouncer_pool_size{", &scene.database.name), 5.0);
}
