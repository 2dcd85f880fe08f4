//! Row limits: what has to be counted for a statement, and whether it is too much.
//!
//! [`plan()`] turns requirements and the catalog's knowledge into a [`LimitPlan`]:
//! nothing to do, trust the command tag, read the server's counters before and
//! after, or refuse. [`Ledger`] adds up over a transaction, savepoints included.
//!
//! Deliberately not here: messages, links, the order of things. The session
//! measures; see [`LimitPlan`] for what it has to do.
//!
//! Read [`plan()`] first.

mod ledger;
mod plan;
mod reading;

use std::sync::Arc;

use crate::backend::postgres::catalog::Oid;
use crate::model::Refusal;

pub use ledger::Ledger;
pub use plan::{is_limited, plan};
pub use reading::{Delta, Readings};

/// SQL that fires every trigger that was put off, so that what it does can be counted before COMMIT.
pub const SETTLE_QUERY: &str = "SET CONSTRAINTS ALL IMMEDIATE";

/// What the limits of a permit mean for one statement. A pure function of the
/// requirements, the facts, the snapshot and the [`World`], so it can be kept
/// under those keys.
///
/// [`World`]: crate::backend::postgres::catalog::World
#[derive(Debug, Clone, Default)]
pub struct LimitPlan {
    /// What to do about changed rows.
    pub changed: CountPlan,
    /// Most rows that may be returned to the client.
    pub returned: Option<Returned>,
    /// Nothing the statement does could be undone or needs to be: it needs no
    /// holding of the commit, even under a limit of returned rows.
    pub read_only: bool,
}

/// How changed rows are counted.
#[derive(Debug, Clone, Default)]
pub enum CountPlan {
    /// No limited table can be changed.
    #[default]
    Nothing,
    /// The command tag is the number of rows changed in every one of these groups.
    ///
    /// Where the tag may never come (a portal with a row limit), treat as `Counters`.
    Tag(Arc<[Group]>),
    /// Read the counters before and after, inside the transaction.
    Counters(Counting),
    /// Must not run.
    Refuse(Refusal),
}

/// What to count with the server's counters.
#[derive(Debug, Clone)]
pub struct Counting {
    /// Sums that are bounded.
    pub groups: Arc<[Group]>,
    /// All tables of all groups, without duplicates: the argument of `counter_query`.
    pub oids: Arc<[Oid]>,
    /// The statement can set off triggers that wait for COMMIT. Send
    /// [`SETTLE_QUERY`] before the last reading of the transaction, that is
    /// before the reading behind the statement when its transaction ends with
    /// it, else before the COMMIT that is held.
    pub settle: bool,
}

/// One sum of changed rows that is bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Policy that set the limit.
    pub policy: Arc<str>,
    /// Table, in messages; with the policy it identifies the sum in the [`Ledger`].
    pub label: Arc<str>,
    /// Tables whose changes add up; empty when only the tag can tell.
    pub oids: Arc<[Oid]>,
    /// Most rows.
    pub limit: u64,
    /// Over what the sum runs.
    pub scope: Scope,
}

/// Over what a sum of changed rows runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The transaction.
    Transaction,
    /// One statement.
    Statement,
}

/// A limit of returned rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returned {
    /// Policy that set the limit.
    pub policy: Arc<str>,
    /// Table, in messages; none: the limit is the statement's, or what the
    /// statement reads cannot be told and the smallest limit of all holds.
    pub label: Option<Arc<str>>,
    /// Most rows.
    pub limit: u64,
}

impl Returned {
    /// The refusal for the row past the limit.
    pub fn refusal(&self) -> Refusal {
        let limit = self.limit;
        let message = match &self.label {
            Some(label) => format!("statement returns more than {limit} rows of \"{label}\""),
            None => format!("statement returns more than {limit} rows"),
        };
        Refusal {
            policy: Arc::clone(&self.policy),
            ..Refusal::gate(
                "rows-returned-max",
                crate::model::refusal::sqlstate::ROW_LIMIT,
                message,
            )
            .detail(format!(
                "the limit is {limit} rows; the statement was stopped and its effects were undone"
            ))
            .hint("ask for fewer rows: add a WHERE clause or a LIMIT")
        }
    }
}

impl Group {
    /// The refusal when the sum came to `rows`, `earlier` of them by statements before this one.
    pub fn refusal(&self, rows: u64, earlier: u64) -> Refusal {
        let (label, limit) = (&self.label, self.limit);
        let message = match self.scope {
            _ if earlier == 0 => {
                format!("statement would change {rows} rows of \"{label}\", the limit is {limit}")
            }
            _ => {
                format!("transaction would change {rows} rows of \"{label}\", the limit is {limit}")
            }
        };
        let detail = match earlier {
            0 => "nothing was changed".to_owned(),
            _ => format!(
                "{earlier} rows were changed earlier in the transaction, {} by this statement; nothing of it stays",
                rows - earlier.min(rows)
            ),
        };
        self.refuse(message).detail(detail).hint(match self.scope {
            Scope::Transaction => {
                "narrow the WHERE clause, or work in several transactions of at most so many rows"
            }
            Scope::Statement => {
                "narrow the WHERE clause, or work in several statements of at most so many rows"
            }
        })
    }

    fn refuse(&self, message: String) -> Refusal {
        Refusal {
            policy: Arc::clone(&self.policy),
            ..Refusal::gate(
                "rows-changed-max",
                crate::model::refusal::sqlstate::ROW_LIMIT,
                message,
            )
        }
    }
}
