//! Named prepared statements on whichever server connection comes.

use super::Scene;

fn prepare(name: &str, sql: &str) -> String {
    format!("P {name} {sql}\nS")
}

fn execute(name: &str, values: &str) -> String {
    format!("B - {name} {values}\nE -\nS")
}

/// The only row of the answers.
fn row(lines: &[String]) -> &str {
    lines
        .iter()
        .find_map(|line| line.strip_prefix("DataRow "))
        .unwrap_or_else(|| panic!("no row in {lines:?}"))
}

#[test]
fn two_clients_use_one_name_for_two_texts() {
    let Some(scene) = Scene::new(1, "") else {
        return;
    };
    let (mut one, mut two) = (scene.client(), scene.client());
    one.lines(&prepare("s", "select 'one ' || $1::text"));
    two.lines(&prepare("s", "select 'two ' || $1::text"));
    for _ in 0..3 {
        assert!(row(&one.lines(&execute("s", "x"))).contains("one x"));
        assert!(row(&two.lines(&execute("s", "y"))).contains("two y"));
    }
    let described = one.lines("D S s\nS");
    assert!(
        described[0].starts_with("ParameterDescription"),
        "{described:?}"
    );
}

#[test]
fn a_statement_is_prepared_wherever_it_is_needed() {
    let Some(scene) = Scene::new(2, "") else {
        return;
    };
    let mut one = scene.client();
    one.lines(&prepare("s", "select pg_backend_pid(), 'mine'"));
    // Somebody holds the connection on which it was prepared.
    let mut holder = scene.client();
    holder.lines("Q BEGIN");
    assert!(row(&one.lines(&execute("s", ""))).contains("mine"));
    let mut second = scene.client();
    second.lines("Q BEGIN");
    holder.lines("Q COMMIT");
    assert!(row(&one.lines(&execute("s", ""))).contains("mine"));
}

#[test]
fn names_behave_as_on_one_connection() {
    let Some(scene) = Scene::new(2, "CREATE TABLE t (a int)") else {
        return;
    };
    let mut direct = scene.database.direct();
    let mut gated = scene.client();
    let script = "P s select 1\nS\n---\nP s select 2\nS\n---\nB - s\nE -\nS\n---\nC S s\nS\n---\nB - s\nE -\nS\n---\n\
                  C S s\nS\n---\nP s select 3\nB - s\nE -\nC S s\nS\n---\nP s select 4\nB - s\nE -\nS\n---\n\
                  Q DEALLOCATE s\n---\nB - s\nS\n---\nP t insert into t values ($1)\nB - t 1\nE -\nB - t 2\nE -\nS\n---\n\
                  Q BEGIN\n---\nQ select 1/0\n---\nP late select 5\nS\n---\nQ ROLLBACK\n---\nB - late\nS\n---\n\
                  P bad select * from nowhere\nB - bad\nS\n---\nB - bad\nS\n---\nP - select 6\nS\n---\nB - -\nE -\nS\n---\n\
                  Q select 7\n---\nB - -\nS\n---\nP x select 1/0\nP y select 8\nS\n---\nB - x\nE -\nP z select 9\nS\n---\nB - z\nS\n---\n\
                  P d1 select 1\nP d2 select 2\nS\n---\nQ DEALLOCATE ALL\n---\nB - d1\nS\n---\nP d1 select 11\nB - d1\nE -\nS";
    assert_eq!(gated.lines(script), direct.lines(script));
}

#[test]
fn a_failed_transaction_ends_with_a_statement_that_another_has_prepared() {
    let Some(scene) = Scene::new(1, "") else {
        return;
    };
    let mut direct = scene.database.direct();
    // What is refused there was prepared before, and must be known as before.
    let script = "P s select 1\nS\n---\nQ BEGIN\n---\nQ SAVEPOINT a\n---\nQ select 1/0\n---\nP t select 1\nS\n---\n\
                  P r ROLLBACK TO a\nB - r\nE -\nS\n---\nP t select 1\nB - t\nE -\nS\n---\n\
                  B - s\nE -\nS\n---\nP c COMMIT\nB - c\nE -\nS\n---\n\
                  Q BEGIN\n---\nQ select 1/0\n---\nP d COMMIT\nB - d\nE -\nS\n---\nP u select 1\nB - u\nE -\nS";
    let expected = direct.lines(script);
    for _ in 0..3 {
        assert_eq!(scene.client().lines(script), expected);
    }
}

#[test]
fn a_query_in_an_unfinished_pipeline_does_no_harm_to_the_next_client() {
    let Some(scene) = Scene::new(1, "") else {
        return;
    };
    for _ in 0..3 {
        let mut one = scene.client();
        one.lines("P - select 1\nB - -\nE -\nQ select 2\nS");
        drop(one);
        let lines = scene.client().lines(&format!(
            "{}\n---\n{}",
            prepare("s", "select 2"),
            execute("s", "")
        ));
        assert_eq!(row(&lines), "2");
    }
}

