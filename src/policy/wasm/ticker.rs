//! The clock of interruption: one thread moves the engine's epoch every
//! millisecond while calls run, and sleeps when none do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmtime::EngineWeak;

/// Length of a tick.
const TICK: Duration = Duration::from_millis(1);

/// Ticks without a call after which the thread sleeps.
const IDLE_TICKS: u32 = 5;

#[derive(Debug, Default)]
struct Shared {
    /// Calls begun and not yet ended.
    active: AtomicU64,
    /// Calls ever begun.
    begun: AtomicU64,
    asleep: AtomicBool,
    stop: AtomicBool,
}

/// Owns the thread; dropping ends it.
#[derive(Debug)]
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// While it lives, the epoch moves.
pub(super) struct Running<'t>(&'t Shared);

impl Ticker {
    pub(super) fn start(engine: EngineWeak) -> std::io::Result<Ticker> {
        let shared = Arc::new(Shared::default());
        let of_thread = shared.clone();
        let run = move || tick(&engine, &of_thread);
        let thread = thread::Builder::new()
            .name("policy-clock".into())
            .spawn(run)?;
        Ok(Ticker {
            shared,
            thread: Some(thread),
        })
    }

    /// Keeps the epoch moving until the guard is dropped.
    pub(super) fn running(&self) -> Running<'_> {
        self.shared.active.fetch_add(1, Ordering::SeqCst);
        self.shared.begun.fetch_add(1, Ordering::Relaxed);
        // The thread looks at `active` after it said that it sleeps; one of the two sees the other.
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.wake();
        }
        Running(&self.shared)
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn tick(engine: &EngineWeak, shared: &Shared) {
    let mut idle = 0;
    let mut seen = 0;
    while !shared.stop.load(Ordering::SeqCst) {
        thread::sleep(TICK);
        let Some(engine) = engine.upgrade() else {
            return;
        };
        engine.increment_epoch();
        drop(engine);
        let begun = shared.begun.load(Ordering::Relaxed);
        let quiet = begun == seen && shared.active.load(Ordering::SeqCst) == 0;
        idle = if quiet { idle + 1 } else { 0 };
        seen = begun;
        if idle >= IDLE_TICKS {
            sleep_until_needed(shared);
            idle = 0;
        }
    }
}

fn sleep_until_needed(shared: &Shared) {
    shared.asleep.store(true, Ordering::SeqCst);
    while shared.active.load(Ordering::SeqCst) == 0 && !shared.stop.load(Ordering::SeqCst) {
        thread::park();
    }
    shared.asleep.store(false, Ordering::SeqCst);
}
