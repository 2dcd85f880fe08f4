//! tokio-postgres: typed rows, pipelines, COPY, cancelling.

use futures_util::{SinkExt, StreamExt, TryStreamExt, future};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, SimpleQueryMessage, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{PASSWORD, Scene, USER, scene};
use crate::support::gate::DATABASE;

type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// Runs a test body in an asynchronous runtime, with a gate.
fn with_scene<F: Future<Output = ()>>(body: impl FnOnce(Scene) -> F) {
    let Some(scene) = scene() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(body(scene));
}

/// Runs a test body with a connected client.
fn with_client<F: Future<Output = ()>>(body: impl FnOnce(Client, MakeRustlsConnect) -> F) {
    with_scene(|scene| async move { body(client(&scene).await, scene.tls()).await });
}

async fn client(scene: &Scene) -> Client {
    let (client, connection) = connect(scene).await;
    tokio::spawn(connection);
    client
}

async fn connect(scene: &Scene) -> (Client, Connection<Socket, Stream>) {
    let connected = Config::new()
        .host("127.0.0.1")
        .port(scene.gate.address.port())
        .user(USER)
        .password(PASSWORD)
        .dbname(DATABASE)
        .ssl_mode(SslMode::Require)
        .connect(scene.tls())
        .await;
    connected.expect("connected")
}

#[test]
fn tokio_postgres_reads_typed_rows() {
    with_client(|client, _| async move {
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
    with_client(|client, _| async move {
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
    with_client(|client, _| async move {
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
    with_client(|mut client, _| async move {
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
    with_client(|client, _| async move {
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
    with_client(|client, _| async move {
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
    with_client(|client, tls| async move {
        let token = client.cancel_token();
        let sleep = client.batch_execute("SELECT pg_sleep(30)");
        let cancel = async {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            token.cancel_query(tls).await
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
fn tokio_postgres_clients_share_prepared_statements() {
    with_scene(|scene| async move {
        let mut clients = Vec::new();
        for _ in 0..6 {
            let client = client(&scene).await;
            let sql = "SELECT name FROM users WHERE id = $1";
            let statement = client.prepare(sql).await.expect("prepared");
            clients.push((client, statement));
        }
        for round in 1..=20_i32 {
            let asked = clients.iter().map(|(client, statement)| async move {
                client.query_one(statement, &[&round]).await
            });
            for row in future::try_join_all(asked).await.expect("rows") {
                assert_eq!(row.get::<_, &str>(0), format!("user {round}"));
            }
        }
        scene.server_connections_were_shared();
    });
}

#[test]
fn tokio_postgres_hears_notifications() {
    with_scene(|scene| async move {
        let (listener, mut connection) = connect(&scene).await;
        let (heard, mut notifications) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) =
                future::poll_fn(|context| connection.poll_message(context)).await
            {
                if let AsyncMessage::Notification(notification) = message {
                    let _ = heard.send(notification.payload().to_owned());
                }
            }
        });
        listener.batch_execute("LISTEN news").await.expect("LISTEN");
        let sender = client(&scene).await;
        sender
            .execute("SELECT pg_notify('news', $1)", &[&"by tokio-postgres"])
            .await
            .expect("sent");
        let wait = std::time::Duration::from_secs(10);
        let payload = tokio::time::timeout(wait, notifications.recv()).await;
        assert_eq!(
            payload.expect("in time").as_deref(),
            Some("by tokio-postgres")
        );
    });
}

#[test]
fn tokio_postgres_fetches_a_portal_in_pieces_and_uses_savepoints() {
    with_client(|mut client, _| async move {
        let mut transaction = client.transaction().await.expect("begin");
        let portal = transaction
            .bind("SELECT id FROM users ORDER BY id", &[])
            .await
            .expect("a portal");
        let mut seen = 0;
        while let rows = transaction.query_portal(&portal, 70).await.expect("rows")
            && !rows.is_empty()
        {
            seen += rows.len();
        }
        assert_eq!(seen, 300);
        let savepoint = transaction.transaction().await.expect("a savepoint");
        let refused = savepoint.execute("DELETE FROM users", &[]).await;
        assert!(refused.is_err());
        savepoint.rollback().await.expect("back to the savepoint");
        transaction
            .execute("UPDATE users SET name = 'kept' WHERE id = 1", &[])
            .await
            .expect("usable");
        transaction.commit().await.expect("commit");
        let row = client
            .query_one("SELECT name FROM users WHERE id = 1", &[])
            .await;
        assert_eq!(row.expect("a row").get::<_, &str>(0), "kept");
    });
}

#[test]
fn tokio_postgres_simple_queries_and_streams() {
    with_client(|client, _| async move {
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
