//! not yet
use portcullis_sdk::prelude::*;

struct Todo {
    truncate: bool,
    exempt: Names,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// TRUNCATE is allowed.
    truncate: bool,
    /// Tables that may be emptied.
    exempt: Vec<String>,
}

impl Policy for Todo {
    type Settings = Settings;

    fn configure(settings: Settings, setup: &mut Setup) -> Result<Self, Vec<Issue>> {
        Ok(Todo {
            truncate: settings.truncate,
            exempt: setup.names("/exempt", &settings.exempt),
        })
    }

    fn judge(&self, statement: &Statement) -> Verdict {
        let _ = (self.truncate, self.exempt, statement);
        Verdict::pass()
    }
}

portcullis_sdk::export!(Todo);
