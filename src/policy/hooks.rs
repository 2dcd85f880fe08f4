//! The optional hooks: may this client connect, and may this plan run?
//!
//! A hook answers yes or no. What would have to be enforced along the way
//! belongs into the verdict about the statement, so a hook that requires
//! something, or answers in the database's place, has failed.

use std::sync::Arc;

use super::answering::{fault_verdict, on_probation};
use super::aside::{Brought, Later};
use super::asking::ask_hook_aside;
use super::chain::fold;
use super::disguise;
use super::fault::Fault;
use super::judge::{Asked, Judge};
use super::permit::{Permit, Refused};
use super::quarantine::Place;
use super::set::{Chain, Member, PolicySet};
use super::subject::{PlanInput, Subject};
use super::version::Version;
use super::wasm::Hook;
use crate::config::{Mode, OnFault};
use crate::model::{Client, RequirementKind, SessionFacts, Verdict};

/// What the policies behind a hook said, short of no.
#[derive(Debug, Clone, Default)]
pub struct Passed {
    /// The enforcing policies: notices and alerts.
    pub verdict: Arc<Verdict>,
    /// What the policies in monitor mode would have done; none: they had nothing to say.
    pub monitored: Option<Arc<Verdict>>,
    /// Policies that failed and count as passing, because they are configured so.
    pub faults: Vec<(Arc<str>, Fault)>,
}

/// What the policies behind a hook say together.
pub type HookAnswer = Result<Passed, Box<Refused>>;

impl Judge {
    /// Asks every policy that has an opinion on connections.
    pub fn judge_connection(
        &mut self,
        set: &Arc<PolicySet>,
        client: &Client,
        session: &SessionFacts,
        brought: &Brought,
    ) -> Result<HookAnswer, Later> {
        let chain = self.chain_of(set, client);
        let judges = |member: &&Arc<Member>| member.version.program().judges_connections();
        let members: Vec<&Arc<Member>> = chain.members.iter().filter(judges).collect();
        if members.is_empty() {
            return Ok(Ok(Passed::default()));
        }
        let subject = Arc::new(Subject::connection(client.clone(), session.clone()));
        self.ask_hook(&members, Hook::Connection, &subject, brought)
    }

    /// Whether a policy wants to see the plan before the statement of this permit runs.
    pub fn wants_plan(&self, permit: &Permit) -> bool {
        wishes(permit).next().is_some()
    }

    /// Hands the plan to every policy that wanted it.
    pub fn judge_plan(
        &mut self,
        asked: &Asked<'_>,
        permit: &Permit,
        plan: &Arc<PlanInput>,
        brought: &Brought,
    ) -> Result<HookAnswer, Later> {
        let chain = self.chain_of(asked.set, asked.client);
        let wants = |member: &&Arc<Member>| {
            let name = member.version.name();
            wishes(permit).any(|policy| policy == name)
        };
        let members: Vec<&Arc<Member>> = chain.members.iter().filter(wants).collect();
        let mut subject = Subject::of(&asked.view(), asked.statement);
        subject.plan = Some(plan.clone());
        let mut answer = self.ask_hook(&members, Hook::Plan, &Arc::new(subject), brought)?;
        if let Err(refused) = &mut answer
            && let Some(hidden) = &mut refused.refusal.disguise
        {
            *hidden = disguise::again(asked.statement, hidden);
        }
        Ok(answer)
    }

    fn chain_of(&mut self, set: &Arc<PolicySet>, client: &Client) -> Arc<Chain> {
        match set.whole() {
            Some(chain) => chain.clone(),
            None => self.scoped_chain(set, client),
        }
    }

    fn ask_hook(
        &mut self,
        members: &[&Arc<Member>],
        hook: Hook,
        subject: &Arc<Subject>,
        brought: &Brought,
    ) -> Result<HookAnswer, Later> {
        let later = ask_hook_aside(members, hook, subject, brought);
        if !later.is_empty() {
            return Err(later);
        }
        let (mut enforced, mut monitored) = (Vec::new(), Vec::new());
        let mut faults = Vec::new();
        for member in members {
            let verdict = self.ask_member(member, hook, subject, &mut faults, brought);
            if member.mode == Mode::Enforce {
                enforced.push(verdict);
            } else {
                monitored.push(verdict);
            }
        }
        let verdict = Arc::new(fold(&enforced));
        let monitored = fold(&monitored);
        let monitored = (monitored != Verdict::default()).then(|| Arc::new(monitored));
        Ok(match &verdict.refusal {
            None => Ok(Passed {
                verdict,
                monitored,
                faults,
            }),
            Some(refusal) => Err(Box::new(Refused {
                refusal: refusal.clone(),
                verdict: verdict.clone(),
                monitored,
                faults,
                remembered: false,
            })),
        })
    }

    /// One policy's answer, or what counts instead of it.
    fn ask_member(
        &mut self,
        member: &Member,
        hook: Hook,
        subject: &Arc<Subject>,
        faults: &mut Vec<(Arc<str>, Fault)>,
        brought: &Brought,
    ) -> Verdict {
        let version = &member.version;
        let fault = match self.ask_version(version, hook, subject, brought) {
            Ok(verdict) => return verdict,
            Err(fault) => fault,
        };
        let place = Place {
            shape: hook as u64,
            session: Arc::as_ptr(subject).addr(),
        };
        self.note_fault(member, &fault, place);
        let last_good = match (member.on_fault, &member.last_good) {
            (OnFault::LastGood, Some(last)) if on_probation(version) => {
                self.ask_version(last, hook, subject, brought).ok()
            }
            _ => None,
        };
        let what = match hook {
            Hook::Judge => "statement",
            Hook::Connection => "connection",
            Hook::Plan => "plan",
            Hook::Event => "event",
        };
        let verdict = last_good.unwrap_or_else(|| fault_verdict(member, &fault, what));
        faults.push((version.name().clone(), fault));
        verdict
    }

    fn ask_version(
        &mut self,
        version: &Arc<Version>,
        hook: Hook,
        subject: &Arc<Subject>,
        brought: &Brought,
    ) -> Result<Verdict, Fault> {
        let (judged, _) = self.run(version, hook, subject.clone(), false, brought)?;
        answer(judged.verdict)
    }
}

/// Policies that asked for the plan, in either mode.
fn wishes(permit: &Permit) -> impl Iterator<Item = &Arc<str>> {
    let monitored = permit.monitored().map(|verdict| &**verdict);
    [Some(permit.verdict()), monitored]
        .into_iter()
        .flatten()
        .flat_map(|verdict| &verdict.requirements)
        .filter(|requirement| requirement.kind == RequirementKind::WantPlan)
        .map(|requirement| &requirement.policy)
}

/// Yes or no, and nothing else: a condition that nobody enforces must not look like one.
fn answer(verdict: Verdict) -> Result<Verdict, Fault> {
    if verdict.response.is_some() {
        return Err(Fault::verdict("a hook can only pass or refuse"));
    }
    match verdict.requirements.first() {
        None => Ok(verdict),
        Some(requirement) => Err(Fault::verdict(format!(
            "a hook cannot require {}; put it into the verdict about the statement",
            requirement.kind.name()
        ))),
    }
}
