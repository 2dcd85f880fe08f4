//! Names on the server that are not what they seem.

use super::Scene;

/// Gives the name of a prepared statement to another one, wherever it finds it.
const SWAP: &str = "DO $$ DECLARE n text; BEGIN \
     SELECT name INTO n FROM pg_prepared_statements WHERE statement LIKE '%judged%' LIMIT 1; \
     IF n IS NOT NULL THEN EXECUTE 'deallocate ' || quote_ident(n); \
     EXECUTE 'prepare ' || quote_ident(n) || $q$ as select 'swapped'$q$; END IF; END $$";

#[test]
fn code_cannot_give_a_judged_name_to_another_statement() {
    for mode in ["session", "transaction"] {
        let Some(database) = crate::support::database::fresh_database() else {
            return;
        };
        let pool = format!("mode = \"{mode}\", max = 1");
        let gate = crate::support::gate::Gate::start_pooled(&database, &pool, super::QUIET, |_| {});
        let mut client = gate.connect();
        let prepare = "P s select 'judged'\nS";
        let run = "B - s\nE -\nS";
        let ways = [
            format!("{prepare}\n---\nQ {SWAP}\n---\n{run}"),
            format!("{prepare}\n---\nP d {SWAP}\nB - d\nE -\nB - s\nE -\nS\n---\nC S d\nS"),
            format!("{prepare}\n---\nQ {SWAP}\nB - s\nE -\nS"),
            format!("{prepare}\n---\nQ {SWAP}\n---\nQ EXECUTE s"),
            format!("{prepare}\n---\nQ BEGIN\n---\nQ {SWAP}\n---\n{run}\n---\nQ COMMIT"),
        ];
        for way in ways {
            let lines = client.lines(&way);
            let shown: Vec<&String> = lines
                .iter()
                .filter(|line| line.starts_with("DataRow"))
                .collect();
            assert!(
                shown.iter().any(|line| line.contains("judged")),
                "{mode} {way}: {lines:?}"
            );
            assert!(
                !shown.iter().any(|line| line.contains("swapped")),
                "{mode} {way}: {lines:?}"
            );
            client.lines("C S s\nS");
        }
        let string = client.run(&format!("{prepare}\n---\nQ {SWAP}; EXECUTE s"));
        let error = string
            .iter()
            .find(|answer| answer.tag == b'E')
            .expect("refused");
        assert_eq!(error.field(b'n'), "gate/string-names", "{mode}");
    }
}

#[test]
fn settings_that_end_with_a_transaction_do_not_follow() {
    let Some(scene) = Scene::new(1, "") else {
        return;
    };
    for way in [
        "Q SET seed TO 0.5",
        "Q BEGIN\n---\nQ SET transaction_isolation = 'serializable'\n---\nQ COMMIT",
        "Q BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE\n---\nQ COMMIT",
        "Q SET transaction_deferrable = on",
    ] {
        let (mut one, mut two) = (scene.client(), scene.client());
        one.lines(way);
        assert_eq!(one.value("SELECT 1"), "1", "{way}");
        drop(one);
        assert_eq!(two.value("SELECT 2"), "2", "{way}");
    }
}

#[test]
fn a_failed_probe_and_a_skipped_eviction_leave_no_names() {
    let Some(database) = crate::support::database::fresh_database() else {
        return;
    };
    let pool = "mode = \"transaction\", max = 1, prepared_max = 3";
    let gate = crate::support::gate::Gate::start_pooled(&database, pool, "", |_| {});
    let mut client = gate.connect();
    for _ in 0..3 {
        let lines = client.lines("P - select 1/0\nB - -\nE -\nS");
        assert!(lines.iter().any(|line| line.contains("22012")), "{lines:?}");
    }
    for n in 0..3 {
        client.lines(&format!("P s{n} select {n}\nS"));
    }
    // The fourth pushes one out, but an error in front makes the server skip that.
    client.lines("P bad select * from nowhere\nP s3 select 3\nS");
    for n in [0, 1, 2] {
        let lines = client.lines(&format!("B - s{n}\nE -\nS"));
        assert!(
            lines.iter().any(|line| line.contains(&format!("{n}"))),
            "{n}: {lines:?}"
        );
        assert!(
            !lines.iter().any(|line| line.contains("Error")),
            "{n}: {lines:?}"
        );
    }
}

#[test]
fn a_statement_stopped_by_its_row_limit_leaves_no_lock() {
    let Some(database) = crate::support::database::fresh_database() else {
        return;
    };
    database.prepare("CREATE TABLE many AS SELECT generate_series(1, 50) AS id");
    let pool = "mode = \"transaction\", max = 1";
    let rules = "[table_limits]\nmany = { returned = 5 }\n";
    let gate = crate::support::gate::Gate::start_pooled(&database, pool, rules, |_| {});
    let mut one = gate.connect();
    let answers = one.run("Q SELECT pg_advisory_lock(id) FROM many");
    assert!(
        answers
            .iter()
            .any(|answer| answer.tag == b'E' && answer.code() == "54000")
    );
    drop(one);
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
    assert_eq!(gate.connect().value(locks), "0");
}
