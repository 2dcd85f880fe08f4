//! Certificates of clients.

use std::time::Duration;

use super::{Scene, USERS, ann, scene};
use crate::support::certificates::{Authority, Pair, write};
use crate::support::database::fresh_database;
use crate::support::gate::DATABASE;
use crate::support::raw::{Login, Raw};
use crate::support::wire::Encryption;

const CERTIFIED: &str = "[[user]]\nname = \"bob\"\nauth = \"cert\"\n\n\
    [[user]]\nname = \"robot\"\nauth = \"cert\"\ncommon_name = \"robot.example\"\n\n\
    [[user]]\nname = \"both\"\npassword = \"open sesame\"\ncommon_name = \"both\"\n\n";

/// A door that knows the authority of its clients, and that authority.
fn certified(tls: &str) -> Option<(Scene, Authority)> {
    let database = fresh_database()?;
    let clients = Authority::new("authority of the clients");
    let folder = std::env::temp_dir();
    let name = format!(
        "portcullis-clients-{}-{}.crt",
        std::process::id(),
        database.name
    );
    let ca = write(&folder, &name, &clients.pem());
    let tls = format!("{}{tls}", Scene::client_ca(&ca.display().to_string()));
    let scene = scene(&database, &tls, &format!("{USERS}{CERTIFIED}"));
    let _ = std::fs::remove_file(ca);
    Some((scene, clients))
}

fn login(scene: &Scene, shown: Option<&Pair>, login: &Login) -> Result<String, String> {
    let encryption = Encryption::new(&scene.authority, shown, true);
    let client = Raw::open_encrypted(scene.gate.address, &encryption);
    let client = client.map_err(|error| error.to_string())?;
    let mut client = client.start(login).map_err(|answer| answer.line())?;
    Ok(client.value("SELECT 1"))
}

#[test]
fn a_user_comes_in_with_its_own_certificate_and_nobody_elses() {
    let Some((scene, clients)) = certified("") else {
        return;
    };
    let user = |name: &str| Login::new(name, DATABASE).password("open sesame");
    let shown = |name: &str| clients.issue(name, &[]);
    let (bob, robot, both) = (shown("bob"), shown("robot.example"), shown("both"));
    assert_eq!(login(&scene, Some(&bob), &user("bob")), Ok("1".to_owned()));
    assert_eq!(
        login(&scene, Some(&robot), &user("robot")),
        Ok("1".to_owned())
    );
    assert_eq!(
        login(&scene, Some(&both), &user("both")),
        Ok("1".to_owned())
    );
    for (pair, name) in [(&robot, "bob"), (&bob, "robot"), (&bob, "both")] {
        let refused = login(&scene, Some(pair), &user(name)).expect_err("another's certificate");
        assert!(refused.contains("28000"), "{name}: {refused}");
    }
    // A password alone is not enough, nor is the certificate.
    let refused = login(&scene, None, &user("both")).expect_err("no certificate");
    assert!(refused.contains("28000"), "{refused}");
    let wrong = Login::new("both", DATABASE).password("wrong");
    let refused = login(&scene, Some(&both), &wrong).expect_err("a wrong password");
    assert!(refused.contains("28P01"), "{refused}");
    // Without any certificate such a user looks like nobody at all.
    let refused = login(&scene, None, &user("bob")).expect_err("no certificate");
    let nobody = login(&scene, None, &user("nobody")).expect_err("nobody");
    assert_eq!(refused.replace("bob", "nobody"), nobody);
    // The others need none.
    assert_eq!(login(&scene, None, &ann()), Ok("1".to_owned()));
}

#[test]
fn a_certificate_of_another_authority_ends_the_handshake() {
    let Some((scene, _)) = certified("") else {
        return;
    };
    let forged = Authority::new("authority of the clients").issue("bob", &[]);
    let encryption = Encryption::new(&scene.authority, Some(&forged), true);
    // With TLS 1.3 the client is through before it hears of it.
    let ended = match Raw::open_encrypted(scene.gate.address, &encryption) {
        Ok(mut client) => matches!(client.receive_within(Duration::from_secs(5)), Some(None)),
        Err(_) => true,
    };
    assert!(ended, "a forged certificate");
    assert_eq!(login(&scene, None, &ann()), Ok("1".to_owned()));
}

#[test]
fn a_door_that_requires_certificates_tells_whoever_has_none() {
    let Some((scene, clients)) = certified(", client_certificates = \"required\"") else {
        return;
    };
    let refused = login(&scene, None, &ann()).expect_err("no certificate");
    assert!(refused.contains("28000"), "{refused}");
    assert!(refused.contains("valid client certificate"), "{refused}");
    let shown = clients.issue("whoever", &[]);
    assert_eq!(login(&scene, Some(&shown), &ann()), Ok("1".to_owned()));
}
