//! Databases by the names that clients use, and what clients ask for besides.

use std::time::{Duration, Instant};

use crate::support::answer::Answer;
use crate::support::database::{Database, OWNER, fresh_database};
use crate::support::gate::{DATABASE, Gate};
use crate::support::raw::{Login, Raw};

const OWNERS: &str = "[[user]]\nname = \"app\"\nauth = \"trust\"\n\n";

fn gate(database: &Database, name: &str, more: &str, rules: &str) -> Gate {
    let head = format!(
        "[[database]]\nname = \"{name}\"\nbackend = \"{}\"\n{more}\n\n{OWNERS}",
        database.url()
    );
    Gate::start_with(&head, rules)
}

fn login(gate: &Gate, database: &str) -> Result<Raw, Answer> {
    Raw::try_login(gate.address, &Login::new(OWNER, database))
}

#[test]
fn a_database_answers_to_all_its_names_and_rules_know_it_by_the_first() {
    let Some(database) = fresh_database() else {
        return;
    };
    let users = "[[auth]]\nmethod = \"reject\"\ndatabases = [\"app\"]\naddresses = [\"127.0.0.2\"]\n\n\
                 [[auth]]\nmethod = \"trust\"\n";
    let head = format!(
        "[[database]]\nname = \"app\"\nbackend = \"{}\"\naliases = [\"old\", \"older\"]\n\n\
         [[user]]\nname = \"app\"\n\n[[user]]\nname = \"few\"\ndatabases = [\"old\"]\n\n",
        database.url()
    );
    let gate = Gate::start_with(&head, users);
    for name in ["app", "old", "older"] {
        let mut client = login(&gate, name).expect(name);
        assert_eq!(client.value("SELECT current_database()"), database.name);
        let walking = Raw::open_from("127.0.0.2:0", gate.address);
        let refused = walking
            .start(&Login::new(OWNER, name))
            .err()
            .expect("refused");
        assert!(
            refused.line().contains("rejects connection"),
            "{}",
            refused.line()
        );
    }
    assert!(Raw::try_login(gate.address, &Login::new("few", "app")).is_ok());
    let nothing = login(&gate, "oldest").err().expect("refused");
    assert_eq!(nothing.code(), "3D000");
}

