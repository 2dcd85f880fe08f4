//! What a store holds: the call in progress and the bounds it runs under.

use std::time::{Duration, Instant};

use cpu_time::ThreadTime;
use wasmtime::{ResourceLimiter, UpdateDeadline};

use super::super::ask::Ask;
use super::super::fault::{Fault, FaultKind};
use super::super::setup::Setup;
use super::bounds::Bounds;

/// Wall-clock bound of one call, however little CPU time it got.
const WALL_MAX: Duration = Duration::from_secs(1);

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
    pub(super) fn new(memory_max: usize, bounds: &'static Bounds) -> State {
        State {
            setup: None,
            ask: None,
            setup_logs: Vec::new(),
            limiter: Limiter {
                memory_max,
                memory: 0,
                table: 0,
                bounds,
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
    /// Bytes of all memories, and entries of all tables, as they are now.
    memory: usize,
    table: usize,
    bounds: &'static Bounds,
    pub(super) denied: bool,
}

impl Limiter {
    /// Whether there is room for what grows, and what is taken then.
    fn grow(taken: usize, current: usize, desired: usize, most: usize) -> Option<usize> {
        let taken = taken.checked_add(desired.checked_sub(current)?)?;
        (taken <= most).then_some(taken)
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let taken = Limiter::grow(self.memory, current, desired, self.memory_max);
        self.denied |= taken.is_none();
        self.memory = taken.unwrap_or(self.memory);
        Ok(taken.is_some())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let taken = Limiter::grow(self.table, current, desired, self.bounds.table);
        self.denied |= taken.is_none();
        self.table = taken.unwrap_or(self.table);
        Ok(taken.is_some())
    }

    fn instances(&self) -> usize {
        self.bounds.parts
    }

    fn tables(&self) -> usize {
        self.bounds.parts
    }

    fn memories(&self) -> usize {
        self.bounds.memories
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
