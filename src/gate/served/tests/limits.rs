//! Policies hold, by every way, on both protocols, with the limits exact.

use super::*;

const GUARDED: &str = r#"
[table_limits]
users = 100

[[policy]]
name = "honeytoken"
settings = { tables = ["canary"] }

[[policy]]
name = "require-where"
mode = "off"
"#;

async fn guarded() -> (Rc<House>, tokio_postgres::Client) {
    let house = House::new(GUARDED);
    for text in [
        "CREATE TABLE users (id INT PRIMARY KEY, n INT)",
        "CREATE TABLE other (id INT, u INT REFERENCES users(id) ON DELETE CASCADE)",
        "CREATE TABLE canary (id INT)",
        "CREATE VIEW v AS SELECT * FROM users WHERE id > 0",
        "CREATE VIEW c AS SELECT * FROM canary",
        "INSERT INTO users WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 200) SELECT n, 0 FROM r",
    ] {
        house.behind(text).await;
    }
    let client = house.client().await;
    (house, client)
}

async fn count(client: &tokio_postgres::Client) -> String {
    texts(client, "SELECT count(*) FROM users").await.remove(0)
}

#[test]
fn more_rows_than_the_limit_leave_the_table_unchanged() {
    local(async {
        let (_house, client) = guarded().await;
        for text in [
            "DELETE FROM users WHERE id > 0",
            "DELETE FROM users",
            "UPDATE users SET n = 1 WHERE id > 0",
            "WITH x AS (SELECT id FROM users) DELETE FROM users WHERE id IN (SELECT id FROM x)",
            "DELETE FROM users WHERE id > 0 RETURNING id",
            "INSERT OR REPLACE INTO users SELECT id, 5 FROM users",
            "DROP TABLE users",
            "ALTER TABLE users RENAME TO others",
            "ALTER TABLE users DROP COLUMN n",
            "DELETE FROM users WHERE id <= 60; DELETE FROM users WHERE id > 140",
        ] {
            // The policy itself refuses to drop a limited table.
            let expected = if text.starts_with("DROP") {
                "42501"
            } else {
                "54000"
            };
            let error = client.simple_query(text).await.unwrap_err();
            assert_eq!(code(&error), expected, "{text}: {error:?}");
            if !text.contains(';') {
                let error = client.query(text, &[]).await.unwrap_err();
                assert_eq!(code(&error), expected, "{text}: {error:?}");
            }
            assert_eq!(count(&client).await, "200", "{text}");
        }
        assert_eq!(
            texts(&client, "SELECT count(*) FROM users WHERE n <> 0").await,
            ["0"]
        );
        assert_eq!(
            client
                .execute("DELETE FROM users WHERE id <= 100", &[])
                .await
                .unwrap(),
            100
        );
        assert_eq!(count(&client).await, "100");
    });
}

#[test]
fn a_transaction_adds_up_and_a_savepoint_takes_back() {
    local(async {
        let (_house, client) = guarded().await;
        client
            .batch_execute("BEGIN; DELETE FROM users WHERE id <= 60")
            .await
            .unwrap();
        assert_eq!(
            code(
                &client
                    .batch_execute("DELETE FROM users WHERE id > 140")
                    .await
                    .unwrap_err()
            ),
            "54000"
        );
        assert_eq!(
            code(&client.batch_execute("SELECT 1").await.unwrap_err()),
            "25P02"
        );
        client.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!(count(&client).await, "200");
        client
            .batch_execute("BEGIN; SAVEPOINT a; DELETE FROM users WHERE id <= 60; ROLLBACK TO a; DELETE FROM users WHERE id > 140; COMMIT")
            .await
            .unwrap();
        assert_eq!(count(&client).await, "140");
    });
}

#[test]
fn cascades_and_views_count_and_rows_past_the_limit_never_leave() {
    local(async {
        let (house, client) = guarded().await;
        assert_eq!(
            code(&client.simple_query("SELECT * FROM v").await.unwrap_err()),
            "54000"
        );
        assert_eq!(
            code(&client.query("SELECT * FROM users", &[]).await.unwrap_err()),
            "54000"
        );
        assert_eq!(
            client
                .query("SELECT * FROM v LIMIT 100", &[])
                .await
                .unwrap()
                .len(),
            100
        );
        let mut wire = Wire::new(&house).await;
        let seen = wire.query("SELECT id FROM v").await;
        assert_eq!(seen.iter().filter(|s| *s == "D").count(), 100);
        assert_eq!(&seen[seen.len() - 2..], ["E 54000", "Z I"]);
    });
}

#[test]
fn a_pipeline_that_stops_at_one_row_is_rolled_back_whole() {
    local(async {
        let (house, client) = guarded().await;
        let mut wire = Wire::new(&house).await;
        wire.send(|out| {
            encode::parse(
                out,
                b"",
                b"DELETE FROM users WHERE id > 0 RETURNING id",
                &[],
            );
            encode::bind_plain(out, b"", b"");
            encode::execute(out, b"", 1);
            encode::sync(out);
        })
        .await;
        let seen = wire.until_ready().await;
        assert_eq!(&seen[seen.len() - 2..], ["E 54000", "Z I"], "{seen:?}");
        assert_eq!(count(&client).await, "200");
    });
}

#[test]
fn a_trap_looks_exactly_like_a_missing_table_also_behind_a_view() {
    local(async {
        let (_house, client) = guarded().await;
        let shape = |error: tokio_postgres::Error, name: &str| {
            let error = error
                .as_db_error()
                .expect("an answer of the server")
                .clone();
            format!("{error:?}").replace(name, "NAME")
        };
        for (trap, missing) in [("canary", "nobody"), ("CANARY", "NOBODY")] {
            let text = |name: &str| format!("SELECT 1, id FROM {name} WHERE id = 1");
            let trapped = shape(
                client.simple_query(&text(trap)).await.unwrap_err(),
                &trap.to_lowercase(),
            );
            let absent = shape(
                client.simple_query(&text(missing)).await.unwrap_err(),
                &missing.to_lowercase(),
            );
            assert_eq!(trapped, absent);
            let trapped = shape(
                client.prepare(&text(trap)).await.unwrap_err(),
                &trap.to_lowercase(),
            );
            let absent = shape(
                client.prepare(&text(missing)).await.unwrap_err(),
                &missing.to_lowercase(),
            );
            assert_eq!(trapped, absent);
        }
        for text in [
            "SELECT * FROM c",
            "SELECT count(*) FROM c",
            "INSERT INTO canary VALUES (1)",
            "DROP TABLE canary",
            "SELECT * FROM main.canary",
            "SELECT * FROM \"Canary\"",
        ] {
            let error = client.simple_query(text).await.unwrap_err();
            assert_eq!(code(&error), "42P01", "{text}: {error:?}");
        }
    });
}

#[test]
fn a_schema_changed_behind_a_prepared_statement_is_judged_anew() {
    local(async {
        let (house, client) = guarded().await;
        client
            .batch_execute("CREATE TABLE plain (id INT); CREATE VIEW w AS SELECT id FROM plain")
            .await
            .unwrap();
        let statement = client.prepare("SELECT id FROM w").await.unwrap();
        client.query(&statement, &[]).await.unwrap();
        // Somebody with other rights changes the view.
        house.behind("DROP VIEW w").await;
        house.behind("CREATE VIEW w AS SELECT id FROM canary").await;
        let error = client.query(&statement, &[]).await.unwrap_err();
        assert_eq!(code(&error), "42P01");
    });
}