#[test]
fn a_wildcard_stands_for_every_database_of_its_server() {
    let (Some(first), Some(second)) = (fresh_database(), fresh_database()) else {
        return;
    };
    let pool = "pool = { mode = \"transaction\", idle_timeout = \"1s\" }";
    let rules = "[limits]\ndatabases_max = 2\n\n[log]\nlevel = \"info\"\n";
    let gate = gate(&first, "*", pool, rules);
    let mut one = login(&gate, &first.name).expect("the first");
    let mut two = login(&gate, &second.name).expect("the second");
    assert_eq!(one.value("SELECT current_database()"), first.name);
    assert_eq!(two.value("SELECT current_database()"), second.name);
    assert_eq!(one.value("SELECT current_database()"), first.name);
    let full = login(&gate, "postgres").err().expect("refused");
    assert_eq!(full.code(), "53300", "{}", full.line());
    drop(two);
    // What nobody uses makes room, and is closed when it was idle.
    let begun = Instant::now();
    let mut third = loop {
        match login(&gate, "postgres") {
            Ok(client) => break client,
            Err(error) if begun.elapsed() > Duration::from_secs(15) => panic!("{}", error.line()),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    };
    assert_eq!(third.value("SELECT current_database()"), "postgres");
    drop(third);
    gate.wait_for_log(&["nobody uses the database", "postgres"]);
    assert_eq!(one.value("SELECT 1"), "1");
    let missing = login(&gate, "no such database").err().expect("refused");
    assert_eq!(missing.code(), "3D000", "{}", missing.line());
    assert_eq!(
        missing.field(b'M'),
        "database \"no such database\" does not exist"
    );
    let cut = format!("{}{}", first.name, "x".repeat(60));
    assert_eq!(login(&gate, &cut).err().expect("refused").code(), "3D000");
    assert_eq!(login(&gate, "*").err().expect("refused").code(), "3D000");
}

#[test]
fn a_name_that_is_written_out_comes_before_the_wildcard() {
    let (Some(first), Some(second)) = (fresh_database(), fresh_database()) else {
        return;
    };
    let other = format!(
        "[[database]]\nname = \"special\"\nbackend = \"{}\"\naliases = [\"{}\"]\n",
        second.url(),
        first.name
    );
    let gate = gate(&first, "*", &other, "");
    for name in ["special", &first.name] {
        let mut client = login(&gate, name).expect(name);
        assert_eq!(
            client.value("SELECT current_database()"),
            second.name,
            "{name}"
        );
    }
    gate.edit("name = \"*\"", "name = \"gone\"");
    gate.wait_for_log(&["reload done"]);
    assert_eq!(
        login(&gate, "postgres").err().expect("refused").code(),
        "3D000"
    );
}

#[test]
fn a_connect_query_runs_before_anybody_uses_a_connection() {
    let Some(database) = fresh_database() else {
        return;
    };
    let query = "connect_query = \"SET statement_timeout = '77s'; SELECT set_config('my.mark', 'made', false)\"";
    for mode in ["session", "transaction"] {
        let more = format!("{query}\npool = {{ mode = \"{mode}\" }}");
        let gate = gate(&database, DATABASE, &more, "");
        let mut client = login(&gate, DATABASE).expect("a login");
        assert_eq!(client.value("SHOW statement_timeout"), "77s", "{mode}");
        assert_eq!(client.value("SHOW my.mark"), "made", "{mode}");
    }
    for (broken, said) in [
        ("SELECT nonsense", "nonsense"),
        ("BEGIN", "cannot be reached"),
    ] {
        let more = format!("connect_query = \"{broken}\"");
        let gate = gate(&database, DATABASE, &more, "");
        let refused = login(&gate, DATABASE).err().expect("refused");
        assert!(refused.line().contains(said), "{}", refused.line());
    }
}

#[test]
fn parameters_that_are_to_be_overlooked_are_also_inside_options() {
    let Some(database) = fresh_database() else {
        return;
    };
    let ignore = "ignore_startup_parameters = [\"no_such_parameter\", \"work_mem\"]\n";
    for mode in ["session", "transaction"] {
        let head = format!(
            "[[database]]\nname = \"app\"\nbackend = \"{}\"\npool = {{ mode = \"{mode}\" }}\n\n{OWNERS}",
            database.url()
        );
        let gate = Gate::start_with(&head, "");
        let overlooked = |login: Login| Raw::try_login(gate.address, &login);
        let odd = Login::new(OWNER, "app").parameter("no_such_parameter", "1");
        let refused = overlooked(odd.clone())
            .err()
            .expect("the server does not know it");
        assert_eq!(refused.code(), "42704", "{mode}: {}", refused.line());
        gate.edit("state_dir", &format!("{ignore}state_dir"));
        gate.wait_for_log(&["reload done"]);
        assert!(overlooked(odd).is_ok(), "{mode}");
        let inside = Login::new(OWNER, "app").parameter(
            "options",
            "-c no-such-parameter=1 --Work-Mem=64kB -cstatement_timeout=7s",
        );
        let mut client = overlooked(inside).expect("a login");
        assert_eq!(client.value("SHOW work_mem"), "4MB", "{mode}");
        assert_eq!(client.value("SHOW statement_timeout"), "7s", "{mode}");
    }
}

#[test]
fn options_mean_what_they_mean_to_the_server() {
    let Some(database) = fresh_database() else {
        return;
    };
    let show = "SELECT string_agg(current_setting(n), '|') FROM unnest(ARRAY['work_mem', \
                'search_path', 'application_name', 'statement_timeout', 'role']) n";
    let answer = |address, database: &str, options: &str| {
        let login = Login::new(OWNER, database)
            .parameter("options", options)
            .parameter("statement_timeout", "3s");
        match Raw::try_login(address, &login) {
            Ok(mut client) => client.value(show),
            Err(error) => format!("{} {}", error.code(), error.field(b'M')),
        }
    };
    for mode in ["session", "transaction"] {
        let more = format!("pool = {{ mode = \"{mode}\" }}");
        let gate = gate(&database, DATABASE, &more, "");
        for options in [
            "",
            " ",
            "-c work_mem=1MB",
            "-cwork_mem=1MB",
            "--work_mem=1MB",
            "--work-mem=1MB",
            "-c search_path=a\\ b,c",
            "-c application_name=x\\\\y",
            "-c application_name='x",
            "-c application_name=a+b%20c",
            "-c application_name=",
            "-c statement_timeout=9s",
            "-c application_name=1\\ -c\\ role=postgres",
            "-c work_mem=1MB\x0b--search_path=q",
            "-c work_mem=1MB -c work_mem=2MB",
            "-c",
            "-c work_mem",
            "--work_mem",
            "-S 128",
            "-W nothing",
            "-c role=nobody_at_all",
            "-c no_such=1",
            "work_mem=1MB",
        ] {
            let theirs = answer(database.address, &database.name, options);
            assert_eq!(
                answer(gate.address, DATABASE, options),
                theirs,
                "{mode}: {options:?}"
            );
        }
    }
}
