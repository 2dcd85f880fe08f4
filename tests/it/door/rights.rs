//! `check --connect`: what servers let the gate do, found out before it is needed.

use std::process::Command;

use crate::support::database::{Database, fresh_database};

/// What `check --connect` says, and whether it is content.
fn check(database: &Database, rest: &str) -> (bool, String) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = format!(
        "[[database]]\nname = \"app\"\nbackend = \"{}\"\n{rest}",
        database.url()
    );
    std::fs::write(file.path(), text).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["check", "--connect"])
        .arg(file.path())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    (output.status.success(), said)
}

const USER: &str = "[[user]]\nname = \"ann\"\npassword = \"x\"\n";

#[test]
fn a_configuration_that_works_is_called_so() {
    let Some(database) = fresh_database() else {
        return;
    };
    let role = format!("worker_{}", database.name);
    let mut admin = database.admin();
    admin.rows(&format!("CREATE ROLE {role}; GRANT {role} TO app"));
    let rest = format!(
        "operator = {{ user = \"postgres\" }}\nauth_query = {{ user = \"postgres\" }}\n\n{USER}server = {{ set_role = \"{role}\" }}\n"
    );
    let (content, said) = check(&database, &rest);
    assert!(content && !said.contains("cannot"), "{said}");
}

#[test]
fn every_login_that_does_not_work_is_named() {
    let Some(database) = fresh_database() else {
        return;
    };
    let role = format!("other_{}", database.name);
    database.admin().rows(&format!("CREATE ROLE {role}"));
    let wrong = "server = { user = \"scram_login\", password = \"wrong\" }\n";
    let rest = format!(
        "operator = {{ user = \"nobody_at_all\" }}\nauth_query = {{ user = \"app\" }}\n\n\
         {USER}{wrong}\n[[user]]\nname = \"bob\"\npassword = \"x\"\nserver = {{ set_role = \"{role}\" }}\n"
    );
    let (content, said) = check(&database, &rest);
    assert!(!content, "{said}");
    for expected in [
        "`nobody_at_all` (the operator) cannot log in",
        "`scram_login` (the server user of `ann`) cannot log in",
        &format!("cannot take the role `{role}`"),
        &format!("GRANT \"{role}\" TO \"app\""),
        "`app` cannot look users up",
        "pg_authid",
    ] {
        assert!(said.contains(expected), "{expected}\nin:\n{said}");
    }
    assert!(!said.contains("wrong"), "{said}");
}

#[test]
fn rights_that_are_missing_are_named() {
    let Some(database) = fresh_database() else {
        return;
    };
    let mut admin = database.admin();
    admin.rows("REVOKE SELECT ON pg_catalog.pg_rewrite FROM PUBLIC");
    admin.rows(&format!(
        "ALTER ROLE app IN DATABASE {} SET track_counts = off",
        database.name
    ));
    let (content, said) = check(&database, USER);
    assert!(said.contains("cannot read pg_rewrite"), "{said}");
    assert!(said.contains("track_counts off"), "{said}");
    assert!(!content);
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let Some(database) = fresh_database() else {
        return;
    };
    let second = "\n[[database]]\nname = \"gone\"\nbackend = \"postgres://app@127.0.0.1:1/x\"\n\n";
    let (content, said) = check(&database, &format!("{second}{USER}"));
    assert!(!content && said.contains("database `gone`"), "{said}");
}
