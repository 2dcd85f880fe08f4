//! Users that only the server knows: looked up, and what they prove passed on.

use std::time::{Duration, Instant};

use crate::support::answer::Answer;
use crate::support::database::{Database, fresh_database};
use crate::support::gate::{DATABASE, Gate};
use crate::support::raw::{Login, Raw};

const ASK: &str = "[auth_query]\nuser = \"postgres\"\n";

fn gate(database: &Database, pool: &str, rules: &str) -> Gate {
    let head = format!(
        "[[database]]\nname = \"{DATABASE}\"\nbackend = \"{}\"\npool = {{ {pool} }}\n\n",
        database.url()
    );
    Gate::start_with(&head, rules)
}

/// A role of its own for a test; the server asks for its password, by SCRAM.
fn role(database: &Database, name: &str, options: &str) -> String {
    let name = format!("{name}_{}", database.name);
    database.admin().rows(&format!(
        "SET password_encryption = 'scram-sha-256';
         CREATE ROLE {name} LOGIN PASSWORD 'first' IN ROLE needs_scram {options}"
    ));
    name
}

fn login(gate: &Gate, user: &str, password: &str) -> Result<Raw, Answer> {
    Raw::try_login(gate.address, &Login::new(user, DATABASE).password(password))
}

/// Tries until it works; a change on the server is noticed within seconds.
fn soon(gate: &Gate, user: &str, password: &str) -> Raw {
    let begun = Instant::now();
    loop {
        match login(gate, user, password) {
            Ok(client) => return client,
            Err(error) if begun.elapsed() > Duration::from_secs(8) => panic!("{}", error.line()),
            Err(_) => std::thread::sleep(Duration::from_millis(300)),
        }
    }
}

