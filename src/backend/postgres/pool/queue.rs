//! Who waits for a link, over all workers, in the order of their coming.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The tickets of those who wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// How many wait; looked at without the lock when a link is released.
    n: AtomicUsize,
    tickets: Mutex<Tickets>,
}

#[derive(Debug, Default)]
struct Tickets {
    next: u64,
    waiting: BTreeSet<u64>,
}

/// A place in the queue; left when this drops.
#[derive(Debug)]
pub(super) struct Place<'q> {
    queue: &'q Queue,
    /// Its number: smaller came earlier.
    pub(super) ticket: u64,
}

impl Queue {
    /// The next place.
    pub(super) fn enter(&self) -> Place<'_> {
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        let ticket = tickets.next;
        tickets.next += 1;
        tickets.waiting.insert(ticket);
        self.n.fetch_add(1, Ordering::SeqCst);
        Place {
            queue: self,
            ticket,
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.n.load(Ordering::SeqCst)
    }

    /// Whether somebody came before this one.
    pub(super) fn is_anyone_before(&self, ticket: Option<u64>) -> bool {
        if self.len() == 0 {
            return false;
        }
        let tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        match (tickets.waiting.first(), ticket) {
            (Some(first), Some(ticket)) => *first < ticket,
            (first, _) => first.is_some(),
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut tickets = self
            .queue
            .tickets
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if tickets.waiting.remove(&self.ticket) {
            self.queue.n.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_who_came_first() {
        let queue = Queue::default();
        assert!(!queue.is_anyone_before(None));
        let first = queue.enter();
        let second = queue.enter();
        assert!(queue.is_anyone_before(Some(second.ticket)));
        assert!(!queue.is_anyone_before(Some(first.ticket)));
        drop(first);
        assert!(!queue.is_anyone_before(Some(second.ticket)));
        assert_eq!(queue.len(), 1);
        drop(second);
        assert_eq!(queue.len(), 0);
    }
}
