//! A portal: a statement with its values, running.

use rusqlite::types::ValueRef;
use rusqlite::{Statement, ToSql};
use tokio::sync::mpsc;

use super::super::error::Error;
use super::super::guard::Mode;
use super::super::tally::Changes;
use super::super::token::quote_name;
use super::{Done, Event, Order, Worker};
use crate::backend::rows::{Row, Value};
use crate::model::Access;

/// Rows and bytes sent at once.
const BATCH_ROWS: usize = 64;
const BATCH_BYTES: usize = 32 * 1024;

/// A statement with its values.
pub(in super::super) struct Portal<'c> {
    statement: Statement<'c>,
    id: u64,
    mode: Mode,
    begun: bool,
    ended: bool,
}

/// Sets parameter `$n` to `values[n - 1]`.
pub(super) fn bind_values(statement: &mut Statement<'_>, values: &[Value]) -> Result<(), Error> {
    for index in 1..=statement.parameter_count() {
        let number = statement
            .parameter_name(index)
            .and_then(|n| n.strip_prefix('$')?.parse::<usize>().ok());
        let value = number.and_then(|n| values.get(n.checked_sub(1)?));
        let value = value.ok_or_else(|| Error::statement("08P01", "a parameter has no value"))?;
        statement.raw_bind_parameter(index, Bound(value))?;
    }
    Ok(())
}

