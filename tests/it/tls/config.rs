//! What is wrong with certificates and keys is said by `check`, with its place.

use std::path::Path;
use std::process::Command;

use crate::support::certificates::{Authority, write};

fn check(folder: &Path, text: &str) -> (bool, String) {
    let file = write(folder, "portcullis.toml", text);
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .arg("check")
        .arg(&file)
        .output()
        .expect("portcullis runs");
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    (output.status.success(), printed)
}

fn file(tls: &str, backend: &str) -> String {
    format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n{tls}\n\n\
         [[database]]\nname = \"app\"\n{backend}\n\n\
         [[user]]\nname = \"app\"\nauth = \"trust\"\n"
    )
}

const BACKEND: &str = "backend = \"postgres://app@db.internal/app\"";

#[test]
fn files_beside_the_configuration_are_found_and_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new("authority");
    let pair = authority.issue("gate", &["gate.internal"]);
    pair.write(folder.path(), "gate");
    authority.issue("other", &[]).write(folder.path(), "other");
    write(folder.path(), "ca.crt", &authority.pem());
    write(folder.path(), "empty.crt", "");
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    write(folder.path(), "locked.key", locked);
    let good =
        "tls = { certificate = \"gate.crt\", key = \"file:gate.key\", client_ca = \"ca.crt\" }";
    let server = "backend = \"postgres://app@db/app?sslmode=verify-full&sslrootcert=ca.crt&sslnegotiation=direct\"\n\
                  tls = { certificate = \"gate.crt\", key = \"gate.key\" }";
    let (accepted, text) = check(folder.path(), &file(good, server));
    assert!(accepted, "{text}");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let (accepted, text) = check(elsewhere.path(), &file(good, server));
    assert!(!accepted && text.contains("cannot be read"), "{text}");
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["check", "--no-secrets"])
        .arg(elsewhere.path().join("portcullis.toml"))
        .output()
        .expect("portcullis runs");
    assert!(
        output.status.success(),
        "files are not looked up: {output:?}"
    );
    for (tls, words) in [
        (
            "tls = { certificate = \"gate.crt\" }",
            &[":3:", "no `key`"][..],
        ),
        (
            "tls = { mode = \"required\" }",
            &[":3:", "needs a certificate"],
        ),
        (
            "tls = { mode = \"requird\", certificate = \"gate.crt\", key = \"gate.key\" }",
            &[":3:", "did you mean \"required\"?"],
        ),
        (
            "tls = { certificate = \"none.crt\", key = \"gate.key\" }",
            &[":3:", "none.crt", "cannot be read"],
        ),
        (
            "tls = { certificate = \"empty.crt\", key = \"gate.key\" }",
            &[":3:", "holds no certificate"],
        ),
        (
            "tls = { certificate = \"gate.crt\", key = \"gate.crt\" }",
            &[":3:", "holds no private key"],
        ),
        (
            "tls = { certificate = \"gate.crt\", key = \"locked.key\" }",
            &[":3:", "passphrase", "openssl pkey"],
        ),
        (
            "tls = { certificate = \"gate.crt\", key = \"other.key\" }",
            &[":3:", "does not belong to the certificate"],
        ),
        (
            "tls = { certificate = \"gate.crt\", key = \"gate.key\", client_certificates = \"required\" }",
            &[":3:", "add `client_ca"],
        ),
        (
            "tls = { certificat = \"gate.crt\", key = \"gate.key\" }",
            &[":3:", "did you mean `certificate`?"],
        ),
    ] {
        let (accepted, text) = check(folder.path(), &file(tls, BACKEND));
        assert!(!accepted, "{tls}\n{text}");
        for word in words {
            assert!(text.contains(word), "{word} is missing for {tls}:\n{text}");
        }
    }
}

#[test]
fn a_certificate_that_has_run_out_is_told_and_used_all_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let old = Authority::new("authority").issue_until("gate", &[], 2001);
    old.write(folder.path(), "gate");
    let tls = "tls = { certificate = \"gate.crt\", key = \"gate.key\" }";
    let (accepted, text) = check(folder.path(), &file(tls, BACKEND));
    assert!(accepted, "{text}");
    assert!(
        text.contains(":3:") && text.contains("has expired"),
        "{text}"
    );
}

#[test]
fn what_is_wanted_of_a_server_is_checked_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new("authority");
    authority.issue("one", &[]).write(folder.path(), "one");
    authority.issue("two", &[]).write(folder.path(), "two");
    for (backend, words) in [
        (
            "backend = \"postgres://app@db/app?sslmode=verify-full\"",
            &[
                ":7:11",
                "cannot be verified without an authority",
                "sslrootcert",
            ][..],
        ),
        (
            "backend = \"postgres://app@db/app?sslmode=verify_full\"",
            &[":7:11", "did you mean \"verify-full\"?"],
        ),
        (
            "backend = \"postgres://app@db/app?sslnegotiation=direct\"",
            &[":7:11", "cannot fall back"],
        ),
        (
            "backend = \"postgres://app@db/app?channel_binding=require\"",
            &[":7:11", "nothing to bind to"],
        ),
        (
            "backend = \"postgres://app@db/app?sslmode=require&sslcert=one.crt\"",
            &[":7:11", "go together"],
        ),
        (
            "backend = \"postgres://app@db/app\"\ntls = { mode = \"require\", certificate = \"one.crt\", key = \"two.key\" }",
            &[":8:", "does not belong to the certificate"],
        ),
        (
            "backend = \"postgres://app@db/app\"\ntls = { mode = \"verify-ca\", ca = \"one.key\" }",
            &[":8:", "holds no certificate"],
        ),
    ] {
        let (accepted, text) = check(folder.path(), &file("", backend));
        assert!(!accepted, "{backend}\n{text}");
        for word in words {
            assert!(
                text.contains(word),
                "{word} is missing for {backend}:\n{text}"
            );
        }
        assert!(!text.contains("PRIVATE KEY"), "{text}");
    }
}
