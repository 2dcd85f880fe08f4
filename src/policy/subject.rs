//! What is being judged: one statement of one client, with or without its values.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use super::event::Observed;
use crate::model::facts::{Class, Facts, Statement};
use crate::model::{BindValue, Client, Dialect, Kind, Measure, SessionFacts};

/// Bind values of the statement, as far as they are known.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// Asked at Parse: not known yet.
    Unknown,
    /// All of them.
    Known(&'a [BindValue]),
}

/// A plan, handed to the plan hook.
#[derive(Debug, Clone, Default)]
pub struct PlanInput {
    /// Measures the host took.
    pub measures: Vec<(Measure, f64)>,
    /// The plan as the database wrote it.
    pub json: Arc<str>,
}

/// Borrowed: what remembered answers are compared with, without copying anything.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The statement.
    pub statement: &'a Statement,
    /// Who sent it.
    pub client: &'a Client,
    /// State of the session.
    pub session: &'a SessionFacts,
    /// Bind values.
    pub values: Values<'a>,
    /// The time; none: read the clock when somebody asks.
    pub now: Option<SystemTime>,
}

impl<'a> View<'a> {
    /// The time of this judgement.
    pub fn now(&self) -> SystemTime {
        self.now.unwrap_or_else(SystemTime::now)
    }

    /// Whether a question about values cannot be answered yet.
    pub fn lacks_values(&self) -> bool {
        self.statement.facts.parameters > 0 && matches!(self.values, Values::Unknown)
    }

    /// The bind values that are known.
    pub fn bind_values(&self) -> &'a [BindValue] {
        match self.values {
            Values::Unknown => &[],
            Values::Known(values) => values,
        }
    }

    /// The search path with `$user` replaced by the current role; none when unknown.
    pub fn search_path(&self) -> Option<Cow<'a, [Arc<str>]>> {
        let path = self.session.search_path.as_deref()?;
        if !has_user(path) {
            return Some(Cow::Borrowed(path));
        }
        if self.session.role.is_empty() {
            return None;
        }
        let resolve = |schema: &Arc<str>| {
            if &**schema == "$user" {
                &self.session.role
            } else {
                schema
            }
            .clone()
        };
        Some(Cow::Owned(path.iter().map(resolve).collect()))
    }
}

pub(super) fn has_user(path: &[Arc<str>]) -> bool {
    path.iter().any(|schema| &**schema == "$user")
}

/// Owned, shared by all policies that judge it: an instance outlives no borrow.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The statement; an empty one in the connection hook.
    pub statement: Arc<Statement>,
    /// Who sent it.
    pub client: Client,
    /// State of the session.
    pub session: SessionFacts,
    /// Bind values; none when not known yet.
    pub values: Option<Vec<BindValue>>,
    /// The time of this judgement.
    pub now: SystemTime,
    /// In the plan hook: the plan.
    pub plan: Option<Arc<PlanInput>>,
    /// In the event hook: what became of a statement.
    pub event: Option<Arc<Observed>>,
}

impl Subject {
    /// A statement with all its values known (or without any).
    pub fn new(statement: Arc<Statement>, client: Client, session: SessionFacts) -> Subject {
        Subject {
            statement,
            client,
            session,
            values: Some(Vec::new()),
            now: SystemTime::now(),
            plan: None,
            event: None,
        }
    }

    /// The subject of the connection hook: a client without a statement.
    pub fn connection(client: Client, session: SessionFacts) -> Subject {
        Subject::new(no_statement(), client, session)
    }

    /// The subject of the event hook: who sent the statement, and what became of it.
    pub fn event(event: Arc<Observed>) -> Subject {
        Subject {
            event: Some(event.clone()),
            ..Subject::connection(event.client.clone(), SessionFacts::default())
        }
    }

    /// Copies what a view shows.
    pub fn of(view: &View<'_>, statement: &Arc<Statement>) -> Subject {
        Subject {
            statement: statement.clone(),
            client: view.client.clone(),
            session: view.session.clone(),
            values: match view.values {
                Values::Unknown => None,
                Values::Known(values) => Some(values.to_vec()),
            },
            now: view.now(),
            plan: None,
            event: None,
        }
    }

    /// Whether a policy that is asked about either is asked the same; the time
    /// and the numbers that only count changes excepted.
    #[cfg(feature = "gate")]
    pub(super) fn asks_the_same(&self, other: &Subject) -> bool {
        let Subject {
            statement,
            client,
            session,
            values,
            now: _,
            plan,
            event,
        } = self;
        let counted = SessionFacts {
            generation: session.generation,
            ..other.session.clone()
        };
        let same_plan = match (plan, &other.plan) {
            (Some(plan), Some(other)) => plan.measures == other.measures && plan.json == other.json,
            (None, None) => true,
            _ => false,
        };
        same_plan
            && event.is_none()
            && other.event.is_none()
            && statement.text == other.statement.text
            && is_like(&statement.class, &other.statement.class)
            && *client == other.client
            && *session == counted
            && *values == other.values
    }

    /// Borrows everything.
    pub fn view(&self) -> View<'_> {
        View {
            statement: &self.statement,
            client: &self.client,
            session: &self.session,
            values: self
                .values
                .as_deref()
                .map_or(Values::Unknown, Values::Known),
            now: Some(self.now),
        }
    }
}

/// Equal normalized text under one grammar means equal facts; the lexer's state
/// is part of the session.
#[cfg(feature = "gate")]
fn is_like(class: &Arc<Class>, other: &Arc<Class>) -> bool {
    let part = |class: &Class| (class.facts.kind, class.facts.traits, class.facts.effects);
    Arc::ptr_eq(class, other)
        || (class.normalized == other.normalized
            && class.dialect == other.dialect
            && part(class) == part(other))
}

fn no_statement() -> Arc<Statement> {
    static NONE: OnceLock<Arc<Statement>> = OnceLock::new();
    let make = || {
        let class = Class {
            normalized: Arc::from(""),
            shape: 0,
            dialect: Dialect::Postgres,
            facts: Facts::empty(Kind::Empty),
            origins: Box::default(),
        };
        Arc::new(Statement::new("", 0..0, Arc::new(class)))
    };
    NONE.get_or_init(make).clone()
}
