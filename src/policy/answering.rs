//! One policy's answer: remembered, judged by a clean instance, or by the warm one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::aside::Brought;
use super::ask::Judged;
use super::fault::{Fault, FaultKind};
use super::judge::{Asked, Judge};
use super::memo::{Answer, Key};
use super::quarantine::Place;
use super::read::Reads;
use super::set::Member;
use super::subject::{Subject, View};
use super::version::{SPARES, Version};
use super::wasm::{Hook, Instance};
use crate::config::OnFault;
use crate::model::refusal::sqlstate;
use crate::model::{Refusal, Verdict};

/// A new version falls back to the one before it for this long, or for this many judgements.
const PROBATION: (Duration, u64) = (Duration::from_secs(15 * 60), 10_000);

/// Faults kept until they are taken; whoever judges takes them after each statement.
const FAULTS_MAX: usize = 256;

/// What one policy gave.
pub(super) struct Given {
    pub(super) answer: Arc<Answer>,
    /// No call was made.
    pub(super) remembered: bool,
    /// It may become part of a remembered verdict.
    pub(super) keep: bool,
    pub(super) fault: Option<Fault>,
}

impl Judge {
    /// The answer of one policy to the statement.
    pub(super) fn answer(
        &mut self,
        member: &Member,
        asked: &Asked<'_>,
        view: &View<'_>,
        subject: &mut Option<Arc<Subject>>,
        brought: &Brought,
    ) -> Given {
        let version = &member.version;
        if version.quarantine.holds() {
            return self.faulted(member, quarantined(), view, asked, subject, brought);
        }
        let key = Key::new(version.id, view);
        if let Some(answer) = self.answers.get(&key, view) {
            return Given {
                answer: answer.clone(),
                remembered: true,
                keep: true,
                fault: None,
            };
        }
        let Some(clean) = self.called(version, &key) else {
            return self.faulted(member, benched(), view, asked, subject, brought);
        };
        let shared = subject
            .get_or_insert_with(|| Arc::new(Subject::of(view, asked.statement)))
            .clone();
        match self.run(version, Hook::Judge, shared, clean, brought) {
            Ok((judged, was_clean)) => {
                let keep = was_clean && judged.reads.rememberable();
                let answer = Arc::new(Answer { judged });
                if keep {
                    self.answers
                        .put(&key, answer.judged.reads.clone(), answer.clone());
                } else if was_clean && let Some(marks) = self.answers.mark(&key) {
                    marks.unrepeatable();
                }
                Given {
                    answer,
                    remembered: false,
                    keep,
                    fault: None,
                }
            }
            Err(fault) => {
                if fault.kind != FaultKind::Busy
                    && let Some(marks) = self.answers.mark(&key)
                {
                    marks.fault(Instant::now());
                }
                self.faulted(member, fault, view, asked, subject, brought)
            }
        }
    }

    /// Whether a policy whose answer is not remembered is called, and then whether
    /// on a clean instance. None: the shape is refused without a call.
    pub(super) fn called(&mut self, version: &Version, key: &Key<'_>) -> Option<bool> {
        let mut clean = key.is_kept() && !version.is_impure();
        if let Some(marks) = self.answers.marks(key) {
            if marks.benched(Instant::now()) {
                return None;
            }
            clean &= !marks.wants_warm();
        }
        Some(clean)
    }

    /// What counts instead of the answer of a policy that failed. Never remembered.
    fn faulted(
        &mut self,
        member: &Member,
        fault: Fault,
        view: &View<'_>,
        asked: &Asked<'_>,
        subject: &mut Option<Arc<Subject>>,
        brought: &Brought,
    ) -> Given {
        let version = &member.version;
        let place = Place {
            shape: view.statement.shape,
            // Each session has a client of its own.
            session: std::ptr::from_ref(asked.client).addr(),
        };
        self.note_fault(member, &fault, place);
        if let (OnFault::LastGood, Some(last)) = (member.on_fault, &member.last_good)
            && on_probation(version)
        {
            let shared = subject
                .get_or_insert_with(|| Arc::new(Subject::of(view, asked.statement)))
                .clone();
            if let Ok((judged, _)) = self.run(last, Hook::Judge, shared, false, brought) {
                return Given {
                    answer: Arc::new(Answer { judged }),
                    remembered: false,
                    keep: false,
                    fault: Some(fault),
                };
            }
        }
        let verdict = fault_verdict(member, &fault, "statement");
        let judged = Judged {
            verdict,
            reads: Reads::default(),
            needs_values: false,
            logs: Vec::new(),
        };
        Given {
            answer: Arc::new(Answer { judged }),
            remembered: false,
            keep: false,
            fault: Some(fault),
        }
    }

