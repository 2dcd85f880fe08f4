//! Asks the policies about a text, without any database.

use std::sync::Arc;

use crate::config::Config;
use crate::model::client::BindValue;
use crate::model::facts::Class;
use crate::model::refusal::sqlstate;
use crate::model::{
    Client, Decision, Dialect, Facts, Kind, Problem, Refusal, Requirement, SessionFacts, Statement,
    Traits,
};
use crate::policy::{Asked, Judge, Outcome, Policies, Values};
use crate::sql;

use super::input::Question;

/// One statement and what was decided about it.
pub(in crate::cli) struct Judged {
    pub(in crate::cli) statement: Arc<Statement>,
    pub(in crate::cli) decision: Decision,
    pub(in crate::cli) refusal: Option<Refusal>,
    /// What policies in monitor mode would have refused it for.
    pub(in crate::cli) would_refuse: Vec<Refusal>,
    pub(in crate::cli) requirements: Vec<Requirement>,
    /// A policy asked for values that were not given.
    pub(in crate::cli) values_unknown: bool,
}

/// Policies, ready to be asked many times.
pub(in crate::cli) struct Judging {
    policies: Arc<Policies>,
    judge: Judge,
    config: Config,
}

impl Judging {
    pub(in crate::cli) fn new(policies: Arc<Policies>, config: Config) -> Judging {
        Judging {
            judge: Judge::new(policies.clone()),
            policies,
            config,
        }
    }

    /// After a panic: policy instances may be half-way through something.
    pub(in crate::cli) fn start_anew(&mut self) {
        self.judge = Judge::new(self.policies.clone());
    }

    /// Analyzes the text and judges each statement in it.
    pub(in crate::cli) fn judge(&mut self, question: &Question) -> Vec<Judged> {
        let lexer = sql::Lexer {
            dialect: question.dialect,
            standard_strings: question.session.standard_strings,
            text_bytes_max: self.config.analysis.text_bytes_max,
        };
        let mut analysis = sql::analyze(&question.sql, lexer);
        if question.damaged {
            let problem =
                Problem::Encoding("the text is not valid in any server encoding".to_owned());
            analysis.problem.get_or_insert(problem);
        }
        if analysis.problem.is_some() {
            // Nothing of it may run, so it is one thing, however much was read.
            let first = analysis
                .statements
                .first()
                .filter(|_| !question.damaged && analysis.statements.len() == 1);
            let statement = first
                .cloned()
                .unwrap_or_else(|| unreadable(&question.sql, question.dialect));
            let statement = if statement.facts.is_opaque() {
                statement
            } else {
                unreadable(&question.sql, question.dialect)
            };
            return vec![self.ask(&statement, analysis.problem.as_ref(), question)];
        }
        analysis
            .statements
            .iter()
            .map(|statement| self.ask(statement, None, question))
            .collect()
    }

    /// Judges one statement; values that are asked for and not known are NULL.
    pub(in crate::cli) fn ask(
        &mut self,
        statement: &Arc<Statement>,
        problem: Option<&Problem>,
        question: &Question,
    ) -> Judged {
        let given = question.values.as_deref();
        let values = match given {
            Some(values) => Values::Known(values),
            None if statement.facts.parameters == 0 => Values::Known(&[]),
            None => Values::Unknown,
        };
        let (client, session) = (&question.client, &question.session);
        let mut outcome = self.decide(statement, problem, values, client, session);
        let values_unknown = matches!(outcome, Outcome::NeedsValues);
        if values_unknown {
            let nulls = vec![
                BindValue {
                    type_oid: 0,
                    binary: false,
                    bytes: None
                };
                statement.facts.parameters.into()
            ];
            outcome = self.decide(statement, problem, Values::Known(&nulls), client, session);
        }
        answer(statement, outcome, values_unknown)
    }

    fn decide(
        &mut self,
        statement: &Arc<Statement>,
        problem: Option<&Problem>,
        values: Values<'_>,
        client: &Client,
        session: &SessionFacts,
    ) -> Outcome {
        let set = self.judge.current();
        self.judge.decide_here(&Asked {
            set: &set,
            client,
            session,
            statement,
            analysis_problem: problem,
            values,
            opaque: self.config.analysis.opaque,
        })
    }
}

fn answer(statement: &Arc<Statement>, outcome: Outcome, values_unknown: bool) -> Judged {
    let (refusal, verdict, monitored) = match outcome {
        Outcome::Permit(permit) => (
            None,
            permit.shared_verdict().clone(),
            permit.monitored().cloned(),
        ),
        Outcome::Refuse(refused) => (Some(refused.refusal), refused.verdict, refused.monitored),
        Outcome::Respond(responded) => (None, responded.verdict, responded.monitored),
        // Asked with values, so nobody can still need them; if somebody does, it is not allowed.
        Outcome::NeedsValues => {
            let message = "a policy asks for bind values that do not exist";
            (
                Some(Refusal::gate("values", sqlstate::POLICY_FAULT, message)),
                Arc::default(),
                None,
            )
        }
    };
    let decision = if refusal.is_some() {
        Decision::Refuse
    } else {
        verdict.decision()
    };
    let would_refuse = monitored.map(|verdict| {
        verdict
            .refusal
            .iter()
            .chain(&verdict.also_refused)
            .cloned()
            .collect()
    });
    Judged {
        statement: statement.clone(),
        decision,
        refusal,
        would_refuse: would_refuse.unwrap_or_default(),
        requirements: if decision == Decision::Pass {
            verdict.requirements.clone()
        } else {
            Vec::new()
        },
        values_unknown,
    }
}

/// A statement of a text that cannot be read.
fn unreadable(text: &str, dialect: Dialect) -> Arc<Statement> {
    let mut facts = Facts::empty(Kind::Other);
    facts.traits = Traits::OPAQUE | Traits::DESTRUCTIVE;
    let class = Class {
        normalized: Arc::from(text),
        shape: 0,
        dialect,
        facts,
        origins: Box::default(),
    };
    Arc::new(Statement::new(text, 0..text.len(), Arc::new(class)))
}
