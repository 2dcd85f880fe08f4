//! What the server still has to answer, in order.
//!
//! The protocol answers in the order of the requests, so one queue tells what
//! each answer belongs to. It also holds what must be undone when an error
//! makes the server skip requests that were already sent: without that a
//! client could make the gate believe that a name stands for another
//! statement than the server thinks.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

use super::names::{Portal, Prepared};
use crate::model::Statement;
use crate::policy::Permit;
use crate::safety::limit::{Group, Returned};

/// A change to the session's names, to be taken back when the server skips it.
pub(super) enum Undo {
    /// Prepared statement as it was before.
    Prepared(Box<[u8]>, Option<Rc<Prepared>>),
    /// Portal as it was before.
    Portal(Box<[u8]>, Option<Rc<Portal>>),
}

/// A statement on its way.
pub(super) struct Run {
    /// What runs; several for a simple query string.
    pub(super) statements: Statements,
    /// Next of them to complete.
    pub(super) at: usize,
    /// Rows that may still be returned; none: not counted.
    pub(super) rows_left: Option<u64>,
    /// Rows returned so far.
    pub(super) rows: u64,
    /// The limit of those rows.
    pub(super) limit: Option<Returned>,
    /// Limits of the statements behind the current one, in a string.
    pub(super) limits: VecDeque<Option<Returned>>,
    /// How many reasons there are to let nothing follow it but its Sync.
    pub(super) watching: u32,
    /// Its command tag counts against these limits, in a transaction that is
    /// still to be committed.
    pub(super) counted: Option<Arc<[Group]>>,
    /// Set when a row beyond the limit came.
    pub(super) over: Option<Rc<BytesMut>>,
    /// Its completion is kept back until it has been verified.
    pub(super) hold: bool,
    /// The portal whose slices add up.
    pub(super) portal: Option<Rc<Portal>>,
    /// When it was sent.
    pub(super) started: Instant,
    /// Time spent in analysis and decision, for the record.
    pub(super) spent: (u64, u64),
    /// Simple or extended.
    pub(super) simple: bool,
    /// An error came for it.
    pub(super) failed: bool,
    /// Stage six is done: a refusal was recorded with its reason.
    pub(super) recorded: bool,
}

impl Run {
    /// A run that starts now.
    pub(super) fn new(
        statements: Statements,
        simple: bool,
        spent: (u64, u64),
        now: Instant,
    ) -> Run {
        Run {
            statements,
            at: 0,
            rows_left: None,
            rows: 0,
            limit: None,
            limits: VecDeque::new(),
            watching: 0,
            counted: None,
            over: None,
            hold: false,
            portal: None,
            started: now,
            spent,
            simple,
            failed: false,
            recorded: false,
        }
    }

    /// A run without a statement: an empty query.
    pub(super) fn nothing(simple: bool) -> Run {
        Run::new(
            Statements::Many(Rc::from([])),
            simple,
            (0, 0),
            Instant::now(),
        )
    }

    /// The next statement of a string has a limit of its own.
    pub(super) fn advance(&mut self) {
        self.at += 1;
        if let Some(next) = self.limits.pop_front() {
            self.rows_left = next.as_ref().map(|limit| limit.limit);
            self.limit = next;
        }
    }
}

/// The statements of a run with their permits.
#[derive(Clone)]
pub(super) enum Statements {
    /// One, as in the extended protocol.
    One(Arc<Statement>, Permit),
    /// A string.
    Many(Rc<[(Arc<Statement>, Permit)]>),
}

impl Statements {
    /// The n-th.
    pub(super) fn get(&self, n: usize) -> Option<(&Arc<Statement>, &Permit)> {
        match self {
            Statements::One(statement, permit) => (n == 0).then_some((statement, permit)),
            Statements::Many(list) => list.get(n).map(|(s, p)| (s, p)),
        }
    }
}

/// One answer that is still to come.
pub(super) enum Expected {
    /// ParseComplete; with the number of a shared statement the link then knows.
    Parse(Undo, Option<u64>),
    /// ParseComplete of a statement the gate prepares anew; answers nobody.
    Reparse(Option<u64>),
    /// ParseComplete of a name that code may have given to another statement.
    Restate,
    /// An answer the gate gives itself, when its turn comes.
    Given(&'static [u8], Option<Undo>),
    /// BindComplete.
    Bind(Undo),
    /// CloseComplete.
    Close(Option<Undo>),
    /// CloseComplete for a shared statement that the link has no room for.
    Evict(u64),
    /// RowDescription or NoData, after a ParameterDescription for a statement.
    Describe,
    /// CommandComplete, EmptyQueryResponse or PortalSuspended.
    Execute(Box<Run>),
    /// ReadyForQuery.
    Sync,
    /// ReadyForQuery after everything a string answers.
    Query(Box<Run>),
    /// Our own request that must fail in a pipeline: the error gets these bytes instead.
    Refusal(Rc<BytesMut>),
    /// Our own Query that must fail: as above, and ReadyForQuery follows.
    RefusalQuery(Rc<BytesMut>),
    /// Our own requests; nothing of it reaches the client.
    Own(Own),
}

/// How the end of an exchange of our own is recognized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    /// So many CloseCompletes, or an error.
    Closes(u8),
    /// ReadyForQuery.
    Ready,
    /// ReadyForQuery after settings were restored; says nothing about the client's transaction.
    Settings,
    /// A COPY failed, and nobody knows how many Syncs the server has read behind
    /// the failure: all ReadyForQuery in front of a mark but the last are the client's.
    Resync,
}

