//! What a store holds: the call in progress and the bounds it runs under.

use std::time::{Duration, Instant};

use cpu_time::ThreadTime;
use wasmtime::{ResourceLimiter, UpdateDeadline};

use super::super::ask::Ask;
use super::super::fault::{Fault, FaultKind};
use super::super::setup::Setup;

/// Wall-clock bound of one call, however little CPU time it got.
const WALL_MAX: Duration = Duration::from_secs(1);

/// Table entries a guest may have.
const TABLE_MAX: usize = 10_000;

/// Data of one store.
pub(super) struct State {
    /// Set while `configure` runs.
    pub(super) setup: Option<Setup>,
    /// Set while `judge` or a hook runs.
    pub(super) ask: Option<Ask>,
    /// Lines written by `configure`.
    pub(super) setup_logs: Vec<(u32, String)>,
    pub(super) limiter: Limiter,
    pub(super) meter: Meter,
}

impl State {
    pub(super) fn new(memory_max: usize) -> State {
        State {
            setup: None,
            ask: None,
            setup_logs: Vec::new(),
            limiter: Limiter {
                memory_max,
                denied: false,
            },
            meter: Meter {
                budget: Duration::ZERO,
                begun: None,
            },
        }
    }

    /// The call in progress; questions during `configure` are a fault.
    pub(super) fn ask(&mut self) -> Result<&mut Ask, Fault> {
        self.ask
            .as_mut()
            .ok_or_else(|| Fault::call("statements can be asked only while judging"))
    }

    /// The set-up in progress; registering while judging is a fault.
    pub(super) fn setup(&mut self) -> Result<&mut Setup, Fault> {
        self.setup
            .as_mut()
            .ok_or_else(|| Fault::call("names can be registered only during configure"))
    }
}

/// Caps memory and remembers that it did.
#[derive(Debug)]
pub(super) struct Limiter {
    memory_max: usize,
    pub(super) denied: bool,
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = desired <= self.memory_max;
        self.denied |= !allowed;
        Ok(allowed)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = desired <= TABLE_MAX;
        self.denied |= !allowed;
        Ok(allowed)
    }

    fn instances(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        1
    }
}

/// CPU time of one call.
///
/// The start is marked at the first expired epoch, not at the call: asking for
/// the thread's CPU time costs more than most calls. So a call may use its
/// budget and up to one tick more.
#[derive(Debug)]
pub(super) struct Meter {
    budget: Duration,
    /// CPU time of this thread, and the wall clock; a call does not change threads.
    begun: Option<(Duration, Instant)>,
}

impl Meter {
    /// Before a call.
    pub(super) fn reset(&mut self, budget: Duration) {
        self.budget = budget;
        self.begun = None;
    }

    /// At every expired epoch. A thread that was preempted has spent wall time
    /// but no CPU time, and its policy is innocent.
    pub(super) fn expired(&mut self) -> wasmtime::Result<UpdateDeadline> {
        let Some((cpu, wall)) = &self.begun else {
            self.begun = Some((ThreadTime::try_now()?.as_duration(), Instant::now()));
            return Ok(UpdateDeadline::Continue(1));
        };
        let spent = ThreadTime::try_now()?.as_duration().saturating_sub(*cpu);
        if spent >= self.budget {
            let text = format!(
                "spent its budget of {} ms CPU time",
                self.budget.as_millis()
            );
            return Err(Fault::new(FaultKind::Timeout, text).into());
        }
        if wall.elapsed() >= WALL_MAX {
            return Err(Fault::new(FaultKind::Timeout, "took a second of wall time").into());
        }
        Ok(UpdateDeadline::Continue(1))
    }
}