#[test]
fn sql_and_protocol_share_one_name_space() {
    let Some(scene) = Scene::new(2, "") else {
        return;
    };
    let mut direct = scene.database.direct();
    let mut gated = scene.client();
    let script = "P p:25 select 'by protocol ' || $1\nS\n---\nQ EXECUTE p('x')\n---\nQ EXPLAIN (COSTS OFF) EXECUTE p('x')\n---\n\
                  P - EXECUTE p('y')\nB - -\nE -\nS\n---\nQ DEALLOCATE PREPARE p\n---\nQ EXECUTE p('x')\n---\n\
                  Q PREPARE q(text) AS SELECT 'by sql ' || $1\n---\nB - q z\nE -\nS\n---\nQ EXECUTE q('w')\n---\nC S q\nS\n---\nQ EXECUTE q('w')";
    assert_eq!(gated.lines(script), direct.lines(script));
}

#[test]
fn a_changed_table_does_not_haunt_new_statements() {
    let Some(scene) = Scene::new(1, "CREATE TABLE t (a int)") else {
        return;
    };
    let (mut one, mut two) = (scene.client(), scene.client());
    one.lines(&prepare("s", "select * from t"));
    one.lines(&execute("s", ""));
    scene.database.prepare("ALTER TABLE t ADD b int");
    let old = one.lines(&execute("s", ""));
    assert!(
        old[0].contains("cached plan must not change result type"),
        "as on one connection: {old:?}"
    );
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        // Known as soon as the catalog has been looked at again.
        let lines = two.lines("P fresh select * from t\nD S fresh\nB - fresh\nE -\nC S fresh\nS");
        if !lines.iter().any(|line| line.contains("cached plan")) {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{lines:?}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

#[test]
fn a_link_holds_no_more_statements_than_it_may() {
    let Some(scene) = Scene::with("max = 1, prepared_max = 5", "") else {
        return;
    };
    let mut one = scene.client();
    for n in 0..20 {
        one.lines(&prepare(&format!("s{n}"), &format!("select {n}")));
    }
    let held = one.value("SELECT count(*) FROM pg_prepared_statements");
    assert_eq!(held, "5");
    for n in 0..20 {
        assert!(row(&one.lines(&execute(&format!("s{n}"), ""))).contains(&n.to_string()));
    }
}

#[test]
fn a_statement_prepared_anew_means_the_new_definitions() {
    let Some(scene) = Scene::new(1, "CREATE TABLE w (a int); INSERT INTO w VALUES (1)") else {
        return;
    };
    let mut one = scene.client();
    one.lines(&prepare("a", "select * from w"));
    assert_eq!(row(&one.lines(&execute("a", ""))), "1");
    // Somebody else, past the gate: it cannot know before it asks.
    let added = scene
        .database
        .direct()
        .lines("Q alter table w add b int default 2");
    assert!(added[0].starts_with("CommandComplete"), "{added:?}");
    let stale = one.lines(&execute("a", ""));
    assert!(stale.iter().any(|line| line.contains("0A000")), "{stale:?}");
    // As drivers do it: close and prepare once more, under the same or another name.
    one.lines("C S a\nS");
    one.lines(&prepare("a", "select * from w"));
    assert_eq!(row(&one.lines(&execute("a", ""))), "1 | 2");
    one.lines(&prepare("b", "select * from w"));
    let described = one.lines("D S b\nS");
    assert!(
        described.iter().any(|line| line.contains(" b of-table")),
        "{described:?}"
    );
    assert_eq!(row(&one.lines(&execute("b", ""))), "1 | 2");
}

#[test]
fn nobody_sees_or_uses_a_statement_of_somebody_else() {
    let Some(scene) = Scene::new(1, "") else {
        return;
    };
    let mut victim = scene.client();
    victim.lines("P - select 'x'::text as secret_of_the_victim\nB - -\nE -\nS");
    victim.lines(&prepare("s", "select 'y'::text as another_secret"));
    victim.lines(&execute("s", ""));
    let named = "select name from pg_prepared_statements where name like 'portcullis%'";
    let name = victim.rows(named)[0][0].clone().expect("a name");
    let mut stranger = scene.client();
    for script in [
        "D S -\nS".to_owned(),
        format!("D S {name}\nS"),
        format!("B - {name}\nE -\nS"),
        format!("Q execute {name}"),
        format!("Q deallocate {name}"),
        format!("Q explain execute {name}"),
        format!("P - execute {name}\nB - -\nE -\nS"),
    ] {
        let told = stranger.lines(&script);
        assert!(
            told.iter().any(|line| line.contains("26000")),
            "{script}: {told:?}"
        );
        assert!(
            !told.iter().any(|line| line.contains("secret")),
            "{script}: {told:?}"
        );
    }
    let taken = stranger.lines(&format!("Q prepare {name} as select 1"));
    assert!(taken[0].contains("42P05"), "{taken:?}");
    stranger.lines(&format!("C S {name}\nS"));
    assert_eq!(row(&victim.lines(&execute("s", ""))), "y");
}
