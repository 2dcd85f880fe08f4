//! Refuses writes that reach every row: UPDATE, DELETE and MERGE without a
//! predicate that can be false, and TRUNCATE.

use portcullis_sdk::prelude::*;

#[cfg(test)]
mod tests;

/// The policy.
#[derive(Debug)]
pub struct RequireWhere {
    truncate: bool,
    exempt: Names,
}

/// What the operator may write.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    truncate: bool,
    exempt: Vec<String>,
}

const HINT: &str = "Add a WHERE clause that selects the rows you mean. \
     To change every row on purpose, ask an operator to exempt the table.";

impl Policy for RequireWhere {
    type Settings = Settings;

    fn configure(settings: Settings, setup: &mut Setup) -> Result<Self, Vec<Issue>> {
        Ok(RequireWhere {
            truncate: settings.truncate,
            exempt: setup.names("/exempt", &settings.exempt),
        })
    }

    fn judge(&self, statement: &Statement) -> Verdict {
        if statement.is_plan_only() {
            return Verdict::pass();
        }
        if !self.truncate
            && let Some(table) = self.first(statement, emptied(statement))
        {
            return Verdict::refuse("truncate", format!("TRUNCATE would empty {table}")).hint(
                "Delete the rows you mean with a WHERE clause, or ask an operator to allow TRUNCATE.",
            );
        }
        let missing = match statement.predicate() {
            Predicate::None => true,
            Predicate::AlwaysTrue => false,
            _ => return Verdict::pass(),
        };
        let Some(table) = self.first(statement, Access::UPDATE | Access::DELETE) else {
            return Verdict::pass();
        };
        if missing {
            let message =
                format!("the statement would change every row of {table}: it has no WHERE clause");
            Verdict::refuse("no-where", message).hint(HINT)
        } else {
            let message = format!(
                "the statement would change every row of {table}: its WHERE is always true"
            );
            Verdict::refuse("always-true", message).hint(HINT)
        }
    }
}

impl RequireWhere {
    /// Name of the first table that is not exempt and to which any of `access` is done.
    fn first(&self, statement: &Statement, access: Access) -> Option<String> {
        let table = statement
            .accessed(access)
            .find(|table| !table.is_in(self.exempt));
        table.map(|table| table.qualified())
    }
}

/// The text of an opaque TRUNCATE proves no access, only names.
fn emptied(statement: &Statement) -> Access {
    match statement.kind() {
        Kind::Truncate => Access::ANY,
        _ => Access::TRUNCATE,
    }
}

portcullis_sdk::export!(RequireWhere);
