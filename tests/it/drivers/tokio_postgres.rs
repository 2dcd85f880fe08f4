//! Clients that people really use, with their own idioms.

use std::process::Command;

use futures_util::{SinkExt, StreamExt, TryStreamExt, future};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::support::database::fresh_database;
use crate::support::gate::{DATABASE, Gate};

const SETUP: &str = "
    CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL, born date, score float8);
    INSERT INTO users SELECT i, 'user ' || i, date '2000-01-01' + i, i / 3.0 FROM generate_series(1, 300) i;
";

const RULES: &str = "[table_limits]\nusers = { changed = 100 }\n";

fn gate() -> Option<Gate> {
    let database = fresh_database()?;
    database.prepare(SETUP);
    Some(Gate::start(&database, RULES))
}

/// Runs a test body with a connected tokio-postgres client.
fn with_client<F: Future<Output = ()>>(body: impl FnOnce(Client) -> F) {
    let Some(gate) = gate() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let config = format!(
            "host=127.0.0.1 port={} user=app dbname={DATABASE}",
            gate.address.port()
        );
        let (client, connection) = tokio_postgres::connect(&config, NoTls)
            .await
            .expect("connected");
        tokio::spawn(connection);
        body(client).await;
    });
}

#[test]
fn tokio_postgres_reads_typed_rows() {
    with_client(|client| async move {
        let rows = client
            .query(
                "SELECT id, name, score FROM users WHERE id BETWEEN $1 AND $2 ORDER BY id",
                &[&5_i32, &7_i32],
            )
            .await
            .expect("rows");
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[0].get::<_, i32>("id"), 5);
        assert_eq!(rows[2].get::<_, &str>("name"), "user 7");
        assert!((rows[1].get::<_, f64>("score") - 2.0).abs() < 1e-9);
        let row = client
            .query_opt("SELECT name FROM users WHERE id = $1", &[&-1_i32])
            .await
            .expect("an answer");
        assert!(row.is_none());
    });
}

#[test]
fn tokio_postgres_prepares_once_and_executes_often() {
    with_client(|client| async move {
        let statement = client
            .prepare("UPDATE users SET name = $2 WHERE id = $1")
            .await
            .expect("prepared");
        for id in 1..=50_i32 {
            assert_eq!(
                client
                    .execute(&statement, &[&id, &"changed"])
                    .await
                    .expect("one row"),
                1
            );
        }
        let row = client
            .query_one("SELECT count(*) FROM users WHERE name = 'changed'", &[])
            .await
            .expect("a row");
        assert_eq!(row.get::<_, i64>(0), 50);
    });
}

#[test]
fn tokio_postgres_sees_a_refusal_as_a_database_error() {
    with_client(|client| async move {
        let error = client
            .execute("DELETE FROM users", &[])
            .await
            .expect_err("refused");
        let error = error.as_db_error().expect("a database error");
        assert_eq!(error.code().code(), "42501");
        assert!(
            error
                .constraint()
                .is_some_and(|rule| rule.starts_with("require-where/")),
            "{error:?}"
        );
        assert!(
            error.hint().is_some() && error.detail().is_some(),
            "{error:?}"
        );
        let error = client
            .execute("DELETE FROM users WHERE id <= $1", &[&150_i32])
            .await
            .expect_err("refused");
        assert_eq!(
            error.as_db_error().expect("a database error").code().code(),
            "54000"
        );
        assert_eq!(
            client
                .execute("DELETE FROM users WHERE id <= $1", &[&100_i32])
                .await
                .expect("allowed"),
            100
        );
    });
}

#[test]
fn tokio_postgres_transactions_roll_back_on_a_refusal() {
    with_client(|mut client| async move {
        let transaction = client.transaction().await.expect("begin");
        transaction
            .execute("UPDATE users SET name = 'half' WHERE id <= 60", &[])
            .await
            .expect("sixty");
        let error = transaction
            .execute(
                "UPDATE users SET name = 'half' WHERE id BETWEEN 101 AND 160",
                &[],
            )
            .await;
        assert_eq!(
            error
                .expect_err("a hundred and twenty")
                .code()
                .map(|code| code.code()),
            Some("54000")
        );
        let error = transaction
            .query("SELECT 1", &[])
            .await
            .expect_err("the transaction has failed");
        assert_eq!(error.code().map(|code| code.code()), Some("25P02"));
        transaction.rollback().await.expect("rollback");
        let row = client
            .query_one("SELECT count(*) FROM users WHERE name = 'half'", &[])
            .await
            .expect("a row");
        assert_eq!(row.get::<_, i64>(0), 0);
    });
}

