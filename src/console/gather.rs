//! Everything the gate knows at a moment, asked of all workers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Plant;
use crate::gate::roster::{BackendView, ClientView, Counts, Order, Report, State};
use crate::model::UserMessage;

/// What was found.
pub(super) struct Picture {
    pub(super) clients: Vec<ClientView>,
    pub(super) counts: BTreeMap<Arc<str>, Counts>,
    /// Links that wait for their next owner, by number.
    pub(super) idle: HashMap<u64, Duration>,
    pub(super) decided: u64,
    pub(super) remembered: u64,
    pub(super) calls: u64,
    pub(super) faults: u64,
    pub(super) shapes: usize,
    /// Buffers kept, and their bytes.
    pub(super) buffers: (usize, usize),
    pub(super) behind: Vec<BackendView>,
}

impl Picture {
    /// Asks all workers. An error when one of them does not answer in time: half
    /// a picture would look like a whole one.
    pub(super) async fn take(plant: &Plant) -> Result<Picture, UserMessage> {
        let mut picture = Picture {
            clients: Vec::new(),
            counts: BTreeMap::new(),
            idle: HashMap::new(),
            decided: 0,
            remembered: 0,
            calls: 0,
            faults: 0,
            shapes: 0,
            buffers: (0, 0),
            behind: plant.backends.load().views(),
        };
        for worker in &*plant.workers {
            match worker.ask(Order::Look).await {
                Some(report) => picture.add(report),
                None if worker.is_gone() => {}
                None => return Err(no_answer()),
            }
        }
        picture.clients.sort_by_key(|client| client.id);
        // What has closed since the look at the links must not look lost.
        Ok(picture)
    }

    fn add(&mut self, report: Report) {
        self.clients.extend(report.clients);
        for (name, counts) in report.counts {
            let sum = self.counts.entry(name).or_default();
            *sum = sum.plus(counts);
        }
        self.idle.extend(report.idle);
        self.decided += report.judged.decided;
        self.remembered += report.judged.remembered;
        self.calls += report.judged.calls;
        self.faults += report.judged.faults;
        self.shapes += report.judged.shapes;
        self.buffers.0 += report.buffers.0;
        self.buffers.1 += report.buffers.1;
    }

    /// The client that holds a link.
    pub(super) fn holder(&self, link: u64) -> Option<&ClientView> {
        self.clients.iter().find(|one| one.link == Some(link))
    }

    /// Clients of one pool: a database and a server user.
    pub(super) fn of<'p>(
        &'p self,
        database: &'p str,
        user: &'p str,
    ) -> impl Iterator<Item = &'p ClientView> {
        self.clients
            .iter()
            .filter(move |one| *one.client.database == *database && *one.server_user == *user)
    }

    /// Clients that use a database, or are known as a user.
    pub(super) fn count(&self, is: impl Fn(&ClientView) -> bool) -> usize {
        self.clients.iter().filter(|one| is(one)).count()
    }

    /// How long the client that waits longest has waited.
    pub(super) fn longest_wait<'p>(clients: impl Iterator<Item = &'p ClientView>) -> Duration {
        let waits = clients.filter(|one| one.state == State::Waiting);
        waits.map(|one| one.wait).max().unwrap_or_default()
    }
}

pub(super) fn no_answer() -> UserMessage {
    UserMessage::error("57014", "a worker did not answer in time")
        .hint("It is busy or about to stop; try again.")
}

/// Two earlier sums, for averages over the time between.
#[derive(Debug)]
pub(super) struct Samples {
    older: Sample,
    newer: Sample,
}

#[derive(Debug, Clone)]
struct Sample {
    at: Instant,
    counts: BTreeMap<Arc<str>, Counts>,
}

impl Default for Samples {
    fn default() -> Self {
        let begin = Sample {
            at: Instant::now(),
            counts: BTreeMap::new(),
        };
        Samples {
            older: begin.clone(),
            newer: begin,
        }
    }
}

impl Samples {
    /// A period is over.
    pub(super) fn push(&mut self, counts: BTreeMap<Arc<str>, Counts>) {
        let fresh = Sample {
            at: Instant::now(),
            counts,
        };
        self.older = std::mem::replace(&mut self.newer, fresh);
    }

    /// What came since the older sample, and how long ago that was.
    pub(super) fn recent(&self, database: &str, now: Counts) -> (Counts, Duration) {
        let then = self.older.counts.get(database).copied();
        (now.since(then.unwrap_or_default()), self.older.at.elapsed())
    }
}
