//! The answer: a decision and the conditions that come with it.

use std::borrow::Cow;

use crate::code::{Measure, RateBy, Severity};
use crate::host;
use crate::names::{Names, Symbol};
use crate::statement::Relation;

/// Text of a policy: usually a constant.
type Text = Cow<'static, str>;

/// What a policy answers.
///
/// Conditions are told to the gate when the verdict is returned, so one that
/// is thrown away asks for nothing.
#[must_use = "a verdict counts when it is returned"]
pub struct Verdict {
    decision: Decision,
    // One call each. Closures instead of an enum: a policy imports only what it uses.
    said: Vec<Box<dyn FnOnce()>>,
}

enum Decision {
    Pass,
    Refuse {
        rule: Text,
        message: Text,
        hint: Text,
    },
    Respond,
}

impl Verdict {
    /// No objection.
    pub fn pass() -> Verdict {
        Verdict {
            decision: Decision::Pass,
            said: Vec::new(),
        }
    }

    /// Must not run. `rule` is kebab-case; `message` says what happened, lower
    /// case and without a full stop.
    pub fn refuse(rule: impl Into<Text>, message: impl Into<Text>) -> Verdict {
        let decision = Decision::Refuse {
            rule: rule.into(),
            message: message.into(),
            hint: Cow::Borrowed(""),
        };
        Verdict {
            decision,
            said: Vec::new(),
        }
    }

    /// Must not run; the client gets these rows instead.
    pub fn respond(response: Response) -> Verdict {
        let verdict = Verdict {
            decision: Decision::Respond,
            said: Vec::new(),
        };
        verdict.say(move || response.send())
    }

    /// What to do next, a whole sentence. Only a refusal has one.
    pub fn hint(mut self, text: impl Into<Text>) -> Verdict {
        if let Decision::Refuse { hint, .. } = &mut self.decision {
            *hint = text.into();
        }
        self
    }

    /// Looks to the client exactly as if the table did not exist.
    pub fn disguise(self) -> Verdict {
        self.say(|| host::disguise(1))
    }

    /// Tells the client something that is no error.
    pub fn notice(self, rule: impl Into<Text>, text: impl Into<Text>) -> Verdict {
        let (rule, text) = (rule.into(), text.into());
        self.say(move || host::notice(&rule, &text))
    }

    /// Tells the operator, each time the verdict is used.
    pub fn alert(self, rule: impl Into<Text>, severity: Severity) -> Verdict {
        let rule = rule.into();
        self.say(move || host::alert(&rule, severity.code()))
    }

    /// At most so many rows changed by the whole statement.
    pub fn rows_changed_max(self, rows: u64) -> Verdict {
        self.say(move || host::rows_changed_max(-1, rows))
    }

    /// At most so many rows changed in one of its relations.
    pub fn rows_changed_max_in(self, relation: &Relation, rows: u64) -> Verdict {
        let index = i32::try_from(relation.index).unwrap_or(-1);
        self.say(move || host::rows_changed_max(index, rows))
    }

    /// At most so many rows returned.
    pub fn rows_returned_max(self, rows: u64) -> Verdict {
        self.say(move || host::rows_returned_max(rows))
    }

    /// By whatever way the statement gets there: at most so many rows of any
    /// one table whose most specific pattern in `names` is the one at `pattern`.
    pub fn table_rows_max(
        self,
        names: Names,
        pattern: usize,
        changed: Option<u64>,
        returned: Option<u64>,
    ) -> Verdict {
        let (Some(set), Ok(pattern)) = (names.0, u32::try_from(pattern)) else {
            return self;
        };
        let rows =
            |rows: Option<u64>| rows.map_or(-1, |rows| i64::try_from(rows).unwrap_or(i64::MAX));
        self.say(move || host::table_rows_max(set, pattern, rows(changed), rows(returned)))
    }

    /// Counted against a bucket of this policy: `burst` statements at once,
    /// regained over `period_ms`.
    pub fn rate(self, bucket: impl Into<Text>, by: RateBy, burst: u32, period_ms: u64) -> Verdict {
        let bucket = bucket.into();
        self.say(move || host::rate(&bucket, by.bits(), burst, period_ms))
    }

