//! Names that come to lead elsewhere while statements are judged.

use super::{Stage, uses};

#[test]
fn a_definition_counts_for_what_follows_in_the_same_string_and_pipeline() {
    let stage = Stage::new();
    for (define, name) in [
        ("create temp view n as select * from t", "n"),
        ("create or replace view vw as select id, v from t", "vw"),
        ("alter table n rename to nx; alter table t rename to n", "n"),
        ("alter table t inherit n", "n"),
        ("select swap()", "vw"),
        ("do $$begin perform swap(); end$$", "vw"),
        ("insert into fired values ('shade')", "n"),
        ("select * from v_lead", "n"),
    ] {
        let [read, change] = uses(name);
        stage.holds(&format!("Q {define}; {read}; {change}"));
        let steps: Vec<String> = define
            .split("; ")
            .filter(|_| !define.starts_with("do"))
            .map(|step| format!("P - {step}\nB - -\nE -"))
            .collect();
        let steps = steps.join("\n");
        stage.holds(&format!("{steps}\nP - {read}\nB - -\nE -\nS"));
        stage.holds(&format!("P x {change}\n{steps}\nB - x\nE -\nS"));
        stage.holds(&format!("P x {change}\nS\n---\n{steps}\nB - x\nE -\nS"));
    }
}

#[test]
fn a_definition_counts_for_what_follows_in_the_transaction_and_behind_it() {
    let stage = Stage::new();
    for (define, name) in [
        // Behind the transaction the table has another name, and no limit.
        (
            "alter table n rename to nx\nQ alter table t rename to n",
            "n",
        ),
        ("create or replace view vw as select id, v from t", "vw"),
        ("alter table t inherit n", "n"),
        (
            "create rule r as on insert to n do also update t set v = 'changed'",
            "n",
        ),
    ] {
        for used in uses(name) {
            stage.holds(&format!("Q begin\nQ {define}\nQ {used}\nQ commit"));
            if !define.contains("rename") {
                stage.holds(&format!("Q {define}\nQ {used}"));
            }
        }
        stage.holds(&format!(
            "Q begin\nQ {define}\nQ insert into n values (1, 'x')\nQ commit"
        ));
    }
}

#[test]
fn what_was_replaced_is_not_judged_by_what_it_was() {
    let stage = Stage::new();
    let change = "update t set v = 'changed' where id > 0";
    let [read, _] = uses("vw");
    for (before, define, run) in [
        (
            "create function fb() returns int language sql as 'select 1'",
            format!(
                "create or replace function fb() returns int language plpgsql as $$begin {change}; return 1; end$$"
            ),
            "select fb()",
        ),
        (
            "create function fb() returns trigger language plpgsql as $$begin return new; end$$",
            format!(
                "create or replace function fb() returns trigger language plpgsql as $$begin {change}; return new; end$$;create trigger fb before insert on n for each row execute function fb()"
            ),
            "insert into n values (1, 'x')",
        ),
        (
            "create function fb() returns trigger language plpgsql as $$begin return new; end$$",
            format!(
                "create or replace function fb() returns trigger language plpgsql as $$begin {change}; return new; end$$;create constraint trigger fb after insert on n deferrable initially deferred for each row execute function fb()"
            ),
            "insert into n values (1, 'x')",
        ),
        (
            "select 1",
            "create or replace view vw as select id, v from t".to_owned(),
            &*read,
        ),
    ] {
        let steps: Vec<&str> = define.split(";create").collect();
        let steps: Vec<String> = std::iter::once(steps[0].to_owned())
            .chain(steps[1..].iter().map(|step| format!("create{step}")))
            .collect();
        let one_by_one = steps
            .iter()
            .map(|step| format!("Q {step}\n"))
            .collect::<String>();
        let apart = steps
            .iter()
            .map(|step| format!("Q {step}\n---\n"))
            .collect::<String>();
        let pipelined = steps
            .iter()
            .map(|step| format!("P - {step}\nB - -\nE -\n"))
            .collect::<String>();
        let start = format!("Q {before}\n---\nQ select pg_sleep(0.3)\n---");
        stage.holds(&format!("{start}\n{one_by_one}Q {run}"));
        stage.holds(&format!("{start}\n{apart}Q {run}"));
        stage.holds(&format!("{start}\nQ begin\n{one_by_one}Q {run}\nQ commit"));
        stage.holds(&format!("{start}\n{pipelined}P - {run}\nB - -\nE -\nS"));
        stage.holds(&format!("{start}\nP x {run}\nS\n---\n{apart}B - x\nE -\nS"));
    }
}
