//! Columns, protocols and formats: what programs rely on.

use super::Scene;
use crate::support::raw::{Login, Raw};

const INT: &str = "23/4";
const BIG: &str = "20/8";
const TEXT: &str = "25/-1";
const NUMERIC: &str = "1700/-1";

/// As PgBouncer 1.24 has them (`t` text, `i` int4, `b` int8, `n` numeric). Behind
/// the bar stands what there is besides.
const TABLES: &[(&str, &str)] = &[
    ("VERSION", "version:t"),
    (
        "POOLS",
        "database:t user:t cl_active:i cl_waiting:i cl_active_cancel_req:i cl_waiting_cancel_req:i \
         sv_active:i sv_active_cancel:i sv_being_canceled:i sv_idle:i sv_used:i sv_tested:i \
         sv_login:i maxwait:i maxwait_us:i pool_mode:t load_balance_hosts:t",
    ),
    ("CLIENTS", SOCKETS),
    ("SERVERS", SOCKETS),
    ("SOCKETS", LONG_SOCKETS),
    ("ACTIVE_SOCKETS", LONG_SOCKETS),
    (
        "DATABASES",
        "name:t host:t port:i database:t force_user:t pool_size:i min_pool_size:i \
         reserve_pool_size:i server_lifetime:i pool_mode:t load_balance_hosts:t max_connections:i \
         current_connections:i max_client_connections:i current_client_connections:i paused:i \
         disabled:i | reserve_pool:i",
    ),
    (
        "USERS",
        "name:t pool_size:t reserve_pool_size:t pool_mode:t max_user_connections:i \
         current_connections:i max_user_client_connections:i current_client_connections:i",
    ),
    (
        "STATS",
        "database:t total_server_assignment_count:n total_xact_count:n total_query_count:n \
         total_received:n total_sent:n total_xact_time:n total_query_time:n total_wait_time:n \
         total_client_parse_count:n total_server_parse_count:n total_bind_count:n \
         avg_server_assignment_count:n avg_xact_count:n avg_query_count:n avg_recv:n avg_sent:n \
         avg_xact_time:n avg_query_time:n avg_wait_time:n avg_client_parse_count:n \
         avg_server_parse_count:n avg_bind_count:n | total_requests:n",
    ),
    ("STATS_TOTALS", PLAIN),
    ("STATS_AVERAGES", PLAIN),
    ("TOTALS", "name:t value:n"),
    ("LISTS", "list:t items:i"),
    ("MEM", "name:t size:i used:i free:i memtotal:i"),
    ("CONFIG", "key:t value:t default:t changeable:t"),
    ("STATE", "key:t value:t"),
    ("DNS_HOSTS", "hostname:t ttl:b addrs:t"),
    ("DNS_ZONES", "zonename:t serial:b count:i"),
    ("PEERS", "peer_id:i host:t port:i pool_size:i"),
    (
        "PEER_POOLS",
        "peer_id:i cl_active_cancel_req:i cl_waiting_cancel_req:i sv_active_cancel:i sv_login:i",
    ),
];

const SOCKETS: &str = "type:t user:t database:t replication:t state:t addr:t port:i local_addr:t \
    local_port:i connect_time:t request_time:t wait:i wait_us:i close_needed:i ptr:t link:t \
    remote_pid:i tls:t application_name:t prepared_statements:i id:i";

const LONG_SOCKETS: &str = "type:t user:t database:t replication:t state:t addr:t port:i \
    local_addr:t local_port:i connect_time:t request_time:t wait:i wait_us:i close_needed:i ptr:t \
    link:t remote_pid:i tls:t application_name:t prepared_statements:i id:i recv_pos:i pkt_pos:i \
    pkt_remain:i send_pos:i send_remain:i pkt_avail:i send_avail:i";

const PLAIN: &str = "database:t server_assignment_count:n xact_count:n query_count:n \
    bytes_received:n bytes_sent:n xact_time:n query_time:n wait_time:n client_parse_count:n \
    server_parse_count:n bind_count:n";

/// The line a RowDescription is printed as.
fn description(columns: &str, format: u8) -> String {
    let columns = columns.split_whitespace().filter(|column| *column != "|");
    let printed: Vec<String> = columns
        .map(|column| {
            let (name, kind) = column.split_once(':').expect("a type");
            let kind = match kind {
                "i" => INT,
                "b" => BIG,
                "n" => NUMERIC,
                _ => TEXT,
            };
            format!("{name} #0 type={kind}/-1 format={format}")
        })
        .collect();
    format!("RowDescription {}", printed.join(", "))
}

#[test]
fn columns_their_order_and_their_types_are_pgbouncers() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let mut ops = scene.ops().0;
    for (name, columns) in TABLES {
        let lines = ops.lines(&format!("Q SHOW {name};"));
        assert_eq!(lines[0], description(columns, 0), "SHOW {name}");
        assert_eq!(
            lines[lines.len() - 2..],
            ["CommandComplete SHOW", "ReadyForQuery I"],
            "SHOW {name}"
        );
    }
}

