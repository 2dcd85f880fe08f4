//! A first policy: only chosen users may change the schema.

use portcullis_sdk::prelude::*;

/// The policy.
pub struct Hello {
    except: Names,
}

/// What the configuration says.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    except: Vec<String>,
}

impl Policy for Hello {
    type Settings = Settings;

    fn configure(settings: Settings, setup: &mut Setup) -> Result<Self, Vec<Issue>> {
        Ok(Hello { except: setup.names("/except", &settings.except) })
    }

    fn judge(&self, statement: &Statement) -> Verdict {
        if statement.effects().contains(Effects::SCHEMA) && !statement.client().is_in(self.except) {
            return Verdict::refuse("schema", "the schema may not be changed here")
                .hint("Put the change into a migration.");
        }
        Verdict::pass()
    }
}

portcullis_sdk::export!(Hello);

#[cfg(test)]
mod tests {
    use portcullis_sdk::testing::check_cases;

    #[test]
    fn the_golden_cases_hold() {
        check_cases::<super::Hello>(include_str!("../policy.toml"));
    }
}
