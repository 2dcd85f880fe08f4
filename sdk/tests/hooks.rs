//! The optional hooks of a policy, tested the way an author tests them.

use portcullis_sdk::prelude::*;
use portcullis_sdk::testing::{Observed, Tester, check_cases, model};

/// Lets only known networks in, and never an application that calls itself `intruder`.
struct FrontDoor {
    networks: Networks,
    intruder: Symbol,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    networks: Vec<String>,
}

impl Policy for FrontDoor {
    type Settings = Settings;

    fn configure(settings: Settings, setup: &mut Setup) -> Result<Self, Vec<Issue>> {
        Ok(FrontDoor {
            networks: setup.networks("/networks", &settings.networks),
            intruder: setup.intern("intruder"),
        })
    }

    fn judge(&self, _statement: &Statement) -> Verdict {
        Verdict::pass()
    }
}

impl ConnectionPolicy for FrontDoor {
    fn judge_connection(&self, client: &Client) -> Verdict {
        if client.application() == self.intruder {
            return Verdict::refuse("application", "this application may not connect");
        }
        if !self.networks.is_empty() && client.network(self.networks).is_none() {
            return Verdict::refuse("network", "nobody connects from there")
                .hint("Connect through the VPN.");
        }
        Verdict::pass()
    }
}

impl EventPolicy for FrontDoor {
    fn observe(&self, event: &Event) {
        if event.outcome() == Outcome::Refused {
            let line = format!(
                "{} {} by {}",
                event.kind().name(),
                event.outcome().name(),
                event.text(EventField::Policy),
            );
            portcullis_sdk::log(Level::Warn, &line);
        }
    }
}

portcullis_sdk::export!(FrontDoor, connection, events);

const CASES: &str = r#"
    name = "front-door"
    version = "0.1.0"
    interface = "0.1"

    [[cases]]
    connection = true
    settings = { networks = ["10.0.0.0/8"] }
    client = { address = "10.1.2.3" }
    expect = { decision = "pass" }

    [[cases]]
    connection = true
    settings = { networks = ["10.0.0.0/8"] }
    client = { address = "192.0.2.1" }
    expect = { decision = "refuse", rule = "network" }

    [[cases]]
    name = "no networks, no limits"
    connection = true
    client = { address = "192.0.2.1" }
    expect = { decision = "pass" }

    [[cases]]
    sql = "SELECT 1"
    expect = { decision = "pass" }
"#;

fn door(application: &str, address: &str) -> Tester<FrontDoor> {
    let tester = Tester::new(r#"networks = ["10.0.0.0/8"]"#).expect("the settings are good");
    let address = address.parse().expect("an address");
    tester.application(application).address(address)
}

fn rule(tester: &Tester<FrontDoor>) -> Option<String> {
    let refusal = tester.connect().refusal?;
    Some(refusal.rule.to_string())
}

#[test]
fn a_connection_is_judged_by_network_and_application() {
    assert_eq!(rule(&door("psql", "10.0.0.1")), None);
    let far = rule(&door("psql", "192.0.2.1"));
    assert_eq!(far.as_deref(), Some("network"));
    let intruder = rule(&door("intruder", "10.0.0.1"));
    assert_eq!(intruder.as_deref(), Some("application"));
}

#[test]
fn golden_cases_may_be_about_connections() {
    check_cases::<FrontDoor>(CASES);
}

#[test]
#[should_panic(expected = "expected pass, got refuse by network")]
fn a_wrong_case_about_a_connection_fails() {
    let wrong = CASES.replace("10.1.2.3", "192.0.2.9");
    check_cases::<FrontDoor>(&wrong);
}

#[test]
fn an_event_hook_sees_what_became_of_a_statement() {
    let door = door("psql", "10.0.0.1");
    let client = model::Client {
        user: "alice".into(),
        database: "app".into(),
        address: None,
    };
    let mut event = Observed::allowed(client, model::Kind::Delete);
    assert!(door.observe(event.clone()).is_empty(), "it was allowed");
    event.outcome = model::code::Outcome::Refused;
    event.refusal = Some(("limits".into(), "rows".into()));
    let lines = door.observe(event);
    assert_eq!(lines, [(2, "delete refused by limits".to_owned())]);
}

mod without_hook {
    use super::*;

    struct Plain;

    impl Policy for Plain {
        type Settings = Settings;

        fn configure(_: Settings, _: &mut Setup) -> Result<Self, Vec<Issue>> {
            Ok(Plain)
        }

        fn judge(&self, _: &Statement) -> Verdict {
            Verdict::pass()
        }
    }

    portcullis_sdk::export!(Plain);

    #[test]
    #[should_panic(expected = "no such hook")]
    fn a_case_about_connections_needs_the_hook() {
        check_cases::<Plain>(CASES);
    }
}
