//! The thread of one connection: commands in, rows out.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::catalog::{self, Names};
use super::engine::Identity;
use super::error::Error;
use super::guard::{Guard, Mode, Reach};
use super::infer::Columns;
use super::tally::{Changes, Tally};
use super::token::quote_name;
use super::watch::Watch;
use crate::backend::rows::{Column, Row, Type, Value};

mod prepared;
mod run;

use prepared::Prepared;
use run::Portal;

type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What a link asks of its thread.
pub(super) enum Command {
    Prepare {
        id: u64,
        text: Arc<str>,
        types: Vec<u32>,
        reply: Reply<Arc<Described>>,
    },
    Misspelled {
        text: Arc<str>,
        reply: Reply<Option<Error>>,
    },
    Bind {
        portal: u64,
        statement: u64,
        values: Vec<Value>,
        reply: Reply<()>,
    },
    Fetch {
        portal: u64,
        order: Order,
        events: mpsc::Sender<Event>,
    },
    ClosePortal {
        portal: u64,
        reply: Reply<()>,
    },
    CloseStatement {
        id: u64,
        reply: Reply<()>,
    },
    Control {
        control: Control,
        reply: Reply<()>,
    },
    InTransaction {
        reply: Reply<bool>,
    },
    Scans {
        statement: u64,
        values: Vec<Value>,
        reply: Reply<Vec<Scan>>,
    },
    RowsIn {
        schema: &'static str,
        table: String,
        cap: u64,
        reply: Reply<u64>,
    },
}

/// What a statement is, before it runs.
#[derive(Debug, Clone)]
pub struct Described {
    /// Columns it answers with; empty: no rows.
    pub columns: Vec<Column>,
    /// Types of its parameters.
    pub parameters: Vec<Type>,
    /// SQLite is sure that it changes nothing in any database.
    pub readonly: bool,
    /// Everything it touches.
    pub reach: Reach,
    /// First keyword, lower case.
    pub verb: String,
}

/// How a portal is run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Order {
    /// Stop after this many rows; 0: all.
    pub rows: u64,
    /// Longest time it may take.
    pub timeout: Option<Duration>,
    /// Longest wait for another transaction's lock.
    pub lock_timeout: Option<Duration>,
    /// Count what the hooks cannot see, too; costs a look at the changed tables.
    pub exact: bool,
}

/// What a running portal tells.
#[derive(Debug)]
pub enum Event {
    /// Some rows.
    Rows(Vec<Row>),
    /// It is through, or has stopped at the number of rows asked for.
    Done(Done),
    /// It failed.
    Failed(Error),
}

/// How a run ended.
#[derive(Debug, Clone, Default)]
pub struct Done {
    /// Rows sent in this run.
    pub rows: u64,
    /// Stopped at the number of rows asked for; more may follow.
    pub suspended: bool,
    /// Rows the statement itself changed, as the command tag counts.
    pub affected: u64,
    /// Rows changed by this statement, by any way.
    pub statement: Vec<Changes>,
    /// Rows changed by the transaction so far.
    pub transaction: Vec<Changes>,
}

/// A step of the transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// Begin; `true` takes the write lock at once.
    Begin(bool),
    /// Commit.
    Commit,
    /// Roll back all.
    Rollback,
    /// SAVEPOINT.
    Savepoint(String),
    /// RELEASE.
    Release(String),
    /// ROLLBACK TO.
    RollbackTo(String),
}

/// A table that would be read from end to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// Table name.
    pub table: String,
}

/// Instruments of one connection.
pub(super) struct Tools {
    pub guard: Guard,
    pub tally: Tally,
    pub names: Names,
    pub watch: Watch,
    pub lock_timeout: Duration,
    pub identity: Identity,
}

/// Serves one link until it is dropped.
pub(super) fn serve(connection: &Connection, tools: Tools, mut inbox: mpsc::Receiver<Command>) {
    let mut worker = Worker {
        connection,
        tools,
        prepared: HashMap::new(),
        portals: HashMap::new(),
        columns: HashMap::new(),
        versions: (-1, -1),
    };
    while let Some(command) = inbox.blocking_recv() {
        worker.obey(command);
    }
    worker.portals.clear();
    if !connection.is_autocommit() {
        let _ = connection.execute_batch("ROLLBACK");
    }
}

pub(super) struct Worker<'c> {
    connection: &'c Connection,
    tools: Tools,
    prepared: HashMap<u64, Prepared<'c>>,
    portals: HashMap<u64, Portal<'c>>,
    /// Columns of tables, valid for `versions`.
    columns: HashMap<String, Option<Columns>>,
    versions: (i64, i64),
}

