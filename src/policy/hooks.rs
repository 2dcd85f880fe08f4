//! The optional hooks: may this client connect, and may this plan run?

use std::sync::Arc;

use super::answering::fault_verdict;
use super::chain::fold;
use super::fault::Fault;
use super::judge::{Asked, Judge};
use super::permit::{Permit, Refused};
use super::set::{Member, PolicySet};
use super::subject::{PlanInput, Subject};
use super::wasm::Hook;
use crate::config::Mode;
use crate::model::{Client, RequirementKind, SessionFacts, Verdict};

impl Judge {
    /// Asks every policy that has an opinion on connections. What they require of a connection is ignored.
    pub fn judge_connection(
        &mut self,
        set: &Arc<PolicySet>,
        client: &Client,
        session: &SessionFacts,
    ) -> Result<Arc<Verdict>, Box<Refused>> {
        let chain = set.chain(client);
        let members = chain
            .members
            .iter()
            .filter(|member| member.version.program.judges_connections());
        let members: Vec<&Arc<Member>> = members.collect();
        let subject = Arc::new(Subject::connection(client.clone(), session.clone()));
        self.ask_hook(&members, Hook::Connection, &subject)
    }

    /// Hands the plan to every policy that wanted it.
    pub fn judge_plan(
        &mut self,
        asked: &Asked<'_>,
        permit: &Permit,
        plan: PlanInput,
    ) -> Result<Arc<Verdict>, Box<Refused>> {
        let chain = asked.set.chain(asked.client);
        let wants = |member: &&Arc<Member>| {
            let name = member.version.name();
            let verdicts = [
                Some(permit.verdict()),
                permit.monitored().map(|verdict| &**verdict),
            ];
            let mut requirements = verdicts
                .into_iter()
                .flatten()
                .flat_map(|verdict| &verdict.requirements);
            requirements.any(|r| r.kind == RequirementKind::WantPlan && r.policy == *name)
        };
        let members: Vec<&Arc<Member>> = chain.members.iter().filter(wants).collect();
        let mut subject = Subject::of(&asked.view(), asked.statement);
        subject.plan = Some(Arc::new(plan));
        self.ask_hook(&members, Hook::Plan, &Arc::new(subject))
    }

    fn ask_hook(
        &mut self,
        members: &[&Arc<Member>],
        hook: Hook,
        subject: &Arc<Subject>,
    ) -> Result<Arc<Verdict>, Box<Refused>> {
        let mut enforced = Vec::new();
        let mut monitored = Vec::new();
        let mut faults: Vec<(Arc<str>, Fault)> = Vec::new();
        for member in members {
            let verdict = match self.run(&member.version, hook, subject.clone(), false) {
                Ok((judged, _)) => judged.verdict,
                Err(fault) => {
                    tracing::warn!(policy = %member.version.name(), "policy fault: {fault}");
                    self.stats.faults += 1;
                    let verdict = fault_verdict(member, &fault);
                    faults.push((member.version.name().clone(), fault));
                    verdict
                }
            };
            if member.mode == Mode::Enforce {
                &mut enforced
            } else {
                &mut monitored
            }
            .push(verdict);
        }
        let verdict = Arc::new(fold(&enforced));
        match &verdict.refusal {
            None => Ok(verdict),
            Some(refusal) => Err(Box::new(Refused {
                refusal: refusal.clone(),
                verdict: verdict.clone(),
                monitored: (!monitored.is_empty()).then(|| Arc::new(fold(&monitored))),
                faults,
                remembered: false,
            })),
        }
    }
}
