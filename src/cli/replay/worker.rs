//! Judges records on one core.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::cli::explain::{Circumstances, Judging, Question, shown};
use crate::config::Config;
use crate::model::{Decision, Refusal, Requirement, Statement};
use crate::policy::Policies;
use crate::sql::{Analyses, Lexer};

use super::lines::{self, Line};
use super::records::Format;
use super::tally::{Tally, count};

/// A configuration with its policies.
#[derive(Clone)]
pub(super) struct Rules {
    pub(super) policies: Arc<Policies>,
    pub(super) config: Config,
}

/// Some records of one file, and the place of the first in everything.
pub(super) struct Batch {
    pub(super) first: u64,
    pub(super) format: Format,
    pub(super) records: Vec<Vec<u8>>,
}

/// One worker.
pub(super) struct Worker {
    judging: Judging,
    /// Another configuration to compare with.
    against: Option<Judging>,
    analyses: Analyses,
    usual: Circumstances,
    text_bytes_max: usize,
    pub(super) tally: Tally,
}

/// What one configuration decided about one statement.
struct Decided {
    decision: Decision,
    refusal: Option<Refusal>,
    would_refuse: Vec<Refusal>,
    requirements: Vec<Requirement>,
    values_unknown: bool,
}

impl Worker {
    pub(super) fn new(rules: Rules, against: Option<Rules>, usual: Circumstances) -> Worker {
        let judging = |rules: Rules| Judging::new(rules.policies, rules.config);
        Worker {
            text_bytes_max: rules.config.analysis.text_bytes_max,
            judging: judging(rules),
            against: against.map(judging),
            analyses: Analyses::default(),
            usual,
            tally: Tally::default(),
        }
    }

    pub(super) fn work(&mut self, batch: &Batch) {
        for (place, record) in (batch.first..).zip(&batch.records) {
            match lines::read(batch.format, record, &self.usual) {
                Line::Other => self.tally.others += 1,
                Line::Odd => self.tally.odd += 1,
                Line::Statement(question) => {
                    // One statement that finds a defect must not take the others with it.
                    let judged = catch_unwind(AssertUnwindSafe(|| self.judge(&question, place)));
                    if judged.is_err() {
                        self.tally.defects += 1;
                        self.judging.start_anew();
                        if let Some(against) = &mut self.against {
                            against.start_anew();
                        }
                    }
                }
            }
        }
    }

    fn judge(&mut self, question: &Question, place: u64) {
        let lexer = Lexer {
            dialect: question.dialect,
            standard_strings: question.session.standard_strings,
            text_bytes_max: self.text_bytes_max,
        };
        let analysis = self.analyses.get(&question.sql, lexer);
        if question.damaged || analysis.problem.is_some() {
            // Nothing of it may run, so it is one thing.
            let ours = self.judging.judge(question);
            let mut theirs = self.against.as_mut().map(|it| it.judge(question));
            for (index, judged) in ours.into_iter().enumerate() {
                let statement = judged.statement.clone();
                let theirs = theirs.as_mut().and_then(|list| {
                    (index < list.len()).then(|| Decided::from(list.swap_remove(index)))
                });
                self.note(&statement, Decided::from(judged), theirs, question, place);
            }
            return;
        }
        for statement in &analysis.statements {
            let ours = Decided::from(self.judging.ask(statement, None, question));
            let against = self.against.as_mut();
            let theirs = against.map(|it| Decided::from(it.ask(statement, None, question)));
            self.note(statement, ours, theirs, question, place);
        }
    }

    fn note(
        &mut self,
        statement: &Arc<Statement>,
        ours: Decided,
        theirs: Option<Decided>,
        question: &Question,
        place: u64,
    ) {
        let (tally, text) = (&mut self.tally, &statement.text);
        tally.statements += 1;
        tally.values_unknown += u64::from(ours.values_unknown);
        match ours.decision {
            Decision::Pass => tally.allowed += 1,
            Decision::Refuse => tally.refused += 1,
            Decision::Respond => tally.answered += 1,
        }
        if let Some(refusal) = &ours.refusal {
            count(&mut tally.refusals, &refusal.constraint(), place, text);
        }
        for refusal in &ours.would_refuse {
            count(&mut tally.monitored, &refusal.constraint(), place, text);
        }
        // A policy may limit one statement in several measures.
        let mut limits: Vec<String> = Vec::new();
        for requirement in shown(&ours.requirements, &statement.facts, &question.session) {
            let name = format!("{} {}", requirement.policy, requirement.kind.name());
            if !limits.contains(&name) {
                count(&mut tally.limits, &name, place, text);
                limits.push(name);
            }
        }
        tally.limited += u64::from(!limits.is_empty());
        if let Some(theirs) = theirs
            && ours.name() != theirs.name()
        {
            let change = format!("{} -> {}", theirs.name(), ours.name());
            count(&mut tally.differences, &change, place, text);
        }
    }
}

impl Decided {
    /// What a difference is told by: limits that only have other numbers are none.
    fn name(&self) -> String {
        match (&self.refusal, self.decision) {
            (Some(refusal), _) => refusal.constraint().to_string(),
            (None, Decision::Respond) => "answered".to_owned(),
            (None, _) => "allowed".to_owned(),
        }
    }
}

impl From<crate::cli::explain::Judged> for Decided {
    fn from(judged: crate::cli::explain::Judged) -> Decided {
        Decided {
            decision: judged.decision,
            refusal: judged.refusal,
            would_refuse: judged.would_refuse,
            requirements: judged.requirements,
            values_unknown: judged.values_unknown,
        }
    }
}
