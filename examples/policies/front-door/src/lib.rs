//! A policy about connections: only chosen networks may connect.

use portcullis_sdk::prelude::*;

struct FrontDoor {
    networks: Networks,
    except: Names,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    networks: Vec<String>,
    except: Vec<String>,
}

impl Policy for FrontDoor {
    type Settings = Settings;

    fn configure(settings: Settings, setup: &mut Setup) -> Result<Self, Vec<Issue>> {
        Ok(FrontDoor {
            networks: setup.networks("/networks", &settings.networks),
            except: setup.names("/except", &settings.except),
        })
    }

    fn judge(&self, _statement: &Statement) -> Verdict {
        Verdict::pass()
    }
}

impl ConnectionPolicy for FrontDoor {
    fn judge_connection(&self, client: &Client) -> Verdict {
        let anywhere = self.networks.is_empty() || client.is_in(self.except);
        if anywhere || client.network(self.networks).is_some() {
            return Verdict::pass();
        }
        Verdict::refuse("network", "connections from this address are not permitted")
            .hint("Connect from inside the network.")
    }
}

portcullis_sdk::export!(FrontDoor, connection);

#[cfg(test)]
mod tests {
    use portcullis_sdk::testing::check_cases;

    #[test]
    fn the_golden_cases_hold() {
        check_cases::<super::FrontDoor>(include_str!("../policy.toml"));
    }
}
