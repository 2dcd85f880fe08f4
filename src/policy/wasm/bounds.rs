//! What components of each engine may be and have.

use std::time::Duration;

use crate::config::Runtime;

/// The bounds of one engine.
#[derive(Debug)]
pub(super) struct Bounds {
    /// Bytes of a component.
    pub(super) component: usize,
    /// Bytes of a guest's stack; the thread's own stack must hold it.
    pub(super) stack: usize,
    /// Bytes of all linear memories of an instance together.
    pub(super) memory: usize,
    /// Linear memories of an instance.
    pub(super) memories: usize,
    /// Entries of all tables of an instance together.
    pub(super) table: usize,
    /// Core instances, and tables, inside one component.
    pub(super) parts: usize,
    /// CPU time of `configure`, which parses settings and may do so slowly.
    pub(super) configure: Duration,
    /// Whether there is an empty WASI world to import.
    pub(super) wasi: bool,
}

/// Components that are compiled for the interface alone.
const ORDINARY: Bounds = Bounds {
    // The largest default policy is a hundredth of it.
    component: 8 * 1024 * 1024,
    stack: 256 * 1024,
    memory: 16 * 1024 * 1024,
    memories: 1,
    table: 10_000,
    parts: 64,
    configure: Duration::from_millis(500),
    wasi: false,
};

/// Components that bring an interpreter of their language.
const INTERPRETED: Bounds = Bounds {
    component: 64 * 1024 * 1024,
    stack: 1024 * 1024,
    memory: 256 * 1024 * 1024,
    memories: 8,
    table: 100_000,
    parts: 512,
    configure: Duration::from_secs(1),
    wasi: true,
};

impl Bounds {
    pub(super) fn of(runtime: Runtime) -> &'static Bounds {
        match runtime {
            Runtime::Ordinary => &ORDINARY,
            Runtime::Interpreted => &INTERPRETED,
        }
    }
}

/// Largest component that any engine takes.
pub const COMPONENT_BYTES_MAX: usize = INTERPRETED.component;
