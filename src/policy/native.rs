//! Policies as ordinary functions: what the SDK's tests run, through the same questions as Wasm.

use std::sync::Arc;

use super::ask::{Ask, Judged};
use super::fault::Fault;
use super::setup::{Registry, Setup};
use super::subject::Subject;
use crate::model::Decision;

/// A configured policy without Wasm. Holds what `configure` registered.
#[derive(Debug, Clone)]
pub struct NativeHost {
    policy: Arc<str>,
    registry: Arc<Registry>,
}

impl NativeHost {
    /// Runs `configure`. What it returns is the caller's policy.
    pub fn configure<P, E>(
        policy: &str,
        configure: impl FnOnce(&mut Setup) -> Result<P, E>,
    ) -> Result<(NativeHost, P), E> {
        let mut setup = Setup::new();
        let configured = configure(&mut setup)?;
        Ok((NativeHost::new(policy, setup), configured))
    }

    /// For callers that must own the setup while `configure` runs, in a thread-local for example.
    pub fn new(policy: &str, setup: Setup) -> NativeHost {
        NativeHost {
            policy: policy.into(),
            registry: setup.finish(),
        }
    }

    /// Runs `judge` (or a hook) on a subject.
    pub fn judge(
        &self,
        subject: Subject,
        judge: impl FnOnce(&mut Ask) -> Decision,
    ) -> Result<Judged, Fault> {
        let mut ask = self.ask(subject);
        let decision = judge(&mut ask);
        ask.finish(decision)
    }

    /// Begins a call; end it with [`Ask::finish`].
    pub fn ask(&self, subject: Subject) -> Ask {
        Ask::new(
            self.policy.clone(),
            self.registry.clone(),
            Arc::new(subject),
        )
    }
}
