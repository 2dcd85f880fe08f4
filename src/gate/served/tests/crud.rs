//! What applications do, through tokio-postgres.

use super::*;

const FREE: &str = "[defaults]\nmode = \"off\"\n";

#[test]
fn creates_reads_updates_and_deletes_with_parameters() {
    local(async {
        let house = House::new(FREE);
        let client = house.client().await;
        client
            .batch_execute("CREATE TABLE items (id BIGSERIAL PRIMARY KEY, name TEXT NOT NULL, price DOUBLE PRECISION, ok BOOLEAN DEFAULT true, raw BYTEA)")
            .await
            .unwrap();
        let insert = client
            .prepare("INSERT INTO items (name, price, raw) VALUES ($1, $2, $3) RETURNING id")
            .await
            .unwrap();
        for (name, price) in [("lamp", 1.5), ("cup", 2.25)] {
            client
                .query_one(&insert, &[&name, &price, &vec![1u8, 2]])
                .await
                .unwrap();
        }
        let rows = client
            .query(
                "SELECT id, name, price, ok, raw, count(*) OVER () FROM items ORDER BY id",
                &[],
            )
            .await
            .unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(
            (rows[1].get::<_, i64>(0), rows[1].get::<_, &str>(1)),
            (2, "cup")
        );
        assert_eq!(
            (rows[1].get::<_, f64>(2), rows[1].get::<_, bool>(3)),
            (2.25, true)
        );
        assert_eq!(
            (rows[0].get::<_, Vec<u8>>(4), rows[0].get::<_, i64>(5)),
            (vec![1, 2], 2)
        );
        assert_eq!(
            client
                .execute("UPDATE items SET price = $1 WHERE id = $2", &[&9.0, &1i64])
                .await
                .unwrap(),
            1
        );
        assert_eq!(
            client
                .execute("DELETE FROM items WHERE name = $1", &[&"cup"])
                .await
                .unwrap(),
            1
        );
        let left: i64 = client
            .query_one("SELECT count(*) FROM items", &[])
            .await
            .unwrap()
            .get(0);
        assert_eq!(left, 1);
    });
}

#[test]
fn transactions_commit_roll_back_and_fail_as_in_postgresql() {
    local(async {
        let house = House::new(FREE);
        let mut client = house.client().await;
        client
            .batch_execute("CREATE TABLE t (id INT PRIMARY KEY)")
            .await
            .unwrap();
        let transaction = client.transaction().await.unwrap();
        transaction
            .execute("INSERT INTO t VALUES (1)", &[])
            .await
            .unwrap();
        transaction.rollback().await.unwrap();
        let mut transaction = client.transaction().await.unwrap();
        transaction
            .execute("INSERT INTO t VALUES (2)", &[])
            .await
            .unwrap();
        let inner = transaction.savepoint("s").await.unwrap();
        let error = inner
            .execute("INSERT INTO t VALUES (2)", &[])
            .await
            .unwrap_err();
        assert_eq!(code(&error), "23505");
        assert_eq!(
            code(&inner.execute("SELECT 1", &[]).await.unwrap_err()),
            "25P02"
        );
        inner.rollback().await.unwrap();
        transaction
            .execute("INSERT INTO t VALUES (3)", &[])
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(
            texts(&client, "SELECT id FROM t ORDER BY id").await,
            ["2", "3"]
        );
        client
            .batch_execute("BEGIN; INSERT INTO t VALUES (4)")
            .await
            .unwrap();
        assert!(
            client
                .batch_execute("INSERT INTO t VALUES (4)")
                .await
                .is_err()
        );
        assert_eq!(
            code(&client.batch_execute("SELECT 1").await.unwrap_err()),
            "25P02"
        );
        client.batch_execute("COMMIT").await.unwrap();
        assert_eq!(texts(&client, "SELECT count(*) FROM t").await, ["2"]);
    });
}

#[test]
fn a_string_of_statements_is_one_transaction() {
    local(async {
        let house = House::new(FREE);
        let client = house.client().await;
        client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)").await.unwrap();
        let error = client
            .batch_execute("INSERT INTO t VALUES (3); INSERT INTO t VALUES (3)")
            .await
            .unwrap_err();
        assert_eq!(code(&error), "23505");
        assert_eq!(texts(&client, "SELECT count(*) FROM t").await, ["2"]);
    });
}

#[test]
fn rows_stream_through_portals_with_a_row_limit() {
    local(async {
        let house = House::new(FREE);
        let mut client = house.client().await;
        let transaction = client.transaction().await.unwrap();
        let text = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 1000) SELECT n FROM r";
        let portal = transaction.bind(text, &[]).await.unwrap();
        let mut seen = 0;
        loop {
            let rows = transaction.query_portal(&portal, 300).await.unwrap();
            seen += rows.len();
            if rows.len() < 300 {
                break;
            }
        }
        assert_eq!(seen, 1000);
    });
}

#[test]
fn errors_have_codes_and_leave_the_session_usable() {
    local(async {
        let house = House::new(FREE);
        let client = house.client().await;
        for (text, expected) in [
            ("SELECT * FROM missing", "42P01"),
            ("SELECT missing", "42703"),
            ("SELECT missing(1)", "42883"),
            ("COPY t FROM STDIN", "0A000"),
            ("ATTACH 'x' AS y", "0A000"),
            ("SET no_such_setting = 1", "42704"),
            ("SHOW no_such_setting", "42704"),
        ] {
            assert_eq!(
                code(&client.simple_query(text).await.unwrap_err()),
                expected,
                "{text}"
            );
            assert_eq!(
                code(&client.query(text, &[]).await.unwrap_err()),
                expected,
                "{text}"
            );
        }
        assert_eq!(
            texts(&client, "SHOW server_version").await,
            [crate::backend::sqlite::SERVER_VERSION]
        );
        let one: i32 = client.query_one("SELECT 1", &[]).await.unwrap().get(0);
        assert_eq!(one, 1);
    });
}
