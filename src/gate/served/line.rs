//! Stages one and two: analyze, decide. What follows is in [`super::run`] and [`super::trace`].

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::reach::{as_sqlite, widened};
use super::session::Session;
use crate::backend::sqlite::{self, Described};
use crate::gate::Error;
use crate::model::refusal::sqlstate;
use crate::model::{
    Analysis, BindValue, Facts, Kind, Problem, Refusal, Statement, UserFacing, UserMessage, Verdict,
};
use crate::policy::{Asked, Outcome, Permit, PolicySet, Refused, Responded, Values};
use crate::sql::{Lexer, analyze};

/// Why a statement goes no further.
pub(super) enum Stop {
    /// Policies, limits or the gate said no.
    Refused(Box<Refused>),
    /// The database, or the protocol, said no.
    Failed(Box<UserMessage>),
    /// The session cannot go on.
    Fatal(Error),
}

impl Stop {
    pub(super) fn failed(message: UserMessage) -> Stop {
        Stop::Failed(Box::new(message))
    }

    /// A refusal by the gate's own rules.
    pub(super) fn gate(refusal: Refusal) -> Stop {
        let verdict = Verdict {
            refusal: Some(refusal.clone()),
            ..Verdict::default()
        };
        let verdict = Arc::new(verdict);
        Stop::Refused(Box::new(Refused {
            refusal,
            verdict,
            monitored: None,
            faults: Vec::new(),
            remembered: false,
        }))
    }

    /// A refusal after the verdict: a requirement did not hold.
    pub(super) fn unmet(refusal: Refusal, permit: &Permit) -> Stop {
        Stop::Refused(Box::new(Refused {
            refusal,
            verdict: permit.shared_verdict().clone(),
            monitored: permit.monitored().cloned(),
            faults: Vec::new(),
            remembered: permit.remembered(),
        }))
    }
}

impl From<sqlite::Error> for Stop {
    fn from(error: sqlite::Error) -> Stop {
        match error {
            sqlite::Error::Gone => Stop::Fatal(error.into()),
            other => Stop::failed(other.user_message()),
        }
    }
}

/// What `decide` said, short of no.
pub(super) enum Decided {
    /// May run.
    Permit(Permit),
    /// A policy answers.
    Respond(Responded),
    /// The values must be known first.
    NeedsValues,
}

/// A statement that may run, prepared on the link.
#[derive(Clone)]
pub(super) struct Cleared {
    /// With everything SQLite says it touches.
    pub statement: Arc<Statement>,
    /// None while the policies wait for the values.
    pub permit: Option<Permit>,
    pub described: Arc<Described>,
    /// Its number on the link.
    pub number: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Stage one. Clients write PostgreSQL, the database reads SQLite: a text is
    /// read as SQLite first, and as PostgreSQL where that fails. What it really
    /// touches is asked of SQLite in [`Session::clear`].
    pub(super) fn analyze(&self, bytes: &[u8]) -> Analysis {
        let text_bytes_max = self.worker.config.load().analysis.text_bytes_max;
        let Ok(text) = std::str::from_utf8(bytes) else {
            let problem = Problem::Encoding("the text is not valid UTF-8".into());
            let text = String::from_utf8_lossy(bytes);
            return Analysis {
                problem: Some(problem),
                ..analyze(
                    &text,
                    Lexer {
                        text_bytes_max,
                        ..Lexer::SQLITE
                    },
                )
            };
        };
        let opaque =
            |a: &Analysis| a.problem.is_some() || a.statements.iter().any(|s| s.facts.is_opaque());
        let first = analyze(
            text,
            Lexer {
                text_bytes_max,
                ..Lexer::SQLITE
            },
        );
        if !opaque(&first) {
            return first;
        }
        let second = analyze(
            text,
            Lexer {
                text_bytes_max,
                ..Lexer::POSTGRES
            },
        );
        if opaque(&second) {
            first
        } else {
            Analysis {
                statements: second.statements.iter().map(as_sqlite).collect(),
                ..second
            }
        }
    }

    pub(super) fn policies(&self) -> Arc<PolicySet> {
        self.worker.judge.borrow_mut().current()
    }

