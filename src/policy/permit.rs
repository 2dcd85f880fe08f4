//! What comes out of `decide`. Nothing outside this folder can make a [`Permit`].

use std::sync::Arc;
use std::time::SystemTime;

use super::fault::Fault;
use super::memo::Answer;
use super::read::{Read, ReadClass, Reads};
use super::set::PolicySet;
use super::version::Version;
use crate::model::{Refusal, Requirement, Response, SessionFacts, TransactionState, Verdict};

/// The answer to "may this statement run?".
#[derive(Debug)]
pub enum Outcome {
    /// Yes, under the requirements of the permit.
    Permit(Permit),
    /// No.
    Refuse(Refused),
    /// A policy answers in the database's place.
    Respond(Responded),
    /// The bind values decide: ask again with them.
    NeedsValues,
}

/// The folded answer of a chain; shared by every statement it is remembered for.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) verdict: Arc<Verdict>,
    pub(super) monitored: Option<Arc<Verdict>>,
    pub(super) needs_values: bool,
    pub(super) reads: Reads,
    pub(super) faults: Vec<(Arc<str>, Fault)>,
    /// Each policy's own answer, for judging it again.
    pub(super) answers: Vec<(std::sync::Weak<Version>, Arc<Answer>)>,
}

/// The right to execute one statement.
#[derive(Debug, Clone)]
pub struct Permit {
    decided: Arc<Decided>,
    set: u64,
    session: u64,
    transaction: TransactionState,
    remembered: bool,
}

impl Permit {
    pub(super) fn new(
        decided: Arc<Decided>,
        set: &PolicySet,
        session: &SessionFacts,
        remembered: bool,
    ) -> Permit {
        Permit {
            decided,
            set: set.generation(),
            session: session.generation,
            transaction: session.transaction,
            remembered,
        }
    }

    /// The folded verdict of the enforcing policies.
    pub fn verdict(&self) -> &Verdict {
        &self.decided.verdict
    }

    /// The verdict, shared.
    pub fn shared_verdict(&self) -> &Arc<Verdict> {
        &self.decided.verdict
    }

    /// The conditions.
    pub fn requirements(&self) -> &[Requirement] {
        &self.decided.verdict.requirements
    }

    /// What the policies in monitor mode would have done; for the record only.
    pub fn monitored(&self) -> Option<&Arc<Verdict>> {
        self.decided.monitored.as_ref()
    }

    /// Whether no policy had to be asked.
    pub fn remembered(&self) -> bool {
        self.remembered
    }

    /// What the verdict depended on.
    pub fn reads(&self) -> &Reads {
        &self.decided.reads
    }

    /// Policies that failed and count as passing, because they are configured so.
    pub fn faults(&self) -> &[(Arc<str>, Fault)] {
        &self.decided.faults
    }

    /// Whether the same statement may be executed again without a new decision:
    /// same policies, same session state where it was read, no edge of a time
    /// window passed, and no value read.
    pub fn holds(&self, set: &PolicySet, session: &SessionFacts, now: SystemTime) -> bool {
        if self.set != set.generation() || set.is_shadowed || !self.decided.faults.is_empty() {
            return false;
        }
        let classes = self.decided.reads.classes();
        if !classes.intersects(
            ReadClass::SESSION
                | ReadClass::VALUES
                | ReadClass::CLOCK
                | ReadClass::COUNTERS
                | ReadClass::PLAN,
        ) {
            return true;
        }
        let reads = self.decided.reads.list();
        let state_read = || {
            reads
                .iter()
                .any(|read| matches!(read, Read::Transaction(_)))
        };
        !classes.intersects(ReadClass::VALUES | ReadClass::COUNTERS | ReadClass::PLAN)
            && (!classes.contains(ReadClass::SESSION)
                || self.session == session.generation
                    && (self.transaction == session.transaction || !state_read()))
            && self.decided.reads.until().is_none_or(|edge| now < edge)
    }
}

impl Permit {
    /// As [`Permit::holds`], for a portal whose values are those the permit was made with.
    pub fn holds_bound(&self, set: &PolicySet, session: &SessionFacts, now: SystemTime) -> bool {
        let classes = self.decided.reads.classes();
        self.set == set.generation()
            && !set.is_shadowed
            && self.decided.faults.is_empty()
            && !classes.contains(ReadClass::COUNTERS)
            && (!classes.contains(ReadClass::SESSION) || self.session == session.generation)
            && self.decided.reads.until().is_none_or(|edge| now < edge)
    }
}

/// A statement that must not run.
#[derive(Debug, Clone)]
pub struct Refused {
    /// What the client is told. An incident id is the session's to add.
    pub refusal: Refusal,
    /// The folded verdict: further refusals, notices, alerts.
    pub verdict: Arc<Verdict>,
    /// What the policies in monitor mode would have done.
    pub monitored: Option<Arc<Verdict>>,
    /// Policies that failed while judging it.
    pub faults: Vec<(Arc<str>, Fault)>,
    /// Whether no policy had to be asked.
    pub remembered: bool,
}

impl Refused {
    /// A refusal by the gate's own rules.
    pub fn gate(refusal: Refusal) -> Refused {
        let verdict = Verdict {
            refusal: Some(refusal.clone()),
            ..Verdict::default()
        };
        Refused {
            refusal,
            verdict: Arc::new(verdict),
            monitored: None,
            faults: Vec::new(),
            remembered: false,
        }
    }
}

/// A statement that a policy answers.
#[derive(Debug, Clone)]
pub struct Responded {
    /// The whole verdict; its `response` is set.
    pub verdict: Arc<Verdict>,
    /// What the policies in monitor mode would have done.
    pub monitored: Option<Arc<Verdict>>,
    /// Whether no policy had to be asked.
    pub remembered: bool,
}

impl Responded {
    /// The rows.
    pub fn response(&self) -> Option<&Response> {
        self.verdict.response.as_ref()
    }
}