/// The queue.
#[derive(Default)]
pub(super) struct Queue {
    items: VecDeque<(u64, Expected)>,
    /// Place of the next item; places only grow.
    next: u64,
    /// Place of the last item that was taken out.
    done: u64,
}

impl Queue {
    pub(super) fn push(&mut self, expected: Expected) {
        self.next += 1;
        self.items.push_back((self.next, expected));
    }

    /// How many answers are waited for.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Place of the item pushed next.
    pub(super) fn next_place(&self) -> u64 {
        self.next + 1
    }

    /// Everything up to this place was answered or skipped.
    pub(super) fn done(&self) -> u64 {
        self.done
    }

    pub(super) fn front(&mut self) -> Option<&mut Expected> {
        self.items.front_mut().map(|(_, item)| item)
    }

    pub(super) fn second_is_sync(&self) -> bool {
        matches!(self.items.get(1), Some((_, Expected::Sync)))
    }

    /// Whether the next answer is the gate's own to give.
    pub(super) fn starts_with_given(&self) -> bool {
        matches!(self.items.front(), Some((_, Expected::Given(..))))
    }

    /// The answer whose turn has come and that the gate gives itself.
    pub(super) fn pop_given(&mut self) -> Option<&'static [u8]> {
        let Some((_, Expected::Given(bytes, _))) = self.items.front() else {
            return None;
        };
        let bytes = *bytes;
        self.pop();
        Some(bytes)
    }

    pub(super) fn pop(&mut self) -> Option<Expected> {
        let (place, item) = self.items.pop_front()?;
        self.done = place;
        Some(item)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether a statement is on its way, and not just its preparation.
    pub(super) fn is_running(&self) -> bool {
        self.items.iter().any(|(_, item)| {
            matches!(
                item,
                Expected::Execute(_) | Expected::Query(_) | Expected::Own(_)
            )
        })
    }

    /// Whether the server will flush its answers without being asked.
    pub(super) fn ends_with_ready(&self) -> bool {
        matches!(
            self.items.back(),
            Some((
                _,
                Expected::Sync
                    | Expected::Query(_)
                    | Expected::RefusalQuery(_)
                    | Expected::Own(Own::Ready | Own::Settings | Own::Resync)
            ))
        )
    }

    /// COPY FROM STDIN has opened: the server ignores every Sync it reads until
    /// the data ends (55.2.7), those already on their way included.
    pub(super) fn forget_syncs(&mut self) {
        self.items
            .retain(|(_, item)| !matches!(item, Expected::Sync));
    }

    /// Takes everything up to the next Sync: the server skips it after an error.
    ///
    /// The newest comes first, so that undoing in this order ends at the
    /// oldest state. True when a Sync is in the queue.
    pub(super) fn skip_to_sync(&mut self) -> (Vec<Expected>, bool) {
        let sync = self
            .items
            .iter()
            .position(|(_, item)| matches!(item, Expected::Sync));
        let skipped = self.items.drain(..sync.unwrap_or(self.items.len()));
        let mut skipped: Vec<Expected> = skipped
            .map(|(place, item)| {
                self.done = place;
                item
            })
            .collect();
        skipped.reverse();
        (skipped, sync.is_some())
    }

    /// Whether a message that gives this name a meaning, or takes it away, is
    /// still to be answered.
    pub(super) fn is_pending(&self, name: &[u8]) -> bool {
        self.items.iter().any(|(_, item)| {
            matches!(item.undo(), Some(Undo::Prepared(pending, _)) if **pending == *name)
        })
    }

    /// Whether this name may mean again what it meant before: a message that took
    /// that away is on its way, and behind it a Sync up to which it may be skipped.
    pub(super) fn may_come_back(&self, name: &[u8]) -> bool {
        let takes = |item: &Expected| matches!(item.undo(), Some(Undo::Prepared(pending, Some(_))) if **pending == *name);
        let mut items = self.items.iter();
        items.any(|(_, item)| takes(item)) && items.any(|(_, item)| matches!(item, Expected::Sync))
    }

    /// Whether a message that gives this portal a meaning is still to be answered.
    pub(super) fn is_pending_portal(&self, name: &[u8]) -> bool {
        self.items.iter().any(
            |(_, item)| matches!(item.undo(), Some(Undo::Portal(pending, _)) if **pending == *name),
        )
    }

    /// Something was skipped in front of a message that gave the same name
    /// another meaning since: that one has nothing else to go back to now.
    /// Gives the undo back if there is no such message.
    pub(super) fn hand_down(&mut self, undo: Undo) -> Option<Undo> {
        for (_, item) in &mut self.items {
            match (item.undo_mut(), &undo) {
                (Some(Undo::Prepared(name, before)), Undo::Prepared(skipped, older))
                    if *name == *skipped =>
                {
                    before.clone_from(older);
                    return None;
                }
                (Some(Undo::Portal(name, before)), Undo::Portal(skipped, older))
                    if *name == *skipped =>
                {
                    before.clone_from(older);
                    return None;
                }
                _ => {}
            }
        }
        Some(undo)
    }
}

impl Expected {
    fn undo(&self) -> Option<&Undo> {
        match self {
            Expected::Parse(undo, _) | Expected::Bind(undo) => Some(undo),
            Expected::Close(undo) | Expected::Given(_, undo) => undo.as_ref(),
            _ => None,
        }
    }

    fn undo_mut(&mut self) -> Option<&mut Undo> {
        match self {
            Expected::Parse(undo, _) | Expected::Bind(undo) => Some(undo),
            Expected::Close(undo) | Expected::Given(_, undo) => undo.as_mut(),
            _ => None,
        }
    }
}