/// Ends the gate's connections as this user.
fn cut(database: &Database, user: &str) {
    let mut admin = database.admin();
    admin.rows(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'"
    ));
    let left = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{user}'");
    while admin.value(&left) != "0" {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_user_of_the_server_comes_in_and_acts_as_itself() {
    let Some(database) = fresh_database() else {
        return;
    };
    let ann = role(&database, "ann", "");
    for pool in ["mode = \"session\"", "mode = \"transaction\""] {
        let gate = gate(&database, pool, ASK);
        let mut client = login(&gate, &ann, "first").unwrap_or_else(|e| panic!("{}", e.line()));
        assert_eq!(client.value("SELECT session_user"), ann, "{pool}");
        let mut md5 = login(&gate, "md5_login", "secret of md5_login").expect("md5");
        assert_eq!(md5.asked[0], 5);
        assert_eq!(md5.value("SELECT session_user"), "md5_login");
        let wrong = login(&gate, &ann, "wrong").err().expect("refused");
        let nobody = login(&gate, "nobody", "wrong").err().expect("refused");
        assert_eq!(nobody.line().replace("nobody", &ann), wrong.line());
    }
}

#[test]
fn looked_up_users_can_act_as_the_configured_one() {
    let Some(database) = fresh_database() else {
        return;
    };
    let ann = role(&database, "ann", "");
    let gate = gate(&database, "max = 4", &format!("{ASK}act_as = \"server\"\n"));
    let mut client = login(&gate, &ann, "first").expect("ann");
    assert_eq!(client.value("SELECT session_user"), "app");
}

#[test]
fn who_cannot_log_in_to_the_server_cannot_log_in_to_the_gate() {
    let Some(database) = fresh_database() else {
        return;
    };
    let expired = role(&database, "expired", "VALID UNTIL '2020-01-01'");
    let still = role(&database, "still", "VALID UNTIL '2999-01-01'");
    let nologin = role(&database, "nologin", "");
    let without = role(&database, "without", "");
    let mut admin = database.admin();
    admin.rows(&format!(
        "ALTER ROLE {without} PASSWORD NULL; ALTER ROLE {nologin} NOLOGIN"
    ));
    let gate = gate(&database, "max = 4", ASK);
    assert!(login(&gate, &still, "first").is_ok());
    for user in [&expired, &nologin, &without] {
        for password in ["first", ""] {
            let refused = login(&gate, user, password).err().expect(user);
            assert_eq!(refused.code(), "28P01", "{}", refused.line());
        }
    }
    let long = "x".repeat(200);
    assert_eq!(
        login(&gate, &long, "x").err().expect("refused").code(),
        "28P01"
    );
    let quoted = "'; DROP TABLE x; --";
    assert_eq!(
        login(&gate, quoted, "x").err().expect("refused").code(),
        "28P01"
    );
}

#[test]
fn what_was_proven_opens_new_connections_also_after_a_reload() {
    let Some(database) = fresh_database() else {
        return;
    };
    let ann = role(&database, "ann", "");
    let gate = gate(&database, "mode = \"transaction\"", ASK);
    let mut client = login(&gate, &ann, "first").expect("ann");
    for round in 0..3 {
        let backend = client.value("SELECT pg_backend_pid()");
        cut(&database, &ann);
        if round == 1 {
            gate.edit("[auth_query]", "# changed\n[auth_query]");
            gate.wait_for_log(&["reload done"]);
        }
        let next = client.value("SELECT pg_backend_pid()");
        assert_ne!(next, backend, "another connection, the same client");
    }
    assert!(!gate.log().contains("first"));
}

#[test]
fn a_new_password_replaces_what_was_known() {
    let Some(database) = fresh_database() else {
        return;
    };
    let ann = role(&database, "ann", "");
    let gate = gate(
        &database,
        "mode = \"transaction\"",
        &format!("{ASK}cache = \"1h\"\n[limits]\nlogins_failed_max = 0\n"),
    );
    let mut client = login(&gate, &ann, "first").expect("ann");
    client.value("SELECT 1");
    let mut admin = database.admin();
    admin.rows(&format!(
        "SET password_encryption = 'scram-sha-256'; ALTER ROLE {ann} PASSWORD 'second'"
    ));
    // Remembered for an hour; asked again because somebody was wrong.
    let mut again = soon(&gate, &ann, "second");
    assert_eq!(again.value("SELECT session_user"), ann);
    assert_eq!(
        login(&gate, &ann, "first").err().expect("refused").code(),
        "28P01"
    );
    // New connections are opened with what the new login has shown.
    cut(&database, &ann);
    assert_eq!(client.value("SELECT session_user"), ann);
    assert_eq!(again.value("SELECT session_user"), ann);
}

#[test]
fn the_query_runs_in_a_world_that_clients_cannot_touch() {
    let Some(database) = fresh_database() else {
        return;
    };
    let ann = role(&database, "ann", "");
    let mut admin = database.admin();
    let verifier = admin.value(&format!(
        "SELECT rolpassword FROM pg_authid WHERE rolname = '{ann}'"
    ));
    admin.rows("CREATE SCHEMA evil; CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz'");
    let query = format!(
        "SELECT $1, CASE WHEN current_setting('search_path') = 'pg_catalog' \
         AND current_setting('application_name') = 'portcullis' \
         AND current_setting('work_mem') = '4MB' \
         AND now() IS NOT NULL AND current_user = 'postgres' THEN '{verifier}' END"
    );
    let rules = format!("{ASK}act_as = \"server\"\nquery = \"{query}\"\n");
    let gate = gate(&database, "max = 4", &rules);
    let hostile = Login::new(&ann, DATABASE)
        .password("first")
        .parameter("search_path", "evil, pg_catalog")
        .parameter("application_name", "evil")
        .parameter("options", "-c search_path=evil,pg_catalog -c work_mem=64kB");
    let mut client = Raw::try_login(gate.address, &hostile).expect("a login");
    assert_eq!(
        client.value("SHOW work_mem"),
        "64kB",
        "its own session is its own"
    );
}

#[test]
fn many_who_ask_for_one_name_are_one_question() {
    let Some(database) = fresh_database() else {
        return;
    };
    let ann = role(&database, "ann", "");
    let query = "SELECT rolname, rolpassword FROM pg_authid, pg_sleep(1) WHERE rolname = $1";
    let rules = format!("{ASK}act_as = \"server\"\nquery = \"{query}\"\n");
    let gate = gate(&database, "max = 10", &rules);
    let begun = Instant::now();
    let clients: Vec<_> = (0..10)
        .map(|_| {
            let (address, ann) = (gate.address, ann.clone());
            std::thread::spawn(move || {
                let login = Login::new(&ann, DATABASE).password("first");
                Raw::try_login(address, &login).is_ok()
            })
        })
        .collect();
    for client in clients {
        assert!(client.join().expect("a client"));
    }
    assert!(
        begun.elapsed() < Duration::from_millis(4500),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_server_that_cannot_be_asked_refuses_soon_and_tells_nothing() {
    let Some(database) = fresh_database() else {
        return;
    };
    let configured = "[[user]]\nname = \"known\"\npassword = \"x\"\n";
    let slow = "query = \"SELECT $1, 'x' FROM pg_sleep(30)\"\ntimeout = \"1s\"\n";
    let broken = "query = \"SELECT $1, 'x' FROM secret_table\"\n";
    for (more, told) in [(slow, "took too long"), (broken, "secret_table")] {
        let gate = gate(&database, "max = 4", &format!("{ASK}{more}{configured}"));
        let begun = Instant::now();
        let refused = login(&gate, "somebody", "x").err().expect("refused");
        assert_eq!(refused.code(), "57P03", "{}", refused.line());
        assert!(!refused.line().contains("secret"), "{}", refused.line());
        assert!(begun.elapsed() < Duration::from_secs(5));
        gate.wait_for_log(&["users cannot be looked up", told]);
        assert!(
            login(&gate, "known", "x").is_ok(),
            "those in the file do not depend on it"
        );
    }
}

#[test]
fn a_verifier_in_the_file_is_enough_to_log_in_to_the_server_too() {
    let Some(database) = fresh_database() else {
        return;
    };
    let ann = role(&database, "ann", "");
    let stored = |role: &str| {
        let query = format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{role}'");
        database.admin().value(&query)
    };
    let user = |name: &str| {
        format!(
            "[[user]]\nname = \"{name}\"\npassword = \"{}\"\nserver = {{ user = \"{name}\" }}\n\n",
            stored(name)
        )
    };
    let users = user(&ann) + &user("md5_login");
    let gate = gate(&database, "mode = \"transaction\"", &users);
    let mut client = login(&gate, &ann, "first").expect("ann");
    assert_eq!(client.value("SELECT session_user"), ann);
    let mut hashed = login(&gate, "md5_login", "secret of md5_login").expect("md5");
    assert_eq!(hashed.value("SELECT session_user"), "md5_login");
    gate.edit("mode = ", "max = 7, mode = ");
    gate.wait_for_log(&["reload done"]);
    cut(&database, &ann);
    assert_eq!(client.value("SELECT session_user"), ann);
}

#[test]
fn nobody_becomes_an_operator_of_the_gate_by_a_role_of_the_server() {
    let Some(database) = fresh_database() else {
        return;
    };
    let ann = role(&database, "ann", "");
    let head = format!(
        "[[database]]\nname = \"*\"\nbackend = \"{}\"\n\n\
         [[user]]\nname = \"own\"\npassword = \"x\"\n\n{ASK}\n\
         [console]\nadmins = [\"own\", \"{ann}\"]\n",
        database.url()
    );
    let gate = Gate::start_with(&head, "");
    let come = |user: &str, password: &str, wanted: &str| {
        let login = Login::new(user, wanted).password(password);
        Raw::try_login(gate.address, &login).map_err(|error| error.code().to_owned())
    };
    assert!(come("own", "x", "pgbouncer").is_ok());
    assert!(come(&ann, "first", &database.name).is_ok());
    assert_eq!(
        come(&ann, "first", "pgbouncer").err(),
        Some("28P01".to_owned())
    );
}

#[test]
fn a_user_of_the_file_is_never_looked_up() {
    let Some(database) = fresh_database() else {
        return;
    };
    let ann = role(&database, "ann", "");
    let own = format!("[[user]]\nname = \"{ann}\"\npassword = \"of the file\"\n");
    let gate = gate(&database, "max = 4", &format!("{ASK}{own}"));
    assert!(login(&gate, &ann, "of the file").is_ok());
    assert!(login(&gate, &ann, "first").is_err());
}
