//! One statement on its way out: what it was, what became of it, how long it took.

use tracing::{Level, enabled};

use super::mask::masked;
use crate::model::{Client, Effects, Refusal, Severity, Statement, Verdict};

/// Everything the gate knows about a statement when it is through with it.
pub struct Record<'a> {
    /// Session.
    pub session: u64,
    /// Who sent it.
    pub client: &'a Client,
    /// How it came.
    pub protocol: ProtocolName,
    /// What was read; none when the text could not be.
    pub statement: Option<&'a Statement>,
    /// The text as it came. Not logged: literals may be secrets.
    pub text: &'a str,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, when refused; why it would have been, when monitored.
    pub refusal: Option<&'a Refusal>,
    /// What the policies said.
    pub verdict: Option<&'a Verdict>,
    /// Whether the verdict was remembered.
    pub remembered: bool,
    /// Time spent in each stage.
    pub timings: Timings,
    /// Rows returned to the client.
    pub rows_returned: u64,
    /// Rows changed, where known.
    pub rows_changed: Option<u64>,
    /// The id that the client was given.
    pub incident: Option<&'a str>,
    /// SQLSTATE, when it ended with an error.
    pub sqlstate: Option<&'a str>,
}

impl Record<'_> {
    /// Rows changed by something that can change rows: the tag of a SELECT has a number too.
    pub fn changed(&self) -> Option<u64> {
        let effects = Effects::WRITES | Effects::CODE;
        let may = self
            .statement
            .is_some_and(|s| s.facts.effects.intersects(effects) || s.facts.is_opaque());
        self.rows_changed.filter(|_| may)
    }
}

/// How a statement came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProtocolName {
    /// In a simple Query.
    Simple,
    /// By Parse, Bind and Execute.
    Extended,
}

impl ProtocolName {
    /// Name in logs.
    pub fn name(self) -> &'static str {
        match self {
            ProtocolName::Simple => "simple",
            ProtocolName::Extended => "extended",
        }
    }
}

/// What became of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It ran.
    Allowed,
    /// A policy, a limit or the gate said no.
    Refused,
    /// A policy answered in the database's place.
    Responded,
    /// The database answered with an error.
    Failed,
    /// It was cancelled, or the client vanished.
    Cancelled,
    /// It ran only because the policy that refused it is in monitor mode.
    Monitored,
}

impl Outcome {
    /// All, in the order of their numbers.
    pub const ALL: [Outcome; 6] = [
        Outcome::Allowed,
        Outcome::Refused,
        Outcome::Responded,
        Outcome::Failed,
        Outcome::Cancelled,
        Outcome::Monitored,
    ];

    /// Label in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Allowed => "allowed",
            Outcome::Refused => "refused",
            Outcome::Responded => "responded",
            Outcome::Failed => "failed",
            Outcome::Cancelled => "cancelled",
            Outcome::Monitored => "monitored",
        }
    }
}

/// Nanoseconds spent in each stage; 0: the stage was not entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    /// Text to facts.
    pub analyze_ns: u64,
    /// Facts to a verdict.
    pub decide_ns: u64,
    /// What had to come before.
    pub prepare_ns: u64,
    /// In the database.
    pub execute_ns: u64,
    /// What had to come after.
    pub verify_ns: u64,
}

/// Names of the stages that take time, in the order of [`Timings::all`].
pub const STAGES: [&str; 5] = ["analyze", "decide", "prepare", "execute", "verify"];

impl Timings {
    /// In the order of [`STAGES`].
    pub fn all(&self) -> [u64; 5] {
        [
            self.analyze_ns,
            self.decide_ns,
            self.prepare_ns,
            self.execute_ns,
            self.verify_ns,
        ]
    }
}

/// Writes the line of a statement, and those of its alerts.
pub(super) fn write(record: &Record<'_>, statements: bool) {
    for alert in record
        .verdict
        .map(|verdict| verdict.alerts.as_slice())
        .unwrap_or_default()
    {
        alert_line(record, &alert.rule, alert.severity);
    }
    if matches!(record.outcome, Outcome::Refused | Outcome::Monitored) {
        if enabled!(target: "portcullis::statement", Level::WARN) {
            refusal_line(record);
        }
    } else if statements && enabled!(target: "portcullis::statement", Level::INFO) {
        statement_line(record);
    }
}

/// The fields that every line about a statement has. One macro, because
/// tracing wants the names of fields where the event is written.
macro_rules! line {
    ($level:ident, $record:expr, $message:literal, $($extra:tt)*) => {{
        let record = $record;
        let micros = record.timings.all().map(|ns| ns / 1_000);
        tracing::$level!(
            target: "portcullis::statement",
            session = record.session,
            user = &*record.client.user,
            database = &*record.client.database,
            address = record.client.address.map(tracing::field::display),
            protocol = record.protocol.name(),
            kind = record.statement.map(|s| s.facts.kind.name()),
            outcome = record.outcome.name(),
            $($extra)*
            sqlstate = record.sqlstate,
            incident = record.incident,
            remembered = record.remembered,
            rows_returned = record.rows_returned,
            rows_changed = record.changed(),
            analyze_us = micros[0],
            decide_us = micros[1],
            prepare_us = micros[2],
            execute_us = micros[3],
            verify_us = micros[4],
            text_bytes = record.text.len(),
            statement = record.statement.map(|s| masked(shown(&s.normalized))),
            $message
        );
    }};
}

fn statement_line(record: &Record<'_>) {
    line!(info, record, "statement",);
}

fn refusal_line(record: &Record<'_>) {
    let refusal = record.refusal;
    line!(
        warn,
        record,
        "refusal",
        policy = refusal.map(|r| &*r.policy),
        rule = refusal.map(|r| &*r.rule),
        code = refusal.map(|r| r.code),
        reason = refusal.map(|r| &*r.message),
    );
}

fn alert_line(record: &Record<'_>, rule: &str, severity: Severity) {
    let client = record.client;
    let address = client.address.map(tracing::field::display);
    let (session, user, database) = (record.session, &*client.user, &*client.database);
    let statement = record.statement.map(|s| masked(shown(&s.normalized)));
    let severity_name = severity.name();
    match severity {
        Severity::Info => {
            tracing::info!(target: "portcullis::alert", session, user, database, address, rule, severity = severity_name, incident = record.incident, statement, "alert")
        }
        Severity::Warning => {
            tracing::warn!(target: "portcullis::alert", session, user, database, address, rule, severity = severity_name, incident = record.incident, statement, "alert")
        }
        Severity::Critical => {
            tracing::error!(target: "portcullis::alert", session, user, database, address, rule, severity = severity_name, incident = record.incident, statement, "alert")
        }
    }
}

/// Longest normalized text in a line; a client must not be able to fill the disk with one statement.
const SHOWN_BYTES_MAX: usize = 2_000;

pub(super) fn shown(text: &str) -> &str {
    let mut end = text.len().min(SHOWN_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
