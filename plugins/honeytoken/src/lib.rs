//! Tables nobody has a reason to touch: whoever does is refused and reported.
//!
//! No text that reaches the client may name the trap or say that there is one.

use portcullis_sdk::prelude::*;

#[cfg(test)]
mod tests;

/// The policy.
#[derive(Debug)]
pub struct Honeytoken {
    tables: Names,
    disguise: bool,
    mentions: bool,
}

/// What the operator may write.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    tables: Vec<String>,
    disguise: bool,
    mentions: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            tables: Vec::new(),
            disguise: true,
            mentions: true,
        }
    }
}

impl Policy for Honeytoken {
    type Settings = Settings;

    fn configure(settings: Settings, setup: &mut Setup) -> Result<Self, Vec<Issue>> {
        Ok(Honeytoken {
            tables: setup.names("/tables", &settings.tables),
            disguise: settings.disguise,
            mentions: settings.mentions,
        })
    }

    fn judge(&self, statement: &Statement) -> Verdict {
        if self.tables.is_empty() {
            return Verdict::pass();
        }
        // Any access, also one a later gate may have a name for.
        if statement.find(self.tables, Access::ANY).is_some() {
            let verdict = Verdict::refuse("touched", "the statement is not permitted")
                .hint("Ask an operator, with the incident number.")
                .alert("touched", Severity::Critical);
            return if self.disguise {
                verdict.disguise()
            } else {
                verdict
            };
        }
        // A name inside a constant may be harmless text, or on its way into dynamic SQL.
        if self.mentions && statement.values().mention(self.tables).is_some() {
            return Verdict::pass().alert("mentioned", Severity::Warning);
        }
        Verdict::pass()
    }
}

portcullis_sdk::export!(Honeytoken);
