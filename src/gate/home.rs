//! Where a session's links come from, and how long it keeps one.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::Error;
use super::source::Source;
use crate::backend::postgres;
use crate::backend::postgres::pool::{Lane, LinkPool};
use crate::config::{Pool, PoolMode, User};
use crate::model::UserMessage;

/// Why a session keeps its link although no transaction is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pin {
    /// LISTEN: notifications come on this link only.
    Listen,
    /// Temporary objects live in this server session.
    Temporary,
    /// A session-level advisory lock is held.
    AdvisoryLock,
    /// A cursor WITH HOLD is open.
    HoldCursor,
    /// PREPARE in SQL.
    Prepared,
    /// A setting was changed in a way that cannot be repeated elsewhere.
    Setting,
    /// A library was loaded.
    Library,
}

impl Pin {
    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Pin::Listen => "listen",
            Pin::Temporary => "temporary-object",
            Pin::AdvisoryLock => "advisory-lock",
            Pin::HoldCursor => "hold-cursor",
            Pin::Prepared => "sql-prepare",
            Pin::Setting => "setting",
            Pin::Library => "library",
        }
    }
}

/// See the head of this file.
pub(super) struct Home {
    pool: Arc<LinkPool>,
    patience: Patience,
    prepared_max: usize,
    /// Links are handed from transaction to transaction; none: kept until the client leaves.
    lane: Option<Rc<Lane>>,
    mode: PoolMode,
}

impl Home {
    /// The link is the session's until its client leaves.
    pub(super) fn own(source: &Source, user: &User) -> Home {
        Home {
            pool: source.pool.clone(),
            patience: Patience::of(source, user),
            prepared_max: source.pool.settings().prepared_max,
            lane: None,
            mode: PoolMode::Session,
        }
    }

    /// Links are shared with other sessions.
    pub(super) fn shared(source: &Source, user: &User, lane: Rc<Lane>, mode: PoolMode) -> Home {
        Home {
            pool: source.pool.clone(),
            patience: Patience::of(source, user),
            prepared_max: source.pool.settings().prepared_max,
            lane: Some(lane),
            mode,
        }
    }

    pub(super) fn pool(&self) -> &Arc<LinkPool> {
        &self.pool
    }

    pub(super) fn lane(&self) -> Option<&Rc<Lane>> {
        self.lane.as_ref()
    }

    pub(super) fn mode(&self) -> PoolMode {
        self.mode
    }

    pub(super) fn is_shared(&self) -> bool {
        self.lane.is_some()
    }

    pub(super) fn settings(&self) -> Arc<Pool> {
        self.pool.settings()
    }

    pub(super) fn patience(&self) -> Patience {
        self.patience
    }

    pub(super) fn prepared_max(&self) -> usize {
        self.prepared_max
    }
}

/// How long a client waits for a link.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Longest.
    pub(super) wait: Duration,
    /// Until it is told that it waits.
    pub(super) notice: Duration,
}

impl Patience {
    /// What this user's clients have.
    pub(super) fn of(source: &Source, user: &User) -> Patience {
        let pool = source.pool.settings();
        Patience {
            wait: user.pool.wait_timeout.unwrap_or(pool.wait_timeout),
            notice: user.pool.wait_notice.unwrap_or(pool.wait_notice),
        }
    }

    /// Waits; `tell` is called once, with what a client should know that waits long.
    pub(super) async fn wait<T>(
        self,
        pool: &LinkPool,
        coming: impl Future<Output = Result<T, postgres::Error>>,
        tell: impl AsyncFnOnce(UserMessage),
    ) -> Result<T, Error> {
        let mut coming = pin!(coming);
        // One timer for those who wait as long as usual.
        let first = self.notice.min(self.wait);
        if let Ok(done) = tokio::time::timeout(first, &mut coming).await {
            return Ok(done?);
        }
        if first < self.wait {
            let text = "waiting for a server connection";
            let message = UserMessage::error("00000", text).detail(format!(
                "All {} are in use; {} clients wait.",
                pool.links_on_loan(),
                pool.waiting()
            ));
            tell(UserMessage {
                severity: "NOTICE",
                ..message
            })
            .await;
            if let Ok(done) = tokio::time::timeout(self.wait - first, coming).await {
                return Ok(done?);
            }
        }
        let text = "no server connection became free in time";
        let message = UserMessage::fatal("53300", text)
            .detail(format!(
                "Waited {:?}; {} connections are in use, and {} clients wait.",
                self.wait,
                pool.links_on_loan(),
                pool.waiting()
            ))
            .hint("Raise the pool's max, or close connections that are not needed.");
        Err(Error::Overdue(Box::new(message)))
    }
}
