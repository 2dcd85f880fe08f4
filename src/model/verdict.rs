//! What policies answer: data, never actions.

use std::sync::Arc;

use super::code::Measure;
use super::refusal::{Refusal, Severity};

/// The frozen three-case answer of one `judge` call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// No objection; requirements may have been added.
    Pass,
    /// Must not run.
    Refuse,
    /// Must not run; the client gets the response the policy built.
    Respond,
}

/// Masking method that leaves NULL; also what two different methods on one column come to.
pub const MASK_NULL: u32 = 0;

/// A list of name patterns registered at `configure`; see `docs/patterns.md`.
pub type PatternText = Arc<str>;

/// Something the host must do or watch for the permit to hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Requirement {
    /// Name of the policy that asked, as configured.
    pub policy: Arc<str>,
    /// What is asked.
    pub kind: RequirementKind,
}

/// The kinds of requirement of interface 0.1.
#[derive(Debug, Clone, PartialEq)]
pub enum RequirementKind {
    /// At most this many rows changed in the relation (index into the facts), or by the whole statement.
    RowsChangedMax {
        /// Index into the relations of the facts; none: the whole statement.
        relation: Option<u32>,
        /// Rows.
        rows: u64,
    },
    /// At most this many rows returned to the client.
    RowsReturnedMax {
        /// Rows.
        rows: u64,
    },
    /// Whatever the statement does, by whatever way it gets there: at most so
    /// many rows of any one table whose most specific pattern in the list is `pattern`.
    TableRowsMax {
        /// All patterns of the set, for "most specific wins".
        patterns: Arc<[PatternText]>,
        /// Index of the pattern the numbers belong to.
        pattern: u32,
        /// Rows changed per table and transaction; none: no limit.
        changed: Option<u64>,
        /// Rows returned when the statement reads the table; none: no limit.
        returned: Option<u64>,
    },
    /// A rate: the cell `bucket` of the policy, keyed by the dimensions in `by`.
    Rate {
        /// Bucket name, unique in the policy.
        bucket: Arc<str>,
        /// 1 user, 2 address, 4 application, 8 database, 16 statement class.
        by: u64,
        /// Statements that may come at once.
        burst: u32,
        /// Time in which `burst` statements are regained, in milliseconds.
        period_ms: u64,
    },
    /// A bound on the plan.
    PlanMax {
        /// What is bounded.
        measure: Measure,
        /// Largest value allowed.
        limit: f64,
    },
    /// The plan is handed to the policy's plan hook.
    WantPlan,
    /// Show the first rows that would be affected.
    Preview {
        /// Rows.
        rows: u32,
    },
    /// Execute and roll back.
    DryRun,
    /// Run in a read-only transaction.
    ReadOnly,
    /// A verified backup of this scope first.
    Backup {
        /// Open registry of scopes.
        scope: u32,
    },
    /// A one-time code must be given.
    Confirm {
        /// Life of the code in milliseconds.
        ttl_ms: u32,
    },
    /// Upper bound on the statement's time.
    StatementTimeout {
        /// Milliseconds.
        ms: u32,
    },
    /// Upper bound on waiting for locks.
    LockTimeout {
        /// Milliseconds.
        ms: u32,
    },
    /// Values of a column are masked.
    Mask {
        /// Folded column name.
        column: Arc<str>,
        /// Open registry of methods.
        method: u32,
    },
}

impl RequirementKind {
    /// Kebab-case name, as in the WIT function that adds it.
    pub fn name(&self) -> &'static str {
        match self {
            RequirementKind::RowsChangedMax { .. } => "rows-changed-max",
            RequirementKind::RowsReturnedMax { .. } => "rows-returned-max",
            RequirementKind::TableRowsMax { .. } => "table-rows-max",
            RequirementKind::Rate { .. } => "rate",
            RequirementKind::PlanMax { .. } => "plan-max",
            RequirementKind::WantPlan => "want-plan",
            RequirementKind::Preview { .. } => "preview",
            RequirementKind::DryRun => "dry-run",
            RequirementKind::ReadOnly => "read-only",
            RequirementKind::Backup { .. } => "backup",
            RequirementKind::Confirm { .. } => "confirm",
            RequirementKind::StatementTimeout { .. } => "statement-timeout",
            RequirementKind::LockTimeout { .. } => "lock-timeout",
            RequirementKind::Mask { .. } => "mask",
        }
    }
}

/// Told to the client, not a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Policy and rule, `policy/rule`.
    pub rule: Arc<str>,
    /// Text.
    pub text: Arc<str>,
}

/// Told to the operator on every use of the verdict, remembered or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Policy and rule, `policy/rule`.
    pub rule: Arc<str>,
    /// How bad.
    pub severity: Severity,
}

/// Rows a policy answers with instead of the database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Response {
    /// Name and type OID of each column.
    pub columns: Vec<(Arc<str>, u32)>,
    /// Values in text form.
    pub rows: Vec<Vec<Option<Arc<str>>>>,
}

/// One policy's answer, or the folded answer of a chain.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Verdict {
    /// Set when refused.
    pub refusal: Option<Refusal>,
    /// Set when answered by the policy.
    pub response: Option<Response>,
    /// Conditions.
    pub requirements: Vec<Requirement>,
    /// For the client.
    pub notices: Vec<Notice>,
    /// For the operator.
    pub alerts: Vec<Alert>,
    /// Further refusals by later policies: recorded, not shown.
    pub also_refused: Vec<Refusal>,
    /// Shapes to be learned once the statement is permitted: policy name and set.
    pub learned: Vec<(Arc<str>, Arc<str>)>,
}

impl Verdict {
    /// What the chain decided.
    pub fn decision(&self) -> Decision {
        if self.refusal.is_some() {
            Decision::Refuse
        } else if self.response.is_some() {
            Decision::Respond
        } else {
            Decision::Pass
        }
    }
}
