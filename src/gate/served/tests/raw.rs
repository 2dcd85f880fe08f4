//! The protocol itself, message by message.

use super::*;

const FREE: &str = "[defaults]\nmode = \"off\"\n";

#[test]
fn answers_a_pipeline_and_skips_to_sync_after_an_error() {
    local(async {
        let house = House::new(FREE);
        let mut wire = Wire::new(&house).await;
        assert_eq!(
            wire.query("CREATE TABLE t (id INT PRIMARY KEY)").await,
            ["C CREATE TABLE", "Z I"]
        );
        wire.send(|out| {
            for text in [
                "INSERT INTO t VALUES (1)",
                "INSERT INTO t VALUES (1)",
                "INSERT INTO t VALUES (2)",
            ] {
                encode::parse(out, b"", text.as_bytes(), &[]);
                encode::bind_plain(out, b"", b"");
                encode::execute(out, b"", 0);
            }
            encode::sync(out);
        })
        .await;
        assert_eq!(
            wire.until_ready().await,
            ["1", "2", "C INSERT 0 1", "1", "2", "E 23505", "Z I"]
        );
        assert_eq!(
            wire.query("SELECT count(*) FROM t").await,
            ["T", "D", "C SELECT 1", "Z I"]
        );
    });
}

#[test]
fn strings_and_empty_queries_answer_as_the_server_does() {
    local(async {
        let house = House::new(FREE);
        let mut wire = Wire::new(&house).await;
        let cases: &[(&str, &[&str])] = &[
            ("", &["I", "Z I"]),
            ("  ; ", &["I", "Z I"]),
            (
                "SELECT 1; SELECT 2",
                &["T", "D", "C SELECT 1", "T", "D", "C SELECT 1", "Z I"],
            ),
            ("BEGIN", &["C BEGIN", "Z T"]),
            ("BEGIN", &["N 25001", "C BEGIN", "Z T"]),
            ("SELECT missing", &["E 42703", "Z E"]),
            ("SELECT 1", &["E 25P02", "Z E"]),
            ("COMMIT", &["C ROLLBACK", "Z I"]),
            ("COMMIT", &["N 25P01", "C COMMIT", "Z I"]),
            ("SELECT 1 WHERE false", &["T", "C SELECT 0", "Z I"]),
            ("SET application_name = 'x'", &["S", "C SET", "Z I"]),
            (
                "SELECT 1; SELECT missing; SELECT 2",
                &["T", "D", "C SELECT 1", "E 42703", "Z I"],
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(wire.query(text).await, *expected, "{text}");
        }
    });
}

#[test]
fn describes_statements_and_portals_and_suspends() {
    local(async {
        let house = House::new(FREE);
        let mut wire = Wire::new(&house).await;
        wire.query("CREATE TABLE t (id INT); INSERT INTO t VALUES (1), (2), (3)")
            .await;
        wire.send(|out| {
            encode::parse(out, b"s", b"SELECT id FROM t WHERE id > $1", &[]);
            encode::frame(out, b'D', |out| out.extend_from_slice(b"Ss\0"));
            // one text value '0', binary results
            encode::bind_rest(out, b"p", b"s", b"\0\0\0\x01\0\0\0\x010\0\x01\0\x01");
            encode::frame(out, b'D', |out| out.extend_from_slice(b"Pp\0"));
            encode::execute(out, b"p", 2);
            encode::execute(out, b"p", 2);
            encode::close(out, b'P', b"p");
            encode::close(out, b'S', b"s");
            encode::sync(out);
        })
        .await;
        assert_eq!(
            wire.until_ready().await,
            [
                "1",
                "t",
                "T",
                "2",
                "T",
                "D",
                "D",
                "s",
                "D",
                "C SELECT 1",
                "3",
                "3",
                "Z I"
            ]
        );
        wire.send(|out| {
            encode::parse(out, b"", b"SELECT id FROM t ORDER BY id LIMIT 1", &[]);
            encode::bind_rest(out, b"", b"", b"\0\0\0\0\0\x01\0\x01");
            encode::execute(out, b"", 0);
            encode::sync(out);
        })
        .await;
        assert_eq!((wire.frame().await.0, wire.frame().await.0), ('1', '2'));
        let (tag, body) = wire.frame().await;
        assert_eq!(
            (tag, first_value(&body)),
            ('D', 1i64.to_be_bytes().to_vec())
        );
        wire.until_ready().await;
    });
}

#[test]
fn names_that_do_not_exist_and_function_calls_are_errors() {
    local(async {
        let house = House::new(FREE);
        let mut wire = Wire::new(&house).await;
        wire.send(|out| {
            encode::bind_plain(out, b"", b"nope");
            encode::sync(out);
        })
        .await;
        assert_eq!(wire.until_ready().await, ["E 26000", "Z I"]);
        wire.send(|out| {
            encode::execute(out, b"nope", 0);
            encode::sync(out);
        })
        .await;
        assert_eq!(wire.until_ready().await, ["E 34000", "Z I"]);
        wire.send(|out| encode::frame(out, b'F', |out| out.extend_from_slice(b"\0\0\0\0")))
            .await;
        assert_eq!(wire.until_ready().await, ["E 0A000", "Z I"]);
    });
}
