//! The questions about values, time, plans and counters; and the log.
//!
//! The rest of [`Ask`] is in `ask`: what depends on the shape and the client.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::ask::{Ask, count};
use super::fault::Fault;
use super::read::{Read, ReadClass};
use super::values;
use crate::model::Measure;
use crate::sql;

/// Most log lines kept of one call.
const LOGS_MAX: usize = 32;

/// Longest log line in bytes.
const LOG_BYTES_MAX: usize = 4096;

impl Ask {
    // interface values

    /// OR of `ValueFeatures` over all literals and bind values.
    pub fn features(&mut self) -> u64 {
        if self.want_values() {
            return 0;
        }
        let features = values::features(&self.subject.view());
        self.reads.note(Read::Features(features));
        features.bits()
    }

    /// Whether a constant LIMIT of at most `n` stands in the statement. Limits are part of the shape.
    pub fn row_limit_at_most(&mut self, n: u64) -> bool {
        self.limit().is_some_and(|limit| limit <= n)
    }

    /// Number of literals.
    pub fn literals(&mut self) -> u32 {
        self.reads.shape();
        count(sql::literals(&self.subject.statement).len())
    }

    /// One literal. Out of range is a fault.
    pub fn literal(&mut self, index: u32) -> Result<Arc<str>, Fault> {
        self.reads.note(Read::Unrepeatable(ReadClass::LITERALS));
        let literal = sql::literals(&self.subject.statement).get(index as usize);
        literal
            .map(|literal| literal.value.clone())
            .ok_or_else(|| Fault::call(format!("there is no literal {index}")))
    }

    /// Number of parameters; none when they are not known yet.
    pub fn parameters(&mut self) -> Option<u32> {
        self.reads.shape();
        if self.subject.view().lacks_values() {
            return None;
        }
        Some(u32::from(self.subject.statement.facts.parameters))
    }

    /// One bind value, counted from 0, in text form; none for NULL.
    ///
    /// A parameter the statement does not have is a fault. One that it has and
    /// the client did not bind is not the policy's fault: the server will
    /// refuse it, and a client must not be able to make a policy fail.
    pub fn parameter(&mut self, index: u32) -> Result<Option<String>, Fault> {
        if self.want_values() {
            return Ok(None);
        }
        self.reads.note(Read::Unrepeatable(ReadClass::PARAMETERS));
        let subject = self.subject.clone();
        let value = subject
            .values
            .as_deref()
            .unwrap_or_default()
            .get(index as usize);
        if value.is_none() && index >= u32::from(subject.statement.facts.parameters) {
            return Err(Fault::call(format!("there is no parameter {index}")));
        }
        Ok(value
            .and_then(values::text_form)
            .map(|text| text.into_owned()))
    }

    /// The statement as it was sent.
    pub fn text(&mut self) -> Arc<str> {
        self.reads.note(Read::Unrepeatable(ReadClass::LITERALS));
        self.subject.statement.text.clone()
    }

    /// Which pattern stands as a whole word in a literal or bind value.
    pub fn mentions(&mut self, names: u32) -> Result<Option<u32>, Fault> {
        let names = self.registry.names(names)?.clone();
        if self.want_values() {
            return Ok(None);
        }
        let answer = values::mentions(&self.subject.view(), &names);
        self.reads.note(Read::Mentions(names, answer));
        Ok(answer)
    }

    /// Notes that values are wanted; true when they are not there.
    fn want_values(&mut self) -> bool {
        let lacking = self.subject.view().lacks_values();
        self.needs_values |= lacking;
        lacking
    }

    // interfaces clock, counters, plan, log

    /// Which window is open.
    pub fn in_window(&mut self, windows: u32) -> Result<Option<u32>, Fault> {
        let (answer, edge) = self.registry.windows(windows)?.open_at(self.subject.now);
        if let Some(edge) = edge {
            self.reads.note(Read::Until(edge));
        }
        Ok(answer)
    }

    /// When the answer of [`Ask::in_window`] can change next; empty: never.
    pub fn next_edge(&mut self, windows: u32) -> Result<Arc<str>, Fault> {
        let windows = self.registry.windows(windows)?;
        let (_, edge) = windows.open_at(self.subject.now);
        let text = windows.edge_text(self.subject.now);
        if let Some(edge) = edge {
            self.reads.note(Read::Until(edge));
        }
        Ok(text.into())
    }

    /// Whether it is earlier than that.
    pub fn before(&mut self, unix_ms: u64) -> bool {
        let edge = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(unix_ms));
        match edge {
            Some(edge) if self.subject.now < edge => {
                self.reads.note(Read::Until(edge));
                true
            }
            Some(_) => false,
            None => true,
        }
    }

    /// A host counter. None exist in this version.
    pub fn counter(&mut self, _name: &str) -> u64 {
        self.reads.note(Read::Unrepeatable(ReadClass::COUNTERS));
        0
    }

    /// One measure of the plan; NaN when it was not taken. Outside the plan hook a fault.
    pub fn plan_measure(&mut self, code: u32) -> Result<f64, Fault> {
        self.reads.note(Read::Unrepeatable(ReadClass::PLAN));
        let plan = self.subject.plan.as_ref().ok_or_else(no_plan)?;
        let wanted = Measure::from_code(code);
        let taken = plan
            .measures
            .iter()
            .find(|(measure, _)| Some(*measure) == wanted);
        Ok(taken.map_or(f64::NAN, |(_, value)| *value))
    }

    /// A numeric field of the event. Outside the event hook a fault.
    pub fn event_number(&self, field: u32) -> Result<u64, Fault> {
        let event = self.subject.event.as_ref().ok_or_else(no_event)?;
        Ok(event.number(field))
    }

    /// A text field of the event. Outside the event hook a fault.
    pub fn event_text(&self, field: u32) -> Result<Arc<str>, Fault> {
        let event = self.subject.event.as_ref().ok_or_else(no_event)?;
        Ok(event.text(field))
    }

    /// The plan as JSON. Outside the plan hook a fault.
    pub fn plan_json(&mut self) -> Result<Arc<str>, Fault> {
        self.reads.note(Read::Unrepeatable(ReadClass::PLAN));
        self.subject
            .plan
            .as_ref()
            .map(|plan| plan.json.clone())
            .ok_or_else(no_plan)
    }

    /// Writes a line; part of no verdict. Lines beyond a bound are dropped.
    pub fn log(&mut self, level: u32, text: &str) {
        if self.logs.len() < LOGS_MAX {
            self.logs
                .push((level, super::answer::shortened(text, LOG_BYTES_MAX)));
        }
    }
}

fn no_event() -> Fault {
    Fault::call("events are known only in observe")
}

fn no_plan() -> Fault {
    Fault::call("a plan is known only in judge-plan")
}
