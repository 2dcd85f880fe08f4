//! Ways past a limit that somebody has found: through names that come to mean
//! something else, and through code that hides. The limit must hold in every one.

mod code;
mod definitions;
mod reading;

use std::time::Duration;

use crate::support::database::{Database, OWNER, fresh_database};
use crate::support::gate::Gate;

/// `t` has twenty rows: two may be changed, five returned. `n` is not limited.
const SETUP: &str = "
    CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'secret ' || i FROM generate_series(1, 20) i;
    CREATE TABLE n (id int, v text); INSERT INTO n SELECT i, 'n' FROM generate_series(1, 3) i;
    CREATE VIEW vw AS SELECT id, v FROM n;
    CREATE SCHEMA s; CREATE VIEW s.n AS SELECT id, v FROM public.t;
    CREATE FUNCTION swap() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
        EXECUTE 'CREATE OR REPLACE VIEW vw AS SELECT id, v FROM t'; RETURN 1; END $$;
    CREATE FUNCTION shade() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
        EXECUTE 'CREATE TEMP VIEW n AS SELECT id, v FROM t'; RETURN 1; END $$;
    CREATE FUNCTION lead() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
        PERFORM set_config('search_path', 's, public', false); RETURN 1; END $$;
    CREATE TABLE fired (what text);
    CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.what = 'swap' THEN PERFORM swap(); ELSIF NEW.what = 'shade' THEN PERFORM shade();
        ELSE PERFORM lead(); END IF; RETURN NEW; END $$;
    CREATE TRIGGER fire BEFORE INSERT ON fired FOR EACH ROW EXECUTE FUNCTION fire();
    CREATE VIEW v_swap AS SELECT swap(); CREATE VIEW v_shade AS SELECT shade(); CREATE VIEW v_lead AS SELECT lead();
";

/// What is not judged here stays out of the way.
const RULES: &str = "[table_limits]\nt = { changed = 2, returned = 5 }\n\n\
    [[policy]]\nname = \"require-where\"\nmode = \"off\"\n\n[[policy]]\nname = \"plan-guard\"\nmode = \"off\"\n";

/// Time in which the gate has looked at the catalog again, on a busy machine.
const LOOK: Duration = Duration::from_millis(250);

fn scene(mode: &str) -> Option<(Database, Gate)> {
    let database = fresh_database()?;
    database.prepare(SETUP);
    let pool = format!("mode = \"{mode}\", max = 1");
    let gate = Gate::start_pooled(&database, &pool, RULES, |_| {});
    Some((database, gate))
}

/// Databases behind gates in each mode, for one script after the other.
struct Stage(Vec<(&'static str, Database, Gate)>);

impl Stage {
    fn new() -> Stage {
        let modes = ["transaction", "session"];
        let scenes = modes.iter().filter_map(|mode| {
            let (database, gate) = scene(mode)?;
            Some((*mode, database, gate))
        });
        Stage(scenes.collect())
    }

    /// Plays a script in each mode, then looks at what came of it.
    fn play(&self, script: &str, check: impl Fn(&str, &[String], &Database) + Sync) {
        std::thread::scope(|scope| {
            for (mode, database, gate) in &self.0 {
                let check = &check;
                scope.spawn(move || {
                    let lines = gate.connect().lines(script);
                    check(mode, &lines, database);
                    again(database, gate);
                });
            }
        });
    }

    /// At most so many of `t` came, and at most so many were changed.
    fn holds(&self, script: &str) {
        self.play(script, |mode, lines, database| {
            let came = lines.iter().filter(|line| line.contains("secret")).count();
            assert!(came <= 5, "{mode}: {came} rows came\n{script}\n{lines:#?}");
            let count = "SELECT count(*) FROM t WHERE v = 'changed'";
            let changed = database.admin().value(count);
            assert!(
                changed.parse::<u32>().expect("a number") <= 2,
                "{mode}: {changed} rows changed\n{script}\n{lines:#?}"
            );
        });
    }
}

/// Everything as it was, and known to the gate.
fn again(database: &Database, gate: &Gate) {
    database.admin().lines(&format!(
        "Q drop schema public, s cascade\nQ create schema public authorization {OWNER}"
    ));
    database.prepare(SETUP);
    // What was done behind its back it finds by looking; a definition makes it look at once.
    let noted = gate.connect().lines("Q create view noted as select 1");
    assert!(
        noted.iter().any(|line| line.contains("CREATE VIEW")),
        "{noted:?}"
    );
    std::thread::sleep(LOOK);
}

/// Reading and changing what a name has come to lead to.
fn uses(name: &str) -> [String; 2] {
    [
        format!("select * from {name}"),
        format!("update {name} set v = 'changed' where id > 0"),
    ]
}
