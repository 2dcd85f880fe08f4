//! The verdict a policy builds while it judges, and the rules it must keep.

use std::sync::Arc;

use super::ask::Ask;
use super::disguise;
use super::fault::Fault;
use crate::model::refusal::sqlstate;
use crate::model::{
    Alert, Decision, Measure, Notice, Refusal, Requirement, RequirementKind, Response, Severity,
    Verdict,
};

/// Most things one call may add to its verdict.
const ITEMS_MAX: usize = 1000;

/// Most bytes of text in one verdict.
const BYTES_MAX: usize = 256 * 1024;

/// Longest text shown to a client.
const MESSAGE_BYTES_MAX: usize = 2000;

/// Longest rule, bucket or set name.
const RULE_BYTES_MAX: usize = 63;

/// The verdict while it is being made.
#[derive(Debug, Default)]
pub struct Draft {
    reason: Option<Reason>,
    disguise: bool,
    verdict: Verdict,
    response: Response,
    items: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Reason {
    rule: Arc<str>,
    message: Arc<str>,
    hint: Arc<str>,
}

impl Draft {
    /// Keeps a runaway policy from filling the host's memory.
    fn grow(&mut self, bytes: usize) -> Result<(), Fault> {
        self.items += 1;
        self.bytes += bytes;
        if self.items > ITEMS_MAX || self.bytes > BYTES_MAX {
            return Err(Fault::verdict(format!(
                "more than {ITEMS_MAX} entries or {BYTES_MAX} bytes of text"
            )));
        }
        Ok(())
    }
}

impl Ask {
    /// Why it is refused. The first one counts.
    pub fn reason(&mut self, rule: &str, message: &str, hint: &str) -> Result<(), Fault> {
        self.draft.grow(rule.len() + message.len() + hint.len())?;
        let rule = checked_rule(rule)?;
        if message.trim().is_empty() {
            return Err(Fault::verdict(format!(
                "the reason of rule {rule} has no message"
            )));
        }
        self.draft.reason.get_or_insert_with(|| Reason {
            rule,
            message: shown(message),
            hint: shown(hint),
        });
        Ok(())
    }

    /// Words the refusal as the server words a missing table (code 1).
    pub fn disguise(&mut self, as_code: u32) -> Result<(), Fault> {
        if as_code != 1 {
            return Err(Fault::verdict(format!(
                "this version knows no disguise {as_code}"
            )));
        }
        self.draft.disguise = true;
        Ok(())
    }

    /// Tells the client something.
    pub fn notice(&mut self, rule: &str, text: &str) -> Result<(), Fault> {
        self.draft.grow(rule.len() + text.len())?;
        let rule = self.qualified(rule)?;
        self.draft.verdict.notices.push(Notice {
            rule,
            text: shown(text),
        });
        Ok(())
    }

    /// Tells the operator something.
    pub fn alert(&mut self, rule: &str, severity: u32) -> Result<(), Fault> {
        self.draft.grow(rule.len())?;
        let rule = self.qualified(rule)?;
        self.draft.verdict.alerts.push(Alert {
            rule,
            severity: Severity::from_code(severity),
        });
        Ok(())
    }

    /// At most so many rows changed in a relation, or by the whole statement. Out of range is a fault.
    pub fn rows_changed_max(&mut self, relation: Option<u32>, rows: u64) -> Result<(), Fault> {
        let known = self.subject.statement.facts.relations.len();
        if let Some(index) = relation.filter(|index| *index as usize >= known) {
            return Err(Fault::verdict(format!(
                "rows-changed-max names relation {index} of {known}"
            )));
        }
        self.require(RequirementKind::RowsChangedMax { relation, rows })
    }

    /// At most so many rows returned.
    pub fn rows_returned_max(&mut self, rows: u64) -> Result<(), Fault> {
        self.require(RequirementKind::RowsReturnedMax { rows })
    }