struct Bound<'v>(&'v Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(rusqlite::types::ToSqlOutput::Borrowed(match self.0 {
            Value::Null => ValueRef::Null,
            Value::Integer(n) => ValueRef::Integer(*n),
            Value::Real(n) => ValueRef::Real(*n),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn owned(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(n) => Value::Integer(n),
        ValueRef::Real(n) => Value::Real(n),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    }
}

impl<'c> Worker<'c> {
    pub(super) fn bind(&mut self, portal: u64, id: u64, values: Vec<Value>) -> Result<(), Error> {
        let (connection, guard) = (self.connection, self.tools.guard.clone());
        self.close_portal(portal);
        let prepared = self.current(id)?;
        let mut statement = prepared.take(connection, &guard)?;
        let mode = prepared.mode;
        bind_values(&mut statement, &values)?;
        self.portals.insert(
            portal,
            Portal {
                statement,
                id,
                mode,
                begun: false,
                ended: false,
            },
        );
        Ok(())
    }

    pub(super) fn close_portal(&mut self, portal: u64) {
        let Some(mut portal) = self.portals.remove(&portal) else {
            return;
        };
        if portal.begun && !portal.ended {
            // Dropping the rows resets the statement.
            drop(portal.statement.raw_query());
        }
        portal.statement.clear_bindings();
        if let Some(prepared) = self.prepared.get_mut(&portal.id) {
            prepared.give(portal.statement);
        }
    }

    pub(super) fn fetch(&mut self, number: u64, order: Order, events: &mpsc::Sender<Event>) {
        let Some(mut portal) = self.portals.remove(&number) else {
            let _ = events.blocking_send(Event::Failed(Error::statement(
                "34000",
                "the portal does not exist",
            )));
            return;
        };
        let outcome = self.run(&mut portal, order, events);
        let gone = matches!(outcome, Ok(None));
        self.portals.insert(number, portal);
        let event = match outcome {
            Ok(Some(done)) => Event::Done(done),
            Ok(None) => Event::Failed(Error::Gone),
            Err(error) => Event::Failed(error),
        };
        if gone || matches!(event, Event::Failed(_)) {
            self.close_portal(number);
        }
        let _ = events.blocking_send(event);
    }

    /// None: nobody listens any more.
    fn run(
        &mut self,
        portal: &mut Portal<'c>,
        order: Order,
        events: &mpsc::Sender<Event>,
    ) -> Result<Option<Done>, Error> {
        if portal.ended {
            return Ok(Some(Done {
                transaction: self.tools.tally.now(),
                ..Done::default()
            }));
        }
        self.tools.watch.begin(order.timeout);
        self.connection
            .busy_timeout(order.lock_timeout.unwrap_or(self.tools.lock_timeout))?;
        let before = Before::take(self, portal, order)?;
        let guard = self.tools.guard.clone();
        let sent = guard.with(portal.mode, || send_rows(portal, order.rows, events));
        let rows = match sent {
            Ok(Some(rows)) => rows,
            Ok(None) => return Ok(None),
            Err(error) => return Err(self.explain(error)),
        };
        before.settle(self, portal)?;
        let affected = if portal.statement.readonly() {
            0
        } else {
            self.connection.changes()
        };
        Ok(Some(Done {
            rows,
            suspended: !portal.ended,
            affected,
            statement: self.tools.tally.since(&before.tally),
            transaction: self.tools.tally.now(),
        }))
    }

    fn explain(&self, error: Error) -> Error {
        if error.code() == "57014" && self.tools.watch.timed_out() {
            return Error::statement("57014", "canceling statement due to statement timeout");
        }
        error
    }
}

/// Steps through the rows; stops after `limit` of them when that is not 0.
fn send_rows(
    portal: &mut Portal<'_>,
    limit: u64,
    events: &mpsc::Sender<Event>,
) -> Result<Option<u64>, Error> {
    portal.begun = true;
    let width = portal.statement.column_count();
    let mut rows = portal.statement.raw_query();
    let (mut sent, mut batch, mut weight) = (0u64, Vec::<Row>::new(), 0usize);
    let ended = loop {
        if limit != 0 && sent == limit {
            break false;
        }
        let Some(row) = rows.next()? else { break true };
        let values: rusqlite::Result<Row> = (0..width).map(|i| row.get_ref(i).map(owned)).collect();
        let values = values?;
        weight += values.iter().map(Value::weight).sum::<usize>();
        batch.push(values);
        sent += 1;
        if (batch.len() >= BATCH_ROWS || weight >= BATCH_BYTES)
            && events
                .blocking_send(Event::Rows(std::mem::take(&mut batch)))
                .is_err()
        {
            return Ok(None);
        }
        weight = if batch.is_empty() { 0 } else { weight };
    };
    if !batch.is_empty() && events.blocking_send(Event::Rows(batch)).is_err() {
        return Ok(None);
    }
    if !ended {
        // Not dropped: that would reset the statement, and the next run is to go on here.
        std::mem::forget(rows);
    }
    portal.ended = ended;
    Ok(Some(sent))
}

/// What must be known from before, to count what the hook does not see.
struct Before {
    tally: Vec<Changes>,
    total: u64,
    rows: Vec<(&'static str, String, u64)>,
}

impl Before {
    fn take(worker: &Worker<'_>, portal: &Portal<'_>, order: Order) -> Result<Before, Error> {
        let mut rows = Vec::new();
        if order.exact && !portal.begun {
            for (schema, table) in worker.replaceable(portal.id)? {
                let count = worker.rows_in(schema, &table, i64::MAX as u64)?;
                rows.push((schema, table, count));
            }
        }
        Ok(Before {
            tally: worker.tools.tally.now(),
            total: worker.connection.total_changes(),
            rows,
        })
    }

    fn settle(&self, worker: &Worker<'_>, portal: &Portal<'_>) -> Result<(), Error> {
        let seen = worker.tools.tally.since(&self.tally);
        self.without_rowid(worker, portal, &seen);
        // What was charged blindly may have been added rows.
        let seen = worker.tools.tally.since(&self.tally);
        for (schema, table, before) in &self.rows {
            let known = seen
                .iter()
                .find(|c| c.schema == *schema && c.table == *table);
            let (inserted, deleted) = known.map_or((0, 0), |c| {
                (
                    if c.inserted > 0 {
                        c.inserted
                    } else {
                        c.updated
                    },
                    c.deleted,
                )
            });
            let after = worker.rows_in(schema, table, i64::MAX as u64)?;
            let replaced = (before + inserted).saturating_sub(deleted + after);
            worker.tools.tally.add(&Changes {
                deleted: replaced,
                ..Changes::none(schema, table)
            });
        }
        Ok(())
    }

    /// Changes that no hook has seen are charged to every changed table the hook
    /// does not watch: too many rather than too few. Tables the statement does not
    /// name (those a virtual table keeps) explain nothing.
    fn without_rowid(&self, worker: &Worker<'_>, portal: &Portal<'_>, seen: &[Changes]) {
        let Some(prepared) = worker.prepared.get(&portal.id) else {
            return;
        };
        let changed: Vec<_> = prepared.described.reach.changed().collect();
        let named = |c: &&Changes| {
            changed
                .iter()
                .any(|t| t.schema == c.schema && t.name == c.table)
        };
        let hooked: u64 = seen.iter().filter(named).map(Changes::total).sum();
        let total = worker.connection.total_changes().saturating_sub(self.total);
        let unseen = total.saturating_sub(hooked);
        let silent = |schema: &str, table: &str| {
            !seen.iter().any(|c| c.schema == schema && c.table == table)
        };
        for touch in changed
            .iter()
            .filter(|t| unseen > 0 && silent(t.schema, &t.name))
        {
            worker.tools.tally.add(&Changes {
                updated: unseen,
                ..Changes::none(touch.schema, &touch.name)
            });
        }
    }
}

impl Worker<'_> {
    /// Changed tables in which REPLACE may remove rows: the statement, or anything
    /// in the schema that it may set off, says REPLACE.
    fn replaceable(&self, id: u64) -> Result<Vec<(&'static str, String)>, Error> {
        let Some(prepared) = self.prepared.get(&id) else {
            return Ok(Vec::new());
        };
        let changed: Vec<_> = prepared
            .described
            .reach
            .changed()
            .filter(|t| {
                matches!(t.schema, "public" | "pg_temp")
                    && t.access.intersects(Access::INSERT | Access::UPDATE)
            })
            .map(|t| (t.schema, t.name.clone()))
            .collect();
        if changed.is_empty() {
            return Ok(changed);
        }
        let said = prepared.text().to_ascii_lowercase().contains("replace")
            || self.schema_says_replace()?;
        let mut tables = Vec::new();
        for (schema, table) in changed.into_iter().filter(|_| said) {
            let database = if schema == "pg_temp" { "temp" } else { "main" };
            let text = format!(
                "SELECT 1 FROM {database}.sqlite_schema WHERE type = 'table' AND lower(name) = ?1"
            );
            if self
                .connection
                .prepare_cached(&text)?
                .exists([quote_name(&table).trim_matches('"')])?
            {
                tables.push((schema, table));
            }
        }
        Ok(tables)
    }

    fn schema_says_replace(&self) -> Result<bool, Error> {
        let text = "SELECT 1 FROM (SELECT sql FROM main.sqlite_schema UNION ALL SELECT sql FROM temp.sqlite_schema) WHERE sql LIKE '%replace%' LIMIT 1";
        Ok(self.connection.prepare_cached(text)?.exists([])?)
    }
}