impl<'c> Worker<'c> {
    fn obey(&mut self, command: Command) {
        // A receiver that is gone has nobody to tell.
        match command {
            Command::Prepare {
                id,
                text,
                types,
                reply,
            } => {
                let _ = reply.send(self.prepare(id, text, &types));
            }
            Command::Misspelled { text, reply } => {
                let _ = reply.send(self.misspelled(&text));
            }
            Command::Bind {
                portal,
                statement,
                values,
                reply,
            } => {
                let _ = reply.send(self.bind(portal, statement, values));
            }
            Command::Fetch {
                portal,
                order,
                events,
            } => self.fetch(portal, order, &events),
            Command::ClosePortal { portal, reply } => {
                self.close_portal(portal);
                let _ = reply.send(Ok(()));
            }
            Command::CloseStatement { id, reply } => {
                self.prepared.remove(&id);
                let _ = reply.send(Ok(()));
            }
            Command::Control { control, reply } => {
                let _ = reply.send(self.control(control));
            }
            Command::InTransaction { reply } => {
                let _ = reply.send(Ok(!self.connection.is_autocommit()));
            }
            Command::Scans {
                statement,
                values,
                reply,
            } => {
                let _ = reply.send(self.scans(statement, &values));
            }
            Command::RowsIn {
                schema,
                table,
                cap,
                reply,
            } => {
                let _ = reply.send(self.rows_in(schema, &table, cap));
            }
        }
    }

    fn control(&mut self, control: Control) -> Result<(), Error> {
        self.tools.watch.begin(None);
        let text = match &control {
            Control::Begin(true) => "BEGIN IMMEDIATE".to_owned(),
            Control::Begin(false) => "BEGIN".to_owned(),
            Control::Commit => "COMMIT".to_owned(),
            Control::Rollback => "ROLLBACK".to_owned(),
            Control::Savepoint(name) => format!("SAVEPOINT {}", quote_name(name)),
            Control::Release(name) => format!("RELEASE {}", quote_name(name)),
            Control::RollbackTo(name) => format!("ROLLBACK TO {}", quote_name(name)),
        };
        if !matches!(control, Control::Savepoint(_) | Control::Release(_)) {
            // Portals end with their transaction; open ones would block COMMIT.
            self.portals.clear();
        }
        self.connection.execute_batch(&text)?;
        match control {
            Control::Begin(_) | Control::Commit | Control::Rollback => self.tools.tally.reset(),
            Control::Savepoint(name) => self.tools.tally.mark(&name),
            Control::Release(name) => self.tools.tally.release(&name),
            Control::RollbackTo(name) => self.tools.tally.rewind(&name),
        }
        Ok(())
    }

    /// Numbers that move with every change of a definition, by any connection.
    fn schema_versions(&self) -> Result<(i64, i64), Error> {
        let read = |text: &str| -> rusqlite::Result<i64> {
            self.connection
                .prepare_cached(text)?
                .query_row([], |row| row.get(0))
        };
        Ok((
            read("PRAGMA main.schema_version")?,
            read("PRAGMA temp.schema_version")?,
        ))
    }

    /// Forgets what was known of an older schema.
    fn refresh(&mut self) -> Result<(), Error> {
        let versions = self.schema_versions()?;
        if versions != self.versions {
            // SQLite compares its copy of the schema with the file only when a
            // statement runs, not when one is prepared: without this the authorizer
            // would be asked about a view as it was.
            self.connection
                .prepare_cached("SELECT 1 FROM main.sqlite_schema LIMIT 1")?
                .exists([])?;
            self.columns.clear();
            self.versions = versions;
        }
        Ok(())
    }

    fn columns_of(&mut self, table: &str) -> Option<Columns> {
        if let Some(known) = self.columns.get(table) {
            return known.clone();
        }
        let found = catalog::columns(self.connection, table)
            .ok()
            .filter(|c| !c.is_empty())
            .map(Rc::new);
        self.columns.insert(table.to_owned(), found.clone());
        found
    }

    /// The answer stops at `cap`, and so does the work.
    fn rows_in(&self, schema: &str, table: &str, cap: u64) -> Result<u64, Error> {
        let database = if schema == "pg_temp" { "temp" } else { "main" };
        let text = format!(
            "SELECT count(*) FROM (SELECT 1 FROM {database}.{} LIMIT {cap})",
            quote_name(table)
        );
        let count: i64 = self.connection.query_row(&text, [], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    fn scans(&mut self, statement: u64, values: &[Value]) -> Result<Vec<Scan>, Error> {
        let prepared = self.prepared.get(&statement).ok_or(Error::Stale)?;
        let text = format!("EXPLAIN QUERY PLAN {}", prepared.text());
        let guard = self.tools.guard.clone();
        let mut explain = self.connection.prepare(&text)?;
        run::bind_values(&mut explain, values)?;
        let mut scans = Vec::new();
        guard.with(Mode::Own, || -> Result<(), Error> {
            let mut rows = explain.raw_query();
            while let Some(row) = rows.next()? {
                let detail: String = row.get("detail")?;
                scans.extend(scanned_table(&detail));
            }
            Ok(())
        })?;
        Ok(scans)
    }
}

/// `SCAN users`, also over an index: every row is read. Subqueries that were
/// scanned before and constant rows are no tables.
fn scanned_table(detail: &str) -> Option<Scan> {
    let rest = detail.strip_prefix("SCAN ")?;
    let table = rest.split(' ').next().unwrap_or_default();
    let own = table.starts_with('(') || table == "CONSTANT" || rest.contains("VIRTUAL TABLE");
    (!own).then(|| Scan {
        table: table.to_owned(),
    })
}
