//! Limits hold whatever else is on its way.

use crate::limits::{Scene, every_way};

#[test]
fn a_commit_on_its_way_hides_nothing() {
    every_way("Q BEGIN\n---\nQ COMMIT\nQ {sql}");
    every_way("Q BEGIN\n---\nQ COMMIT\nP - {sql}\nB - -\nE -\nS");
}

#[test]
fn names_that_move_on_the_way_are_judged_as_what_they_become() {
    let Some(scene) = Scene::new() else { return };
    let prepare = "P x select 1\nS\n---\n";
    for script in [
        "Q DEALLOCATE x\nQ PREPARE x AS DELETE FROM users WHERE id <= 150\nQ EXECUTE x",
        "Q DEALLOCATE x\nQ PREPARE x AS DELETE FROM users WHERE id <= 150\nB - x\nE -\nS",
        "Q DEALLOCATE x; PREPARE x AS DELETE FROM users WHERE id <= 150; EXECUTE x",
        "P - DEALLOCATE x\nB - -\nE -\nP - PREPARE x AS DELETE FROM users WHERE id <= 150\nB - -\nE -\nB - x\nE -\nS",
    ] {
        scene
            .expect_refused(&format!("{prepare}{script}"))
            .unwrap_or_else(|why| panic!("{script}: {why}"));
    }
}

#[test]
fn a_pipeline_in_a_transaction_is_answered_to_its_end() {
    let Some(scene) = Scene::new() else { return };
    let mut client = scene.gate.connect();
    let lines = client.lines(
        "Q BEGIN\n---\nP u UPDATE users SET name = 'x' WHERE id = $1\nB - u 1\nE -\nB - u 2\nE -\nP - SELECT id FROM users WHERE id < 3\nB p -\nE p 1\nE p\nC P p\nS\n---\nQ COMMIT",
    );
    let done = lines
        .iter()
        .filter(|line| line.starts_with("CommandComplete UPDATE 1"));
    assert_eq!(done.count(), 2, "{lines:?}");
    assert_eq!(
        lines.last().map(String::as_str),
        Some("ReadyForQuery I"),
        "{lines:?}"
    );
}

#[test]
fn a_refused_string_holds_nothing_back() {
    let Some(scene) = Scene::new() else { return };
    let mut client = scene.gate.connect();
    let lines = client.lines("Q BEGIN; UPDATE users SET name = 'x' WHERE id = 1; COMMIT");
    assert!(lines[0].contains("ErrorResponse"), "{lines:?}");
    assert_eq!(client.value("SELECT 'answered'"), "answered");
    assert_eq!(client.value("SELECT count(*) FROM users WHERE id < 3"), "2");
}
