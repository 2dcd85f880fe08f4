//! The side of the gate that goes.

use std::os::fd::AsFd;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{Offer, Ready};
use crate::app::manager::Manager;
use crate::app::shutdown::{Phase, Shutdown};
use crate::control::{Answer, Caller, Line, Reply};
use crate::model::ProcessId;
use crate::net::passing::{Lent, Passing};

/// Time in which the other gate must be ready once it has the sockets: it has
/// read its configuration and loaded its policies by then.
const PATIENCE: Duration = Duration::from_secs(60);

/// What this gate can hand over, and whom that concerns.
pub(in crate::app) struct Giving {
    process: ProcessId,
    sockets: Vec<Passing>,
    shutdown: Shutdown,
    manager: Manager,
    /// Held while somebody is taking over.
    one: Mutex<()>,
}

impl Giving {
    pub(in crate::app) fn new(
        process: ProcessId,
        sockets: Vec<Passing>,
        shutdown: Shutdown,
        manager: Manager,
    ) -> Giving {
        Giving {
            process,
            sockets,
            shutdown,
            manager,
            one: Mutex::default(),
        }
    }

    /// Carries the command out, if the other side is as good as its word.
    pub(in crate::app) async fn give(&self, caller: &Caller, line: &mut Line) -> Answer {
        if !caller.is_own_user() {
            return Err("only a gate of the same user can take over".to_owned());
        }
        let Ok(_one) = self.one.try_lock() else {
            return Err("another gate is taking over right now".to_owned());
        };
        let lent: Vec<Lent> = self.sockets.iter().filter_map(Passing::lend).collect();
        // Looked at behind lending: sockets that are let go of later keep their files.
        if self.shutdown.phase() > Phase::Running {
            return Err("this gate is stopping: start the new one without --takeover".to_owned());
        }
        tracing::info!(pid = caller.pid, "a new gate wants to take over");
        let taken = match self.offer(&lent, line).await {
            Ok(taken) => taken,
            Err(why) => {
                tracing::warn!(why, "the new gate does not take over: this one goes on");
                return Err(why);
            }
        };
        for (at, lent) in lent.into_iter().enumerate() {
            if taken.contains(&at) {
                lent.was_taken();
            }
        }
        tracing::info!(pid = caller.pid, "the new gate has taken over");
        self.manager.follow(caller.pid);
        // Before anything stops: the other gate begins with this word. If it
        // cannot be reached now, it begins all the same.
        let _ = line.send(&Reply::from(Ok(serde_json::Value::Null))).await;
        self.shutdown.relieve();
        Ok(serde_json::Value::Null)
    }

    /// Sends copies, and waits until the new gate could serve.
    async fn offer(&self, lent: &[Lent], line: &mut Line) -> Result<Vec<usize>, String> {
        let offer = Offer {
            process: self.process.to_string(),
            sockets: lent.iter().map(|lent| lent.label().clone()).collect(),
            manager: self.manager.tie(),
        };
        let offer = serde_json::to_value(offer).map_err(|error| error.to_string())?;
        let sockets: Vec<_> = lent.iter().map(AsFd::as_fd).collect();
        let exchange = async {
            line.send_sockets(&Reply::from(Ok(offer)), &sockets).await?;
            line.receive::<Ready>().await
        };
        match timeout(PATIENCE, exchange).await {
            Ok(Ok(ready)) => Ok(ready.taken),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("it was not ready within {PATIENCE:?}")),
        }
    }
}
