//! Where a session's links come from, and how long it keeps one.

use std::rc::Rc;
use std::sync::Arc;

use super::session::Source;
use crate::backend::postgres::pool::{Lane, LinkPool};
use crate::config::PoolMode;

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
    /// Links are handed from transaction to transaction; none: kept until the client leaves.
    lane: Option<Rc<Lane>>,
    mode: PoolMode,
}

impl Home {
    /// The link is the session's until its client leaves.
    pub(super) fn own(source: &Source) -> Home {
        Home {
            pool: source.pool.clone(),
            lane: None,
            mode: PoolMode::Session,
        }
    }

    /// Links are shared with other sessions.
    pub(super) fn shared(source: &Source, lane: Rc<Lane>, mode: PoolMode) -> Home {
        Home {
            pool: source.pool.clone(),
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

    pub(super) fn prepared_max(&self) -> usize {
        self.pool.settings().prepared_max
    }
}
