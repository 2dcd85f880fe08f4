//! `[[auth]]`: the first rule that fits decides.

use std::path::Path;

use crate::support::certificates::{Authority, write};
use crate::support::database::{Database, fresh_database};
use crate::support::gate::{DATABASE, Gate};
use crate::support::raw::{Login, Raw};
use crate::support::wire::Encryption;

const CLEAR: i32 = 3;
const MD5: i32 = 5;
const SASL: i32 = 10;

const USERS: &str = "[[user]]\nname = \"ann\"\npassword = \"open sesame\"\n\n\
                     [[user]]\nname = \"bob\"\n\n\
                     [[user]]\nname = \"gated\"\npassword = \"x\"\nallow = [\"10.0.0.0/8\"]\n\n";

fn gate(database: &Database, listen: &str, rules: &str) -> Gate {
    let head = format!(
        "{listen}\n[[database]]\nname = \"{DATABASE}\"\nbackend = \"{0}\"\n\n\
         [[database]]\nname = \"other\"\nbackend = \"{0}\"\n\n{USERS}",
        database.url()
    );
    Gate::start_with(&head, rules)
}

fn rule(text: &str) -> String {
    format!("[[auth]]\n{}\n\n", text.replace("; ", "\n"))
}

fn login(gate: &Gate, source: &str, user: &str, database: &str) -> Result<Raw, String> {
    let login = Login::new(user, database).password("open sesame");
    let client = Raw::open_from(source, gate.address);
    client.start(&login).map_err(|error| error.line())
}

const HERE: &str = "127.0.0.1:0";
const THERE: &str = "127.0.0.2:0";

#[test]
fn the_first_rule_that_fits_decides() {
    let Some(database) = fresh_database() else {
        return;
    };
    let rules = [
        "method = \"reject\"; addresses = [\"127.0.0.3\"]",
        "method = \"trust\"; users = [\"b*\"]; addresses = [\"127.0.0.1\"]",
        "method = \"md5\"; databases = [\"other\"]; addresses = [\"127.0.0.0/8\"]",
        "method = \"scram-sha-256\"; users = [\"ann\", \"gated\"]",
    ];
    let gate = gate(&database, "", &rules.map(rule).concat());
    let asked = |source, user, database| {
        let client = login(&gate, source, user, database);
        client.map(|client| client.asked[0])
    };
    assert_eq!(asked(HERE, "bob", DATABASE), Ok(0), "trusted");
    assert_eq!(asked(HERE, "ann", DATABASE), Ok(SASL));
    assert_eq!(asked(THERE, "ann", "other"), Ok(MD5));
    let rejected = asked("127.0.0.3:0", "ann", DATABASE).unwrap_err();
    assert!(
        rejected.contains("pg_hba.conf rejects connection"),
        "{rejected}"
    );
    // No rule is about bob from there.
    let nothing = asked(THERE, "bob", DATABASE).unwrap_err();
    assert!(nothing.contains("no pg_hba.conf entry"), "{nothing}");
    // A rule asks bob for a password, and there is none that would be right.
    let without = asked(THERE, "bob", "other").unwrap_err();
    assert!(without.contains("28P01"), "{without}");
    // What the user itself demands holds under every rule.
    let gated = asked(HERE, "gated", DATABASE).unwrap_err();
    assert!(gated.contains("28P01"), "{gated}");
}

#[test]
fn nobody_comes_in_without_a_rule_and_is_told_in_the_servers_words() {
    let Some(database) = fresh_database() else {
        return;
    };
    let gate = gate(
        &database,
        "",
        &rule("method = \"trust\"; users = [\"nobody else\"]"),
    );
    let refused = |address, user: &str, wanted: &str| {
        let login = Login::new(user, wanted).password("x");
        let client = Raw::open_from(THERE, address);
        client.start(&login).err().expect("refused")
    };
    // The server's own rules know 127.0.0.1 alone.
    let theirs = refused(database.address, "ann", "app");
    let ours = refused(gate.address, "ann", "app");
    assert_eq!(ours.line(), theirs.line());
    assert_eq!(ours.field(b'C'), "28000");
    assert_eq!(ours.field(b'S'), "FATAL");
}

#[test]
fn an_unknown_name_is_not_let_in_by_trust() {
    let Some(database) = fresh_database() else {
        return;
    };
    let gate = gate(&database, "", &rule("method = \"trust\""));
    assert!(login(&gate, HERE, "bob", DATABASE).is_ok());
    let refused = login(&gate, HERE, "mallory", DATABASE)
        .err()
        .expect("refused");
    assert!(
        refused.contains("28000 role \"mallory\" does not exist"),
        "{refused}"
    );
    let gated = login(&gate, HERE, "gated", DATABASE)
        .err()
        .expect("refused");
    assert_eq!(gated.replace("gated", "mallory"), refused);
}

