//! Guessing passwords: how often an address may be wrong.

use std::time::Duration;

use super::{ann, gate};
use crate::support::database::fresh_database;
use crate::support::gate::DATABASE;
use crate::support::raw::{Login, Raw};

#[test]
fn an_address_that_guesses_is_not_asked_any_more_for_a_while() {
    let Some(database) = fresh_database() else {
        return;
    };
    let limits = "[limits]\nlogins_failed_max = 3\nlogins_failed_window = \"2s\"\n";
    let gate = gate(&database, "", limits);
    let from = |source: &str, login: &Login| {
        let answer = Raw::open_from(source, gate.address).start(login);
        answer.map(|_| ()).map_err(|error| error.line())
    };
    for name in ["ann", "ann", "nobody"] {
        let wrong = Login::new(name, DATABASE).password("guess");
        let refused = from("127.0.0.2:0", &wrong).unwrap_err();
        assert!(refused.contains("28P01"), "{refused}");
    }
    let locked = from("127.0.0.2:0", &ann()).unwrap_err();
    assert!(locked.contains("28000 too many failed logins"), "{locked}");
    assert!(from("127.0.0.3:0", &ann()).is_ok(), "another address");
    assert!(gate.metric("portcullis_logins_failed_total", "attempts") >= 1.0);
    std::thread::sleep(Duration::from_millis(2100));
    assert!(from("127.0.0.2:0", &ann()).is_ok(), "time heals");
}

#[test]
fn many_logins_begun_at_once_give_no_more_guesses() {
    let Some(database) = fresh_database() else {
        return;
    };
    let gate = gate(&database, "", "[limits]\nlogins_failed_max = 3\n");
    let address = gate.address;
    let guesses: Vec<_> = (0..12)
        .map(|_| {
            std::thread::spawn(move || {
                let wrong = Login::new("ann", DATABASE).password("guess");
                Raw::try_login(address, &wrong)
                    .err()
                    .expect("refused")
                    .code()
                    .to_owned()
            })
        })
        .collect();
    let answers: Vec<String> = guesses
        .into_iter()
        .map(|g| g.join().expect("a guess"))
        .collect();
    let judged = answers.iter().filter(|code| *code == "28P01").count();
    assert_eq!(judged, 3, "{answers:?}");
}

#[test]
fn a_right_password_forgives_the_mistakes_before_it() {
    let Some(database) = fresh_database() else {
        return;
    };
    let gate = gate(&database, "", "[limits]\nlogins_failed_max = 3\n");
    for _ in 0..4 {
        for _ in 0..2 {
            let wrong = Raw::try_login(gate.address, &ann().password("typo"));
            assert_eq!(wrong.err().expect("refused").code(), "28P01");
        }
        assert!(Raw::try_login(gate.address, &ann()).is_ok());
    }
}