    /// Counts a fault and keeps it for [`Judge::take_faults`].
    pub(super) fn note_fault(&mut self, member: &Member, fault: &Fault, place: Place) {
        let version = &member.version;
        // Where failing lets statements pass, being quarantined would let all pass.
        if member.on_fault != OnFault::Allow
            && version.quarantine.note(fault, place, Instant::now())
        {
            self.policies.keeper().shared.quarantined(version.name());
        }
        version.faulted.fetch_add(1, Ordering::Relaxed);
        self.stats.faults += 1;
        if self.faults.len() < FAULTS_MAX {
            self.faults.push((version.name().clone(), fault.clone()));
        }
    }

    /// Calls a policy, or takes the answer of one that was called elsewhere. Says
    /// whether the instance was clean; it is dirty now.
    pub(super) fn run(
        &mut self,
        version: &Arc<Version>,
        hook: Hook,
        subject: Arc<Subject>,
        clean: bool,
        brought: &Brought,
    ) -> Result<(Judged, bool), Fault> {
        if version.aside.is_some() {
            self.stats.calls += 1;
            version.judged.fetch_add(1, Ordering::Relaxed);
            return self.brought(version, hook, &subject, brought);
        }
        let spare = if clean { self.spare(version) } else { None };
        let was_clean = spare.is_some();
        let mut instance = match spare {
            Some(instance) => instance,
            None => self.warm(version)?,
        };
        self.stats.calls += 1;
        version.judged.fetch_add(1, Ordering::Relaxed);
        let result = instance.call(hook, subject);
        if instance.is_poisoned() {
            self.policies.keeper().discard(instance);
        } else if let Some(surplus) = version.put_warm(self.worker, instance) {
            self.policies.keeper().discard(surplus);
        }
        let judged = result?;
        self.log_lines.write(version, &judged);
        Ok((judged, was_clean))
    }

    fn spare(&self, version: &Arc<Version>) -> Option<Instance> {
        let (spare, left) = version.take_spare();
        if left <= SPARES / 2 {
            self.policies.keeper().refill(version);
        }
        spare
    }

    /// The worker's own instance; made when there is none.
    fn warm(&self, version: &Arc<Version>) -> Result<Instance, Fault> {
        match version.take_warm(self.worker) {
            Some(instance) => Ok(instance),
            None => match self.spare(version) {
                Some(instance) => Ok(instance),
                None => version.start(),
            },
        }
    }
}

pub(super) fn on_probation(version: &Version) -> bool {
    version.since.elapsed() < PROBATION.0 && version.judged() < PROBATION.1
}

fn benched() -> Fault {
    Fault::new(
        FaultKind::Benched,
        "this shape made the policy fail twice; it is not asked again for a minute",
    )
}

fn quarantined() -> Fault {
    Fault::new(
        FaultKind::Quarantined,
        "it failed on several statements of several sessions; it is not asked until it is released or replaced",
    )
}

/// A refusal that names the policy and what it should have judged, or nothing where faults are allowed.
pub(super) fn fault_verdict(member: &Member, fault: &Fault, what: &str) -> Verdict {
    if member.on_fault == OnFault::Allow {
        return Verdict::default();
    }
    let name = member.version.name();
    let refusal = Refusal {
        policy: name.clone(),
        rule: Arc::from("fault"),
        code: sqlstate::POLICY_FAULT,
        message: format!(
            "policy {name} failed ({}), so the {what} was not judged",
            fault.kind.name()
        )
        .into(),
        detail: Arc::from(""),
        hint: Arc::from("the operator finds the cause in the gate's log"),
        disguise: None,
    };
    Verdict {
        refusal: Some(refusal),
        ..Verdict::default()
    }
}
