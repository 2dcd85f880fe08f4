//! What a worker does about policies that judge beside it: asks them first, all
//! of them, and decides when it has their answers.

use std::sync::Arc;

use super::answering::on_probation;
use super::aside::{Brought, Later};
use super::ask::Judged;
use super::fault::{Fault, FaultKind};
use super::judge::{Asked, Judge};
use super::memo::Key;
use super::permit::Outcome;
use super::set::{Chain, Member};
use super::subject::{Subject, View};
use super::version::Version;
use super::wasm::Hook;
use crate::config::OnFault;

impl Judge {
    /// Decides, and waits on this thread where it has to. For tools and tests:
    /// a worker has other clients.
    pub fn decide_here(&mut self, asked: &Asked<'_>) -> Outcome {
        let mut brought = Brought::default();
        loop {
            match self.decide(asked, &brought) {
                Ok(outcome) => return outcome,
                Err(later) => later.wait_here(&mut brought),
            }
        }
    }

    /// Asks the members that judge beside the workers and have not answered yet.
    pub(super) fn ask_aside(
        &mut self,
        chain: &Chain,
        asked: &Asked<'_>,
        view: &View<'_>,
        brought: &Brought,
    ) -> Later {
        let mut later = Later::default();
        let subject = Arc::new(Subject::of(view, asked.statement));
        for member in &chain.members {
            let version = &member.version;
            let key = Key::new(version.id, view);
            let asks = version.aside.is_some() && !version.quarantine.holds();
            if asks && self.answers.get(&key, view).is_some() {
                continue;
            }
            if let Some(answer) = brought.find(version.id, Hook::Judge, &subject) {
                if answer.is_err() {
                    ask_last(member, Hook::Judge, &subject, brought, &mut later);
                }
                continue;
            }
            match asks.then(|| self.called(version, &key)) {
                Some(Some(clean)) => ask(version, Hook::Judge, &subject, clean, &mut later),
                // It counts as one that failed, and is not called.
                Some(None) => ask_last(member, Hook::Judge, &subject, brought, &mut later),
                None if version.quarantine.holds() => {
                    ask_last(member, Hook::Judge, &subject, brought, &mut later);
                }
                None => {}
            }
        }
        later
    }

    /// What the policy said while the worker was elsewhere.
    pub(super) fn brought(
        &mut self,
        version: &Version,
        hook: Hook,
        subject: &Subject,
        brought: &Brought,
    ) -> Result<(Judged, bool), Fault> {
        let answer = brought.find(version.id, hook, subject).cloned();
        let nobody = || Err(Fault::new(FaultKind::Busy, "was not asked"));
        let (judged, was_clean) = answer.unwrap_or_else(nobody)?;
        self.log_lines.write(version, &judged);
        Ok((judged, was_clean))
    }
}

/// Asks the members of a hook that judge beside the workers.
pub(super) fn ask_hook_aside(
    members: &[&Arc<Member>],
    hook: Hook,
    subject: &Arc<Subject>,
    brought: &Brought,
) -> Later {
    let mut later = Later::default();
    for member in members {
        let version = &member.version;
        if version.aside.is_none() {
            continue;
        }
        match brought.find(version.id, hook, subject) {
            None => ask(version, hook, subject, false, &mut later),
            Some(Err(_)) => ask_last(member, hook, subject, brought, &mut later),
            Some(Ok(_)) => {}
        }
    }
    later
}

/// Asks the version before one that failed, if that is the one that counts then.
fn ask_last(
    member: &Member,
    hook: Hook,
    subject: &Arc<Subject>,
    brought: &Brought,
    later: &mut Later,
) {
    if let (OnFault::LastGood, Some(last)) = (member.on_fault, &member.last_good)
        && on_probation(&member.version)
        && brought.find(last.id, hook, subject).is_none()
    {
        ask(last, hook, subject, false, later);
    }
}

fn ask(version: &Version, hook: Hook, subject: &Arc<Subject>, clean: bool, later: &mut Later) {
    if let Some(aside) = &version.aside {
        later.ask(version, aside, hook, subject, clean);
    }
}