#[test]
fn tokio_postgres_pipelines() {
    with_client(|client| async move {
        let statement = client
            .prepare("SELECT $1::int4 * 2")
            .await
            .expect("prepared");
        let client = &client;
        let statement = &statement;
        let queries = (0..200_i32).map(|i| async move { client.query_one(statement, &[&i]).await });
        let rows = future::try_join_all(queries).await.expect("all rows");
        let doubled: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(doubled, (0..200).map(|i| i * 2).collect::<Vec<_>>());
    });
}

#[test]
fn tokio_postgres_copies_in_and_out() {
    with_client(|client| async move {
        client
            .batch_execute("CREATE TEMP TABLE loaded (id int, name text)")
            .await
            .expect("created");
        let sink = client
            .copy_in("COPY loaded FROM STDIN")
            .await
            .expect("copy in");
        let mut sink = Box::pin(sink);
        for chunk in ["1\tone\n2\tt", "wo\n", "3\tthree\n"] {
            sink.send(bytes::Bytes::from(chunk)).await.expect("data");
        }
        assert_eq!(sink.as_mut().finish().await.expect("done"), 3);
        let stream = client
            .copy_out("COPY (SELECT * FROM loaded ORDER BY id) TO STDOUT")
            .await
            .expect("copy out");
        let chunks: Vec<bytes::Bytes> = stream.try_collect().await.expect("data");
        assert_eq!(chunks.concat(), b"1\tone\n2\ttwo\n3\tthree\n");
    });
}

#[test]
fn tokio_postgres_cancels() {
    with_client(|client| async move {
        let token = client.cancel_token();
        let sleep = client.batch_execute("SELECT pg_sleep(30)");
        let cancel = async {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            token.cancel_query(NoTls).await
        };
        let (slept, cancelled) = future::join(sleep, cancel).await;
        cancelled.expect("the cancel was sent");
        assert_eq!(
            slept.expect_err("cancelled").code().map(|code| code.code()),
            Some("57014")
        );
        client.batch_execute("SELECT 1").await.expect("usable");
    });
}

#[test]
fn tokio_postgres_simple_queries_and_streams() {
    with_client(|client| async move {
        let messages = client
            .simple_query("SELECT 1 AS a; SELECT 2 AS a")
            .await
            .expect("answers");
        let values: Vec<&str> = messages
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get("a"),
                _ => None,
            })
            .collect();
        assert_eq!(values, ["1", "2"]);
        let stream = client
            .query_raw("SELECT id FROM users ORDER BY id", Vec::<i32>::new())
            .await
            .expect("a stream");
        let mut stream = Box::pin(stream);
        let first = stream.next().await.expect("a row").expect("a row");
        assert_eq!(first.get::<_, i32>(0), 1);
        drop(stream);
        client
            .batch_execute("SELECT 1")
            .await
            .expect("usable after a dropped stream");
    });
}

