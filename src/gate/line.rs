//! The stages that touch no database: analyze, decide, record; and what a
//! permit needs.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};

use super::aside;
use super::expected::Run;
use super::known::{Found, World};
use super::refuse;
use super::session::Session;
use crate::backend::postgres::catalog::{self as resolve, Pulse, Traces};
use crate::model::facts::Handle;
use crate::model::{
    Analysis, BindValue, Effects, Facts, Kind, Problem, Refusal, RequirementKind, Statement,
    Traits, Verdict, refusal::sqlstate,
};
use crate::policy::{Asked, Outcome, Permit, PolicySet, Refused, Values};
use crate::safety::limit::{self, CountPlan, LimitPlan};
use crate::safety::plan;
use crate::sql;
use crate::telemetry::{self, ProtocolName, Record, Timings};

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
}

/// What the session's [`World`] is made of, cheap to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    epoch: u64,
    session: u64,
    pending: bool,
    moved: bool,
    temporary: bool,
}

impl Needs {
    /// Whether nothing has to come before or after once the plan is known to
    /// be good: the bytes may just pass.
    pub(super) fn is_free_when_planned(&self) -> bool {
        self.impossible.is_none() && matches!(self.limits.changed, CountPlan::Nothing)
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
    /// A policy must be waited for first.
    Later,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// The policies that judge from now on.
    pub(super) fn policies(&self) -> Arc<PolicySet> {
        self.worker.judge.borrow_mut().current()
    }

    /// State of the catalog; asked once for each batch of bytes, not for each message.
    pub(super) fn pulse(&self) -> Pulse {
        if let Some(pulse) = self.pulse.get() {
            return pulse;
        }
        let pulse = self.catalog.pulse(self.now());
        self.pulse.set(Some(pulse));
        pulse
    }

    /// Where statements run now; the same pointer as long as nothing changed.
    pub(super) fn world(&self) -> Rc<World> {
        let pulse = self.pulse();
        let stamp = Stamp {
            epoch: pulse.epoch,
            session: self.facts.generation,
            pending: pulse.stale,
            moved: self.ddl_pending() || self.defining,
            temporary: self.temporary || self.tainted || self.defining,
        };
        let mut known = self.world.borrow_mut();
        if let Some((at, world)) = &*known
            && *at == stamp
        {
            return world.clone();
        }
        let fresh = World {
            catalog: Arc::downgrade(&self.catalog),
            epoch: pulse.epoch,
            pending: stamp.pending || stamp.moved,
            moved: stamp.moved,
            temporary: stamp.temporary,
            search_path: self.facts.search_path.clone(),
            role: self.facts.role.clone(),
        };
        // Most changes of a session do not move what names mean.
        let world = match &*known {
            Some((_, world)) if **world == fresh => world.clone(),
            _ => Rc::new(fresh),
        };
        *known = Some((stamp, world.clone()));
        world
    }

    /// The statement with the relations that only the catalog knows it touches.
    fn widen(&self, statement: &Arc<Statement>) -> Arc<Statement> {
        match &self.found(statement).wider {
            Some(class) => Arc::new(statement.reclassed(class.clone())),
            None => statement.clone(),
        }
    }

    /// What code that the statement can run may leave in the server session.
    pub(super) fn traces_of(&self, statement: &Statement) -> Traces {
        self.found(statement).traces
    }

    /// What is known of a statement's class where it runs now.
    pub(super) fn found(&self, statement: &Statement) -> Rc<Found> {
        let world = self.world();
        let mut last = self.last_found.borrow_mut();
        if let Some((class, of, found)) = &*last
            && Arc::ptr_eq(class, &statement.class)
            && Rc::ptr_eq(of, &world)
        {
            return found.clone();
        }
        let mut known = self.worker.known.borrow_mut();
        let found = known.found(&statement.class, &world, || self.find(statement, &world));
        *last = Some((statement.class.clone(), world, found.clone()));
        found
    }

    fn find(&self, statement: &Statement, world: &World) -> Rc<Found> {
        let Some(snapshot) = self.catalog.snapshot() else {
            let code = statement.facts.effects.contains(Effects::CODE);
            let traces = if code { Traces::ANY } else { Traces::default() };
            return Found::new(None, traces, is_plain(statement, traces));
        };
        let resolving = resolving(world, None);
        let more = snapshot.beyond(&statement.facts, &resolving);
        let wider = (!more.is_empty()).then(|| Arc::new(statement.class.widened(more)));
        let traces = snapshot.leaves_traces(&statement.facts, &resolving);
        Found::new(wider, traces, is_plain(statement, traces))
    }

    /// Stage two, the statement behind a name included.
    pub(super) fn decide(
        &self,
        set: &Arc<PolicySet>,
        analysis: &Analysis,
        statement: &Arc<Statement>,
        values: Option<&[BindValue]>,
    ) -> Decided {
        let statement = &self.widen(statement);
        if let Some(target) = self.behind(&statement.facts) {
            if matches!(statement.facts.handle, Some(Handle::Execute(_))) && !is_query(&target) {
                // Parse takes any statement, and EXECUTE would run it: COMMIT
                // and SET behind a name would go by unseen.
                let refusal = Refusal::gate(
                    "execute-utility",
                    sqlstate::NOT_SUPPORTED,
                    "EXECUTE of a prepared utility statement is not supported",
                )
                .hint("Bind and execute it through the protocol, or send it as a plain statement.");
                return Decided::Refuse(Box::new(refuse::by_gate(refusal)));
            }
            let target = self.widen(&target);
            // EXECUTE writes the values out; a statement without parameters has none.
            let given = match target.facts.parameters {
                0 => Some(Vec::new()),
                _ => sql::execute_values(statement),
            };
            match self.decide_one(set, None, &target, given.as_deref()) {
                Decided::Permit(_) => {}
                Decided::Refuse(refused) => return Decided::Refuse(refused),
                Decided::NeedsValues => return Decided::Refuse(Box::new(values_hidden())),
                Decided::Later => return Decided::Later,
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
        let outcome = self.worker.decide(&asked, &self.awaited.brought());
        match outcome {
            Err(later) => match self.awaited.wait_for(later) {
                true => Decided::Later,
                false => Decided::Refuse(Box::new(refuse::by_gate(aside::unasked()))),
            },
            Ok(Outcome::Permit(permit)) => Decided::Permit(permit),
            Ok(Outcome::Refuse(refused)) => Decided::Refuse(Box::new(refused)),
            Ok(Outcome::NeedsValues) => Decided::NeedsValues,
            Ok(Outcome::Respond(..)) => Decided::Refuse(Box::new(refuse::by_gate(Refusal::gate(
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

    /// What a permit needs; worked out once per class of statements, verdict and world.
    pub(super) fn needs(&self, statement: &Arc<Statement>, permit: &Permit) -> Rc<Needs> {
        let found = self.found(statement);
        if statement.facts.handle.is_some() {
            let statement = self.widen(statement);
            let target = self.behind(&statement.facts);
            let world = self.world();
            return Rc::new(self.work_out(&statement, permit, target.as_deref(), &world));
        }
        found.needs(permit.shared_verdict(), || {
            self.work_out(&self.widen(statement), permit, None, &self.world())
        })
    }

    fn work_out(
        &self,
        statement: &Statement,
        permit: &Permit,
        target: Option<&Statement>,
        world: &World,
    ) -> Needs {
        let requirements = permit.requirements();
        let mut limits = limit::plan(
            requirements,
            &statement.facts,
            self.catalog.snapshot().as_deref(),
            &resolving(world, target.map(|target| &target.facts)),
        );
        if matches!(statement.facts.kind, Kind::Prepare) || statement.facts.control.is_some() {
            // Nothing runs yet; EXECUTE is planned on its own.
            limits.changed = CountPlan::Nothing;
            limits.returned = None;
        }
        let runs_later = statement.facts.kind == Kind::Declare
            && !statement.facts.traits.contains(Traits::CALLS_FUNCTIONS)
            && !statement.normalized.contains("hold");
        if runs_later {
            // The query runs, and is counted, with each FETCH.
            limits.changed = CountPlan::Nothing;
        }
        let has =
            |wanted: fn(&RequirementKind) -> bool| requirements.iter().any(|r| wanted(&r.kind));
        let plannable = statement.facts.traits.contains(Traits::PLANNABLE);
        let plan = plannable && plan::is_wanted(requirements);
        Needs {
            limits,
            plan,
            rate: has(|kind| matches!(kind, RequirementKind::Rate { .. })),
            impossible: impossible(permit.verdict(), plannable),
        }
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
        if run.recorded {
            return;
        }
        let Some((statement, permit)) = run.statements.get(run.at) else {
            return;
        };
        let took = self.presence.ran(run.started, self.now());
        let monitored = permit.monitored();
        let refusal = monitored.and_then(|verdict| verdict.refusal.as_ref());
        let outcome = match outcome {
            telemetry::Outcome::Allowed if refusal.is_some() => telemetry::Outcome::Monitored,
            other => other,
        };
        self.worker.recorder.record(&Record {
            session: self.id,
            client: &self.client,
            protocol: protocol(run.simple),
            statement: Some(statement),
            text: &statement.text,
            outcome,
            refusal,
            verdict: Some(permit.verdict()),
            remembered: permit.remembered(),
            timings: Timings {
                analyze_ns: run.spent.0,
                decide_ns: run.spent.1,
                execute_ns: took.as_nanos() as u64,
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

/// When it has run, nothing about the session or its link is different.
fn is_plain(statement: &Statement, traces: Traces) -> bool {
    let facts = &statement.facts;
    (Effects::READS | Effects::WRITES).contains(facts.effects)
        && !traces.state
        && !traces.names
        && !facts.is_opaque()
        && facts.control.is_none()
        && facts.handle.is_none()
        && facts.settings.is_empty()
        && super::lease::pin(statement).is_none()
}

/// What PREPARE in SQL can hold.
fn is_query(statement: &Statement) -> bool {
    let facts = &statement.facts;
    facts.control.is_none()
        && facts.handle.is_none()
        && matches!(
            facts.kind,
            Kind::Select | Kind::Insert | Kind::Update | Kind::Delete | Kind::Merge
        )
}

/// The world as the catalog wants it.
fn resolving<'w>(world: &'w World, target: Option<&'w Facts>) -> resolve::World<'w> {
    resolve::World {
        search_path: world.search_path.as_deref(),
        role: &world.role,
        temp_objects: world.temporary,
        ddl_pending: world.pending,
        moved: world.moved,
        target,
    }
}

pub(super) fn protocol(simple: bool) -> ProtocolName {
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
fn impossible(verdict: &Verdict, plannable: bool) -> Option<Refusal> {
    let requirement = verdict
        .requirements
        .iter()
        .find(|requirement| match requirement.kind {
            RequirementKind::RowsChangedMax { .. }
            | RequirementKind::RowsReturnedMax { .. }
            | RequirementKind::TableRowsMax { .. }
            | RequirementKind::Rate { .. }
            | RequirementKind::PlanMax { .. } => false,
            // Where there is no plan, the policy that wanted one decides nothing.
            RequirementKind::WantPlan => !plannable,
            _ => true,
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
