//! The stages that touch no database: analyze, decide, record; and what a
//! permit needs.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};

use super::expected::Run;
use super::refuse;
use super::session::Session;
use crate::backend::postgres::catalog::World;
use crate::model::facts::Handle;
use crate::model::{
    Analysis, BindValue, Dialect, Facts, Kind, Problem, Refusal, RequirementKind, Statement,
    Traits, Verdict, refusal::sqlstate,
};
use crate::policy::{Asked, Outcome, Permit, PolicySet, Refused, Values};
use crate::safety::limit::{self, CountPlan, LimitPlan};
use crate::sql::{self, Lexer};
use crate::telemetry::{self, ProtocolName, Record, Timings};

/// Longest text whose analysis is kept, in bytes.
const KEPT_TEXT_MAX: usize = 16 * 1024;
/// Analyses kept per worker in each of two generations.
const KEPT_MAX: usize = 4096;

/// Texts analyzed before. Two generations: when the young one is full it
/// becomes the old one, and what was not asked for since is gone.
#[derive(Default)]
pub struct Analyses {
    young: HashMap<Key, Arc<Analysis>>,
    old: HashMap<Key, Arc<Analysis>>,
}

#[derive(PartialEq, Eq, Hash, Clone)]
struct Key(Arc<str>, Lexer);

impl Analyses {
    fn get(&mut self, text: &str, lexer: Lexer) -> Arc<Analysis> {
        if text.len() > KEPT_TEXT_MAX {
            return Arc::new(sql::analyze(text, lexer));
        }
        let key = Key(Arc::from(text), lexer);
        if let Some(found) = self.young.get(&key) {
            return found.clone();
        }
        let analysis = match self.old.remove(&key) {
            Some(found) => found,
            None => Arc::new(sql::analyze(text, lexer)),
        };
        if self.young.len() >= KEPT_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, analysis.clone());
        analysis
    }
}

/// What a permit demands, worked out for this session and catalog.
pub(super) struct Needs {
    /// Counting.
    pub(super) limits: LimitPlan,
    /// A plan must be looked at first.
    pub(super) plan: bool,
    /// A rate is charged.
    pub(super) rate: bool,
    /// Something that cannot be enforced here.
    pub(super) impossible: Option<Refusal>,
    /// The state of the world this holds for.
    stamp: Stamp,
}

/// What [`Needs`] depend on besides statement and permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    catalog: u64,
    session: u64,
    pending: bool,
    temporary: bool,
    tainted: bool,
}

impl Needs {
    /// Whether nothing has to come before or after: the bytes may just pass.
    pub(super) fn is_free(&self) -> bool {
        !self.plan && self.impossible.is_none() && matches!(self.limits.changed, CountPlan::Nothing)
    }
}

/// The answer of the decide stage for one statement.
pub(super) enum Decided {
    /// May run.
    Permit(Permit),
    /// May not.
    Refuse(Box<Refused>),
    /// The values must be known first.
    NeedsValues,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Stage one. None: the text is not what the server would take for text.
    pub(super) fn analyze(&self, bytes: &[u8]) -> Arc<Analysis> {
        let lexer = Lexer {
            dialect: Dialect::Postgres,
            standard_strings: self.facts.standard_strings,
            ..Lexer::POSTGRES
        };
        match std::str::from_utf8(bytes) {
            Ok(text) if !self.unsafe_encoding => self.worker.analyses.borrow_mut().get(text, lexer),
            Err(_) if self.single_byte => {
                // Every byte is one character; which one does not matter to the lexer.
                let text: String = bytes.iter().map(|b| char::from(*b)).collect();
                Arc::new(sql::analyze(&text, lexer))
            }
            _ => Arc::new(unreadable(bytes, self.unsafe_encoding)),
        }
    }

    /// The policies that judge from now on.
    pub(super) fn policies(&self) -> Arc<PolicySet> {
        self.worker.judge.borrow_mut().current()
    }

