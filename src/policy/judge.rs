//! Decide. One [`Judge`] per worker; nothing here waits: what has to be waited for
//! is handed out as [`Later`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use tokio::sync::watch;

use super::answering::Given;
use super::aside::{Brought, Later};
use super::chain::fold;
use super::disguise;
use super::fault::Fault;
use super::keeper::Check;
use super::live::Twice;
use super::load::Policies;
use super::log_lines::LogLines;
use super::memo::{Answer, Key, Memo};
use super::permit::{Decided, Outcome, Permit, Refused, Responded};
use super::read::Reads;
use super::rules;
use super::set::{Chain, PolicySet};
use super::subject::{Subject, Values, View};
use crate::config::{Mode, OpaqueMode};
use crate::model::{Client, Problem, SessionFacts, Statement, Verdict};

/// Bytes a worker remembers verdicts in, about.
const MEMO_BYTES: usize = 16 << 20;

/// One remembered verdict in so many is judged again, off the path.
const CHECK_EVERY: u32 = 1024;

/// Clients whose chain a worker keeps.
const CHAINS_MAX: usize = 1024;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The policies, as [`Judge::current`] gave them.
    pub set: &'a Arc<PolicySet>,
    /// Who asks.
    pub client: &'a Client,
    /// State of the session.
    pub session: &'a SessionFacts,
    /// The statement.
    pub statement: &'a Arc<Statement>,
    /// The problem of the whole text, if it has one.
    pub analysis_problem: Option<&'a Problem>,
    /// Bind values.
    pub values: Values<'a>,
    /// What happens to opaque statements.
    pub opaque: OpaqueMode,
}

impl<'a> Asked<'a> {
    pub(super) fn view(&self) -> View<'a> {
        View {
            statement: self.statement,
            client: self.client,
            session: self.session,
            values: self.values,
            now: None,
        }
    }
}

/// Counters of one worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Statements decided.
    pub decided: u64,
    /// Answered by one look-up for the whole chain.
    pub remembered: u64,
    /// Calls into WebAssembly.
    pub calls: u64,
    /// Calls that ended in a fault.
    pub faults: u64,
    /// Shapes remembered now.
    pub shapes: usize,
}

/// The chain of a client, found again by the addresses of its names.
struct KnownChain {
    /// Kept so that the addresses cannot be given to other names.
    _client: Client,
    set: u64,
    chain: Weak<Chain>,
}

/// Decides for one worker thread.
pub struct Judge {
    pub(super) policies: Arc<Policies>,
    pub(super) worker: u64,
    pub(super) answers: Memo<Arc<Answer>>,
    pub(super) stats: Stats,
    pub(super) log_lines: LogLines,
    /// Faults that nobody has been told of yet.
    pub(super) faults: Vec<(Arc<str>, Fault)>,
    chains: Memo<Arc<Decided>>,
    known: hashbrown::HashMap<(usize, usize), KnownChain, rustc_hash::FxBuildHasher>,
    impurities: u64,
    until_check: u32,
    /// Remembered verdicts judged again so far: whose turn it is.
    checks: usize,
    spent_ns: u64,
}

impl Judge {
    /// For one worker.
    pub fn new(policies: Arc<Policies>) -> Judge {
        static WORKERS: AtomicU64 = AtomicU64::new(0);
        Judge {
            policies,
            worker: WORKERS.fetch_add(1, Ordering::Relaxed),
            answers: Memo::new(MEMO_BYTES),
            stats: Stats::default(),
            log_lines: LogLines::new(),
            faults: Vec::new(),
            chains: Memo::new(MEMO_BYTES),
            known: hashbrown::HashMap::default(),
            impurities: 0,
            until_check: CHECK_EVERY,
            checks: 0,
            spent_ns: 0,
        }
    }

    /// The policies of this moment. Keep them for one statement or one simple string, no longer.
    pub fn current(&mut self) -> Arc<PolicySet> {
        self.policies.current()
    }

    /// Changes when the policies do; see [`Policies::swaps`].
    pub fn swaps(&self) -> watch::Receiver<u64> {
        self.policies.swaps()
    }