/// A door with TLS, and clients with a certificate for this name.
fn encrypted(folder: &Path) -> (String, Authority) {
    let authority = Authority::new("authority of the rules");
    authority
        .issue("gate", &["127.0.0.1"])
        .write(folder, "gate");
    write(folder, "ca.crt", &authority.pem());
    let folder = folder.display();
    let tls = format!(
        "tls = {{ certificate = \"{folder}/gate.crt\", key = \"{folder}/gate.key\", \
         client_ca = \"{folder}/ca.crt\", mode = \"optional\" }}"
    );
    (tls, authority)
}

#[test]
fn rules_tell_encrypted_connections_apart() {
    let Some(database) = fresh_database() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (tls, authority) = encrypted(folder.path());
    let rules = [
        "method = \"cert\"; users = [\"bob\"]; tls = \"required\"",
        "method = \"password\"; tls = \"required\"",
        "method = \"scram-sha-256\"; tls = \"off\"",
    ];
    let gate = gate(&database, &tls, &rules.map(rule).concat());
    let bobs = authority.issue("bob", &[]);
    let open = |certificate| {
        let encryption = Encryption::new(&authority, certificate, true);
        Raw::open_encrypted(gate.address, &encryption).expect("a handshake")
    };
    let ann = Login::new("ann", DATABASE).password("open sesame");
    let client = open(None).start(&ann).expect("ann");
    assert_eq!(
        client.asked[0], CLEAR,
        "the password itself, but in private"
    );
    let wrong = open(None).start(&ann.clone().password("Open sesame"));
    assert_eq!(wrong.err().expect("refused").code(), "28P01");
    let client = Raw::try_login(gate.address, &ann).expect("ann in the clear");
    assert_eq!(client.asked[0], SASL);

    let bob = Login::new("bob", DATABASE).password("x");
    assert!(open(Some(&bobs)).start(&bob).is_ok());
    let without = open(None).start(&bob).err().expect("refused");
    assert_eq!(without.code(), "28000", "{}", without.line());
    let other = authority.issue("ann", &[]);
    let another = open(Some(&other)).start(&bob).err().expect("refused");
    assert!(another.line().contains("certificate authentication failed"));
    let plain = Raw::try_login(gate.address, &bob).err().expect("refused");
    assert_eq!(plain.code(), "28P01", "no certificate in the clear");
}

#[test]
fn local_rules_are_about_unix_sockets() {
    let Some(database) = fresh_database() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let door = format!(
        "\n[[listen]]\naddress = \"unix:{}:6432\"\n",
        folder.path().display()
    );
    let rules = [
        "method = \"password\"; addresses = [\"local\"]; users = [\"ann\"]",
        "method = \"scram-sha-256\"; addresses = [\"0.0.0.0/0\"]",
    ];
    let gate = gate(&database, &door, &rules.map(rule).concat());
    let socket = folder.path().join(".s.PGSQL.6432");
    let ann = Login::new("ann", DATABASE).password("open sesame");
    let client = Raw::open_unix(&socket).start(&ann).expect("ann");
    assert_eq!(client.asked[0], CLEAR);
    let bob = Raw::open_unix(&socket).start(&Login::new("bob", DATABASE));
    assert_eq!(
        bob.err().expect("refused").field(b'M'),
        "no pg_hba.conf entry for host \"[local]\", user \"bob\", database \"app\", no encryption"
    );
    assert_eq!(Raw::login(gate.address, &ann).asked[0], SASL);
}

#[test]
fn rules_are_reloaded_and_those_that_cannot_work_are_refused() {
    let Some(database) = fresh_database() else {
        return;
    };
    let gate = gate(&database, "", &rule("method = \"trust\""));
    let mut bob = login(&gate, HERE, "bob", DATABASE).expect("trusted");
    gate.rewrite(&rule("method = \"reject\""));
    gate.wait_for_log(&["reload done"]);
    assert!(login(&gate, HERE, "bob", DATABASE).is_err());
    assert_eq!(bob.value("SELECT 'still here'"), "still here");
    for (text, complaint) in [
        ("method = \"password\"", "in the clear"),
        ("method = \"cert\"; tls = \"off\"", "without encryption"),
        ("method = \"peer\"", "Unix socket"),
        (
            "method = \"trust\"; addresses = [\"10.1.2.3/8\"]",
            "names a host",
        ),
        ("users = [\"ann\"]", "`method` is missing"),
        ("method = \"thrust\"", "did you mean"),
    ] {
        gate.rewrite(&rule(text));
        gate.wait_for_log(&["reload failed", complaint]);
    }
    gate.rewrite(&(rule("method = \"trust\"") + "[[user]]\nname = \"x\"\nauth = \"trust\"\n"));
    gate.wait_for_log(&["reload failed", "stands in the rules"]);
}
