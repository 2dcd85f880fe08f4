//! Text, rows and bytes that the gate could take for something else than the server.

use std::time::Duration;

use super::{RULES, SETUP, Stage, scene};
use crate::support::database::{OWNER, fresh_database};
use crate::support::gate::Gate;
use crate::support::raw::Raw;

#[test]
fn every_line_of_a_copy_is_a_row() {
    let stage = Stage::new();
    for copy in [
        "copy (select substr(v, 1, 1) from t) to stdout",
        "copy (select substr(v, 1, 1) from t) to stdout csv",
        "copy (select id from t where id < 10) to stdout",
    ] {
        for script in [format!("Q {copy}"), format!("P - {copy}\nB - -\nE -\nS")] {
            stage.play(&script, |mode, lines, _| {
                let rows = lines
                    .iter()
                    .filter(|line| line.starts_with("CopyData"))
                    .count();
                assert!(rows <= 5, "{mode}: {rows} rows\n{script}\n{lines:#?}");
                assert!(
                    lines.iter().any(|line| line.contains("54000")),
                    "{mode}\n{lines:#?}"
                );
            });
        }
    }
    // The end of a binary COPY is none.
    stage.play(
        "Q copy (select id from t where id < 6) to stdout (format binary)",
        |mode, lines, _| {
            assert!(
                lines.iter().any(|line| line.contains("COPY 5")),
                "{mode}\n{lines:#?}"
            );
        },
    );
}

#[test]
fn links_whose_logins_found_different_settings_are_not_taken_for_the_same() {
    let Some(database) = fresh_database() else {
        return;
    };
    database.prepare(SETUP);
    let pool = "mode = \"transaction\", max = 2";
    let gate = Gate::start_pooled(&database, pool, RULES, |_| {});
    let mut holder = gate.connect();
    let name = &database.name;
    for (set, attack) in [
        (
            "standard_conforming_strings = off",
            r"select 'x\''||'' , * from t --'",
        ),
        ("search_path = s, public", "select * from n"),
    ] {
        holder.lines(&format!(
            "Q alter role {OWNER} in database {name} set {set}"
        ));
        // The old link is held, so that the next client gets a new one.
        holder.lines("Q begin");
        let mut client = gate.connect();
        let few = |lines: Vec<String>| {
            let came = lines.iter().filter(|line| line.contains("secret")).count();
            assert!(came <= 5, "{set}: {came} rows came\n{lines:#?}");
        };
        few(client.lines(&format!("Q {attack}")));
        holder.lines("Q commit");
        let mut both = [gate.connect(), gate.connect()];
        for client in &mut both {
            client.lines("Q begin");
            few(client.lines(&format!("Q {attack}")));
        }
        drop(both);
        holder.lines(&format!(
            "Q alter role {OWNER} in database {name} reset all"
        ));
    }
}

#[test]
fn text_is_read_alike_in_a_pipeline_that_changes_how() {
    let stage = Stage::new();
    let off = r"select 'x\''||'' , * from t --'";
    let on = r"select 'a\', * from t --'";
    let step = |text: &str| format!("P - {text}\nB - -\nE -");
    let flip = "create function flip() returns int language plpgsql as $$begin perform set_config('standard_conforming_strings', 'off', false); return 1; end$$";
    for set in [
        "set standard_conforming_strings = off",
        "select set_config('standard_conforming_strings', 'off', false)",
        "select flip()",
        "do $$begin perform flip(); end$$",
    ] {
        let start = format!("Q {flip}\n---\nQ select pg_sleep(0.3)\n---");
        stage.holds(&format!("{start}\n{}\n{}\nS", step(set), step(off)));
        stage.holds(&format!("{start}\n{}\nH\n{}\nS", step(set), step(off)));
        stage.holds(&format!("{start}\n{}\nQ {off}", step(set)));
    }
    for (set, back) in [
        ("set local standard_conforming_strings = off", "commit"),
        ("set standard_conforming_strings = off", "rollback"),
        ("set standard_conforming_strings = off", "reset all"),
        (
            "set standard_conforming_strings = off",
            "reset standard_conforming_strings",
        ),
        (
            "savepoint a\nQ set standard_conforming_strings = off",
            "rollback to a",
        ),
        (
            "set standard_conforming_strings = off\nQ commit",
            "discard all",
        ),
    ] {
        stage.holds(&format!(
            "Q begin\nQ {set}\n---\n{}\n{}\nS",
            step(back),
            step(on)
        ));
    }
    // What cannot be read in two ways goes on, and so does everything behind the Sync.
    stage.play(
        &format!(
            "{}\n{}\nS\n---\nP - select 'caf\u{e9}'\nB - -\nE -\nS",
            step("set standard_conforming_strings = on"),
            step("select 'plain'")
        ),
        |mode, lines, _| {
            for expected in ["plain", "caf\u{e9}"] {
                assert!(
                    lines.iter().any(|line| line.contains(expected)),
                    "{mode}\n{lines:#?}"
                );
            }
        },
    );
}

#[test]
fn a_table_named_in_a_string_is_found_however_it_is_written() {
    let stage = Stage::new();
    for name in ["t", " t ", "T", "public . t", "\"t\"", "public.t"] {
        let run = format!(
            "select * from (select unnest(xpath('//v/text()', table_to_xml('{name}', true, false, '')))::text) x"
        );
        stage.play(&format!("Q {run}"), |mode, lines, _| {
            let came = lines.iter().filter(|line| line.contains("secret")).count();
            assert!(came <= 5, "{mode}: {came} rows came\n{run}\n{lines:#?}");
        });
    }
}

#[test]
fn who_does_not_read_does_not_fill_the_gate() {
    let Some((_database, gate)) = scene("transaction") else {
        return;
    };
    let mut client: Raw = gate.connect();
    client.lines("Q select 1");
    let before = gate.resident();
    let close = crate::support::script::message(b'C', b"Snope\0");
    let block = close.repeat(64 * 1024 / close.len());
    let sender = std::thread::spawn(move || {
        let mut sent = 0;
        while sent < 400 << 20 && client.try_send(&block) {
            sent += block.len();
        }
        sent >> 20
    });
    std::thread::sleep(Duration::from_secs(4));
    let grown = gate.resident().saturating_sub(before);
    drop(gate);
    let sent = sender.join().expect("the client");
    assert!(grown < 40 << 10, "{grown} kB more after {sent} MB");
}