#[test]
fn every_table_is_the_same_in_the_extended_protocol() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let mut ops = scene.ops().0;
    for (name, columns) in TABLES {
        let lines = ops.lines(&format!(
            "P s SHOW {name}\nD S s\nB p s\nD P p\nE p\nC S s\nS"
        ));
        let text = description(columns, 0);
        let before = [
            "ParseComplete",
            "ParameterDescription ",
            &text,
            "BindComplete",
            &text,
        ];
        assert_eq!(lines[..5], before, "SHOW {name}");
        let end = ["CommandComplete SHOW", "CloseComplete", "ReadyForQuery I"];
        assert_eq!(lines[lines.len() - 3..], end, "SHOW {name}");
    }
}

#[test]
fn binary_values_are_those_of_their_types() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let mut ops = scene.ops().0;
    // One format for all columns: binary. `disabled` of the console is the int4 0.
    let answers = ops.run("P - SHOW LISTS\nBb - -\nE -\nS");
    let row = answers
        .iter()
        .find(|answer| answer.tag == b'D')
        .expect("a row");
    let databases = b"\0\x02\0\0\0\x09databases\0\0\0\x04\0\0\0\x02";
    assert_eq!(row.body, databases);
    let answers = ops.run("P - SHOW STATS_TOTALS\nBb - -\nE -\nS");
    let row = answers
        .iter()
        .find(|answer| answer.tag == b'D')
        .expect("a row");
    // database `app`, and 0 as numeric: no digits, weight 0, positive, scale 0.
    assert_eq!(
        row.body[..21],
        *b"\0\x0c\0\0\0\x03app\0\0\0\x08\0\0\0\0\0\0\0\0",
    );
}

#[test]
fn rows_can_be_fetched_in_portions() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let mut ops = scene.ops().0;
    let lines = ops.lines("P - SHOW STATE\nB p -\nE p 2\nE p 3\nS");
    assert_eq!(
        lines,
        [
            "ParseComplete",
            "BindComplete",
            "DataRow active | yes",
            "DataRow paused | no",
            "PortalSuspended",
            "DataRow suspended | no",
            "DataRow draining | no",
            "CommandComplete SHOW",
            "ReadyForQuery I",
        ]
    );
}

#[test]
fn an_error_in_a_pipeline_skips_to_the_sync() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let mut ops = scene.ops().0;
    let lines = ops.lines(
        "P - nonsense\nB - -\nE -\nS
         ---
         B - missing\nE -\nS
         ---
         P - SHOW STATE; SHOW STATE\nS
         ---
         P - SHOW VERSION\nB - - x41\nE -\nS
         ---
         Q SHOW nothing_of_this
         ---
         Q SHOW HELP",
    );
    let codes: Vec<&str> = lines
        .iter()
        .map(|line| line.split(' ').take(3).last().unwrap_or_default())
        .collect();
    assert_eq!(
        codes[..12],
        [
            "42601",
            "I",
            "26000",
            "I",
            "42601",
            "I",
            "ParseComplete",
            "08P01",
            "I",
            "42601",
            "I",
            "00000",
        ],
        "{lines:#?}"
    );
}

#[test]
fn what_drivers_say_by_themselves_is_tolerated() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let mut ops = scene.ops().0;
    for (text, tag) in [
        ("BEGIN", "BEGIN"),
        ("COMMIT", "COMMIT"),
        ("BEGIN; SHOW VERSION; ROLLBACK", "BEGIN"),
        ("SET extra_float_digits = 3", "SET"),
        ("SET application_name = 'x y'", "SET"),
        ("SET client_encoding TO 'UTF8'", "SET"),
        ("SET DateStyle TO ISO, MDY", "SET"),
        ("SHOW server_version", "SHOW"),
        ("SHOW transaction_isolation", "SHOW"),
        ("SELECT 1", "SHOW"),
        ("DISCARD ALL", "DISCARD ALL"),
        (
            "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;",
            "SHOW",
        ),
    ] {
        let answers = ops.run(&format!("Q {text}"));
        assert_eq!(super::answer_of(&answers), tag, "{text}");
        assert!(answers.iter().all(|answer| answer.tag != b'E'), "{text}");
    }
    let lines = ops.lines("Q BEGIN\n---\nQ nonsense\n---\nQ SHOW VERSION\n---\nQ COMMIT");
    let states: Vec<&String> = lines
        .iter()
        .filter(|line| line.starts_with("Ready"))
        .collect();
    assert_eq!(
        states,
        [
            "ReadyForQuery T",
            "ReadyForQuery E",
            "ReadyForQuery E",
            "ReadyForQuery I"
        ],
        "as a server would say it: {lines:?}"
    );
}

#[test]
fn messages_that_make_no_sense_end_the_connection_with_a_reason() {
    let Some(scene) = Scene::transaction() else {
        return;
    };
    let cases: [(&str, &[u8]); 4] = [
        ("an unknown type", b"!\0\0\0\x04"),
        ("a length below its own", b"Q\0\0\0\x01"),
        ("a message longer than any command", b"Q\x7f\0\0\0"),
        ("a query without its end", b"Q\0\0\0\x06hi"),
    ];
    for (what, bytes) in cases {
        let mut ops = Raw::login(scene.gate.address, &Login::new("ops", "pgbouncer"));
        ops.send_bytes(bytes);
        let error = ops.receive().expect(what);
        assert_eq!(error.code(), "08P01", "{what}");
        assert!(ops.receive().is_none(), "{what}");
    }
    let mut ops = scene.ops();
    assert_eq!(ops.says("SHOW VERSION"), "SHOW", "others go on");
}
