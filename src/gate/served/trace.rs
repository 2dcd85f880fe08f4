//! Stage six, and the words for the client: how a statement ended, said and recorded.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};

use super::line::Stop;
use super::session::Session;
use crate::gate::roster::Presence;
use crate::gate::{Error, Worker};
use crate::model::refusal::Disguise;
use crate::model::{Client, Refusal, Statement, UserFacing, UserMessage, Verdict};
use crate::policy::{Permit, missing_relation};
use crate::telemetry::{self, ProtocolName, Record, Timings};
use crate::wire::postgres::encode;
use crate::wire::postgres::places::Places;

/// Stage six: recorded however the statement ends, also when it is dropped half-way.
pub(super) struct Trace {
    worker: Rc<Worker>,
    client: Arc<Client>,
    session: u64,
    presence: Rc<Presence>,
    started: Instant,
    simple: bool,
    text: Arc<str>,
    pub statement: Option<Arc<Statement>>,
    pub verdict: Option<Arc<Verdict>>,
    monitored: Option<Arc<Verdict>>,
    pub remembered: bool,
    pub timings: Timings,
    pub rows_returned: u64,
    pub rows_changed: Option<u64>,
    written: bool,
}

impl Trace {
    /// Notes the permit under which the statement runs.
    pub(super) fn permitted(&mut self, permit: &Permit) {
        self.verdict = Some(permit.shared_verdict().clone());
        self.monitored = permit.monitored().cloned();
        self.remembered = permit.remembered();
    }

    /// Writes the record.
    pub(super) fn end(
        &mut self,
        outcome: telemetry::Outcome,
        refusal: Option<&Refusal>,
        incident: Option<&str>,
        sqlstate: Option<&str>,
    ) {
        self.written = true;
        if outcome != telemetry::Outcome::Refused {
            self.presence.ran(self.started, Instant::now());
        }
        self.worker.recorder.record(&Record {
            session: self.session,
            client: &self.client,
            protocol: if self.simple {
                ProtocolName::Simple
            } else {
                ProtocolName::Extended
            },
            statement: self.statement.as_deref(),
            text: &self.text,
            outcome,
            refusal,
            verdict: self.verdict.as_deref(),
            remembered: self.remembered,
            timings: self.timings,
            rows_returned: self.rows_returned,
            rows_changed: self.rows_changed,
            incident,
            sqlstate,
        });
    }

    pub(super) fn allowed(&mut self) {
        let monitored = self.monitored.clone();
        match monitored
            .as_ref()
            .and_then(|verdict| verdict.refusal.as_ref())
        {
            Some(refusal) => self.end(telemetry::Outcome::Monitored, Some(refusal), None, None),
            None => self.end(telemetry::Outcome::Allowed, None, None, None),
        }
    }

    /// Nothing happened that is worth a record.
    pub(super) fn forget(&mut self) {
        self.written = true;
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if !self.written {
            self.end(telemetry::Outcome::Cancelled, None, None, None);
        }
    }
}

pub(super) fn nanos(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) fn trace(
        &self,
        simple: bool,
        text: &Arc<str>,
        statement: Option<&Arc<Statement>>,
    ) -> Trace {
        Trace {
            worker: self.worker.clone(),
            client: self.client.clone(),
            session: self.id,
            presence: self.presence.clone(),
            started: Instant::now(),
            simple,
            text: text.clone(),
            statement: statement.cloned(),
            verdict: None,
            monitored: None,
            remembered: false,
            timings: Timings::default(),
            rows_returned: 0,
            rows_changed: None,
            written: false,
        }
    }

    /// Tells the client why a statement goes no further, and records it.
    pub(super) fn say(&mut self, stop: Stop, whole: &str, trace: &mut Trace) -> Result<(), Error> {
        match stop {
            Stop::Fatal(error) => return Err(error),
            Stop::Failed(message) => {
                match trace
                    .statement
                    .as_deref()
                    .and_then(|statement| missing(&message, statement))
                {
                    Some(missing) => self.say_missing(&missing, whole),
                    None => encode::error(&mut self.outbox, &message),
                }
                let outcome = if message.code == "57014" {
                    telemetry::Outcome::Cancelled
                } else {
                    telemetry::Outcome::Failed
                };
                trace.end(outcome, None, None, Some(message.code));
            }
            Stop::Refused(refused) => {
                let incident = self.worker.recorder.incident();
                let refusal = &refused.refusal;
                match &refusal.disguise {
                    // Nothing may tell it from the answer for a table that is not there.
                    Some(missing) => self.say_missing(missing, whole),
                    None => {
                        let mut message = refusal.user_message();
                        if !message.detail.is_empty() {
                            message.detail.push(' ');
                        }
                        message.detail.push_str(&format!("Incident {incident}."));
                        encode::error(&mut self.outbox, &message);
                    }
                }
                trace.verdict = Some(refused.verdict.clone());
                trace.remembered = refused.remembered;
                trace.end(
                    telemetry::Outcome::Refused,
                    Some(refusal),
                    Some(&incident),
                    Some(refusal.code),
                );
            }
        }
        Ok(())
    }

    /// The one answer for a relation that is not there, and for one that must look so.
    fn say_missing(&mut self, missing: &Disguise, whole: &str) {
        let before = missing.position.and_then(|at| whole.get(..at));
        let position = before.map_or(0, |before| before.chars().count() + 1);
        encode::undefined_relation(
            &mut self.outbox,
            &Places::default(),
            missing.noun,
            &missing.name,
            (position > 0).then_some(position),
        );
    }

    /// Notices of the policies, for the client.
    pub(super) fn notices(&mut self, permit: &Permit) {
        for notice in &permit.verdict().notices {
            let mut message = UserMessage {
                severity: "NOTICE",
                ..UserMessage::error("00000", notice.text.to_string())
            };
            message.constraint = notice.rule.to_string();
            encode::notice(&mut self.outbox, &message);
        }
    }
}

/// SQLite's word for a missing table, as the place in the text where the name stands.
fn missing(message: &UserMessage, statement: &Statement) -> Option<Disguise> {
    let name = message
        .message
        .strip_prefix("relation \"")?
        .strip_suffix("\" does not exist")?;
    let plain = name.rsplit('.').next().unwrap_or(name);
    let written = statement
        .facts
        .relations
        .iter()
        .find(|r| r.name.eq_ignore_ascii_case(plain));
    let name = written.map_or_else(|| plain.to_owned(), |relation| relation.qualified());
    (message.code == "42P01").then(|| missing_relation(statement, &name))
}
