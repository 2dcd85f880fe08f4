//! How a policy's component runs.

use std::time::Duration;

/// How a policy's component runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Runtime {
    /// Small and quick, called by the worker itself.
    #[default]
    Ordinary,
    /// Brings an interpreter of its language: more room, an empty WASI world,
    /// and threads of its own that the worker waits for.
    Interpreted,
}

impl Runtime {
    /// As in the file.
    pub fn name(self) -> &'static str {
        match self {
            Runtime::Ordinary => "ordinary",
            Runtime::Interpreted => "interpreted",
        }
    }

    /// CPU time for one judgement where the file says none.
    pub fn budget(self) -> Duration {
        Duration::from_millis(match self {
            Runtime::Ordinary => 2,
            Runtime::Interpreted => 50,
        })
    }
}