    /// Stage two, the statement behind a name included.
    pub(super) fn decide(
        &self,
        set: &Arc<PolicySet>,
        analysis: &Analysis,
        statement: &Arc<Statement>,
        values: Option<&[BindValue]>,
    ) -> Decided {
        if let Some(target) = self.behind(&statement.facts) {
            match self.decide_one(set, None, &target, None) {
                Decided::Permit(_) => {}
                Decided::Refuse(refused) => return Decided::Refuse(refused),
                Decided::NeedsValues => return Decided::Refuse(Box::new(values_hidden())),
            }
        }
        self.decide_one(set, analysis.problem.as_ref(), statement, values)
    }

    fn decide_one(
        &self,
        set: &Arc<PolicySet>,
        problem: Option<&Problem>,
        statement: &Arc<Statement>,
        values: Option<&[BindValue]>,
    ) -> Decided {
        let asked = Asked {
            set,
            client: &self.client,
            session: &self.facts,
            statement,
            analysis_problem: problem,
            values: values.map_or(Values::Unknown, Values::Known),
            opaque: self.worker.config.load().analysis.opaque,
        };
        match self.worker.decide(&asked) {
            Outcome::Permit(permit) => Decided::Permit(permit),
            Outcome::Refuse(refused) => Decided::Refuse(Box::new(refused)),
            Outcome::NeedsValues => Decided::NeedsValues,
            Outcome::Respond(..) => Decided::Refuse(Box::new(refuse::by_gate(Refusal::gate(
                "respond",
                sqlstate::NOT_SUPPORTED,
                "a policy answers this statement itself, which this backend cannot relay yet",
            )))),
        }
    }

    /// The statement behind the name an EXECUTE or FETCH uses, if the gate knows it.
    pub(super) fn behind(&self, facts: &Facts) -> Option<Arc<Statement>> {
        match facts.handle.as_ref()? {
            Handle::Execute(name) => {
                let prepared = self.names.prepared(name.as_bytes())?;
                prepared.statement.clone()
            }
            Handle::Fetch(name, _) => Some(self.names.cursor(name)?.statement.clone()),
            _ => None,
        }
    }

    /// What a permit needs; worked out once per statement, permit and world.
    pub(super) fn needs(
        &self,
        statement: &Statement,
        permit: &Permit,
        known: Option<&Rc<Needs>>,
    ) -> Rc<Needs> {
        let view = self.catalog.view();
        let stamp = Stamp {
            catalog: view
                .snapshot
                .as_ref()
                .map_or(0, |snapshot| snapshot.epoch()),
            session: self.facts.generation,
            pending: self.ddl_pending() || view.stale,
            temporary: self.temporary,
            tainted: self.tainted,
        };
        if let Some(known) = known.filter(|known| known.stamp == stamp) {
            return known.clone();
        }
        let requirements = permit.requirements();
        let target = self.behind(&statement.facts);
        let world = World {
            search_path: self.facts.search_path.as_deref(),
            role: &self.facts.role,
            temp_objects: self.temporary || self.tainted,
            ddl_pending: stamp.pending,
            target: target.as_deref().map(|target| &target.facts),
        };
        let mut limits = limit::plan(
            requirements,
            &statement.facts,
            view.snapshot.as_deref(),
            &world,
        );
        if matches!(statement.facts.kind, Kind::Prepare) || statement.facts.control.is_some() {
            // Nothing runs yet; EXECUTE is planned on its own.
            limits.changed = CountPlan::Nothing;
            limits.returned = None;
        }
        let runs_later = statement.facts.kind == Kind::Declare
            && !statement.facts.traits.contains(Traits::CALLS_FUNCTIONS)
            && !statement.text.to_ascii_lowercase().contains("hold");
        if runs_later {
            // The query runs, and is counted, with each FETCH.
            limits.changed = CountPlan::Nothing;
        }
        let has =
            |wanted: fn(&RequirementKind) -> bool| requirements.iter().any(|r| wanted(&r.kind));
        let plan = has(|kind| matches!(kind, RequirementKind::PlanMax { .. }))
            && statement.facts.traits.contains(Traits::PLANNABLE);
        Rc::new(Needs {
            limits,
            plan,
            rate: has(|kind| matches!(kind, RequirementKind::Rate { .. })),
            impossible: impossible(permit.verdict()),
            stamp,
        })
    }

