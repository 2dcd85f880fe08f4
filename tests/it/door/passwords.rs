//! Passwords: how they are asked for, and what is kept of them.

use crate::support::database::{Database, fresh_database};
use crate::support::gate::{DATABASE, Gate};
use crate::support::raw::{Login, Raw};

const MD5: i32 = 5;
const SASL: i32 = 10;

/// What the server keeps of a password.
fn stored(database: &Database, role: &str, encryption: &str, password: &str) -> String {
    let mut admin = database.admin();
    admin.rows(&format!(
        "SET password_encryption = '{encryption}'; CREATE ROLE {role} PASSWORD '{password}'"
    ));
    let kept = admin.value(&format!(
        "SELECT rolpassword FROM pg_authid WHERE rolname = '{role}'"
    ));
    admin.rows(&format!("DROP ROLE {role}"));
    kept
}

fn gate(database: &Database, users: &str) -> Gate {
    let head = format!(
        "[[database]]\nname = \"{DATABASE}\"\nbackend = \"{}\"\n\n{users}",
        database.url()
    );
    Gate::start_with(&head, "")
}

fn user(name: &str, password: &str, auth: &str) -> String {
    format!("[[user]]\nname = \"{name}\"\npassword = \"{password}\"\n{auth}\n\n")
}

fn login(gate: &Gate, user: &str, password: &str) -> Result<Raw, String> {
    let login = Login::new(user, DATABASE).password(password);
    Raw::try_login(gate.address, &login).map_err(|error| error.line())
}

#[test]
fn md5_is_spoken_with_a_hash_and_with_a_password() {
    let Some(database) = fresh_database() else {
        return;
    };
    let hash = stored(&database, "hashed_here", "md5", "from the hash");
    let verifier = stored(&database, "verified", "scram-sha-256", "from the verifier");
    let auth = "auth = \"md5\"";
    let gate = gate(
        &database,
        &[
            user("hashed_here", &hash, ""),
            user("plain", "open sesame", auth),
            user("verified", &verifier, auth),
            user("modern", "open sesame", ""),
        ]
        .concat(),
    );
    for (user, password, asked) in [
        ("hashed_here", "from the hash", MD5),
        ("plain", "open sesame", MD5),
        ("verified", "from the verifier", SASL),
        ("modern", "open sesame", SASL),
    ] {
        let mut client = login(&gate, user, password).expect(user);
        assert_eq!(client.asked[0], asked, "{user}");
        assert_eq!(client.value("SELECT 1"), "1");
        let wrong = login(&gate, user, "wrong").err().expect("refused");
        assert!(wrong.contains("28P01"), "{wrong}");
    }
    // The hash is not the password.
    assert!(login(&gate, "hashed_here", &hash).is_err());
    assert!(login(&gate, "hashed_here", "").is_err());
}

#[test]
fn an_unknown_user_is_asked_as_most_users_are_and_answered_like_a_wrong_password() {
    let Some(database) = fresh_database() else {
        return;
    };
    let hash = stored(&database, "hashed_too", "md5", "x");
    let others = user("hashed_too", &hash, "") + &user("plain", "x", "auth = \"md5\"");
    let gate = gate(&database, &others);
    let mut salts = Vec::new();
    for name in ["hashed_too", "nobody", "nobody"] {
        let mut client = Raw::open(gate.address);
        let packet = format!("user\0{name}\0database\0{DATABASE}\0\0");
        let mut bytes = (packet.len() as u32 + 8).to_be_bytes().to_vec();
        bytes.extend(196_608_u32.to_be_bytes());
        bytes.extend(packet.as_bytes());
        client.send_bytes(&bytes);
        let question = client.receive().expect("a question");
        assert_eq!(question.int32(0), MD5, "{name}");
        salts.push(question.int32(4));
        client.send(b'p', b"md50123456789abcdef0123456789abcdef\0");
        let error = client.receive().expect("an answer").line();
        let expected = "password authentication failed for user \"hashed_too\"";
        assert!(
            error.replace(name, "hashed_too").contains(expected),
            "{error}"
        );
    }
    salts.dedup();
    assert_eq!(salts.len(), 3, "every salt is a new one");
}

#[test]
fn a_wrong_name_costs_as_much_time_as_a_wrong_password() {
    let Some(database) = fresh_database() else {
        return;
    };
    let verifier = stored(&database, "verified_too", "scram-sha-256", "x");
    let users = user("plain", "open sesame", "") + &user("verified_too", &verifier, "");
    let limits = "[limits]\nlogins_failed_max = 0\n";
    let gate = gate(&database, &(users + limits));
    let time = |name: &str| {
        let begun = std::time::Instant::now();
        assert!(login(&gate, name, "wrong").is_err());
        begun.elapsed()
    };
    // Turn about, and the quickest of each: what else the machine does falls on all.
    let names = ["plain", "verified_too", "nobody"];
    let mut quickest = names.map(time);
    for _ in 0..30 {
        for (least, name) in quickest.iter_mut().zip(names) {
            *least = (*least).min(time(name));
        }
    }
    let [plain, verified, unknown] = quickest;
    // Half is far more than what hashing or not hashing makes.
    for known in [plain, verified] {
        assert!(
            unknown > known / 2 && unknown < known * 2,
            "{unknown:?} {known:?}"
        );
    }
}

#[test]
fn the_configuration_says_when_a_method_cannot_work() {
    let hash = "md5".to_owned() + &"0".repeat(32);
    for (entry, complaint) in [
        (user("a", &hash, "auth = \"scram-sha-256\""), "MD5 hash"),
        (user("a", "x", "auth = \"trust\""), "does not ask for it"),
        (
            "[[user]]\nname = \"a\"\nauth = \"md5\"\n".to_owned(),
            "no password",
        ),
        (user("a", "SCRAM-SHA-256$1:x", ""), "damaged"),
    ] {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), entry).expect("written");
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .arg("check")
            .arg(file.path())
            .output()
            .expect("it runs");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        assert!(
            !output.status.success() && errors.contains(complaint),
            "{errors}"
        );
    }
}