    /// Stage two.
    pub(super) async fn decide(
        &self,
        set: &Arc<PolicySet>,
        problem: Option<&Problem>,
        statement: &Arc<Statement>,
        values: Option<&[BindValue]>,
    ) -> Result<Decided, Stop> {
        let asked = Asked {
            set,
            client: &self.client,
            session: &self.facts,
            statement,
            analysis_problem: problem,
            values: values.map_or(Values::Unknown, Values::Known),
            opaque: self.worker.config.load().analysis.opaque,
        };
        match self.worker.decide_waiting(&asked).await {
            Outcome::Permit(permit) => Ok(Decided::Permit(permit)),
            Outcome::Refuse(refused) => Err(Stop::Refused(Box::new(refused))),
            Outcome::Respond(responded) => Ok(Decided::Respond(responded)),
            Outcome::NeedsValues => Ok(Decided::NeedsValues),
        }
    }

    /// A refusal of what the gate cannot read, in the words of a plain typo where
    /// it is one: the database itself finds no command at its beginning.
    pub(super) async fn spelled(&self, statement: &Statement, stop: Stop) -> Stop {
        let Stop::Refused(refused) = stop else {
            return stop;
        };
        let unread = refused.refusal.is_opaque() && statement.facts.kind == Kind::Other;
        if !unread {
            return Stop::Refused(refused);
        }
        match self.link.misspelled(statement.text.clone()).await {
            Ok(Some(error)) => error.into(),
            Err(error @ sqlite::Error::Gone) => error.into(),
            Ok(None) | Err(_) => Stop::Refused(refused),
        }
    }

    /// Prepares a permitted statement on the link, and decides once more when
    /// SQLite says that it touches more than its text shows.
    pub(super) async fn clear(
        &mut self,
        set: &Arc<PolicySet>,
        statement: &Arc<Statement>,
        permit: Option<Permit>,
        types: Vec<u32>,
        values: Option<&[BindValue]>,
    ) -> Result<Cleared, Stop> {
        let number = self.number();
        let described = self
            .link
            .prepare(number, statement.text.clone(), types)
            .await?;
        let mut cleared = Cleared {
            statement: statement.clone(),
            permit,
            described,
            number,
        };
        if let Some(wider) = widened(statement, &cleared.described.reach) {
            cleared.statement = Arc::new(wider);
            match self.decide(set, None, &cleared.statement, values).await {
                Ok(Decided::Permit(permit)) => cleared.permit = cleared.permit.map(|_| permit),
                Ok(Decided::NeedsValues) => cleared.permit = None,
                Ok(Decided::Respond(_)) => return Err(self.abandon(number, hidden_answer()).await),
                Err(stop) => {
                    self.link.close_statement(number).await?;
                    return Err(stop);
                }
            }
        }
        if !cleared.described.readonly && !may_write(&statement.facts) {
            let refusal = Refusal::gate(
                "hidden-write",
                sqlstate::REFUSED,
                "statement changes data in a way that its text does not show",
            );
            return Err(self.abandon(number, refusal).await);
        }
        Ok(cleared)
    }

    async fn abandon(&mut self, number: u64, refusal: Refusal) -> Stop {
        if let Err(error) = self.link.close_statement(number).await {
            return error.into();
        }
        Stop::gate(refusal)
    }
}

/// Policies that know every value must come to a decision.
pub(super) fn undecided() -> Stop {
    Stop::failed(UserMessage::error(
        sqlstate::POLICY_FAULT,
        "the policies could not decide about this statement",
    ))
}

fn hidden_answer() -> Refusal {
    Refusal::gate(
        "respond",
        sqlstate::NOT_SUPPORTED,
        "a policy answers for a table that the text does not name",
    )
}

fn may_write(facts: &Facts) -> bool {
    use crate::model::Effects;
    facts.is_opaque()
        || facts
            .effects
            .intersects(Effects::WRITES | Effects::SCHEMA | Effects::SESSION | Effects::CODE)
        || matches!(facts.kind, Kind::Maintain | Kind::Other)
}
