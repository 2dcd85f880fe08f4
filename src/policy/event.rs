//! What became of a statement, as policies with the event hook see it.

use std::sync::Arc;

use crate::model::code::{EventField, Outcome};
use crate::model::{Client, Effects, Kind};

/// An owned copy of one finished statement: it is looked at later, elsewhere.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Who sent it.
    pub client: Client,
    /// What became of it.
    pub outcome: Outcome,
    /// What it was.
    pub kind: Kind,
    /// What it could do.
    pub effects: Effects,
    /// Rows returned to the client.
    pub rows_returned: u64,
    /// Rows changed, where known.
    pub rows_changed: Option<u64>,
    /// Nanoseconds spent deciding.
    pub decide_ns: u64,
    /// Nanoseconds spent in the database.
    pub execute_ns: u64,
    /// Whether the verdict was remembered.
    pub remembered: bool,
    /// The statement with literals as placeholders; empty when it could not be read.
    pub statement: Arc<str>,
    /// Policy and rule that refused it, or would have.
    pub refusal: Option<(Arc<str>, Arc<str>)>,
    /// SQLSTATE, when it ended with an error.
    pub sqlstate: Arc<str>,
    /// The id that the client was given.
    pub incident: Arc<str>,
}

/// Longest statement in an event: thousands of them may wait.
#[cfg(feature = "gate")]
const STATEMENT_BYTES_MAX: usize = 2_000;

/// The beginning of a statement, shared where it is short.
#[cfg(feature = "gate")]
pub(super) fn shown(statement: &Arc<str>) -> Arc<str> {
    if statement.len() <= STATEMENT_BYTES_MAX {
        return statement.clone();
    }
    let mut end = STATEMENT_BYTES_MAX;
    while !statement.is_char_boundary(end) {
        end -= 1;
    }
    statement[..end].into()
}

impl Observed {
    /// A statement of this client that ran; tests fill in the rest.
    pub fn allowed(client: Client, kind: Kind) -> Observed {
        let empty: Arc<str> = Arc::from("");
        Observed {
            client,
            outcome: Outcome::Allowed,
            kind,
            effects: Effects::empty(),
            rows_returned: 0,
            rows_changed: None,
            decide_ns: 0,
            execute_ns: 0,
            remembered: false,
            statement: empty.clone(),
            refusal: None,
            sqlstate: empty.clone(),
            incident: empty,
        }
    }

    /// A numeric field; 0 when nothing is known, and for fields of a later version.
    pub fn number(&self, field: u32) -> u64 {
        match EventField::from_code(field) {
            Some(EventField::Outcome) => self.outcome.code().into(),
            Some(EventField::Kind) => self.kind.code().into(),
            Some(EventField::Effects) => self.effects.bits(),
            Some(EventField::RowsReturned) => self.rows_returned,
            Some(EventField::RowsChanged) => self.rows_changed.unwrap_or(0),
            Some(EventField::DecideNanos) => self.decide_ns,
            Some(EventField::ExecuteNanos) => self.execute_ns,
            Some(EventField::Remembered) => self.remembered.into(),
            _ => 0,
        }
    }

    /// A text field; empty when nothing is known, and for fields of a later version.
    pub fn text(&self, field: u32) -> Arc<str> {
        let refusal = |part: fn(&(Arc<str>, Arc<str>)) -> &Arc<str>| {
            self.refusal
                .as_ref()
                .map_or_else(|| Arc::from(""), |refusal| part(refusal).clone())
        };
        match EventField::from_code(field) {
            Some(EventField::Statement) => self.statement.clone(),
            Some(EventField::Policy) => refusal(|(policy, _)| policy),
            Some(EventField::Rule) => refusal(|(_, rule)| rule),
            Some(EventField::Sqlstate) => self.sqlstate.clone(),
            Some(EventField::Incident) => self.incident.clone(),
            _ => Arc::from(""),
        }
    }
}