    /// At most so many rows of any one table under this pattern; negative numbers mean no limit.
    pub fn table_rows_max(
        &mut self,
        names: u32,
        pattern: u32,
        changed: i64,
        returned: i64,
    ) -> Result<(), Fault> {
        let patterns = self.registry.names(names)?.relations.sources().clone();
        if pattern as usize >= patterns.len() {
            return Err(Fault::verdict(format!(
                "table-rows-max names pattern {pattern} of {}",
                patterns.len()
            )));
        }
        let (changed, returned) = (u64::try_from(changed).ok(), u64::try_from(returned).ok());
        if changed.is_none() && returned.is_none() {
            return Ok(());
        }
        self.require(RequirementKind::TableRowsMax {
            patterns,
            pattern,
            changed,
            returned,
        })
    }

    /// A rate; a burst or period of nothing is a fault.
    pub fn rate(&mut self, bucket: &str, by: u64, burst: u32, period_ms: u64) -> Result<(), Fault> {
        if burst == 0 || period_ms == 0 {
            return Err(Fault::verdict(format!(
                "rate {bucket} has no burst or no period"
            )));
        }
        let bucket = checked_name(bucket)?;
        self.require(RequirementKind::Rate {
            bucket,
            by,
            burst,
            period_ms,
        })
    }

    /// A bound on the plan. A measure this host does not know cannot be enforced: a fault.
    pub fn plan_max(&mut self, measure: u32, limit: f64) -> Result<(), Fault> {
        let known = Measure::from_code(measure);
        let measure = known.ok_or_else(|| {
            Fault::verdict(format!("this version knows no plan measure {measure}"))
        })?;
        if limit.is_nan() {
            return Err(Fault::verdict(format!(
                "the limit of {} is not a number",
                measure.name()
            )));
        }
        self.require(RequirementKind::PlanMax { measure, limit })
    }

    /// Asks for the plan hook.
    pub fn want_plan(&mut self) -> Result<(), Fault> {
        self.require(RequirementKind::WantPlan)
    }

    /// Shows the first rows first.
    pub fn preview(&mut self, rows: u32) -> Result<(), Fault> {
        self.require(RequirementKind::Preview { rows })
    }

    /// Executes and rolls back.
    pub fn dry_run(&mut self) -> Result<(), Fault> {
        self.require(RequirementKind::DryRun)
    }

    /// Runs in a read-only transaction.
    pub fn read_only(&mut self) -> Result<(), Fault> {
        self.require(RequirementKind::ReadOnly)
    }

    /// A backup of this scope first.
    pub fn backup(&mut self, scope: u32) -> Result<(), Fault> {
        self.require(RequirementKind::Backup { scope })
    }

    /// A one-time code must be given.
    pub fn confirm(&mut self, ttl_ms: u32) -> Result<(), Fault> {
        self.require(RequirementKind::Confirm { ttl_ms })
    }

    /// Upper bound on the statement's time.
    pub fn statement_timeout(&mut self, ms: u32) -> Result<(), Fault> {
        self.require(RequirementKind::StatementTimeout { ms })
    }

    /// Upper bound on waiting for locks.
    pub fn lock_timeout(&mut self, ms: u32) -> Result<(), Fault> {
        self.require(RequirementKind::LockTimeout { ms })
    }

    /// Masks a column.
    pub fn mask(&mut self, column: u32, method: u32) -> Result<(), Fault> {
        let column = self.name(column)?;
        if column.is_empty() {
            return Err(Fault::verdict("mask names no column"));
        }
        self.require(RequirementKind::Mask { column, method })
    }

    /// Has the shape learned once the statement is permitted.
    pub fn learn(&mut self, learned: &str) -> Result<(), Fault> {
        self.draft.grow(learned.len())?;
        let learned = checked_name(learned)?;
        self.draft
            .verdict
            .learned
            .push((self.policy.clone(), learned));
        Ok(())
    }

    /// Adds a column to the response.
    pub fn column(&mut self, name: &str, type_oid: u32) -> Result<(), Fault> {
        self.draft.grow(name.len())?;
        if !self.draft.response.rows.is_empty() {
            return Err(Fault::verdict("a response column after the first row"));
        }
        self.draft.response.columns.push((shown(name), type_oid));
        Ok(())
    }