    /// Calls into WebAssembly so far.
    pub fn calls(&self) -> u64 {
        self.stats.calls
    }

    /// What policies did wrong since the last call, whatever became of the statement.
    pub fn take_faults(&mut self) -> Vec<(Arc<str>, Fault)> {
        std::mem::take(&mut self.faults)
    }

    /// Nanoseconds that decisions took since the last call; remembered ones take none.
    pub fn take_spent(&mut self) -> u64 {
        std::mem::take(&mut self.spent_ns)
    }

    /// A decision took so long besides what was measured here.
    pub fn add_spent(&mut self, spent: std::time::Duration) {
        let spent = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
        self.spent_ns = self.spent_ns.saturating_add(spent);
    }

    /// Counters of this worker.
    pub fn stats(&self) -> Stats {
        Stats {
            shapes: self.chains.len(),
            ..self.stats
        }
    }

    /// May this statement run, and under which conditions?
    ///
    /// A policy may judge beside the workers: then its answer is waited for and
    /// comes back with the same question.
    pub fn decide(&mut self, asked: &Asked<'_>, brought: &Brought) -> Result<Outcome, Later> {
        if let Some(refusal) = rules::refuse(asked) {
            self.stats.decided += 1;
            return Ok(Outcome::Refuse(Refused::gate(refusal)));
        }
        self.forget_if_impure();
        let view = asked.view();
        let scoped;
        let chain = match asked.set.whole() {
            Some(chain) => chain,
            None => {
                scoped = self.scoped_chain(asked.set, asked.client);
                &scoped
            }
        };
        let key = Key::new(chain.id, &view);
        if let Some(decided) = self.chains.get(&key, &view) {
            let decided = decided.clone();
            self.stats.decided += 1;
            self.stats.remembered += 1;
            self.check_sometimes(&decided, asked, &view);
            self.show_shadow(&decided, asked, &view);
            return Ok(outcome(decided, asked, true));
        }
        if chain.has_aside {
            let later = self.ask_aside(chain, asked, &view, brought);
            if !later.is_empty() {
                return Err(later);
            }
        }
        self.stats.decided += 1;
        let started = Instant::now();
        let (decided, calls) = self.judge_chain(chain, asked, &view, &key, brought);
        let spent = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.spent_ns = self.spent_ns.saturating_add(spent);
        self.show_shadow(&decided, asked, &view);
        Ok(outcome(decided, asked, !calls))
    }

    /// Asks each policy; true when any had to be called.
    fn judge_chain(
        &mut self,
        chain: &Chain,
        asked: &Asked<'_>,
        view: &View<'_>,
        key: &Key<'_>,
        brought: &Brought,
    ) -> (Arc<Decided>, bool) {
        let mut subject = None;
        let mut given = Vec::with_capacity(chain.members.len());
        for member in &chain.members {
            given.push(self.answer(member, asked, view, &mut subject, brought));
        }
        let calls = given.iter().any(|given| !given.remembered);
        let keep = given.iter().all(|given| given.keep);
        let decided = Arc::new(combine(chain, given));
        if keep && decided.reads.rememberable() {
            self.chains.put(key, decided.reads.clone(), decided.clone());
        }
        (decided, calls)
    }

    /// A version was caught: nothing it took part in is believed any longer.
    fn forget_if_impure(&mut self) {
        let impurities = self.policies.impurities();
        if impurities != self.impurities {
            self.impurities = impurities;
            self.chains.clear();
            self.answers.clear();
        }
    }

    fn check_sometimes(&mut self, decided: &Arc<Decided>, asked: &Asked<'_>, view: &View<'_>) {
        self.until_check -= 1;
        if self.until_check == 0 {
            self.until_check = CHECK_EVERY;
            // One policy in turn: each takes an instance that nobody has asked yet,
            // and making those is what the check costs.
            let turn = self.checks % decided.answers.len().max(1);
            self.checks = self.checks.wrapping_add(1);
            if let Some((version, answer)) = decided.answers.get(turn) {
                self.policies.keeper().check(Check {
                    subject: Subject::of(view, asked.statement),
                    version: version.clone(),
                    answer: answer.clone(),
                });
            }
        }
    }

