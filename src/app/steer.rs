//! What the console cannot do itself: reload, and stop.

use std::pin::Pin;
use std::sync::Arc;

use crate::console::{Control, Stop};

use super::reload::Trigger;
use super::shutdown::{Phase, Shutdown};
use super::status::Board;

/// The console's way to the composition root.
pub(super) struct Steer {
    pub(super) shutdown: Shutdown,
    pub(super) board: Arc<Board>,
    /// None: there is no file to read again.
    pub(super) trigger: Option<Trigger>,
}

impl Control for Steer {
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        Box::pin(async {
            let Some(trigger) = &self.trigger else {
                return Err("the gate runs without a configuration file".to_owned());
            };
            trigger.reload_and_wait().await;
            match self.board.last_error() {
                None => Ok(()),
                Some(problems) => Err(problems.trim_end().to_owned()),
            }
        })
    }

    fn stop(&self, how: Stop) {
        match how {
            Stop::Clients => self.shutdown.close(),
            Stop::Servers => self.shutdown.drain(),
            Stop::Now => self.shutdown.now(),
        }
    }

    fn is_stopping(&self) -> bool {
        self.shutdown.phase() > Phase::Running
    }
}
