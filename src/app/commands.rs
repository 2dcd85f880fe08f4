//! What the gate does when it is asked on its control socket: one arm for each
//! command. Commands that are more than a look have a file of their own.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::live::Live;
use super::neighbours;
use super::shutdown::{Phase, Shutdown};
use super::takeover::TAKEOVER;
use super::takeover::give::Giving;
use crate::control::{Answer, Caller, Commands, Line, Request};
use crate::gate::cancel::Cancels;
use crate::model::ProcessId;

/// The parts of the gate that commands reach.
pub(super) struct Desk {
    pub(super) process: ProcessId,
    pub(super) shutdown: Shutdown,
    /// Connections served now.
    pub(super) clients: Arc<AtomicUsize>,
    pub(super) cancels: Arc<Cancels>,
    pub(super) giving: Giving,
    pub(super) live: Live,
}

impl Commands for Desk {
    fn answer<'a>(
        &'a self,
        request: &'a Request,
        caller: &'a Caller,
        line: &'a mut Line,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(async move {
            match &*request.command {
                "state" => Ok(self.state()),
                TAKEOVER => self.giving.give(caller, line).await,
                neighbours::CANCEL => neighbours::cancel(&self.cancels, request).await,
                other => match self.live.answer(request, caller).await {
                    Some(answer) => answer,
                    None => Err(format!("this gate knows no command `{other}`")),
                },
            }
        })
    }
}

impl Desk {
    fn state(&self) -> Value {
        let state = match self.shutdown.phase() {
            Phase::Running => "serving",
            Phase::Closing => "closing",
            Phase::Draining => "draining",
            Phase::Now => "stopping",
        };
        json!({
            "process": self.process.to_string(),
            "pid": std::process::id(),
            "version": env!("CARGO_PKG_VERSION"),
            "state": state,
            "clients": self.clients.load(Ordering::Relaxed),
        })
    }
}