    /// Stage six for a statement that was refused or never ran.
    pub(super) fn record_refusal(
        &self,
        text: &str,
        statement: Option<&Statement>,
        refusal: &Refusal,
        verdict: Option<&Verdict>,
        remembered: bool,
        simple: bool,
        incident: &str,
    ) {
        self.worker.recorder.record(&Record {
            session: self.id,
            client: &self.client,
            protocol: protocol(simple),
            statement,
            text,
            outcome: telemetry::Outcome::Refused,
            refusal: Some(refusal),
            verdict,
            remembered,
            timings: Timings::default(),
            rows_returned: 0,
            rows_changed: None,
            incident: Some(incident),
            sqlstate: Some(refusal.code),
        });
    }

    /// Stage six for a statement that ran.
    pub(super) fn record(
        &self,
        run: &Run,
        rows_changed: Option<u64>,
        sqlstate: Option<&str>,
        outcome: telemetry::Outcome,
    ) {
        let Some((statement, permit)) = run.statements.get(run.at) else {
            return;
        };
        let outcome = match outcome {
            telemetry::Outcome::Allowed
                if permit
                    .monitored()
                    .is_some_and(|verdict| verdict.refusal.is_some()) =>
            {
                telemetry::Outcome::Monitored
            }
            other => other,
        };
        self.worker.recorder.record(&Record {
            session: self.id,
            client: &self.client,
            protocol: protocol(run.simple),
            statement: Some(statement),
            text: &statement.text,
            outcome,
            refusal: permit
                .monitored()
                .and_then(|verdict| verdict.refusal.as_ref()),
            verdict: Some(permit.verdict()),
            remembered: permit.remembered(),
            timings: Timings {
                analyze_ns: run.spent.0,
                decide_ns: run.spent.1,
                execute_ns: run.started.elapsed().as_nanos() as u64,
                ..Timings::default()
            },
            rows_returned: run.rows,
            rows_changed,
            incident: None,
            sqlstate,
        });
    }

    /// Stage six for everything the client left behind.
    pub(super) fn record_unfinished(&mut self) {
        while let Some(item) = self.queue.pop() {
            if let super::expected::Expected::Execute(run) | super::expected::Expected::Query(run) =
                item
            {
                self.record(&run, None, None, telemetry::Outcome::Cancelled);
            }
        }
    }
}

fn protocol(simple: bool) -> ProtocolName {
    if simple {
        ProtocolName::Simple
    } else {
        ProtocolName::Extended
    }
}

/// Nanoseconds since, for the record.
pub(super) fn nanos(since: Instant) -> u64 {
    since.elapsed().as_nanos() as u64
}

fn unreadable(bytes: &[u8], unsafe_encoding: bool) -> Analysis {
    let why = if unsafe_encoding {
        "the client_encoding of this session is not safe to read; set it to UTF8 when connecting"
    } else {
        "the text is not valid in the client_encoding of this session"
    };
    let text = String::from_utf8_lossy(bytes).into_owned();
    // The same shape as any text that cannot be read, with the reason that is true.
    let mut analysis = sql::analyze("\u{0}", Lexer::POSTGRES);
    analysis.text = text.into();
    analysis.problem = Some(Problem::Encoding(why.into()));
    analysis
}

fn values_hidden() -> Refused {
    refuse::by_gate(
        Refusal::gate(
            "values",
            sqlstate::REFUSED,
            "a policy needs the values of this statement, and EXECUTE hides them",
        )
        .hint("Send it with bind values through the extended protocol, or as a plain statement."),
    )
}

/// Requirements this backend cannot enforce: refused by name, never dropped.
fn impossible(verdict: &Verdict) -> Option<Refusal> {
    let requirement = verdict.requirements.iter().find(|requirement| {
        !matches!(
            requirement.kind,
            RequirementKind::RowsChangedMax { .. }
                | RequirementKind::RowsReturnedMax { .. }
                | RequirementKind::TableRowsMax { .. }
                | RequirementKind::Rate { .. }
                | RequirementKind::PlanMax { .. }
        )
    })?;
    let name = requirement.kind.name();
    let mut refusal = Refusal::gate(
        "requirement",
        sqlstate::NOT_SUPPORTED,
        format!(
            "policy \"{}\" requires {name}, which this backend cannot enforce yet",
            requirement.policy
        ),
    );
    refusal.policy = requirement.policy.clone();
    Some(refusal.hint("Ask the operator to change the policy, or to run the statement directly."))
}
