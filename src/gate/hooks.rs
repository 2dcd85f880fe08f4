//! What policies are asked besides statements: may this client connect, may it
//! stay, may this plan run?
//!
//! A connection is admitted once, before its session begins, and again whenever
//! the policies change. [`Admission`] is what a session keeps to notice that.

use std::sync::Arc;

use tokio::sync::watch;

use super::session::Session;
use super::{Arrival, Behind, Worker, aside, refuse};
use crate::model::{
    BindValue, Client, Measure, Refusal, SessionFacts, Statement, UserFacing, UserMessage, Verdict,
};
use crate::policy::{Asked, HookAnswer, Permit, PlanInput, PolicySet, Values};
use crate::safety::plan::PlanMeasures;
use crate::telemetry::Event;

/// The right of one connection to go on, under the policies it was asked of.
#[derive(Debug, Clone)]
pub struct Admission(watch::Receiver<u64>);

impl Admission {
    /// Whether the policies have changed since; one atomic load.
    pub fn is_outdated(&self) -> bool {
        // Without a sender nothing will change any more.
        self.0.has_changed().unwrap_or(false)
    }

    /// Waits until the policies change. Nothing is lost when it is dropped.
    pub async fn outdated(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        // Seen only by being admitted again.
        self.0.mark_changed();
    }
}

impl Worker {
    /// May this client connect? A refusal is recorded; the message ends the connection.
    pub async fn admit(
        &self,
        client: &Client,
        session: &SessionFacts,
    ) -> Result<Admission, Box<UserMessage>> {
        // Seen before the set is taken: a swap in between is noticed, not missed.
        let mut admission = Admission(self.judge.borrow().swaps());
        admission.0.borrow_and_update();
        let set = self.judge.borrow_mut().current();
        self.asked_for(&set, client, session, false).await?;
        Ok(admission)
    }

    /// May it stay? To be called at an idle point, when the admission is outdated.
    pub async fn readmit(
        &self,
        admission: &mut Admission,
        client: &Client,
        session: &SessionFacts,
    ) -> Result<(), Box<UserMessage>> {
        admission.0.borrow_and_update();
        let set = self.judge.borrow_mut().current();
        self.asked_for(&set, client, session, true).await
    }

    async fn asked_for(
        &self,
        set: &Arc<PolicySet>,
        client: &Client,
        session: &SessionFacts,
        live: bool,
    ) -> Result<(), Box<UserMessage>> {
        let ask = |brought: &_| {
            let mut judge = self.judge.borrow_mut();
            judge.judge_connection(set, client, session, brought)
        };
        let answer = self.hook(ask).await.unwrap_or_else(nobody);
        let denied = |refusal: &Refusal, incident: Option<&str>| {
            self.recorder.emit(&Event::ConnectionDenied {
                client,
                refusal,
                incident,
                live,
            });
        };
        let (verdict, monitored) = match &answer {
            Ok(passed) => (&passed.verdict, &passed.monitored),
            Err(refused) => (&refused.verdict, &refused.monitored),
        };
        self.raise_alerts(client, verdict);
        if let Some(refusal) = monitored.as_ref().and_then(|v| v.refusal.as_ref()) {
            denied(refusal, None);
        }
        match answer {
            Ok(_) => {
                self.after_calls(None);
                Ok(())
            }
            Err(refused) => {
                let incident = self.recorder.incident();
                self.after_calls(Some(&incident));
                denied(&refused.refusal, Some(&incident));
                for also in &refused.verdict.also_refused {
                    denied(also, Some(&incident));
                }
                Err(Box::new(farewell(&refused.refusal, &incident)))
            }
        }
    }

    /// Hands a plan to the policies that wanted it. A permit that nobody wanted a plan for passes.
    pub async fn judge_plan(
        &self,
        asked: &Asked<'_>,
        permit: &Permit,
        plan: PlanInput,
    ) -> HookAnswer {
        let plan = Arc::new(plan);
        let ask = |brought: &_| {
            let mut judge = self.judge.borrow_mut();
            judge.judge_plan(asked, permit, &plan, brought)
        };
        let answer = self.hook(ask).await.unwrap_or_else(nobody);
        self.after_calls(None);
        if let Ok(passed) = &answer {
            self.raise_alerts(asked.client, &passed.verdict);
        }
        answer
    }

    fn raise_alerts(&self, client: &Client, verdict: &Verdict) {
        for alert in &verdict.alerts {
            self.recorder.emit(&Event::Alert {
                client,
                rule: &alert.rule,
                severity: alert.severity,
            });
        }
    }
}

/// A hook whose policies cannot all be asked has not passed.
fn nobody() -> HookAnswer {
    Err(Box::new(refuse::by_gate(aside::unasked())))
}

/// Like any refusal, but the connection ends with it.
fn farewell(refusal: &Refusal, incident: &str) -> UserMessage {
    let mut message = refusal.user_message();
    message.severity = "FATAL";
    if !message.detail.is_empty() {
        let stop = if message.detail.ends_with('.') {
            " "
        } else {
            ". "
        };
        message.detail.push_str(stop);
    }
    message.detail.push_str(&format!("Incident {incident}."));
    message
}

impl<S> Session<S> {
    /// May the statement of this plan run?
    pub(super) async fn judge_plan(
        &self,
        statement: &Arc<Statement>,
        permit: &Permit,
        values: &[BindValue],
        plan: PlanInput,
    ) -> HookAnswer {
        let set = self.worker.judge.borrow_mut().current();
        let asked = Asked {
            set: &set,
            client: &self.client,
            session: &self.facts,
            statement,
            analysis_problem: None,
            values: Values::Known(values),
            opaque: self.worker.config.load().analysis.opaque,
        };
        self.worker.judge_plan(&asked, permit, plan).await
    }
}

/// A plan as policies see it.
pub(super) fn plan_input(measures: &PlanMeasures, json: &serde_json::Value) -> PlanInput {
    let told = Measure::ALL
        .iter()
        .filter_map(|measure| Some((*measure, measures.value(*measure)?)));
    PlanInput {
        measures: told.collect(),
        json: json.to_string().into(),
    }
}

/// What is known of the session before it begins: what the client said at start-up.
pub(super) fn first_facts<S>(arrival: &Arrival<S>, behind: &Behind) -> SessionFacts {
    let role = match behind {
        Behind::Postgres(source) => {
            let server = arrival.user.server.as_ref().map(|(name, _)| &**name);
            let role = arrival.user.set_role.as_deref();
            role.or(server).unwrap_or(&source.target.user)
        }
        Behind::Sqlite(_) => &arrival.client.user,
    };
    let mut facts = SessionFacts {
        role: role.into(),
        ..SessionFacts::default()
    };
    for (name, value) in &arrival.parameters {
        let name = name.to_ascii_lowercase();
        if name == "application_name" {
            facts.application = value.as_str().into();
        }
        facts.settings.push((name.into(), value.as_str().into()));
    }
    facts
}
