//! A statement that is known by number.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::{Batch, Connection, Statement};

use super::super::error::Error;
use super::super::guard::{Guard, Mode};
use super::super::infer::{self, Columns, Known, Scope};
use super::super::token::tokens;
use super::super::translate::{Translation, translate};
use super::super::{catalog, types};
use super::{Described, Worker};
use crate::backend::rows::{Column, Type};

/// A statement, its text for SQLite, and one ready copy.
pub(in super::super) struct Prepared<'c> {
    translation: Translation,
    pub mode: Mode,
    spare: Option<Statement<'c>>,
    pub described: Arc<Described>,
    versions: (i64, i64),
}

impl<'c> Prepared<'c> {
    /// What SQLite reads.
    pub fn text(&self) -> &str {
        &self.translation.text
    }

    /// A copy that may be run.
    pub fn take(
        &mut self,
        connection: &'c Connection,
        guard: &Guard,
    ) -> Result<Statement<'c>, Error> {
        match self.spare.take() {
            Some(statement) => Ok(statement),
            None => guard.with(self.mode, || one(connection, &self.translation.text)),
        }
    }

    /// Gives a copy back.
    pub fn give(&mut self, statement: Statement<'c>) {
        self.spare = Some(statement);
    }
}

/// Exactly one statement.
fn one<'c>(connection: &'c Connection, text: &str) -> Result<Statement<'c>, Error> {
    let mut batch = Batch::new(connection, text);
    let first = batch
        .next()?
        .ok_or_else(|| Error::statement("42601", "there is no statement"))?;
    match batch.next() {
        Ok(None) => Ok(first),
        _ => Err(Error::statement(
            "42601",
            "cannot insert multiple commands into a prepared statement",
        )),
    }
}

/// Statements that change rows, as opposed to definitions.
const ROW_VERBS: &[&str] = &[
    "insert", "update", "delete", "replace", "with", "truncate", "explain",
];

/// Every word that a statement of SQLite may begin with.
const COMMANDS: &[&str] = &[
    "alter",
    "analyze",
    "attach",
    "begin",
    "commit",
    "create",
    "delete",
    "detach",
    "drop",
    "end",
    "explain",
    "insert",
    "pragma",
    "reindex",
    "release",
    "replace",
    "rollback",
    "savepoint",
    "select",
    "update",
    "vacuum",
    "values",
    "with",
];

impl<'c> Worker<'c> {
    pub(super) fn prepare(
        &mut self,
        id: u64,
        text: Arc<str>,
        given: &[u32],
    ) -> Result<Arc<Described>, Error> {
        let translation = translate(&text)?;
        self.refresh()?;
        if translation.catalog {
            catalog::fill(
                self.connection,
                self.versions,
                &self.tools.names,
                &self.tools.identity,
            )?;
        }
        let mode = if ROW_VERBS.contains(&&*translation.verb) {
            Mode::Rows
        } else {
            Mode::Other
        };
        let guard = self.tools.guard.clone();
        guard.begin();
        let outcome = guard.with(mode, || one(self.connection, &translation.text));
        let (reach, denied) = guard.take();
        let mode = if is_plain_vacuum(&translation)? {
            Mode::Own
        } else {
            mode
        };
        let statement = outcome.map_err(|error| match denied {
            Some(what) => Error::statement(
                "42501",
                format!("permission denied: {what} is not possible through the gate"),
            ),
            None => error,
        })?;
        let source = tokens(&text)?;
        let mut columns_of: HashMap<String, Option<Columns>> = HashMap::new();
        for name in source.iter().filter_map(|t| t.name()) {
            let columns = self.columns_of(&name);
            columns_of.insert(name, columns);
        }
        let scope = Scope::of(&source, &|name| columns_of.get(name).cloned().flatten());
        let parameters = infer::parameter_types(&source, given, &scope);
        check_parameters(&statement, parameters.len())?;
        let known = Known {
            scope: &scope,
            parameters: &parameters,
        };
        let columns = columns(
            &statement,
            infer::describe(&source, statement.column_count(), &known),
        );
        let described = Arc::new(Described {
            columns,
            parameters,
            readonly: statement.readonly() && !reach.schema,
            reach,
            verb: translation.verb.clone(),
        });
        let prepared = Prepared {
            translation,
            mode,
            spare: Some(statement),
            described: Arc::clone(&described),
            versions: self.versions,
        };
        self.prepared.insert(id, prepared);
        Ok(described)
    }

    /// SQLite's own word about a text whose first word it does not know.
    pub(super) fn misspelled(&self, text: &str) -> Result<Option<Error>, Error> {
        let source = tokens(text)?;
        let Some(first) = source.first().filter(|token| token.name().is_some()) else {
            return Ok(None);
        };
        if first.is_any(COMMANDS) {
            return Ok(None);
        }
        let outcome = self
            .tools
            .guard
            .with(Mode::Rows, || one(self.connection, text).map(drop));
        let expected = Error::statement(
            "42601",
            format!("syntax error at or near \"{}\"", first.text),
        );
        // Only an error at the very first word: then no reading of the text can be run.
        Ok(outcome.err().filter(|error| *error == expected))
    }

    /// The statement, if the schema is still the one it was prepared under.
    pub(super) fn current(&mut self, id: u64) -> Result<&mut Prepared<'c>, Error> {
        let versions = self.schema_versions()?;
        let prepared = self.prepared.get_mut(&id).ok_or(Error::Stale)?;
        if prepared.versions != versions {
            return Err(Error::Stale);
        }
        if prepared.translation.catalog {
            catalog::fill(
                self.connection,
                versions,
                &self.tools.names,
                &self.tools.identity,
            )?;
        }
        Ok(prepared)
    }
}

/// VACUUM attaches a file of its own while it runs, which the guard would
/// forbid. With INTO the file would be the client's, and stays forbidden.
fn is_plain_vacuum(translation: &Translation) -> Result<bool, Error> {
    let source = tokens(&translation.text)?;
    Ok(translation.verb == "vacuum" && source.len() <= 2 && !source.iter().any(|t| t.is("into")))
}

/// Every placeholder must be one that the client can bind.
fn check_parameters(statement: &Statement<'_>, count: usize) -> Result<(), Error> {
    for index in 1..=statement.parameter_count() {
        let number = statement
            .parameter_name(index)
            .and_then(|n| n.strip_prefix('$')?.parse::<usize>().ok());
        if !number.is_some_and(|n| (1..=count).contains(&n)) {
            return Err(Error::statement(
                "42P02",
                "there is a placeholder that is not $1, $2, …",
            ));
        }
    }
    Ok(())
}

fn columns(statement: &Statement<'_>, told: Vec<Option<(String, Option<Type>)>>) -> Vec<Column> {
    let plain = statement.columns();
    let describe = |(column, told): (&rusqlite::Column<'_>, Option<(String, Option<Type>)>)| {
        let declared = column
            .decl_type()
            .filter(|d| !d.is_empty())
            .map(types::declared);
        let (name, read) = told.map_or((None, None), |(name, kind)| (Some(name), kind));
        let kind = declared.or(read);
        Column {
            name: name.map_or_else(|| Arc::from(column.name()), Arc::from),
            kind: kind.unwrap_or(Type::TEXT),
            certain: kind.is_some(),
        }
    };
    plain.iter().zip(told).map(describe).collect()
}