    /// A bound on a number of the plan.
    pub fn plan_max(self, measure: Measure, limit: f64) -> Verdict {
        self.say(move || host::plan_max(measure.code(), limit))
    }

    /// Ask [`PlanPolicy::judge_plan`](crate::PlanPolicy::judge_plan), too.
    pub fn want_plan(self) -> Verdict {
        self.say(host::want_plan)
    }

    /// Show the first rows that would be affected.
    pub fn preview(self, rows: u32) -> Verdict {
        self.say(move || host::preview(rows))
    }

    /// Execute and roll back.
    pub fn dry_run(self) -> Verdict {
        self.say(host::dry_run)
    }

    /// Run in a read-only transaction.
    pub fn read_only(self) -> Verdict {
        self.say(host::read_only)
    }

    /// A verified backup of this scope first; scopes stand in the registry.
    pub fn backup(self, scope: u32) -> Verdict {
        self.say(move || host::backup(scope))
    }

    /// A one-time code must be given; it lives so long.
    pub fn confirm(self, ttl_ms: u32) -> Verdict {
        self.say(move || host::confirm(ttl_ms))
    }

    /// Upper bound on the statement's time.
    pub fn statement_timeout(self, ms: u32) -> Verdict {
        self.say(move || host::statement_timeout(ms))
    }

    /// Upper bound on waiting for locks.
    pub fn lock_timeout(self, ms: u32) -> Verdict {
        self.say(move || host::lock_timeout(ms))
    }

    /// Values of a column are masked; methods stand in the registry.
    pub fn mask(self, column: Symbol, method: u32) -> Verdict {
        self.say(move || host::mask(column.0, method))
    }

    /// Remember the shape in this set once the statement was permitted.
    pub fn learn(self, learned: impl Into<Text>) -> Verdict {
        let learned = learned.into();
        self.say(move || host::learn(&learned))
    }

    fn say(mut self, call: impl FnOnce() + 'static) -> Verdict {
        self.said.push(Box::new(call));
        self
    }

    /// Tells the gate everything; the number of the decision.
    pub(crate) fn deliver(self) -> Delivered {
        let delivered = match self.decision {
            Decision::Pass => Delivered::Pass,
            Decision::Respond => Delivered::Respond,
            Decision::Refuse {
                rule,
                message,
                hint,
            } => {
                host::reason(&rule, &message, &hint);
                Delivered::Refuse
            }
        };
        for call in self.said {
            call();
        }
        delivered
    }
}

/// The frozen three-case answer.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    Pass,
    Refuse,
    Respond,
}

/// Rows that answer in the database's place.
#[derive(Debug, Clone, Default)]
pub struct Response {
    columns: Vec<(Text, u32)>,
    rows: Vec<Vec<Option<String>>>,
}

impl Response {
    /// Without columns; at least one must follow.
    pub fn new() -> Response {
        Response::default()
    }

    /// A column and the OID of its type.
    pub fn column(mut self, name: impl Into<Text>, type_oid: u32) -> Response {
        self.columns.push((name.into(), type_oid));
        self
    }

    /// A row, values in text form.
    pub fn row(mut self, values: impl IntoIterator<Item = Option<String>>) -> Response {
        self.rows.push(values.into_iter().collect());
        self
    }

    fn send(self) {
        for (name, type_oid) in &self.columns {
            host::response_column(name, *type_oid);
        }
        for row in &self.rows {
            host::response_row(row);
        }
    }
}

/// How important a line of the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Level {
    /// Something is wrong.
    Error = 1,
    /// Something may be wrong.
    Warn = 2,
    /// Worth knowing.
    Info = 3,
    /// For the author.
    Debug = 4,
}

/// Writes a line to the gate's log. Rate-limited, and no part of the verdict.
pub fn log(level: Level, text: &str) {
    host::log(level as u32, text);
}
