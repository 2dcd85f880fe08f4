//! Permits only what reads.
//!
//! Everything that is not known to read is refused: a kind of statement, an
//! effect or a function that a later gate has a name for is refused as well.

use portcullis_sdk::prelude::*;

#[cfg(test)]
mod tests;

/// The policy.
#[derive(Debug)]
pub struct ReadOnly {
    functions: Names,
    locks: bool,
    switches: Names,
    any: Names,
}

/// What the operator may write.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    functions: Vec<String>,
    locks: bool,
}

/// What a statement that only reads can do.
const READING: Effects = Effects::READS
    .union(Effects::SESSION)
    .union(Effects::TRANSACTION)
    .union(Effects::CODE);

/// What changes a table or its rows, or could, by any way that leads there.
const CHANGING: Access = Access::CHANGE
    .union(Access::CREATE)
    .union(Access::ALTER)
    .union(Access::DROP);

impl Policy for ReadOnly {
    type Settings = Settings;

    fn configure(settings: Settings, setup: &mut Setup) -> Result<Self, Vec<Issue>> {
        let switches = ["transaction_read_only", "default_transaction_read_only"];
        Ok(ReadOnly {
            functions: setup.names("/functions", &settings.functions),
            locks: settings.locks,
            switches: setup.names("", &switches.map(String::from)),
            any: setup.names("", &["\"*\"".to_owned()]),
        })
    }

    fn judge(&self, statement: &Statement) -> Verdict {
        let refused = self
            .unread(statement)
            .or_else(|| outside(statement.effects()))
            .or_else(|| self.write(statement))
            .or_else(|| self.switch(statement))
            .or_else(|| self.code(statement))
            .or_else(|| self.lock(statement))
            .or_else(|| unknown(statement));
        refused.unwrap_or_else(Verdict::pass)
    }
}

impl ReadOnly {
    /// What could not be read may write.
    fn unread(&self, statement: &Statement) -> Option<Verdict> {
        let traits = statement.traits();
        let opaque = statement.is_opaque() && !traits.contains(Traits::HARMLESS);
        (opaque || traits.contains(Traits::UNEXPLAINED_WRITE)).then(|| {
            let message = "the statement cannot be read, so it may write";
            Verdict::refuse("unread", message).hint(
                "Write it in the grammar of the database; what the gate reads in it, `portcullis explain` shows.",
            )
        })
    }

    fn write(&self, statement: &Statement) -> Option<Verdict> {
        let effects = statement.effects();
        if let Some(table) = statement.accessed(CHANGING).next() {
            let how = match table.via {
                Via::Catalog => "would change, through what stands behind a name in it, the table",
                _ => "would change",
            };
            let message = format!("the statement {how} {}", table.qualified());
            return Some(Verdict::refuse("write", message).hint(WRITE_HINT));
        }
        if effects.contains(Effects::WRITES) {
            let message = "the statement would change data";
            return Some(Verdict::refuse("write", message).hint(WRITE_HINT));
        }
        let setting = matches!(statement.kind(), Kind::Set | Kind::Reset | Kind::Discard);
        if effects.contains(Effects::SCHEMA) || (effects.contains(Effects::PRIVILEGE) && !setting) {
            let message = "the statement would change definitions, rights or the server";
            return Some(Verdict::refuse("definition", message).hint(WRITE_HINT));
        }
        None
    }

    /// READ WRITE in all its disguises.
    fn switch(&self, statement: &Statement) -> Option<Verdict> {
        let on = |value: Option<String>| {
            value.is_some_and(|value| {
                matches!(
                    value.to_ascii_lowercase().as_str(),
                    "on" | "true" | "yes" | "1"
                )
            })
        };
        let written = statement.settings(self.switches).any(|value| !on(value));
        // set_config with a computed name; RESET ALL only goes back to where the session began.
        let computed = statement.kind() != Kind::Reset
            && statement.kind() != Kind::Discard
            && statement.settings(self.any).next().is_some();
        (written || computed).then(|| {
            let message = "the statement could make the transaction or the session writable";
            Verdict::refuse("switch", message)
                .hint("Leave READ WRITE out; a constant name of another setting may be set.")
        })
    }

    /// Code that the text does not show.
    fn code(&self, statement: &Statement) -> Option<Verdict> {
        if matches!(statement.kind(), Kind::Do | Kind::Call) {
            let message = "the statement runs code, which may write";
            return Some(Verdict::refuse("code", message).hint("Send the queries in it instead."));
        }
        if !statement.effects().contains(Effects::CODE) || statement.kind() == Kind::Execute {
            return None; // The gate judges what an EXECUTE runs as a statement of its own.
        }
        let name = statement.unlisted_function(self.functions)?;
        let message = format!("the statement calls {name}, which may write");
        Some(
            Verdict::refuse("function", message)
                .hint("If the function only reads, ask an operator to list it under `functions`."),
        )
    }

    fn lock(&self, statement: &Statement) -> Option<Verdict> {
        let locks = statement.traits().contains(Traits::LOCKS) || statement.kind() == Kind::Lock;
        (locks && !self.locks).then(|| {
            Verdict::refuse("lock", "the statement would lock rows or tables")
                .hint("Leave out FOR UPDATE, FOR SHARE and LOCK TABLE.")
        })
    }
}

const WRITE_HINT: &str =
    "Only reading is permitted here. Send changes over a connection that may write.";

fn outside(effects: Effects) -> Option<Verdict> {
    let outside = Effects::SERVER_FILE | Effects::PROGRAM | Effects::NETWORK;
    effects.intersects(outside).then(|| {
        let message = "the statement would reach files, programs or other servers";
        Verdict::refuse("outside", message).hint("Move data with COPY … TO STDOUT.")
    })
}

/// Kinds that are known to read; effects no word here allows.
fn unknown(statement: &Statement) -> Option<Verdict> {
    let reads = matches!(
        statement.kind(),
        Kind::Select
            | Kind::Copy
            | Kind::Explain
            | Kind::Prepare
            | Kind::Execute
            | Kind::Deallocate
            | Kind::Declare
            | Kind::Fetch
            | Kind::Close
            | Kind::Begin
            | Kind::Commit
            | Kind::Rollback
            | Kind::Savepoint
            | Kind::Set
            | Kind::Reset
            | Kind::Show
            | Kind::Discard
            | Kind::Lock
            | Kind::Notify
            | Kind::Empty
    );
    let harmless = statement.traits().contains(Traits::HARMLESS);
    let known = READING | Effects::PRIVILEGE;
    (!(reads || harmless) || !known.contains(statement.effects())).then(|| {
        let message = format!(
            "{} is no statement that only reads",
            statement.kind().name()
        );
        Verdict::refuse("kind", message).hint(WRITE_HINT)
    })
}

portcullis_sdk::export!(ReadOnly);