    /// A candidate that runs beside the others sees the decision, too.
    #[inline]
    fn show_shadow(&self, decided: &Decided, asked: &Asked<'_>, view: &View<'_>) {
        let Some(shadow) = self.policies.live.shadows.running() else {
            return;
        };
        if view.lacks_values() || !shadow.is_about(asked.client) {
            // With values it is decided once more.
            return;
        }
        let mut answers = decided.answers.iter();
        let live = answers.find_map(|(version, answer)| {
            let version = version.upgrade()?;
            (*version.name() == shadow.policy.name).then(|| answer.clone())
        });
        let subject = Subject::of(view, asked.statement);
        shadow.see(Twice { subject, live });
    }

    pub(super) fn scoped_chain(&mut self, set: &Arc<PolicySet>, client: &Client) -> Arc<Chain> {
        let key = (
            client.user.as_ptr() as usize,
            client.database.as_ptr() as usize,
        );
        if let Some(known) = self
            .known
            .get(&key)
            .filter(|known| known.set == set.generation())
            && let Some(chain) = known.chain.upgrade()
        {
            return chain;
        }
        let chain = set.chain(client);
        if self.known.len() >= CHAINS_MAX {
            self.known.clear();
        }
        let known = KnownChain {
            _client: client.clone(),
            set: set.generation(),
            chain: Arc::downgrade(&chain),
        };
        self.known.insert(key, known);
        chain
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        for member in self.policies.current().members() {
            member.version.forget_worker(self.worker);
        }
    }
}

/// Folds what the policies gave: the enforcing ones count, the monitoring ones are noted.
fn combine(chain: &Chain, given: Vec<Given>) -> Decided {
    let of_mode = |mode: Mode| {
        let members = chain
            .members
            .iter()
            .zip(&given)
            .filter(move |(member, _)| member.mode == mode);
        members
            .map(|(_, given)| &given.answer.judged)
            .filter(|judged| !judged.needs_values)
    };
    let verdict = fold(of_mode(Mode::Enforce).map(|judged| &judged.verdict));
    let monitored = fold(of_mode(Mode::Monitor).map(|judged| &judged.verdict));
    let mut reads = Reads::default();
    let mut needs_values = false;
    let mut faults: Vec<(Arc<str>, Fault)> = Vec::new();
    let mut answers = Vec::with_capacity(given.len());
    for (member, given) in chain.members.iter().zip(given) {
        reads.join(&given.answer.judged.reads);
        needs_values |= given.answer.judged.needs_values;
        faults.extend(
            given
                .fault
                .map(|fault| (member.version.name().clone(), fault)),
        );
        answers.push((Arc::downgrade(&member.version), given.answer));
    }
    // A refusal that needed no values stands without them.
    let needs_values = needs_values && verdict.refusal.is_none();
    let monitored = (monitored != Verdict::default()).then(|| Arc::new(monitored));
    Decided {
        verdict: Arc::new(verdict),
        monitored,
        needs_values,
        reads,
        faults,
        answers,
    }
}

fn outcome(decided: Arc<Decided>, asked: &Asked<'_>, remembered: bool) -> Outcome {
    if let Some(refusal) = &decided.verdict.refusal {
        let mut refusal = refusal.clone();
        if let Some(hidden) = &mut refusal.disguise {
            // A remembered verdict may have been made for a text where the name stands elsewhere.
            *hidden = disguise::again(asked.statement, hidden);
        }
        return Outcome::Refuse(Refused {
            refusal,
            verdict: decided.verdict.clone(),
            monitored: decided.monitored.clone(),
            faults: decided.faults.clone(),
            remembered,
        });
    }
    if decided.needs_values {
        return Outcome::NeedsValues;
    }
    if decided.verdict.response.is_some() {
        let (verdict, monitored) = (decided.verdict.clone(), decided.monitored.clone());
        return Outcome::Respond(Responded {
            verdict,
            monitored,
            remembered,
        });
    }
    Outcome::Permit(Permit::new(decided, asked.set, asked.session, remembered))
}