fn psql(gate: &Gate, arguments: &[&str]) -> (String, String) {
    let output = Command::new("psql")
        .args([
            "-X",
            "-h",
            "127.0.0.1",
            "-U",
            "app",
            "-d",
            DATABASE,
            "-p",
            &gate.address.port().to_string(),
        ])
        .args(arguments)
        .env("PGSSLMODE", "prefer")
        .output()
        .expect("psql runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (text(output.stdout), text(output.stderr))
}

fn psql_is_missing() -> bool {
    let missing = Command::new("psql").arg("--version").output().is_err();
    assert!(
        !missing || std::env::var_os("REQUIRE_SERVERS").is_none(),
        "psql is not installed"
    );
    missing
}

#[test]
fn psql_describes_and_lists() {
    let Some(gate) = gate() else { return };
    if psql_is_missing() {
        return;
    }
    let (out, errors) = psql(&gate, &["-c", "\\dt"]);
    assert!(out.contains("users"), "{out}{errors}");
    let (out, errors) = psql(&gate, &["-c", "\\d users"]);
    assert!(
        out.contains("users_pkey") && out.contains("double precision"),
        "{out}{errors}"
    );
    for command in [
        "\\l",
        "\\df",
        "\\dn+",
        "\\du",
        "\\conninfo",
        "\\dv",
        "\\d+ users",
    ] {
        let (_, errors) = psql(&gate, &["-c", command]);
        assert!(!errors.contains("ERROR"), "{command}: {errors}");
    }
}

#[test]
fn psql_shows_a_refusal_with_everything_a_person_needs() {
    let Some(gate) = gate() else { return };
    if psql_is_missing() {
        return;
    }
    let (_, errors) = psql(
        &gate,
        &["-v", "VERBOSITY=verbose", "-c", "DELETE FROM users"],
    );
    for piece in [
        "ERROR:  42501",
        "DETAIL:",
        "HINT:",
        "CONSTRAINT NAME:  require-where/",
    ] {
        assert!(errors.contains(piece), "{piece} is missing in\n{errors}");
    }
    let (out, errors) = psql(&gate, &["-c", "SELECT count(*) FROM users", "-At"]);
    assert_eq!(out.trim(), "300", "{errors}");
}

#[test]
fn psql_copies_from_standard_input_and_fetches_in_pieces() {
    let Some(gate) = gate() else { return };
    if psql_is_missing() {
        return;
    }
    let script = "create temp table t (a int);\n\\copy t from program 'seq 1 90'\nselect sum(a) from t;\n\
                  \\set FETCH_COUNT 7\nselect id from users order by id limit 20;\n";
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("script.sql");
    std::fs::write(&file, script).expect("the script");
    let (out, errors) = psql(&gate, &["-At", "-f", &file.to_string_lossy()]);
    assert!(out.contains("4095"), "{out}\n{errors}");
    assert!(
        out.lines()
            .filter(|line| line.parse::<u32>().is_ok_and(|n| n <= 20))
            .count()
            >= 20,
        "{out}\n{errors}"
    );
}

#[test]
fn psql_stores_and_reads_large_objects() {
    if psql_is_missing() {
        return;
    }
    let Some(database) = fresh_database() else {
        return;
    };
    database.prepare(SETUP);
    // libpq does it with FunctionCall, over several messages of one transaction.
    let gate = Gate::start_pooled(&database, "mode = \"transaction\", max = 2", RULES, |_| {});
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    let bytes: Vec<u8> = (0..300_000_u32).map(|i| (i * 7 % 251) as u8).collect();
    std::fs::write(&from, &bytes).expect("a file");
    let import = format!("\\lo_import '{}'", from.display());
    let export = format!("\\lo_export :LASTOID '{}'", to.display());
    let script = ["-c", &import, "-c", &export, "-c", "\\lo_unlink :LASTOID"];
    let (out, errors) = psql(&gate, &script);
    assert!(out.contains("lo_unlink"), "{out}{errors}");
    assert!(std::fs::read(&to).expect("a file") == bytes, "other bytes");
}

#[test]
fn pg_dump_dumps_large_objects_through_the_gate() {
    let Some(database) = fresh_database() else {
        return;
    };
    database.prepare(SETUP);
    database.prepare("SELECT lo_from_bytea(0, 'kept in the dump'::bytea)");
    let gate = Gate::start_pooled(&database, "mode = \"transaction\", max = 2", "", |_| {});
    let port = gate.address.port().to_string();
    let dump = Command::new("pg_dump")
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-U",
            "app",
            "-d",
            DATABASE,
            "--blobs",
        ])
        .output();
    let Ok(dump) = dump else {
        eprintln!("pg_dump is not installed");
        return;
    };
    let (out, errors) = (
        String::from_utf8_lossy(&dump.stdout),
        String::from_utf8_lossy(&dump.stderr),
    );
    assert!(dump.status.success(), "{errors}");
    let hex: String = b"kept in the dump"
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert!(out.contains(&hex), "{out}");
    assert!(out.contains("COPY public.users"), "{out}");
}