    /// Adds a row to the response; it must have a value for each column.
    pub fn row(&mut self, values: Vec<Option<String>>) -> Result<(), Fault> {
        self.draft
            .grow(values.iter().flatten().map(String::len).sum())?;
        let columns = self.draft.response.columns.len();
        if values.len() != columns {
            return Err(Fault::verdict(format!(
                "a response row of {} values for {columns} columns",
                values.len()
            )));
        }
        let row = values
            .into_iter()
            .map(|value| value.map(|text| Arc::from(text.replace('\0', ""))))
            .collect();
        self.draft.response.rows.push(row);
        Ok(())
    }

    /// Checks the rules and hands the verdict out.
    pub(super) fn verdict(&mut self, decision: Decision) -> Result<Verdict, Fault> {
        let draft = std::mem::take(&mut self.draft);
        let mut verdict = draft.verdict;
        match decision {
            Decision::Pass => {}
            Decision::Refuse => {
                let reason = draft
                    .reason
                    .ok_or_else(|| Fault::verdict("refuse without a reason"))?;
                verdict.refusal = Some(self.refusal(reason, draft.disguise)?);
            }
            Decision::Respond if draft.response.columns.is_empty() => {
                return Err(Fault::verdict("respond without a column"));
            }
            Decision::Respond => verdict.response = Some(draft.response),
        }
        if decision == Decision::Refuse {
            verdict.requirements.clear();
            verdict.learned.clear();
        }
        Ok(verdict)
    }

    fn refusal(&self, reason: Reason, disguised: bool) -> Result<Refusal, Fault> {
        let statement = &self.subject.statement;
        let disguise = if disguised {
            let index = self.last_found.unwrap_or(0) as usize;
            if statement.facts.relations.is_empty() {
                return Err(Fault::verdict(
                    "a disguise for a statement without relations",
                ));
            }
            Some(disguise::hide(statement, index))
        } else {
            None
        };
        Ok(Refusal {
            policy: self.policy.clone(),
            rule: reason.rule,
            code: sqlstate::REFUSED,
            message: reason.message,
            detail: Arc::from(""),
            hint: reason.hint,
            disguise,
        })
    }

    fn require(&mut self, kind: RequirementKind) -> Result<(), Fault> {
        self.draft.grow(0)?;
        let requirement = Requirement {
            policy: self.policy.clone(),
            kind,
        };
        if !self.draft.verdict.requirements.contains(&requirement) {
            self.draft.verdict.requirements.push(requirement);
        }
        Ok(())
    }

    fn qualified(&self, rule: &str) -> Result<Arc<str>, Fault> {
        Ok(format!("{}/{}", self.policy, checked_rule(rule)?).into())
    }
}

/// Rules are part of what drivers show and metrics count: kebab-case only.
fn checked_rule(rule: &str) -> Result<Arc<str>, Fault> {
    let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if rule.is_empty() || rule.len() > RULE_BYTES_MAX || !rule.chars().all(kebab) {
        return Err(Fault::verdict(format!(
            "`{}` is not a rule name; write kebab-case",
            shortened(rule, 80)
        )));
    }
    Ok(rule.into())
}

fn checked_name(name: &str) -> Result<Arc<str>, Fault> {
    if name.is_empty() || name.len() > RULE_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(Fault::verdict(format!(
            "`{}` is not a name",
            shortened(name, 80)
        )));
    }
    Ok(name.into())
}

/// Text for a client: bounded, and without bytes that end a string on the wire or steer a terminal.
fn shown(text: &str) -> Arc<str> {
    let clean: String = shortened(text, MESSAGE_BYTES_MAX)
        .chars()
        .map(|c| {
            if c.is_control() && c != '\n' && c != '\t' {
                ' '
            } else {
                c
            }
        })
        .collect();
    clean.into()
}

/// Cut at a character boundary.
pub(super) fn shortened(text: &str, bytes: usize) -> String {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
